"""What a worker of the API shows of itself: the facts of a report, samples for its metrics, and why it is not ready.

Any thread may ask, and only a report waits for the lock of the state."""

from collections.abc import Iterator
from typing import Any

from nova_sched.process.monitoring.families import Sample, one_or_zero
from nova_sched.process.monitoring.followed import FollowedLog
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.report import log_facts, projection_facts
from placement_api.ledger_log import LedgerLog
from placement_api.region import Region


class ShownRegion:
    """A Region as a Monitor wants it."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def report(self) -> dict[str, Any]:
        """Facts for the report of the process."""
        region = self._region
        return {
            "name": region.name,
            "new roots": region.new_roots.cell,
            "writes over several logs": len({uuid for state in region.projections() for uuid in state.prepared}),
            **{cell: self._facts(log) for cell, log in region.logs.items()},
        }

    def _facts(self, log: LedgerLog) -> dict[str, Any]:
        with self._region.lock:
            facts = {"writes in flight": len(log.under_way), **projection_facts(log.projection)}
        start = {"cell": log.cell, "takes writes": log.refusal or "yes"}
        return {**start, **facts, **log_facts(log.cell_log, facts["position"])}

    def pulses(self) -> list[Pulse]:
        """The loops that look after the logs."""
        return [log.pulse for log in self._region.logs.values()]

    def followed(self) -> list[FollowedLog]:
        """The logs as they are now."""
        return [
            FollowedLog(log.cell_log, log.projection, log.why_down, log.why_stale, log.backlog.since)
            for log in self._region.logs.values()
        ]

    def samples(self) -> Iterator[Sample]:
        """The samples beside those of the logs."""
        yield from self._region.measures.samples()
        for log in self._region.logs.values():
            cell = (log.cell,)
            yield Sample("nova_sched_placement_write_duration_seconds", log.write_times, cell)
            yield Sample("nova_sched_placement_writes_in_flight", len(log.under_way), cell)
            yield Sample("nova_sched_placement_takes_writes", one_or_zero(log.refusal is None), cell)

    def why_not_ready(self) -> list[str]:
        """A sentence for each log that cannot be read and written now, if none can."""
        found = [_why_not_ready(log) for log in self._region.logs.values()]
        return self._region.why_cannot_answer() or ([] if None in found else [why for why in found if why is not None])

    def look(self) -> None:
        """Nothing must be asked for."""


def _why_not_ready(log: LedgerLog) -> str | None:
    """Why answers about a log may be old, or no write is taken now."""
    return log.why_stale or log.refusal
