"""What must hold of a projection at every position, computed again from its hosts and their entries alone."""

import math
import re
from collections import Counter, defaultdict

import numpy as np

from nova_sched.projection import provider_tree
from nova_sched.projection.devices import Capacity, HostDevices, guest_of
from nova_sched.projection.ledger import AGENT, CLAIMED, HELD, NO_HOST, RUNNING, Host, PlainTree
from nova_sched.projection.table import AMOUNTS, FACTS, TREE_SUMS
from rpc_api import events
from rpc_api.digest import MASK, consumer_hash


def check(projection) -> None:
    """Assert that columns, indexes and digests of a projection say what its entries and inventories say."""
    table = projection.table
    check_table(table)
    consumers, members, providers = defaultdict(set), defaultdict(set), {}
    for name, host in projection.hosts.items():
        assert host.name == name
        tree = _open_tree(provider_tree.tree_of(host).inventory, projection.rules)
        if not projection.rules.one_ledger or table.reported[list(host.rows.values())].all():
            _check_rows(table, projection, host, tree)
            _check_amounts(projection, host, tree)
        _check_status(table, host)
        providers.update(dict.fromkeys(host.rows, host))
        for uuid, entry in host.entries.items():
            assert (entry.consumer_uuid, entry.host) == (uuid, name)
            assert entry.state in ((CLAIMED, RUNNING) if host.authority == AGENT else (HELD,))
            consumers[uuid].add(entry)
            if entry.rule is not None:
                members[entry.rule.group_uuid].add(entry)
        running = [entry for entry in host.entries.values() if entry.state is RUNNING]
        for entry in running:
            # An agent may know nothing of a guest of which the claim said something.
            assert entry.hash in [
                consumer_hash(entry.instance_uuid, entry.allocations, guest) for guest in (entry.guest, None)
            ]
        assert host.running_digest == MASK & sum(entry.hash for entry in running)
        _check_devices(table, host, tree, projection.rules)
    assert providers == {uuid: tree for uuid, tree in projection.trees.items() if type(tree) is Host}
    for entry in _free_entries(projection):
        assert entry.state is HELD
        consumers[entry.consumer_uuid].add(entry)
    _check_ledger(projection)
    assert dict(consumers) == {uuid: set(entries) for uuid, entries in projection.consumers.items()}
    assert projection.unwatched == {
        entry.consumer_uuid: entry
        for host in projection.hosts.values()
        for entry in host.entries.values()
        if entry.watched_from_ms is None
    }
    assert projection.several == {uuid for uuid, entries in consumers.items() if len(entries) > 1}
    _check_groups(projection.groups, members)


def _free_entries(projection):
    """Entries that are on no host."""
    return [entry for entries in projection.consumers.values() for entry in entries if entry.host == NO_HOST]


def _has(table, row, resource_class):
    """Whether a provider has an inventory; use of one that it does not have is a stray of its host."""
    index = table.classes.get(resource_class)
    return index >= 0 and table.step_size[index, row] > 0


def _check_ledger(projection):
    """Trees, names, generations and use agree."""
    table, used, users = projection.table, Counter(), defaultdict(set)
    for entries in projection.consumers.values():
        for entry in entries:
            host = projection.hosts.get(entry.host)
            for provider_uuid, resource_class, amount in entry.allocations:
                tree = projection.trees.get(provider_uuid)
                if type(tree) is PlainTree:
                    used[provider_uuid, resource_class] += amount
                    users[tree].add(((entry.consumer_uuid, entry.host), entry))
                elif tree is host and _has(table, host.rows[provider_uuid], resource_class):
                    used[provider_uuid, resource_class] += amount
    trees = set(projection.trees.values())
    assert sum(len(tree.rows) for tree in trees) == len(projection.trees)
    for tree in trees:
        assert set(table.trees[tree.root]) == set(tree.rows.values()) and table.trees[tree.root][0] == tree.root
        assert table.children[tree.root] == len(tree.rows) - 1
        assert table.cell[tree.root] == projection.cell_index
        assert bool(table.is_host[tree.root]) == isinstance(tree, Host)
        seen = set()
        for row in table.trees[tree.root]:
            uuid = table.uuids[row]
            assert tree.rows[uuid] == row and table.root[row] == tree.root
            assert (table.parent[row] in seen) if seen else table.parent[row] == -1
            seen.add(row)
            if type(tree) is PlainTree or (projection.rules.one_ledger and not table.reported[row]):
                for index, name in enumerate(table.classes.values):
                    capacity, held = table.capacity[index, row], table.held[index, row]
                    assert table.used[index, row] == used[uuid, name]
                    assert table.free[index, row] == capacity - used[uuid, name] - held
        if type(tree) is PlainTree:
            assert set(tree.users.items()) == users[tree]
    assert projection.stray_hosts == {host.name for host in projection.hosts.values() if host.strays}
    if not projection.rules.one_ledger:
        assert not (projection.holders or projection.provider_names or projection.waiting or projection.holds_writes)
        return
    assert projection.holders.keys() == projection.consumers.keys()
    assert all(holder.generation >= 1 for holder in projection.holders.values())
    for name, uuid in projection.provider_names.items():
        assert table.provider_names[projection.trees[uuid].rows[uuid]] == name
    for uuid, host in projection.waiting.items():
        assert host.root == -1 and host.name not in projection.hosts
        # A provider under another one is not yet the root that the host waits for.
        assert uuid not in projection.trees or table.parent[projection.trees[uuid].rows[uuid]] >= 0


