"""``nova-sched-replay quarantine``: the events of logs that were set aside, and why."""

from collections import Counter

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import FORMS, Rows
from nova_sched.replay.quarantine import CODES, set_aside
from rpc_api import errors

EPILOG = f"""\
examples:
  nova-sched-replay --log out/demo quarantine
  nova-sched-replay --log out/demo quarantine --cell cell1 --code invalid --code undecodable --raw -o json

codes: {", ".join(sorted(CODES))}

exit codes: 0 nothing was set aside, 1 something was, 3 a log cannot be reached, 4 a log is not whole (what could be
read is shown)
"""
COLUMNS = ("cell", "position", "index", "code", "producer", "reason")
#: Bytes of an event that --raw shows; nova-sched-replay tail -o json shows up to 16 KiB.
RAW_BYTES = 64


class Quarantine(ReplayCommand):
    """List the events of logs that do not count: where they stand, why they were set aside, and whose they are."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell's log, of those named")
        parser.add_argument("--code", action="append", metavar="CODE",
                            help="only events set aside for this; several: any")
        parser.add_argument("--raw", action="store_true", help=f"show the first {RAW_BYTES} bytes as hex")
        parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form of the output (table)")

    def run_on(self, source, arguments):
        unknown = [code for code in arguments.code or () if code not in CODES]
        if unknown:
            raise errors.UsageError(f"there is no code {unknown[0]!r}, "
                                    f"wanted one of {', '.join(sorted(CODES))}; mend --code")
        rows = Rows(self.out, arguments.output, (*COLUMNS, "raw") if arguments.raw else COLUMNS,
                    ("position", "index"), self.paint)
        counts, gap = Counter(), None
        for cell in [source.one(cell, "--cell")[0] for cell in arguments.cell or sorted(source.logs)]:
            try:
                for one in set_aside(cell, source.logs[cell]):
                    if not arguments.code or one.code in arguments.code:
                        counts[one.code] += 1
                        rows.write({"cell": cell, **one._asdict(), "raw": one.raw[:RAW_BYTES].hex()})
            except errors.LogGap as fault:
                gap = fault
                self.say(f"nova-sched-replay quarantine: {fault}")
        rows.end()
        for code, count in sorted(counts.items()):
            self.say(f"{count} {code}")
        if not counts:
            self.say("nothing is set aside")
        return gap.exit_code if gap else errors.EXIT_NEGATIVE if counts else errors.EXIT_OK
