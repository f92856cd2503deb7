"""The evidence of a decision, as the event that records it."""

from nova_sched.selection.needed_members import as_evidence
from rpc_api import events
from rpc_api.packing import pack


def positions_of(projections, claims, closed):
    """A CellPosition for each cell: its folded position, the range of ``claims`` (a Claims) that were under way in it,
    and whether it is closed."""
    positions = []
    for cell, projection in projections.items():
        marks = claims.marks(cell)
        (_, first), (_, last) = marks if marks is not None else ((0, 0), (0, 0))
        positions.append(
            events.CellPosition(cell, projection.epoch or "", projection.position, first, last, bool(closed.get(cell)))
        )
    return tuple(positions)


def evidence_of(policy, decision, seed, request, positions):
    """The Evidence of a Decision; ``request`` is what the decision was made by."""
    return events.Evidence(
        as_evidence(request),
        positions,
        policy.digest,
        seed,
        decision.hosts_total,
        decision.survivors,
        decision.equals,
        tuple(events.RefusalCount(name, str(reason), hosts) for name, reason, hosts in decision.refusals),
        decision.scores,
    )


def outcome_of(decision) -> str:
    """The outcome of a Decision, as events have it."""
    return "selected" if decision.candidates else "no_valid_host"


def decision_event(policy, instance, request, positions, took_ns, claim_uuid=None):
    """The DecisionMade of one instance; ``claim_uuid`` is the uuid of its claim, None if no host was found. ``request``
    is what the decision was made by."""
    decision = instance.decision
    return events.DecisionMade(
        request.request_id,
        instance.uuid,
        instance.attempt,
        outcome_of(decision),
        decision.summary,
        claim_uuid,
        tuple(candidate.host for candidate in decision.candidates),
        took_ns,
        pack(evidence_of(policy, decision, instance.seed, request, positions)),
    )
