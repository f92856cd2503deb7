"""The file of exported logs: frames, each with its checksum, and an index at the end.

    magic, format
    header                       redacted, when, by which version, and of each cell its epoch and range
    chunk | snapshot, ...        records of one cell (about 1 MiB before compression); the state of a cell at a position
    index                        heads and places of all frames
    end                          where the index is

A frame is a marker, its kind, the lengths of head and body, a checksum of these and the head (which has the checksum of
the body), head and body. So the cell and the positions of a damaged part are mostly known, and a file without its end
can be read frame by frame.
"""

import os
import struct
import zlib
from hashlib import blake2b
from typing import NamedTuple

import msgpack

from rpc_api import errors
from rpc_api.log.port import MAX_RECORD_BYTES
from rpc_api.packing import unpack

MAGIC = b"\x89NSLOG\r\n"
FORMAT = 1
_START = struct.Struct(">8sH")
_MARKER = b"\xfeNSf"
_FRAME = struct.Struct(">4scII16s")
_END = struct.Struct(">Q16s8s")
_END_MAGIC = b"NSLOGend"
HEADER, CHUNK, SNAPSHOT, INDEX = b"H", b"C", b"S", b"I"
CHUNK_BYTES = 1 << 20
#: Of zlib, chosen by measurement (bench/replay.py, 50 MB of records): 9.2 MB in 1.6 s, read in 0.2 s; lzma 0 gives
#: 7.9 MB in 4.0 s and takes 0.9 s to read, lzma 6 5.3 MB in 28 s.
LEVEL = 6
_MAX_CHUNK_BYTES = CHUNK_BYTES + 2 * MAX_RECORD_BYTES
_MAX_HEAD_BYTES = 1 << 20
_MAX_BODY_BYTES = 1 << 30
#: Positions and times are below this number.
_END_OF_NUMBERS = 1 << 63


class Range(NamedTuple):
    """One cell in the header: the ``epoch`` of its log (None: empty), and the exported positions."""

    cell: str
    epoch: str | None
    first: int
    last: int


class Header(NamedTuple):
    """The header: how the file was made; ``ranges`` are :class:`Range`."""

    redacted: bool
    made_ns: int
    version: str
    ranges: tuple


class Chunk(NamedTuple):
    """Records of a cell: positions ``first`` to ``last``, ``count`` records with ``events`` events from ``first_ns`` to
    ``last_ns`` (0: none says). ``follows`` is the last position of the chunk of this cell before it (-1: this
    is the first)."""

    cell: str
    first: int
    last: int
    count: int
    events: int
    first_ns: int
    last_ns: int
    follows: int
    sum: bytes


class Snapshot(NamedTuple):
    """The state of a cell after the record at a position."""

    cell: str
    position: int
    sum: bytes


class Frame(NamedTuple):
    """A frame: the place of its body, and its head."""

    kind: bytes
    head: tuple
    offset: int
    length: int


_TYPES = {
    CHUNK: (str, int, int, int, int, int, int, int, bytes),
    SNAPSHOT: (str, int, bytes),
    HEADER: (bool, int, str, tuple, bytes),
    INDEX: (bytes,),
}
_CLASSES = {CHUNK: Chunk._make, SNAPSHOT: Snapshot._make}


def _sum(*parts):
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.digest()


class Damaged(errors.LogGap):
    """A part of an exported file cannot be read; reading can continue at the position ``resume_at``."""

    def __init__(self, message, resume_at=None):
        super().__init__(message)
        self.resume_at = resume_at


