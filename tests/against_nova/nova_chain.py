"""Nova's filters and weighers in chains answer here: run by the peer's own Python, beneath
:mod:`tests.against_nova.peer_loop`.

A world, as :mod:`tests.against_nova.worlds` makes it, is sent once and then asked many questions; imports nothing of
this project.
"""

import contextlib
import logging
import types

import nova.conf
import nova_numa
from nova import objects
from nova.pci import stats as pci_stats
from nova.pci import whitelist
from nova.scheduler import filters as host_filters
from nova.scheduler import host_manager
from nova.scheduler import weights as host_weights
from nova.scheduler.weights import image_props

objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])
logging.disable()

FILTERS = {one.__name__: one for one in host_filters.all_filters()}
WEIGHERS = {weigher.__name__: weigher for weigher in host_weights.all_weighers()}
EVERYTHING = whitelist.Whitelist(None)
FILTER_HANDLER, WEIGHT_HANDLER = host_filters.HostFilterHandler(), host_weights.HostWeightHandler()


# --- what would ask a database -------------------------------------------------------------------------------------


class Instances(list):
    """Instances whose image is known."""

    def __init__(self, context, objects):
        super().__init__(objects)

    def fill_metadata(self):
        pass


class Image:
    """An image whose properties are made a dictionary of once, which takes nova some time."""

    def __init__(self, properties):
        found = objects.ImageMetaProps(**properties).to_dict()
        self.properties = types.SimpleNamespace(to_dict=lambda: found)


image_props.objects = types.SimpleNamespace(
    CellMapping=types.SimpleNamespace(get_by_uuid=lambda context, uuid: uuid), InstanceList=Instances
)
image_props.nova_context = types.SimpleNamespace(
    get_admin_context=lambda: None, target_cell=lambda context, cell: contextlib.nullcontext()
)


# --- a world -------------------------------------------------------------------------------------------------------


def state_of(host, aggregates):
    """The HostState of a host."""
    state = host_manager.HostState(host["name"], host["name"], host["cell"])
    used = len(host["instances"])
    topology = nova_numa._host(host["numa"], host["uses"]) if host["numa"] else None
    values = {
        "uuid": host["name"],
        "host_ip": host["ip"],
        "hypervisor_hostname": host["name"],
        "hypervisor_type": host["type"],
        "hypervisor_version": host["version"],
        "cpu_info": host["cpu_info"],
        "stats": host["stats"],
        "supported_instances": host["supported"],
        "num_instances": used,
        "num_io_ops": host["io"],
        "failed_builds": host["failed"],
        "service": {"disabled": host["disabled"], "up": not host["down"]},
        "vcpus_total": host["vcpus"],
        "vcpus_used": used * host["each"]["VCPU"],
        "cpu_allocation_ratio": host["ratio"],
        "total_usable_ram_mb": host["ram"],
        "free_ram_mb": host["ram"] - host["reserved"] - used * host["each"]["MEMORY_MB"],
        "ram_allocation_ratio": 1.0,
        "total_usable_disk_gb": host["disk"],
        "free_disk_mb": (host["disk"] - used * host["each"]["DISK_GB"]) * 1024,
        "disk_allocation_ratio": 1.0,
        "instances": {name: types.SimpleNamespace(image_meta=Image(image)) for name, image in host["instances"]},
        "metrics": [types.SimpleNamespace(name=name, value=value) for name, value in host["metrics"].items()],
        "disk_mb_used": used * host["each"]["DISK_GB"] * 1024,
        "numa_topology": topology,
        "limits": {},
        "pci_stats": pci_stats.PciDeviceStats(
            topology,
            stats=objects.PciDevicePoolList(
                objects=[
                    objects.PciDevicePool(
                        vendor_id="8086",
                        product_id=product,
                        numa_node=node,
                        count=count - used,
                        tags={"dev_type": "type-PCI"},
                    )
                    for node, product, count, used in host["pci"]
                    if count > used
                ]
            ),
            dev_filter=EVERYTHING,
        ),
        "aggregates": [
            objects.Aggregate(metadata=aggregate["metadata"])
            for aggregate in aggregates
            if host["name"] in aggregate["hosts"]
        ],
    }
    for name, value in values.items():
        setattr(state, name, value)
    return state


