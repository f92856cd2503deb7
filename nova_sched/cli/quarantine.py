"""``nova-sched-replay quarantine``: the events of logs that were set aside, and why."""

from collections import Counter

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.intervals import add_intervals, intervals_of
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.replay.health.heard import end_of
from nova_sched.replay.health.quarantine import CODES, set_aside
from rpc_api import errors

EPILOG = f"""\
examples:
  nova-sched-replay --log out/demo quarantine
  nova-sched-replay --log out/demo quarantine --cell cell1 --code invalid --code undecodable --raw -o json

codes: {", ".join(sorted(CODES))}

time: the time of the last event before it that counts
state: "ended" if the log continues for longer than --silent after the event, else "wrong"

exit codes: 0 no event was set aside, or that is over, 1 an event was set aside, 2 wrong usage, 3 a log cannot be
reached, 4 a part of a log is missing (the rest is shown)
"""
COLUMNS = ("cell", "position", "index", "time", "state", "code", "producer", "reason")
WRONG, ENDED = "wrong", "ended"
#: Number of bytes that --raw shows; nova-sched-replay tail -o json shows up to 16 KiB.
RAW_BYTES = 64


class Quarantine(ReplayCommand):
    """List the events that were set aside and do not count, with their positions, reasons and producers."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--cell", action="append", metavar="NAME", help="only the log of this cell")
        parser.add_argument(
            "--code",
            action="append",
            metavar="CODE",
            help="only events that were set aside for this reason; repeatable",
        )
        parser.add_argument("--raw", action="store_true", help=f"show the first {RAW_BYTES} bytes as hex")
        add_intervals(parser)
        add_form(parser)

    def run_on(self, source, arguments):
        unknown = [code for code in arguments.code or () if code not in CODES]
        if unknown:
            raise errors.UsageError(
                f"there is no code {unknown[0]!r}, wanted one of {', '.join(sorted(CODES))}; fix --code"
            )
        rows = Rows(
            self.out,
            arguments.output,
            (*COLUMNS, "raw") if arguments.raw else COLUMNS,
            ("position", "index"),
            self.paint,
        )
        counts, lasting, gap = Counter(), Counter(), None
        silent_ns = intervals_of(self, arguments).silent_ns
        for cell in [source.one(cell, "--cell")[0] for cell in arguments.cell or sorted(source.logs)]:
            try:
                end_ns = end_of(source.logs[cell], source.logs[cell].bounds().last)
                for event in set_aside(cell, source.logs[cell], source.folded):
                    if not arguments.code or event.code in arguments.code:
                        over = None not in (event.at_ns, end_ns) and end_ns - event.at_ns > silent_ns
                        (counts if over else lasting)[event.code] += 1
                        rows.write(
                            {
                                "cell": cell,
                                **event._asdict(),
                                "time": stamp(event.at_ns),
                                "state": ENDED if over else WRONG,
                                "raw": event.raw[:RAW_BYTES].hex(),
                            }
                        )
            except errors.LogGap as fault:
                gap = fault
                self.say(f"nova-sched-replay quarantine: {fault}")
        rows.end()
        for code in sorted({*counts, *lasting}):
            over = f"{counts[code]} {'more ' if lasting[code] else ''}that are over"
            last = f"{lasting[code]} {code}" if lasting[code] else ""
            self.say((f"{last}, and {over}" if counts[code] else last) if last else f"{code}: {over}")
        if not counts and not lasting and not source.too_new:
            self.say("no event is set aside")
        return gap.exit_code if gap else errors.EXIT_NEGATIVE if lasting else errors.EXIT_OK
