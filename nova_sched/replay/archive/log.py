"""Reads the logs of an exported file."""

import threading
import time
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import NamedTuple

from nova_sched.replay.archive.frames import CHUNK, MAGIC, SNAPSHOT, Damaged, Reader
from rpc_api import errors
from rpc_api.log import Bounds, EventLog, LogReader, Record, checks
from rpc_api.log.port import READ_BYTES


class _Part(NamedTuple):
    """Positions of a cell that are in one chunk, ``frame``; None: they are lost."""

    first: int
    last: int
    frame: tuple | None


def is_archive(path) -> bool:
    """Return whether a file begins like an exported one."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def open_archive(path) -> list:
    """(Cell, :class:`ArchiveLog`) of each cell of an exported file. Raise UnknownSchema for a file of a newer
    format."""
    shared = _Shared(Reader(path))
    ranges = {range_.cell: range_ for range_ in shared.reader.header.ranges}
    cells = dict.fromkeys([*ranges, *(frame.head.cell for frame in shared.reader.frames if frame.kind == CHUNK)])
    if not cells:
        shared.reader.close()
        raise Damaged(f"{path} has no readable record; export the logs again")
    return [(cell, ArchiveLog(shared, cell, ranges.get(cell))) for cell in cells]


class _Shared:
    """A file, and how many of its logs are open."""

    def __init__(self, reader):
        self.reader = reader
        self._lock = threading.Lock()
        self._users = 0

    def take(self):
        with self._lock:
            self._users += 1

    def give_back(self):
        with self._lock:
            self._users -= 1
            if not self._users:
                self.reader.close()


class ArchiveLog(EventLog):
    """The log of one cell in an exported file: the records of the time of the export, at their positions.

    ``faults`` are LogGap errors of the file as a whole. Reading raises :class:`Damaged` at a record that cannot be
    read. ``redacted`` and ``made_ns`` are facts of the export.
    """

    def __init__(self, shared, cell, range_):
        reader = shared.reader
        self.url = f"{reader.path} ({cell})"
        self.cell = cell
        self.redacted, self.made_ns = reader.header.redacted, reader.header.made_ns
        self._shared = shared
        self._closed = threading.Event()
        chunks = sorted(
            (frame for frame in reader.frames if frame.kind == CHUNK and frame.head.cell == cell),
            key=lambda frame: frame.head.first,
        )
        self._parts = _parts(chunks, range_)
        self._firsts = [part.first for part in self._parts]
        self._snapshots = sorted(
            (frame for frame in reader.frames if frame.kind == SNAPSHOT and frame.head.cell == cell),
            key=lambda frame: frame.head.position,
        )
        self.faults = list(reader.faults)
        self._range = range_
        shared.take()

    def bounds(self) -> Bounds:
        if self._closed.is_set():
            raise checks.closed(self.url)
        if not self._parts:
            first = 0 if self._range is None else self._range.first
            return Bounds(first, first - 1)
        return Bounds(self._parts[0].first, self._parts[-1].last)

    def fence(self) -> int:
        return self.bounds().last

    def append(self, payloads) -> None:
        raise errors.LogForbidden(
            f"cannot append to {self.url}: an exported file is read-only; import it into a new log"
        )

    def read_from(self, position: int) -> "ArchiveReader":
        checks.check_position(position, self.bounds(), self.url)
        return ArchiveReader(self, position)

    def snapshots_before(self, position: int):
        """Yield the packed snapshots of the first state and of the last one up to a position, where the
        file has some."""
        places = [frame.head.position for frame in self._snapshots]
        for index in sorted({0, bisect_right(places, position) - 1}):
            if 0 <= index < len(places) and places[index] <= position:
                packed = self._shared.reader.body(self._snapshots[index])
                if packed is not None:
                    yield packed

    def verify(self):
        """Yield (records, fault) of each part of the log: how many records it has, and None, or the LogGap of one that
        cannot be read."""
        for number, _part in enumerate(self._parts):
            try:
                yield len(self._load(number)), None
            except Damaged as fault:
                yield 0, fault

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._shared.give_back()

    def _load(self, number):
        """Return the records of a part; raise Damaged if it cannot be read."""
        part = self._parts[number]
        records = None if part.frame is None else self._shared.reader.records(part.frame)
        if records is None:
            what = "are missing" if part.frame is None else "are damaged (their checksum or form is wrong)"
            raise Damaged(
                f"the records {part.first} to {part.last} of {self.cell} in {self._shared.reader.path} "
                f"{what}; export them again",
                part.last + 1,
            )
        return records

    def _part_of(self, position):
        """Return the number of the part that has a position, or else of the next part."""
        number = max(0, bisect_right(self._firsts, position) - 1)
        return number + (number < len(self._parts) and self._parts[number].last < position)

    def __repr__(self):
        return f"<ArchiveLog {self.url}>"


def _parts(chunks, range_):
    """Return the parts of a cell's log, by position. Positions that the header or the chunks name and that no chunk has
    are lost. If two chunks have the same positions (no export writes that), the first one counts."""
    parts, last = [], None
    for frame in chunks:
        head = frame.head
        if last is not None and head.first <= last:
            if head.last > last:
                parts.append(_Part(last + 1, head.last, None))
                last = head.last
            continue
        before = range_.first - 1 if range_ is not None else head.first - 1
        lost_from = before + 1 if last is None else last + 1
        if head.follows != (-1 if last is None else last) and lost_from < head.first:
            parts.append(_Part(lost_from, head.first - 1, None))
        parts.append(_Part(head.first, head.last, frame))
        last = head.last
    return parts


class ArchiveReader(LogReader):
    """Reads the log of one cell in an exported file. No record ever arrives after its end."""

    def __init__(self, log: ArchiveLog, position: int):
        self.position = position
        self._log = log
        self._closed = threading.Event()
        self._number = None
        self._records = ()

    def read(self, max_records: int = 1000, timeout: float = 0.0, max_bytes: int = READ_BYTES) -> list[Record]:
        checks.check_read(max_records, timeout, max_bytes)
        deadline = time.monotonic() + timeout
        while True:
            if self._closed.is_set() or self._log._closed.is_set():
                raise checks.closed(self._log.url)
            records = self._next(max_records, max_bytes)
            remaining = deadline - time.monotonic()
            if records or remaining <= 0:
                return records
            self._log._closed.wait(min(remaining, 0.1))

    def _next(self, max_records, max_bytes):
        number = self._log._part_of(self.position)
        if number >= len(self._log._parts):
            return []
        if number != self._number:
            self._records, self._number = self._log._load(number), number
        begin = bisect_left(self._records, self.position, key=itemgetter(0))
        records = [Record(*record) for record in self._records[begin : begin + max_records]]
        del records[checks.count_within((len(record.payload) for record in records), max_bytes) :]
        self.position = records[-1].position + 1
        return records

    def close(self) -> None:
        self._closed.set()
        self._records = ()
