"""``nova-sched-replay state``: the hosts at a moment."""

import json
import re

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.intervals import add_intervals, intervals_of
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.output import Rows, add_form, in_columns, stamp
from nova_sched.cli.state_lines import host_lines, provider_lines, waiting_lines
from nova_sched.cli.state_lists import LISTS
from nova_sched.process.text import one_line
from nova_sched.projection.ledger import AGENT
from nova_sched.replay.health.heard import IDLE, heard_of, times_at, told
from nova_sched.replay.logs.moments import parse_moment, resolve
from nova_sched.replay.logs.times import times_of
from nova_sched.replay.state.default_zone import default_zone_of
from nova_sched.replay.state.hosts import counted, details_of, folds_of, named_hosts, provider_details, rows_of
from nova_sched.replay.state.ledger_rows import provider_row, summary_of, waiting_rows_of
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
Amounts are used/capacity, summed over all providers of a host; the capacity is (total - reserved) * allocation ratio.
In CSV they are two columns, such as VCPU_used and VCPU_capacity. MEMORY_MB is in MiB, DISK_GB in GiB.

A moment is a position (1200, cell1:1200, first, last) or a time (12:03:05, -15m, 2026-11-21T12:03:05Z). Without names
of hosts the command also counts hosts by status, and shows the time from the last event of each service to the moment:
to the present for a live log, or to the end of an exported file, if no moment is named. A scheduler or conductor
publishes nothing when nothing happens.

A log that is pinned to level 3 has more: --list providers shows the resource providers that are no host's, or those
that match names, uuids or hosts; --list consumers all that holds allocations, with generation, type, project and user;
--list names the resource classes and traits of the cloud's own; --list waiting the hosts that were reported, and wait
for their root provider. A provider that is named alone is shown in all detail.

exit codes: 0 shown, 1 nothing has such a name, 2 wrong usage, 3 a log cannot be reached, 4 the state of a cell at that
moment is not known, because records before it were removed from its log (the other cells are shown)

examples:
  nova-sched-replay state --log out/demo
  nova-sched-replay state --log out/demo --at -15m --sort VCPU:desc --limit 10
  nova-sched-replay state $HOST --log out/demo --at -1s
  nova-sched-replay state 'host-*' --log out/demo -o csv --columns cell,host,status,VCPU
  nova-sched-replay state --list consumers --log out/demo --limit 10 -o json
