"""Take over a cloud while it runs: compare what was read with the logs, and write what differs."""

from collections.abc import Mapping
from typing import NamedTuple

from nova_sched.migration import compare, nova_hosts, nova_only, nova_state, to_logs
from nova_sched.migration.cells import cells_of
from nova_sched.migration.cloud import Cloud
from nova_sched.migration.compare import Difference
from nova_sched.migration.from_logs import placement_of
from nova_sched.migration.log_writer import LogWriter, Refusal
from nova_sched.migration.owners import Owner, with_owners
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from rpc_api.events.schema import FrozenRecord
from rpc_api.log.port import EventLog

#: Nobody was asked for the owners of servers.
NO_OWNERS: Mapping[str, Owner] = {}


class Written(NamedTuple):
    """What one round of an import wrote: the number of events, and those of them that had no effect."""

    events: int
    refusals: list[Refusal]
    #: Whether the logs had something that is newer than what was read of the cloud: it is left to the next round.
    newer: bool = False


def differences(
    cloud: Cloud,
    projections: Mapping[str, Projection],
    generations: bool,
    of_agents: bool = False,
    owners: Mapping[str, Owner] = NO_OWNERS,
) -> list[Difference]:
    """All differences between a cloud and the logs, of which what agents report is no part (unless ``of_agents``).
    Consumers of which the logs do not have the project or the user count as if they had those of their ``owners``."""
    ours = with_owners(placement_of(projections, of_agents), owners)
    return [
        *compare.differences_of(cloud.placement, ours, generations),
        *(nova_state.differences_of_nova(cloud, projections) if cloud.nova is not None else ()),
        *nova_hosts.facts_differences(cloud, projections),
    ]


class TakeOver:
    """Writes into some logs as ``operator/NAME``; ``projections`` are their states, which follow."""

    def __init__(self, logs: Mapping[str, EventLog], projections: Mapping[str, Projection], name: str) -> None:
        self._projections = projections
        self._writers = {cell: LogWriter(cell, log, projections[cell], name) for cell, log in logs.items()}
        self._events, self._refusals = 0, []

    def follow(self) -> None:
        """Fold what the logs have got."""
        for writer in self._writers.values():
            writer.follow()

    def round(self, cloud: Cloud, cell_of_host: Mapping[str, str]) -> Written:
        """Write what differs from a cloud, as it was read. A run that is interrupted anywhere is continued by the
        next one."""
        self.follow()
        self._events, self._refusals = 0, []
        cells = cells_of(cloud.placement, self._projections, cloud.host_of(), {**cloud.cell_of_host(), **cell_of_host})
        for cell, part in to_logs.parts_of(cloud.placement, cells, self._projections).items():
            projection = self._projections[cell]
            self._write(cell, to_logs.providers(part, placement_of({cell: projection})))
            self._write(cell, nova_hosts.host_events(cloud, projection))
            self._write(cell, to_logs.consumers(part, projection, nova_state.Terms(cloud, projection)))
            self._write(cell, to_logs.removals(part, placement_of({cell: projection}, of_agents=False)))
            self._write(cell, nova_state.instance_events(cloud, projection))
        self._write(CELL0, nova_state.aggregate_events(cloud, self._projections))
        return Written(self._events, self._refusals)

    def nova_round(self, cloud: Cloud, before: nova_only.Seen) -> Written:
        """As :meth:`round`, but only what is Nova's own; ``before`` is what the logs had before Nova was read."""
        self.follow()
        self._events, self._refusals = 0, []
        newer = nova_only.Newer(before, self._projections)
        for cell, projection in self._projections.items():
            for make in nova_only.STEPS:
                self._write(cell, make(cloud, projection, newer))
        self._write(CELL0, nova_state.aggregate_events(cloud, self._projections, newer.aggregates))
        return Written(self._events, self._refusals, newer.any())

    def _write(self, cell: str, batch: list[FrozenRecord]) -> None:
        if batch:
            self._refusals += self._writers[cell].write(batch)
            self._events += len(batch)
