"""NUMATopologyFilter: refuses hosts on whose NUMA nodes the guest does not fit."""

from functools import lru_cache

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding, last_guest
from nova_sched.filters.options import Kind, Option
from nova_sched.fit import numa, pci
from nova_sched.hosts.device_groups import distinct, told
from nova_sched.projection.reason import Reason

NO_TOPOLOGY = Reason("no NUMA topology")
NO_THREADS = Reason("no hyperthreads")
PACKING = Option(
    "packing_host_numa_cells_allocation_strategy",
    Kind.FLAG,
    False,
    "Whether guests with a NUMA topology go to the NUMA nodes of a host with least left, instead of most; set it as on "
    "the compute hosts, which choose the nodes again.",
    section="compute",
)


class NUMATopologyFilter(Filter):
    """The NUMA nodes of the guest must fit on as many of the host's: pinned CPUs and their threads, pages, memory and
    unpinned CPUs within the host's ratios, near to the networks and PCI devices as far as the host
    reports where these are.

    Dedicated CPUs with the thread policy "require" need a host with threads, if it reports anything of its CPUs.
    ``[compute] packing_host_numa_cells_allocation_strategy`` decides which nodes are tried first. If Placement
    assigns PCI devices, each request of them must find enough by itself here; the assignment is looked at when a
    host is chosen.
    """

    name = "NUMATopologyFilter"
    options = (PACKING,)
    reasons = {
        NO_TOPOLOGY.code: "the host reports no NUMA nodes",
        NO_THREADS.code: "the CPU thread policy requires threads, and the CPUs of the host have none",
        **numa.REASONS,
    }
    costly = True

    def seen(self, request):
        devices = (
            tuple(
                (device.count, device.numa_policy, tuple(tuple(sorted(spec.items())) for spec in device.spec))
                for device in request.pci
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
        no_host, known = np.zeros(len(codes), bool), _reasons(request)
        for reason in (*known, *sorted(judge.codes.keys() - {None, *known}, key=str)):
            yield Refusal(reason, codes == judge.codes[reason] if reason in judge.codes else no_host)

    def explain(self, look, reason):
        devices = look.table.devices(look.row)
        if devices is None or not devices.cells:
            return Finding("the host reports no NUMA nodes", {"nodes": []}, lambda traces: traces.reported())
        nodes = [_left_on(node, use) for node, use in zip(devices.cells, devices.cell_uses, strict=True)]
        asked = [
            {
                "shared": len(cell.shared_cpus),
                "dedicated": len(cell.dedicated_cpus),
                "memory_mb": cell.memory_mb,
                "page_kb": cell.page_kb,
            }
            for cell in (look.request.numa.cells if look.request.numa else ())
        ]
        left = "; ".join(
            f"node {node['id']}: {node['dedicated_free']} dedicated CPUs free, "
            f"{node['shared_used']}/{node['shared']} shared used, "
            f"{node['memory_mb'] - node['memory_mb_used']} MB free"
            for node in nodes
        )
        wanted = " + ".join(
            f"{cell['dedicated']} dedicated, {cell['shared']} shared, {cell['memory_mb']} MB" for cell in asked
        )
        return Finding(
            f"{f'{reason}: ' if reason else ''}{left}; asked {wanted}",
            {"nodes": nodes, "asked": asked},
            last_guest(look, "numa"),
        )


def _left_on(node, use):
    """What is left of a NUMA node, for programs."""
    return {
        "id": node.id,
        "dedicated_free": len(set(node.dedicated_cpus) - use.pinned),
        "shared": len(node.shared_cpus),
        "shared_used": use.shared_cpus,
        "memory_mb": node.memory_mb,
        "memory_mb_used": use.memory_mb,
        "pages_free": {
            pages.size_kb: pages.total - pages.reserved - used
            for pages, used in zip(node.pages, use.pages, strict=True)
        },
    }


def _reasons(request):
    """All reasons that hosts may be refused for, in an order that does not depend on the hosts."""
    cells = request.numa.cells if request.numa else ()
    return _reasons_with(tuple(sorted({cell.page_kb for cell in cells if (cell.page_kb or 0) > 0})))


@lru_cache(256)
def _reasons_with(sizes):
    return [
        reason
        for code in NUMATopologyFilter.reasons
        for reason in ([Reason(code, (size,)) for size in sizes] if code == numa.PAGES_OF_SIZE else [Reason(code)])
    ]


def _by_ratios(cpu_ratios, ram_ratios):
    """Yield (pair of ratios, the numbers of the hosts that have it): usually one pair."""
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
        #: What was found: pair of ratios -> of nodes, (Capacity's key, pools' uses, cells) -> of devices near
        #: to them.
        self._nodes, self._served = {}, {}

    def code_of(self, reason):
        """The code of a reason."""
        return self.codes.setdefault(reason, len(self.codes))

    def reason(self, devices, cpu_ratio, ram_ratio):
        """Why a host with these devices is refused; None if it passes."""
        if devices is None or not devices.cells:
            return None if self.request.numa is None else NO_TOPOLOGY
        if self.needs_threads and all(node.threads < 2 for node in devices.capacity.nodes):
            return NO_THREADS
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
            return all(pci.supports(devices, (device,), cells, pci.UNBOUND) for device in asked)
        return pci.supports(devices, asked, cells, pci.UNBOUND)


def _is_assigned(request):
    """Whether Placement assigns the devices of a PCI request."""
    suffixes = [group.suffix for group in request.groups if group.suffix]
    return any(pci.is_assigned(device, suffixes) for device in request.pci)


def _needs_threads(request):
    """Whether flavor or image ask for dedicated CPUs and for their threads, in whichever of the two."""
    specs, image = request.extra_specs, request.image_properties
    return "dedicated" in (specs.get("hw:cpu_policy"), image.get("hw_cpu_policy")) and "require" in (
        specs.get("hw:cpu_thread_policy"),
        image.get("hw_cpu_thread_policy"),
    )
