"""Append the events of an import to a log, and look which of them took effect."""

from typing import NamedTuple

from nova_sched.projection.projection import Projection
from nova_sched.projection.reason import Reason
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, errors
from rpc_api.clock import SYSTEM
from rpc_api.events.schema import FrozenRecord
from rpc_api.log.port import EventLog

#: Events in one record, and bytes: readers fold a record as a whole.
RECORD_EVENTS, RECORD_BYTES = 500, 256 * 1024
#: Events that are appended before their outcomes are looked at.
BATCH = 2000


class Refusal(NamedTuple):
    """An event that has no effect, and why."""

    cell: str
    data: FrozenRecord
    reason: str

    def sentence(self) -> str:
        """It as one line."""
        data = self.data
        named = getattr(data, "provider_uuid", None) or getattr(data, "host", None) or getattr(data, "name", None)
        if named is None and hasattr(data, "consumer"):
            named = data.consumer.consumer_uuid
        return f"{self.cell}: {data.schema.__name__} of {named} has no effect: {self.reason}"


class LogWriter:
    """Writes to the log of a cell as ``operator/NAME``; ``projection`` is its state, which follows. UsageError for a
    log that cannot take the events."""

    def __init__(self, cell: str, log: EventLog, projection: Projection, name: str) -> None:
        if projection.epoch is None:
            raise errors.UsageError(f"the log of {cell} has no record; create it with nova-sched create-log")
        if projection.is_too_new:
            raise projection.unknown_level()
        if not projection.rules.one_ledger:
            raise errors.UsageError(
                f"the log of {cell} is at level {projection.level}, wanted 3 or more; run nova-sched pin first"
            )
        self.cell, self.projection = cell, projection
        self._log = log
        me = f"operator/{name}"
        #: Name and epoch as a producer. The epoch grows, also if an earlier command had a clock that was ahead.
        self._me = me, max(SYSTEM.now_ns(), projection.producers.get(me, (0, 0))[0] + 1)
        self._sequence = 0
        projection.writes = []

    def write(self, batch: list[FrozenRecord]) -> list[Refusal]:
        """Append events, in their order; returns those that have no effect."""
        refusals = []
        for start in range(0, len(batch), BATCH):
            refusals += self._write(batch[start : start + BATCH])
        return refusals

    def _write(self, batch: list[FrozenRecord]) -> list[Refusal]:
        refusals, made = [], []
        for data in batch:
            event = codec.make_event(data, *self._me, self._sequence + 1, SYSTEM.now_ns())
            try:
                packed = codec.encode_events([event], self.projection.level)
            except errors.InvalidEvent as fault:
                refusals.append(Refusal(self.cell, data, str(fault)))
                continue
            self._sequence += 1
            made.append((event, packed[0]))
        if not made:
            return refusals
        level, epoch = self.projection.level, self.projection.epoch or ""
        self._log.append(
            codec.encode_records(epoch, [packed for _, packed in made], level, RECORD_EVENTS, RECORD_BYTES)
        )
        aside = self.follow()
        return refusals + self._refused({event.sequence: event.data for event, _ in made}, aside)

    def follow(self) -> list[Refusal]:
        """Fold what the log has got; returns the events of this writer that were set aside."""
        records = dict(decoded_records(self._log, self.projection.position + 1))
        self.projection.quarantine.clear()
        self.projection.fold(records.items())
        found = []
        for place in self.projection.quarantine:
            event = records[place.position].events[place.index]
            if isinstance(event, codec.Event) and (event.producer, event.producer_epoch) == self._me:
                found.append(Refusal(self.cell, event.data, place.reason))
        return found

    def _refused(self, made: dict[int, FrozenRecord], aside: list[Refusal]) -> list[Refusal]:
        known = self.projection.producers.get(self._me[0])
        if known != (self._me[1], self._sequence):
            why = aside[-1].reason if aside else "they were not read back"
            raise errors.NovaSchedError(
                f"the events of {self._me[0]} do not count in the log of {self.cell}: {why}; use the account operator "
                "or operator.NAME, and run one import at a time"
            )
        found = [
            Refusal(self.cell, made[outcome.sequence], str(outcome.reason))
            for outcome in self.projection.writes or ()
            if (outcome.producer, outcome.producer_epoch) == self._me and isinstance(outcome.reason, Reason)
        ]
        self.projection.writes = []
        return found + aside
