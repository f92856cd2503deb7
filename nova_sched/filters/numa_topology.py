"""NUMATopologyFilter: refuses hosts on whose NUMA nodes the guest does not fit."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.selection import numa


class NUMATopologyFilter(Filter):
    """The NUMA nodes of the guest must fit on as many of the host's: pinned CPUs and their threads, pages, memory and
    unpinned CPUs within the host's ratios, near to the networks and PCI devices as far as the host says where these are.

    Dedicated CPUs with the thread policy "require" need a host with threads, if it says anything of its CPUs. Options:
    ``[compute] packing_host_numa_cells_allocation_strategy`` (which nodes are tried first).
    """

    name = "NUMATopologyFilter"
    costly = True

    def seen(self, request):
        asked = request.numa
        pci = tuple((one.count, one.alias_name, one.request_id, one.numa_policy, tuple(tuple(sorted(spec.items()))
                                                                                     for spec in one.spec))
                    for one in request.pci) if asked else ()
        return asked, pci, _needs_threads(request)

    def refusals(self, hosts, request, policy, scope):
        needs_threads = _needs_threads(request)
        if request.numa is None and not needs_threads:
            return
        reasons = _Reasons(request, needs_threads, policy.packing_host_numa_cells_allocation_strategy)
        devices, cpu_ratios, ram_ratios = hosts.devices(), hosts.ratios("VCPU"), hosts.ratios("MEMORY_MB")
        codes = np.zeros(len(devices), np.int64)
        # Hosts of one state have one verdict: of thousands of hosts there are few, and mostly one pair of ratios.
        for ratios in sorted({*zip(cpu_ratios.tolist(), ram_ratios.tolist(), strict=True)}):
            among = (cpu_ratios == ratios[0]) & (ram_ratios == ratios[1])
            keyed = devices if among.all() else [devices[number] for number in np.flatnonzero(among).tolist()]
            keys = [one and one.key for one in keyed]
            code_of = {key: reasons.code_of(one, *ratios) for key, one in dict(zip(keys, keyed, strict=True)).items()}
            codes[among] = [code_of[key] for key in keys]
        for reason, code in reasons.codes.items():
            if reason is not None:
                yield Refusal(reason, codes == code)


class _Reasons:
    """Why hosts are refused, each reason with a code; 0 is none."""

    def __init__(self, request, needs_threads, packed):
        self.request = request
        self.needs_threads = needs_threads
        self.packed = packed
        self.codes = {None: 0}

    def code_of(self, devices, cpu_ratio, ram_ratio):
        return self.codes.setdefault(self._reason(devices, cpu_ratio, ram_ratio), len(self.codes))

    def _reason(self, devices, cpu_ratio, ram_ratio):
        if devices is None or not devices.cells:
            return None if self.request.numa is None else "no NUMA topology"
        if self.needs_threads and all(node.threads < 2 for node in devices.capacity.nodes):
            return "no hyperthreads"
        if self.request.numa is None:
            return None
        return numa.place(devices, self.request.numa, cpu_ratio, ram_ratio, None, self.packed).reason


def _needs_threads(request):
    """Whether flavor or image ask for dedicated CPUs and for their threads, in whichever of the two."""
    specs, image = request.extra_specs, request.image_properties
    return ("dedicated" in (specs.get("hw:cpu_policy"), image.get("hw_cpu_policy"))
            and "require" in (specs.get("hw:cpu_thread_policy"), image.get("hw_cpu_thread_policy")))
