"""RamFilter, CoreFilter and DiskFilter: nova's of before it asked Placement, for configurations that still name them.

The ResourceFilter, which is always asked, looks at the same amounts by providers and groups; these look at the flavor
and at the sum over a host. None of them lets an instance through that is larger than the host without overcommitment.
"""

import abc
import operator
from functools import reduce

from nova_sched.filters.base import Filter, Refusal
from nova_sched.hosts.columns import left_with_overcommitment, total


class _RoomFilter(Filter):
    """Refuses hosts that have less of some classes than is asked for; ``per_unit``, a power of two, is how
    many of the units that are asked for make one of the class."""

    classes = ()
    per_unit = 1

    @abc.abstractmethod
    def wanted(self, request):
        """What a request wants, in its own unit."""

    def seen(self, request):
        return self.wanted(request)

    def refusals(self, hosts, request, policy, scope):
        # Dividing by a power of two is exact.
        wanted = self.wanted(request) / self.per_unit
        if wanted:
            most = reduce(operator.add, [total(hosts, name) for name in self.classes])
            room = reduce(operator.add, [left_with_overcommitment(hosts, name) for name in self.classes])
            yield Refusal(self.reasons[0], self.lacking(wanted, most, room))

    def refusal_of(self, table, row, request, policy):
        wanted, most, room = self.wanted(request) / self.per_unit, 0, 0
        if not wanted:
            return None
        for name in self.classes:
            index = table.classes.get(name)
            if index >= 0:
                most += table.total_of(row, index)
                room += table.tree_scaled.item(index, row) - table.tree_taken.item(index, row)
        return self.reasons[0] if self.lacking(wanted, most, room) else None

    def lacking(self, wanted, most, room):
        """Which hosts do not have what is wanted: ``most`` is what they have in all, ``room`` what is left; of one host
        as of many."""
        return (most < wanted) | (room < wanted)


class RamFilter(_RoomFilter):
    """Refuses hosts that have less memory left than the flavor has, or less in all; what is left is the total times the
    allocation ratio of its inventory, less what is reserved and used.
    """

    name = "RamFilter"
    classes, reasons = ("MEMORY_MB",), ("free RAM",)

    def wanted(self, request):
        return request.memory_mb


class CoreFilter(_RoomFilter):
    """Refuses hosts that have fewer CPUs left than the flavor has, or fewer in all; shared and dedicated CPUs are
    counted together, the total times the allocation ratio of its inventory. Hosts that report no CPUs at all pass.
    """

    name = "CoreFilter"
    classes, reasons = ("VCPU", "PCPU"), ("free cores",)

    def wanted(self, request):
        return request.vcpus

    def lacking(self, wanted, most, room):
        return (most > 0) & super().lacking(wanted, most, room)


class DiskFilter(_RoomFilter):
    """Refuses hosts that have less disk left than root, ephemeral and swap disk of the flavor take, or less in all; the
    total counts times the allocation ratio of its inventory. The root disk of an instance that boots from a
    volume takes none.
    """

    name = "DiskFilter"
    classes, per_unit, reasons = ("DISK_GB",), 1024, ("free disk",)

    def wanted(self, request):
        root_gb = 0 if request.is_bfv else request.root_gb
        return (root_gb + request.ephemeral_gb) * 1024 + request.swap_mb
