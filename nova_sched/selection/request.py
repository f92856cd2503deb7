"""From nova's RequestSpec to the SchedulingRequest that decisions are made on.

Follows nova's rules for what a flavor, its extra specs, the image and the
ports ask of Placement. Nothing secret is taken over.
"""

import re
from collections import OrderedDict

from rpc_api import errors, events

_GROUPED = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64})?:(.+)")
_IMAGE_PROPERTIES = ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")
_POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity", "fault-domain")
MAX_GROUPS = 64


class _Group:
    """A request group while it is put together."""

    def __init__(self, suffix):
        self.suffix = suffix
        self.resources = OrderedDict()
        self.required, self.forbidden, self.any_traits, self.member_of = [], [], [], []
        self.forbidden_aggregates, self.in_tree = [], None

    def frozen(self):
        return events.ResourceGroup(
            self.suffix,
            tuple(events.ResourceAmount(name, amount) for name, amount in self.resources.items() if amount),
            tuple(sorted(set(self.required))), tuple(sorted(set(self.forbidden))), tuple(self.any_traits),
            tuple(self.member_of), tuple(self.forbidden_aggregates), self.in_tree)


def request_from(spec, request_id: str):
    """Return the SchedulingRequest of a RequestSpec; UsageError for extra specs that make no sense."""
    flavor = spec.flavor
    extra_specs = dict(flavor.extra_specs) if flavor.obj_attr_is_set("extra_specs") else {}
    properties = spec.image.properties if spec.image and spec.image.obj_attr_is_set("properties") else None
    groups = _groups(spec, extra_specs, properties)
    params = spec.request_level_params
    root_required, root_forbidden = set(params.root_required), set(params.root_forbidden)
    unsuffixed = groups.pop("")
    if any(unsuffixed.resources.values()):
        groups = OrderedDict([("", unsuffixed), *groups.items()])
    else:
        # Without resources there is no provider to have the traits but the host itself.
        root_required.update(unsuffixed.required)
        root_forbidden.update(unsuffixed.forbidden)
    destination = spec.requested_destination
    cell = destination.cell if destination and destination.obj_attr_is_set("cell") else None
    return events.SchedulingRequest(
        request_id=request_id,
        project_id=spec.project_id,
        flavor_name=flavor.name or "",
        extra_specs={key: str(value) for key, value in sorted(extra_specs.items())},
        image_properties=_image_properties(properties),
        groups=tuple(group.frozen() for group in groups.values()),
        group_policy=extra_specs.get("group_policy", ""),
        same_subtree=tuple(tuple(suffixes) for suffixes in params.same_subtree),
        root_required=tuple(sorted(root_required)),
        root_forbidden=tuple(sorted(root_forbidden)),
        availability_zone=spec.availability_zone or None,
        force_hosts=tuple(spec.force_hosts or ()),
        force_nodes=tuple(spec.force_nodes or ()),
        ignore_hosts=tuple(spec.ignore_hosts or ()),
        target_host=_set(destination, "host"),
        target_node=_set(destination, "node"),
        target_cell=str(cell.uuid) if cell else None,
        server_group=_server_group(spec),
        check_only=spec.get_scheduler_hint("_nova_check_type") == "rebuild",
    )


def _set(obj, name):
    return (getattr(obj, name) or None) if obj is not None and obj.obj_attr_is_set(name) else None


def _image_properties(properties):
    if properties is None:
        return {}
    return {name: str(getattr(properties, name)) for name in _IMAGE_PROPERTIES
            if properties.obj_attr_is_set(name) and getattr(properties, name) is not None}


