"""Tables in text files as programs, spreadsheets and ``cat`` write them.

The readers accept commas, semicolons and tabs between cells, UTF-8 and UTF-16 with or without a byte order mark, any
line ends, names of columns in any case, empty lines, empty cells at the end of lines, and files that were joined. Each
header line starts another part of the table. Everything else is a UsageError with the file and the line, also a line
that ``cat`` made of the last line of a file without a final newline and the first line of the next file.
"""

import csv
import gzip
import io
import re
import zlib
from typing import NamedTuple

from nova_sched.process.text import decoded
from rpc_api import errors
from rpc_api.wording import number_of

SEPARATORS = ",;\t"
#: The greatest whole number that a cell may hold.
UNLIMITED = 2**31 - 1
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
#: Excel's own line in front of the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
JOINED = (
    "has the last line of one file and the first line of the next one, because there is no newline at the end of the "
    "first file; put each on a line of its own"
)
#: Characters that are ignored when names of columns are compared.
_NO_NAME = str.maketrans("", "", "\ufeff\xa0 \t\r\n_-.\"'")
_AROUND = "\ufeff\xa0 \t\r\n"


class Row(NamedTuple):
    """A line of a table: the text of each wanted column, ``file:line``, and the number of its part, from 0 on."""

    cells: dict
    where: str
    part: int
    decimal_comma: bool

    def text(self, column: str) -> str:
        """The text in a column."""
        return self.cells[column]

    def name(self, column: str) -> str:
        """The text in a column that must have one."""
        if not self.cells[column]:
            raise errors.UsageError(f"{self.where}: {column} is empty; fix that line")
        return self.cells[column]

    def number(self, column: str) -> float:
        """The number in a column; UsageError for a text that is not a number."""
        text = self.cells[column]
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if value != value:
            raise errors.UsageError(f"{self.where}: {column} is {self.cells[column]!r}, wanted a number; fix that line")
        return value

    def whole(self, column: str) -> int:
        """The whole number of 0 or more in a column; UsageError for anything else."""
        value = self.number(column)
        if value != int(value if abs(value) < 2**53 else 0.5) or not 0 <= value <= UNLIMITED:
            raise errors.UsageError(
                f"{self.where}: {column} is {self.cells[column]!r}, wanted a whole number of 0 or more; fix that line"
            )
        return int(value)


class _Header(NamedTuple):
    """A header line: what separates its cells, their names, and where the wanted ``columns`` are."""

    separator: str
    names: list
    columns: dict

    def row(self, cells, where, part, optional) -> Row:
        """The Row of the cells of a line; UsageError for too few or too many."""
        if len(cells) != len(self.names):
            lacking = [name for name, place in self.columns.items() if place >= len(cells) and name not in optional]
            if lacking or any(cells[len(self.names) :]):
                raise errors.UsageError(
                    f"{where} has {number_of(len(cells), 'field')} and has not the "
                    f"{number_of(len(self.names), 'field')} that its header names; fix that line"
                )
            cells = [*cells, *[""] * (len(self.names) - len(cells))]
        return Row({name: cells[place] for name, place in self.columns.items()}, where, part, self.separator != ",")


def rows(path, columns, optional=()):
    """Yield a :class:`Row` for each line of the table at ``path``, plain or gzipped, that has at least ``columns``.

    ``optional``: columns whose cells may be missing at the end of a line, as spreadsheets leave empty ones out.
    """
    lines = _Lines(_content(path))
    header, part = _first_header(path, lines, columns), 0
    reader = _reader(lines, header)
    where = path
    try:
        while True:
            where = f"{path}:{lines.number + 1}"
            cells = next(reader, None)
            if cells is None:
                return
            cells = [cell.strip(_AROUND) for cell in cells]
            another = _header_in(lines.last, header, where)
            if another is not None:
                header, part = another, part + 1
                reader = _reader(lines, header)
            elif any(cells) and not _is_separator_line(lines.last, where):
                yield header.row(cells, where, part, optional)
    except csv.Error as fault:
        raise errors.UsageError(f"{where} cannot be read as CSV ({fault}); fix that line") from None


