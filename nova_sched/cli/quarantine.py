"""``nova-sched quarantine``: the events of logs that were set aside, and why."""

import argparse
import csv
import json
from collections import Counter

from cliff.command import Command

from nova_sched.cli import logs
from nova_sched.cli.text import one_line
from nova_sched.quarantine import CODES, set_aside
from rpc_api import errors

EPILOG = f"""\
examples:
  nova-sched quarantine --log out/demo
  nova-sched quarantine --log cell1=sqlite:///log.cell1.db --code invalid --code undecodable --raw -o json

codes: {", ".join(sorted(CODES))}

exit codes: 0 nothing was set aside, 1 something was, 3 a log cannot be reached, 4 a log is not whole (what could be
read is shown)
"""
COLUMNS = ("cell", "position", "index", "code", "producer", "reason")
#: Bytes of an event that --raw shows; nova-sched tail -o json shows up to 16 KiB.
RAW_BYTES = 64


class Quarantine(Command):
    """List the events of logs that do not count: where they stand, why they were set aside, and whose they are."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        logs.add_arguments(parser)
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell's log, of those named")
        parser.add_argument("--code", action="append", metavar="CODE",
                            help="only events set aside for this; several: any")
        parser.add_argument("--raw", action="store_true", help=f"show the first {RAW_BYTES} bytes as hex")
        parser.add_argument("-o", "--output", choices=tuple(WRITERS), default="table",
                            help="form of the output (table)")
        return parser

    def take_action(self, arguments):
        unknown = [code for code in arguments.code or () if code not in CODES]
        if unknown:
            raise errors.UsageError(f"there is no code {unknown[0]!r}, wanted one of {', '.join(sorted(CODES))}; "
                                    "mend --code")
        write = WRITERS[arguments.output](self.app.stdout, (*COLUMNS, "raw") if arguments.raw else COLUMNS)
        counts, gap = Counter(), None
        with logs.Logs(arguments) as opened:
            missing = [cell for cell in arguments.cell or () if cell not in opened]
            if missing:
                raise errors.UsageError(f"there is no log of {missing[0]!r} among {', '.join(sorted(opened))}; "
                                        "mend --cell")
            for cell in arguments.cell or sorted(opened):
                try:
                    for one in set_aside(cell, opened[cell]):
                        if not arguments.code or one.code in arguments.code:
                            counts[one.code] += 1
                            write({"cell": cell, **one._asdict(), "raw": one.raw[:RAW_BYTES].hex()})
                except errors.LogGap as fault:
                    gap = fault
                    self.app.stderr.write(f"nova-sched quarantine: {fault}\n")
        for code, count in sorted(counts.items()):
            self.app.stderr.write(f"{count} {code}\n")
        if not counts:
            self.app.stderr.write("nothing is set aside\n")
        return gap.exit_code if gap else errors.EXIT_NEGATIVE if counts else errors.EXIT_OK


def table(out, columns):
    """Columns of a fixed width, the reason as the last but for the bytes."""
    form = "{cell:<8} {position:>9} {index:>5} {code:<14} {producer:<28} {reason}"
    form += " {raw}" if "raw" in columns else ""
    headed = []

    def write(row):
        if not headed:
            headed.append(out.write(form.format(**{name: name for name in columns}) + "\n"))
        out.write(one_line(form.format(**{**row, "producer": row["producer"] or "-"})) + "\n")
    return write


def as_json(out, columns):
    """One JSON object a line."""
    return lambda row: out.write(json.dumps({name: row[name] for name in columns}) + "\n")


def as_csv(out, columns):
    """Comma-separated values with a head; what is not printable by its code."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    return lambda row: writer.writerow(
        ["" if row[name] is None else one_line(str(row[name])) for name in columns])


WRITERS = {"table": table, "json": as_json, "csv": as_csv}
