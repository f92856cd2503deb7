"""What changed between two moments, and the events that did it.

The state is folded to the first moment, and the facts to compare are copied. Then it is folded on to the second moment,
and the last few events about each host, instance and aggregate are kept.
"""

from typing import NamedTuple

from nova_sched.projection import provider_tree
from nova_sched.replay.state.hosts import Sums, amounts_of, status_of, wanted
from rpc_api import errors
from rpc_api.codec import Event

#: Number of last events to keep about one host or instance.
KEPT = 4
#: Number of instances whose events are kept, in addition to those that are held at either moment.
MOST = 10_000

ADDED, REMOVED, STATUS, INVENTORY = "added", "removed", "status", "inventory"
CAME, WENT, MOVED, RUNS, CLAIMED_AGAIN, AGGREGATES, FREE = (
    "came",
    "went",
    "moved",
    "runs",
    "claimed",
    "aggregates",
    "free",
)
#: The kinds of changes, in the order of the output.
KINDS = (ADDED, REMOVED, STATUS, INVENTORY, AGGREGATES, CAME, RUNS, MOVED, WENT, CLAIMED_AGAIN, FREE)
OF_HOSTS = frozenset({ADDED, REMOVED, STATUS, INVENTORY, AGGREGATES, FREE})


class Cause(NamedTuple):
    """An event about a changed host or instance."""

    position: int
    at_ns: int
    name: str
    producer: str


class Change(NamedTuple):
    """One change: ``kind`` is one of ``KINDS``, ``what`` the name of a field, a resource class or the uuid of an
    instance (None if the kind is enough), ``before`` and ``after`` are texts (None: it did not exist)."""

    cell: str
    host: str
    kind: str
    what: str | None
    before: str | None
    after: str | None
    causes: tuple


class _Facts(NamedTuple):
    """The facts of a host that are compared. ``entries``: consumer uuid -> (instance uuid, state, resources as
    text)."""

    status: tuple
    load: tuple
    inventory: bytes
    entries: dict
    aggregates: tuple
    free: dict


def difference(history, first: dict, last: dict, patterns=()) -> list[Change]:
    """Return the changes from the positions ``first`` to ``last`` (cell -> position), by cell, kind, host; ``patterns``
    are names or globs of hosts.

    Raise UsageError if a cell's first position is after its last one, and LogGap as ``History.world_at``.
    """
    for cell, position in first.items():
        if position > last[cell]:
            raise errors.UsageError(
                f"the first moment is position {position} of {cell}, after the second, which is "
                f"{last[cell]}; name the earlier one first"
            )
    world = history.world_at(first)
    before = {cell: _facts(world, cell, patterns) for cell in first}
    # (An aggregate is in the log of one cell, and may have hosts of other cells.)
    causes = {cell: _Causes(before[cell], world.projections[cell]) for cell in first}
    for cell in first:
        history.forward(world, cell, last[cell], causes[cell].watch)
    of_aggregates = {name: kept for cause in causes.values() for name, kept in cause.aggregates.items()}
    changes = []
    for cell in sorted(first):
        found = _changes(cell, before[cell], _facts(world, cell, patterns), causes[cell], of_aggregates)
        changes += sorted(found, key=lambda change: (KINDS.index(change.kind), change.host, change.what or ""))
    return changes


# --- what is compared ------------------------------------------------------------------------------------------------


def _facts(world, cell, patterns):
    """Host -> :class:`_Facts` of a cell."""
    table, projection, sums = world.table, world.projections[cell], Sums(world.table)
    groups = {}
    for uuid, aggregate in table.aggregates.items():
        for host in aggregate.hosts:
            groups.setdefault(host, []).append((uuid, aggregate.name, tuple(sorted(aggregate.metadata.items()))))
    return {
        name: _Facts(
            status_of(host),
            (("num_io_ops", host.status.num_io_ops), ("failed_builds", host.status.failed_builds)),
            host.inventory,
            {
                uuid: (entry.instance_uuid, entry.state, _text(amounts_of(entry.allocations)))
                for uuid, entry in host.entries.items()
            },
            tuple(sorted(groups.get(name, ()))),
            {resource_class: capacity - used for resource_class, (used, capacity) in sums.of(host.root).items()},
        )
        for name, host in projection.hosts.items()
        if wanted(name, patterns)
    }


