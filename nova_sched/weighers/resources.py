"""The weighers of the free resources of a host: RAM, CPU, disk. A positive multiplier spreads, a negative one packs."""

import numpy as np

from nova_sched.projection.pools import free_of_pools, have_class
from nova_sched.projection.topology import pools_of
from nova_sched.weighers.base import Weigher


class _FreeWeigher(Weigher):
    """Base of these weighers: the amount of a resource class that is not reserved and not used."""

    floor = 0.0
    static = True
    resource_class = ""
    #: Whether the total counts times the allocation ratio.
    scaled = False

    def raw(self, table, rows, request, policy, scope):
        index = table.classes.get(self.resource_class)
        if index < 0:
            return None
        base, pools = table.tree_scaled if self.scaled else table.tree_base, pools_of(table)
        of_pools = None
        if pools.of_host and have_class(table, pools, index):
            of_pools = free_of_pools(table, pools, index, self.scaled, rows)
            if not any(np.count_nonzero(column[index, : table.count]) for column in (base, table.tree_taken)):
                return of_pools
        free = base[index].take(rows) - table.tree_taken[index].take(rows).astype(float)
        return free if of_pools is None else free + of_pools

    def follows_pools(self, table):
        index = table.classes.get(self.resource_class)
        return index >= 0 and have_class(table, pools_of(table), index)


class RAMWeigher(_FreeWeigher):
    """Memory that is not reserved and not used, in MB, without the allocation ratio: more is better."""

    name = "RAMWeigher"
    option = "ram_weight_multiplier"
    resource_class = "MEMORY_MB"


class CPUWeigher(_FreeWeigher):
    """VCPUs times allocation ratio that are not reserved and not used: more is better."""

    name = "CPUWeigher"
    option = "cpu_weight_multiplier"
    resource_class = "VCPU"
    scaled = True


class DiskWeigher(_FreeWeigher):
    """Disk that is not reserved and not used, in GB, without the allocation ratio: more is better."""

    name = "DiskWeigher"
    option = "disk_weight_multiplier"
    resource_class = "DISK_GB"
