"""Nova's scheduler places several instances of one request and picks their alternates: run by the peer's own Python,
beneath :mod:`tests.against_nova.peer_loop`.

Nova's own code runs, and its databases and Placement are stubs. Imports nothing of this project.
"""

import uuid
from unittest import mock

import nova.conf
from nova import context as nova_context
from nova import objects
from nova.scheduler import filters, host_manager, manager, weights
from nova.scheduler.filters import affinity_filter
from nova.scheduler.weights import cpu

CONF = nova.conf.CONF
CONF([], default_config_files=[])
objects.register_all()

FILTERS = (affinity_filter.ServerGroupAntiAffinityFilter(), affinity_filter.ServerGroupAffinityFilter())
FILTER_HANDLER, WEIGHT_HANDLER = filters.HostFilterHandler(), weights.HostWeightHandler()


class Hosts:
    """A HostManager of hosts that are known."""

    filter_handler, enabled_filters = FILTER_HANDLER, list(FILTERS)

    def get_filtered_hosts(self, states, spec, index):
        return list(host_manager.HostManager.get_filtered_hosts(self, states, spec, index))

    def get_weighed_hosts(self, states, spec):
        return WEIGHT_HANDLER.get_weighed_objects([cpu.CPUWeigher()], states, spec)


def _state(name, cell, vcpus):
    state = host_manager.HostState(name, name, str(uuid.uuid5(uuid.NAMESPACE_OID, cell)))
    state.uuid, state.vcpus_total, state.cpu_allocation_ratio = str(uuid.uuid5(uuid.NAMESPACE_OID, name)), vcpus, 1.0
    state.aggregates, state.instances, state.limits = [], {}, {}
    return state


def alternates(hosts, instances, vcpus, policy, count):
    """The hosts of each instance, the chosen one first; ``hosts`` are [name, cell, VCPUs], ``policy`` is that of the
    server group or None."""
    states = [_state(*host) for host in hosts]
    spec = objects.RequestSpec(
        instance_uuid=instances[0],
        project_id="p",
        user_id="u",
        num_instances=len(instances),
        image=None,
        numa_topology=None,
        pci_requests=None,
        ignore_hosts=None,
        force_hosts=None,
        force_nodes=None,
        limits=None,
        scheduler_hints={},
        requested_resources=[],
        requested_destination=None,
        instance_group=None,
        flavor=objects.Flavor(vcpus=vcpus, memory_mb=0, root_gb=0, ephemeral_gb=0, swap=0, extra_specs={}),
    )
    if policy:
        spec.instance_group = objects.InstanceGroup(
            uuid=instances[0], policy=policy, policies=[policy], members=instances, hosts=[], _rules={}
        )
    CONF.set_override("max_attempts", count + 1, "scheduler")
    scheduler = manager.SchedulerManager.__new__(manager.SchedulerManager)
    scheduler.host_manager = Hosts()
    scheduler._get_all_host_states = lambda *given: iter(states)
    candidates = {state.uuid: [{"allocations": {}, "mappings": {}}] for state in states}
    with (
        mock.patch.object(manager.utils, "claim_resources", lambda *given, **named: True),
        mock.patch.object(manager.SchedulerManager, "placement_client", None),
    ):
        selections = scheduler._schedule(
            nova_context.get_admin_context(), spec, instances, candidates, {}, "1.36", return_alternates=True
        )
    return [[one.service_host for one in of] for of in selections]


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (alternates,)
