"""The evidence of a decision, as the event that records it."""

from rpc_api import events
from rpc_api.packing import pack


def positions_of(projections, in_flight, closed):
    """The CellPosition of each cell: how far its log was folded, the range of own claims that were in flight in it, and
    whether it is closed."""
    positions = []
    for cell, projection in projections.items():
        marks = in_flight.get(cell)
        first = last = 0
        if marks:
            (_, first), (_, last) = next(iter(marks.values())), next(reversed(marks.values()))
        positions.append(
            events.CellPosition(cell, projection.epoch or "", projection.position, first, last, bool(closed.get(cell)))
        )
    return tuple(positions)


def decision_event(policy, instance, request, positions, took_ns):
    """The DecisionMade of one instance."""
    decision = instance.decision
    evidence = events.Evidence(
        request,
        positions,
        policy.digest,
        instance.seed,
        decision.hosts_total,
        decision.survivors,
        decision.equals,
        tuple(events.RefusalCount(name, str(reason), hosts) for name, reason, hosts in decision.refusals),
        decision.scores,
    )
    return events.DecisionMade(
        request.request_id,
        instance.uuid,
        instance.attempt,
        "selected" if decision.candidates else "no_valid_host",
        decision.summary,
        instance.claim.claim_uuid if decision.candidates and instance.claim else None,
        tuple(candidate.host for candidate in decision.candidates),
        took_ns,
        pack(evidence),
    )
