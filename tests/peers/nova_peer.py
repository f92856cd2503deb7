"""The real nova answers here: run by the peer's own Python, one JSON question a line in, one JSON answer a line out.

Imports nothing of this project. See :mod:`tests.peers.conftest` for how it is started.
"""

import json
import sys
import types

import nova.conf
from nova import objects
from nova import weights as nova_weights
from nova.objects import base
from nova.scheduler import host_manager
from nova.scheduler import weights as host_weights
from nova.scheduler.filters import (
    affinity_filter,
    compute_capabilities_filter,
    compute_filter,
    extra_specs_ops,
    image_props_filter,
)
from nova.scheduler.weights import affinity, cpu, disk, ram

objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])

FILTERS = {one.__name__: one() for one in (
    compute_filter.ComputeFilter, compute_capabilities_filter.ComputeCapabilitiesFilter,
    image_props_filter.ImagePropertiesFilter, affinity_filter.ServerGroupAntiAffinityFilter,
    affinity_filter.ServerGroupAffinityFilter,
)}
FILTERS["ComputeFilter"].servicegroup_api = types.SimpleNamespace(service_is_up=lambda service: service["up"])
WEIGHERS = {one.__name__: one for one in (
    ram.RAMWeigher, cpu.CPUWeigher, disk.DiskWeigher, affinity.ServerGroupSoftAffinityWeigher,
    affinity.ServerGroupSoftAntiAffinityWeigher,
)}
OPTIONS = {
    "RAMWeigher": "ram_weight_multiplier", "CPUWeigher": "cpu_weight_multiplier",
    "DiskWeigher": "disk_weight_multiplier", "ServerGroupSoftAffinityWeigher": "soft_affinity_weight_multiplier",
    "ServerGroupSoftAntiAffinityWeigher": "soft_anti_affinity_weight_multiplier",
}


def spec_of(primitive):
    return base.NovaObject.obj_from_primitive(primitive)


def _state(facts):
    state = host_manager.HostState(facts["host"], facts["nodename"], None)
    for name, value in facts.items():
        setattr(state, name, value)
    state.instances = dict.fromkeys(facts["instances"])
    state.aggregates = [objects.Aggregate(metadata=metadata) for metadata in facts["aggregates"]]
    return state


def passes(spec, hosts):
    """For each filter, whether each host passes; the name of the error where nova falls over."""
    spec = spec_of(spec)
    verdicts = {}
    for name, one in FILTERS.items():
        verdicts[name] = []
        for facts in hosts:
            try:
                verdicts[name].append(bool(one.host_passes(_state(facts), spec)))
            except Exception as error:
                verdicts[name].append(type(error).__name__)
    return verdicts


def weigh(spec, hosts, multipliers):
    """The score of each host, in the order of ``hosts``."""
    for name, multiplier in multipliers:
        CONF.set_override(OPTIONS[name], multiplier, "filter_scheduler")
    weighers = [WEIGHERS[name]() for name, _ in multipliers]
    states = [_state(facts) for facts in hosts]
    weighed = nova_weights.BaseWeightHandler.get_weighed_objects(
        types.SimpleNamespace(object_class=host_weights.WeighedHost), weighers, states, spec_of(spec))
    by_state = {id(one.obj): one.weight for one in weighed}
    return [by_state[id(state)] for state in states]


def matches(value, wanted):
    """Nova's extra_specs_ops on one value."""
    return bool(extra_specs_ops.match(value, wanted))


def on_rebuild():
    """Which filters nova asks for a rebuild."""
    return {name: one.RUN_ON_REBUILD for name, one in FILTERS.items()}


ASKS = {one.__name__: one for one in (passes, weigh, matches, on_rebuild)}


def main():
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"answer": ASKS[name](*arguments)}
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