def spec_of(request):
    """The RequestSpec of a request."""
    spec = objects.RequestSpec(
        image=None,
        instance_group=None,
        instance_uuid=request["instance"],
        project_id=request["project"],
        ignore_hosts=request["ignore"],
        force_hosts=request["force"],
        force_nodes=None,
        scheduler_hints=request["hints"],
        requested_destination=None,
        num_instances=1,
        flavor=objects.Flavor(
            name=request["flavor"],
            vcpus=1,
            memory_mb=1,
            root_gb=0,
            ephemeral_gb=0,
            swap=0,
            extra_specs=request["extra_specs"],
        ),
        numa_topology=nova_numa._guest(request["numa"]) if request["numa"] else None,
        pci_requests=objects.InstancePCIRequests(
            requests=[
                objects.InstancePCIRequest(
                    count=count,
                    spec=[{"vendor_id": "8086", "product_id": product}],
                    alias_name="a",
                    numa_policy=policy,
                    request_id=f"pci {number}",
                )
                for number, (product, count, policy) in enumerate(request["pci"])
            ]
        ),
    )
    if request["image"] is not None:
        spec.image = objects.ImageMeta(id=request["image_id"], properties=objects.ImageMetaProps(**request["image"]))
        found = spec.image.properties.to_dict()
        spec.image.properties.to_dict = lambda: found
    if request["group"] is not None:
        group = request["group"]
        spec.instance_group = objects.InstanceGroup(
            uuid=request["instance"],
            policy=group["policy"],
            policies=[group["policy"]],
            members=group["members"],
            hosts=group["hosts"],
            _rules=group["rules"],
        )
    if request["cell"] is not None or request["host"] is not None:
        spec.requested_destination = objects.Destination(allow_cross_cell_move=request["may_cross"])
        if request["cell"] is not None:
            spec.requested_destination.cell = objects.CellMapping(uuid=request["cell"])
        if request["host"] is not None:
            spec.requested_destination.host, spec.requested_destination.node = request["host"], None
    return spec


#: What was configured last: it takes some time.
CONFIGURED = {}


def configure(sections):
    """Set options: section -> name -> value."""
    for group, options in sections.items():
        for name, value in options.items():
            if CONFIGURED.get((group, name), CONFIGURED) != value:
                CONF.set_override(name, value, group)
                CONFIGURED[group, name] = value


class World:
    """States and specs of a world, which no question changes."""

    def __init__(self, world):
        self.states = {host["name"]: state_of(host, world["aggregates"]) for host in world["hosts"]}
        self.requests = world["requests"]
        self.specs = [spec_of(request) for request in world["requests"]]

    def answer(self, question):
        """[name, score] of the hosts that pass, best first; the name and the text of
        the error where nova falls over."""
        configure(question["options"])
        try:
            spec = self.specs[question["request"]]
            states = [self.states[name] for name in question["hosts"]]
            if question["filters"] is not None:
                states = self.filtered(states, spec, question)
            weighers = [WEIGHERS[name]() for name in question["weighers"]]
            weighed = WEIGHT_HANDLER.get_weighed_objects(weighers, states, spec)
            return [[one.obj.host, one.weight] for one in weighed]
        except Exception as error:
            return [type(error).__name__, str(error)]

    def filtered(self, states, spec, question):
        request = self.requests[question["request"]]
        # Placement does not offer these, as nova asks it for hosts without the trait COMPUTE_STATUS_DISABLED.
        states = [state for state in states if not state.service["disabled"]]
        if request["cell"] is not None and not request["may_cross"]:
            # Nova does not even look at other cells.
            states = [state for state in states if state.cell_uuid == request["cell"]]
        enabled = [FILTERS[name]() for name in question["filters"]]
        for one in enabled:
            if hasattr(one, "servicegroup_api"):
                one.servicegroup_api = types.SimpleNamespace(service_is_up=lambda service: service["up"])
        manager = types.SimpleNamespace(filter_handler=FILTER_HANDLER, enabled_filters=enabled)
        for state in states:
            state.limits, state.allocation_candidates = {}, [{"mappings": {"": [state.uuid]}}]
        with nova_numa.without_memory():
            return list(host_manager.HostManager.get_filtered_hosts(manager, states, spec))


def answers(world, questions):
    """An answer to each question about one world."""
    made = World(world)
    return [made.answer(question) for question in questions]


def names():
    """The filters and weighers that nova has."""
    return {"filters": sorted(FILTERS), "weighers": sorted(WEIGHERS)}


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (answers, names)
