"""RamFilter, CoreFilter and DiskFilter: Nova's filters from before Placement, for configurations that name them.

The ResourceFilter, which is always asked, looks at the same amounts by providers and groups; these look at the flavor
and at the sum over a host. None of them lets an instance through that is larger than the host without overcommitment.
"""

import abc
import operator
from functools import reduce

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding
from nova_sched.filters.shortage import last_taker, latest
from nova_sched.hosts.columns import left_with_overcommitment, total
from nova_sched.hosts.view import HostView
from nova_sched.projection.reason import Reason
from nova_sched.projection.topology import providers_of

FREE_RAM = Reason("free RAM")
FREE_CORES = Reason("free cores")
FREE_DISK = Reason("free disk")


class _RoomFilter(Filter):
    """Refuses hosts that have less of some classes than is asked for; ``per_unit``, a power of two, is how many of the
    request's units make one unit of the class."""

    reason = Reason("")
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
            yield Refusal(self.reason, self.lacking(wanted, most, room))

    def lacking(self, wanted, most, room):
        """Which hosts do not have what is wanted: ``most`` is what they have in all, ``room`` what is left."""
        return (most < wanted) | (room < wanted)

    def explain(self, look, reason):
        table, row = look.table, look.row
        asked = -(-self.wanted(look.request) // self.per_unit)
        rows, parts, left = list(providers_of(table, row)), [], 0
        for resource_class in self.classes:
            index = table.classes.get(resource_class)
            if index >= 0 and table.total[index, rows].any():
                most = int(table.total[index, rows].sum())
                here = int(left_with_overcommitment(HostView(table, np.array([row])), resource_class)[0])
                left += here
                parts.append(f"{resource_class} {here} free of {most} x {table.ratio_of(row, resource_class):g}")
        takers = [
            last_taker(look, table.uuids[row], name, False) for name in self.classes if table.classes.get(name) >= 0
        ]
        return Finding(
            f"{', '.join(parts) or 'nothing reported'}, {asked} asked",
            {"asked": asked, "free": left},
            lambda traces: latest(takers)(traces) if reason else None,
            left / asked if asked else 1.0,
        )


class RamFilter(_RoomFilter):
    """Refuses hosts that have less memory left than the flavor has, or less in all; what is left is the total times the
    allocation ratio of its inventory, less what is reserved and used.
    """

    name = "RamFilter"
    classes = ("MEMORY_MB",)
    reason = FREE_RAM
    reasons = {FREE_RAM.code: "the host has less memory than the flavor, in all or left"}

    def wanted(self, request):
        return request.memory_mb


class CoreFilter(_RoomFilter):
    """Refuses hosts that have fewer CPUs left than the flavor has, or fewer in all; shared and dedicated CPUs are
    counted together, the total times the allocation ratio of its inventory. Hosts that report no CPUs at all pass.
    """

    name = "CoreFilter"
    classes = ("VCPU", "PCPU")
    reason = FREE_CORES
    reasons = {FREE_CORES.code: "the host has fewer CPUs than the flavor, in all or left"}

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
    classes, per_unit = ("DISK_GB",), 1024
    reason = FREE_DISK
    reasons = {FREE_DISK.code: "the host has less disk than the flavor, in all or left"}

    def wanted(self, request):
        root_gb = 0 if request.is_bfv else request.root_gb
        return (root_gb + request.ephemeral_gb) * 1024 + request.swap_mb
