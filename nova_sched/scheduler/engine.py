"""The scheduler's engine: the state of one thread, driven by records, requests and ticks.

It has no thread, no queue, no clock and no log of its own: its owner calls it from one thread, and gives it a function
that publishes. A request is decided at once on what is folded and in flight, claimed by an event, and answered when all
its claims have come back accepted. Its parts are in the files beside it: requests.py decides and answers, claim_life.py
is the table of a claim's life and claim_driver.py drives it; outbox.py, aggregates.py and anchors.py publish the rest.
"""

from collections import Counter

from nova_sched.projection.state import CELL0
from nova_sched.scheduler.aggregates import Aggregates
from nova_sched.scheduler.anchors import Anchors
from nova_sched.scheduler.asks import Ask
from nova_sched.scheduler.claim_driver import ClaimDriver
from nova_sched.scheduler.claim_life import Event
from nova_sched.scheduler.claims import NEVER, Claims
from nova_sched.scheduler.folded_logs import FoldedLogs
from nova_sched.scheduler.measures import Measures
from nova_sched.scheduler.outbox import Outbox
from nova_sched.scheduler.requests import Requests
from nova_sched.scheduler.tracking import tracked_changes
from nova_sched.selection.chain import FilterChain
from rpc_api import events
from rpc_api.packing import printable


