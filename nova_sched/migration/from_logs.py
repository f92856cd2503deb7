"""All that our logs know, as :class:`~nova_sched.migration.model.Placement`."""

from collections.abc import Mapping

from nova_sched.migration.model import Consumer, Placement, Provider
from nova_sched.projection.ledger import AGENT
from nova_sched.projection.projection import Projection
from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of


def placement_of(projections: Mapping[str, Projection], of_agents: bool = True) -> Placement:
    """What some logs know together, by the names of their cells. What one log has of a consumer is a part of it.

    Without ``of_agents`` what agents report is left out: no other Placement knows it.
    """
    providers: dict[str, Provider] = {}
    consumers: dict[str, Consumer] = {}
    for projection in projections.values():
        left_out = frozenset() if of_agents else _providers_of_agents(projection)
        providers.update((uuid, provider_in(projection, uuid)) for uuid in projection.trees if uuid not in left_out)
        for uuid in projection.holders:
            # (A write over several logs that is under way holds room under its own uuid.)
            if uuid not in projection.prepared:
                part = consumer_in(projection, uuid)
                held = {key: amount for key, amount in part.allocations.items() if key[0] not in left_out}
                if part.allocations and not held:
                    continue
                part = part._replace(allocations=held)
                known = consumers.get(uuid)
                consumers[uuid] = part if known is None else _together(known, part)
    return Placement(
        providers,
        consumers,
        frozenset(name for projection in projections.values() for name in projection.custom_classes),
        frozenset(name for projection in projections.values() for name in projection.custom_traits),
    )


def _providers_of_agents(projection: Projection) -> frozenset[str]:
    """The providers of hosts that agents report."""
    roots = [projection.table.uuids[host.root] for host in projection.hosts.values() if host.authority == AGENT]
    trees = {id(projection.trees[root]) for root in roots if root in projection.trees}
    return frozenset(uuid for uuid, tree in projection.trees.items() if id(tree) in trees)


def provider_in(projection: Projection, uuid: str) -> Provider:
    """A provider of a log."""
    table = projection.table
    row = projection.trees[uuid].rows[uuid]
    return Provider(
        uuid,
        table.provider_names[row],
        parent_of(table, row),
        table.generation.item(row),
        inventories_of(table, row),
        frozenset(traits_of(table, row)),
        frozenset(table.row_aggregates[row]),
    )


def consumer_in(projection: Projection, uuid: str) -> Consumer:
    """The part of a consumer in a log."""
    holder, allocations = projection.holders[uuid], {}
    for entry in projection.consumers[uuid]:
        for provider, name, amount in entry.allocations:
            allocations[provider, name] = allocations.get((provider, name), 0) + amount
    return Consumer(uuid, holder.generation, holder.project_id, holder.user_id, holder.consumer_type, allocations)


def _together(one: Consumer, other: Consumer) -> Consumer:
    allocations = dict(one.allocations)
    for key, amount in other.allocations.items():
        allocations[key] = allocations.get(key, 0) + amount
    generation = one.generation if one.generation == other.generation else None
    return one._replace(allocations=allocations, generation=generation)
