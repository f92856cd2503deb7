"""What consumers hold in all logs of an endpoint. Call all of it under the lock of the region.

A part of a write over several logs counts as soon as its home log has decided it, although its own log has not
committed it yet: no client may see half of a write.
"""

import hashlib
from typing import NamedTuple

from nova_sched.projection.allocations import Amounts, held_by
from nova_sched.projection.writes import given_back_by, sums_of
from rpc_api.events import ConsumerPut


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
