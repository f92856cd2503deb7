"""Every event of a log that was set aside, in the order of the log. Only one record is in memory at a time."""

from typing import NamedTuple

import msgpack

from nova_sched.projection.projection import Projection, shows_level
from nova_sched.projection.set_aside import CODES as CODES
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import errors
from rpc_api.codec import DecodedRecord, Event


class SetAsideEvent(NamedTuple):
    """An event that does not count: its place, the reason, its producer (None if that cannot be read), and its bytes.

    A record of a foreign epoch is one such event, with the producer and bytes of its first event. ``at_ns`` is the time
    of the last event before it that counts, because its own time may be wrong.
    """

    position: int
    index: int
    code: str
    reason: str
    producer: str | None
    raw: bytes
    at_ns: int | None = None


def judge(projection: Projection, position: int, record: DecodedRecord, is_cut: bool):
    """Fold a record as :meth:`Projection.fold` does. The records of a cut log are judged without what was before them:
    until a LogRebased, its level is the one that they show."""
    if (
        is_cut
        and not projection.counts["LogRebased"]
        and record.level > projection.level
        and shows_level(record, projection.accounts_required)
    ):
        projection.use_level(record.level, position)
    return projection.fold([(position, record)])


def set_aside(cell: str, log, folded=lambda projection: None):
    """Fold a log and yield a :class:`SetAsideEvent` for each event that does not count. At its end
    ``folded(projection)`` is called.

    Raise LogGap at the end if first records were removed: events that depend on them were judged without them.
    """
    bounds, first, at_ns = log.bounds(), None, None
    projection = Projection(cell, kept=None)
    for position, record in decoded_records(log):
        events = [event for event in record.events if isinstance(event, Event)]
        first = first or next((event.name for event in events), None)
        judge(projection, position, record, bounds.first > 0)
        aside = {aside_event.index for aside_event in projection.quarantine}
        at_ns = next(
            (
                event.at_ns
                for index, event in enumerate(record.events)
                if isinstance(event, Event) and index not in aside and record.epoch == projection.epoch
            ),
            at_ns,
        )
        for aside_event in projection.quarantine:
            yield _told(aside_event, record.events[aside_event.index] if record.events else None)._replace(at_ns=at_ns)
        projection.quarantine.clear()
        projection.noted.clear()
    folded(projection)
    if bounds.first > 0 and first != "LogRebased":
        raise errors.LogGap(
            f"the log of {cell} begins at position {bounds.first}, and the records before it are "
            "not known; events that depend on them are judged without them"
        )


def _told(aside, event):
    if isinstance(event, Event):
        return SetAsideEvent(
            aside.position, aside.index, aside.code, aside.reason, event.producer, msgpack.packb(event)
        )
    raw = event.raw if event else b""
    return SetAsideEvent(aside.position, aside.index, aside.code, aside.reason, _producer_in(raw), raw)


def _producer_in(raw):
    """Return the producer of an unreadable event; None if the producer cannot be read either."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(raw), 1))
    unpacker.feed(raw)
    try:
        if unpacker.read_array_header() < 3:
            return None
        unpacker.skip()
        unpacker.skip()
        producer = unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException):
        return None
    return producer if isinstance(producer, str) else None
