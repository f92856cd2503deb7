"""What is used now, by project, flavor, availability zone, aggregate, cell or user."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.topology import zone_names
from nova_sched.replay.state.hosts import Sums, aggregates_by_host
from nova_sched.replay.state.instances import flavors_of

#: What is in no aggregate, of no known flavor or project.
NONE = "(none)"
NOT_KNOWN = "(not known)"
#: What consumers are counted by, and what hosts are counted by: only hosts have a capacity.
OF_CONSUMERS = ("project", "flavor", "user", "type")
OF_HOSTS = ("cell", "zone", "aggregate")


class UsageRow(NamedTuple):
    """One group: its ``name``, the number of its instances (consumers) and of the hosts where they are, and resource
    class -> (used, capacity); the capacity is None for a group that is not one of hosts."""

    name: str
    instances: int
    hosts: int
    amounts: dict


def flavors_in(world, logs) -> dict[str, str]:
    """Return instance -> name of its flavor, for the instances of a world: see
    :func:`~nova_sched.replay.state.instances.flavors_of`."""
    found = {}
    for cell, projection in sorted(world.projections.items()):
        held = {entry.instance_uuid for entries in projection.consumers.values() for entry in entries}
        found |= flavors_of(logs[cell], held, projection.position)
    return found


def of_consumers(world, by: str, flavors: dict) -> list[UsageRow]:
    """Return what the consumers hold, by project, flavor, user or type (``OF_CONSUMERS``), the greatest user first. An
    instance that moves holds twice, and is counted once. ``flavors`` are those of :func:`flavors_in`."""
    used, instances, hosts = {}, {}, {}
    for projection in world.projections.values():
        for consumer, entries in projection.consumers.items():
            holder = projection.holders.get(consumer)
            name = {
                "project": lambda first: first.project_id,
                "user": lambda first, holder=holder: holder and holder.user_id,
                "type": lambda first, holder=holder: holder and holder.consumer_type,
                "flavor": lambda first: flavors.get(first.instance_uuid),
            }[by](entries[0])
            name = name or NOT_KNOWN
            for entry in entries:
                instances.setdefault(name, set()).add(entry.instance_uuid)
                if entry.host:
                    hosts.setdefault(name, set()).add((projection.cell, entry.host))
                amounts = used.setdefault(name, Counter())
                for _, resource_class, amount in entry.allocations:
                    amounts[resource_class] += amount
    rows = [
        UsageRow(
            name,
            len(instances[name]),
            len(hosts.get(name, ())),
            {resource_class: (amount, None) for resource_class, amount in sorted(used.get(name, {}).items())},
        )
        for name in instances
    ]
    return sorted(rows, key=lambda row: (-row.instances, row.name))


def of_hosts(world, by: str, default_zone: str = "nova") -> list[UsageRow]:
    """Return what is used of the hosts, by cell, zone or aggregate (``OF_HOSTS``), by name. A host in several
    aggregates counts in each; an instance that moves within a group counts once."""
    sums, zones, aggregates = Sums(world.table), zone_names(world.table, default_zone), aggregates_by_host(world.table)
    used, capacity, instances, hosts = {}, {}, {}, Counter()
    for cell, projection in world.projections.items():
        for host in projection.hosts.values():
            names = {
                "cell": lambda cell=cell: [cell],
                "zone": lambda host=host: [zones[host.root]],
                "aggregate": lambda host=host: aggregates.get(host.name) or [NONE],
            }[by]()
            for name in names:
                held = instances.setdefault(name, set())
                held.update(entry.instance_uuid for entry in host.entries.values())
                hosts[name] += 1
                for resource_class, (taken, has) in sums.of(host.root).items():
                    used.setdefault(name, Counter())[resource_class] += taken
                    capacity.setdefault(name, Counter())[resource_class] += has
    return [
        UsageRow(
            name,
            len(instances[name]),
            hosts[name],
            {
                resource_class: (used[name][resource_class], capacity[name][resource_class])
                for resource_class in sorted(used.get(name, {}))
            },
        )
        for name in sorted(hosts)
    ]
