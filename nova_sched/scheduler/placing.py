"""The hosts of an answer: the chosen host and the alternates of each instance."""

from typing import NamedTuple

from nova_sched.projection.topology import zone_names
from nova_sched.scheduler.anchors import without
from nova_sched.selection.decide import decide, user_of
from nova_sched.selection.limits import NUMALimits, numa_limits
from rpc_api import events

#: The level of a log from which on its claims have a user. Services of the release before do not know the key of it.
USER_LEVEL = events.EVENTS["ClaimProposed"].NEWER["user_id"]


class Placed(NamedTuple):
    """A host for an instance. ``claim_uuid`` is that of the accepted claim, None for an alternate; ``position`` is
    the position of the claim in the cell's log; ``guest`` the packed Guest of the claim; ``user_id`` the user of the
    claim and of those of alternates, None if the log of the cell is below the level that has it."""

    instance_uuid: str
    cell: str
    host: str
    nodename: str
    root_uuid: str
    availability_zone: str
    allocations: tuple
    mappings: dict
    rule: object
    claim_uuid: str | None
    position: int | None = None
    guest: bytes | None = None
    companion: str | None = None
    numa_limits: NUMALimits | None = None
    user_id: str | None = None


def placed(world, policy, instance, candidate, claim_uuid) -> Placed:
    """A candidate as it is now."""
    table, row, ask = world.table, candidate.row, instance.ask
    cell = table.cells.values[table.cell[row]]
    return Placed(
        instance.uuid,
        cell,
        candidate.host,
        table.node_names[row],
        table.uuids[row],
        zone_names(table, policy.default_availability_zone)[row],
        candidate.assignment.allocations,
        candidate.assignment.mappings,
        candidate.rule,
        claim_uuid,
        guest=candidate.guest,
        companion=candidate.companion,
        numa_limits=numa_limits(table, row, ask.request, policy),
        user_id=user_of(ask.request, ask.caller) if world.projections[cell].level >= USER_LEVEL else None,
    )


def all_placed(world, policy, instance, claim_uuid) -> list[Placed]:
    """The chosen host of an instance's decision, which is claimed, and the alternates."""
    chosen, *others = instance.decision.candidates
    return [
        placed(world, policy, instance, chosen, claim_uuid),
        *(placed(world, policy, instance, other, None) for other in others),
    ]


def answer_of(world, chain, policy, ask) -> list[list[Placed]]:
    """The answer to a request all of whose claims are accepted.

    If it has several instances, alternates are chosen now: they have room beside all of them, and are not the host of
    any.
    """
    if len(ask.instances) == 1 or not ask.alternates:
        return [list(instance.placed) for instance in ask.instances]
    return [[instance.placed[0], *_alternates(world, chain, policy, instance)] for instance in ask.instances]


def _alternates(world, chain, policy, instance):
    request = instance.ask.request
    chosen = dict.fromkeys(each.claim.proposed.host for each in instance.ask.instances)
    request = without(request._replace(target_cell=instance.cell), (*instance.excluded, *chosen))
    others = decide(
        world, chain, request, instance.uuid, policy, instance.seed, instance.attempt, instance.ask.alternates - 1
    ).candidates
    return [placed(world, policy, instance, other, None) for other in others]
