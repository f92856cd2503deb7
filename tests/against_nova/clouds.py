"""The fold of many events at once, without the checks after each event that :class:`tests.builders.Cell` makes."""

from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from tests.builders import EPOCH, Voice


def fold(cell, published, table=None, level=1):
    """The projection of events, each a (producer, frozen record), in a log of a level."""
    projection, voices = Projection(cell, table), {}
    made = [voices.setdefault(producer, Voice(producer)).say(data) for producer, data in published]
    records = codec.encode_records(EPOCH, codec.encode_events(made, level), level)
    if level > 1:
        pin = Voice("operator/one").say(events.LevelPinned(level))
        records.insert(0, codec.encode_record(EPOCH, [pin]))
    projection.fold([(position, codec.decode_record(record)) for position, record in enumerate(records)])
    assert not projection.quarantine, list(projection.quarantine)[:3]
    return projection
