"""The claims of one process, from their publication to their end."""

import logging

from nova_sched.projection.ledger import CLAIMED
from nova_sched.scheduler.claim_life import (
    ANSWERED,
    ENDS,
    IN_DOUBT,
    KEPT,
    START,
    WAITED_FOR,
    Action,
    ImpossibleEvent,
    step,
)

LOG = logging.getLogger(__name__)

#: Before every mark.
NEVER = (0, 0)
#: Number of accepted claims that are kept for each cell, because the log may lose them.
KEPT_MAX = 5000


class Claim:
    """A ClaimProposed that this process published in the log of ``cell``, and its state.

    ``mark`` is that of the event: (producer epoch, sequence). ``instance`` is what the claim was made for, with an
    attribute ``claim``; it is None as soon as the instance does not depend on the claim any more.
    """

    __slots__ = ("cell", "instance", "mark", "proposed", "state")

    def __init__(self, cell, proposed, mark, instance):
        self.cell = cell
        self.proposed = proposed
        self.mark = mark
        self.instance = instance
        self.state = START

    @property
    def uuid(self):
        """The claim's uuid."""
        return self.proposed.claim_uuid


class Claims:
    """The claims of a process in the logs of ``cells``.

    ``in_flight`` is an InFlight, which holds the resources of claims that are under way, so that the process does not
    collide with itself. An event that is impossible for a claim changes nothing; it is raised as ImpossibleEvent if
    ``strict`` (in tests), otherwise it is logged and counted in ``counts["claim_faults"]``. ``kept_max`` accepted
    claims of each cell are kept for the case that the log loses them.
    """

    def __init__(self, cells, in_flight, counts, strict=False, kept_max=KEPT_MAX):
        self._in_flight = in_flight
        self._counts = counts
        self._strict = strict
        self._kept_max = kept_max
        #: Cell -> claim uuid -> Claim that was published and not read back, oldest first.
        self._under_way = {cell: {} for cell in cells}
        #: The same of claims that were published for a log that was recreated since. They hold nothing; the new log may
        #: still get them.
        self._strays = {cell: {} for cell in cells}
        #: Cell -> claim uuid -> Claim that the log accepted.
        self._kept = {cell: {} for cell in cells}

    # --- which claims there are ---------------------------------------------------------------------------------------

    def under_way(self, cell) -> tuple:
        """The claims of a cell that were published and not read back, oldest first."""
        return tuple(self._under_way.get(cell, {}).values())

    def under_way_count(self, cell) -> int:
        """Their number."""
        return len(self._under_way.get(cell, ()))

    def oldest(self, cell):
        """The oldest claim under way of a cell, or None."""
        return next(iter(self._under_way.get(cell, {}).values()), None)

    def marks(self, cell):
        """(mark of the oldest, mark of the newest) claim under way of a cell; None without one."""
        claims = self._under_way.get(cell)
        if not claims:
            return None
        return next(iter(claims.values())).mark, next(reversed(claims.values())).mark

    def unfinished(self) -> list:
        """All claims whose end is not known: those under way, and those that were under way when their log was
        recreated. Accepted claims that are only kept because the log may lose them are not among them."""
        return [
            claim
            for of_cells in (self._under_way, self._strays)
            for of_cell in of_cells.values()
            for claim in of_cell.values()
        ]

    def kept(self, cell) -> list:
        """The accepted claims of a cell that the log may lose."""
        return list(self._kept.get(cell, {}).values())

    def answered(self, cell, claim_uuid):
        """A claim of a cell with which a request was answered; None if it has ended, or is not kept any more."""
        claim = self._kept.get(cell, {}).get(claim_uuid)
        return claim if claim is not None and claim.state in ANSWERED else None

    def in_doubt(self, cell) -> list:
        """The accepted claims that the log may have lost."""
        return [claim for claim in self.kept(cell) if claim.state in IN_DOUBT]

    def held_after(self, cell, projection, position) -> list:
        """Those of the accepted claims that a Projection holds as claimed after a position."""
        held = {
            entry.claim_uuid
            for entries in projection.consumers.values()
            for entry in entries
            if entry.state is CLAIMED and entry.position > position
        }
        return [claim for claim in self.kept(cell) if claim.uuid in held]

    # --- what happens --------------------------------------------------------------------------------------------

    def propose(self, cell, proposed, mark, instance) -> Claim:
        """A ClaimProposed was published with a mark for an instance."""
        claim = Claim(cell, proposed, mark, instance)
        self._in_flight.add(proposed)
        self._under_way[cell][proposed.claim_uuid] = claim
        instance.claim = claim
        return claim

    def read_back(self, cell, claim_uuid):
        """A claim was read back from the log of a cell, so this process stops holding its resources. Returns the Claim;
        None if this process does not know it, or knows that it has ended."""
        self._in_flight.remove(claim_uuid)
        for claims in (self._under_way, self._strays):
            claim = claims.get(cell, {}).pop(claim_uuid, None)
            if claim is not None:
                return claim
        return self._kept.get(cell, {}).get(claim_uuid)

    def passed(self, cell, mark):
        """Take the oldest claim under way of a cell whose mark is not after ``mark``; None without one. This process
        stops holding its resources."""
        for claims in (self._under_way.get(cell), self._strays.get(cell)):
            claim = next(iter(claims.values())) if claims else None
            if claim is not None and claim.mark <= mark:
                return self.read_back(cell, claim.uuid)
        return None

    def recreated(self, cell) -> None:
        """The log of a cell was recreated: claims under way hold nothing there, unless the new log gets them."""
        for claim in self.under_way(cell):
            self._in_flight.remove(claim.uuid)
            self._strays[cell][claim.uuid] = claim
        self._under_way.get(cell, {}).clear()

    def event(self, claim, event) -> Action:
        """Report an event of a claim, which goes to its next state. Returns the Action to do."""
        try:
            state, action = step(claim.state, event)
        except ImpossibleEvent as fault:
            if self._strict:
                raise
            LOG.error("%s; the claim is %s in %s", fault, claim.uuid, claim.cell)
            self._counts["claim_faults"] += 1
            return Action.NOTHING
        claim.state = state
        if claim.instance is not None and state not in WAITED_FOR:
            claim.instance.claim = claim.instance = None
        if state in KEPT:
            self._keep(claim)
        elif state in ENDS:
            self._kept[claim.cell].pop(claim.uuid, None)
        return action

    def _keep(self, claim):
        kept = self._kept[claim.cell]
        kept[claim.uuid] = claim
        if len(kept) > self._kept_max:
            del kept[next(iter(kept))]