class Engine:
    """``publish(cell, *data)`` appends frozen records to a cell's log, all or none, and returns the mark of the last
    one: (producer epoch, sequence). It raises a NovaSchedError when none was taken.

    ``cells`` are the names of the cells, without cell0. ``new_uuid()`` gives claim uuids; ``name`` is the producer;
    ``require_accounts`` is what is configured for cell0's log (see AccountRule). Times are in seconds. With ``strict``
    an impossible event in the life of a claim is raised (in tests), otherwise it is logged and counted.
    """

    def __init__(
        self,
        cells,
        policy,
        name,
        publish,
        new_uuid,
        clock,
        claim_timeout=30.0,
        cell_down_after=5.0,
        rebase_after=30.0,
        require_accounts=None,
        strict=False,
    ):
        self.cells = tuple(cells)
        self.policy = policy
        self.name = name
        self.publish = publish
        self.new_uuid = new_uuid
        self.clock = clock
        self.claim_timeout = claim_timeout
        self.cell_down_after = cell_down_after
        self.rebase_after = rebase_after
        self.logs = FoldedLogs(self.cells, clock, cell_down_after, require_accounts)
        self.world, self.states, self.account_rule = self.logs.world, self.logs.states, self.logs.account_rule
        self.chain = FilterChain(self.world.table, policy)
        self.counts = Counter()
        self.measures = Measures()
        self.outbox = Outbox(self._publish, self.counts)
        self.aggregates = Aggregates(self._publish, self.outbox, self.world.projections, self.world.table, name)
        self.anchors = Anchors(self.cells, self.world, self._publish)
        self.claims = Claims(self.cells, self.world.in_flight, self.counts, strict)
        self.requests = Requests(self)
        self.claim_driver = ClaimDriver(self)
        #: Cell -> (uuid of its oldest claim under way, time at which it became the oldest or an event was published
        #: after it).
        self._oldest = {}
        #: Cell -> time at which its log lost its hosts, which must be reported again.
        self._emptied = {}

    def _publish(self, cell, *data):
        return self.publish(cell, *data)

    # --- logs that begin -----------------------------------------------------------------------------------------

    def on_begin(self, cell, beginning):
        """Start reading a log, from its first record or from a snapshot (see Beginning); drop its earlier state.

        Raises a NovaSchedError for a snapshot that cannot be used.
        """
        before = self.world.projections[cell]
        if beginning.kept is not None:
            self.claim_driver.tail_was_lost(cell, before, beginning.kept)
        if cell == CELL0 and (beginning.begun_anew or not beginning.whole or beginning.kept is not None):
            # Only for a new log: an aggregate that is missing in a log that is only read again was deleted there.
            self.aggregates.remember(before.aggregates.values())
        self.logs.begin(cell, beginning)
        if cell == CELL0:
            self.account_rule.begin()
        if beginning.begun_anew:
            self._emptied[cell] = self.clock.monotonic()
            self.claim_driver.log_was_recreated(cell)
            self._end_waits(cell)
            if cell == CELL0:
                self.publish_policy()
        else:
            # A snapshot may come after claims of ours that we have not read back.
            self.claim_driver.look_for_passed(cell)
            self._end_waits(cell, self._folded_mark(cell))
            if beginning.kept is not None:
                self._emptied[cell] = self.clock.monotonic()
            if self.claims.oldest(cell) is not None or beginning.kept is not None:
                # The snapshot may also come after a LogRebased, which removes our marks; or the log lost confirmed
                # events of ours. An event that we publish now shows that as soon as we read it back.
                self.publish_policy(cell)
        self._look_how_far(cell)

    def _folded_mark(self, cell):
        """The mark of the last event of ours that is folded."""
        return self.world.projections[cell].producers.get(self.name, NEVER)

    def _look_how_far(self, cell):
        """Open a cell if its log is folded up to the position that was its end when we started reading it."""
        if not self.logs.is_at_its_end(cell):
            return
        if cell == CELL0:
            self.aggregates.restore_remembered()
        self.claim_driver.look_for_missing(cell)

    def publish_policy(self, cell=CELL0):
        """Publish the policy of this scheduler, so that the decisions can be made again."""
        self.outbox.post(cell, events.PolicyAdopted(self.policy.digest, self.policy.to_json()))

    # --- what comes in -------------------------------------------------------------------------------------------

    def on_records(self, cell, records, at_end=True):
        """Fold records of a cell's log, and settle the claims and instances that waited for them; ``at_end`` says
        whether the end of the log was reached before they came (see Batch). Returns the notes."""
        aggregates = self.world.projections[cell].aggregates
        outcomes, noted = self.logs.fold(cell, records)
        self.states.see(cell, records, at_end)
        # All of them before the next decision: a folded claim must not count as in flight too. Another producer may
        # use the uuid of a claim of ours; that does not change ours.
        read_back = [
            (claim, outcome)
            for outcome in outcomes
            if outcome.producer == self.name and (claim := self.claims.read_back(cell, outcome.claim_uuid)) is not None
        ]
        rebased_at = max((note.position for note in noted if note.kind == "rebased"), default=None)
        if rebased_at is None:
            for claim, outcome in read_back:
                self.claim_driver.read_back(claim, outcome)
        else:
            self._rebased(cell, rebased_at, read_back, aggregates)
        self.claim_driver.look_for_passed(cell)
        self._end_waits(cell, self._folded_mark(cell))
        self._look_how_far(cell)
        return noted

    def _rebased(self, cell, position, read_back, aggregates):
        """The log lost everything before a position, ``aggregates`` too."""
        # In a log that is read again, the accepted claims may also come after the rebase.
        event = Event.REBASE_READ_AGAIN if self.states.is_behind(cell) else Event.REBASED
        undecided = self.claim_driver.forget_accepted(cell, event)
        for claim, outcome in read_back:
            if outcome.position > position:
                self.claim_driver.read_back(claim, outcome)
        self._emptied[cell] = self.clock.monotonic()
        if cell == CELL0:
            self.account_rule.begin()
            self.aggregates.restore(aggregates.values())
            self.publish_policy()
        self.claim_driver.log_was_rebased(cell, [claim for claim, outcome in read_back if outcome.position <= position])
        self._end_waits(cell)
        self.claim_driver.release_after_rebase()
        for instance in undecided:
            self.requests.decide_again(instance)

    def _end_waits(self, cell, mark=None):
        """Decide for the instances that waited for our events up to a mark (None: for any event). An instance may then
        wait for another event."""
        for instance in self.anchors.folded(cell, mark):
            self.requests.decide(instance)

    def on_ask(self, ask: Ask):
        """Decide a request and publish its claims."""
        self.requests.add(ask)

    def on_not_delivered(self, claims):
        """The answer with some claims, (cell, claim uuid), was not delivered because its caller is gone: release them.
        A claim that was started meanwhile is not released by the fold."""
        self.counts["answers_not_delivered"] += 1
        for cell, claim_uuid in claims:
            claim = self.claims.answered(cell, claim_uuid)
            if claim is not None:
                self.claim_driver.happened(claim, Event.NOT_DELIVERED)

    def on_aggregate(self, aggregate):
        """Append an AggregateUpdated to cell0's log, unless the log has the aggregate in this form."""
        self.aggregates.update(aggregate)

    def on_aggregate_deleted(self, uuid):
        """Append an AggregateDeleted, if there is such an aggregate."""
        self.aggregates.delete(uuid)

    def on_instances(self, host, instances, gone=(), all_of_them=False):
        """Append what nova-compute reports about the instances of a host (uuid -> properties of its image), if the
        host's log does not have it yet. With ``all_of_them``, instances that are not named are gone."""
        changes = tracked_changes(self.world.projections, host, instances, gone, all_of_them)
        if changes is not None:
            self.publish(*changes)

    def on_refused(self, request_id, instance_uuids, reason):
        """Record why a request fails without a decision."""
        self.outbox.post(CELL0, events.RequestRefused(printable(request_id), tuple(instance_uuids), printable(reason)))

    def on_not_readable(self, request_id, instance_uuids, reason):
        """Count and record a request that cannot be read, or that needs a service which cannot be reached."""
        self.measures.not_readable()
        self.on_refused(request_id, instance_uuids, reason)

    def set_policy(self, policy):
        """Use another policy from now on, also for requests that are under way."""
        self.policy = policy
        self.chain = FilterChain(self.world.table, policy)

    def on_fault(self, cell, fault, way="read"):
        """A cell's log cannot be read (or appended to) now (``fault`` says why), or can be again (None)."""
        self.states.fault(cell, fault, way)

    def on_tick(self):
        """Handle what takes too long: cells that cannot be read, and claims that are not read back. Also decide again
        for requests that found no host while the scheduler did not know all hosts."""
        now = self.clock.monotonic()
        for cell in self.states.down_for(self.cell_down_after):
            self.states.close(cell)
            self.claim_driver.cell_is_down(cell)
        # cell0's log is rebased by schedulers. If another log is headless, its conductors know that too: they do not
        # rebase it, and keep no snapshot.
        for cell, first in self.states.headless_for(self.rebase_after):
            if self.world.projections[cell].rules.one_ledger:
                continue  # it may have API writes, so it stays closed
            self.outbox.post(cell, events.LogRebased(cell, first, bool(self.account_rule.wanted)))
        self.requests.fail_late(now, self.claim_timeout)
        self._look_for_unread(now)
        self.states.look_for_reports()
        self.states.warn_of_backlogs()
        self.requests.decide_unplaced()
        if not self.states.is_behind(CELL0):
            # The conductors rebase the other logs.
            for data in self.account_rule.due(self.world.projections[CELL0]):
                self.outbox.post(CELL0, data)
                self.account_rule.said()
        self.outbox.retry()

    def _look_for_unread(self, now):
        """Publish an event after a claim that is not read back for too long. The log may have confirmed the claim and
        then lost it; the event, which is read back, shows that."""
        for cell in self.cells:
            claim = self.claims.oldest(cell)
            oldest = None if claim is None else claim.uuid
            before, since = self._oldest.get(cell, (None, now))
            if oldest != before:
                self._oldest[cell] = oldest, now
            elif oldest is not None and now - since >= self.claim_timeout / 3:
                self._oldest[cell] = oldest, now
                self.publish_policy(cell)

    # --- questions -----------------------------------------------------------------------------------------------

    def open_asks(self):
        """Requests that were not answered yet."""
        return self.requests.open()

    def is_unsettled(self) -> bool:
        """Whether hosts may be missing from the table, because a log is being read again, or lost its hosts a moment
        ago. Then it is too early to refuse a request. Cells that were away for long do not count."""
        closed = {cell for cell, is_closed in self.world.table.cell_closed.items() if is_closed}
        now = self.clock.monotonic()
        return not closed <= set(self.states.down_for(self.cell_down_after)) or any(
            now - at < self.cell_down_after for at in self._emptied.values()
        )
