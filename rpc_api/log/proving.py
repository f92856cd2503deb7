"""Compare a log with the records that were read from it before: see :mod:`rpc_api.proof`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rpc_api import errors
from rpc_api.log.port import Bounds, EventLog, Record
from rpc_api.proof import RECORDS, Proof, record_digest

#: Seconds in which an existing record must arrive.
TIMEOUT = 10.0
BATCH = 1000


class Loss(NamedTuple):
    """A log of the same epoch lost records that were read from it: as many as ``positions``, after the position
    ``kept``. ``certain`` is False if it may have lost more."""

    kept: int
    positions: int
    certain: bool

    def __str__(self) -> str:
        return f"{'' if self.certain else 'at least '}{self.positions} positions, those after {self.kept}"


def check(log: EventLog, bounds: Bounds, proof: Proof) -> str | None:
    """Why a proof does not hold for a log (an EventLog and its Bounds); None if it holds.

    The last record of the proof must be in the log; earlier ones may have been removed in front. Raises LogUnavailable
    and LogGap as the log's readers do.
    """
    if not proof:
        return "it does not name the records that it was made from"
    last = proof[-1][0]
    if last > bounds.last:
        return f"the log ends at {bounds.last}, so it lost its last records"
    if last < bounds.first:
        return f"the record {last} that would prove it was removed, the log begins at {bounds.first}"
    if _found(log, bounds, proof[0][0], last, record_digest) != {
        position: digest for position, digest in proof if position >= bounds.first
    }:
        return f"the records up to {last} are not those that it was made from, so the log lost records and grew again"
    return None


def lost(
    log: EventLog,
    bounds: Bounds,
    known: Sequence[tuple[int, object]],
    digest: Callable[[bytes], object] = record_digest,
) -> Loss | None:
    """What a log lost at its end of the ``known`` records: (position, ``digest(payload)``), oldest first. None if it
    has them, or if they were removed in front."""
    if not known or known[-1][0] < bounds.first:
        return None
    last = known[-1][0]
    found = _found(log, bounds, known[0][0], bounds.last if _ends_before(log, bounds, last) else last, digest)
    kept = None
    for position, expected in known:
        if position < bounds.first:
            continue
        if found.get(position) != expected:
            before = position - 1 if kept is None else kept
            return Loss(before, last - before, kept is not None)
        kept = position
    return None


def _ends_before(log: EventLog, bounds: Bounds, last: int) -> bool:
    """Whether a log has no record at the position ``last``. Only a reader knows this for certain, or raises
    LogUnavailable: the bounds come from those nodes of a cluster that answered."""
    if bounds.last >= last:
        return False
    try:
        log.read_from(last + 1).close()
    except errors.PositionAhead:
        return True
    return False


def records_up_to(log: EventLog, bounds: Bounds, last: int) -> list[Record]:
    """The records that a proof of the state at the position ``last`` would name; [] if the log has no record there."""
    if not bounds.first <= last <= bounds.last:
        return []
    return _read(log, max(bounds.first, last - RECORDS + 1), last)


def _found(
    log: EventLog, bounds: Bounds, first: int, last: int, digest: Callable[[bytes], object]
) -> dict[int, object]:
    """Position -> digest of the records of a log from one position to another, as far as the log has them."""
    return {record.position: digest(record.payload) for record in _read(log, max(first, bounds.first), last)}


def _read(log: EventLog, position: int, last: int) -> list[Record]:
    """The records of a log from one position to another."""
    found: list[Record] = []
    if position > last:
        return found
    with log.read_from(position) as reader:
        while reader.position <= last:
            records = reader.read(min(BATCH, last - reader.position + 1), TIMEOUT)
            if not records:
                raise errors.LogUnavailable(
                    f"the record {reader.position} of {log.url} did not arrive within {TIMEOUT:.0f} s; check its broker"
                )
            found.extend(record for record in records if record.position <= last)
    return found
