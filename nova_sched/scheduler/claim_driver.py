"""Reports to each claim what happens to it, and does what the table of its life says."""

import logging

from nova_sched.projection.projection import Outcome
from nova_sched.request.server_group import breaks_named
from nova_sched.scheduler.claim_actions import ACTIONS
from nova_sched.scheduler.claim_life import ENDS, Action, Event, State
from nova_sched.scheduler.claims import NEVER
from nova_sched.scheduler.measures import READ_BACK
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)


class ClaimDriver:
    """``engine`` is the Engine whose claims these are."""

    def __init__(self, engine):
        self._engine = engine
        #: ClaimReleased records that follow a rebase, after what is decided again: (cell, record).
        self.after_rebase = []

    # --- events --------------------------------------------------------------------------------------------------

    def happened(self, claim, event, outcome=None) -> None:
        """Report an event of a claim; ``outcome`` is its Outcome if it was read back."""
        instance = claim.instance
        ACTIONS[self._engine.claims.event(claim, event)](self._engine, claim, instance, outcome)

    def read_back(self, claim, outcome) -> None:
        """A claim was read back with an Outcome. If it has ended meanwhile, nothing happens."""
        if claim.state in ENDS:
            return
        if claim.state is State.PROPOSED:
            self._measure(claim, outcome)
        if outcome.reason is not None:
            event = Event.REFUSED
        elif claim.state is State.PROPOSED and self._breaks_group(claim, outcome):
            event = Event.BREAKS_GROUP
        else:
            event = Event.ACCEPTED
        self.happened(claim, event, outcome)

    def _measure(self, claim, outcome):
        instance, clock = claim.instance, self._engine.clock
        self._engine.measures.step(
            instance.ask,
            READ_BACK,
            instance.published_at,
            clock.monotonic(),
            instance,
            cell=claim.cell,
            host=claim.proposed.host,
            position=outcome.position,
            refused=None if outcome.reason is None else str(outcome.reason),
        )

    def _breaks_group(self, claim, outcome):
        """Whether an accepted claim breaks the policy of its group. The log may know members of the group by other
        names, so that it does not refuse such a claim."""
        group = claim.instance.ask.request.server_group
        projection = self._engine.world.projections[claim.cell]
        return group is not None and breaks_named(group, claim.proposed, outcome.position, projection)

    def look_for_passed(self, cell) -> None:
        """Settle claims whose outcome we did not see although the log has passed them: the state shows whether they
        hold."""
        engine = self._engine
        projection = engine.world.projections[cell]
        folded = projection.producers.get(engine.name, NEVER)
        while (claim := engine.claims.passed(cell, folded)) is not None:
            consumer_uuid = claim.proposed.consumer_uuid
            entries = projection.consumers.get(consumer_uuid, ())
            position = next((entry.position for entry in entries if entry.claim_uuid == claim.uuid), None)
            if position is None:
                self.happened(claim, Event.PASSED)
            else:
                self.read_back(claim, Outcome(position, engine.name, claim.uuid, consumer_uuid, None))

    def cell_is_down(self, cell) -> None:
        """Claims in a cell are not waited for any longer."""
        for claim in self._engine.claims.under_way(cell):
            self.happened(claim, Event.CELL_DOWN)

    def log_was_recreated(self, cell) -> None:
        """The log of a cell was recreated, so it does not hold any earlier claim."""
        engine = self._engine
        undecided = self.forget_accepted(cell, Event.RECREATED)
        for claim in engine.claims.under_way(cell):
            self.happened(claim, Event.RECREATED)
        engine.claims.recreated(cell)
        for instance in undecided:
            engine.requests.decide_again(instance)

    def forget_accepted(self, cell, event) -> list:
        """A log lost the claims that it had accepted, or perhaps lost them (``event`` is RECREATED, REBASED or
        REBASE_READ_AGAIN). Returns the instances of open requests that have no claim any more, so that they must be
        decided again."""
        claims, undecided = self._engine.claims, []
        for claim in self._engine.requests.accepted_claims(cell):
            instance = claim.instance
            if claims.event(claim, event) is Action.DECIDE:
                undecided.append(instance)
        for claim in claims.kept(cell):
            claims.event(claim, event)
        return undecided

    def log_was_rebased(self, cell, read_before) -> None:
        """A log was rebased, so it lost all claims before the rebase. We do not know which claims under way come after
        it, so we give all of them up, and release them after the rebase. ``read_before`` are claims that were read back
        together with the rebase and come before it."""
        # Without the claims that are published from here on: they come after the rebase.
        under_way = self._engine.claims.under_way(cell)
        for claim in read_before:
            if claim.state not in ENDS:
                self.happened(claim, Event.READ_BEFORE_REBASE)
        for claim in under_way:
            self.happened(claim, Event.REBASED)

    def release_after_rebase(self) -> None:
        """Release what was given up at a rebase."""
        releases, self.after_rebase = self.after_rebase, []
        for cell, release in releases:
            self._engine.outbox.post(cell, release)

    def tail_was_lost(self, cell, before, kept) -> None:
        """The log of a cell lost its records after the position ``kept``; ``before`` is the Projection with them."""
        claims = self._engine.claims
        # Of those that were published again, the log may have lost the new record before it was read back.
        again = [claim for claim in claims.kept(cell) if claim.state is State.RECLAIMED]
        for claim in dict.fromkeys((*claims.held_after(cell, before, kept), *again)):
            self.happened(claim, Event.TAIL_LOST)

    def look_for_missing(self, cell) -> None:
        """The log of a cell is folded: look for accepted claims that it lost. If the request of such a claim is not
        answered yet, its instance is decided again. Otherwise the claim was promised, and is published as it was."""
        engine = self._engine
        consumers, missing, undecided = engine.world.projections[cell].consumers, 0, []
        for claim in engine.claims.in_doubt(cell):
            entries = consumers.get(claim.proposed.consumer_uuid, ())
            if any(entry.claim_uuid == claim.uuid for entry in entries):
                self.happened(claim, Event.FOUND)
                continue
            missing += 1
            if claim.instance is not None:
                undecided.append(claim.instance)
                engine.claims.event(claim, Event.MISSING)
            else:
                self.happened(claim, Event.MISSING)
        if not missing:
            return
        LOG.warning(
            "%s not in the log of %s any more: %d that were answered are claimed again, %d are decided again",
            number_of(missing, "accepted claim is", "accepted claims are"),
            cell,
            missing - len(undecided),
            len(undecided),
        )
        engine.counts["claims_lost_by_the_log"] += missing
        for instance in undecided:
            engine.requests.decide_again(instance)
