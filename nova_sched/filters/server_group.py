"""The filters of the hard server group policies: anti-affinity, affinity, fault domains."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.projection import topology


class ServerGroupAntiAffinityFilter(Filter):
    """Refuses hosts that hold as many members of the group as its rule ``max_server_per_host`` allows (1 without it); a
    member's own host passes. Asked where the group's policy is anti-affinity.
    """

    name = "ServerGroupAntiAffinityFilter"
    reasons = ("anti-affinity",)
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
        yield Refusal("anti-affinity", hosts.in_rows(full))


class ServerGroupAffinityFilter(Filter):
    """Refuses all hosts but those of the group, once it has any. Asked where the group's policy is affinity."""

    name = "ServerGroupAffinityFilter"
    reasons = ("affinity",)
    static = False

    def refusals(self, hosts, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "affinity":
            return
        rows = scope.affinity_rows()
        if rows is not None:
            yield Refusal("affinity", ~hosts.in_rows(rows))


class ServerGroupFaultDomainFilter(Filter):
    """Refuses hosts of a domain (a rack) that already holds other partitions of the group, as many as its rule
    allows; and hosts that are in no domain of that kind."""

    name = "ServerGroupFaultDomainFilter"
    reasons = ("no {scope}", "fault domain")
    static = False

    def refusals(self, hosts, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "fault-domain":
            return
        domains = topology.domains(hosts.table, group.scope)
        taken = scope.taken_domains()
        yield Refusal(f"no {group.scope}", ~hosts.in_rows(domains))
        yield Refusal("fault domain", hosts.in_rows(row for row, domain in domains.items() if domain in taken))
