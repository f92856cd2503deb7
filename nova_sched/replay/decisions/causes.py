"""The events that made something so: found at a position, or backwards from one."""

from typing import NamedTuple

from nova_sched.replay.logs.reading import backwards, decoded_records
from rpc_api.codec import Event


class Cause(NamedTuple):
    """An event that made something so: where it stands, when and by whom it was said, and ``what`` it did, in words."""

    cell: str
    position: int
    at_ns: int | None
    producer: str | None
    what: str


def event_at(log, cell: str, position: int, what: str, test=lambda event: True) -> Cause:
    """The Cause of the first event of the record at a position that passes a test; of an unknown producer where the
    log does not hold it any more."""
    for _, record in decoded_records(log, position, position):
        for event in record.events:
            if isinstance(event, Event) and test(event):
                return Cause(cell, position, event.at_ns, event.producer, what)
    return Cause(cell, position, None, None, what)


def since(log, cell: str, last: int, words, holds, what: str) -> Cause | None:
    """The Cause of what has been so ever since, up to the record ``last``: the event with which it began.

    ``holds(event)`` is True for an event after which it is so, False for one after which it is not, None for one that
    says nothing of it. Only records are looked at in which all ``words`` stand. None where no event says so.
    """
    found = None
    for position, record in backwards(log, words, last):
        for event in reversed(record.events):
            held = holds(event) if isinstance(event, Event) else None
            if held is False:
                return found
            if held:
                found = Cause(cell, position, event.at_ns, event.producer, what)
    return found
