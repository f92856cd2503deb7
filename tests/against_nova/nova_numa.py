"""Nova's NUMA fitting answers here: run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`.

Imports nothing of this project. Each question is answered twice: by nova as it is, and by nova without its memory
(:func:`without_memory`), which is what its rules say.
"""

import contextlib
import copy

import nova.conf
from nova import exception, objects
from nova.objects import base
from nova.pci import stats
from nova.scheduler import host_manager
from nova.scheduler.filters import numa_topology_filter
from nova.virt import hardware

objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])
FILTER = numa_topology_filter.NUMATopologyFilter()
FIT_CELL = hardware._numa_fit_instance_cell
PAGES_USED = hardware._numa_pagesize_usage_from_cell
FREE_SIBLINGS = objects.NUMACell.free_siblings

# Nova falls over a host that knows no sizes of pages when it counts what a guest uses there.
hardware._numa_pagesize_usage_from_cell = lambda host, guest, sign: (
    PAGES_USED(host, guest, sign) if host.mempages else []
)


# --- nova copies a request for each host, and a host for each of its PCI requests: here only what it writes into -----


def _copied_request(spec):
    copied = copy.copy(spec)
    if spec.numa_topology is not None:
        copied.numa_topology = copy.copy(spec.numa_topology)
        copied.numa_topology.cells = list(map(copy.copy, spec.numa_topology.cells))
    return copied


def _copied_devices(devices, memo):
    copied = copy.copy(devices)
    copied.pools = list(map(dict, devices.pools))
    return copied


objects.RequestSpec.obj_clone = _copied_request
stats.PciDeviceStats.__deepcopy__ = _copied_devices


# --- nova without its memory ---------------------------------------------------------------------------------------


class Forgetful(set):
    """A set that what is added to is as it was."""

    def add(self, one):
        pass


class Ascending(set):
    """A set that is gone through in its order."""

    def __iter__(self):
        return iter(sorted(set.__iter__(self)))


def _fit_copy(host_cell, instance_cell, limits=None, cpuset_reserved=0):
    return FIT_CELL(host_cell, copy.copy(instance_cell), limits, cpuset_reserved)


@contextlib.contextmanager
def without_memory():
    """Each pair of nodes is judged from the request as it came, and CPUs of a core are taken in their order."""
    hardware.set = Forgetful
    hardware._numa_fit_instance_cell = _fit_copy
    objects.NUMACell.free_siblings = property(lambda cell: list(map(Ascending, FREE_SIBLINGS.fget(cell))))
    try:
        yield
    finally:
        del hardware.set
        hardware._numa_fit_instance_cell = FIT_CELL
        objects.NUMACell.free_siblings = FREE_SIBLINGS


# --- from the case to nova's objects -------------------------------------------------------------------------------


