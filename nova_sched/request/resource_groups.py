"""The resource groups of a request: from flavor, extra specs, image, guest options and ports."""

import re
from typing import NamedTuple

from rpc_api import errors, events

#: Extra specs that name a resource class or a trait of a group, and extra specs that look like them.
_GROUPED = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64})?:(.+)", re.DOTALL)
_NEARLY_GROUPED = re.compile(r"(resources|trait)[^:]*:")
MAX_GROUPS = 64
MAX_AMOUNT = 2**31 - 1


class _Group:
    """A request group while it is built."""

    def __init__(self, suffix):
        self.suffix = suffix
        self.resources = {}
        self.required, self.forbidden, self.member_of = [], [], []
        self.forbidden_aggregates, self.in_tree = [], None

    @property
    def empty(self):
        return not (
            any(self.resources.values())
            or self.required
            or self.forbidden
            or self.member_of
            or self.forbidden_aggregates
        )

    def frozen(self):
        for name, amount in self.resources.items():
            if not 0 <= amount <= MAX_AMOUNT:
                raise errors.UsageError(
                    f"the request asks for {amount} of {name} in the group {self.suffix!r}, "
                    f"wanted 0 to {MAX_AMOUNT}; fix the flavor or the port"
                )
        return events.ResourceGroup(
            self.suffix,
            tuple(events.ResourceAmount(name, amount) for name, amount in self.resources.items() if amount),
            tuple(sorted(set(self.required))),
            tuple(sorted(set(self.forbidden))),
            (),
            tuple(self.member_of),
            tuple(sorted(set(self.forbidden_aggregates))),
            self.in_tree,
        )


class Asked(NamedTuple):
    """Return the groups of one request, the unsuffixed one first. Groups that ask for nothing are left out."""

    groups: tuple
    policy: str


def asked_of(spec, extra_specs, properties, wishes) -> Asked:
    """Return the groups of a RequestSpec; UsageError for extra specs and groups that make no sense."""
    groups = {"": _Group("")}
    for key, value in sorted(extra_specs.items()):
        matched = _GROUPED.fullmatch(key)
        if matched:
            kind, suffix, name = matched.groups()
            _add_extra_spec(groups.setdefault(suffix or "", _Group(suffix or "")), kind, name, key, value)
        elif _NEARLY_GROUPED.match(key):
            raise errors.UsageError(
                f"the extra spec {key!r:.120} names no resource class or trait of a group, wanted "
                "resources[SUFFIX]:CLASS or trait[SUFFIX]:TRAIT with a suffix of at most 64 letters, digits, "
                "'_' and '-'; fix the flavor"
            )
    of_flavor = len(groups) - 1
    unsuffixed = groups[""]
    if properties is not None:
        unsuffixed.required.extend(properties.get("traits_required") or ())
    unsuffixed.resources.update(wishes.resources)
    unsuffixed.required.extend(wishes.required)
    unsuffixed.forbidden.extend(wishes.forbidden)
    for requested in spec.requested_resources or ():
        _add_requested(groups, requested)
    _add_flavor(groups, spec)
    _add_destination(unsuffixed, spec.requested_destination)
    policy = _group_policy(spec.flavor, extra_specs, groups, of_flavor)
    asked = tuple(group.frozen() for group in groups.values() if not group.empty)
    _check_subtrees(spec, {group.suffix for group in asked if group.suffix})
    return Asked(asked, policy)


def _check_subtrees(spec, suffixes):
    for subtree in spec.request_level_params.same_subtree:
        unknown = sorted({*subtree} - suffixes)
        if unknown:
            raise errors.UsageError(
                f"same_subtree of the request names the resource group {unknown[0]!r}, wanted "
                "suffixed groups that ask for something; fix the device profile or the port"
            )


def _add_extra_spec(group, kind, name, key, value):
    if kind == "resources":
        if not re.fullmatch(r"\s*\+?[0-9]{1,10}\s*", value, re.ASCII):
            raise errors.UsageError(f"the extra spec {key} is {value!r}, wanted a whole number; fix the flavor")
        group.resources[name] = int(value)
    elif value == "required":
        group.required.append(name)
    elif value == "forbidden":
        group.forbidden.append(name)
    else:
        raise errors.UsageError(f"the extra spec {key} is {value!r}, wanted 'required' or 'forbidden'; fix the flavor")


def _add_requested(groups, requested):
    """Add the group of a port or a device. Its suffix is the requester, and one provider must satisfy it."""
    suffix = requested.requester_id
    if not suffix or suffix in groups:
        raise errors.UsageError(
            f"a requested resource group has the requester_id {suffix!r}, wanted one that no other "
            "group of the request has; fix the port or the device profile"
        )
    if not all(requested.aggregates):
        raise errors.UsageError(
            f"the resource group of {suffix} wants to be in one of no aggregates, wanted some in "
            "each list; fix the port or the device profile"
        )
    group = groups[suffix] = _Group(suffix)
    group.resources.update(sorted(requested.resources.items()))
    group.required.extend(requested.required_traits)
    group.forbidden.extend(requested.forbidden_traits)
    group.member_of.extend(tuple(aggregate) for aggregate in requested.aggregates)
    group.forbidden_aggregates.extend(requested.forbidden_aggregates)
    group.in_tree = requested.in_tree
    if group.empty:
        # Also for amounts of 0: no provider would be named for the group, and Nova's conductor fails on that.
        raise errors.UsageError(
            f"the resource group of {suffix} asks for nothing, wanted resources, traits or "
            "aggregates; use another port or device profile"
        )


def _add_flavor(groups, spec):
    """Return VCPU, MEMORY_MB and DISK_GB of the flavor, each only if no group names it (not even with amount 0)."""
    named = {name for group in groups.values() for name in group.resources}
    flavor, resources = spec.flavor, groups[""].resources
    if not named & {"VCPU", "PCPU"}:
        resources["VCPU"] = flavor.vcpus
    if "MEMORY_MB" not in named:
        resources["MEMORY_MB"] = flavor.memory_mb
    if "DISK_GB" not in named:
        root_gb = 0 if spec.obj_attr_is_set("is_bfv") and spec.is_bfv else flavor.root_gb
        resources["DISK_GB"] = root_gb + flavor.ephemeral_gb + -(-flavor.swap // 1024)


def _add_destination(group, destination):
    if destination is not None:
        if destination.aggregates:
            group.member_of = [tuple(aggregate.split(",")) for aggregate in destination.aggregates]
        group.forbidden_aggregates.extend(destination.forbidden_aggregates or ())


def _group_policy(flavor, extra_specs, groups, of_flavor):
    """Return the group policy. Several groups of the flavor need one, groups of ports do not."""
    policy = extra_specs.get("group_policy", "")
    suffixed = sum(suffix != "" and not group.empty for suffix, group in groups.items())
    if policy not in ("", "none", "isolate") or (suffixed > 1 and of_flavor > 1 and not policy):
        raise errors.UsageError(
            f"the flavor {flavor.name} has group_policy {policy!r}, wanted 'none' or 'isolate' "
            "if it has several request groups; fix its extra specs"
        )
    if suffixed > MAX_GROUPS:
        raise errors.UsageError(f"the request has {suffixed} resource groups, wanted at most {MAX_GROUPS}; split it")
    return policy or ("none" if suffixed > 1 else "")
