"""The real nova answers what a request comes to before a host is looked at: its request filters,
the groups that it asks Placement for, and which hosts it narrows to by name.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
What nova's request filters would ask of its database, of Neutron and of Placement is answered from the question.
"""

import logging
import types

import nova.conf
import os_traits
from nova import exception, objects
from nova.scheduler import host_manager, request_filter, utils

logging.disable(logging.CRITICAL)
objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])
OPTIONS = (
    "limit_tenants_to_placement_aggregate",
    "placement_aggregate_required_for_tenants",
    "query_placement_for_image_type_support",
    "enable_isolated_aggregate_filtering",
    "image_metadata_prefilter",
    "query_placement_for_routed_network_aggregates",
    "disable_fallback_pcpu_query",
)
#: What the stand-ins below answer from.
WORLD = {}
UNKNOWN_IMAGE = "11111111-2222-4333-8444-555555555555"
PROPERTIES = {
    "hw_cdrom_bus": "COMPUTE_STORAGE_BUS",
    "hw_disk_bus": "COMPUTE_STORAGE_BUS",
    "hw_video_model": "COMPUTE_GRAPHICS_MODEL",
    "hw_vif_model": "COMPUTE_NET_VIF_MODEL",
    "hw_architecture": "HW_ARCH",
    "hw_emulation_architecture": "COMPUTE_ARCH",
    "hw_viommu_model": "COMPUTE_VIOMMU_MODEL",
}


# --- what nova asks of others -------------------------------------------------------------------------------------


def _by_metadata(context, key=None, value=None):
    """As nova's database: aggregates with such a row of metadata, and only these rows of them."""
    assert key is not None or value is not None
    return _matching(lambda name, text: (key is None or name == key) and (value is None or text == value))


def _non_matching(context, ignored_keys, key_prefix, value):
    return _matching(lambda name, text: name.startswith(key_prefix) and text == value and name not in ignored_keys)


def _matching(matches):
    found = []
    for one in WORLD["aggregates"]:
        rows = {name: text for name, text in one["metadata"].items() if matches(name, text)}
        if rows:
            found.append(objects.Aggregate(uuid=one["uuid"], metadata=rows))
    return found


class _Neutron:
    """What nova.network.neutron.API answers; without the extension of segments there are none."""

    def show_port(self, context, port_id):
        port = WORLD["ports"][port_id]
        return {
            "port": {
                "network_id": port["network"],
                "binding:vnic_type": port["kind"],
                "fixed_ips": [{"subnet_id": one} for one in port["subnets"]],
            }
        }

    def is_remote_managed_port(self, context, port_id):
        return WORLD["ports"][port_id]["kind"] == "remote-managed"

    def get_segment_ids_for_network(self, context, network_id):
        return (
            [one["segment"] for one in WORLD["subnets"].values() if one["network"] == network_id and one["segment"]]
            if WORLD["has_segments"]
            else []
        )

    def get_segment_id_for_subnet(self, context, subnet_id):
        return WORLD["subnets"][subnet_id]["segment"] if WORLD["has_segments"] else None


class _Placement:
    def _get_provider_aggregates(self, context, segment):
        return types.SimpleNamespace(
            aggregates={one["uuid"] for one in WORLD["aggregates"] if one["segment"] == segment}
        )


objects.AggregateList.get_by_metadata = _by_metadata
objects.aggregate.AggregateList.get_non_matching_by_metadata_keys = _non_matching
objects.service.get_minimum_version_all_cells = lambda context, binaries: min(WORLD["versions"])
request_filter.neutron = types.SimpleNamespace(API=_Neutron)
request_filter.report = types.SimpleNamespace(report_client_singleton=_Placement)


# --- questions ----------------------------------------------------------------------------------------------------


def prefiltered(world, cases):
    """For each case what nova's request filters and its translation come to."""
    WORLD.update(world)
    for name in OPTIONS:
        CONF.set_override(
            name,
            world["options"].get(name, False),
            "workarounds" if name == "disable_fallback_pcpu_query" else "scheduler",
        )
    return [_answer(case) for case in cases]


def _answer(case):
    try:
        return _prefiltered(_spec(case))
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)[:200]}


