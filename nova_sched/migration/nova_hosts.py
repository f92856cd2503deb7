"""Hosts: their facts and their status, where Nova and our logs differ, and the events that change it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nova_sched.clients.nova import ComputeService
from nova_sched.migration.cloud import Cloud
from nova_sched.migration.compare import Difference, changed, changed_map
from nova_sched.nova_objects import facts
from nova_sched.projection.host_status import is_disabled
from nova_sched.projection.ledger import COMPUTE_STATUS_DISABLED, NOVA, Host
from nova_sched.projection.projection import Projection
from rpc_api import events
from rpc_api.events.schema import FrozenRecord
from rpc_api.wording import number_of

#: Hosts that a note names.
SHOWN = 5

# --- events ----------------------------------------------------------------------------------------------------------


def host_events(cloud: Cloud, projection: Projection) -> list[FrozenRecord]:
    """The reports of the hosts of a log whose facts or status differ, and of those that it does not know."""
    known = projection.hosts.keys() | {host.name for host in projection.waiting.values()}
    reports = cloud.databases[projection.cell].reports if projection.cell in cloud.databases else {}
    found: list[FrozenRecord] = [report for name, report in sorted(reports.items()) if name not in known]
    services = cloud.nova.services if cloud.nova is not None else {}
    for name, host in sorted(projection.hosts.items()):
        if host.authority != NOVA:
            continue
        inventory, status = host.inventory, host.status
        if name in reports and _thawed(reports[name].inventory) != _thawed(inventory):
            inventory = reports[name].inventory
        if name in services:
            status = _wanted_status(services[name], host, projection)
        if (inventory, status) != (host.inventory, host.status):
            found.append(facts.report_of(name, inventory, status))
    return found


def _wanted_status(service: ComputeService, host: Host, projection: Projection) -> events.HostStatus:
    """The status of a host as its service says. While its root provider has the trait of a disabled service, the trait
    says that, and the tap reports it so."""
    status = host.status._replace(forced_down=service.forced_down)
    if service.disabled:
        has_trait = projection.table.row_has_trait(COMPUTE_STATUS_DISABLED, host.root)
        return status._replace(disabled=status.disabled or not has_trait, disabled_reason=service.disabled_reason)
    return status._replace(disabled=False)


def _thawed(inventory: bytes) -> events.HostInventory:
    return events.thaw("HostInventory", inventory)


# --- differences -----------------------------------------------------------------------------------------------------


def status_differences(cloud: Cloud, projections: Mapping[str, Projection]) -> Iterator[Difference]:
    """Hosts that only one side has, and the status of the others, as Nova's services say. Liveness, and services of
    which the logs can have no host, are in :func:`notes_of`."""
    theirs, ours, nodes = _services(cloud), _hosts(projections), _nodes(cloud)
    for name in sorted(theirs.keys() | {name for name, host in ours.items() if host.authority == NOVA}):
        service, host = theirs.get(name), ours.get(name)
        if host is None and nodes[name] != 1:
            continue
        if service is None or host is None:
            yield Difference("host", name, None, "known", service and True, host and True)
            continue
        yield from changed("host", name, None, "authority", NOVA, host.authority)
        table = projections[host.cell].table
        there = service.disabled or COMPUTE_STATUS_DISABLED in _traits_of_root(cloud, table.uuids[host.root])
        yield from changed("host", name, None, "disabled", there, is_disabled(host, table))
        if service.disabled:
            reason = host.status.disabled_reason
            yield from changed("host", name, None, "disabled reason", service.disabled_reason, reason)
        yield from changed("host", name, None, "forced down", service.forced_down, host.status.forced_down)


def notes_of(cloud: Cloud, projections: Mapping[str, Projection]) -> list[str]:
    """What is different and needs no correction, one sentence per kind.

    Heartbeats say whether a host is up, and Nova and the conductors count them for themselves. A nova-compute without a
    compute node gets no instances; of one with several (Ironic) the tap reports one.
    """
    theirs, ours, nodes = _services(cloud), _hosts(projections), _nodes(cloud)
    both = [name for name in sorted(theirs.keys() & ours.keys()) if not theirs[name].forced_down]
    missing = sorted(theirs.keys() - ours.keys())
    kinds = (
        (
            [name for name in both if not theirs[name].is_up and not ours[name].lost],
            "down in Nova and up in the logs: Nova sees no heartbeat while its conductors are stopped, and nova_sched "
            "marks a silent host as down by itself",
        ),
        (
            [name for name in both if theirs[name].is_up and ours[name].lost],
            "up in Nova and down in the logs: the next heartbeat that the tap reads marks it as up",
        ),
        (
            [name for name in missing if not nodes[name]],
            "a nova-compute without a compute node, which gets no instances and is not in the logs",
        ),
        (
            [name for name in missing if nodes[name] > 1],
            "a nova-compute with several compute nodes (as with Ironic), of which nova_sched can choose one; it is in "
            "the logs when the tap has seen one of them",
        ),
    )
    return [f"note: {_named(names)}: {what}" for names, what in kinds if names]


def _services(cloud: Cloud) -> Mapping[str, ComputeService]:
    return cloud.nova.services if cloud.nova is not None else {}


def _nodes(cloud: Cloud) -> Counter[str]:
    """Host -> the number of its compute nodes."""
    return Counter(cloud.nova.nodes.values() if cloud.nova is not None else ())


def _hosts(projections: Mapping[str, Projection]) -> dict[str, Host]:
    return {name: host for projection in projections.values() for name, host in projection.hosts.items()}


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{number_of(len(names), 'host')} ({', '.join(names[:SHOWN])}{more})"


def _traits_of_root(cloud: Cloud, root: str) -> frozenset[str]:
    provider = cloud.placement.providers.get(root)
    return frozenset() if provider is None else provider.traits


def facts_differences(cloud: Cloud, projections: Mapping[str, Projection]) -> Iterator[Difference]:
    """The facts of the hosts of Nova that a log knows, where the database of their cell has others."""
    for cell, of_cell in sorted(cloud.databases.items()):
        hosts = projections[cell].hosts if cell in projections else {}
        for name, report in sorted(of_cell.reports.items()):
            host = hosts.get(name)
            if host is not None and host.authority == NOVA and report.inventory != host.inventory:
                there, here = (_in_words(_thawed(packed)) for packed in (report.inventory, host.inventory))
                for what in there:
                    yield from changed_map("host", name, None, what, there[what], here[what])


def _in_words(inventory: events.HostInventory) -> dict[str, dict[str, Any]]:
    """The facts of a host, by what they belong to."""
    plain = ("nodename", "host_ip", "hypervisor_type", "hypervisor_version", "cpu_info", "root_uuid")
    return {
        "facts": {
            **{field: getattr(inventory, field) for field in plain},
            "supported_instances": [" ".join(one) for one in inventory.supported_instances],
        },
        "stats": dict(inventory.stats),
        "NUMA node": {
            f"{cell.id} {field}": _value_in_words(value)
            for cell in inventory.numa_cells
            for field, value in cell._asdict().items()
            if field != "id" and value != ()
        },
        "PCI pool": {_pool_in_words(pool): pool.count for pool in inventory.pci_pools},
    }


def _value_in_words(value: Any) -> Any:
    """A field of a HostNUMACell."""
    if not isinstance(value, tuple):
        return value
    return [
        f"{one.total} of {one.size_kb} KB, {one.reserved} reserved"
        if isinstance(one, events.HostPages)
        else "-".join(map(str, one))
        if isinstance(one, tuple)
        else one
        for one in value
    ]


def _pool_in_words(pool: events.PCIPool) -> str:
    tags = [f"{name}={value}" for name, value in sorted(pool.tags.items())]
    node = [] if pool.numa_node is None else [f"NUMA node {pool.numa_node}"]
    return f"{pool.vendor_id}:{pool.product_id} ({', '.join(node + tags)})"
