"""What a decision needs of the conductor's list of a server group, so that evidence need not have the whole group.

The logs know each member that was claimed under the group's uuid, so a replay finds it there. Only a member whose
entries do not name the group (one that was imported, or claimed when the group had no uuid) must be in the evidence.
"""

from nova_sched.projection.world import World
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from rpc_api.events import SchedulingRequest, ServerGroupRequest

#: Evidence has at most so many members and hosts of a server group.
MAX_NAMED = 1000


def with_needed_members(
    request: SchedulingRequest, world: World, policy: Policy, instance_uuid: str
) -> SchedulingRequest:
    """The request for one instance with a server group that names only what its decision needs; the decision is that of
    the whole request.

    Classes of a deployer can read the whole list, so with such classes a list of up to ``MAX_NAMED`` stays as it is.
    """
    group = request.server_group
    if group is None or (
        policy.has_classes_of_deployers and len(group.members) <= MAX_NAMED and len(group.hosts) <= MAX_NAMED
    ):
        return request
    scope = Scope(world.table, list(world.projections.values()), world.in_flight, request, instance_uuid)
    needed = group._replace(members=_members(group, scope), hosts=_hosts(group, scope, policy))
    return request._replace(server_group=needed)


def as_evidence(request: SchedulingRequest) -> SchedulingRequest:
    """The request as evidence has it: with at most ``MAX_NAMED`` members and hosts of its server group."""
    group = request.server_group
    if group is None or (len(group.members) <= MAX_NAMED and len(group.hosts) <= MAX_NAMED):
        return request
    return request._replace(
        server_group=group._replace(members=group.members[:MAX_NAMED], hosts=group.hosts[:MAX_NAMED])
    )


def may_lack_members(request: SchedulingRequest) -> bool:
    """Whether evidence has so many members or hosts of a server group that it may lack more of them."""
    group = request.server_group
    return group is not None and MAX_NAMED in (len(group.members), len(group.hosts))


def _members(group: ServerGroupRequest, scope: Scope) -> tuple[str, ...]:
    """The members whose entries do not name the group, sorted."""
    found = {uuid for entry in scope.strangers for uuid in (entry.consumer_uuid, entry.instance_uuid)}
    return tuple(sorted(found.intersection(group.members) if found else found))


def _hosts(group: ServerGroupRequest, scope: Scope, policy: Policy) -> tuple[str, ...]:
    """The hosts of an affinity group on which no other member is known; of those only that of the instance itself if
    other members are known elsewhere."""
    if group.policy != "affinity":
        return ()
    taken = scope.hosts_of_others()
    named = scope.members_by_host if taken and policy.check_claims else scope.table.row_of_host
    hosts = tuple(host for host in dict.fromkeys(group.hosts) if host not in taken and host in named)
    # With hosts that are not known, the group is elsewhere: no host passes.
    return hosts if hosts or taken else group.hosts[:1]
