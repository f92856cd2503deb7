"""From nova's RequestSpec to the SchedulingRequest that decisions are made on.

Follows nova's rules for what a flavor, its extra specs, the image and the
ports ask of Placement. Nothing secret is taken over.
"""

from nova_sched.selection.groups import asked_of
from nova_sched.selection.asked_devices import numa_of, pci_of
from nova_sched.selection.guest import wishes_of
from rpc_api import errors, events
from rpc_api.events.schema import MAX_AMOUNT, thaw_fields
from rpc_api.packing import pack

#: Of an event of 256 KiB; the rest is for what was decided.
MAX_REQUEST_BYTES = 160 * 1024
_POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity", "fault-domain")


def request_from(spec, request_id: str):
    """Return the SchedulingRequest of a RequestSpec; UsageError for extra specs that make no sense."""
    flavor = spec.flavor
    extra_specs = dict(_set(flavor, "extra_specs") or {})
    properties = _set(_set(spec, "image"), "properties")
    wishes = wishes_of(flavor, extra_specs, properties)
    asked = asked_of(spec, extra_specs, properties, wishes)
    fallback = ()
    if wishes.pinned:
        fallback = asked_of(spec, extra_specs, properties,
                            wishes_of(flavor, extra_specs, properties, pinning=False)).groups
    params, destination = spec.request_level_params, spec.requested_destination
    cell = _set(destination, "cell")
    cell = str(cell.uuid) if cell else None
    may_cross = bool(_set(destination, "allow_cross_cell_move"))
    return recordable(events.SchedulingRequest(
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
        server_group=_server_group(spec),
        check_only=spec.get_scheduler_hint("_nova_check_type") == "rebuild",
        user_id=_set(spec, "user_id"), flavor_id=_set(flavor, "flavorid"), vcpus=flavor.vcpus,
        memory_mb=flavor.memory_mb, root_gb=flavor.root_gb, ephemeral_gb=flavor.ephemeral_gb, swap_mb=flavor.swap,
        is_bfv=bool(_set(spec, "is_bfv")),
        image_id=_text(_set(_set(spec, "image"), "id")), has_image=_set(spec, "image") is not None,
        scheduler_hints={name: tuple(map(str, values)) for name, values in sorted(
            (_set(spec, "scheduler_hints") or {}).items())},
        numa=numa_of(spec), pci=pci_of(spec), fallback_groups=fallback if fallback != asked.groups else (),
        disk_format=_set(_set(spec, "image"), "disk_format"),
    ))


def _text(value):
    return None if value is None else str(value)


def recordable(request):
    """The request, if the evidence of a decision can hold it; UsageError says why not."""
    try:
        size = len(pack(request))
        thaw_fields(events.TABLE["SchedulingRequest"], request)
    except errors.InvalidEvent as fault:
        raise errors.UsageError(f"the request cannot be recorded: {fault}") from None
    if size > MAX_REQUEST_BYTES:
        raise errors.UsageError(f"the request has {size} bytes, wanted at most {MAX_REQUEST_BYTES}; "
                                "name fewer hosts, group members or extra specs in it")
    return request


def _set(obj, name):
    """A field of an object; None where it is not set, empty, or where there is no object."""
    return (getattr(obj, name) or None) if obj is not None and obj.obj_attr_is_set(name) else None


def image_properties(properties):
    """All that an image says of itself, as text."""
    if properties is None:
        return {}
    return {name: str(getattr(properties, name)) for name in sorted(properties.obj_fields)
            if properties.obj_attr_is_set(name) and getattr(properties, name) is not None}


def _server_group(spec):
    group = _set(spec, "instance_group")
    policy = _set(group, "policy") or (_set(group, "policies") or (None,))[0]
    if policy is None:
        return None
    if policy not in _POLICIES:
        raise errors.UsageError(f"the server group {group.uuid} has the policy {policy!r}, wanted one of "
                                f"{', '.join(_POLICIES)}; mend the server group")
    # Not `rules`, which knows only nova's own rule.
    rules = dict(_set(group, "_rules") or {})
    spreads_domains = policy == "fault-domain"
    partition = spec.get_scheduler_hint("fault_domain")
    return events.ServerGroupRequest(
        uuid=str(group.uuid), policy=policy,
        limit=_limit(group, rules, "max_domains" if spreads_domains else "max_server_per_host"),
        scope=rules.get("domain", "rack") if spreads_domains else "host",
        partition=None if partition is None else str(partition),
        members=tuple(_set(group, "members") or ()), hosts=tuple(_set(group, "hosts") or ()))


def _limit(group, rules, name):
    try:
        limit = int(rules.get(name, 1))
    except (ValueError, TypeError):
        limit = 0
    if not 0 < limit <= MAX_AMOUNT:
        raise errors.UsageError(f"the server group {group.uuid} has {name} {str(rules[name])[:80]!r}, "
                                f"wanted a whole number from 1 to {MAX_AMOUNT}; mend its rules")
    return limit
