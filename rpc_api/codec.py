"""The msgpack codec: events <-> the bytes of a log record, within limits.

A record is the msgpack array ``[level, epoch, [event, ...]]``: the level in whose forms its events are
(:mod:`rpc_api.levels`), the epoch of the log that it was written for, and a batch of events. An event is the array
``[name, version, producer, producer_epoch, sequence, at_ns, [field, ...]]``.

Reading never fails: for any bytes, the result is a list in which each event is either an :class:`Event` or a
:class:`SetAside` with its reason.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, final

import msgpack

from rpc_api import errors, events, levels
from rpc_api.events.schema import FrozenRecord, Refused, SchemaObject, check_version, thaw_fields
from rpc_api.log.port import FENCE, MAX_RECORD_BYTES
from rpc_api.packing import unpack

#: Greatest size of an event, unless its class has another.
MAX_EVENT_BYTES = SchemaObject.MAX_BYTES
MAX_EVENTS_A_RECORD = 10_000
MAX_NAME = 255
#: Bytes that are kept of an event that is set aside; the whole event is in the log at its position.
MAX_RAW_BYTES = 16 * 1024
#: Level of a record -> name of an event -> the form in which it is read there, of those that were read.
EVENT_FORMS: defaultdict[int, dict[str, levels.Form]] = defaultdict(dict)


@final
class Event(NamedTuple):
    """One event of the log.

    ``producer`` is ``role/name``; ``producer_epoch`` (a time in nanoseconds) is its incarnation, in which its events
    are numbered ``sequence`` = 1, 2, 3. ``at_ns`` is the producer's wall clock (nanoseconds since 1970, for people: no
    decision depends on it). ``data`` is the frozen record of the class ``name``.
    """

    name: str
    version: str
    producer: str
    producer_epoch: int
    sequence: int
    at_ns: int
    data: FrozenRecord


@final
class SetAside(NamedTuple):
    """An event (or a whole record) that cannot be used: a stable ``code``, a ``reason`` for people, its first bytes."""

    code: str
    reason: str
    raw: bytes


class DecodedRecord(NamedTuple):
    """The content of a record: the ``epoch`` that it was written for (None if unreadable) and its events in order; the
    ``account`` that it was appended with (see :mod:`rpc_api.accounts`), its bytes, if they are known (see
    :mod:`rpc_api.proof`), and its ``level`` (see :mod:`rpc_api.levels`; also one that this process does not know)."""

    epoch: str | None
    events: list[Event | SetAside]
    account: str | None = None
    payload: bytes | None = None
    level: int = 1


def make_event(data: FrozenRecord, producer: str, producer_epoch: int, sequence: int, at_ns: int) -> Event:
    """Wrap a frozen record into an event of its producer."""
    schema = data.schema
    return Event(schema.__name__, schema.VERSION, producer, producer_epoch, sequence, at_ns, data)


def encode_events(batch: Iterable[Event], level: int = 1) -> list[bytes]:
    """Pack each event in the form of a level; raises TooLarge for one over the ``max_bytes`` of its class.

    Raises InvalidEvent for an event that readers would set aside, and for one that the level does not have.
    """
    packed, pack = [], msgpack.Packer(use_bin_type=True).pack
    for event in batch:
        schema = event.data.schema
        thaw_fields(schema, event.data)
        version, cut, _ = levels.form_of(schema, level)
        if cut is not None or version != event.version:
            event = event._replace(version=version, data=event.data if cut is None else cut(event.data))
        try:
            encoded = pack(event)
        except (ValueError, OverflowError) as fault:
            raise errors.InvalidEvent(
                f"a {event.name} event cannot be packed ({fault}); fix the text or number in it "
                "that msgpack does not accept"
            ) from None
        if len(encoded) > schema.max_bytes(level):
            raise errors.TooLarge(
                f"a {event.name} event has {len(encoded)} bytes, wanted at most {schema.max_bytes(level)}; "
                "split its content, or shorten its texts"
            )
        packed.append(encoded)
    return packed


def encode_records(
    epoch: str,
    packed_events: Sequence[bytes],
    level: int = 1,
    max_events: int = MAX_EVENTS_A_RECORD,
    max_bytes: int = MAX_RECORD_BYTES,
) -> list[bytes]:
    """Put packed events of a level, in order, into as few records as these limits allow. An event of more than
    ``max_bytes`` gets a record of its own."""
    records: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for event in packed_events:
        if batch and (size + len(event) > max_bytes - 1024 or len(batch) == max_events):
            records.append(_record(epoch, batch, level))
            batch, size = [], 0
        batch.append(event)
        size += len(event)
    if batch:
        records.append(_record(epoch, batch, level))
    return records


def _record(epoch: str, batch: list[bytes], level: int) -> bytes:
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    packer.pack_array_header(3)
    packer.pack(level)
    packer.pack(epoch)
    packer.pack_array_header(len(batch))
    head: bytes = packer.bytes()
    return head + b"".join(batch)


def encode_record(epoch: str, batch: Iterable[Event], level: int = 1) -> bytes:
    """Pack a batch that fits one record, in the forms of a level."""
    records = encode_records(epoch, encode_events(batch, level), level)
    if len(records) != 1:
        raise errors.TooLarge(f"the batch needs {len(records)} records, wanted one; append it in parts")
    return records[0]


def decode_record(payload: bytes, account: str | None = None) -> DecodedRecord:
    """Read a record that was appended with an account. Never raises:
    what cannot be read comes back as :class:`SetAside`. A fence of the log has no events, and no epoch."""
    if payload.startswith(FENCE):
        return DecodedRecord(None, [], account, payload)
    opened = _opened(payload)
    if isinstance(opened, DecodedRecord):
        return opened._replace(account=account)
    level, epoch, batch = opened
    forms = EVENT_FORMS[level]
    decoded = [_decode_event(raw, level, forms) for raw in batch]
    if len(payload) > MAX_EVENT_BYTES:
        for index, size in enumerate(event_sizes(payload)):
            if size > MAX_EVENT_BYTES:
                decoded[index] = _checked_size(decoded[index], size, level, batch[index])
    return DecodedRecord(epoch, decoded, account, payload, level)


def decode_holding(payload: bytes, groups: Sequence[Collection[bytes]]) -> list[tuple[int, Event | SetAside]]:
    """Read the events of a record whose bytes contain at least one byte string of each group: [(index, event)], each
    event as :func:`decode_record` returns it. This makes a search for a few events fast: the other events are not
    decoded."""
    if not groups or payload.startswith(FENCE):
        return list(enumerate(decode_record(payload).events))
    if not all(any(map(payload.__contains__, group)) for group in groups):
        return []
    opened = _opened(payload)
    if isinstance(opened, DecodedRecord):
        return list(enumerate(opened.events))
    sizes = list(event_sizes(payload))
    level, _, batch = opened
    found = []
    for index in _holding(payload, sizes, groups):
        raw, size = batch[index], sizes[index]
        found.append((index, _checked_size(_decode_event(raw, level, EVENT_FORMS[level]), size, level, raw)))
    return found


def _holding(payload: bytes, sizes: list[int], groups: Sequence[Collection[bytes]]) -> list[int]:
    """Indexes of the events whose bytes contain at least one byte string of each group; ``sizes`` are those of all
    events of the record."""
    ends = list(accumulate(sizes, initial=len(payload) - sum(sizes)))
    wanted = set(range(len(sizes)))
    for group in groups:
        found = set()
        for needle in group:
            place = payload.find(needle)
            while place >= 0:
                index = bisect_right(ends, place) - 1
                if index < 0:
                    place = payload.find(needle, place + 1)
                    continue
                # (A match that reaches over the end of an event is in no event.)
                if place + len(needle) <= ends[index + 1]:
                    found.add(index)
                place = payload.find(needle, max(place + 1, ends[index + 1] - len(needle) + 1))
        wanted &= found
    return sorted(wanted)


def _opened(payload: bytes) -> DecodedRecord | tuple[int, str, tuple[Any, ...]]:
    """(level, epoch, events as unpacked values) of a record; for an unreadable one the DecodedRecord that says why."""
    if len(payload) > MAX_RECORD_BYTES:
        return _aside_record(
            "too-large", f"a record of {len(payload)} bytes, wanted at most {MAX_RECORD_BYTES}", payload
        )
    try:
        record = unpack(payload)
    except errors.InvalidEvent as broken:
        return _aside_record("undecodable", str(broken), payload)
    if type(record) is not tuple or not record or type(record[0]) is not int:
        return _aside_record("undecodable", "a record that is not [level, epoch, events]", payload)
    if not 1 <= record[0] <= levels.LEVEL:
        return _aside_record(
            "unknown-format",
            f"a record of level {record[0]}, this process knows 1 to {levels.LEVEL}; upgrade nova_sched",
            payload,
        )._replace(level=max(1, record[0]), epoch=_epoch_of(record))
    if len(record) != 3 or type(record[1]) is not str or len(record[1]) > MAX_NAME or type(record[2]) is not tuple:
        return _aside_record("undecodable", "a record whose epoch is not a short string or events not a list", payload)
    if len(record[2]) > MAX_EVENTS_A_RECORD:
        return _aside_record("too-large", f"{len(record[2])} events, wanted at most {MAX_EVENTS_A_RECORD}", payload)
    return record[0], record[1], record[2]


def _epoch_of(record: tuple[Any, ...]) -> str | None:
    """The epoch of a record of another level; it is at this place in the forms of all levels."""
    return record[1] if len(record) > 1 and type(record[1]) is str and len(record[1]) <= MAX_NAME else None


def event_sizes(payload: bytes) -> Iterator[int]:
    """Yield the size of each event of a readable record, in bytes."""
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_RECORD_BYTES)
    unpacker.feed(payload)
    unpacker.read_array_header()
    unpacker.skip()
    unpacker.skip()
    for _ in range(unpacker.read_array_header()):
        before = unpacker.tell()
        unpacker.skip()
        yield unpacker.tell() - before


def _checked_size(event: Event | SetAside, size: int, level: int, raw: object) -> Event | SetAside:
    """An event that was read from a record of a level, or that it is too large for its class."""
    most = MAX_EVENT_BYTES if type(event) is SetAside else event.data.schema.max_bytes(level)
    if size <= most:
        return event
    return SetAside("too-large", f"an event of {size} bytes, wanted at most {most}", _raw(raw))


def _aside_record(code: str, reason: str, payload: bytes) -> DecodedRecord:
    return DecodedRecord(None, [SetAside(code, reason, payload[:MAX_RAW_BYTES])], None, payload)


def _decode_event(raw: Any, level: int, forms: dict[str, levels.Form]) -> Event | SetAside:
    try:
        name, version, producer, producer_epoch, sequence, at_ns, values = raw
        if (
            type(name) is not str
            or type(version) is not str
            or type(producer) is not str
            or len(producer) > MAX_NAME
            or type(producer_epoch) is not int
            or type(sequence) is not int
            or type(at_ns) is not int
            or not 0 < sequence < 2**63
            or not 0 < producer_epoch < 2**63
            or not 0 <= at_ns < 2**63
        ):
            raise ValueError
    except (ValueError, TypeError):
        return SetAside(
            "undecodable", "an event that is not [name, version, producer, epoch, sequence, time, fields]", _raw(raw)
        )
    form = forms.get(name)
    if form is None:
        try:
            form = forms[name] = _form_of(name, level, producer)
        except _Unreadable as unreadable:
            return SetAside(unreadable.code, unreadable.reason, _raw(raw))
    try:
        newest, _, check = form
        if version != newest:
            check_version(events.EVENTS[name], version, newest)
        data = check(values)
    except Refused as refused:
        return SetAside("invalid", f"{name} cannot be read: wanted {refused}; fix its producer", _raw(raw))
    except errors.UnknownSchema as newer:
        return SetAside("newer-version", str(newer), _raw(raw))
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), _raw(raw))
    return Event(name, version, producer, producer_epoch, sequence, at_ns, data)


class _Unreadable(Exception):
    """No event of this name can be read in records of this level."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def _form_of(name: str, level: int, producer: str) -> levels.Form:
    schema = events.EVENTS.get(name)
    if schema is None:
        raise _Unreadable("unknown-type", f"an event of the type {name[:80]!r}, which this process does not know")
    if schema.LEVEL > level:
        raise _Unreadable(
            "newer-level",
            f"a {name} event of {producer[:80]}, which needs level {schema.LEVEL}, in a record of level {level}",
        )
    return levels.form_of(schema, level)


def _raw(raw: object) -> bytes:
    """The first bytes of an event that is set aside, packed again from its values."""
    try:
        packed: bytes = msgpack.packb(raw, use_bin_type=True, datetime=False)
    except (ValueError, TypeError, OverflowError):
        packed = repr(raw).encode()
    return packed[:MAX_RAW_BYTES]
