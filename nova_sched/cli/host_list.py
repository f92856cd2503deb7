"""``nova-sched host list``: hosts with status, authority, usage and last report."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.of_cell0 import need_cell0, say_lacking_cell0
from nova_sched.cli.output import PARTS, Rows, add_form, in_columns, stamp
from nova_sched.cli.state import add_at, class_order, ends_of, natural, world_of
from nova_sched.process.text import one_line
from nova_sched.projection.host_status import DISABLED, UP, counts_of
from nova_sched.projection.ledger import AUTHORITIES
from nova_sched.projection.topology import zone_names
from nova_sched.replay.health.heard import ago, last_reports
from nova_sched.replay.state.default_zone import default_zone_of
from nova_sched.replay.state.hosts import DOWN, counted, named_hosts, rows_of
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
Amounts are used/capacity over all providers of a host, as in nova-sched-replay state. "full" is the greatest used share
of a resource class, in percent, and the class. "heard" is the last event with which an agent, or the conductor for a
host of Nova, reported something of the host; the heartbeats of a host of Nova are not in the log.

examples:
  nova-sched host list --log out/demo
  nova-sched host list --sort full --limit 10 --log out/demo
  nova-sched host list 'host-1*' --status up --zone nova -o csv --log out/demo

exit codes: 0 shown, 1 no host is as wanted, 2 wrong usage, 3 a log cannot be reached, 4 the state of a cell is not
known
"""
#: Another word for DOWN.
LOST = "lost"
SORTS = ("host", "full", "empty", "heard", "instances")


