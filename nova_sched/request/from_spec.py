"""From Nova's RequestSpec to the SchedulingRequest that decisions are made on.

It follows Nova's rules for what a flavor, its extra specs, the image and the
ports ask of Placement. No secrets are copied.
"""

from nova_sched.request.devices import numa_names_no_policy, numa_of, pci_of
from nova_sched.request.guest_options import wishes_of
from nova_sched.request.resource_groups import asked_of
from nova_sched.request.server_group import server_group_of
from rpc_api import errors, events
from rpc_api.events.schema import thaw_fields
from rpc_api.packing import pack

#: The share of an event of 256 KiB for the request; the rest is for the decision.
MAX_REQUEST_BYTES = 160 * 1024


def request_from(spec, request_id: str, instance_uuids=()):
    """Return the SchedulingRequest of a RequestSpec for some instances.

    Raise UsageError for a request that makes no sense, InvalidEvent or UnknownSchema for one that cannot be read.
    """
    flavor = spec.flavor
    extra_specs = dict(_set(flavor, "extra_specs") or {})
    properties = _set(_set(spec, "image"), "properties")
    wishes = wishes_of(flavor, extra_specs, properties)
    asked = asked_of(spec, extra_specs, properties, wishes)
    _check_devices(spec, extra_specs, wishes)
    check_only = spec.get_scheduler_hint("_nova_check_type") == "rebuild"
    if not check_only and not any(group.resources for group in asked.groups):
        # Placement answers such a question with 400.
        raise errors.UsageError(
            f"the flavor {_set(flavor, 'name')} and the ports ask for no resources, wanted some; fix the amounts of 0 "
            "in the flavor's extra specs"
        )
    fallback = ()
    if wishes.pinned:
        fallback = asked_of(
            spec, extra_specs, properties, wishes_of(flavor, extra_specs, properties, pinning=False)
        ).groups
    params, destination = spec.request_level_params, spec.requested_destination
    cell = _set(destination, "cell")
    cell = str(cell.uuid) if cell else None
    may_cross = bool(_set(destination, "allow_cross_cell_move"))
    return recordable(
        events.SchedulingRequest(
            request_id=request_id,
            project_id=_set(spec, "project_id"),
            flavor_name=_set(flavor, "name") or "",
            extra_specs={key: str(value) for key, value in sorted(extra_specs.items())},
            image_properties=image_properties(properties),
            groups=asked.groups,
            group_policy=asked.policy,
            same_subtree=tuple(tuple(sorted(suffixes)) for suffixes in params.same_subtree),
            root_required=tuple(sorted({*params.root_required, *wishes.root_required})),
            root_forbidden=tuple(sorted(params.root_forbidden)),
            availability_zone=_set(spec, "availability_zone"),
            force_hosts=tuple(_set(spec, "force_hosts") or ()),
            force_nodes=tuple(_set(spec, "force_nodes") or ()),
            ignore_hosts=tuple(_set(spec, "ignore_hosts") or ()),
            target_host=_set(destination, "host"),
            target_node=_set(destination, "node"),
            target_cell=None if may_cross else cell,
            preferred_cell=cell if may_cross else None,
            server_group=server_group_of(spec, instance_uuids),
            check_only=check_only,
            user_id=_set(spec, "user_id"),
            flavor_id=_set(flavor, "flavorid"),
            vcpus=flavor.vcpus,
            memory_mb=flavor.memory_mb,
            root_gb=flavor.root_gb,
            ephemeral_gb=flavor.ephemeral_gb,
            swap_mb=flavor.swap,
            is_bfv=bool(_set(spec, "is_bfv")),
            image_id=_text(_set(_set(spec, "image"), "id")),
            has_image=_set(spec, "image") is not None,
            scheduler_hints={
                name: tuple(map(str, values)) for name, values in sorted((_set(spec, "scheduler_hints") or {}).items())
            },
            numa=numa_of(spec),
            pci=pci_of(spec),
            fallback_groups=fallback if fallback != asked.groups else (),
            disk_format=_set(_set(spec, "image"), "disk_format"),
        )
    )


def _check_devices(spec, extra_specs, wishes):
    """Refuse a request that lacks what its flavor asks for: it would be placed without pinned CPUs or devices."""
    for name, asked, what in (
        ("numa_topology", "PCPU" in wishes.resources, "pinned CPUs"),
        ("pci_requests", "pci_passthrough:alias" in extra_specs, "PCI devices"),
    ):
        if asked and not spec.obj_attr_is_set(name):
            raise errors.UsageError(
                f"the flavor asks for {what} and {name} of the RequestSpec is not set; use a conductor that sets it"
            )
    if "PCPU" in wishes.resources and numa_names_no_policy(spec):
        raise errors.UsageError(
            "the flavor asks for pinned CPUs and the NUMA nodes of the RequestSpec are from before "
            "they had a CPU policy (InstanceNUMACell 1.3); resize the server, so that nova makes "
            "its topology again"
        )


def _text(value):
    return None if value is None else str(value)


def recordable(request):
    """Return the request if it fits into the evidence of a decision; UsageError if not. The names of a server group do
    not count: the evidence has those that the decision needs (selection/needed_members.py)."""
    group = request.server_group
    weighed = request if group is None else request._replace(server_group=group._replace(members=(), hosts=()))
    try:
        size = len(pack(weighed))
        thaw_fields(events.TABLE["SchedulingRequest"], request)
    except errors.InvalidEvent as fault:
        raise errors.UsageError(f"the request cannot be recorded: {fault}") from None
    if size > MAX_REQUEST_BYTES:
        raise errors.UsageError(
            f"the request has {size} bytes, wanted at most {MAX_REQUEST_BYTES}; name fewer hosts or extra specs in it"
        )
    return request


def _set(obj, name):
    """Return a field of an object; None if the field is unset or empty, or if there is no object."""
    return (getattr(obj, name) or None) if obj is not None and obj.obj_attr_is_set(name) else None


def image_properties(properties):
    """Return all properties of an image, as text."""
    if properties is None:
        return {}
    return {
        name: str(getattr(properties, name))
        for name in sorted(properties.obj_fields)
        if properties.obj_attr_is_set(name) and getattr(properties, name) is not None
    }