def _host(cells, uses):
    made = []
    for cell in cells:
        made.append(
            objects.NUMACell(
                id=cell["id"],
                socket=cell["socket"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                siblings=[set(core) for core in cell["siblings"]],
                memory=cell["memory_mb"],
                cpu_usage=0,
                memory_usage=0,
                pinned_cpus=set(),
                mempages=[
                    objects.NUMAPagesTopology(size_kb=size, total=total, used=0, reserved=reserved)
                    for size, total, reserved in cell["pages"]
                ],
            )
        )
        if cell["networks"] is not None:
            made[-1].network_metadata = _networks(cell["networks"])
    return _used(objects.NUMATopology(cells=made), uses)


def _networks(networks):
    return objects.NetworkMetadata(physnets=set(networks["physnets"]), tunneled=networks["tunneled"])


def _used(topology, uses):
    """The host with what NUMA nodes of guests have of it."""
    cells = [
        objects.InstanceNUMACell(
            id=use["cell"],
            cpuset=set(range(use["shared_cpus"])),
            pcpuset={guest for guest, _ in use["pins"]},
            cpu_pinning=dict(use["pins"]),
            cpuset_reserved=set(use["reserved_cpus"]) or None,
            memory=use["memory_mb"],
            pagesize=use["page_kb"] or None,
            cpu_policy="dedicated" if use["pins"] else "shared",
            cpu_thread_policy="isolate" if use["isolated"] else None,
        )
        for use in uses
    ]
    return (
        hardware.numa_usage_from_instance_numa(topology, objects.InstanceNUMATopology(cells=cells))
        if cells
        else topology
    )


def _guest(request):
    return objects.InstanceNUMATopology(
        emulator_threads_policy=request["emulator"],
        cells=[
            objects.InstanceNUMACell(
                id=cell["id"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                memory=cell["memory_mb"],
                pagesize=cell["page_kb"],
                cpu_policy=cell["cpu_policy"],
                cpu_thread_policy=cell["thread_policy"],
            )
            for cell in request["cells"]
        ],
    )


class _Devices:
    """Free devices on nodes, and on which nodes a guest must be for its requests."""

    def __init__(self, pools, near):
        self.pools = [{"numa_node": node, "count": count} for node, count in pools if count]
        self.near = near

    def support_requests(self, requests, provider_mapping, numa_cells):
        return not {cell.id for cell in numa_cells}.isdisjoint(self.near)


# --- answers -------------------------------------------------------------------------------------------------------


def _room(topology):
    return [
        [cell.cpu_usage, cell.memory_usage, sorted(cell.pinned_cpus), [pages.used for pages in cell.mempages]]
        for cell in topology.cells
    ]


def _placement(fitted):
    return fitted and [
        [cell.id, sorted((cell.cpu_pinning or {}).items()), sorted(cell.cpuset_reserved or ()), cell.pagesize or 0]
        for cell in fitted.cells
    ]


def _answer(host, request, pools):
    """{placement, room left after it}; {error} where nova falls over, ``stage`` says whether over its own placement."""
    limits = objects.NUMATopologyLimits(
        cpu_allocation_ratio=request["cpu_ratio"], ram_allocation_ratio=request["ram_ratio"]
    )
    if request["networks"] is not None:
        limits.network_metadata = _networks(request["networks"])
    stage = "fit"
    try:
        fitted = hardware.numa_fit_instance_to_host(
            host,
            _guest(request),
            {},
            limits,
            None if request["near"] is None else [True],
            _Devices(pools, request["near"] or ()),
        )
        stage = "use"
        return {
            "placement": _placement(fitted),
            "room": fitted and _room(hardware.numa_usage_from_instance_numa(host, fitted)),
        }
    except (exception.NovaException, ValueError, IndexError) as error:
        return {"error": type(error).__name__, "stage": stage}


def fits(case):
    """For one host and each request: what is used, and the answers of nova as it is and without its memory."""
    host = _host(case["cells"], case["uses"])
    answers = []
    for request in case["requests"]:
        CONF.set_override("packing_host_numa_cells_allocation_strategy", request["packed"], "compute")
        as_it_is = _answer(host, request, case["pools"])
        with without_memory():
            answers.append([as_it_is, _answer(host, request, case["pools"])])
    return {"room": _room(host), "answers": answers}


def _state(facts):
    topology = _host(facts["cells"], facts["uses"]) if facts["cells"] is not None else None
    state = host_manager.HostState("host", "node", None)
    state.numa_topology = topology
    state.pci_stats = stats.PciDeviceStats(
        topology, objects.PciDevicePoolList(objects=[objects.PciDevicePool(**pool) for pool in facts["pools"]])
    )
    state.cpu_allocation_ratio, state.ram_allocation_ratio = facts["cpu_ratio"], facts["ram_ratio"]
    return state


def passes(specs, hosts):
    """For each spec and host: [verdict of nova as it is, without its memory, limits]; the name of the error where it
    falls over."""
    states, answers = [_state(facts) for facts in hosts], []
    for primitive in specs:
        spec = base.NovaObject.obj_from_primitive(primitive)
        answers.append([])
        for state in states:
            verdict = [_passes(state, spec)]
            with without_memory():
                verdict.append(_passes(state, spec))
            limits = state.limits.get("numa_topology")
            answers[-1].append(
                [
                    *verdict,
                    limits
                    and [
                        limits.cpu_allocation_ratio,
                        limits.ram_allocation_ratio,
                        [sorted(limits.network_metadata.physnets), limits.network_metadata.tunneled]
                        if "network_metadata" in limits
                        else None,
                    ],
                ]
            )
    return answers


def _passes(state, spec):
    state.limits = {}
    state.allocation_candidates = [{"mappings": {}}]
    try:
        return bool(FILTER.host_passes(state, spec))
    except Exception as error:
        return type(error).__name__


def on_rebuild():
    """Whether nova asks the filter for a rebuild."""
    return FILTER.RUN_ON_REBUILD


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (fits, passes, on_rebuild)