def _text(amounts):
    return ",".join(f"{name}={amount}" for name, amount in amounts.items())


# --- why -------------------------------------------------------------------------------------------------------------


class _Causes:
    """The last few events about each host, each instance and each aggregate."""

    #: Events that change a host itself; those about its instances are kept with the instances.
    OF_HOST = frozenset({"HostReported", "HostLost", "HostSeen", "HostRemoved"})

    def __init__(self, before, projection):
        self.hosts, self.instances, self.aggregates = {}, {}, {}
        self._before = {uuid for facts in before.values() for uuid in facts.entries}
        self._projection = projection

    def watch(self, position, record, outcomes, noted):
        refused = {outcome.claim_uuid for outcome in outcomes if outcome.reason is not None}
        for event in record.events:
            if not isinstance(event, Event):
                continue
            data, cause = event.data, Cause(position, event.at_ns, event.name, event.producer)
            if event.name in self.OF_HOST:
                self._keep(self.hosts, data.host, cause)
            elif event.name == "ClaimProposed":
                if data.claim_uuid not in refused:
                    self._keep(self.instances, (data.consumer_uuid, data.host), cause)
            elif event.name in ("ClaimReleased", "ClaimExpired"):
                self._keep(self.instances, data.consumer_uuid, cause)
            elif event.name == "InstanceStarted":
                self._keep(self.instances, (data.consumer.instance_uuid, data.host), cause)
            elif event.name == "InstanceDeleted":
                self._keep(self.instances, (data.instance_uuid, data.host), cause)
            elif event.name == "AllocationMoved":
                for uuid in (data.from_consumer_uuid, data.to_consumer_uuid):
                    self._keep(self.instances, (uuid, data.host), cause)
            elif event.name in ("AggregateUpdated", "AggregateDeleted"):
                self._keep(self.aggregates, data.uuid, cause)

        if len(self.instances) > MOST + 4 * (len(self._before) + len(self._projection.consumers)):
            self._forget_passing()

    def _forget_passing(self):
        """Forget instances that came and went between the two moments: they are not a difference, and may be many."""
        held = self._projection.consumers
        self.instances = {
            key: kept
            for key, kept in self.instances.items()
            if (uuid := key if type(key) is str else key[0]) in held or uuid in self._before
        }

    def _keep(self, kept, key, cause):
        found = kept.get(key, ())
        if not found or found[-1] != cause:
            kept[key] = (*found[-KEPT + 1 :], cause)

    def of_host(self, host):
        return self.hosts.get(host, ())

    def of_entry(self, consumer_uuid, instance_uuid, host):
        """Return the events about a consumer on a host; those of the host if a full report of it made the change."""
        found = {
            *self.instances.get((consumer_uuid, host), ()),
            *self.instances.get((instance_uuid, host), ()),
            *self.instances.get(consumer_uuid, ()),
        }
        return tuple(sorted(found))[-KEPT:] or self.of_host(host)


# --- what changed ----------------------------------------------------------------------------------------------------


def _changes(cell, before, after, causes, of_aggregates):
    for host in before.keys() - after.keys():
        yield Change(cell, host, REMOVED, None, before[host].status[0], None, causes.of_host(host))
    for host in after.keys() - before.keys():
        yield Change(cell, host, ADDED, None, None, _shown(after[host].status), causes.of_host(host))
    for host in before.keys() & after.keys():
        yield from _host_changes(cell, host, before[host], after[host], causes, of_aggregates)
    yield from _entry_changes(cell, before, after, causes)
    for host in before.keys() | after.keys():
        was, now = before[host].free if host in before else {}, after[host].free if host in after else {}
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                yield Change(cell, host, FREE, name, _number(was.get(name)), _number(now.get(name)), ())


def _number(value):
    return None if value is None else str(value)


def _shown(status):
    return status[0] if status[1] is None else f"{status[0]} ({status[1]})"


