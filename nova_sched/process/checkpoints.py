"""Checkpoints in a log: the ones that its records show, and the state that the newest one gives.

A checkpoint is a snapshot in parts, in StateKept events. A reader that starts does not know where they are: so
CheckpointNamed events near the end of the log name the newest complete one, and the reader looks back for those.
"""

import logging
from collections import deque
from typing import NamedTuple

from nova_sched.projection import snapshot
from nova_sched.projection.received import Received
from nova_sched.projection.state import CELL0
from rpc_api import codec, errors
from rpc_api.accounts import speaks_for
from rpc_api.events.cloud import ANYONE, StateKept
from rpc_api.log import proving

LOG = logging.getLogger(__name__)

#: Bytes of a state in one part.
PART_BYTES = 900 * 1024
#: Parts of a checkpoint, at most: more than a state of ``snapshot.MAX_STATE_BYTES`` needs.
MAX_PARTS = 2000
#: Checkpoints that are followed at once, and complete ones that are remembered.
MAX_BEGUN, MAX_COMPLETE = 32, 16
#: Those that do not count, of which the uuids are remembered.
MAX_REFUSED = 1000
#: Records at the end of the log in which a reader looks first, and how much further each next look goes.
FIRST_LOOK, FURTHER = 200, 10
#: In a log that has all its records a reader looks no further back than this: it can fold the log. Conductors name the
#: newest checkpoint far more often.
LONGEST_LOOK = 20_000
#: Seconds in which an existing record must arrive.
TIMEOUT = 10.0
#: The names of the events, as they are in the bytes of a record.
_NAMES = (b"StateKept", b"CheckpointNamed")


class Checkpoint(NamedTuple):
    """A complete checkpoint: its parts are in the records from ``first`` to ``last``, and it is the state after the
    record at ``position``. ``at_ns`` is the time of the event that shows it, and ``size`` is in bytes, None if its
    parts were not read."""

    uuid: str
    producer: str
    position: int
    first: int
    last: int
    at_ns: int
    size: int | None = None


def may_keep(cell: str, producer: str, account: str | None, accounts_required: bool = False) -> bool:
    """Whether a checkpoint of a producer counts for readers: it must be one of the services that keep the state of this
    log, and an account that names a service must be the one of this producer.

    A reader that starts does not know yet whether the log requires accounts: ``accounts_required`` is what is
    configured.
    """
    role = producer.partition("/")[0]
    if role not in StateKept.ROLES or role == ("conductor" if cell == CELL0 else "scheduler"):
        return False
    if account is None or account.partition(".")[0] not in ANYONE:
        return not accounts_required
    return speaks_for(account, producer)


class _Begun:
    """A checkpoint whose parts are coming."""

    def __init__(self, of, position, first, bytes_before):
        self.of, self.position, self.first = of, position, first
        self.bytes_before = bytes_before
        self.parts = self.size = 0
        self.received = Received()


