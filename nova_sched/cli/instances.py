"""``nova-sched-replay instances``: every instance of every cell, cells that are down included."""

from nova_sched.cli.command import SHOWN, ReplayCommand
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.cli.state_lists import resources
from nova_sched.replay.logs.moments import parse_moment, resolve
from nova_sched.replay.logs.times import times_of
from nova_sched.replay.state.hosts import TRACKED, wanted
from nova_sched.replay.state.instances import flavors_of, instances_of, last_known
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
States: claimed (a host was claimed, the instance is not started yet), running, held (on a host of Nova, or another
consumer on no host), tracked (nova-compute reports the instance, our agent does not). An instance that moves has two
rows, one per host. "since" is the time of the claim, or of the host's report if there is no claim. If the log of a cell
cannot be opened, its last known instances are shown and marked with their time; they come from --snapshots, or from the
cache of earlier commands such as this one. If nothing is known of a cell, it has one row without an instance.

exit codes: 0 all instances are known, 2 wrong usage, 3 a log cannot be reached, 4 partial: a cell is down, or its state
at that moment is not known

examples:
  nova-sched-replay instances --log out/demo
  nova-sched-replay instances --log out/demo --host $HOST --state running --sort since:desc
  nova-sched-replay instances --log out/demo --instance $INSTANCE -o json
  nova-sched-replay instances --log out/demo --limit 20 --marker $INSTANCE
