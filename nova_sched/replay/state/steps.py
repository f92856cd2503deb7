"""Fold a record event by event, so that the effect of each event can be looked at."""

from collections.abc import Iterator
from typing import NamedTuple

from nova_sched.projection.projection import Outcome, Projection, Written
from rpc_api import errors
from rpc_api.codec import DecodedRecord, Event, SetAside


class Effect(NamedTuple):
    """An event of a record that was folded a moment ago: the ``outcome`` of a claim, and how a write of Placement's API
    was ``written``; both are None for other events, and for an event that did not count."""

    index: int  # type: ignore[assignment]  # hides a method of tuple
    event: Event | SetAside | None
    outcome: Outcome | None
    written: Written | None


def steps(projection: Projection, position: int, record: DecodedRecord) -> Iterator[Effect]:
    """Fold a record as ``projection.fold`` does, and yield the Effect of each event when it was folded. A record
    without events has one Effect, without an event.

    The caller takes all of them: the state is that of the record after the last one.
    """
    if position <= projection.position:
        raise errors.LogGap(f"the log of {projection.cell} goes from position {projection.position} back to {position}")
    before = projection.writes
    projection.writes = []
    try:
        for index, event in enumerate(record.events):
            outcomes: list[Outcome] = []
            projection.fold_record(position, record._replace(events=[event]), outcomes, [])
            written = projection.writes.pop() if projection.writes else None
            yield Effect(index, event, outcomes[0] if outcomes else None, written)
    finally:
        projection.writes = before
    projection.passed(position, record.payload)
    if not record.events:
        yield Effect(0, None, None, None)
