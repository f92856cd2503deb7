"""NUMATopologyFilter: refuses hosts on whose NUMA nodes the guest does not fit."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.fit import numa, pci
from nova_sched.hosts.device_groups import distinct, told


class NUMATopologyFilter(Filter):
    """The NUMA nodes of the guest must fit on as many of the host's: pinned CPUs and their threads, pages, memory and
    unpinned CPUs within the host's ratios, near to the networks and PCI devices as far as the host says
    where these are.

    Dedicated CPUs with the thread policy "require" need a host with threads, if it says anything of its CPUs.
    ``[compute] packing_host_numa_cells_allocation_strategy`` says which nodes are tried first. Where Placement
    assigns PCI devices, each request of them must find enough by itself here; the assignment is looked at when a
    host is chosen.
    """

    name = "NUMATopologyFilter"
    options = ("[compute] packing_host_numa_cells_allocation_strategy",)
    reasons = ("no NUMA topology", "no hyperthreads", *numa.REASONS)
    costly = True

    def seen(self, request):
        devices = (
            tuple(
                (one.count, one.numa_policy, tuple(tuple(sorted(spec.items())) for spec in one.spec))
                for one in request.pci
            )
            if request.numa
            else ()
        )
        return request.numa, devices, bool(devices) and _is_assigned(request), _needs_threads(request)

    def refusals(self, hosts, request, policy, scope):
        needs_threads = _needs_threads(request)
        if request.numa is None and not needs_threads:
            return
        packed = policy.packing_host_numa_cells_allocation_strategy
        judge, seen = _Judge(request, needs_threads, packed), self.seen(request)
        states, numbers = hosts.device_states()
        codes = np.zeros(len(numbers), np.int64)
        for ratios, among in _by_ratios(hosts.ratios("VCPU"), hosts.ratios("MEMORY_MB")):
            some = numbers if len(among) == len(numbers) else numbers[among]
            question = self.name, seen, packed, ratios
            reasons = states.verdicts(question, some, lambda devices, ratios=ratios: judge.reason(devices, *ratios))
            codes[among] = told({number: judge.code_of(reasons[number]) for number in distinct(some)}, some)
        nobody, known = np.zeros(len(codes), bool), _reasons(request)
        for reason in (*known, *sorted(judge.codes.keys() - {None, *known})):
            yield Refusal(reason, codes == judge.codes[reason] if reason in judge.codes else nobody)


def _reasons(request):
    """All reasons that hosts may be refused for, in an order that does not depend on the hosts."""
    sizes = sorted({cell.page_kb for cell in request.numa.cells if (cell.page_kb or 0) > 0}) if request.numa else ()
    return [
        reason
        for known in NUMATopologyFilter.reasons
        for reason in ([known.format(size=size) for size in sizes] if "{size}" in known else [known])
    ]


def _by_ratios(cpu_ratios, ram_ratios):
    """Yield (pair of ratios, the numbers of the hosts that have it): mostly one pair."""
    left = np.arange(len(cpu_ratios))
    while len(left):
        pair = float(cpu_ratios[left[0]]), float(ram_ratios[left[0]])
        same = (cpu_ratios[left] == pair[0]) & (ram_ratios[left] == pair[1])
        yield pair, left[same]
        left = left[~same]


class _Judge:
    """Why hosts are refused, each reason with a code; 0 is none."""

    def __init__(self, request, needs_threads, packed):
        self.request = request
        self.needs_threads = needs_threads
        self.packed = packed
        self.is_assigned = _is_assigned(request)
        self.codes = {None: 0}
        #: What was found out: pair of ratios -> of nodes, (Capacity's key, pools' uses, cells) -> of devices near
        #: to them.
        self._nodes, self._served = {}, {}

    def code_of(self, reason):
        """The code of a reason."""
        return self.codes.setdefault(reason, len(self.codes))

    def reason(self, devices, cpu_ratio, ram_ratio):
        """Why a host with these devices is refused; None where it is not."""
        if devices is None or not devices.cells:
            return None if self.request.numa is None else "no NUMA topology"
        if self.needs_threads and all(node.threads < 2 for node in devices.capacity.nodes):
            return "no hyperthreads"
        if self.request.numa is None:
            return None
        known = self._nodes.setdefault((cpu_ratio, ram_ratio), {})
        return numa.place(
            devices, self.request.numa, cpu_ratio, ram_ratio, self._fits_pci(devices), self.packed, known
        ).reason

    def _fits_pci(self, devices):
        if not self.request.pci:
            return None

        def fits(cells):
            key = devices.capacity.key, devices.pool_uses, cells
            if key not in self._served:
                self._served[key] = self._serves(devices, cells)
            return self._served[key]

        return fits

    def _serves(self, devices, cells):
        asked = self.request.pci
        if self.is_assigned:
            return all(pci.supports(devices, (one,), cells, pci.UNBOUND) for one in asked)
        return pci.supports(devices, asked, cells, pci.UNBOUND)


def _is_assigned(request):
    """Whether Placement assigns the devices of a PCI request."""
    suffixes = [group.suffix for group in request.groups if group.suffix]
    return any(pci.is_assigned(one, suffixes) for one in request.pci)


def _needs_threads(request):
    """Whether flavor or image ask for dedicated CPUs and for their threads, in whichever of the two."""
    specs, image = request.extra_specs, request.image_properties
    return "dedicated" in (specs.get("hw:cpu_policy"), image.get("hw_cpu_policy")) and "require" in (
        specs.get("hw:cpu_thread_policy"),
        image.get("hw_cpu_thread_policy"),
    )
