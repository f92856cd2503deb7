"""What changed between two moments, and the events that did it.

The state is folded to the first moment, and the facts to compare are copied. Then it is folded on to the second moment,
and the last few events about each host, instance and aggregate are kept.
"""

from typing import NamedTuple

from nova_sched.projection import provider_tree
from nova_sched.projection.ledger import AGENT, HELD, NO_HOST, RUNNING
from nova_sched.replay.state.change import (
    ADDED,
    AGGREGATES,
    AUTHORITY,
    CAME,
    CLAIMED_AGAIN,
    FREE,
    HOLDS,
    INVENTORY,
    KEPT,
    KINDS,
    MOVED,
    REMOVED,
    RUNS,
    STATUS,
    WENT,
    Causes,
    Change,
)
from nova_sched.replay.state.hosts import Sums, amounts_of, status_of, wanted
from nova_sched.replay.state.ledger_difference import ledger_changes, ledger_facts
from rpc_api import errors


class _Facts(NamedTuple):
    """The facts of a host that are compared. ``entries``: consumer uuid -> (instance uuid, state, resources as
    text)."""

    status: tuple
    load: tuple
    inventory: bytes
    entries: dict
    aggregates: tuple
    free: dict
    authority: str = AGENT


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
    ledger = {cell: ledger_facts(world.projections[cell], patterns) for cell in first}
    # (An aggregate is in the log of one cell, and may have hosts of other cells.)
    causes = {cell: Causes(before[cell], world.projections[cell]) for cell in first}
    for cell in first:
        world.projections[cell].writes = []
        history.forward(world, cell, last[cell], causes[cell].watch)
    of_aggregates = {name: kept for cause in causes.values() for name, kept in cause.aggregates.items()}
    changes = []
    for cell in sorted(first):
        found = _changes(cell, before[cell], _facts(world, cell, patterns), causes[cell], of_aggregates)
        found = [
            *found,
            *ledger_changes(
                cell,
                ledger[cell],
                ledger_facts(world.projections[cell], patterns),
                causes[cell],
                before[cell].keys() ^ world.projections[cell].hosts.keys(),
            ),
        ]
        changes += sorted(found, key=lambda change: (KINDS.index(change.kind), change.host or "", change.what or ""))
    return changes


# --- what is compared ------------------------------------------------------------------------------------------------


def _facts(world, cell, patterns):
    """Host -> :class:`_Facts` of a cell."""
    table, projection, sums = world.table, world.projections[cell], Sums(world.table)
    groups = {}
    for uuid, aggregate in table.aggregates.items():
        for host in aggregate.hosts:
            groups.setdefault(host, []).append((uuid, aggregate.name, tuple(sorted(aggregate.metadata.items()))))
    free = [entry for entries in projection.consumers.values() for entry in entries if entry.host == NO_HOST]
    of_none = {} if patterns or not free else {NO_HOST: _Facts((), (), b"", _entries(free), (), {})}
    return of_none | {
        name: _Facts(
            status_of(host, table),
            (("num_io_ops", host.status.num_io_ops), ("failed_builds", host.status.failed_builds)),
            host.inventory,
            _entries(host.entries.values()),
            tuple(sorted(groups.get(name, ()))),
            {resource_class: capacity - used for resource_class, (used, capacity) in sums.of(host.root).items()},
            host.authority,
        )
        for name, host in projection.hosts.items()
        if wanted(name, patterns)
    }


def _entries(entries):
    return {
        entry.consumer_uuid: (entry.instance_uuid, entry.state, _text(amounts_of(entry.allocations)))
        for entry in entries
    }


def _text(amounts):
    return ",".join(f"{name}={amount}" for name, amount in amounts.items())


# --- what changed ----------------------------------------------------------------------------------------------------


def _changes(cell, before, after, causes, of_aggregates):
    for host in before.keys() - after.keys() - {NO_HOST}:
        yield Change(cell, host, REMOVED, None, before[host].status[0], None, causes.of_host(host))
    for host in after.keys() - before.keys() - {NO_HOST}:
        yield Change(cell, host, ADDED, None, None, _shown(after[host].status), causes.of_host(host))
    for host in (before.keys() & after.keys()) - {NO_HOST}:
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
    if was.authority != now.authority:
        yield Change(cell, host, AUTHORITY, None, was.authority, now.authority, causes.of_host(host))
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
            yield Change(
                cell, target or None, MOVED, named, source or None, target or None, tuple(sorted(causes_))[-KEPT:]
            )
        for host in come[len(gone) :]:
            yield Change(
                cell, host or None, CAME, named, None, " ".join(other[host]), causes.of_entry(consumer, instance, host)
            )
        for host in gone[len(come) :]:
            yield Change(
                cell, host or None, WENT, named, " ".join(old[host]), None, causes.of_entry(consumer, instance, host)
            )
        for host in old.keys() & other.keys():
            if old[host] != other[host]:
                kind = {RUNNING: RUNS, HELD: HOLDS}.get(other[host][0], CLAIMED_AGAIN)
                yield Change(
                    cell,
                    host or None,
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
