"""The weighers of what is left of a host: RAM, CPU, disk. A positive multiplier spreads, a negative one packs."""

from nova_sched.weighers.base import Weigher


def _left(table, base, resource_class, rows):
    index = table.classes.get(resource_class)
    if index < 0:
        return None
    return base[index].take(rows) - table.tree_taken[index].take(rows).astype(float)


class RAMWeigher(Weigher):
    """Memory that is not reserved and not used, in MB, without the allocation ratio: more is better."""

    name = "RAMWeigher"
    option = "ram_weight_multiplier"
    floor = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return _left(table, table.tree_base, "MEMORY_MB", rows)


class CPUWeigher(Weigher):
    """VCPUs times allocation ratio that are not reserved and not used: more is better."""

    name = "CPUWeigher"
    option = "cpu_weight_multiplier"
    floor = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return _left(table, table.tree_scaled, "VCPU", rows)


class DiskWeigher(Weigher):
    """Disk that is not reserved and not used, in GB, without the allocation ratio: more is better."""

    name = "DiskWeigher"
    option = "disk_weight_multiplier"
    floor = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return _left(table, table.tree_base, "DISK_GB", rows)