def _open_tree(tree, rules):
    """A HostInventory in which a provider with a fault offers nothing of its classes."""
    if not rules.fault_closes_provider:
        return tree
    return tree._replace(providers=tuple(map(_open_provider, tree.providers)))


def _open_provider(provider):
    classes = [own.resource_class for own in provider.inventories]
    names = {name for name in classes if re.fullmatch("[A-Z0-9_]+", name)}
    traits = tuple(name for name in provider.traits if re.fullmatch("[A-Z0-9_]+", name))
    whole = all(
        own.step_size > 0
        and own.min_unit > 0
        and math.isfinite(own.allocation_ratio)
        and abs(own.allocation_ratio) < 3.5e38
        and int((own.total - own.reserved) * own.allocation_ratio) >= 0
        for own in provider.inventories
    )
    if whole and len(names) == len(classes) and traits == tuple(provider.traits):
        return provider
    return provider._replace(
        inventories=tuple(events.Inventory(name, 0, 0, 1, 0, 1, 1.0) for name in sorted(names)), traits=traits
    )


def _check_rows(table, projection, host, tree):
    """The tree of a host has its providers, in their order, under their parents."""
    uuids = [provider.uuid for provider in tree.providers]
    rows = [host.rows[uuid] for uuid in uuids]
    assert len(host.rows) == len(rows) == len(set(rows))
    assert tuple(table.trees[host.root]) == tuple(rows)
    assert host.root == rows[0]
    for provider, row in zip(tree.providers, rows, strict=True):
        assert (table.uuids[row], table.provider_names[row]) == (provider.uuid, provider.name)
        assert table.row_aggregates[row] == provider.aggregates or (
            projection.rules.one_ledger and not provider.aggregates
        )
        assert table.root[row] == host.root
        assert table.parent[row] == (rows[provider.parent] if provider.parent >= 0 else -1)
        assert bool(table.is_host[row]) == (row == host.root)
        traits = {trait for trait in table.traits.values if table.has_trait(trait)[row]}
        assert traits == set(provider.traits)
    assert (table.host_names[host.root], table.node_names[host.root]) == (host.name, tree.nodename)
    assert table.cell[host.root] == projection.cell_index
    assert table.children[host.root] == len(rows) - 1
    assert table.num_instances[host.root] == len(host.entries)


def _on_host(projection, host):
    """The allocations of a host's entries, without those of pools."""
    return [
        allocation
        for entry in host.entries.values()
        for allocation in entry.allocations
        if type(projection.trees.get(allocation.provider_uuid)) is not PlainTree
    ]