class HostList(ReplayCommand):
    """List hosts with their status, cell, authority, usage and last report; --sort full shows the fullest first."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "hosts", nargs="*", default=[], metavar="HOST", help="names of hosts, or globs (default: all)"
        )
        add_at(parser)
        parser.add_argument(
            "--status",
            choices=(UP, DISABLED, DOWN, LOST),
            help="only hosts of this status; lost is another word for down",
        )
        parser.add_argument("--authority", choices=sorted(AUTHORITIES), help="only hosts of this authority")
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell; may be given again")
        parser.add_argument("--zone", metavar="NAME", help="only hosts of this availability zone")
        parser.add_argument("--aggregate", metavar="NAME", help="only hosts of this aggregate")
        parser.add_argument(
            "--sort",
            choices=SORTS,
            default="host",
            help="the order: by name, the fullest or the emptiest first, the longest silent first, or the most "
            "instances first (default: host)",
        )
        add_limit(parser, "only the first N hosts")
        add_form(parser)

    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
        for option in ("zone", "aggregate"):
            if getattr(arguments, option) is not None:
                need_cell0(source, world, f"--{option}")
        say_lacking_cell0(self, source, world)
        hosts = [
            (cell, host)
            for cell, host in named_hosts(world, arguments.hosts)
            if not arguments.cell or cell in arguments.cell
        ]
        default_zone = default_zone_of(source.logs, {fold.cell: fold.position for fold in folds})
        self._say_unknown(source, world, default_zone, arguments)
        rows = [row for row in rows_of(world, hosts, default_zone) if _is_wanted(row, arguments)]
        heard = {}
        for cell, projection in world.projections.items():
            mine = [row.host for row in rows if row.cell == cell]
            found = last_reports(source.logs[cell], projection.position, mine) if mine else {}
            heard.update({(cell, name): last.at_ns for name, last in found.items()})
        rows.sort(key=lambda row: _order(row, heard, arguments.sort))
        ends = ends_of(self, source, arguments, world)
        self._show(rows[: arguments.limit], heard, ends, arguments.output)
        if len(rows) > (arguments.limit or len(rows)):
            self.say(f"{arguments.limit} of {number_of(len(rows), 'host')}")
        for cell, projection in sorted(world.projections.items()):
            if not arguments.hosts and projection.hosts:
                self.say(f"{cell}: {counted(counts_of(projection))}")
        if self.unknown:
            return errors.EXIT_GAP
        return errors.EXIT_OK if rows else errors.EXIT_NEGATIVE

    def _say_unknown(self, source, world, default_zone, arguments):
        """Report names in the options that nothing in the logs has."""
        for what, names, known in (
            ("cell", arguments.cell or (), {*source.logs, *source.down}),
            ("zone", [arguments.zone], {default_zone, *zone_names(world.table, default_zone).values()}),
            ("aggregate", [arguments.aggregate], {one.name for one in world.table.aggregates.values()}),
        ):
            for name in names:
                if name is not None and name not in known:
                    known_names = ", ".join(sorted(filter(None, known))) or "(none)"
                    self.say(f"there is no {what} {name!r}, wanted one of {known_names}; fix --{what}")

    def _show(self, rows, heard, ends, form):
        classes = sorted({name for row in rows for name in row.amounts}, key=class_order)
        use_of = USE_IN.get(form, _use_as_values)
        use = tuple(use_of(None, classes))
        columns = ("host", "cell", "status", "authority", "heard", "instances", *use, "zone", "aggregates", "reason")
        shown = Rows(self.out, form, columns, ("instances", *use), self.paint)
        for row in rows:
            at_ns = heard.get((row.cell, row.host))
            end_ns = ends.get(row.cell)
            told = stamp(at_ns) if at_ns is not None else None
            if form == "table":
                told = "long ago" if at_ns is None else ago(at_ns, end_ns if end_ns is not None else at_ns)
            structured = form in ("json", "ndjson")
            shown.write(
                {
                    **{key: getattr(row, key) for key in ("host", "cell", "status", "authority", "instances", "zone")},
                    **use_of(row, classes),
                    "heard": told,
                    "aggregates": list(row.aggregates) if structured else one_line(",".join(row.aggregates)) or None,
                    "reason": row.reason,
                }
            )
        shown.end()


def _use_as_text(row, classes):
    """Column -> use of a host in a table. ``row`` None: only the columns count."""
    share, name = fullest(row) if row else (0.0, None)
    amounts = row.amounts if row else {}
    return {
        **{each: "{}/{}".format(*amounts[each]) if each in amounts else None for each in classes},
        "full": f"{share:g} % {name}" if name else None,
    }


def _use_in_columns(row, classes):
    """The same for a spreadsheet: each number has a column."""
    share, name = fullest(row) if row else (0.0, None)
    amounts = row.amounts if row else {}
    return {
        **{column: amount for each in classes for column, amount in in_columns(each, amounts.get(each)).items()},
        "full_percent": share,
        "full_class": name,
    }


def _use_as_values(row, classes):
    """The same for a program."""
    share, name = fullest(row) if row else (0.0, None)
    amounts = row.amounts if row else {}
    return {
        **{each: dict(zip(PARTS, amounts[each], strict=True)) if each in amounts else None for each in classes},
        "full": {"percent": share, "resource_class": name},
    }


#: Form -> how use is shown in it.
USE_IN = {"table": _use_as_text, "csv": _use_in_columns}


def fullest(row) -> tuple[float, str | None]:
    """Return the greatest used share of a resource class of a host in percent, and the class (None: it has none)."""
    shares = [
        (100.0 * used / capacity if capacity else 100.0 * (used > 0), name)
        for name, (used, capacity) in row.amounts.items()
    ]
    share, name = max(shares, default=(0.0, None), key=lambda found: found[0])
    return round(share, 1), name


def _is_wanted(row, arguments):
    return (
        (arguments.status is None or row.status == (DOWN if arguments.status == LOST else arguments.status))
        and (arguments.authority is None or row.authority == arguments.authority)
        and (arguments.zone is None or row.zone == arguments.zone)
        and (arguments.aggregate is None or arguments.aggregate in row.aggregates)
    )


def _order(row, heard, sort):
    first = {
        "host": lambda: 0,
        "full": lambda: -fullest(row)[0],
        "empty": lambda: fullest(row)[0],
        "heard": lambda: heard.get((row.cell, row.host), 0),
        "instances": lambda: -row.instances,
    }[sort]()
    return first, natural(row.host), row.cell
