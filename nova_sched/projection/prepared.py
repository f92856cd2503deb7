"""Writes of allocations over several logs, in two steps.

Each of the logs takes an AllocationsPrepared with its part. The part is checked there as an AllocationsPut would be. If
it is accepted, the room that it needs beyond what its consumers hold is held under the uuid of the write, and nobody
else may write these consumers. When all logs have accepted their parts, a WriteCommitted in the *home* log decides;
then the other logs get theirs. A WriteAborted gives up what is held. Of the two, the first one in the home log counts.

The home log takes its part first, and it remembers a write that it committed until a WriteEnded says that all logs have
committed it. So a part in another log that the home log knows nothing of was given up.

A part may also have consumers that hold nothing and get nothing, so that they are locked: the uuid of one may follow
from a name that an endpoint of several logs must not give twice.
"""

from collections.abc import Sequence

from nova_sched.projection.allocations import put, take_out
from nova_sched.projection.ledger import Committed, Prepared, Tree
from nova_sched.projection.noted import Noted
from nova_sched.projection.provider_writes import Answer
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_refusals import WriteRefused, refused
from nova_sched.projection.writes import given_back_by, malformed, put_all, put_refusal, sums_of
from rpc_api import events
from rpc_api.codec import SetAside
from rpc_api.events import Allocation, ConsumerPut


def allocations_prepared(
    projection: State, position: int, event: EventOf[events.AllocationsPrepared], noted: list[Noted]
) -> Answer:
    """Hold the room for the part of a write, and lock its consumers."""
    data = event.data
    fault = malformed(event, data.consumers)
    if fault is None and (projection.cell not in data.logs or data.home not in data.logs):
        fault = SetAside(
            "invalid",
            f"an AllocationsPrepared of {event.producer} is refused: it names the logs {', '.join(data.logs)[:200]}, "
            f"wanted {projection.cell} and its home among them; fix its producer",
            b"",
        )
    if fault is not None:
        return fault
    if data.write_uuid in projection.prepared or data.write_uuid in projection.consumers:
        return refused(WriteRefused.WRITE_EXISTS, data.write_uuid)
    reason = put_refusal(projection, data.consumers, {})
    if reason is not None:
        return reason
    keep(projection, data.write_uuid, Prepared(data.home, data.logs, data.consumers, event.at_ns))
    _hold(projection, data.write_uuid, position)
    _count_step(projection, data.logs)
    return None


def write_committed(
    projection: State, position: int, event: EventOf[events.WriteCommitted], noted: list[Noted]
) -> Answer:
    """The part of a write takes effect."""
    write_uuid = event.data.write_uuid
    part = projection.prepared.get(write_uuid)
    if part is None:
        return refused(WriteRefused.NOT_PREPARED, write_uuid)
    _release(projection, write_uuid, part)
    _count_step(projection, part.logs)
    put_all(projection, part.consumers, position, event.at_ns)
    if part.home == projection.cell:
        # Its consumers stay locked, as they may hold something else in the other logs until these have committed it.
        consumers = tuple(one.consumer_uuid for one in part.consumers)
        keep_committed(projection, write_uuid, Committed(part.logs, consumers, event.at_ns))
    return None


def write_aborted(projection: State, position: int, event: EventOf[events.WriteAborted], noted: list[Noted]) -> Answer:
    """The part of a write is given up."""
    write_uuid = event.data.write_uuid
    part = projection.prepared.get(write_uuid)
    if part is None:
        return refused(WriteRefused.NOT_PREPARED, write_uuid)
    _release(projection, write_uuid, part)
    _count_step(projection, part.logs)
    return None


def write_ended(projection: State, position: int, event: EventOf[events.WriteEnded], noted: list[Noted]) -> Answer:
    """All logs have committed a write: its home log may forget it."""
    decided = projection.committed.pop(event.data.write_uuid, None)
    if decided is None:
        return refused(WriteRefused.NOT_PREPARED, event.data.write_uuid)
    for consumer_uuid in decided.consumers:
        del projection.locked[consumer_uuid]
    _count_step(projection, decided.logs)
    return None


def keep(projection: State, write_uuid: str, part: Prepared) -> None:
    """Remember a part, and lock its consumers."""
    projection.prepared[write_uuid] = part
    for one in part.consumers:
        projection.locked[one.consumer_uuid] = write_uuid


def keep_committed(projection: State, write_uuid: str, decided: Committed) -> None:
    """Remember what this log decided, and lock its consumers."""
    projection.committed[write_uuid] = decided
    projection.locked.update(dict.fromkeys(decided.consumers, write_uuid))


def hold_again(projection: State, consumer_uuid: str, position: int) -> None:
    """A consumer that may be locked holds less than before: the write in which it takes part must hold more, so that
    its room is still there when it is committed."""
    write_uuid = projection.locked.get(consumer_uuid)
    if write_uuid in projection.prepared:
        if write_uuid in projection.consumers:
            take_out(projection, write_uuid)
        _hold(projection, write_uuid, position)


def is_busy(projection: State, tree: Tree) -> bool:
    """Whether a write over several logs that is under way needs a tree: nobody else may decide there meanwhile."""
    return any(
        any(projection.trees.get(held.provider_uuid) is tree for held in one.allocations)
        or any(projection.hosts.get(entry.host) is tree for entry in projection.consumers.get(one.consumer_uuid, ()))
        for part in projection.prepared.values()
        for one in part.consumers
    )


def _hold(projection: State, write_uuid: str, position: int) -> None:
    """Hold what a part needs beyond what its consumers hold."""
    consumers = projection.prepared[write_uuid].consumers
    terms = next((one.terms for one in consumers if one.terms is not None), None)
    put(projection, write_uuid, None, _increase(projection, consumers), (), frozenset(), terms, position)


def _count_step(projection: State, logs: Sequence[str]) -> None:
    """Readers of several logs look whether one has folded a step that another one has not."""
    projection.steps_over_logs += len(logs) > 1


def _release(projection: State, write_uuid: str, part: Prepared) -> None:
    del projection.prepared[write_uuid]
    for one in part.consumers:
        del projection.locked[one.consumer_uuid]
    if write_uuid in projection.consumers:
        take_out(projection, write_uuid)


def _increase(projection: State, consumers: Sequence[ConsumerPut]) -> tuple[Allocation, ...]:
    """What some consumers get of each provider beyond what they hold together."""
    freed = given_back_by(projection, consumers)
    return tuple(
        Allocation(*key, amount - freed.get(key, 0))
        for key, amount in sorted(sums_of(consumers).items())
        if amount > freed.get(key, 0)
    )
