"""The claims of a scheduler that a log accepted, as far back as a log may lose them."""

from collections import OrderedDict

from nova_sched.projection.ledger import CLAIMED

#: Claims that are remembered of each cell.
KEPT = 5000


class AcceptedClaims:
    """ClaimProposed by claim uuid, for each of ``cells``."""

    def __init__(self, cells):
        self._accepted = {cell: OrderedDict() for cell in cells}
        #: Cell -> those that the log has perhaps lost, until it is folded again.
        self._lost = {}
        #: Claim uuid -> what was claimed again and has not come back yet.
        self._again = {}

    def add(self, cell, claim) -> None:
        """A claim was accepted."""
        accepted = self._accepted[cell]
        accepted[claim.claim_uuid] = claim
        if len(accepted) > KEPT:
            accepted.popitem(last=False)

    def drop(self, cell, claim) -> None:
        """A claim is given back."""
        self._accepted[cell].pop(claim.claim_uuid, None)
        self._lost.get(cell, {}).pop(claim.claim_uuid, None)

    def note_lost(self, cell, before, kept) -> None:
        """The log of a cell lost its records after the position ``kept``; ``before`` is the state with them."""
        held = {
            entry.claim_uuid
            for entries in before.consumers.values()
            for entry in entries
            if entry.state is CLAIMED and entry.position > kept
        }
        self._lost.setdefault(cell, {}).update(
            (uuid, claim) for uuid, claim in self._accepted.get(cell, {}).items() if uuid in held
        )

    def take_missing(self, cell, projection) -> list:
        """Those that were noted as lost and are not in the state of the log, which is folded again."""
        missing = [
            claim
            for claim in self._lost.pop(cell, {}).values()
            if claim.claim_uuid not in {entry.claim_uuid for entry in projection.consumers.get(claim.consumer_uuid, ())}
        ]
        for claim in missing:
            self.drop(cell, claim)
        return missing

    def claimed_again(self, claim) -> None:
        """A claim that was missing is published again."""
        self._again[claim.claim_uuid] = claim

    def came_back(self, cell, outcome):
        """The claim that was published again whose Outcome this is; None for another. A claim that was noted as lost
        may also be in the log again as its append was made again: whatever becomes of it there, it is not missing."""
        claim = self._again.pop(outcome.claim_uuid, None) or self._lost.get(cell, {}).pop(outcome.claim_uuid, None)
        if claim is not None and outcome.reason is None:
            self.add(cell, claim)
        return claim
