"""Remove old records from a log: at level 3 only those that a checkpoint covers.

Nobody reports API writes again. A server with a policy of its own (RabbitMQ) does not ask; see checkpoint_duty.
"""

from typing import NamedTuple

from nova_sched.process.checkpoints import newest_in
from rpc_api import codec, errors
from rpc_api.events.cloud import StateKept
from rpc_api.feed.epoch import opening_in
from rpc_api.proof import RECORDS

#: Seconds in which an existing record must arrive.
TIMEOUT = 10.0


class Trimmed(NamedTuple):
    """What :func:`trim` did: the first position before and now, and why not more was removed (None: it was all that was
    asked for)."""

    before: int
    first: int
    why_not_more: str | None


def covered(log, cell: str) -> tuple[int, str | None]:
    """(The first position that must stay in a log, why). What is before it is covered by a checkpoint, or the log is
    below level 3, where all that counts is reported again: then it is the last position, and there is no reason."""
    bounds, opening = log.bounds(), opening_in(log, cell)
    if opening is None:
        return bounds.first, "the log is empty"
    found = newest_in(log, cell, opening.epoch, whole=False)
    if found.checkpoint is not None:
        # With the records that prove that it is of this log.
        position = found.checkpoint.position - RECORDS + 1
        return position, f"the newest complete checkpoint has the state up to position {found.checkpoint.position}"
    if _may_be_level_3(log, bounds):
        return bounds.first, (
            "it has no complete checkpoint, and may have API writes, which nobody reports again; let a conductor write "
            "one"
        )
    return bounds.last, None


def trim(log, cell: str, keep_from: int) -> Trimmed:
    """Remove the records before a position from a log, as far as they are covered. UsageError for a log whose server
    removes records by itself."""
    truncate = getattr(log, "truncate_before", None)
    if truncate is None:
        raise errors.UsageError(
            f"records cannot be removed from {log.url} by a command: set a policy for its retention "
            "(docs/operating/retention.md)"
        )
    before = log.bounds().first
    limit, why = covered(log, cell)
    truncate(max(before, min(keep_from, limit)))
    return Trimmed(before, log.bounds().first, why if keep_from > limit else None)


def _may_be_level_3(log, bounds):
    """Whether a record shows that the log is, or was, at level 3."""
    with log.read_from(bounds.first) as reader:
        while reader.position <= bounds.last:
            records = reader.read(1000, TIMEOUT)
            if not records:
                raise errors.LogUnavailable(f"the record {reader.position} of {log.url} did not arrive; check the log")
            for record in records:
                if b"LevelPinned" in record.payload or record.payload[1:2] >= bytes([StateKept.LEVEL]):
                    found = codec.decode_record(record.payload)
                    if found.level >= StateKept.LEVEL or any(map(_pins, found.events)):
                        return True
    return False


def _pins(event):
    return type(event) is codec.Event and event.name == "LevelPinned" and event.data.level >= StateKept.LEVEL