"""
#: The mark of a cell whose instances are not known.
NOTHING = "down, nothing is known"
COLUMNS = ("instance", "cell", "host", "project", "state", "since", "flavor", "resources", "as_of")
STATES = ("claimed", "running", "held", TRACKED)
SORTS = ("instance", "cell", "host", "project", "state", "since")


class Instances(ReplayCommand):
    """List every instance of every cell at a moment, sorted, filtered and paged."""

    EPILOG = EPILOG
    when_down = SHOWN

    def add_arguments(self, parser):
        parser.add_argument(
            "--at", metavar="MOMENT", default="last", help="a position or a time in UTC (the end of the logs)"
        )
        for name in ("host", "cell", "project", "instance"):
            parser.add_argument(
                f"--{name}",
                action="append",
                metavar="GLOB",
                dest=f"{name}s",
                help=f"only instances of this {name}, by name or glob; repeatable",
            )
        parser.add_argument(
            "--state", action="append", choices=STATES, dest="states", help="only instances in this state; repeatable"
        )
        parser.add_argument(
            "--sort", metavar="COLUMN[:desc]", default="instance", help=f"one of {', '.join(SORTS)} (default: instance)"
        )
        add_limit(parser, "show at most N instances; stderr has the marker of the next page")
        parser.add_argument(
            "--marker", metavar="UUID", help="start after this instance, the last one of the page before"
        )
        parser.add_argument(
            "--no-flavors", action="store_true", help="leave out flavors: their names are read from the decisions"
        )
        add_form(parser)

    def run_on(self, source, arguments):
        column, _, order = arguments.sort.partition(":")
        if column not in SORTS or order not in ("", "asc", "desc"):
            raise errors.UsageError(
                f"cannot sort by {arguments.sort!r}, wanted one of {', '.join(SORTS)}, with :desc "
                "after it for the greatest first; fix --sort"
            )
        for pattern in arguments.cells or ():
            if not any(wanted(cell, [pattern]) for cell in (*source.logs, *source.down)):
                self.say(f"there is no cell {pattern!r} among {', '.join(sorted((*source.logs, *source.down)))}")
        self.partial = False
        with self.history(source, arguments) as history:
            rows, as_of = self._known(source, arguments, history)
            rows = [row for row in rows if _is_wanted(row, arguments)]
            page, following = self._page(source, rows, arguments, column, order == "desc")
            flavors = {} if arguments.no_flavors else self._flavors(source, history, page)
        self._show(source, page, arguments, as_of, flavors)
        if not rows:
            self.say("no instance matches" + (", as far as is known" if self.partial else ""))
        elif len(page) < len(rows):
            self.say(
                f"{len(page)} of {number_of(len(rows), 'instance')}"
                + (f"; the next page: --marker {following}" if following else "")
            )
        return errors.EXIT_GAP if self.partial else errors.EXIT_OK

    # --- what is known --------------------------------------------------------------------------------------------

    def _known(self, source, arguments, history):
        """Return all rows, and cell -> the mark of the rows of a cell that is down."""
        unknown, rows, as_of = {}, [], {}
        self.positions = {}
        if source.logs:
            self.positions = resolve(parse_moment(arguments.at, self.now_ns), source)
            world = history.world_at(self.positions, unknown)
            for projection in world.projections.values():
                rows += instances_of(projection)
            if arguments.at == "last":
                history.remember(world)
        for cell, fault in (*unknown.items(), *source.down.items()):
            if not wanted(cell, arguments.cells):
                continue
            self.partial = True
            self.say(f"{self.app.NAME} instances: {fault}")
            known = last_known(cell, source.urls[cell], history.cache, history.store) if cell in source.down else None
            if known is None:
                as_of[cell] = NOTHING
                self.say(
                    f"{cell}: its instances are not known"
                    + (
                        "; name the store of the schedulers' snapshots with --snapshots"
                        if history.store is None
                        else ""
                    )
                )
                continue
            since = stamp(known.at_ns) if known.at_ns else f"position {known.projection.position}"
            as_of[cell] = f"down, as of {since}"
            self.say(f"{cell}: {as_of[cell]}, position {known.projection.position}")
            rows += instances_of(known.projection)
        return rows, as_of

    def _page(self, source, rows, arguments, column, descending):
        """Return the rows to show, and the marker of the next page (None: this is the last page)."""
        if column == "since":
            self.times = self._times(source, rows)
            rows = sorted(rows, key=_identity)
            rows.sort(key=lambda row: self.times.get((row.cell, row.position)) or 0, reverse=descending)
        else:
            rows = sorted(rows, key=_identity)
            rows.sort(key=lambda row: getattr(row, column) or "", reverse=descending)
        if arguments.marker is not None:
            places = [place for place, row in enumerate(rows) if row.instance == arguments.marker]
            if not places:
                raise errors.UsageError(
                    f"there is no instance {arguments.marker} in this list; name the last one of "
                    "the page before, with the same filters and moment"
                )
            rows = rows[places[-1] + 1 :]
        page = rows[: arguments.limit]
        # The marker names an instance, so the two rows of one instance stay on one page.
        while arguments.limit is not None and len(page) < len(rows) and rows[len(page)].instance == page[-1].instance:
            page.append(rows[len(page)])
        if column != "since":
            self.times = self._times(source, page)
        return page, page[-1].instance if page and len(page) < len(rows) else None

    def _times(self, source, rows):
        """(Cell, position) -> time."""
        wanted_ = {}
        for row in rows:
            if row.position is not None and row.cell in source.logs:
                wanted_.setdefault(row.cell, set()).add(row.position)
        return {
            (cell, position): at_ns
            for cell, positions in wanted_.items()
            for position, at_ns in times_of(source.logs[cell], positions).items()
        }

    def _flavors(self, source, history, rows):
        """Return instance -> flavor. A decision with a claim is in the log of the claimed host's cell."""
        flavors = {}
        for cell in sorted({row.cell for row in rows} & source.logs.keys()):
            flavors |= flavors_of(
                source.logs[cell], {row.instance for row in rows if row.cell == cell}, self.positions[cell]
            )
        return flavors

    def _show(self, source, page, arguments, as_of, flavors):
        structured = arguments.output in ("json", "ndjson")
        columns = COLUMNS if as_of or arguments.output != "table" else COLUMNS[:-1]
        if arguments.no_flavors:
            columns = tuple(name for name in columns if name != "flavor")
        shown = Rows(self.out, arguments.output, columns, (), self.paint)
        for row in page:
            at_ns = self.times.get((row.cell, row.position))
            since = stamp(at_ns) if at_ns is not None else None if row.position is None else f"position {row.position}"
            shown.write(
                {
                    "instance": row.instance,
                    "cell": row.cell,
                    "host": row.host,
                    "project": row.project,
                    "state": row.state if row.consumer == row.instance else f"{row.state} as {row.consumer}",
                    "since": since,
                    "flavor": flavors.get(row.instance),
                    "resources": row.resources if structured else resources(row.resources),
                    "as_of": as_of.get(row.cell),
                }
            )
        for cell in (cell for cell, said in as_of.items() if said is NOTHING):
            shown.write({**dict.fromkeys(COLUMNS), "cell": cell, "as_of": NOTHING})
        shown.end()


def _identity(row):
    return row.instance, row.cell, row.host or "", row.consumer


def _is_wanted(row, arguments):
    return (
        (not arguments.hosts or (row.host is not None and wanted(row.host, arguments.hosts)))
        and wanted(row.cell, arguments.cells)
        and wanted(row.instance, arguments.instances)
        and (not arguments.projects or (row.project is not None and wanted(row.project, arguments.projects)))
        and (not arguments.states or row.state in arguments.states)
    )
