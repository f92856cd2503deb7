"""Write the reported inventory of a host into the rows and columns of its tree."""

from collections.abc import Sequence

import numpy as np

from nova_sched.projection import provider_rows
from nova_sched.projection.devices import HostDevices, fault_of
from nova_sched.projection.holding import count_all_use, count_devices
from nova_sched.projection.ledger import AUTHORITIES, Host, PlainTree
from nova_sched.projection.provider_columns import clear_provider, clear_use, set_inventory, set_traits, sum_tree
from nova_sched.projection.provider_tree import NAME, ProviderTree, closed_inventories, read, read_providers, tree_of
from nova_sched.projection.rules import Rules
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable, Profile
from nova_sched.projection.topology import service_version
from nova_sched.projection.use import count_elsewhere
from rpc_api import errors
from rpc_api.events import HostInventory, Inventory, Provider
from rpc_api.levels import thaw_at

#: Begins the names of resource classes and traits that are not OpenStack's but the cloud's own.
CUSTOM = "CUSTOM_"
MAX_PROVIDERS = 4096
#: Each distinct class costs the table a row of all its columns, so no host may bring more.
MAX_CLASSES = 128
MAX_TRAITS = 2048
#: The largest ratio that Placement takes.
MAX_RATIO = 3.40282e38


def checked(projection: State, host_name: str, packed: bytes) -> ProviderTree:
    """Unpack a HostInventory and check it beyond the schema; InvalidEvent names the first fault."""
    if projection.rules.fault_closes_provider:
        tree = read(packed, projection.level)
    else:
        tree = ProviderTree(thaw_at("HostInventory", packed, projection.level), {})
    inventory = tree.inventory
    if inventory.root_uuid is None:
        fault = _tree_fault(projection, host_name, inventory.providers)
    elif inventory.providers:
        fault = "it has a root_uuid and providers, wanted one of the two"
    else:
        fault = _authority_fault(inventory.authority) or _owner_fault(projection, host_name, inventory.root_uuid)
    fault = fault or fault_of(inventory)
    if fault:
        raise errors.InvalidEvent(f"the inventory of {host_name} is refused: {fault}; fix its agent")
    return tree


def checked_providers(projection: State, host_name: str, packed: bytes) -> tuple[tuple[Provider, ...], dict[int, str]]:
    """Unpack ReportedProviders and check them beyond the schema: the providers, and the faults of those that cannot be
    read; InvalidEvent names the first fault of the whole tree."""
    providers, unread = read_providers(packed)
    fault = _tree_fault(projection, host_name, providers)
    if fault:
        raise errors.InvalidEvent(f"the providers of {host_name} are refused: {fault}; fix its agent")
    return providers, unread


def _authority_fault(authority: str) -> str | None:
    return None if authority in AUTHORITIES else f"the authority {authority[:40]!r}, wanted agent or nova"


def _owner_fault(projection: State, host_name: str, provider_uuid: str) -> str | None:
    tree = projection.trees.get(provider_uuid)
    if type(tree) is Host and tree.name != host_name:
        return f"provider {provider_uuid} belongs to host {tree.name}"
    if tree is not None and tree.rows[provider_uuid] != tree.root:
        return f"provider {provider_uuid} is the root of no tree"
    waiting = projection.waiting.get(provider_uuid)
    if waiting is not None and waiting.name != host_name:
        return f"provider {provider_uuid} is the one that host {waiting.name} waits for"
    return None


def _tree_fault(projection: State, host_name: str, providers: Sequence[Provider]) -> str | None:
    if not providers or providers[0].parent != -1 or len(providers) > MAX_PROVIDERS:
        return f"{len(providers)} providers, wanted 1 to {MAX_PROVIDERS} of which the first is the root (parent -1)"
    if len({provider.uuid for provider in providers}) != len(providers):
        return "two providers have the same uuid"
    for index, provider in enumerate(providers):
        if index and not 0 <= provider.parent < index:
            return f"provider {provider.name} has parent {provider.parent}, wanted the index of an earlier provider"
        tree = projection.trees.get(provider.uuid)
        if type(tree) is Host and tree.name != host_name:
            return f"provider {provider.uuid} belongs to host {tree.name}"
        if type(tree) is PlainTree and projection.table.uuids[tree.root] != providers[0].uuid:
            return f"provider {provider.uuid} belongs to no host: Placement's API made it"
        if not projection.rules.fault_closes_provider and (fault := provider_fault(provider, projection.rules)):
            return fault
    classes = {of.resource_class for provider in providers for of in provider.inventories}
    traits = set().union(*(provider.traits for provider in providers))
    if len(classes) > MAX_CLASSES or len(traits) > MAX_TRAITS:
        return (
            f"{len(classes)} resource classes and {len(traits)} traits, wanted at most {MAX_CLASSES} and {MAX_TRAITS}"
        )
    return None


