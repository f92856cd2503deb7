"""Nova's own filters answer here: run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`.

Imports nothing of this project. A cloud is a dictionary of ``hosts``, ``aggregates``, ``options`` and ``requests`` (see
:mod:`tests.against_nova.test_filters`); what is left out of one is empty.
"""

import json
import logging
import types

import nova.conf
from nova import objects
from nova.scheduler import host_manager
from nova.scheduler.filters import (
    affinity_filter,
    aggregate_image_properties_isolation,
    aggregate_instance_extra_specs,
    aggregate_multitenancy_isolation,
    all_hosts_filter,
    compute_capabilities_filter,
    compute_filter,
    extra_specs_ops,
    image_props_filter,
    io_ops_filter,
    isolated_hosts_filter,
    json_filter,
    metrics_filter,
    num_instances_filter,
    type_filter,
)

logging.disable(logging.CRITICAL)
objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])

FILTERS = {
    one.__name__: one
    for one in (
        compute_filter.ComputeFilter,
        compute_capabilities_filter.ComputeCapabilitiesFilter,
        image_props_filter.ImagePropertiesFilter,
        affinity_filter.ServerGroupAntiAffinityFilter,
        affinity_filter.ServerGroupAffinityFilter,
        affinity_filter.DifferentHostFilter,
        affinity_filter.SameHostFilter,
        affinity_filter.SimpleCIDRAffinityFilter,
        aggregate_image_properties_isolation.AggregateImagePropertiesIsolation,
        aggregate_instance_extra_specs.AggregateInstanceExtraSpecsFilter,
        aggregate_multitenancy_isolation.AggregateMultiTenancyIsolation,
        type_filter.AggregateTypeAffinityFilter,
        all_hosts_filter.AllHostsFilter,
        io_ops_filter.IoOpsFilter,
        io_ops_filter.AggregateIoOpsFilter,
        num_instances_filter.NumInstancesFilter,
        num_instances_filter.AggregateNumInstancesFilter,
        isolated_hosts_filter.IsolatedHostsFilter,
        json_filter.JsonFilter,
        metrics_filter.MetricsFilter,
    )
}


def _configure(options):
    CONF.clear_override("weight_setting", "metrics")
    for name in OPTIONS:
        CONF.clear_override(name, "filter_scheduler")
    for name, value in options.items():
        if name == "metrics_weight_setting":
            CONF.set_override("weight_setting", [f"{metric}={weight}" for metric, weight in value], "metrics")
        else:
            CONF.set_override(name, value, "filter_scheduler")


OPTIONS = (
    "image_properties_default_architecture",
    "max_io_ops_per_host",
    "max_instances_per_host",
    "isolated_images",
    "isolated_hosts",
    "restrict_isolated_hosts_to_isolated_images",
    "aggregate_image_properties_isolation_namespace",
    "aggregate_image_properties_isolation_separator",
)


def _state(host, aggregates):
    state = host_manager.HostState(host["attributes"]["host"], host["attributes"]["nodename"], None)
    for name, value in host["attributes"].items():
        setattr(state, name, value)
    state.instances = dict.fromkeys(host["instances"])
    state.metrics = objects.MonitorMetricList(
        objects=[
            *(objects.MonitorMetric(name=name, value=value) for name, value in host["metrics"].items()),
            *(objects.MonitorMetric(name=name, numa_membw_values=nodes) for name, nodes in host["by_node"].items()),
        ]
    )
    state.aggregates = [
        objects.Aggregate(metadata=aggregate["metadata"])
        for aggregate in aggregates
        if state.host in aggregate["hosts"]
    ]
    return state


def _with_cpu_map(state):
    """What the ImagePropertiesFilter expects of a host: it would fall over the text that a compute node reports."""
    changed = host_manager.HostState(state.host, state.nodename, None)
    changed.__dict__.update(state.__dict__)
    try:
        info = json.loads(state.cpu_info or "{}")
    except ValueError:
        info = None
    changed.cpu_info = info if isinstance(info, dict) else {}
    return changed


def _spec(request):
    group = request.get("group")
    image = request.get("image")
    return objects.RequestSpec(
        flavor=objects.Flavor(name=request.get("flavor", ""), extra_specs=request.get("extra_specs", {})),
        image=None
        if image is None
        else objects.ImageMeta(
            **({"id": image["id"]} if image.get("id") else {}),
            properties=objects.ImageMetaProps(**image.get("properties", {})),
        ),
        project_id=request.get("project"),
        instance_uuid=request.get("instance"),
        scheduler_hints=request.get("hints", {}),
        instance_group=group
        and objects.InstanceGroup(
            uuid=group["uuid"],
            policy=group["policy"],
            policies=[group["policy"]],
            members=group["members"],
            hosts=group["hosts"],
            _rules=group["rules"],
        ),
    )


def verdicts(clouds):
    """For each cloud and each of its requests, by the name of a filter: whether each host passes,
    or the name of the error where nova falls over."""
    return [_verdicts(cloud) for cloud in clouds]


def _verdicts(cloud):
    _configure(cloud.get("options", {}))
    filters = {name: one() for name, one in FILTERS.items()}
    filters["ComputeFilter"].servicegroup_api = types.SimpleNamespace(service_is_up=lambda service: service["up"])
    states = [_state(host, cloud.get("aggregates", [])) for host in cloud["hosts"]]
    of_filter = dict.fromkeys(filters, states) | {"ImagePropertiesFilter": list(map(_with_cpu_map, states))}
    answers = []
    for request in cloud["requests"]:
        spec = _spec(request)
        answers.append(
            {name: [_passes(one, state, spec) for state in of_filter[name]] for name, one in filters.items()}
        )
    return answers


def _passes(one, state, spec):
    try:
        return bool(one.host_passes(state, spec))
    except Exception as error:
        return type(error).__name__


def matches(questions):
    """Nova's extra_specs_ops on pairs of a value and what is wanted; None where it falls over."""
    answers = []
    for value, wanted in questions:
        try:
            answers.append(bool(extra_specs_ops.match(value, wanted)))
        except Exception:
            answers.append(None)
    return answers


def on_rebuild():
    """Which filters nova asks for a rebuild."""
    return {name: one.RUN_ON_REBUILD for name, one in FILTERS.items()}


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (verdicts, matches, on_rebuild)
