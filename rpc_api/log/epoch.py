"""The epoch of a log: its first record says which incarnation of the log this is."""

import uuid

from rpc_api import codec, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.log.port import EventLog

OPEN_TIMEOUT = 10.0


def epoch_of(log: EventLog, timeout: float = OPEN_TIMEOUT) -> str | None:
    """Epoch of a log by the first record that it holds; None when it is empty.

    Raises UnknownSchema when that record is not one of ours.
    """
    bounds = log.bounds()
    if not bounds.count:
        return None
    with log.read_from(bounds.first) as reader:
        records = reader.read(1, timeout)
    if not records:
        raise errors.LogUnavailable(f"the first record of {log.url} did not come within {timeout} s; see to its broker")
    decoded = codec.decode_record(records[0].payload)
    if decoded.epoch is None:
        raise errors.UnknownSchema(
            f"the log {log.url} does not begin with a record of nova_sched ({decoded.events[0].reason}); "
            "name another log, or upgrade nova_sched")
    return decoded.epoch


def ensure_open(log: EventLog, cell: str, producer: str, clock=SYSTEM) -> str:
    """Epoch of a log, which is begun if it is empty; of several who begin it at once the first one's counts."""
    epoch = epoch_of(log)
    if epoch is None:
        mine = str(uuid.uuid4())
        opened = codec.make_event(events.LogOpened(cell, mine), producer, clock.now_ns(), 1, clock.now_ns())
        log.append([codec.encode_record(mine, [opened])])
        epoch = epoch_of(log)
    return epoch
