"""The attributes of HostState for many hosts at once: numbers as columns, the rest by its distinct values.

``hosts`` is a :class:`nova_sched.hosts.view.HostView` everywhere; arrays have the shape [hosts in view].
"""

from typing import NamedTuple

import numpy as np

from nova_sched.nova_compat.host_state import HostState
from nova_sched.projection.pools import free_of_pools, total_of_pools
from nova_sched.projection.topology import pools_of

#: Up to how many hosts the providers of a tree are summed up one by one.
FEW = 16
#: Attributes that follow from the profile of a host alone.
OF_PROFILE = {
    "hypervisor_type": lambda profile: profile.hypervisor_type,
    "cpu_info": lambda profile: profile.cpu_info,
    "supported_instances": lambda profile: [list(supported) for supported in profile.supported_instances],
    "stats": lambda profile: dict(profile.stats),
}
#: Attributes of HostState under the names of nova's, without those that are for the classes of deployers only.
NAMES = frozenset(
    name for name, member in vars(HostState).items() if isinstance(member, property) and not name.startswith("_")
) - {"cell", "cell_uuid", "updated", "instances", "numa_topology", "pci_stats", "allocation_candidates"}

#: Those of them that change with what instances and claims take of a host, and those that may.
OF_USE = (
    NAMES
    - OF_PROFILE.keys()
    - {
        "cpu_allocation_ratio",
        "disk_allocation_ratio",
        "failed_builds",
        "host",
        "host_ip",
        "hypervisor_hostname",
        "hypervisor_version",
        "nodename",
        "ram_allocation_ratio",
        "total_usable_disk_gb",
        "total_usable_ram_mb",
        "uuid",
        "vcpus_total",
    }
)


class Attribute(NamedTuple):
    """One attribute of some hosts: host number i has ``values[codes[i]]``, None where it has none."""

    values: list
    codes: np.ndarray


def left(hosts, resource_class: str) -> np.ndarray:
    """What is left of a class on each host in view, without overcommitment (int64)."""
    free = _sums(hosts, "tree_base", resource_class) - _sums(hosts, "tree_taken", resource_class)
    return free + _free_of_pools(hosts, resource_class, scaled=False).astype(np.int64)


def left_with_overcommitment(hosts, resource_class: str) -> np.ndarray:
    """What is left of a class on each host when totals count times their allocation ratio (float64)."""
    free = _sums(hosts, "tree_scaled", resource_class) - _sums(hosts, "tree_taken", resource_class)
    return free + _free_of_pools(hosts, resource_class, scaled=True)


def _sums(hosts, column, resource_class):
    number = hosts.table.classes.get(resource_class)
    return np.zeros(len(hosts), np.int64) if number < 0 else getattr(hosts.table, column)[number][hosts.index]


def _free_of_pools(hosts, resource_class, scaled):
    pools, number = pools_of(hosts.table), hosts.table.classes.get(resource_class)
    if not pools.of_host or number < 0:
        return np.zeros(1)
    return free_of_pools(hosts.table, pools, number, scaled, hosts.rows)


def _total_of(totals, rows):
    # Most trees have few rows, and numbers of Python are then added up in less time than an array.
    return sum([totals.item(row) for row in rows])


def total(hosts, resource_class: str) -> np.ndarray:
    """How much of a class each host has, used or not (int64)."""
    table, number = hosts.table, hosts.table.classes.get(resource_class)
    if number < 0:
        return np.zeros(len(hosts), np.int64)
    pools = pools_of(table)
    own = _own_total(hosts, table.total[number])
    return own if not pools.of_host else own + total_of_pools(table, pools, number, hosts.rows).astype(np.int64)


def _own_total(hosts, totals):
    table = hosts.table
    if not table.nested_rows:
        return totals[hosts.index]
    if len(hosts) <= FEW:
        return np.array([_total_of(totals, table.trees[row]) for row in hosts.rows.tolist()], np.int64)
    # The root of an unused row is -1, but it has nothing.
    providers = np.flatnonzero(totals[: table.count])
    sums = np.bincount(table.root[providers], totals[providers], minlength=table.count)
    return sums.astype(np.int64)[hosts.index]


def _with_claims(name):
    return lambda hosts: (hosts.column(name) + hosts.column("held_claims")).astype(np.int64)


_NUMBERS = {
    "free_ram_mb": lambda hosts: left(hosts, "MEMORY_MB"),
    "total_usable_ram_mb": lambda hosts: total(hosts, "MEMORY_MB"),
    "free_disk_mb": lambda hosts: left(hosts, "DISK_GB") * 1024,
    "total_usable_disk_gb": lambda hosts: total(hosts, "DISK_GB"),
    "disk_mb_used": lambda hosts: (total(hosts, "DISK_GB") - left(hosts, "DISK_GB")) * 1024,
    "vcpus_total": lambda hosts: total(hosts, "VCPU"),
    "vcpus_used": lambda hosts: total(hosts, "VCPU") - left(hosts, "VCPU"),
    "cpu_allocation_ratio": lambda hosts: hosts.ratios("VCPU"),
    "ram_allocation_ratio": lambda hosts: hosts.ratios("MEMORY_MB"),
    "disk_allocation_ratio": lambda hosts: hosts.ratios("DISK_GB"),
    "hypervisor_version": lambda hosts: hosts.column("hypervisor_version"),
    "num_instances": _with_claims("num_instances"),
    "num_io_ops": _with_claims("num_io_ops"),
    "failed_builds": lambda hosts: hosts.column("failed_builds").astype(np.int64),
}


def numbers(hosts, name: str) -> np.ndarray | None:
    """An attribute that is a number on every host in view (int64 or float64); None for others."""
    compute = _NUMBERS.get(name)
    return None if compute is None else compute(hosts)


def attribute(hosts, name: str) -> Attribute | None:
    """Any attribute of HostState; None where there is none of that name."""
    table = hosts.table
    column = numbers(hosts, name)
    if column is not None:
        distinct, codes = np.unique(column, return_inverse=True)
        return Attribute(distinct.tolist(), codes)
    if name in OF_PROFILE:
        return Attribute(list(map(OF_PROFILE[name], table.profiles.values)), hosts.column("profile"))
    if name in NAMES:
        return Attribute([getattr(HostState(table, row), name) for row in hosts.rows.tolist()], np.arange(len(hosts)))
    return None