def provider_fault(provider: Provider, rules: Rules) -> str | None:
    """The first fault of a provider's traits and inventories, or None."""
    if not all(map(NAME.fullmatch, provider.traits)):
        return f"provider {provider.name} has a trait that is not of capitals, digits and underscores"
    classes = [inventory.resource_class for inventory in provider.inventories]
    if len(set(classes)) != len(classes):
        return f"provider {provider.name} has two inventories of one resource class"
    for inventory in provider.inventories:
        if not NAME.fullmatch(inventory.resource_class):
            return f"provider {provider.name} has a resource class that is not of capitals, digits and underscores"
        if inventory.step_size < 1 or inventory.min_unit < 1:
            return f"{inventory.resource_class} of {provider.name} has a min_unit or step_size below 1"
        fault = (_placement_fault if rules.inventory_as_placement else _ratio_fault)(inventory)
        if fault:
            return f"{inventory.resource_class} of {provider.name} has {fault}"
    return None


def _ratio_fault(inventory: Inventory) -> str | None:
    """The fault of a ratio at level 1."""
    ratio = inventory.allocation_ratio
    if not 0 < ratio <= MAX_RATIO:
        return f"the allocation_ratio {ratio}, wanted above 0 and at most {MAX_RATIO}"
    return None


def _placement_fault(inventory: Inventory) -> str | None:
    """The fault for which Placement refuses an inventory: any ratio will do, also 0, if the capacity is not below 0."""
    ratio = inventory.allocation_ratio
    if not abs(ratio) <= MAX_RATIO:
        return f"the allocation_ratio {ratio}, wanted a number from -{MAX_RATIO} to {MAX_RATIO}"
    capacity = int((inventory.total - inventory.reserved) * ratio)
    if capacity < 0:
        return (
            f"the capacity {capacity} (total {inventory.total}, reserved {inventory.reserved}, allocation_ratio "
            f"{ratio}), wanted 0 or more"
        )
    return None


def closed_providers(projection: State, host: Host) -> list[str]:
    """Why providers of a host are closed: a sentence for each."""
    table, rules, rows = projection.table, projection.rules, list(host.rows.values())
    # A closed provider offers nothing, so most hosts need no look at their report.
    if not rules.fault_closes_provider or np.all((table.max_unit[:, rows] > 0).any(axis=0)):
        return []
    tree = tree_of(host)
    return [
        fault
        for index, provider in enumerate(tree.inventory.providers)
        if (fault := _closing_fault(tree.faults, provider, index, rules))
    ]


def _closing_fault(unread: dict[int, str], provider: Provider, index: int, rules: Rules) -> str | None:
    """Why a provider of a tree is closed, or None."""
    if not rules.fault_closes_provider:
        return None
    return unread.get(index) or provider_fault(provider, rules)


def write(projection: State, host: Host, tree: ProviderTree, at_ns: int | None) -> list[str]:
    """Write a checked inventory with its tree into the table, and count the use of the host again. Without a time it is
    the one that the host has, written by other rules. Returns why providers are closed, a sentence for each."""
    faults = write_tree(projection, host, tree.inventory.providers, tree.faults, at_ns)
    write_facts(projection, host, tree.inventory)
    count_devices(projection.table, host)
    return faults


def write_tree(
    projection: State, tree: Host | PlainTree, providers: Sequence[Provider], unread: dict[int, str], at_ns: int | None
) -> list[str]:
    """Write the providers that an agent reports, and count their use again. ``unread`` are the faults of
    providers that could not be read. Returns why providers are closed. Providers that are not in the report stay if
    Placement's API made them."""
    table = projection.table
    if tree.root >= 0 and table.uuids[tree.root] != providers[0].uuid:
        provider_rows.erase(projection, tree)
    if tree.root < 0:
        root = providers[0]
        tree.root = tree.rows[root.uuid] = table.add_row(root.uuid, root.name, None, -1)
        projection.trees[root.uuid] = tree
        table.cell[tree.root] = projection.cell_index
        if type(tree) is Host:
            show_host(projection, tree)
    rows: list[int] = []
    faults: list[str] = []
    for index, provider in enumerate(providers):
        row = tree.rows.get(provider.uuid)
        parent = rows[provider.parent] if provider.parent >= 0 else -1
        if row is None:
            row = tree.rows[provider.uuid] = table.add_row(provider.uuid, provider.name, tree.root, parent)
            projection.trees[provider.uuid] = tree
        rows.append(row)
        fault = _closing_fault(unread, provider, index, projection.rules)
        if fault:
            faults.append(fault)
            provider = _closed(provider)
        _write_provider(projection, row, provider, parent, at_ns)
    if len(tree.rows) > len(rows):
        rows += _unreported(projection, tree, set(rows))
    table.trees[tree.root] = tuple(rows)
    table.children[tree.root] = len(rows) - 1
    if isinstance(tree, Host):
        count_all_use(projection, tree)
    else:
        for entry in dict.fromkeys(tree.users.values()):
            count_elsewhere(projection, entry, +1)
    sum_tree(table, tree.root)
    return faults