def _spec(case):
    image = case["image"]
    spec = objects.RequestSpec(
        flavor=objects.Flavor(**{"name": "m1", "extra_specs": {}, **case["flavor"]}),
        image=objects.ImageMeta(
            name="i",
            id=UNKNOWN_IMAGE,
            disk_format=image["disk_format"],
            properties=objects.ImageMetaProps(**image["properties"]),
        ),
        project_id=case["project"],
        availability_zone=case["zone"],
        is_bfv=case["is_bfv"],
        scheduler_hints={},
        force_hosts=None,
        force_nodes=None,
        requested_resources=[_group(one) for one in case["requested"]],
        request_level_params=objects.RequestLevelParams(
            root_required=set(case["root_required"]),
            root_forbidden=set(case["root_forbidden"]),
            same_subtree=case["same_subtree"],
        ),
        pci_requests=objects.InstancePCIRequests(
            requests=[
                objects.InstancePCIRequest(count=1, spec=[], alias_name=one["alias"], request_id=one["id"])
                for one in case["pci"]
            ]
        ),
    )
    if case["destination"] is not None:
        spec.requested_destination = objects.Destination(
            aggregates=case["destination"]["aggregates"] or None,
            forbidden_aggregates=set(case["destination"]["forbidden"]) or None,
        )
    if case["networks"] is not None:
        spec.requested_networks = objects.NetworkRequestList(
            objects=[
                objects.NetworkRequest(network_id=one.get("network"), port_id=one.get("port"))
                for one in case["networks"]
            ]
        )
    return spec


def _group(facts):
    return objects.RequestGroup(
        requester_id=facts["id"],
        resources=dict(facts["resources"]),
        required_traits=set(facts["required"]),
        forbidden_traits=set(facts["forbidden"]),
        aggregates=facts["aggregates"],
        use_same_provider=True,
    )


def _prefiltered(spec):
    did, zones = [], []
    for one in request_filter.ALL_REQUEST_FILTERS:
        before = _state(spec)
        one(None, spec)
        after = _state(spec)
        if before != after:
            did.append(one.__name__)
        if one.__name__ == "map_az_to_placement_aggregate" and before[2] != after[2]:
            # Kept separate, because on the other side a filter of hosts does the same.
            zones = [spec.requested_destination.aggregates.pop()]
            spec.requested_destination.aggregates = spec.requested_destination.aggregates or None
    asked = utils.resources_from_request_spec(None, spec, None)
    answer = {
        "groups": _groups(asked),
        "fallback": None,
        "policy": asked.group_policy,
        "did": did,
        "root_required": sorted(asked._root_required),
        "root_forbidden": sorted(asked._root_forbidden),
        "same_subtree": [sorted(one) for one in asked._same_subtree],
        "zone": zones[0].split(",") if zones else None,
        "devices": _device_traits(spec.image.properties),
    }
    if asked.cpu_pinning_requested and not CONF.workarounds.disable_fallback_pcpu_query:
        answer["fallback"] = _groups(
            utils.resources_from_request_spec(None, spec, None, enable_pinning_translate=False)
        )
    return answer


def _state(spec):
    """All that a request filter may change."""
    destination = spec.requested_destination if "requested_destination" in spec else None
    return (
        set(spec.root_required),
        set(spec.root_forbidden),
        list(destination.aggregates or ()) if destination else [],
        set(destination.forbidden_aggregates or ()) if destination else set(),
        [set(resource.required_traits) for resource in spec.requested_resources],
    )


def _groups(asked):
    return {
        name or "": {
            "resources": group.resources,
            "required": sorted(group.required_traits),
            "forbidden": sorted(group.forbidden_traits),
            "member_of": sorted(map(list, {tuple(sorted(set(aggregate))) for aggregate in group.aggregates})),
            "forbidden_aggregates": sorted(group.forbidden_aggregates),
            "in_tree": group.in_tree,
        }
        for name, group in asked._rg_by_id.items()
    }


def _device_traits(properties):
    """Traits that there are for the devices of an image, and whether nova takes them for such."""
    names = [
        f"{prefix}_{properties.get(name).replace('-', '_').upper()}"
        for name, prefix in PROPERTIES.items()
        if name in properties
    ]
    traits = sorted({name for name in names if hasattr(os_traits, name)})
    return {"traits": traits, "nova_takes_them": len(traits) == len(set(names)) and "hw_viommu_model" not in properties}


class _Untouched:
    def get_filtered_objects(self, filters, hosts, spec, index):
        return list(hosts)


def destinations(cases):
    """For each case the hosts that nova narrows to by name, and whether it would ask its filters at all."""
    manager = host_manager.HostManager.__new__(host_manager.HostManager)
    manager.filter_handler, manager.enabled_filters = _Untouched(), []
    answers = []
    for case in cases:
        hosts = [types.SimpleNamespace(host=host, nodename=node) for host, node in case["hosts"]]
        spec = objects.RequestSpec(
            ignore_hosts=case["ignore_hosts"],
            force_hosts=case["force_hosts"],
            force_nodes=case["force_nodes"],
            scheduler_hints={"_nova_check_type": case["check"]} if case["check"] else {},
            requested_destination=None,
        )
        if case["target_host"]:
            spec.requested_destination = objects.Destination(host=case["target_host"], node=case["target_node"])
        answers.append(sorted(one.nodename for one in manager.get_filtered_hosts(hosts, spec)))
    return answers


def known():
    """The traits that there are."""
    return os_traits.get_traits()


def is_refusal(name):
    """Whether an error of nova says that the request cannot be met."""
    return issubclass(getattr(exception, name, type(None)), exception.NovaException)


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (prefiltered, destinations, known, is_refusal)
