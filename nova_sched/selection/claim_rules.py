"""The claim check: a decision asks the fold's own rules whether the log will accept its claim, before it claims."""

from functools import cached_property

from nova_sched.filters.compute import CELL_UNREACHABLE
from nova_sched.projection.claim_checks import members_ahead, room_refusal, rule_refusal, status_refusal
from nova_sched.projection.ledger import MEMBER, SPREAD, TOGETHER, Domains
from nova_sched.projection.projection import Projection
from nova_sched.projection.reason import Reason
from nova_sched.projection.state import CELL0
from nova_sched.projection.topology import domains
from nova_sched.projection.world import World
from nova_sched.selection.chain import is_forced
from nova_sched.selection.scope import Scope
from rpc_api import events
from rpc_api.events import SchedulingRequest

#: Hosts that the log would refuse count under this name in the evidence, beside those that filters refuse.
CLAIM_RULES = "ClaimRules"

#: Policy of a server group -> the policy of the rule of its claims; MEMBER for the others.
RULE_OF_POLICY = {"anti-affinity": SPREAD, "fault-domain": SPREAD, "affinity": TOGETHER}

#: Cell, host and number of the anchor of an affinity group.
Anchor = tuple[str, str, int]


def needs_anchor(world: World, request: SchedulingRequest) -> bool:
    """Whether claims of a request must be under an anchor: an affinity group in a cloud of several cells."""
    group = request.server_group
    return (
        group is not None
        and group.policy == "affinity"
        and len(world.projections.keys() - {CELL0}) > 1
        and not is_forced(request)
    )


def anchor_of(world: World, request: SchedulingRequest) -> Anchor | None:
    """The anchor of a request's group; None if there is none, none is needed, or a fence lets no claim under it hold
    any more."""
    group = request.server_group
    if group is None or not needs_anchor(world, request) or CELL0 not in world.projections:
        return None
    anchor = world.projections[CELL0].anchors.get(group.uuid)
    if anchor is None:
        return None
    cell, _, number = anchor
    fenced = cell in world.projections and world.projections[cell].fences.get(group.uuid, 0) >= number
    return None if fenced else anchor


class ClaimRules:
    """What the log will ask of a claim of one instance, answered by the state that a decision has.

    The members of its group are those in the log of the host's cell and those of claims in flight there. What the
    instance itself holds is left to the log, because its release may be on its way there. So are the members of a group
    that the logs know by several names (its requests had no uuid): those of one name may be about to be released.

    ``scope`` is the Scope of the request in the world.
    """

    def __init__(self, world: World, scope: Scope) -> None:
        request = scope.request
        self.table = world.table
        self.request = request
        self.scope = scope
        self.instance_uuid = scope.instance_uuid
        self._world = world
        self._is_forced = is_forced(request)
        #: Cell -> domains of the group in which the claim will meet other members than the log has now.
        self._changed: dict[str, Domains] = {}

    @cached_property
    def _anchor(self) -> Anchor | None:
        return anchor_of(self._world, self.request)

    @cached_property
    def _will_be_anchored(self) -> bool:
        """Without an anchor one is published before the claim, and no fence is as high as its number."""
        return self._anchor is None and needs_anchor(self._world, self.request)

    def rule_on(self, row: int) -> events.GroupRule | None:
        """The GroupRule of a claim on the host of a root row; None without a server group. A host that is named by
        force may break the policy of the group: its claim only makes the instance a member."""
        group = self.request.server_group
        if group is None or self.request.check_only:
            return None
        host, partition = self.table.host_names[row], self.instance_uuid
        domain, limit = host, 0
        if group.policy == "fault-domain":
            domain, partition = domains(self.table, group.scope)[row], group.partition or self.instance_uuid
        policy = MEMBER if self._is_forced else RULE_OF_POLICY.get(group.policy, MEMBER)
        if policy == SPREAD:
            limit = group.limit
        elif policy == TOGETHER and self._anchor is not None and host == self._anchor[1]:
            # Only on the anchor's host: the group may have left the host of another claim meanwhile.
            limit = self._anchor[2]
        return events.GroupRule(group.uuid, policy, domain, partition, limit)

    def companion_on(self, row: int) -> str | None:
        """The consumer of a member of the affinity group on the host of a root row; None if there is none, or if the
        rules of the cell's log know no companions."""
        group = self.request.server_group
        if group is None or group.policy != "affinity" or self._is_forced or self.request.check_only:
            return None
        projection, host = self._projection_of(row), self.table.host_names[row]
        # A member of another name of the group may be about to be released.
        if not projection.rules.affinity_beside or self._has_several_names:
            return None
        members = projection.groups.members.get(group.uuid, {}).get(host, {})
        found = {entry.consumer_uuid for entries in members.values() for entry in entries}
        # Those in flight are not in the log yet.
        found |= {entry.consumer_uuid for entry in self.scope.strangers if entry.host == host and entry.position >= 0}
        return min(found - {self.instance_uuid}, default=None)

    def refusal_on(self, row: int, rule: events.GroupRule | None, companion: str | None = None) -> Reason | None:
        """Why no claim under a rule beside a companion can be made on a host: its cell is closed, so that a claim would
        not be read back, or the log would refuse each claim, by the status of the host or by the group."""
        if self.table.cell_closed.get(self.table.cells.values[self.table.cell[row]]):
            return CELL_UNREACHABLE
        refusal = status_refusal(self.table, row, self._is_forced)
        if refusal is not None or rule is None or self._has_several_names:
            return refusal
        projection = self._projection_of(row)
        changed = self._changed.get(projection.cell)
        if changed is None:
            in_flight = self._world.in_flight.claims.values()
            changed = members_ahead(projection, rule.group_uuid, self.instance_uuid, in_flight)
            self._changed[projection.cell] = changed
        if self._will_be_anchored and companion is None:
            return projection.groups.breach(rule, projection.rules.affinity_without_itself, changed)
        return rule_refusal(projection, projection.hosts[self.table.host_names[row]], rule, companion, changed)

    def refusal_of(self, row: int, allocations: tuple[events.Allocation, ...], guest: bytes | None) -> Reason | None:
        """Why the log would refuse allocations and a packed Guest on a host."""
        projection = self._projection_of(row)
        return room_refusal(projection, projection.hosts[self.table.host_names[row]], allocations, guest)

    @cached_property
    def _has_several_names(self) -> bool:
        return any(entry.rule is not None for entry in self.scope.strangers)

    def _projection_of(self, row: int) -> Projection:
        return self._world.projections[self.table.cells.values[self.table.cell[row]]]
