"""NUMA nodes and PCI devices that a RequestSpec asks for, as the records that a decision depends on."""

from rpc_api import errors, events


def numa_of(spec):
    """Return the NUMARequest of a RequestSpec; None if it asks for no NUMA topology.

    UsageError for nodes with different policies, which Nova never makes."""
    topology = spec.numa_topology if spec.obj_attr_is_set("numa_topology") else None
    if topology is None or not topology.cells:
        return None
    cells = tuple(map(_cell, topology.cells))
    policies = sorted({cell.cpu_policy or "shared" for cell in cells})
    if len(policies) > 1:
        raise errors.UsageError(
            f"the NUMA nodes of the request have the CPU policies {', '.join(policies)}, wanted "
            "the same for all; fix its numa_topology"
        )
    networks = spec.network_metadata if spec.obj_attr_is_set("network_metadata") else None
    policy = topology.emulator_threads_policy if topology.obj_attr_is_set("emulator_threads_policy") else None
    return events.NUMARequest(
        cells,
        policy,
        tuple(sorted(networks.physnets)) if networks and networks.obj_attr_is_set("physnets") else (),
        bool(networks and networks.obj_attr_is_set("tunneled") and networks.tunneled),
        networks is not None,
    )


def numa_names_no_policy(spec) -> bool:
    """Return whether a node of the topology has an old form without the field for pinned CPUs."""
    topology = spec.numa_topology if spec.obj_attr_is_set("numa_topology") else None
    return topology is not None and any(not cell.can_say_policy for cell in topology.cells)


def _cell(cell):
    def of(name):
        return getattr(cell, name) if cell.obj_attr_is_set(name) else None

    topology = of("cpu_topology")
    threads = topology.threads if topology is not None and topology.obj_attr_is_set("threads") else None
    shared, pinned = cell.asked_cpus()
    return events.NUMACellRequest(
        cell.id,
        tuple(shared),
        tuple(pinned),
        cell.memory,
        of("pagesize"),
        of("cpu_policy"),
        of("cpu_thread_policy"),
        threads or 0,
    )


def pci_of(spec):
    """Return the PCIRequest records of a RequestSpec."""
    requests = spec.pci_requests if spec.obj_attr_is_set("pci_requests") else None
    return tuple(map(_device, requests.requests)) if requests is not None else ()


def _device(request):
    return events.PCIRequest(
        request.count,
        tuple(
            {name: None if value is None else str(value) for name, value in sorted(spec.items())}
            for spec in request.spec or ()
        ),
        request.alias_name,
        request.request_id,
        request.requester_id,
        request.numa_policy,
    )
