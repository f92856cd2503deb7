"""Write the reported inventory of a host into the rows and columns of its tree."""

import numpy as np

from nova_sched.projection.devices import HostDevices, fault_of
from nova_sched.projection.holding import count_all_use
from nova_sched.projection.ledger import Host
from nova_sched.projection.provider_columns import clear_provider, set_inventory, set_traits, sum_tree
from nova_sched.projection.provider_tree import NAME, ProviderTree, closed_inventories, read
from nova_sched.projection.rules import Rules
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable, Profile
from nova_sched.projection.topology import service_version
from rpc_api import errors, events
from rpc_api.events import HostInventory, Inventory, Provider

MAX_PROVIDERS = 4096
#: Each distinct class costs the table a row of all its columns, so no host may bring more.
MAX_CLASSES = 128
MAX_TRAITS = 2048
#: The largest ratio that Placement takes.
MAX_RATIO = 3.40282e38


def checked(projection: State, host_name: str, packed: bytes) -> ProviderTree:
    """Unpack a HostInventory and check it beyond the schema; InvalidEvent names the first fault."""
    if projection.rules.fault_closes_provider:
        tree = read(packed)
    else:
        tree = ProviderTree(events.thaw("HostInventory", packed), {})
    fault = _fault(projection, host_name, tree.inventory)
    if fault:
        raise errors.InvalidEvent(f"the inventory of {host_name} is refused: {fault}; fix its agent")
    return tree


def _fault(projection: State, host_name: str, inventory: HostInventory) -> str | None:
    providers = inventory.providers
    if not providers or providers[0].parent != -1 or len(providers) > MAX_PROVIDERS:
        return f"{len(providers)} providers, wanted 1 to {MAX_PROVIDERS} of which the first is the root (parent -1)"
    if len({provider.uuid for provider in providers}) != len(providers):
        return "two providers have the same uuid"
    for index, provider in enumerate(providers):
        if index and not 0 <= provider.parent < index:
            return f"provider {provider.name} has parent {provider.parent}, wanted the index of an earlier provider"
        owner = projection.provider_hosts.get(provider.uuid, host_name)
        if owner != host_name:
            return f"provider {provider.uuid} belongs to host {owner}"
        if not projection.rules.fault_closes_provider and (fault := provider_fault(provider, projection.rules)):
            return fault
    classes = {of.resource_class for provider in providers for of in provider.inventories}
    traits = set().union(*(provider.traits for provider in providers))
    if len(classes) > MAX_CLASSES or len(traits) > MAX_TRAITS:
        return (
            f"{len(classes)} resource classes and {len(traits)} traits, wanted at most {MAX_CLASSES} and {MAX_TRAITS}"
        )
    return fault_of(inventory)


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
    tree = read(host.inventory)
    return [fault for index in range(len(tree.inventory.providers)) if (fault := _closing_fault(tree, index, rules))]


def _closing_fault(tree: ProviderTree, index: int, rules: Rules) -> str | None:
    """Why a provider of a tree is closed, or None."""
    if not rules.fault_closes_provider:
        return None
    return tree.faults.get(index) or provider_fault(tree.inventory.providers[index], rules)


def write(projection: State, host: Host, tree: ProviderTree) -> list[str]:
    """Write a checked inventory into the table, and count the use of the host again. Returns why providers are closed,
    a sentence for each."""
    table, providers = projection.table, tree.inventory.providers
    uuids = {provider.uuid for provider in providers}
    if host.root >= 0:
        if table.uuids[host.root] != providers[0].uuid:
            erase(projection, host)
        else:
            for uuid in [uuid for uuid in host.rows if uuid not in uuids]:
                table.drop_row(host.rows.pop(uuid))
                del projection.provider_hosts[uuid]
    if host.root < 0:
        root = providers[0]
        host.root = host.rows[root.uuid] = table.add_row(root.uuid, root.name, None, -1)
        projection.provider_hosts[root.uuid] = host.name
        table.host_names[host.root] = host.name
        table.row_of_host[host.name] = host.root
        table.cell[host.root] = projection.cell_index
        table.num_instances[host.root] = len(host.entries)
    rows: list[int] = []
    faults: list[str] = []
    for index, provider in enumerate(providers):
        row = host.rows.get(provider.uuid)
        parent = rows[provider.parent] if provider.parent >= 0 else -1
        if row is None:
            row = host.rows[provider.uuid] = table.add_row(provider.uuid, provider.name, host.root, parent)
            projection.provider_hosts[provider.uuid] = host.name
        rows.append(row)
        fault = _closing_fault(tree, index, projection.rules)
        if fault:
            faults.append(fault)
            provider = _closed(provider)
        _write_provider(table, row, provider, parent)
    table.trees[host.root] = tuple(rows)
    table.children[host.root] = len(rows) - 1
    _write_host(projection, host.root, tree.inventory)
    count_all_use(projection, host)
    sum_tree(table, host.root)
    return faults


def _closed(provider: Provider) -> Provider:
    """A provider with a fault: it keeps its classes, so that its use stays counted, and offers nothing of them."""
    classes = {inventory.resource_class for inventory in provider.inventories}
    return provider._replace(
        inventories=closed_inventories(classes), traits=tuple(filter(NAME.fullmatch, provider.traits))
    )


def _write_provider(table: HostTable, row: int, provider: Provider, parent: int) -> None:
    clear_provider(table, row)
    table.provider_names[row] = provider.name
    table.parent[row] = parent
    if table.row_aggregates[row] != provider.aggregates:
        table.row_aggregates[row] = provider.aggregates
        table.topology_version += 1
    for inventory in provider.inventories:
        set_inventory(table, row, inventory)
    set_traits(table, row, provider.traits)


def _write_host(projection: State, root: int, tree: HostInventory) -> None:
    table = projection.table
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
    table.disabled[host.root] = status.disabled
    table.down[host.root] = status.forced_down or host.lost
    table.num_io_ops[host.root] = min(status.num_io_ops, 2**31 - 1)
    table.failed_builds[host.root] = min(status.failed_builds, 2**31 - 1)
    table.metrics.write(host.root, status)


def erase(projection: State, host: Host) -> None:
    """Drop all rows of a host."""
    table = projection.table
    del table.trees[host.root]
    if table.row_of_host.get(host.name) == host.root:
        del table.row_of_host[host.name]
    for uuid, row in host.rows.items():
        table.drop_row(row)
        del projection.provider_hosts[uuid]
    host.rows = {}
    host.root = -1