class Writer:
    """Writes a file. The cells may come in any order, but the positions of each cell must rise."""

    def __init__(self, file, header: Header):
        self._file = file
        self._frames = []
        self._pending = {}
        self._follows = {}
        self._offset = 0
        self._put(_START.pack(MAGIC, FORMAT))
        self._frame(HEADER, tuple(header), b"")

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._offset

    def add(self, cell: str, record, events: int, at_ns: int) -> None:
        """Add a :class:`~rpc_api.log.Record`; ``events`` are in it, the first one of ``at_ns`` (0: none says)."""
        pending = self._pending.setdefault(cell, _Pending())
        pending.add(record, events, at_ns)
        if pending.size >= CHUNK_BYTES:
            self._flush(cell)

    def snapshot(self, cell: str, position: int, packed: bytes) -> None:
        """Add the state of a cell after the record at a position."""
        self._frame(SNAPSHOT, (cell, position), packed)

    def end(self) -> None:
        """Write the remaining records, the index and the end."""
        for cell in list(self._pending):
            self._flush(cell)
        place = self._offset
        index = msgpack.packb([(frame.kind, frame.head, frame.offset, frame.length) for frame in self._frames])
        self._frame(INDEX, (), zlib.compress(index, LEVEL))
        self._put(_END.pack(place, _sum(struct.pack(">Q", place)), _END_MAGIC))

    def _flush(self, cell):
        pending = self._pending.pop(cell)
        head = (cell, *pending.facts(), self._follows.get(cell, -1))
        self._follows[cell] = pending.records[-1][0]
        self._frame(CHUNK, head, zlib.compress(msgpack.packb(pending.records), LEVEL))

    def _frame(self, kind, head, body):
        head = (*head, _sum(body))
        packed = msgpack.packb(head)
        lengths = struct.pack(">II", len(packed), len(body))
        self._put(_MARKER + kind + lengths + _sum(kind, lengths, packed) + packed)
        self._frames.append(Frame(kind, head, self._offset, len(body)))
        self._put(body)

    def _put(self, data):
        self._file.write(data)
        self._offset += len(data)


class _Pending:
    """Records of the next chunk of a cell."""

    def __init__(self):
        self.records = []
        self.size = self._events = 0
        self._times = []

    def add(self, record, events, at_ns):
        self.records.append(tuple(record))
        self.size += len(record.payload)
        self._events += events
        if at_ns:
            self._times = [min([at_ns, *self._times]), max([at_ns, *self._times])]

    def facts(self):
        first_ns, last_ns = self._times or (0, 0)
        return self.records[0][0], self.records[-1][0], len(self.records), self._events, first_ns, last_ns