class _Lines:
    """The lines of a text, one by one: ``last`` is the last one that was taken, ``number`` its number from 1 on."""

    def __init__(self, text):
        self._lines = io.StringIO(text, newline="")
        self.last, self.number = "", 0

    def __iter__(self):
        return self

    def __next__(self):
        self.last = next(self._lines)
        self.number += 1
        return self.last


def _reader(lines, header):
    return csv.reader(lines, delimiter=header.separator, skipinitialspace=True, strict=True)


def _content(path):
    try:
        with open(path, "rb") as file:
            content = file.read()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as fault:
        raise errors.UsageError(
            f"{path} cannot be read ({getattr(fault, 'strerror', None) or fault}); name a readable CSV file"
        ) from None
    return decoded(content, path, "save it as CSV UTF-8, or name a CSV file")


def _first_header(path, lines, columns):
    """Return the header of a table: the first line that is not empty, except Excel's ``sep=`` line."""
    for line in lines:
        if line.strip(_AROUND + SEPARATORS) and not _is_separator_line(line, f"{path}:{lines.number}"):
            return _checked(_best_header(line), f"{path}:{lines.number}", columns)
    raise errors.UsageError(f"{path} is empty, wanted the columns {', '.join(columns)}; name another file")


def _best_header(line):
    """Return (separator, names) of a header line, with the separator that gives the most names."""
    return max(((separator, _names(line, separator)) for separator in SEPARATORS), key=lambda found: len(found[1]))


def _names(line, separator):
    names = [_plain(name) for name in next(csv.reader([line], delimiter=separator, skipinitialspace=True), ())]
    while names and not names[-1]:
        names.pop()
    return names


def _plain(name):
    """A column's name without what spreadsheets and people change: case, blanks, underscores, quotes."""
    return name.lower().translate(_NO_NAME)


def _is_separator_line(line, where):
    """Whether a line is Excel's own line in front of a header; UsageError for one that begins within a line."""
    before, found, _ = line.lower().partition("sep=")
    if not found or not _SEPARATOR_LINE.fullmatch(line[len(before) :].strip(_AROUND)):
        return False
    if before.strip(_AROUND + '"'):
        raise errors.UsageError(f"{where} {JOINED}")
    return True


def _header_in(line, before, where):
    """The _Header that a line of the table is, None for any other line; UsageError for one that begins within a line.

    ``before`` is the _Header of the lines before."""
    plain, wanted = _plain(line), {_plain(name) for name in before.columns}
    if not all(name in plain for name in wanted):
        return None
    found = _best_header(line)
    names = found[1]
    is_header = wanted <= set(names)
    if is_header:
        # The cells in front of the wanted names are those of other columns. (An index of pandas has no name.)
        front = names[: min(names.index(name) for name in wanted)]
        is_joined = [name for name in front if name not in before.names] not in ([], [""])
    else:
        is_joined = any(_ends_in_header(_names(line, separator), wanted) for separator in SEPARATORS)
    if is_joined:
        raise errors.UsageError(f"{where} {JOINED}")
    return _checked(found, where, before.columns) if is_header else None


def _ends_in_header(names, wanted):
    """Whether cells are all but one of the ``wanted`` names, and a cell with data ends with that one."""
    lacking = wanted - set(names)
    return len(wanted) > 2 and len(lacking) == 1 and any(name.endswith(*lacking) for name in names)


def _checked(found, where, columns):
    """The _Header of a line that names each column once; UsageError for another."""
    separator, names = found
    for name in columns:
        count = names.count(_plain(name))
        if count != 1:
            has = "has no column" if not count else f"has {number_of(count, 'time')} the column"
            raise errors.UsageError(f"{where} {has} {name!r}, wanted {', '.join(columns)}; name a file of that form")
    return _Header(separator, names, {name: names.index(_plain(name)) for name in columns})