"""
FIXED = ("cell", "host", "status", "reason", "instances", "zone", "aggregates", "authority")


def add_at(parser) -> None:
    """Add ``--at``."""
    parser.add_argument(
        "--at", metavar="MOMENT", default="last", help="a position or a time in UTC (default: the end of the logs)"
    )


def world_of(command, source, arguments, history):
    """Return (World, CellFold of each cell) at the moment of ``--at``.

    Cells whose state is not known there are reported on stderr, and noted in ``command.unknown``."""
    positions = resolve(parse_moment(arguments.at, command.now_ns), source)
    command.unknown = {}
    world = history.world_at(positions, command.unknown)
    for gap in command.unknown.values():
        command.say(f"{command.app.NAME} {command.cmd_name}: {gap}")
    if command.unknown and not world.projections:
        raise next(iter(command.unknown.values()))
    at = {
        cell: times_of(source.logs[cell], [projection.position]).get(projection.position)
        for cell, projection in world.projections.items()
    }
    return world, folds_of(world, at)


def ends_of(command, source, arguments, world) -> dict[str, int | None]:
    """Return cell -> the time of the moment of ``--at``: see :func:`~nova_sched.replay.health.heard.times_at`."""
    positions = {cell: projection.position for cell, projection in world.projections.items()}
    return times_at(parse_moment(arguments.at, command.now_ns), positions, source.logs, command.now_ns)


def fold_lines(folds) -> list[str]:
    """Return one line per cell with its position, time, number of hosts and digest."""
    return [
        f"{fold.cell}: position {fold.position}, {stamp(fold.at_ns)}, {number_of(fold.hosts, 'host')}, "
        f"digest {fold.digest}"
        for fold in folds
    ]


class State(ReplayCommand):
    """Show all hosts at a moment, some of them (names or globs), or everything of one."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "hosts",
            nargs="*",
            default=[],
            metavar="HOST",
            help="name of a host, or a glob; one host is shown in all detail",
        )
        add_at(parser)
        parser.add_argument(
            "--list", choices=("hosts", *LISTS), default="hosts", dest="what", help="what to show (default: hosts)"
        )
        parser.add_argument(
            "--sort",
            metavar="COLUMN[:desc]",
            default="host",
            help="sort hosts by a column; a resource class sorts by the used share of its capacity (default: host)",
        )
        parser.add_argument("--columns", metavar="LIST", help="the columns to show, separated by commas")
        add_limit(parser, "only the first N hosts")
        add_form(parser)
        add_intervals(parser)

    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
        self.default_zone = default_zone_of(source.logs, {fold.cell: fold.position for fold in folds})
        if arguments.what in LISTS:
            self._list(source, world, folds, arguments)
            return errors.EXIT_GAP if self.unknown else errors.EXIT_OK
        try:
            found = named_hosts(world, arguments.hosts)
        except errors.NovaSchedError:
            if not self._show_other(source, world, folds, arguments):
                raise
            return errors.EXIT_GAP if self.unknown else errors.EXIT_OK
        if len(arguments.hosts) == 1 and len(found) == 1 and arguments.columns is None:
            self._show_one(source, world, folds, *found[0], arguments.output)
        else:
            self._show_all(world, folds, found, arguments)
        if not arguments.hosts:
            self._show_services(source, world, arguments)
        return errors.EXIT_GAP if self.unknown else errors.EXIT_OK

    # --- what is no host -----------------------------------------------------------------------------------------

    def _list(self, source, world, folds, arguments):
        """Show something else than hosts."""
        structured = arguments.output in ("json", "ndjson")
        columns, rows = LISTS[arguments.what](source, world, arguments.hosts, structured)
        for pattern in arguments.hosts:
            if not LISTS[arguments.what](source, world, [pattern], structured)[1]:
                raise errors.NovaSchedError(
                    f"--list {arguments.what} has nothing of the name {pattern!r} at that moment; name another one, or "
                    "another moment"
                )
        for line in fold_lines(folds):
            self.say(one_line(line))
        shown = Rows(self.out, arguments.output, columns, ("generation", "position"), self.paint)
        for row in rows[: arguments.limit]:
            shown.write(dict(zip(columns, row, strict=True)))
        shown.end()
        if len(rows) > shown.count:
            self.say(f"{shown.count} of {len(rows)} {arguments.what}")

    def _show_other(self, source, world, folds, arguments):
        """Show the provider, or the host that waits for its root provider, that is named alone; False if there is none
        of that name."""
        if len(arguments.hosts) != 1:
            return False
        (name,) = arguments.hosts
        for cell, projection in sorted(world.projections.items()):
            waiting = [row for row in waiting_rows_of(projection) if row.host == name]
            found = [uuid for uuid in projection.trees if name in (uuid, provider_row(projection, uuid).name)]
            if not waiting and not found:
                continue
            fold = next(fold for fold in folds if fold.cell == cell)
            if waiting:
                details = {"status": "waits for its root provider", **waiting[0]._asdict()}
                lines = waiting_lines(waiting[0], fold)
            else:
                details = provider_details(projection, found[0])
                positions = [consumer["position"] for consumer in details["consumers"]]
                times = times_of(source.logs[cell], positions)
                for consumer in details["consumers"]:
                    consumer["since"] = stamp(times.get(consumer["position"]))
                lines = provider_lines(details, fold)
            if arguments.output == "table":
                self.out.write("".join(f"{one_line(line)}\n" for line in lines))
            else:
                whole = {"cell": cell, "position": fold.position, "time": stamp(fold.at_ns), **details}
                self.out.write(json.dumps(whole, indent=2 if arguments.output == "json" else None) + "\n")
            return True
        return False

    # --- all ------------------------------------------------------------------------------------------------------

    def _show_all(self, world, folds, found, arguments):
        rows = list(rows_of(world, found, self.default_zone))
        classes = sorted({name for row in rows for name in row.amounts}, key=class_order)
        columns = self._columns(arguments, rows, classes)
        rows = _sorted_rows(rows, arguments.sort, classes)[: arguments.limit]
        for line in fold_lines(folds):
            self.say(one_line(line))
        structured = arguments.output in ("json", "ndjson")
        is_csv = arguments.output == "csv"
        split = [
            part for name in columns for part in (in_columns(name, None) if is_csv and name in classes else [name])
        ]
        shown = Rows(self.out, arguments.output, split, ("instances", *classes), self.paint)
        for row in rows:
            cells = {}
            for name in columns:
                if is_csv and name in classes:
                    cells |= in_columns(name, row.amounts.get(name))
                else:
                    cells[name] = _cell(row, name, structured)
            shown.write(cells)
        shown.end()
        if not found:
            self.say("there is no host")
        elif len(rows) < len(found):
            self.say(f"{len(rows)} of {number_of(len(found), 'host')}")

    def _show_services(self, source, world, arguments):
        """Count hosts by status, and show the time of the last event of each service before the shown moment."""
        silent_ns, ends = intervals_of(self, arguments).silent_ns, ends_of(self, source, arguments, world)
        for cell, projection in sorted(world.projections.items()):
            at_ns = ends[cell]
            if at_ns is None or projection.position < 0:
                continue
            found = heard_of(projection, source.logs[cell], at_ns, silent_ns)
            agents = f"{number_of(found.agents, 'agent')} heard" + (
                f", {len(found.silent)} silent" if found.silent else ""
            )
            self.say(
                f"{cell}: {counted(found.counts)}; {agents + '; ' if projection.hosts else ''}"
                f"{told(found.services, at_ns)} ({IDLE})"
            )
            more = summary_of(projection)
            if more is not None:
                self.say(f"{cell}: {more}")

    def _columns(self, arguments, rows, classes):
        if arguments.columns is None:
            shown = [
                name
                for name in FIXED
                if name not in ("reason", "aggregates", "authority")
                or arguments.output != "table"
                or any(getattr(row, name) not in (None, (), AGENT) for row in rows)
            ]
            place = shown.index("zone")
            return [*shown[:place], *classes, *shown[place:]]
        columns = arguments.columns.split(",")
        unknown = [name for name in columns if name not in FIXED and name not in classes]
        if unknown:
            raise errors.UsageError(
                f"there is no column {unknown[0]!r}, wanted some of {', '.join((*FIXED, *classes))}; fix --columns"
            )
        return columns

    # --- one ------------------------------------------------------------------------------------------------------

    def _show_one(self, source, world, folds, cell, host, form):
        times = times_of(source.logs[cell], [entry.position for entry in host.entries.values()])
        details = details_of(world, cell, host, times, self.default_zone)
        fold = next(fold for fold in folds if fold.cell == cell)
        if form == "table":
            self.out.write("".join(f"{one_line(line)}\n" for line in host_lines(details, fold)))
            return
        if form == "csv":
            raise errors.UsageError(
                "one host in all detail does not fit into CSV; use -o table or json, or name --columns"
            )
        for instance in details["instances"]:
            instance["since"] = stamp(instance["since"])
        whole = {
            "cell": cell,
            "position": fold.position,
            "time": stamp(fold.at_ns),
            "cell_digest": fold.digest,
            **details,
        }
        self.out.write(json.dumps(whole, indent=2 if form == "json" else None) + "\n")


