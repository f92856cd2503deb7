"""The output of commands: times, colours, tables, rows in several forms, progress."""

import csv
import io
import json
import os
from contextlib import contextmanager

from nova_sched.process.text import one_line
from nova_sched.replay.logs.moments import stamp as stamp

FORMS = ("table", "json", "ndjson", "csv")
_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}

#: What is shown of a resource class; each has a column where a cell must be a number.
PARTS = ("used", "capacity")


def in_columns(name: str, amounts) -> dict:
    """The columns of a resource class in a spreadsheet: VCPU_used and VCPU_capacity; ``amounts`` is None, or (used,
    capacity)."""
    return {f"{name}_{part}": amount for part, amount in zip(PARTS, amounts or (None, None), strict=True)}


def add_form(parser, forms=FORMS) -> None:
    """Add ``-o`` and ``-f``, the form of the output: one of ``forms``, by default the first one. python-openstackclient
    calls the option ``-f``."""
    parser.add_argument(
        "-o",
        "--output",
        "-f",
        "--format",
        choices=forms,
        default=forms[0],
        dest="output",
        metavar="FORM",
        help=f"form of the output: {', '.join(forms[:-1])} or {forms[-1]} ({forms[0]})",
    )


class Paint:
    """Colours: ``always``, ``never``, or ``auto`` (on a terminal, unless NO_COLOR is set)."""

    def __init__(self, when: str, stream):
        self.on = when == "always" or (
            when == "auto" and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def __call__(self, text: str, *styles: str) -> str:
        """Return the text in some styles (``bold``, ``dim`` or a colour)."""
        if not self.on or not styles:
            return text
        return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"


def aligned(heads, rows, right=(), paint=None) -> list[str]:
    """Return the lines of a table. The columns whose heads are in ``right`` are aligned to the right."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    to_right = [head in right for head in heads]

    def line(row):
        return "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, to_right, strict=True)
        ).rstrip()

    return [paint(line(heads), "bold") if paint else line(heads), *map(line, cells)]


class Rows:
    """Rows in one of ``FORMS``. A table is written at the end, the other forms row by row."""

    def __init__(self, out, form: str, columns, right=(), paint=None):
        self._out = out
        self._form = form
        self._columns = tuple(columns)
        self._right = right
        self._paint = paint
        self._rows = []
        self.count = 0

    def write(self, row: dict) -> None:
        """Add a row: a value for each column, None if it has none."""
        self.count += 1
        values = [row[name] for name in self._columns]
        if self._form == "table":
            self._rows.append(["-" if value is None else value for value in values])
        elif self._form == "csv":
            if self.count == 1:
                self._out.write(_csv_line(self._columns))
            self._out.write(_csv_line(["" if value is None else one_line(str(value)) for value in values]))
        elif self._form == "ndjson":
            self._out.write(json.dumps(dict(zip(self._columns, values, strict=True))) + "\n")
        else:
            self._out.write(
                ("[\n" if self.count == 1 else ",\n") + json.dumps(dict(zip(self._columns, values, strict=True)))
            )

    def end(self) -> None:
        """Write the table, or the end of the form."""
        if self._form == "table":
            self._out.write("\n".join(aligned(self._columns, self._rows, self._right, self._paint)) + "\n")
        elif self._form == "csv" and not self.count:
            self._out.write(_csv_line(self._columns))
        elif self._form == "json":
            self._out.write("\n]\n" if self.count else "[]\n")


def _csv_line(values):
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


@contextmanager
def progress(stream, wanted: bool = True):
    """Give a function ``(label, done, total)`` that draws a bar on a terminal, and does nothing elsewhere."""
    if not wanted or not stream.isatty():
        yield lambda label, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    ) as bars:
        tasks = {}

        def update(label, done, total):
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield update
