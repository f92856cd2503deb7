"""Bring Nova's own state into the logs after Placement's clients write to them: aggregates, the status of hosts, where
instances are, and the terms under which they hold what they hold. No provider, inventory or allocation is touched.

Services run meanwhile. What changed in the logs since before Nova was read is newer than that reading, and is left to
the next one. So a server that was deleted or moved meanwhile does not come back.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nova_sched.migration import nova_hosts, nova_state, to_logs
from nova_sched.migration.cloud import Cloud
from nova_sched.migration.from_logs import consumer_in, placement_of
from nova_sched.migration.owners import owned
from nova_sched.projection.projection import Projection
from rpc_api.events.schema import FrozenRecord


class Seen(NamedTuple):
    """What the logs had before Nova was read: (cell, host) -> its facts and status, (cell, consumer) -> its generation,
    (cell, instance) -> where it is tracked, and aggregates by uuid."""

    hosts: Mapping[tuple[str, str], Any]
    consumers: Mapping[tuple[str, str], int]
    tracked: Mapping[tuple[str, str], Any]
    aggregates: Mapping[str, Any]


def seen(projections: Mapping[str, Projection]) -> Seen:
    """What some logs have now."""
    return Seen(
        {
            (cell, name): (host.inventory, host.status)
            for cell, projection in projections.items()
            for name, host in _hosts(projection).items()
        },
        {
            (cell, uuid): holder.generation
            for cell, projection in projections.items()
            for uuid, holder in projection.holders.items()
        },
        {
            (cell, uuid): place
            for cell, projection in projections.items()
            for of_host in projection.tracked.by_host.values()
            for uuid, place in of_host.items()
        },
        {uuid: found for projection in projections.values() for uuid, found in projection.aggregates.items()},
    )


def _hosts(projection: Projection) -> dict[str, Any]:
    return {**{host.name: host for host in projection.waiting.values()}, **projection.hosts}


def without_placement(cloud: Cloud, projections: Mapping[str, Projection]) -> Cloud:
    """A cloud whose Placement is ours: the logs say what it has."""
    return cloud._replace(placement=placement_of(projections, of_agents=False))


class Newer:
    """What changed in the logs since before Nova was read."""

    def __init__(self, before: Seen, projections: Mapping[str, Projection]) -> None:
        now = seen(projections)
        self.hosts, self.consumers, self.tracked, self.aggregates = (
            {key for key in then.keys() | here.keys() if then.get(key) != here.get(key)}
            for then, here in zip(before, now, strict=True)
        )

    def any(self) -> bool:
        """Whether there is something."""
        return bool(self.hosts or self.consumers or self.tracked or self.aggregates)


def _reports(cloud: Cloud, projection: Projection, newer: Newer) -> list[FrozenRecord]:
    """The events for the facts and the status of hosts."""
    found = nova_hosts.host_events(cloud, projection)
    return [report for report in found if (projection.cell, getattr(report, "host", None)) not in newer.hosts]


def _places(cloud: Cloud, projection: Projection, newer: Newer) -> list[FrozenRecord]:
    """The events that say where instances are."""
    return nova_state.instance_events(
        cloud, projection, {uuid for cell, uuid in newer.tracked if cell == projection.cell}
    )


def _terms(cloud: Cloud, projection: Projection, newer: Newer) -> list[FrozenRecord]:
    """The events that give consumers their terms. Each holds what it holds, with the generation that it has: if another
    write comes first, the event has no effect."""
    if cloud.nova is None:
        return []
    terms_of, moves = nova_state.Terms(cloud, projection), cloud.moves()
    found: list[FrozenRecord] = []
    for uuid in sorted((cloud.nova.instances.keys() | moves.keys()) & projection.holders.keys()):
        if uuid in projection.prepared or (projection.cell, uuid) in newer.consumers:
            continue
        terms = terms_of(uuid)
        if to_logs.lacks(projection, uuid, terms):
            consumer = consumer_in(projection, uuid)
            instance = cloud.nova.instances.get(uuid if uuid not in moves else moves[uuid].instance_uuid)
            if instance is not None:
                consumer = owned(consumer, instance.owner)
            found.append(to_logs.imported(consumer, consumer.generation, terms))
    return found


#: What makes the events for the log of a cell, in this order: each step looks at what the one before has written.
STEPS = (_reports, _terms, _places)
