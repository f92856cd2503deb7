"""The server group of a RequestSpec, in each form that Nova stored or sent, and its name in the logs.

The logs keep the rules of a group under its uuid. A group of old services may have no uuid (Nova's bug 1830747). Then
the scheduler hint is the uuid, as for Nova's conductor. Without the hint the name is derived from the first member
(:func:`name_of_members`), until a log knows a member under another name (:func:`as_known`).
"""

import uuid

from nova_sched.projection.ledger import RUNNING
from rpc_api import errors, events
from rpc_api.events.fields import MAX_AMOUNT

_POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity", "fault-domain")
#: A list of more members is refused.
MAX_MEMBERS = 200_000
#: For these policies Nova counts the members per host, and fails if the list of members is missing.
_COUNTED = ("anti-affinity", "soft-affinity", "soft-anti-affinity")
_NAMESPACE = uuid.UUID("5d1e6c1a-6a57-4d0b-9d0c-0b6b3c1f2a34")


def server_group_of(spec, instance_uuids=()):
    """Return the ServerGroupRequest of a RequestSpec for some instances; None if it asks for no rule.

    UsageError for a group whose rule cannot be kept.
    """
    group = _set(spec, "instance_group")
    policy = None if group is None else _policy(group)
    if policy is None:
        return None
    members = tuple(_set(group, "members") or ())
    if policy in _COUNTED and _set(group, "members") is None:
        raise errors.UsageError(
            f"{_named(group)} has the policy {policy} and no list of members, wanted one; use a "
            "conductor that fills in the members"
        )
    named = _uuid(spec, group)
    if named is None:
        members = members or tuple(instance_uuids)
        named = name_of_members(members)
    hosts = tuple(_set(group, "hosts") or ())
    if max(len(members), len(hosts)) > MAX_MEMBERS:
        raise errors.UsageError(
            f"{_named(group)} has {len(members)} members on {len(hosts)} hosts, wanted at most {MAX_MEMBERS} of each; "
            "use a smaller server group"
        )
    # Not `rules`, which has only Nova's own rule.
    rules = dict(_set(group, "_rules") or {})
    spreads_domains = policy == "fault-domain"
    partition = spec.get_scheduler_hint("fault_domain")
    return events.ServerGroupRequest(
        uuid=named,
        policy=policy,
        limit=_limit(group, rules, "max_domains" if spreads_domains else "max_server_per_host"),
        scope=rules.get("domain", "rack") if spreads_domains else "host",
        partition=None if partition is None else str(partition),
        members=members,
        hosts=hosts,
    )


def name_of_members(members) -> str:
    """Return the name of a group without uuid, derived from its first member: Nova appends new members at the end of
    the list."""
    return str(uuid.uuid5(_NAMESPACE, next(iter(members), "")))


def has_no_uuid(request) -> bool:
    """Return whether the group of a request is named by its members."""
    group = request.server_group
    return group is not None and group.uuid == name_of_members(group.members)


def as_known(request, world):
    """Return the request with the name of its group (without uuid) that a log, or a claim in flight, has for one of its
    members."""
    group = request.server_group
    claims = world.in_flight.claims.values()
    of_group = {entry.instance_uuid for entry in claims}.intersection(group.members)
    entries = [
        *(
            entry
            for projection in world.projections.values()
            for member in filter(projection.consumers.__contains__, group.members)
            for entry in projection.consumers[member]
        ),
        *(entry for entry in claims if entry.instance_uuid in of_group),
    ]
    names = {entry.rule.group_uuid for entry in entries if entry.rule is not None}
    if not names:
        return request
    return request._replace(server_group=group._replace(uuid=min(names)))


def breaks_named(group, claim, position, projection) -> bool:
    """Return whether a claim that was accepted at a position of a cell's log breaks the policy of a ServerGroupRequest
    towards members that the log knows by another name of the group. (Among claims of one name the log checks that
    itself.)
    """
    if claim.rule is None or group.policy not in ("affinity", "anti-affinity"):
        return False

    def came_before(entry):
        return entry.consumer_uuid != claim.instance_uuid and entry.rule is not None and entry.position < position

    others = list(filter(came_before, projection.strangers(group.members, claim.rule.group_uuid)))
    if group.policy == "affinity":
        return bool(others) and claim.host not in _hosts_of_group(group, others)
    if all(entry.host != claim.host for entry in others):
        return False
    on_host = projection.hosts[claim.host].entries
    here = filter(came_before, (on_host[member] for member in on_host.keys() & group.members))
    return len({entry.instance_uuid for entry in here}) >= group.limit


def _hosts_of_group(group, entries):
    """Return the host of an affinity group. Only the first claim counts: a claim on another host will be released."""
    first = min(entries, key=lambda entry: entry.position)
    return {first.host, *group.hosts, *(entry.host for entry in entries if entry.state is RUNNING)}


def _set(obj, name):
    """Return a field of an object; None if it is unset, or if there is no object."""
    return getattr(obj, name) if obj is not None and obj.obj_attr_is_set(name) else None


def _policy(group):
    """Return the policy of a group (a list of policies before version 1.11); None for an empty list."""
    policy, policies = _set(group, "policy") or None, _set(group, "policies")
    said = {*(policies or ()), *([policy] if policy else ())}
    if not said and (group.obj_attr_is_set("policy") or policies is not None):
        return None
    if len(said) != 1:
        raise errors.UsageError(
            f"{_named(group)} has the policies {', '.join(sorted(said)) or None!r:.200}, wanted "
            "one; use a server group that has one policy"
        )
    (policy,) = said
    if policy not in _POLICIES:
        raise errors.UsageError(
            f"{_named(group)} has the policy {policy!r:.80}, wanted one of {', '.join(_POLICIES)}; "
            "use another server group"
        )
    return policy


def _uuid(spec, group):
    """Return the uuid of a group, or the uuid in the request's hint; None without both."""
    if group.obj_attr_is_set("uuid"):
        return str(group.uuid)
    hint = spec.get_scheduler_hint("group")
    try:
        return str(uuid.UUID(hint))
    except (ValueError, AttributeError, TypeError):
        return None


def _named(group):
    return f"the server group {group.uuid}" if group.obj_attr_is_set("uuid") else "the server group without uuid"


def _limit(group, rules, name):
    try:
        limit = int(rules.get(name, 1))
    except (ValueError, TypeError):
        limit = 0
    if not 0 < limit <= MAX_AMOUNT:
        raise errors.UsageError(
            f"{_named(group)} has {name} {str(rules[name])[:80]!r}, wanted a whole number from 1 "
            f"to {MAX_AMOUNT}; use a server group with such a rule"
        )
    return limit
