"""Nova's own chain over the hosts of :mod:`bench.busy_cloud`, with the time that it takes.

Run by a Python that has nova, beneath :mod:`tests.against_nova.peer_loop`; imports nothing of this project.
"""

import functools
import time
import types

import nova.conf
from nova import objects
from nova.pci import stats as pci_stats
from nova.scheduler import filters as host_filters
from nova.scheduler import host_manager
from nova.scheduler import weights as host_weights

objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])
FILTERS = {one.__name__: one for one in host_filters.all_filters()}
WEIGHERS = {weigher.__name__: weigher for weigher in host_weights.all_weighers()}
CANDIDATE = {"allocations": {}, "mappings": {"": ["provider"]}}
CLOUDS = {}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Cloud:
    """HostState objects; hosts in one state of use share their NUMA topology and PCI pools."""

    def __init__(self, hosts, aggregates, make):
        self.make = make
        self.aggregates = [
            objects.Aggregate(id=number, metadata=one["metadata"], hosts=[]) for number, one in enumerate(aggregates)
        ]
        self.devices = {}
        self.states = [self._state(facts) for facts in hosts]

    def _state(self, facts):
        state = host_manager.HostState(facts["host"], facts["nodename"], facts["cell_uuid"])
        use = facts.pop("use")
        for name, value in facts.items():
            setattr(state, name, value)
        state.instances = {one: types.SimpleNamespace(uuid=one) for one in facts["instances"]}
        state.aggregates = [self.aggregates[number] for number in facts["aggregates"]]
        state.metrics = [types.SimpleNamespace(name=name, value=value) for name, value in facts["metrics"].items()]
        state.service = {"disabled": False, "up": True}
        if use is not None:
            if use["state"] not in self.devices:
                self.devices[use["state"]] = self._topology(use), self._pools(use)
            state.numa_topology, state.pci_stats = self.devices[use["state"]]
        else:
            state.pci_stats = NO_DEVICES
        return state

    def _topology(self, use):
        cells = []
        for cell, (cpus, pinned, memory_mb, pages) in zip(self.make["nodes"], use["nodes"], strict=True):
            cells.append(
                objects.NUMACell(
                    id=cell["id"],
                    socket=cell["socket"],
                    cpuset=set(cell["shared"]),
                    pcpuset=set(cell["dedicated"]),
                    siblings=[set(core) for core in cell["siblings"]],
                    memory=cell["memory_mb"],
                    cpu_usage=cpus,
                    memory_usage=memory_mb,
                    pinned_cpus=set(pinned),
                    mempages=[
                        objects.NUMAPagesTopology(size_kb=size, total=total, used=taken, reserved=reserved)
                        for (size, total, reserved), taken in zip(cell["pages"], pages, strict=True)
                    ],
                    network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False),
                )
            )
        return objects.NUMATopology(cells=cells)

    def _pools(self, use):
        return pci_stats.PciDeviceStats(
            objects.NUMATopology(),
            stats=objects.PciDevicePoolList(
                objects=[
                    objects.PciDevicePool(
                        vendor_id=vendor, product_id=product, numa_node=node, tags=tags, count=count - taken
                    )
                    for (vendor, product, node, tags, count), taken in zip(
                        self.make["pools"], use["pools"], strict=True
                    )
                ]
            ),
        )


NO_DEVICES = pci_stats.PciDeviceStats(objects.NUMATopology(), stats=objects.PciDevicePoolList(objects=[]))


def spec_of(ask):
    """The RequestSpec of what is asked."""
    spec = objects.RequestSpec(
        image=objects.ImageMeta(properties=objects.ImageMetaProps(**ask["image"])),
        instance_group=None,
        instance_uuid="33333333-3333-4333-8333-333333333333",
        project_id=ask["project"],
        ignore_hosts=ask["ignore"],
        force_hosts=None,
        force_nodes=None,
        scheduler_hints=ask["hints"],
        requested_destination=None,
        num_instances=1,
        availability_zone=ask["availability_zone"],
        numa_topology=None,
        pci_requests=objects.InstancePCIRequests(requests=[]),
        flavor=objects.Flavor(
            name=ask["flavor"],
            vcpus=ask["vcpus"],
            memory_mb=ask["memory_mb"],
            root_gb=ask["disk_gb"],
            ephemeral_gb=0,
            swap=0,
            extra_specs=ask["extra_specs"],
        ),
    )
    if ask["image_id"]:
        spec.image.id = ask["image_id"]
    if ask["group"] is not None:
        spec.instance_group = objects.InstanceGroup(
            policy=ask["group"]["policy"], members=ask["group"]["members"], hosts=ask["group"]["hosts"], _rules={}
        )
        spec.instance_group._obj_policies = [ask["group"]["policy"]]
    if ask["preferred_cell"] is not None:
        spec.requested_destination = objects.Destination(
            allow_cross_cell_move=True, cell=objects.CellMapping(uuid=ask["preferred_cell"])
        )
    if ask["numa"] is not None:
        spec.numa_topology = objects.InstanceNUMATopology(
            cells=[
                objects.InstanceNUMACell(
                    id=one["id"],
                    cpuset=set(),
                    pcpuset=set(one["cpus"]),
                    memory=one["memory_mb"],
                    cpu_policy="dedicated",
                )
                for one in ask["numa"]
            ]
        )
    spec.pci_requests.requests = [
        objects.InstancePCIRequest(
            count=one["count"],
            request_id=one["id"],
            alias_name=one["alias"],
            spec=[{"vendor_id": one["vendor_id"], "product_id": one["product_id"]}],
        )
        for one in ask["pci"]
    ]
    return spec


@functools.cache
def _filter(name):
    one = FILTERS[name]()
    if hasattr(one, "servicegroup_api"):
        one.servicegroup_api = types.SimpleNamespace(service_is_up=lambda service: service["up"])
    return one


# --- answers -------------------------------------------------------------------------------------------------------


def names():
    """The filters and weighers that nova has."""
    return {"filters": sorted(FILTERS), "weighers": sorted(WEIGHERS)}


def cloud(name, hosts, aggregates, make):
    """Keep a cloud under a name; how many hosts it has."""
    CLOUDS[name] = Cloud(hosts, aggregates, make)
    return len(CLOUDS[name].states)


def chain(name, ask, filters, weighers, options, clock):
    """Milliseconds of filters and of weighers, and how many hosts pass; options are [section, option, value]."""
    now = CLOCKS[clock]
    for group, option, value in options:
        CONF.set_override(option, value, group)
    spec, states = spec_of(ask), CLOUDS[name].states
    for state in states:
        state.allocation_candidates = [CANDIDATE]
    enabled, used = [_filter(one) for one in filters], [WEIGHERS[one]() for one in weighers]
    started = now()
    passing = host_filters.HostFilterHandler().get_filtered_objects(enabled, states, spec) if filters else states
    filtered = now()
    weighed = host_weights.HostWeightHandler().get_weighed_objects(used, passing, spec) if weighers else passing
    ended = now()
    for group, option, _ in options:
        CONF.clear_override(option, group)
    return {
        "filters_ms": (filtered - started) * 1e3,
        "weighers_ms": (ended - filtered) * 1e3,
        "survivors": len(weighed),
    }


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (names, cloud, chain)