class Checkpoints:
    """The checkpoints that the records of one log show, in the order of the log.

    Only numbers are kept, and the checksum of what came; so a part that is damaged, missing or of another log makes the
    checkpoint one that does not count. ``why_not_of(checkpoint, proof)`` returns why a complete one does not count all
    the same, None if it does; its proof is None if its parts did not come. ``refused`` are uuids of some that do not.
    """

    def __init__(
        self,
        cell: str,
        epoch: str | None = None,
        accounts_required: bool = False,
        why_not_of=lambda checkpoint, proof: None,
        refused=frozenset(),
    ):
        self.cell = cell
        self.epoch = epoch
        self._why_not_of = why_not_of
        #: Uuids of some that do not count, which may be named all the same.
        self._refused = deque(refused, maxlen=MAX_REFUSED)
        self._accounts_required = accounts_required
        self._begun = {}
        #: The complete ones that are known, by their uuid.
        self._complete = {}
        #: The one with the latest state; None if none is known.
        self.newest: Checkpoint | None = None
        #: Records and bytes since the first part of the newest one, and how many of the records are no part of any.
        self.records = self.bytes = self.others = 0
        self._bytes_seen = 0
        #: Position of the record that last named the newest one, or completed it, and records since.
        self.named_at, self.records_since_named = None, 0
        #: (Producer, position, how many parts came, of how many) of the part that came last.
        self.last_part = None
        #: Why the last one that did not count does not count.
        self.why_not = None

    def see_all(self, records) -> None:
        """Records (position, DecodedRecord) come."""
        for position, record in records:
            self.see(position, record)

    def see(self, position: int, record: codec.DecodedRecord) -> None:
        """A record comes."""
        payload = record.payload
        size = 0 if payload is None else len(payload)
        self._bytes_seen += size
        self.bytes += size
        self.records += 1
        self.records_since_named += 1
        if record.level < StateKept.LEVEL or (payload is not None and not any(map(payload.__contains__, _NAMES))):
            self.others += 1
            return
        if self.epoch is not None and record.epoch != self.epoch:
            return
        for event in record.events:
            if type(event) is codec.SetAside or event.name not in ("StateKept", "CheckpointNamed"):
                continue
            if not may_keep(self.cell, event.producer, record.account, self._accounts_required):
                self.why_not = (
                    f"{event.producer} may not keep the state of {self.cell} with the account {record.account}"
                )
            elif event.name == "StateKept":
                self._part(position, event, size)
            else:
                self._named(position, event)

    def know(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is known in another way: a reader began with it."""
        self._add(checkpoint)

    def candidates(self) -> list[Checkpoint]:
        """All that are known, the latest state first."""
        return sorted(self._complete.values(), key=lambda known: known.position, reverse=True)

    def under_way(self) -> dict[str, int]:
        """Uuid -> the position of the first part, of those that are not complete."""
        return {uuid: begun.first for (_, uuid), begun in self._begun.items()}

    def first_of(self, uuid: str) -> int | None:
        """The position of the first part of a checkpoint, complete or not; None if it was not met."""
        if uuid in self._complete:
            return self._complete[uuid].first
        return self.under_way().get(uuid)

    def _part(self, position, event, size):
        data = event.data
        key = event.producer, data.checkpoint_uuid
        begun = self._begun.get(key)
        if begun is None:
            if data.part:
                return  # it began before the records that we read, or does not count
            if not (1 <= data.of <= MAX_PARTS and data.position < position):
                return self._refuse(key, position, f"it has {data.of} parts, and a state at position {data.position}")
            while len(self._begun) >= MAX_BEGUN:
                del self._begun[next(iter(self._begun))]
            begun = self._begun[key] = _Begun(data.of, data.position, position, self._bytes_seen - size)
        if data.part < begun.parts:
            return  # appended twice
        if (data.part, data.of, data.position) != (begun.parts, begun.of, begun.position):
            return self._refuse(
                key, position, f"part {data.part} of {data.of} came, wanted {begun.parts} of {begun.of}"
            )
        begun.received.add(data.content)
        begun.parts += 1
        begun.size += len(data.content)
        self.last_part = event.producer, position, begun.parts, begun.of
        if begun.parts == begun.of:
            self._end(key, position, event, begun)

    def _end(self, key, position, event, begun):
        try:
            head = begun.received.head()
            _check_head(head, self.cell, self.epoch, begun.position)
        except errors.NovaSchedError as fault:
            return self._refuse(key, position, str(fault))
        found = Checkpoint(key[1], event.producer, head.position, begun.first, position, event.at_ns, begun.size)
        self._begun.pop(key)
        if not self._counts(found, head.proof, position):
            return
        if self._add(found):
            self.others = position - begun.first + 1 - begun.of
            self.bytes = self._bytes_seen - begun.bytes_before
            self.records = position - begun.first + 1
            self.named_at, self.records_since_named = position, 0

    def _named(self, position, event):
        data = event.data
        found = Checkpoint(data.checkpoint_uuid, event.producer, data.position, data.first, data.last, event.at_ns)
        if not data.position < data.first <= data.last < position:
            return
        if found.uuid not in self._complete:
            if found.uuid in self._refused or not self._counts(found, None, position):
                return
            self._add(found)
        if self.newest is not None and self.newest.uuid == found.uuid:
            self.named_at, self.records_since_named = position, 0

    def _counts(self, found, proof, position):
        """Whether a complete one counts, of which the record at a position shows that it is complete. If the log cannot
        be asked now, it may count when it is named."""
        try:
            why_not = self._why_not_of(found, proof)
        except errors.LogUnavailable as fault:
            LOG.warning("the checkpoint %s of %s does not count until it is named: %s", found.uuid, self.cell, fault)
            return False
        if why_not is not None:
            self._refuse((found.producer, found.uuid), position, why_not)
        return why_not is None

    def _add(self, found):
        """Remember a complete one; returns whether it is the newest one by that."""
        self._complete[found.uuid] = found
        while len(self._complete) > MAX_COMPLETE:
            del self._complete[min(self._complete, key=lambda uuid: self._complete[uuid].position)]
        if self.newest is not None and found.position <= self.newest.position:
            return False
        self.newest = found
        self.records = self.bytes = self.others = 0
        return True

    def _refuse(self, key, position, why):
        self._begun.pop(key, None)
        self._refused.append(key[1])
        self.why_not = f"the checkpoint {key[1]} of {key[0]} in record {position}: {why}"
        LOG.warning("a checkpoint in the log of %s does not count: %s", self.cell, self.why_not)


def _check_head(head, cell, epoch, position):
    """Raise SnapshotMismatch unless a head is of this log and of this position."""
    if head.cell != cell or (epoch is not None and head.epoch != epoch) or head.position != position:
        raise errors.SnapshotMismatch(
            f"it is the state of {head.cell} in the log {head.epoch} at position {head.position}, "
            f"wanted {cell}, {epoch} and {position}"
        )


class Found(NamedTuple):
    """The newest checkpoint of a log that fits, and its bytes; the uuids of all that were looked at; and the newest one
    that was met, if its state is not later than what the reader has already."""

    checkpoint: Checkpoint | None
    packed: bytes | None
    tried: frozenset[str]
    passed: Checkpoint | None = None


def newest_in(
    log, cell: str, epoch: str, whole: bool, after: int = -1, refused=frozenset(), accounts_required: bool = False
) -> Found:
    """The newest complete checkpoint of a log (an EventLog of an epoch), whose state is later than the position
    ``after``, and which proves to be of the log. One that does not is skipped with a warning, and the one before it
    is tried; so are those that are ``refused`` (uuids).

    A log that is ``whole`` is not searched to its beginning. Raises as the log's readers do.
    """
    bounds, tried, passed = log.bounds(), set(refused), None
    # A little further back than needed, to meet a name of an earlier one: it need not be written again.
    lowest, span = max(bounds.first, min(after + 1, bounds.last + 1 - FIRST_LOOK)), FIRST_LOOK
    while bounds.count:
        start = max(lowest, bounds.last + 1 - span)
        seen, highest_level = _look(log, start, bounds.last, Checkpoints(cell, epoch, accounts_required))
        for candidate in seen.candidates():
            if candidate.position <= after and passed is not None:
                break
            if candidate.uuid in tried:
                continue
            tried.add(candidate.uuid)
            packed = _fitting(log, bounds, cell, epoch, candidate, accounts_required)
            if packed is None:
                continue
            if candidate.position > after:
                return Found(candidate, packed, frozenset(tried))
            passed = candidate
        if start == lowest or (whole and (span >= LONGEST_LOOK or highest_level < StateKept.LEVEL)):
            break
        span *= FURTHER
    return Found(None, None, frozenset(tried), passed)


def all_in(log, cell: str, epoch: str, position: int):
    """Yield the bytes of all checkpoints of a log that fit it, of states up to a position, the latest state first. The
    whole log is searched."""
    bounds = log.bounds()
    if bounds.count:
        seen, _ = _look(log, bounds.first, bounds.last, Checkpoints(cell, epoch))
        for candidate in seen.candidates():
            packed = _fitting(log, bounds, cell, epoch, candidate, False) if candidate.position <= position else None
            if packed is not None:
                yield packed


def _look(log, start, last, seen):
    """(What the records from one position to another show, the highest level of them)."""
    highest = 1
    for record in _records(log, start, last):
        # The level is the second byte, and most records have no checkpoint: they need not be decoded.
        highest = max(highest, record.payload[1] if record.payload[:1] == b"\x93" else 1)
        if any(map(record.payload.__contains__, _NAMES)):
            seen.see(record.position, codec.decode_record(record.payload, record.account))
    return seen, highest


def _records(log, start, last):
    with log.read_from(start) as reader:
        while reader.position <= last:
            records = reader.read(1000, TIMEOUT)
            if not records:
                raise errors.LogUnavailable(
                    f"the record {reader.position} of {log.url} did not arrive within {TIMEOUT:.0f} s; check the log"
                )
            yield from (record for record in records if record.position <= last)


def _fitting(log, bounds, cell, epoch, candidate, accounts_required):
    """The bytes of a checkpoint if they are complete and of this log; else None, and a warning."""
    try:
        packed = content_of(log, bounds, cell, candidate, accounts_required)
        head = snapshot.check(packed)
        _check_head(head, cell, epoch, candidate.position)
        wrong = proving.check(log, bounds, head.proof)
        if wrong is not None:
            raise errors.SnapshotMismatch(wrong)
        return packed
    except (errors.SnapshotMismatch, errors.UnknownSchema, errors.PositionTruncated) as fault:
        LOG.warning(
            "the checkpoint %s of %s (state at position %d, in the records %d to %d) is skipped: %s",
            candidate.uuid,
            cell,
            candidate.position,
            candidate.first,
            candidate.last,
            fault,
        )
    return None


def reason_against(log, cell: str, epoch: str, accounts_required: bool, checkpoint: Checkpoint, proof) -> str | None:
    """Why a complete checkpoint is not of a log, which may have lost the records that it was made of; None if it is.
    Without a ``proof`` its parts are read. LogUnavailable if the log cannot be read now."""
    try:
        bounds = log.bounds()
        if proof is not None:
            return proving.check(log, bounds, proof)
        is_of_log = _fitting(log, bounds, cell, epoch, checkpoint, accounts_required) is not None
        return None if is_of_log else "it does not fit the log"
    except errors.LogGap as fault:
        return f"nothing proves that it is of this log: {fault}"


def content_of(log, bounds, cell: str, checkpoint: Checkpoint, accounts_required: bool = False) -> bytes:
    """The bytes of a checkpoint; SnapshotMismatch if its parts are not all in the log."""
    parts, of = [], None
    if not bounds.first <= checkpoint.first <= checkpoint.last <= bounds.last:
        raise errors.SnapshotMismatch("its parts are not in the log")
    for record in _records(log, checkpoint.first, checkpoint.last):
        if checkpoint.uuid.encode() not in record.payload:
            continue
        found = codec.decode_record(record.payload, record.account)
        for event in found.events:
            if type(event) is codec.SetAside or event.name != "StateKept":
                continue
            data = event.data
            if (
                data.checkpoint_uuid == checkpoint.uuid
                and data.part == len(parts)
                and of in (None, data.of)
                and may_keep(cell, event.producer, record.account, accounts_required)
            ):
                of = data.of
                parts.append(data.content)
    if of is None or len(parts) != of:
        raise errors.SnapshotMismatch(f"{len(parts)} of {of or 'its'} parts are there")
    return b"".join(parts)