def _groups(spec, extra_specs, properties):
    groups = OrderedDict([("", _Group(""))])
    groups[""].resources.update(_flavor_resources(spec, extra_specs, properties))
    for key, value in sorted(extra_specs.items()):
        matched = _GROUPED.fullmatch(key)
        if matched:
            kind, suffix, name = matched.groups()
            group = groups.setdefault(suffix or "", _Group(suffix or ""))
            _add_extra_spec(group, kind, name, key, value)
    if properties is not None and properties.obj_attr_is_set("traits_required"):
        groups[""].required.extend(properties.traits_required or ())
    for requested in spec.requested_resources or ():
        _add_requested(groups, requested)
    destination = spec.requested_destination
    if destination is not None:
        groups[""].member_of.extend(tuple(one.split(",")) for one in _set(destination, "aggregates") or ())
        groups[""].forbidden_aggregates.extend(sorted(_set(destination, "forbidden_aggregates") or ()))
    suffixed = len(groups) - 1
    policy = extra_specs.get("group_policy", "")
    if policy not in ("", "none", "isolate") or (suffixed > 1 and not policy and _GROUPED.search(" ".join(extra_specs))
                                                  and _numbered(extra_specs) > 1):
        raise errors.UsageError(
            f"the flavor {spec.flavor.name} has group_policy {policy!r}, wanted 'none' or 'isolate' "
            "where it has several request groups; mend its extra specs")
    if suffixed > MAX_GROUPS:
        raise errors.UsageError(f"the request has {suffixed} resource groups, wanted at most {MAX_GROUPS}; split it")
    return groups


def _numbered(extra_specs):
    return len({match.group(2) for match in map(_GROUPED.fullmatch, extra_specs) if match and match.group(2)})


def _add_extra_spec(group, kind, name, key, value):
    if kind == "resources":
        try:
            group.resources[name] = int(value)
        except ValueError:
            raise errors.UsageError(f"the extra spec {key} is {value!r}, wanted a whole number; mend the flavor") from None
        if group.resources[name] < 0:
            raise errors.UsageError(f"the extra spec {key} is {value!r}, wanted 0 or more; mend the flavor")
    elif value == "required":
        group.required.append(name)
    elif value == "forbidden":
        group.forbidden.append(name)
    else:
        raise errors.UsageError(f"the extra spec {key} is {value!r}, wanted 'required' or 'forbidden'; mend the flavor")


def _add_requested(groups, requested):
    """Take over a RequestGroup of a port or a device; it is a group of its own unless it may be spread."""
    suffix = (requested.requester_id or f"group{len(groups)}") if requested.use_same_provider else ""
    group = groups.setdefault(suffix, _Group(suffix))
    for name, amount in sorted(requested.resources.items()):
        group.resources[name] = group.resources.get(name, 0) + amount
    group.required.extend(requested.required_traits)
    group.forbidden.extend(requested.forbidden_traits)
    group.member_of.extend(tuple(one) for one in requested.aggregates)
    group.forbidden_aggregates.extend(sorted(requested.forbidden_aggregates))
    group.in_tree = group.in_tree or requested.in_tree


def _flavor_resources(spec, extra_specs, properties):
    """VCPU or PCPU, MEMORY_MB and DISK_GB of the flavor."""
    flavor = spec.flavor
    policy = extra_specs.get("hw:cpu_policy")
    if policy is None and properties is not None and properties.obj_attr_is_set("hw_cpu_policy"):
        policy = properties.hw_cpu_policy
    pinned = 0
    if policy == "dedicated":
        pinned = flavor.vcpus
    elif policy == "mixed" and spec.numa_topology is not None:
        pinned = sum(len(cell.pcpuset or ()) for cell in spec.numa_topology.cells)
    root_gb = 0 if spec.obj_attr_is_set("is_bfv") and spec.is_bfv else flavor.root_gb
    disk_gb = root_gb + flavor.ephemeral_gb + -(-flavor.swap // 1024)
    return [("VCPU", flavor.vcpus - pinned), ("PCPU", pinned), ("MEMORY_MB", flavor.memory_mb), ("DISK_GB", disk_gb)]


def _server_group(spec):
    group = spec.instance_group
    if group is None:
        return None
    policy = group.policy if group.obj_attr_is_set("policy") else None
    if policy is None and group.obj_attr_is_set("policies") and group.policies:
        policy = group.policies[0]
    if policy not in _POLICIES:
        raise errors.UsageError(f"the server group {group.uuid} has the policy {policy!r}, wanted one of "
                                f"{', '.join(_POLICIES)}; mend the server group")
    rules = dict(group.rules or {})
    limit = int(rules.get("max_domains" if policy == "fault-domain" else "max_server_per_host", 1))
    partition = spec.get_scheduler_hint("fault_domain")
    return events.ServerGroupRequest(
        uuid=str(group.uuid), policy=policy, limit=limit, scope=str(rules.get("domain", "rack")) if
        policy == "fault-domain" else "host", partition=None if partition is None else str(partition),
        members=tuple(_set(group, "members") or ()), hosts=tuple(_set(group, "hosts") or ()))