def _host_changes(cell, host, was, now, causes, of_aggregates):
    if was.status != now.status:
        yield Change(cell, host, STATUS, None, _shown(was.status), _shown(now.status), causes.of_host(host))
    for (name, old), (_, other) in zip(was.load, now.load, strict=True):
        if old != other:
            yield Change(cell, host, STATUS, name, str(old), str(other), causes.of_host(host))
    if was.inventory != now.inventory:
        for what, change, other in _inventory_changes(was.inventory, now.inventory):
            yield Change(cell, host, INVENTORY, what, change, other, causes.of_host(host))
    if was.aggregates != now.aggregates:
        uuids = {uuid for uuid, *_ in {*was.aggregates} ^ {*now.aggregates}}
        yield Change(
            cell,
            host,
            AGGREGATES,
            None,
            _groups(was.aggregates),
            _groups(now.aggregates),
            tuple(sorted(cause for uuid in uuids for cause in of_aggregates.get(uuid, ())))[-KEPT:],
        )


def _groups(aggregates):
    return (
        ", ".join(
            name + (f" ({', '.join(f'{key}={value}' for key, value in metadata)})" if metadata else "")
            for _, name, metadata in aggregates
        )
        or None
    )


def _entry_changes(cell, before, after, causes):
    was, now = _held(before), _held(after)
    for consumer, instance in was.keys() | now.keys():
        old, other = was.get((consumer, instance), {}), now.get((consumer, instance), {})
        gone, come = sorted(old.keys() - other.keys()), sorted(other.keys() - old.keys())
        named = instance if consumer == instance else f"{instance} as {consumer}"
        for source, target in zip(gone, come, strict=False):
            causes_ = {*causes.of_entry(consumer, instance, source), *causes.of_entry(consumer, instance, target)}
            yield Change(cell, target, MOVED, named, source, target, tuple(sorted(causes_))[-KEPT:])
        for host in come[len(gone) :]:
            yield Change(
                cell, host, CAME, named, None, " ".join(other[host]), causes.of_entry(consumer, instance, host)
            )
        for host in gone[len(come) :]:
            yield Change(cell, host, WENT, named, " ".join(old[host]), None, causes.of_entry(consumer, instance, host))
        for host in old.keys() & other.keys():
            if old[host] != other[host]:
                kind = RUNS if other[host][0] == "running" else CLAIMED_AGAIN
                yield Change(
                    cell,
                    host,
                    kind,
                    named,
                    " ".join(old[host]),
                    " ".join(other[host]),
                    causes.of_entry(consumer, instance, host),
                )


def _held(facts):
    """Return (consumer, instance) -> host -> (state, resources)."""
    held = {}
    for host, fact in facts.items():
        for consumer, (instance, state, amounts) in fact.entries.items():
            held.setdefault((consumer, instance), {})[host] = (state, amounts)
    return held


def _inventory_changes(old, other):
    """Give (what, before, after) for each field that differs between two packed HostInventory records."""
    was, now = (_fields(provider_tree.read(packed)) for packed in (old, other))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield name, was.get(name), now.get(name)


def _fields(tree):
    inventory = tree.inventory
    fields = {
        name: str(getattr(inventory, name))
        for name in (
            "nodename",
            "availability_zone",
            "host_ip",
            "hypervisor_type",
            "hypervisor_version",
            "cpu_info",
            "supported_instances",
        )
    }
    fields |= {f"stats {name}": value for name, value in inventory.stats.items()}
    fields |= {f"{inventory.providers[index].name} fault": fault for index, fault in tree.faults.items()}
    for provider in inventory.providers:
        for inventory_ in provider.inventories:
            fields |= {
                f"{provider.name} {inventory_.resource_class} {name}": str(value)
                for name, value in inventory_._asdict().items()
                if name != "resource_class"
            }
        fields |= {f"{provider.name} trait {trait}": "yes" for trait in provider.traits}
        fields |= {f"{provider.name} aggregate {uuid}": "yes" for uuid in provider.aggregates}
        fields[f"{provider.name} provider"] = provider.uuid
    for cell in inventory.numa_cells:
        fields |= {f"NUMA node {cell.id} {name}": str(value) for name, value in cell._asdict().items() if name != "id"}
    for pool in inventory.pci_pools:
        node = "" if pool.numa_node is None else f" of NUMA node {pool.numa_node}"
        tags = "".join(f" {name}={value}" for name, value in sorted(pool.tags.items()))
        fields[f"PCI {pool.vendor_id}:{pool.product_id}{node}{tags}"] = str(pool.count)
    return fields