def class_order(name):
    """Sort key of a resource class: the usual ones first."""
    usual = ("VCPU", "PCPU", "MEMORY_MB", "DISK_GB")
    return (usual.index(name) if name in usual else len(usual)), name


def _cell(row, name, structured):
    if name in row.amounts:
        used, capacity = row.amounts[name]
        return {"used": used, "capacity": capacity} if structured else f"{used}/{capacity}"
    if name not in FIXED:
        return None
    value = getattr(row, name)
    if name == "aggregates":
        return list(value) if structured else ",".join(value) or None
    return value


def _sorted_rows(rows, sort, classes):
    name, _, order = sort.partition(":")
    # (At a moment without hosts no resource class is known.)
    if (name not in FIXED and name not in classes and rows) or order not in ("", "asc", "desc"):
        raise errors.UsageError(
            f"cannot sort by {sort!r}, wanted one of {', '.join((*FIXED, *classes))}, with :desc "
            "after it for the greatest first; fix --sort"
        )

    def key(row):
        if name in classes:
            used, capacity = row.amounts.get(name, (0, 0))
            return used / capacity if capacity else float(used > 0)
        value = getattr(row, name)
        return value if value is not None else ""

    # First by name, so that equal rows always have the same order.
    rows = sorted(rows, key=lambda row: (natural(row.host), row.cell))
    if name == "host":
        return rows[::-1] if order == "desc" else rows
    return sorted(rows, key=key, reverse=order == "desc")


def natural(name):
    """Sort key of a name: host-9 comes before host-10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name[:255])]
