"""The real nova answers what it makes of a RequestSpec in an older form: what its database code converts, and then
what the scheduler reads of it.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import logging
import types

import nova.conf
from nova import objects
from nova.objects.instance_numa import InstanceNUMATopology
from nova.scheduler import utils
from nova.scheduler.filters import affinity_filter
from nova.virt import hardware

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])
CPUS = set(range(16))


def meaning(primitive):
    """What the scheduler asks Placement for, the guest CPUs that are pinned, and where the group may go."""
    spec = objects.RequestSpec.obj_from_primitive(primitive)
    if spec.numa_topology:
        InstanceNUMATopology._migrate_legacy_dedicated_instance_cpuset(spec.numa_topology)
    asked = utils.ResourceRequest.from_request_spec(spec)
    destination = spec.requested_destination
    return {
        "groups": {group.requester_id or "": group.resources for group in asked._rg_by_id.values()},
        "cpus": _cpus(spec.numa_topology),
        "group": _passes(spec),
        "forbidden": sorted(spec.root_forbidden),
        "cell": destination.cell.uuid if destination and "cell" in destination and destination.cell else None,
    }


def cpus_of(primitive):
    """How many guest CPUs of a topology are pinned and how many are not; None where it does not fit a large host."""
    topology = objects.InstanceNUMATopology.obj_from_primitive(primitive)
    InstanceNUMATopology._migrate_legacy_dedicated_instance_cpuset(topology)
    return _cpus(topology)


def group_hosts(primitive, instance_uuid, running):
    """Those of the hosts of ``running`` (host -> instances) that both filters of groups pass."""
    spec = objects.RequestSpec(
        instance_group=objects.InstanceGroup.obj_from_primitive(primitive), instance_uuid=instance_uuid
    )
    return [host for host, instances in sorted(running.items()) if _passes_on(spec, host, instances)]


def old_names():
    """Old names of image properties with the names that they have now."""
    return objects.ImageMetaProps._legacy_property_map


def image_of(texts):
    """The properties of an image that an instance keeps, as texts."""
    return {name: str(value) for name, value in objects.ImageMetaProps.from_dict(texts).to_dict().items()}


def _cpus(topology):
    page = objects.NUMAPagesTopology(size_kb=4, total=8192 * 256, used=0, reserved=0)
    host = objects.NUMATopology(
        cells=[
            objects.NUMACell(
                id=0,
                cpuset=CPUS,
                pcpuset={cpu + 16 for cpu in CPUS},
                memory=8192,
                cpu_usage=0,
                memory_usage=0,
                pinned_cpus=set(),
                siblings=[{cpu} for cpu in range(32)],
                socket=0,
                mempages=[page],
            )
        ]
    )
    limits = objects.NUMATopologyLimits(cpu_allocation_ratio=1.0, ram_allocation_ratio=1.0)
    fitted = topology and hardware.numa_fit_instance_to_host(host, topology, limits)
    if not fitted:
        return None
    return [
        sum(len(cell.cpu_pinning or {}) for cell in fitted.cells),
        sum(0 if cell.cpu_policy == "dedicated" else len(cell.cpuset) for cell in fitted.cells),
    ]


def _passes(spec):
    members = list(spec.instance_group.members)
    return [_passes_on(spec, "a", members), _passes_on(spec, "b", [])]


def _passes_on(spec, host, instances):
    state = types.SimpleNamespace(host=host, nodename=host, instances=dict.fromkeys(instances))
    return all(
        one().host_passes(state, spec)
        for one in (affinity_filter.ServerGroupAntiAffinityFilter, affinity_filter.ServerGroupAffinityFilter)
    )


ASKS = (meaning, cpus_of, group_hosts, old_names, image_of)
