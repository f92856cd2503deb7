"""What is used now, by project, flavor, availability zone, aggregate, cell or user."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.topology import zone_names
from nova_sched.replay.logs.reading import holding
from nova_sched.replay.state.hosts import Sums, aggregates_by_host
from rpc_api import errors, events
from rpc_api.codec import Event

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


def flavors_in(logs, positions) -> dict[str, str]:
    """Return instance -> name of the flavor that its last recorded decision asked for."""
    found = {}
    for cell, log in sorted(logs.items()):
        for _, record in holding(log, (b"DecisionMade",), last=positions.get(cell)):
            for event in record.events:
                if isinstance(event, Event) and event.name == "DecisionMade":
                    try:
                        name = events.thaw("Evidence", event.data.evidence).request.flavor_name
                    except errors.InvalidEvent:
                        continue
                    known = found.get(event.data.instance_uuid)
                    if known is None or event.at_ns >= known[0]:
                        found[event.data.instance_uuid] = event.at_ns, name
    return {instance: name for instance, (_, name) in found.items()}


def of_consumers(world, by: str, flavors: dict) -> list[UsageRow]:
    """Return what the consumers hold, by project, flavor, user or type (``OF_CONSUMERS``), the greatest user first.
    ``flavors`` are those of :func:`flavors_in`."""
    used, instances, hosts = {}, Counter(), {}
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
            instances[name] += 1
            for entry in entries:
                if entry.host:
                    hosts.setdefault(name, set()).add((projection.cell, entry.host))
                amounts = used.setdefault(name, Counter())
                for _, resource_class, amount in entry.allocations:
                    amounts[resource_class] += amount
    rows = [
        UsageRow(
            name,
            instances[name],
            len(hosts.get(name, ())),
            {resource_class: (amount, None) for resource_class, amount in sorted(used.get(name, {}).items())},
        )
        for name in instances
    ]
    return sorted(rows, key=lambda row: (-row.instances, row.name))


def of_hosts(world, by: str, default_zone: str = "nova") -> list[UsageRow]:
    """Return what is used of the hosts, by cell, zone or aggregate (``OF_HOSTS``), by name. A host in several
    aggregates counts in each."""
    sums, zones, aggregates = Sums(world.table), zone_names(world.table, default_zone), aggregates_by_host(world.table)
    used, capacity, instances, hosts = {}, {}, Counter(), Counter()
    for cell, projection in world.projections.items():
        for host in projection.hosts.values():
            names = {
                "cell": lambda cell=cell: [cell],
                "zone": lambda host=host: [zones[host.root]],
                "aggregate": lambda host=host: aggregates.get(host.name) or [NONE],
            }[by]()
            for name in names:
                instances[name] += len(host.entries)
                hosts[name] += 1
                for resource_class, (taken, has) in sums.of(host.root).items():
                    used.setdefault(name, Counter())[resource_class] += taken
                    capacity.setdefault(name, Counter())[resource_class] += has
    return [
        UsageRow(
            name,
            instances[name],
            hosts[name],
            {
                resource_class: (used[name][resource_class], capacity[name][resource_class])
                for resource_class in sorted(used.get(name, {}))
            },
        )
        for name in sorted(hosts)
    ]
