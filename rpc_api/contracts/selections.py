"""From the Selection objects that a scheduler returns to the claims that a cell conductor works with."""

import json
from collections.abc import Callable, Iterable

from rpc_api import errors, events
from rpc_api.objects import Selection


def claims_of(
    selections: Iterable[Selection],
    instance_uuid: str,
    request_id: str,
    project_id: str | None,
    new_uuid: Callable[[], str],
) -> tuple[str | None, tuple[events.ClaimProposed, ...], int]:
    """(cell, tuple of ClaimProposed, position) of one instance's selections: the accepted claim, then its alternates,
    and the position of the accepted claim in the cell's log (-1: not known)."""
    claims, cell, position = [], None, None
    for selection in selections:
        try:
            asked = json.loads(selection.allocation_request or "null")
            own = asked["nova_sched"]
        except (TypeError, ValueError, KeyError):
            raise errors.UsageError(
                f"the selection of {selection.service_host} has no allocation_request of nova_sched; "
                "let the conductor ask a nova_sched scheduler"
            ) from None
        cell = own["cell"]
        position = own.get("position") if position is None else position
        allocations = tuple(
            events.Allocation(uuid, resource_class, amount)
            for uuid, held in sorted(asked["allocations"].items())
            for resource_class, amount in sorted(held["resources"].items())
        )
        rule = events.GroupRule(*own["rule"]) if own["rule"] else None
        guest = bytes.fromhex(own["guest"]) if own.get("guest") else None
        claims.append(
            events.ClaimProposed(
                own["claim_uuid"] or new_uuid(),
                instance_uuid,
                instance_uuid,
                request_id,
                project_id,
                selection.service_host,
                allocations,
                rule,
                False,
                guest,
                own.get("companion"),
                None,
                own.get("user_id"),
            )
        )
    return cell, tuple(claims), -1 if position is None else position