class Reader:
    """Reads a file: its ``header``, the heads of its ``frames``, and the ``faults`` (LogGap) of the file as a whole.

    Raise UsageError for any other file, UnknownSchema for a file of a newer format."""

    def __init__(self, path):
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"cannot read {path} ({fault.strerror}); check its name and its permissions"
            ) from None
        self._size = os.fstat(self._fd).st_size
        self.faults = []
        try:
            self._check_start()
            self.frames = self._by_index()
            if self.frames is None:
                self.frames = self._by_scan()
            self.header = self._header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def body(self, frame: Frame) -> bytes | None:
        """Return the body of a frame; None if it is damaged or missing."""
        body = os.pread(self._fd, frame.length, frame.offset)
        return body if len(body) == frame.length and _sum(body) == frame.head[-1] else None

    def records(self, frame: Frame) -> list | None:
        """Return the records of a chunk, [(position, payload, account)]; None if it is damaged."""
        body = self.body(frame)
        try:
            unzip = zlib.decompressobj()
            records = unpack(unzip.decompress(body, _MAX_CHUNK_BYTES)) if body is not None else None
        except (zlib.error, errors.InvalidEvent):
            return None
        return records if _are_records(records, frame.head) else None

    def _check_start(self):
        start = os.pread(self._fd, _START.size, 0)
        if len(start) < _START.size or start[: len(MAGIC)] != MAGIC:
            raise errors.UsageError(
                f"{self.path} is not a file of nova-sched-replay export or nova-sched backup; name another one"
            )
        format_ = _START.unpack(start)[1]
        if format_ != FORMAT:
            raise errors.UnknownSchema(
                f"{self.path} is an export of format {format_}, this process knows {FORMAT}; upgrade nova_sched"
            )

    def _header(self):
        head = next((frame.head for frame in self.frames if frame.kind == HEADER), None)
        try:
            redacted, made_ns, version, ranges, _ = head
            ranges = tuple(Range(*range_) for range_ in ranges)
            if not all(map(_is_range, ranges)) or len({range_.cell for range_ in ranges}) < len(ranges):
                raise ValueError
            return Header(redacted, made_ns, version, ranges)
        except (TypeError, ValueError):
            self.faults.append(Damaged(f"the header of {self.path} is damaged, so its cells and ranges are not known"))
            return Header(False, 0, "", ())

    def _by_index(self):
        """Return the frames of the index; None if there is no readable index."""
        end = os.pread(self._fd, _END.size, max(0, self._size - _END.size))
        if len(end) < _END.size:
            return None
        place, sum_, magic = _END.unpack(end)
        if magic != _END_MAGIC or sum_ != _sum(struct.pack(">Q", place)):
            return None
        found = self._frame_at(place)
        body = self.body(found) if found is not None and found.kind == INDEX else None
        if body is None:
            return None
        try:
            # The entry of a frame is shorter than the frame, so an index is never longer than the file.
            frames = [Frame(*frame) for frame in unpack(zlib.decompressobj().decompress(body, self._size))]
        except (zlib.error, errors.InvalidEvent, TypeError):
            return None
        if not all(_is_frame(frame) and self._holds(frame) for frame in frames):
            return None
        return [_made(frame) for frame in frames]

    def _holds(self, frame):
        """Return whether the body of a frame is within the file."""
        return frame.offset + frame.length <= self._size

    def _by_scan(self):
        """Return all frames that can be found one after the other. Bytes between them are skipped."""
        self.faults.append(
            Damaged(
                f"{self.path} has no index, or a damaged one: the file was cut off "
                "or changed; only what can be read counts; export the logs again, or take another backup"
            )
        )
        frames, place = [], _START.size
        while place < self._size:
            found = self._frame_at(place)
            if found is not None and self._holds(found):
                frames.append(found)
                place = found.offset + found.length
            else:
                place = self._next_marker(place + 1)
        return frames

    def _frame_at(self, place):
        fixed = os.pread(self._fd, _FRAME.size, place)
        if len(fixed) < _FRAME.size:
            return None
        marker, kind, head_length, body_length, sum_ = _FRAME.unpack(fixed)
        if marker != _MARKER or head_length > _MAX_HEAD_BYTES:
            return None
        head = os.pread(self._fd, head_length, place + _FRAME.size)
        if _sum(kind, struct.pack(">II", head_length, body_length), head) != sum_:
            return None
        try:
            frame = Frame(kind, unpack(head), place + _FRAME.size + head_length, body_length)
        except errors.InvalidEvent:
            return None
        return _made(frame) if _is_frame(frame) else None

    def _next_marker(self, place):
        while place < self._size:
            block = os.pread(self._fd, 1 << 20, place)
            found = block.find(_MARKER)
            if found >= 0:
                return place + found
            place += max(1, len(block) - len(_MARKER) + 1)
        return self._size


def _is_frame(frame):
    return (
        frame.kind in _TYPES
        and type(frame.head) is tuple
        and tuple(map(type, frame.head)) == _TYPES[frame.kind]
        and type(frame.offset) is type(frame.length) is int
        and frame.offset >= 0
        and 0 <= frame.length <= _MAX_BODY_BYTES
        and _can_be(frame.kind, frame.head)
    )


def _can_be(kind, head):
    """Return whether the numbers in the head of a frame are possible."""
    if kind == CHUNK:
        _, first, last, count, *facts, follows, _ = head
        return (
            first <= last
            and count > 0
            and follows >= -1
            and all(0 <= number < _END_OF_NUMBERS for number in (first, last, *facts, follows + 1))
        )
    return kind != SNAPSHOT or 0 <= head[1] < _END_OF_NUMBERS


def _is_range(range_):
    return (
        type(range_.cell) is str
        and type(range_.epoch) in (str, type(None))
        and type(range_.first) is type(range_.last) is int
        and 0 <= range_.first <= range_.last + 1 <= _END_OF_NUMBERS
    )


def _made(frame):
    make = _CLASSES.get(frame.kind)
    return frame._replace(head=make(frame.head)) if make else frame


def _are_records(records, head):
    """Return whether the records agree with the head of their chunk."""
    if type(records) is not tuple or len(records) != head.count or not records:
        return False
    position = head.first - 1
    for record in records:
        if (
            type(record) is not tuple
            or len(record) != 3
            or type(record[0]) is not int
            or type(record[1]) is not bytes
            or not (record[2] is None or type(record[2]) is str)
            or record[0] <= position
        ):
            return False
        position = record[0]
    return records[0][0] == head.first and position == head.last
