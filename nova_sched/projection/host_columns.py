"""What a HostState says of one host, of many hosts at once: numbers as columns, the rest by its distinct values."""

from typing import NamedTuple

import numpy as np

from nova_sched.projection.host_aggregates import host_aggregates
from nova_sched.projection.host_state import HostState

#: Up to how many hosts the providers of a tree are summed up one by one.
FEW = 16
#: Attributes that follow from the profile of a host alone.
_OF_PROFILE = {
    "hypervisor_type": lambda profile: profile.hypervisor_type, "cpu_info": lambda profile: profile.cpu_info,
    "supported_instances": lambda profile: [list(one) for one in profile.supported_instances],
    "stats": lambda profile: dict(profile.stats),
}
#: Attributes of HostState under the names of nova's.
NAMES = frozenset(name for name, one in vars(HostState).items()
                  if isinstance(one, property) and not name.startswith("_")) - {"cell"}


class Attribute(NamedTuple):
    """One attribute of some hosts: host number i has ``values[codes[i]]``, None where it has none."""

    values: list
    codes: np.ndarray


def left(table, index, rows, resource_class) -> np.ndarray:
    """What is left of a class on each host, without overcommitment (int64); ``rows`` and ``index`` say which hosts."""
    return _sums(table, index, rows, "tree_base", resource_class) - _sums(table, index, rows, "tree_taken", resource_class)


def left_with_overcommitment(table, index, rows, resource_class) -> np.ndarray:
    """What is left of a class on each host when totals are taken times their allocation ratio (float64)."""
    return _sums(table, index, rows, "tree_scaled", resource_class) - _sums(table, index, rows, "tree_taken", resource_class)


def _sums(table, index, rows, column, resource_class):
    number = table.classes.get(resource_class)
    return np.zeros(len(rows), np.int64) if number < 0 else getattr(table, column)[number][index]


def total(table, index, rows, resource_class) -> np.ndarray:
    """How much of a class each host has, used or not (int64)."""
    number = table.classes.get(resource_class)
    if number < 0:
        return np.zeros(len(rows), np.int64)
    totals = table.total[number]
    if not table.nested_rows:
        return totals[index]
    if len(rows) <= FEW:
        return np.array([totals[list(table.trees[row])].sum() for row in rows.tolist()], np.int64)
    providers = np.flatnonzero(totals[:table.count])
    # The root of an unused row is -1, but it has nothing.
    sums = np.bincount(table.root[providers], totals[providers], minlength=table.count)
    return sums.astype(np.int64)[index]


def _ratio(table, index, rows, resource_class):
    number = table.classes.get(resource_class)
    if number < 0:
        return np.ones(len(rows))
    if table.nested_rows:
        return np.array([table.ratio_of(row, resource_class) for row in rows.tolist()], np.float64)
    return np.where(table.total[number][index] != 0, table.ratio[number][index], 1.0)


def _hypervisor_version(table, index, rows):
    return np.array([profile.hypervisor_version for profile in table.profiles.values], np.int64)[table.profile[index]]


def _of_class(compute, resource_class, times=1):
    return lambda *hosts: compute(*hosts, resource_class) * times


def _with_claims(name):
    return lambda table, index, rows: (getattr(table, name)[index] + table.held_claims[index]).astype(np.int64)


_NUMBERS = {
    "free_ram_mb": _of_class(left, "MEMORY_MB"), "total_usable_ram_mb": _of_class(total, "MEMORY_MB"),
    "free_disk_mb": _of_class(left, "DISK_GB", 1024), "total_usable_disk_gb": _of_class(total, "DISK_GB"),
    "disk_mb_used": lambda *hosts: total(*hosts, "DISK_GB") * 1024 - left(*hosts, "DISK_GB") * 1024,
    "vcpus_total": _of_class(total, "VCPU"), "vcpus_used": lambda *hosts: total(*hosts, "VCPU") - left(*hosts, "VCPU"),
    "cpu_allocation_ratio": _of_class(_ratio, "VCPU"), "ram_allocation_ratio": _of_class(_ratio, "MEMORY_MB"),
    "disk_allocation_ratio": _of_class(_ratio, "DISK_GB"), "hypervisor_version": _hypervisor_version,
    "num_instances": _with_claims("num_instances"), "num_io_ops": _with_claims("num_io_ops"),
    "failed_builds": lambda table, index, rows: table.failed_builds[index].astype(np.int64),
}


def numbers(hosts, name: str) -> np.ndarray | None:
    """An attribute that is a number on every host (int64 or float64, shape [hosts in view]); None for others."""
    compute = _NUMBERS.get(name)
    return None if compute is None else compute(hosts.table, hosts.index, hosts.rows)


def attribute(hosts, name: str) -> Attribute | None:
    """Any attribute of HostState; None where there is none of that name."""
    table = hosts.table
    column = numbers(hosts, name)
    if column is not None:
        distinct, codes = np.unique(column, return_inverse=True)
        return Attribute(distinct.tolist(), codes)
    if name in _OF_PROFILE:
        return Attribute(list(map(_OF_PROFILE[name], table.profiles.values)), hosts.column("profile"))
    if name == "aggregates":
        of_hosts = host_aggregates(table)
        return Attribute([one.aggregates for one in of_hosts.metadata], of_hosts.column[hosts.index])
    if name in NAMES:
        return Attribute([getattr(HostState(table, row), name) for row in hosts.rows.tolist()], np.arange(len(hosts)))
    return None


def stat(hosts, name: str) -> Attribute:
    """One of the stats of the hosts."""
    return Attribute([dict(profile.stats).get(name) for profile in hosts.table.profiles.values], hosts.column("profile"))
