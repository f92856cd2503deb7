"""What consumers hold in all logs of an endpoint. Call all of it under the lock of the region.

A part of a write over several logs counts as soon as its home log has decided it, although its own log has not
committed it yet: no client may see half of a write.
"""

import hashlib
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

from nova_sched.projection.allocations import Amounts, held_by
from nova_sched.projection.writes import given_back_by, sums_of
from rpc_api.clock import SYSTEM
from rpc_api.events import ConsumerPut

#: So often and for so many seconds a read over several logs is repeated while these change.
ATTEMPTS, CHANGES_SECONDS = 3, 2.0

Answer = TypeVar("Answer")


class Facts(NamedTuple):
    """What is known of a consumer beside what it holds."""

    project_id: str | None
    user_id: str | None
    consumer_type: str | None


def decided_parts(region, log) -> dict[str, ConsumerPut]:
    """The parts that a home log has committed and their own log not yet, by their consumer."""
    return {one.consumer_uuid: one for part in _decided(region, log) for one in part}


def _decided(region, log) -> list[tuple[ConsumerPut, ...]]:
    return [
        part.consumers
        for write_uuid, part in log.projection.prepared.items()
        if part.home in region.logs and write_uuid in region.logs[part.home].projection.committed
    ]


def given_back(region) -> Amounts:
    """What consumers gave back by writes that their home log has committed and another log not yet: the table still
    counts it as used. (It counts all that they got.)"""
    found: Amounts = {}
    for log in region.logs.values():
        for part in _decided(region, log):
            wanted = sums_of(part)
            for key, amount in given_back_by(log.projection, part).items():
                less = amount - wanted.get(key, 0)
                if less > 0:
                    found[key] = found.get(key, 0) + less
    return found


def held_in(region, log, consumer_uuid: str) -> Amounts:
    """What a consumer holds in one log."""
    part = decided_parts(region, log).get(consumer_uuid)
    if part is None:
        return held_by(log.projection, consumer_uuid)
    return {allocation[:2]: allocation.amount for allocation in part.allocations}


# --- all logs at one moment ------------------------------------------------------------------------------------------


def at_one_moment(
    region, fence: Callable[[], object], state: Callable[[], Hashable], read: Callable[[], Answer]
) -> Answer:
    """``read()``, under the lock, of all logs as they were at one moment. Call it without the lock.

    A worker may have folded more of one log than of another one: of a write over both it would show one half. If
    ``state()`` is the same before and after a fence, each log had it when the fence began. Otherwise another fence
    follows, until that was tried ATTEMPTS times and for CHANGES_SECONDS.
    """
    ends_at = SYSTEM.monotonic() + CHANGES_SECONDS
    with region.lock:
        now = state()
    number = 0
    while True:
        fence()
        number, before = number + 1, now
        with region.lock:
            now = state()
            if now == before or (number >= ATTEMPTS and SYSTEM.monotonic() > ends_at):
                return read()


def state_of(region, consumer_uuid: str) -> tuple[Hashable, ...]:
    """What changes with each step of a write that names a consumer, in any log."""
    return tuple(
        (
            write_uuid := log.projection.locked.get(consumer_uuid),
            any(write_uuid in home.projection.committed for home in region.logs.values()),
            *_last_write(log, consumer_uuid),
        )
        for log in region.logs.values()
    )


def is_undecided(region, cells, consumer_uuid: str) -> bool:
    """Whether the log of one of some cells has a part of a write that names a consumer, of which its home log knows
    nothing: the write was given up, or it has ended, and that of this cell is not folded so far."""
    for log in map(region.logs.__getitem__, cells):
        write_uuid = log.projection.locked.get(consumer_uuid)
        part = log.projection.prepared.get(write_uuid)
        if part is not None and part.home in region.logs:
            home = region.logs[part.home].projection
            if write_uuid not in home.prepared and write_uuid not in home.committed:
                return True
    return False


def logs_of(region, consumer_uuid: str) -> list:
    """The logs in which a consumer holds something. (What a write over several logs holds has no consumer.)"""
    return [log for log in region.logs.values() if _is_in(region, log, consumer_uuid)]


def _is_in(region, log, consumer_uuid: str) -> bool:
    if not log.projection.prepared:
        return consumer_uuid in log.projection.consumers
    return consumer_uuid not in log.projection.prepared and bool(held_in(region, log, consumer_uuid))


def facts_of(region, logs, consumer_uuid: str) -> Facts | None:
    """What is known of a consumer that holds something in some logs; None without any."""
    if not logs:
        return None
    found = decided_parts(region, logs[0]).get(consumer_uuid) or logs[0].projection.holders[consumer_uuid]
    return Facts(found.project_id, found.user_id, found.consumer_type)


def locked_in(region, consumer_uuid: str) -> str | None:
    """The cell in whose log a write over several logs that is under way names a consumer; None if none does."""
    return next((log.cell for log in region.logs.values() if consumer_uuid in log.projection.locked), None)


def generation_of(region, logs, consumer_uuid: str) -> int | None:
    """The generation for a client of a consumer that holds something in some logs; None without any.

    In an endpoint of several logs it does not count up: each log counts for itself, and a consumer may be in several of
    them, or leave one for another. There it is a number that is another one after each write in any log.
    """
    if not logs or len(region.logs) == 1:
        return logs[0].projection.holders[consumer_uuid].generation if logs else None
    state = [(log.cell, log.projection.locked.get(consumer_uuid), *_last_write(log, consumer_uuid)) for log in logs]
    digest = hashlib.blake2b(repr(sorted(map(repr, state))).encode(), digest_size=6).digest()
    # Exact in the numbers of every JSON parser.
    return int.from_bytes(digest)


def _last_write(log, consumer_uuid: str) -> tuple[int, int]:
    holder = log.projection.holders.get(consumer_uuid)
    entries = log.projection.consumers.get(consumer_uuid, ())
    return 0 if holder is None else holder.generation, max((entry.position for entry in entries), default=-1)