def _check_amounts(projection, host, tree):
    """Used is what the entries use; free and the sums over the tree follow."""
    table, rules = projection.table, projection.rules
    known = {(provider.uuid, own.resource_class) for provider in tree.providers for own in provider.inventories}
    used, strays = Counter(), Counter()
    for provider_uuid, resource_class, amount in _on_host(projection, host):
        if (provider_uuid, resource_class) in known:
            used[provider_uuid, resource_class] += amount
            continue
        strays[provider_uuid, resource_class] += amount
        first = [provider.uuid for provider in tree.providers if (provider.uuid, resource_class) in known][:1]
        if first and rules.use_is_never_dropped:
            used[first[0], resource_class] += amount
    assert host.strays == {key: amount for key, amount in strays.items() if amount}
    if rules.use_is_never_dropped:
        _check_that_nothing_is_dropped(projection, host, known)
    base, scaled, taken = Counter(), Counter(), Counter()
    for provider in tree.providers:
        row = host.rows[provider.uuid]
        has = {inventory.resource_class: inventory for inventory in provider.inventories}
        for index, resource_class in enumerate(table.classes.values):
            inventory = has.get(resource_class)
            held = int(table.held[index, row])
            taken[index] += held
            if inventory is None:
                assert not any(getattr(table, name)[index, row] for name in AMOUNTS if name not in ("held", "free"))
                assert table.free[index, row] == -held
                continue
            assert table.used[index, row] == used[provider.uuid, resource_class]
            capacity = int(min(max((inventory.total - inventory.reserved) * inventory.allocation_ratio, 0), 2**53))
            assert table.capacity[index, row] == capacity
            assert table.free[index, row] == capacity - table.used[index, row] - held
            base[index] += inventory.total - inventory.reserved
            scaled[index] += inventory.total * inventory.allocation_ratio - inventory.reserved
            taken[index] += int(table.used[index, row])
    for index in range(len(table.classes.values)):
        assert table.tree_base[index, host.root] == base[index]
        assert np.isclose(table.tree_scaled[index, host.root], scaled[index])
        assert table.tree_taken[index, host.root] == taken[index]


def _check_that_nothing_is_dropped(projection, host, known):
    """Per class that a host has, the use of its providers is the sum of the allocations of its entries."""
    table = projection.table
    for resource_class in {name for _, name in known}:
        index = table.classes.get(resource_class)
        assert sum(table.used[index, row] for row in host.rows.values()) == sum(
            amount for _, name, amount in _on_host(projection, host) if name == resource_class
        )


def _check_devices(table, host, tree, rules):
    devices = table.row_devices[host.root]
    assert (devices is not None) == bool(tree.numa_cells or tree.pci_pools)
    if devices is not None:
        guests = [guest_of(entry.guest) for entry in host.entries.values() if entry.guest is not None]
        capacity = Capacity(tree.numa_cells, tree.pci_pools, rules.card_is_one_device)
        assert devices.key == HostDevices(capacity).with_guests(guests).key


def _check_status(table, host):
    """The columns of a root row say what the host's status says."""
    assert table.disabled[host.root] == (host.status.disabled or host.disabled_for is not None)
    assert table.down[host.root] == (host.status.forced_down or host.lost)
    assert table.num_io_ops[host.root] == min(host.status.num_io_ops, 2**31 - 1)
    assert table.failed_builds[host.root] == min(host.status.failed_builds, 2**31 - 1)


def _check_groups(groups, members):
    """The index of server groups counts exactly the entries that have a rule."""
    assert {group: set(groups.entries(group)) for group in groups.members} == dict(members)
    for group, entries in members.items():
        assert groups.consumers[group] == Counter(entry.consumer_uuid for entry in entries)
        assert {
            host: {instance: set(those) for instance, those in instances.items()}
            for host, instances in groups.members[group].items()
        } == {
            host: {
                instance: {entry for entry in entries if (entry.host, entry.instance_uuid) == (host, instance)}
                for instance in {entry.instance_uuid for entry in entries if entry.host == host}
            }
            for host in {entry.host for entry in entries}
        }
    assert groups.consumers.keys() == groups.members.keys() == groups.domains.keys()
    counted = {
        group: {
            domain: dict(Counter(entry.rule.partition for entry in entries if entry.rule.domain == domain))
            for domain in {entry.rule.domain for entry in entries}
        }
        for group, entries in members.items()
    }
    assert groups.domains == counted


def check_table(table) -> None:
    """Assert that every row of the table is of a tree or cleared."""
    in_trees = {row for rows in table.trees.values() for row in rows}
    for row in range(table.count):
        if row in in_trees:
            continue
        assert row in table._unused
        assert table.uuids[row] is table.host_names[row] is None
        assert not any(getattr(table, name)[:, row].any() for name in (*AMOUNTS, *TREE_SUMS, "ratio", "trait_words"))
        assert all(getattr(table, name)[row] == unused for name, (_, unused) in FACTS.items())
    assert table.nested_rows == len(in_trees) - len(table.trees)
    assert not in_trees & set(table._unused)
    assert len(in_trees) + len(table._unused) == table.count
