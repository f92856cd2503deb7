"""The NUMA nodes of a guest, from its flavor and image, as nova-api computes them before it sends a request."""

import re

from oslo_utils import strutils

from rpc_api import errors
from rpc_api.objects.numa import InstanceNUMACell, InstanceNUMATopology
from rpc_api.wording import number_of

_SIZES = {"small": -1, "large": -2, "any": -3}
_WITH_RECORDED = "name a recorded request of this flavor with --like"


def topology_of(vcpus: int, memory_mb: int, extra_specs: dict, image_properties: dict) -> InstanceNUMATopology | None:
    """Return the topology of a guest; None if it needs none. UsageError for options that contradict the flavor, and for
    mixed CPU policies, which only nova-api computes."""
    options = _Options(extra_specs, image_properties)
    policy, pages, nodes = options.of("cpu_policy"), options.of("mem_page_size"), options.of("numa_nodes")
    if policy == "mixed":
        raise errors.UsageError(f"a guest with hw:cpu_policy=mixed is not computed here; {_WITH_RECORDED}")
    if policy != "dedicated" and pages is None and nodes is None:
        return None
    count = _number(nodes or "1", "hw:numa_nodes")
    if not 1 <= count <= max(1, vcpus):
        raise errors.UsageError(f"hw:numa_nodes is {count}, wanted 1 to the {vcpus} VCPUs of the flavor; fix it")
    pagesize, cells = _page_kb(pages), []
    for node, (cpus, memory) in enumerate(_shares(options, count, vcpus, memory_mb)):
        cells.append(
            InstanceNUMACell(
                id=node,
                cpuset=set() if policy == "dedicated" else cpus,
                pcpuset=cpus if policy == "dedicated" else set(),
                memory=memory,
                pagesize=pagesize,
                cpu_policy=policy,
                cpu_thread_policy=options.of("cpu_thread_policy"),
                cpu_topology=None,
            )
        )
    return InstanceNUMATopology(cells=cells, emulator_threads_policy=options.of("emulator_threads_policy"))


class _Options:
    """``hw:NAME`` of the flavor, or else ``hw_NAME`` of the image."""

    def __init__(self, extra_specs, image_properties):
        self._extra_specs, self._properties = extra_specs, image_properties

    def of(self, name):
        value = self._extra_specs.get(f"hw:{name}") or self._properties.get(f"hw_{name}")
        return None if value is None else str(value)


def _shares(options, count, vcpus, memory_mb):
    """(CPUs, MiB of memory) of each node: as the flavor lists them, or equal ones."""
    if options.of("numa_cpus.0") is None and options.of("numa_mem.0") is None:
        if vcpus % count or memory_mb % count:
            raise errors.UsageError(
                f"{vcpus} VCPUs and {memory_mb} MB cannot be divided among {number_of(count, 'NUMA node')}; add "
                "hw:numa_cpus.N and hw:numa_mem.N"
            )
        size = vcpus // count
        return [(set(range(node * size, (node + 1) * size)), memory_mb // count) for node in range(count)]
    found = []
    for node in range(count):
        cpus, memory = options.of(f"numa_cpus.{node}"), options.of(f"numa_mem.{node}")
        if cpus is None or memory is None:
            raise errors.UsageError(f"NUMA node {node} has no hw:numa_cpus.{node} or hw:numa_mem.{node}; add both")
        found.append((_cpus(cpus), _number(memory, f"hw:numa_mem.{node}")))
    named = [cpu for cpus, _ in found for cpu in cpus]
    if sorted(named) != list(range(vcpus)) or sum(memory for _, memory in found) != memory_mb:
        raise errors.UsageError(
            f"the NUMA nodes have the CPUs {sorted(named)} and {sum(memory for _, memory in found)} MB, wanted each of "
            f"the {vcpus} VCPUs once and {memory_mb} MB; fix hw:numa_cpus.N and hw:numa_mem.N"
        )
    return found


def _cpus(text):
    cpus = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
        if not found:
            raise errors.UsageError(f"{text!r} is not a list of CPUs such as 0-3,8; fix hw:numa_cpus.N")
        cpus.update(range(int(found[1]), int(found[2] or found[1]) + 1))
    return cpus


def _page_kb(text):
    if text is None or text in _SIZES:
        return None if text is None else _SIZES[text]
    if text.isdecimal():
        return int(text)
    try:
        return strutils.string_to_bytes(text, unit_system="IEC", return_int=True) // 1024
    except ValueError:
        raise errors.UsageError(
            f"hw:mem_page_size is {text!r}, wanted small, large, any, or a size such as 2048 or 1GB; fix it"
        ) from None


def _number(text, name):
    if not text.isdecimal():
        raise errors.UsageError(f"{name} is {text!r}, wanted a number; fix it")
    return int(text)
