"""The filters of the hard server group policies: anti-affinity, affinity, fault domains."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import NAMED, Finding
from nova_sched.projection import topology
from nova_sched.projection.reason import Reason

ANTI_AFFINITY = Reason("anti-affinity")
AFFINITY = Reason("affinity")
NO_DOMAIN = "no {scope}"
FAULT_DOMAIN = Reason("fault domain")


class ServerGroupAntiAffinityFilter(Filter):
    """Refuses hosts that hold as many members of the group as its rule ``max_server_per_host`` allows (1 without it); a
    member's own host passes. Asked if the group's policy is anti-affinity.
    """

    name = "ServerGroupAntiAffinityFilter"
    reasons = {ANTI_AFFINITY.code: "the host has as many members of the server group as its rule allows"}
    static = False

    def refusals(self, hosts, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "anti-affinity":
            return
        full = [
            row
            for row, members in scope.members_by_row().items()
            if len(members) >= group.limit and scope.instance_uuid not in members
        ]
        yield Refusal(ANTI_AFFINITY, hosts.in_rows(full))

    def explain(self, look, reason):
        return _of_group(look, reason)


class ServerGroupAffinityFilter(Filter):
    """Refuses all hosts but those of the group, once it has any. Asked if the group's policy is affinity."""

    name = "ServerGroupAffinityFilter"
    reasons = {AFFINITY.code: "the server group has its members on another host"}
    static = False

    def refusals(self, hosts, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "affinity":
            return
        rows = scope.affinity_rows(policy)
        if rows is not None:
            yield Refusal(AFFINITY, ~hosts.in_rows(rows))

    def explain(self, look, reason):
        return _of_group(look, reason)


class ServerGroupFaultDomainFilter(Filter):
    """Refuses hosts of a domain (a rack) that already holds other partitions of the group, as many as its rule
    allows; and hosts that are in no domain of that kind."""

    name = "ServerGroupFaultDomainFilter"
    reasons = {
        NO_DOMAIN: "the host is in no domain of the kind that the group names, as a rack",
        FAULT_DOMAIN.code: "the domain of the host has as many other partitions of the group as its rule allows",
    }
    static = False

    def refusals(self, hosts, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "fault-domain":
            return
        domains = topology.domains(hosts.table, group.scope)
        taken = scope.taken_domains()
        yield Refusal(Reason(NO_DOMAIN, (group.scope,)), ~hosts.in_rows(domains))
        yield Refusal(FAULT_DOMAIN, hosts.in_rows(row for row, domain in domains.items() if domain in taken))

    def explain(self, look, reason):
        return _of_group(look, reason)


def _of_group(look, reason):
    """Members of the request's server group on the host, or in its domain."""
    wanted, scope = look.request.server_group, look.scope
    domain = topology.domains(look.table, wanted.scope).get(look.row) if wanted.policy == "fault-domain" else None
    entries = [
        entry
        for entry in scope.members()
        if (entry.rule is not None and entry.rule.domain == domain if domain else entry.host == look.host)
    ]
    members = sorted({entry.instance_uuid for entry in entries})
    values = {
        "group": wanted.uuid,
        "policy": wanted.policy,
        "limit": wanted.limit,
        "members_here": members,
        "domain": domain,
    }
    if wanted.policy == "affinity":
        entries = [entry for entry in scope.members() if entry.instance_uuid != scope.instance_uuid]
        values["hosts"] = sorted({*(entry.host for entry in entries), *wanted.hosts})
        text = f"the group is on {', '.join(values['hosts'][:NAMED]) or 'no host yet'}"
    elif domain:
        partitions = {entry.rule.partition for entry in entries if entry.rule is not None}
        text = (
            f"{len(partitions)} {'partition' if len(partitions) == 1 else 'partitions'} of the group in its "
            f"{wanted.scope} {domain}, limit {wanted.limit}"
        )
    elif reason and wanted.policy == "fault-domain":
        return Finding(f"the host is in no {wanted.scope}", values)
    else:
        text = f"{len(members)} of the group here, limit {wanted.limit}"
    if members and wanted.policy != "affinity":
        text += f" ({', '.join(members[:NAMED])})"
    return Finding(text, values, lambda traces: traces.member_event(entries) if reason else None)
