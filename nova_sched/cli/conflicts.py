"""``nova-sched conflicts``: claims that lost against another scheduler's."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.durations import duration
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.cli.ranges import add_range, bounds_of
from nova_sched.replay.decisions.why_not import row_named
from nova_sched.replay.statistics.conflicts import Conflict, conflicts_in, counted
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
Schedulers decide side by side, and the order of the log settles which claim counts. A claim that lost is decided again
at once, so a conflict costs time and no request. Many conflicts on few hosts mean that the weighers send all schedulers
to the same hosts ([filter_scheduler] host_subset_size helps); many in all mean that a scheduler is behind (doctor,
top).

"won_by" has the producer of the last claim or write of Placement's API that counted before the one that lost: on the
host, in the server group, or for the same instance. A scheduler that lost against itself did not know its own claim
yet, or the host reported less meanwhile. A claim that was refused because the host was lost or disabled, or because of
the claim itself, is no conflict; such claims are counted on stderr.

RANGE is positions (100:200, cell1:100:, :200) or times after an @ (@-2h:-1h, @12:00..13:00).

examples:
  nova-sched conflicts --log out/demo
  nova-sched conflicts --by pair --log out/demo
  nova-sched conflicts @-1d: --by time --interval 1h -o csv --log out/demo
  nova-sched conflicts --by each --host $HOST --log out/demo

exit codes: 0 shown, also if there is none, 1 there is no such host, 2 wrong usage, 3 a log cannot be reached, 4 the
state before the range is not known, so the claims of a cell are left out
"""
EACH = "each"
COLUMNS = {
    "host": ("cell", "host", "conflicts", "claims", "share"),
    "pair": ("lost_by", "won_by", "conflicts"),
    "reason": ("reason", "conflicts"),
    "time": ("time", "conflicts", "claims", "share"),
    EACH: ("time", *Conflict._fields[1:]),
}
RIGHT = ("conflicts", "claims", "share", "position")


class Conflicts(ReplayCommand):
    """Count the claims that lost against another scheduler's, by host, pair of schedulers, reason or time."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        add_range(parser)
        parser.add_argument(
            "--by", choices=tuple(COLUMNS), default="host", help="what is counted, or each conflict (default: host)"
        )
        parser.add_argument("--interval", metavar="TIME", default="1h", help="with --by time: of this length (1h)")
        parser.add_argument("--host", metavar="HOST", help="only conflicts on this host")
        add_limit(parser, "only the first N rows")
        add_form(parser)

    def run_on(self, source, arguments):
        interval_ns = duration(arguments.interval, "--interval") if arguments.by == "time" else None
        first, last = bounds_of(self, source, arguments.range)
        unknown = {}
        with self.history(source, arguments) as history:
            found = conflicts_in(history, first, last, interval_ns, unknown, arguments.host)
            if arguments.host is not None and not found.claims and not unknown:
                # A host that was removed may have claims; a name without any must be one of a known host.
                row_named(history.world_at(last, {}).table, arguments.host, "at the end of the range the logs know")
        for cell, gap in unknown.items():
            self.say(f"{self.app.NAME} {self.cmd_name}: {gap}; the claims of {cell} are left out")
        if arguments.by == EACH:
            rows = [{**one._asdict(), "time": stamp(one.at_ns), "reason": str(one.reason)} for one in found.found]
        else:
            rows = counted(found, arguments.by, interval_ns)
            if arguments.by == "time":
                rows = [{**row, "time": stamp(row["time"])} for row in rows]
        shown = Rows(self.out, arguments.output, COLUMNS[arguments.by], RIGHT, self.paint)
        for row in rows[: arguments.limit]:
            shown.write(row)
        shown.end()
        total = len(found.found)
        share = f" ({100 * total / found.claims:.1f} %)" if found.claims else ""
        on = "" if arguments.host is None else f" on {arguments.host}"
        self.say(f"{total} of {number_of(found.claims, 'claim')} of schedulers{on} lost{share}")
        if found.refused:
            reasons = ", ".join(f"{reason} {count}" for reason, count in found.refused.most_common())
            self.say(f"{found.refused.total()} more refused, not because of another claim: {reasons}")
        return errors.EXIT_GAP if unknown else errors.EXIT_OK
