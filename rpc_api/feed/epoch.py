"""The epoch of a log: its first record says which incarnation of the log this is."""

import uuid
from collections.abc import Callable
from typing import NamedTuple

from rpc_api import codec, errors, events, levels
from rpc_api.clock import SYSTEM, Clock
from rpc_api.log.port import FENCE, EventLog

OPEN_TIMEOUT = 10.0


class Opening(NamedTuple):
    """How a log begins: its ``epoch``, and whether it is ``whole``, that is, whether it still has its first record. If
    records were removed in front and a LogRebased is the first one, the fold decides whether it counts: it knows which
    producers may publish it."""

    epoch: str
    whole: bool
    #: The cell that its first record names; None if that record was removed. Of a log that is not ``whole`` only a
    #: LogRestored names it.
    cell: str | None = None

    @property
    def is_restored(self) -> bool:
        """Whether the log begins with a LogRestored: its state is in the checkpoint after that."""
        return not self.whole and self.cell is not None


def opening_of(log: EventLog, timeout: float = OPEN_TIMEOUT) -> Opening | None:
    """How a log begins, by the first record of which an event can be read; None when it has none.

    Raises UnknownSchema when the first record is not one of ours.
    """
    bounds = log.bounds()
    if not bounds.count:
        return None
    first = None
    with log.read_from(bounds.first) as reader:
        while reader.position <= bounds.last:
            for record in reader.read(1, timeout):
                first, found = first or record, codec.decode_record(record.payload)
                if record.payload.startswith(FENCE):
                    continue
                if found.epoch is None and record.position > 0:
                    continue  # not a record of ours, and not the first record of the log
                if found.epoch is None:
                    why = next(event.reason for event in found.events if isinstance(event, codec.SetAside))
                    raise errors.UnknownSchema(
                        f"the log {log.url} does not begin with a record of nova_sched ({why}); "
                        "name another log, or upgrade nova_sched"
                    )
                event = next((event for event in found.events if isinstance(event, codec.Event)), None)
                if found.level > levels.LEVEL:
                    return Opening(found.epoch, False)  # it goes on in forms that this process does not know
                if event is not None:
                    opened = event.data
                    if bounds.first == 0 and isinstance(opened, events.LogOpened):
                        return Opening(found.epoch, True, opened.cell)
                    if bounds.first == 0 and isinstance(opened, events.LogRestored):
                        return Opening(found.epoch, False, opened.cell)
                    return Opening(found.epoch, False)
            if first is None:
                raise errors.LogUnavailable(
                    f"the first record of {log.url} did not come within {timeout} s; check its broker"
                )
    return None


def opening_in(log: EventLog, cell: str) -> Opening | None:
    """How the log of a cell begins; None when it is empty. Raises as :func:`opening_of`, and UsageError for the log of
    another cell, if its first record is still there and says so."""
    opening = opening_of(log)
    if opening is not None and opening.cell not in (None, cell):
        raise errors.UsageError(f"{log.url} is the log of {opening.cell}, wanted that of {cell}; name another log")
    return opening


def epoch_of(log: EventLog, timeout: float = OPEN_TIMEOUT) -> str | None:
    """Epoch of a log; None when it is empty. Raises as :func:`opening_of`."""
    opening = opening_of(log, timeout)
    return opening.epoch if opening else None


def may_begin(producer: str) -> bool:
    """Whether a producer may write the first record of a log. That of another one would be set aside."""
    return producer.partition("/")[0] in events.EVENTS["LogOpened"].ROLES


def ensure_open(
    log: EventLog, cell: str, producer: str, clock: Clock = SYSTEM, new_uuid: Callable[[], object] = uuid.uuid4
) -> Opening:
    """How a log begins; an empty log gets its first record. If several processes do so at once, the first record
    counts. LogGone for an empty log if the producer may not begin it (:func:`may_begin`)."""
    opening = opening_in(log, cell)
    if opening is None and not may_begin(producer):
        raise errors.LogGone(
            f"the log {log.url} is empty, and {producer} may not write its first record; create the log "
            "(nova-sched create-log)"
        )
    if opening is None:
        mine = str(new_uuid())
        # Earlier than any later incarnation of the same producer: its first event must not look like a duplicate of
        # this one.
        opened = codec.make_event(events.LogOpened(cell, mine), producer, clock.now_ns() - 1, 1, clock.now_ns())
        log.append([codec.encode_record(mine, [opened])])
        opening = opening_of(log)
    if opening is None:
        raise errors.LogUnavailable(f"{log.url} does not hold the record that was appended to it; check its broker")
    return opening


def open_at_level(
    log: EventLog, cell: str, producer: str, level: int = levels.LEVEL, clock: Clock = SYSTEM
) -> tuple[Opening, bool]:
    """How a log begins, and whether it is new: an empty log gets its first record, and a pin to a level (see
    :mod:`rpc_api.levels`). The producer is an operator: no service may decide for the others that all of them know the
    level."""
    is_new = opening_of(log) is None
    opening = ensure_open(log, cell, producer, clock)
    if is_new and level > 1:
        append_pin(log, opening.epoch, producer, level, clock=clock)
    return opening, is_new


def append_pin(
    log: EventLog, epoch: str, producer: str, level: int, level_before: int = 1, clock: Clock = SYSTEM
) -> codec.Event:
    """Append the pin of an operator to a log that is at ``level_before``; returns the event."""
    now_ns = clock.now_ns()
    pinned = codec.make_event(events.LevelPinned(level), producer, now_ns, 1, now_ns)
    log.append([codec.encode_record(epoch, [pinned], level_before)])
    return pinned