def show_host(projection: State, host: Host) -> None:
    """The root row of a host is that of a host from now on."""
    table = projection.table
    table.is_host[host.root] = True
    table.host_names[host.root] = host.name
    table.row_of_host[host.name] = host.root
    table.num_instances[host.root] = len(host.entries)
    table.topology_version += 1


def _unreported(projection: State, tree: Host | PlainTree, reported: set[int]) -> list[int]:
    """The other rows of a tree that stay, in their order: of providers that Placement's API made, and of those above
    them, which offer nothing any more. The rest is dropped."""
    table = projection.table
    others = [row for row in tree.rows.values() if row not in reported]
    stay: set[int] = set()
    for row in others:
        if projection.rules.one_ledger and not table.reported[row]:
            while row not in reported and row not in stay:
                stay.add(row)
                row = table.parent.item(row)
    for row in others:
        uuid = table.uuids[row]
        if row not in stay:
            provider_rows.forget_name(projection, row)
            del tree.rows[uuid], projection.trees[uuid]
            table.drop_rows([row])
        elif table.reported[row]:
            clear_provider(table, row)
            set_traits(table, row, ())
        else:
            clear_use(table, row)
    return [row for row in table.trees[tree.root] if row in stay]


def _closed(provider: Provider) -> Provider:
    """A provider with a fault: it keeps its classes, so that its use stays counted, and offers nothing of them."""
    classes = {inventory.resource_class for inventory in provider.inventories}
    return provider._replace(
        inventories=closed_inventories(classes), traits=tuple(filter(NAME.fullmatch, provider.traits))
    )


def _write_provider(projection: State, row: int, provider: Provider, parent: int, at_ns: int | None) -> None:
    table = projection.table
    clear_provider(table, row)
    if table.provider_names[row] != provider.name:
        provider_rows.forget_name(projection, row)
        table.provider_names[row] = provider.name
    table.parent[row] = parent
    if projection.rules.one_ledger:
        table.reported[row] = True
        projection.provider_names.setdefault(provider.name, provider.uuid)
        _add_names(projection, provider, at_ns or 0)
        if at_ns is not None:
            provider_rows.mark_written(table, row, at_ns)
    # Those that Placement's API wrote stay while the agent names none.
    if provider.aggregates or not projection.rules.one_ledger:
        provider_rows.put_aggregates(projection, row, provider.aggregates)
    for inventory in provider.inventories:
        set_inventory(table, row, inventory)
    set_traits(table, row, provider.traits)


def write_facts(projection: State, host: Host, tree: HostInventory) -> None:
    """Write what a host reports beside its providers."""
    table, root = projection.table, host.root
    table.node_names[root] = tree.nodename
    table.host_ips[root] = tree.host_ip
    table.set_devices(
        root,
        HostDevices(table.capacity_of(tree.numa_cells, tree.pci_pools, projection.rules.card_is_one_device))
        if (tree.numa_cells or tree.pci_pools)
        else None,
    )
    profiles, before = table.profiles, table.profile[root]
    table.profile[root] = now = profiles.id_of(
        Profile(
            tree.hypervisor_type,
            tree.hypervisor_version,
            tree.cpu_info,
            tuple(sorted(tree.stats.items())),
            tree.supported_instances,
        )
    )
    if (
        now != before
        and before >= 0
        and (service_version(profiles.values[before]) != service_version(profiles.values[now]))
    ):
        table.topology_version += 1
    table.hypervisor_version[root] = min(tree.hypervisor_version, 2**63 - 1)
    zone = table.zones.id_of(tree.availability_zone)
    if table.zone[root] != zone:
        table.zone[root] = zone
        table.topology_version += 1


def write_status(table: HostTable, host: Host) -> None:
    """Write whether a host takes instances, and its load."""
    status = host.status
    table.disabled[host.root] = status.disabled or host.disabled_for is not None
    table.down[host.root] = status.forced_down or host.lost
    table.num_io_ops[host.root] = min(status.num_io_ops, 2**31 - 1)
    table.failed_builds[host.root] = min(status.failed_builds, 2**31 - 1)
    table.metrics.write(host.root, status)


def _add_names(projection: State, provider: Provider, at_ns: int) -> None:
    """Add the resource classes and traits of the cloud's own that a provider brings."""
    for inventory in provider.inventories:
        if inventory.resource_class.startswith(CUSTOM):
            projection.custom_classes.setdefault(inventory.resource_class, at_ns)
    for trait in provider.traits:
        if trait.startswith(CUSTOM):
            projection.custom_traits.setdefault(trait, at_ns)
