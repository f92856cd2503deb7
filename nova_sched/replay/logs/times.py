"""The times of records by their positions, without decoding what is in them."""

import msgpack

from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import records_between
from rpc_api import codec
from rpc_api.levels import LEVEL

#: Number of records to skip by reading, instead of opening a new reader after them.
NEAR = 200


def peeked_time(payload: bytes) -> int | None:
    """Return the same as :func:`nova_sched.replay.logs.moments.time_of`, in a fraction of the time."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload) + 1)
    unpacker.feed(payload)
    try:
        # [level, epoch, [[name, version, producer, producer_epoch, sequence, at_ns, ...
        if unpacker.read_array_header() == 3 and 1 <= unpacker.unpack() <= LEVEL:
            unpacker.skip()
            if (
                unpacker.read_array_header()
                and unpacker.read_array_header() == 7
                and unpacker.unpack() in codec.events.EVENTS
            ):
                for _ in range(4):
                    unpacker.skip()
                at_ns = unpacker.unpack()
                if type(at_ns) is int and 0 <= at_ns < 2**63:
                    return at_ns
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        pass
    return time_of(codec.decode_record(payload).events)


def times_of(log, positions) -> dict[int, int | None]:
    """Return position -> time (nanoseconds since 1970; None if no event can be read) for the records that a log has."""
    bounds, times = log.bounds(), {}
    wanted = sorted({position for position in positions if bounds.first <= position <= bounds.last})
    place = 0
    while place < len(wanted):
        end = place
        while end + 1 < len(wanted) and wanted[end + 1] - wanted[end] <= NEAR:
            end += 1
        times.update(_stretch(log, wanted[place], wanted[end], set(wanted[place : end + 1])))
        place = end + 1
    return times


def _stretch(log, first, last, wanted):
    for record in records_between(log, first, last):
        if record.position in wanted:
            yield record.position, peeked_time(record.payload)
