"""NUMA nodes and PCI pools of a host under Nova's names, for the filters and weighers of deployers."""

from nova_sched.nova_compat.read_only import Facts, ReadOnlyDict, ReadOnlyList


def numa_topology_of(devices):
    """Return HostDevices in the form of Nova's NUMATopology; None without NUMA nodes."""
    if devices is None or not devices.cells:
        return None
    return Facts("NUMATopology", cells=ReadOnlyList(map(_cell, devices.cells, devices.cell_uses)))


def _cell(cell, use):
    shared, dedicated = frozenset(cell.shared_cpus), frozenset(cell.dedicated_cpus)
    siblings = ReadOnlyList(map(frozenset, cell.siblings))
    free = dedicated - use.pinned
    return Facts(
        "NUMACell",
        id=cell.id,
        socket=cell.socket,
        cpuset=shared,
        pcpuset=dedicated,
        siblings=siblings,
        memory=cell.memory_mb,
        cpu_usage=use.shared_cpus,
        memory_usage=use.memory_mb,
        pinned_cpus=use.pinned,
        mempages=ReadOnlyList(
            Facts("NUMAPagesTopology", size_kb=pages.size_kb, total=pages.total, used=used, reserved=pages.reserved)
            for pages, used in zip(cell.pages, use.pages, strict=True)
        ),
        network_metadata=Facts("NetworkMetadata", physnets=frozenset(cell.physnets), tunneled=cell.tunneled),
        free_pcpus=free,
        avail_pcpus=len(free),
        free_siblings=ReadOnlyList(free & core for core in siblings),
        avail_memory=cell.memory_mb - use.memory_mb,
        has_threads=any(len(core) > 1 for core in siblings),
    )


def pci_stats_of(devices):
    """Return the ``pools`` of Nova's PciDeviceStats, each with the free ``count``; None without PCI pools."""
    if devices is None or not devices.pools:
        return None
    return Facts(
        "PciDeviceStats",
        pools=ReadOnlyList(
            ReadOnlyDict(
                pool.tags,
                vendor_id=pool.vendor_id,
                product_id=pool.product_id,
                numa_node=pool.numa_node,
                count=devices.free_in_pool(number),
            )
            for number, pool in enumerate(devices.pools)
        ),
    )
