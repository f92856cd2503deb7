"""The scheduler's engine: one thread's worth of state, driven by records, requests and ticks.

It has no thread, no queue, no clock and no log of its own: whoever owns it
calls it from one thread, and gives it the way to publish. A request is
decided at once on what is folded and in flight, claimed by an event, and
answered when all its claims have come back accepted.
"""

import logging
from collections import Counter, deque
from concurrent.futures import Future
from typing import NamedTuple

from nova_sched.process.account_rule import AccountRule
from nova_sched.projection.beginning import projection_of
from nova_sched.projection.claim_refusals import HOLDS_ALREADY, is_breach, is_malformed
from nova_sched.projection.fold import CELL0
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Outcome, Projection
from nova_sched.projection.table import HostTable
from nova_sched.request.server_group import as_known, breaks_named, has_no_uuid
from nova_sched.scheduler.accepted_claims import AcceptedClaims
from nova_sched.scheduler.cell_states import CellStates
from nova_sched.scheduler.evidence import decision_event, positions_of
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Cloud, decide, rule_of, unreachable_cells
from nova_sched.selection.draw import seed_of
from nova_sched.selection.limits import NUMALimits, numa_limits
from rpc_api import errors, events, log_context
from rpc_api.packing import printable

LOG = logging.getLogger(__name__)

MAX_ATTEMPTS = 100
#: Anchors and fences that one instance waits for; more come to nothing, as for a scheduler that the log does not hear.
MAX_WAITS = 10
#: Claims of one instance that are refused on one host because of its group, before that host is left out.
MAX_BREACHES = 5
#: Before every mark.
NEVER = (0, 0)
NOT_ENOUGH_HOSTS = "There are not enough hosts available."


class Placed(NamedTuple):
    """A host for an instance. ``claim_uuid`` is that of the accepted claim, None for an alternate; ``position`` is
    where it stands in the cell's log; ``guest`` the packed Guest of the claim."""

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
    numa_limits: NUMALimits | None = None


class Ask:
    """One ``select_destinations``: ``future`` gets a list of lists of :class:`Placed`, one list an instance.

    ``context`` is the RequestContext whose ids log lines carry; None for none.
    """

    def __init__(self, request, instance_uuids, alternates, arrived_at, context=None):
        self.context = context
        self.request = request
        self.alternates = alternates
        self.arrived_at = arrived_at
        self.future = Future()
        self.over = False
        self.instances = [_Instance(self, uuid, seed_of(request.request_id, uuid)) for uuid in instance_uuids]


class _Instance:
    """One instance of an ask on its way from decision to accepted claim."""

    __slots__ = (
        "accepted",
        "ask",
        "attempt",
        "breaches",
        "cell",
        "claim",
        "decision",
        "excluded",
        "fenced",
        "held",
        "lost",
        "placed",
        "seed",
        "uuid",
        "waits",
    )

    def __init__(self, ask, uuid, seed):
        self.ask = ask
        self.uuid = uuid
        self.seed = seed
        self.attempt = 0
        self.decision = None
        self.claim = None
        self.cell = None
        self.accepted = False
        #: Number of the group's anchor that this request has fenced off.
        self.fenced = 0
        #: What the decision comes to, as it was when it was made: the rows of hosts may be others' by the answer.
        self.placed = ()
        #: How often its claim was refused because the instance holds resources already.
        self.held = 0
        #: How often it is not known what came of its claim.
        self.lost = 0
        #: How often it waited for an event of its group.
        self.waits = 0
        #: Host -> how often a claim on it was refused because of the group.
        self.breaches = Counter()
        #: Hosts that break the group's policy, which the filters cannot see.
        self.excluded = ()


class Engine:
    """``publish(cell, *data)`` appends frozen records to a cell's log, all or none, and returns the mark of the last
    one: (producer epoch, sequence). It raises a NovaSchedError when none was taken.

    ``cells`` are the names of the cells, without cell0. ``new_uuid()`` gives claim uuids; ``name`` is the producer;
    ``require_accounts`` is what is configured for cell0's log (see AccountRule).
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
        table = HostTable()
        projections = {cell: Projection(cell, table) for cell in (CELL0, *self.cells)}
        self.cloud = Cloud(table, projections, InFlight(table), FilterChain(table, policy))
        self.counts = Counter()
        self._pending = {}
        self._abandoned = set()
        #: Cell -> claim uuid -> mark of this process's claims that were not read back yet, oldest first.
        self.in_flight = {cell: {} for cell in self.cells}
        #: Cell -> (mark, instance) that go on when that event of ours was folded.
        self._waits = {cell: deque() for cell in (CELL0, *self.cells)}
        self._asks = {}
        #: Cell -> (its oldest claim in flight, since when it is that or something was said after it).
        self._oldest = {}
        self.states = CellStates(table, clock, {CELL0})
        self.account_rule = AccountRule(require_accounts)
        #: Instances that found no host while it is not known what hosts there are.
        self._unplaced = []
        #: Cell -> when its log forgot its hosts, which are to be reported again.
        self._emptied = {}
        self._accepted_claims = AcceptedClaims(self.cells)
        #: Events that could not be published, and are to be: (cell, data).
        self._unsaid = deque()
        #: Aggregate -> (mark, AggregateUpdated or None) of what we said last of it and have perhaps not read back yet.
        self._aggregates_said = {}
        #: Aggregates that cell0's log has forgotten, to be appended again once it is folded.
        self._remembered = ()

    # --- logs that begin ---------------------------------------------------------------------------------------

    def on_begin(self, cell, beginning):
        """A log is read from its beginning or a snapshot (a Beginning); what was known of it is forgotten.

        Raises a NovaSchedError for a snapshot that cannot be used.
        """
        before = self.cloud.projections[cell]
        if beginning.kept is not None:
            self._accepted_claims.note_lost(cell, before, beginning.kept)
        if cell == CELL0 and (beginning.begun_anew or not beginning.whole or beginning.kept is not None):
            # Only then: what is missing in a log that is merely read again was deleted there.
            self._remembered = (*self._remembered, *before.aggregates.values())
        hosts = [name for name, host in before.hosts.items() if not host.lost]
        before.forget()
        self.cloud.projections[cell] = Projection(cell, self.cloud.table, False)
        self.cloud.projections[cell] = projection_of(cell, beginning, self.cloud.table, bool(self.account_rule.wanted))
        self.cloud.in_flight.count_again()
        self.states.begin(cell, beginning, hosts)
        if cell == CELL0:
            self.account_rule.begin()
        if beginning.begun_anew:
            self._emptied[cell] = self.clock.monotonic()
            lost = self._lose_accepted(cell)
            self._decide_elsewhere(cell)
            for claim_uuid in self.in_flight.get(cell, ()):
                self.cloud.in_flight.remove(claim_uuid)
            if cell in self.in_flight:
                self.in_flight[cell].clear()
            for instance in lost:
                self._decide(instance)
            self._end_waits(cell)
            if cell == CELL0:
                self._say_policy()
        else:
            # A snapshot may stand behind claims of ours that we have not seen coming back.
            self._settle_lost(cell)
            self._end_waits(cell, self.cloud.projections[cell].producers.get(self.name, NEVER))
            if beginning.kept is not None:
                self._emptied[cell] = self.clock.monotonic()
            if self.in_flight.get(cell) or beginning.kept is not None:
                # Or behind a LogRebased, with which the log forgot how far we had come, or it lost what we said and was
                # confirmed: what is said now will tell.
                self._say_policy(cell)
        self._look_how_far(cell)

    def _rebase(self, cell, first):
        self._say(cell, events.LogRebased(cell, first, bool(self.account_rule.wanted)))

    def _look_how_far(self, cell):
        """A log may be folded as far as it went when it was begun: then its cell counts."""
        if not self.states.folded(cell, self.cloud.projections[cell]):
            return
        if cell == CELL0:
            self._restore(self._remembered)
            self._remembered = ()
        self._claim_again(cell)

    def _claim_again(self, cell):
        """Claim again what the log lost of our accepted claims: those of requests that are not answered are decided
        again, the others have been promised as they are."""
        missing = self._accepted_claims.take_missing(cell, self.cloud.projections[cell])
        if not missing:
            return
        waiting = {
            one.claim.claim_uuid: one
            for ask in self._asks.values()
            for one in ask.instances
            if one.accepted and one.cell == cell
        }
        undecided = [waiting[claim.claim_uuid] for claim in missing if claim.claim_uuid in waiting]
        for claim in missing:
            if claim.claim_uuid not in waiting:
                self._accepted_claims.claimed_again(claim)
                self._say(cell, claim)
        LOG.warning(
            "%d accepted claims are not in the log of %s any more: %d that were answered are claimed again, %d "
            "are decided again",
            len(missing),
            cell,
            len(missing) - len(undecided),
            len(undecided),
        )
        self.counts["claims_lost_by_the_log"] += len(missing)
        for instance in undecided:
            instance.accepted = False
            instance.attempt += 1
        for instance in undecided:
            self._decide(instance)

    def _restore(self, aggregates):
        """Append aggregates again that cell0's log has forgotten."""
        for aggregate in aggregates:
            if aggregate.uuid not in self.cloud.table.aggregates:
                self._say(CELL0, aggregate)

    def _say_policy(self, cell=CELL0):
        """Record by which policy we decide, for whoever makes the decisions again."""
        self._say(cell, events.PolicyAdopted(self.policy.digest, self.policy.to_json()))

    # --- what comes in -----------------------------------------------------------------------------------------

    def on_records(self, cell, records):
        """Fold records of a cell's log, and settle what was waiting for them. Returns what was noted."""
        projection, table = self.cloud.projections[cell], self.cloud.table
        topology, aggregates = table.topology_version, projection.aggregates
        outcomes, noted = projection.fold(records)
        self.states.see(cell, records)
        if table.topology_version != topology:
            self.cloud.in_flight.count_again()
        # A claim of another under a uuid of ours says nothing of ours.
        outcomes = [outcome for outcome in outcomes if outcome.producer == self.name]
        for outcome in outcomes:
            # All at once, before anything is decided: what was folded must not be counted as in flight too.
            self.cloud.in_flight.remove(outcome.claim_uuid)
            self.in_flight.get(cell, {}).pop(outcome.claim_uuid, None)
        rebased_at = max((note.position for note in noted if note.kind == "rebased"), default=None)
        lost = self._lose_accepted(cell) if rebased_at is not None else ()
        for outcome in outcomes:
            if rebased_at is None or outcome.position > rebased_at:
                self._settle(cell, outcome)
        if rebased_at is not None:
            self._on_rebased(cell, aggregates.values())
        for instance in lost:
            self._decide(instance)
        self._settle_lost(cell)
        self._end_waits(cell, projection.producers.get(self.name, NEVER))
        self._look_how_far(cell)
        return noted

    def on_ask(self, ask: Ask):
        """Decide a request and publish its claims."""
        self._asks[id(ask)] = ask
        if has_no_uuid(ask.request):
            ask.request = as_known(ask.request, self._entries_of)
        if ask.request.check_only:
            self._or_fail(ask, self._check_only, ask)
            return
        for instance in ask.instances:
            self._decide(instance)

    def _entries_of(self, instance_uuid):
        """What an instance holds in all cells, or is about to hold by claims of ours that are under way."""
        return [
            *(
                entry
                for projection in self.cloud.projections.values()
                for entry in projection.consumers.get(instance_uuid, ())
            ),
            *(entry for entry in self.cloud.in_flight.claims.values() if entry.instance_uuid == instance_uuid),
        ]

    def on_aggregate(self, aggregate):
        """Append an AggregateUpdated to cell0's log, unless the aggregate is just so already."""
        self._say_of_aggregate(aggregate.uuid, aggregate, aggregate)

    def on_aggregate_deleted(self, uuid):
        """Append an AggregateDeleted, if there is such an aggregate."""
        self._say_of_aggregate(uuid, events.AggregateDeleted(uuid), None)

    def _say_of_aggregate(self, uuid, data, wanted):
        """Append what makes an aggregate as it is ``wanted`` (None: gone); it is not said again by whoever told us."""
        self._unsaid = deque(
            one
            for one in self._unsaid
            if not (isinstance(one[1], (events.AggregateUpdated, events.AggregateDeleted)) and one[1].uuid == uuid)
        )
        mark, known = self._aggregates_said.pop(uuid, (NEVER, None))
        if mark <= self.cloud.projections[CELL0].producers.get(self.name, NEVER):
            known = self.cloud.table.aggregates.get(uuid)
        else:
            # What is said of an aggregate counts from when it is said: it may be taken back before it is read.
            self._aggregates_said[uuid] = mark, known
        if known != wanted:
            try:
                self._aggregates_said[uuid] = self.publish(CELL0, data), wanted
            except errors.LogUnavailable:
                self._unsaid.append((CELL0, data))

    def on_instances(self, host, instances, gone=(), all_of_them=False):
        """Append what nova-compute says about the instances of a host (uuid -> properties of its image), as far as the
        host's log does not know it. With ``all_of_them`` those that are not named are gone."""
        cell, projection = next(
            ((cell, one) for cell, one in self.cloud.projections.items() if host in one.hosts), (None, None)
        )
        if cell is None:
            LOG.debug("what is said of the instances of %s is not noted: no cell has such a host", host)
            return
        tracked, entries = projection.tracked.of(host), projection.hosts[host].entries
        if all_of_them:
            gone = tracked.keys() - instances.keys()
        fresh = {
            uuid: properties
            for uuid, properties in instances.items()
            if uuid not in entries
            and (uuid not in tracked or (properties and tracked[uuid].image_properties != properties))
        }
        gone = sorted(uuid for uuid in gone if uuid in tracked)
        if fresh or gone:
            self.publish(
                cell,
                events.InstancesTracked(
                    host,
                    tuple(events.TrackedInstance(uuid, properties) for uuid, properties in sorted(fresh.items())),
                    tuple(gone),
                ),
            )

    def set_policy(self, policy):
        """Decide by another policy from here on; requests that are under way go on under it."""
        self.policy = policy
        self.cloud = self.cloud._replace(chain=FilterChain(self.cloud.table, policy))

    def on_fault(self, cell, fault, way="read"):
        """A cell's log cannot be read (or appended to) now (``fault`` says why), or can be again (None)."""
        self.states.fault(cell, fault, way)

    def on_tick(self):
        """Look at what takes too long: cells that are not readable, claims that do not come back; and again for
        hosts where there was none to be known of."""
        now = self.clock.monotonic()
        for cell in self.states.down_for(self.cell_down_after):
            self.states.close(cell)
            self._decide_elsewhere(cell)
        # cell0's log is rebased by schedulers. Of another its conductors know it, so they do not do so,
        # and keep no snapshot.
        for cell, first in self.states.headless_for(self.rebase_after):
            self._rebase(cell, first)
        for ask in [ask for ask in self._asks.values() if now - ask.arrived_at >= self.claim_timeout]:
            waiting = sorted({one.cell or "any cell" for one in ask.instances if not one.accepted})
            self._fail(
                ask,
                errors.ClaimTimeout(
                    f"claims of {ask.request.request_id} in {', '.join(waiting)} were not read back within "
                    f"{self.claim_timeout} s; see to the log of that cell"
                ),
            )
        self._look_for_unread(now)
        self.states.look_for_reports()
        unplaced, self._unplaced = self._unplaced, []
        for instance in unplaced:
            self._decide(instance)
        if not self.states.is_behind(CELL0):
            # The other logs have conductors, who see to it.
            for data in self.account_rule.due(self.cloud.projections[CELL0]):
                self._say(CELL0, data)
                self.account_rule.said()
        for _ in range(len(self._unsaid)):
            self._say(*self._unsaid.popleft())

    def _look_for_unread(self, now):
        """A log may lose a claim that it confirmed before we read it, and then nothing comes back: what is said after
        it will tell."""
        for cell, claims in self.in_flight.items():
            oldest = next(iter(claims), None)
            before, since = self._oldest.get(cell, (None, now))
            if oldest != before:
                self._oldest[cell] = oldest, now
            elif oldest is not None and now - since >= self.claim_timeout / 3:
                self._oldest[cell] = oldest, now
                self._say_policy(cell)

    def open_asks(self):
        """Requests that were not answered yet."""
        return list(self._asks.values())

    # --- decisions ---------------------------------------------------------------------------------------------

    def _or_fail(self, ask, function, *arguments):
        """Do what one request needs; whatever goes wrong is that request's affair."""
        with log_context.of(ask.context):
            self._or_fail_now(ask, function, *arguments)

    def _or_fail_now(self, ask, function, *arguments):
        try:
            function(*arguments)
        except errors.PluginFault as fault:
            LOG.error("request %s is not decided: %s", ask.request.request_id, fault)
            LOG.debug("what the class of the deployment raised", exc_info=fault.__cause__)
            self.counts["plugin_faults"] += 1
            self._fail(ask, fault)
        except errors.NovaSchedError as fault:
            self._fail(ask, fault)
        except Exception as fault:
            LOG.error("request %s met a fault of the scheduler: %r", ask.request.request_id, fault)
            LOG.debug("the fault of the scheduler", exc_info=True)
            self.counts["faults"] += 1
            self._fail(
                ask,
                errors.NovaSchedError(
                    f"request {ask.request.request_id} met a fault of the scheduler ({fault!r}); see its log"
                ),
            )

    def _decide(self, instance):
        if not instance.ask.over:
            self._or_fail(instance.ask, self._decide_now, instance)

    def _decide_now(self, instance):
        ask = instance.ask
        request, anchor = self._anchored(instance)
        positions = self._positions()
        started = self.clock.monotonic()
        decision = decide(
            self.cloud, request, instance.uuid, self.policy, instance.seed, instance.attempt, ask.alternates
        )
        instance.decision = decision
        self.counts["decisions"] += 1
        took_ns = int((self.clock.monotonic() - started) * 1e9)
        if not decision.candidates:
            if self._is_unsettled():
                instance.cell = None
                self._unplaced.append(instance)
            elif not self._fence(instance, anchor):
                self._refuse(instance, request, positions, took_ns)
            return
        chosen = decision.candidates[0]
        instance.cell = self.cloud.table.cells.values[self.cloud.table.cell[chosen.row]]
        if self._needs_anchor(instance, anchor, chosen):
            return
        rule = rule_of(self.cloud.table, chosen, request, instance.uuid)
        if rule is not None and anchor is not None and chosen.host == anchor[1]:
            # On no other host: claims of ours that are under way may name one that the group was moved from.
            rule = rule._replace(limit=anchor[2])
        instance.claim = claim = events.ClaimProposed(
            self.new_uuid(),
            instance.uuid,
            instance.uuid,
            request.request_id,
            request.project_id,
            chosen.host,
            chosen.assignment.allocations,
            rule,
            bool(request.force_hosts or request.force_nodes),
            chosen.guest,
        )
        instance.placed = self._all_placed(instance)
        # The claim and its evidence, or none of them.
        epoch, sequence = self.publish(
            instance.cell, claim, decision_event(self.policy, instance, request, positions, took_ns)
        )
        self.cloud.in_flight.add(claim)
        self._pending[claim.claim_uuid] = instance
        self.in_flight[instance.cell][claim.claim_uuid] = (epoch, sequence - 1)

    def _is_unsettled(self):
        """Whether hosts may be missing that are there: a log is being read anew, or forgot its hosts a moment ago. Then
        it is too early to say that there is none; not so for cells that are away for long."""
        closed = {cell for cell, closed in self.cloud.table.cell_closed.items() if closed}
        now = self.clock.monotonic()
        return not closed <= set(self.states.down_for(self.cell_down_after)) or any(
            now - at < self.cell_down_after for at in self._emptied.values()
        )

    def _refuse(self, instance, request, positions, took_ns):
        summary = instance.decision.summary
        asked = instance.ask.instances
        several = (
            f", number {asked.index(instance) + 1} of {len(asked)} instances (all or none are placed)"
            if len(asked) > 1
            else ""
        )
        unreachable = self._unreachable(request, instance.decision)
        fault = (
            errors.NoHostFound(NOT_ENOUGH_HOSTS, summary)
            if not unreachable
            else errors.CellsUnreachable(
                f"nothing can be scheduled to {', '.join(unreachable)}, as the log there cannot be read or appended "
                f"to, and no other cell has a host ({summary}); see to that log"
            )
        )
        LOG.info(
            "No valid host for %s of %s%s: %s",
            instance.uuid,
            request.request_id,
            several,
            fault if unreachable else summary,
        )
        self.counts["cells_unreachable" if unreachable else "no_valid_host"] += 1
        self._say(CELL0, decision_event(self.policy, instance, request, positions, took_ns))
        self._fail(instance.ask, fault, recorded=True)

    def _unreachable(self, request, decision):
        """Cells that may have a host for a request that found none, and cannot be reached now."""
        closed = [cell for cell, is_closed in self.cloud.table.cell_closed.items() if is_closed]
        unknown = [cell for cell in self.cells if not self.cloud.projections[cell].hosts]
        return unreachable_cells(request, self.cells, closed, unknown, decision.refusals)

    def on_refused(self, request_id, instance_uuids, reason):
        """Record why a request comes to nothing that no decision was made of."""
        self._say(CELL0, events.RequestRefused(printable(request_id), tuple(instance_uuids), printable(reason)))

    def _say(self, cell, *data):
        """Publish what must be said in any case: now, or when the log takes it."""
        try:
            self.publish(cell, *data)
        except errors.LogUnavailable:
            self._unsaid.append((cell, *data))
        except errors.NovaSchedError as fault:
            LOG.warning("%s is not recorded: %s", ", ".join(type(one).__name__ for one in data), fault)
            self.counts["unsaid"] += 1

    def _check_only(self, ask):
        """A rebuild: the host must pass the filters; nothing is claimed."""
        placed = []
        for instance in ask.instances:
            decision = decide(self.cloud, ask.request._replace(groups=()), instance.uuid, self.policy, instance.seed)
            instance.decision = decision
            if not decision.candidates:
                self._refuse(instance, ask.request, self._positions(), 0)
                return
            placed.append([self._placed(instance, decision.candidates[0], None, None)])
        self._finish(ask, placed)

    def _positions(self):
        return positions_of(self.cloud.projections, self.in_flight, self.cloud.table.cell_closed)

    # --- claims that come back ---------------------------------------------------------------------------------

    def _settle(self, cell, outcome):
        instance = self._pending.pop(outcome.claim_uuid, None)
        if instance is None:
            again = self._accepted_claims.came_back(cell, outcome)
            if again is not None and outcome.reason not in (None, HOLDS_ALREADY):
                LOG.warning(
                    "the claim of %s on %s was answered, is lost with the last records of the log of %s, and "
                    "cannot be made again (%s); if its build succeeds there, the host has more than it should",
                    again.instance_uuid,
                    again.host,
                    cell,
                    outcome.reason,
                )
            if outcome.claim_uuid in self._abandoned:
                self._abandoned.discard(outcome.claim_uuid)
                if outcome.reason is None:
                    self._say(cell, events.ClaimReleased(outcome.consumer_uuid, outcome.claim_uuid, "given up"))
            return
        if outcome.reason is None:
            if self._breaks_group(cell, instance, outcome):
                self._claim_elsewhere(instance)
                return
            self._accepted_claims.add(cell, instance.claim)
            instance.accepted = True
            instance.placed[0] = instance.placed[0]._replace(position=outcome.position)
            if instance.ask.over:
                self._release(instance)
            elif all(one.accepted for one in instance.ask.instances):
                self._or_fail(instance.ask, self._answer, instance.ask)
            return
        self.counts["conflicts"] += 1
        instance.attempt += 1
        self._note_refusal(instance, outcome.reason)
        with log_context.of(instance.ask.context):
            LOG.debug(
                "claim of %s on %s was refused at %d: %s",
                instance.uuid,
                instance.claim.host,
                outcome.position,
                outcome.reason,
            )
        if is_malformed(outcome.reason):
            self._fail(
                instance.ask,
                errors.NovaSchedError(
                    f"a claim of {instance.uuid} was refused as {outcome.reason}; it is a fault of this scheduler"
                ),
            )
        elif instance.held > 1:
            self._fail(instance.ask, errors.NoHostFound(NOT_ENOUGH_HOSTS, f"no host can mend it: {outcome.reason}"))
        elif instance.attempt >= MAX_ATTEMPTS:
            self._fail(
                instance.ask,
                errors.NoHostFound(
                    NOT_ENOUGH_HOSTS, f"{MAX_ATTEMPTS} claims were refused, the last for {outcome.reason}"
                ),
            )
        else:
            self._decide(instance)

    def _breaks_group(self, cell, instance, outcome):
        """Whether an accepted claim breaks the policy of its group, of which the log may know other members by other
        names."""
        group, consumers = instance.ask.request.server_group, self.cloud.projections[cell].consumers
        return (
            group is not None
            and not instance.ask.over
            and breaks_named(group, instance.claim, outcome.position, lambda member: consumers.get(member, ()))
        )

    def _claim_elsewhere(self, instance):
        """Give an accepted claim back, and decide again without its host."""
        self._release(instance)
        self.counts["conflicts"] += 1
        instance.attempt += 1
        instance.excluded = (*instance.excluded, instance.claim.host)
        self._decide(instance)

    @staticmethod
    def _note_refusal(instance, reason):
        """Count a refused claim. A host that breaks the group's policy again and again is not chosen any more: the
        log knows of members there by other names than the filters, or they are passed over by force."""
        host = instance.claim.host
        # Once it may be an earlier claim of ours, whose release stands between the two in the log.
        instance.held += reason == HOLDS_ALREADY
        instance.breaches[host] += is_breach(reason)
        if instance.breaches[host] == MAX_BREACHES:
            instance.excluded = (*instance.excluded, host)

    def _end_waits(self, cell, folded=None):
        """Decide what waited for events of ours up to a mark, or for any."""
        waits, over = self._waits[cell], []
        while waits and (folded is None or waits[0][0] <= folded):
            over.append(waits.popleft()[1])
        for instance in over:
            # It may wait again, for another event.
            self._decide(instance)

    def _settle_lost(self, cell):
        """Claims that the log has passed without our seeing what came of them: the state says whether they hold."""
        claims, projection = self.in_flight.get(cell), self.cloud.projections[cell]
        folded = projection.producers.get(self.name, NEVER)
        while claims:
            claim_uuid, mark = next(iter(claims.items()))
            if mark > folded:
                return
            del claims[claim_uuid]
            consumer_uuid = self.cloud.in_flight.claims[claim_uuid].consumer_uuid
            self.cloud.in_flight.remove(claim_uuid)
            entry = next(
                (one for one in projection.consumers.get(consumer_uuid, ()) if one.claim_uuid == claim_uuid), None
            )
            if entry is not None:
                self._settle(cell, Outcome(entry.position, self.name, claim_uuid, consumer_uuid, None))
                continue
            self._abandoned.discard(claim_uuid)
            instance = self._pending.pop(claim_uuid, None)
            if instance is not None:
                self.counts["lost"] += 1
                instance.lost += 1
                instance.attempt += 1
                if instance.lost > 1:
                    self._fail(
                        instance.ask,
                        errors.NovaSchedError(
                            f"claims of {instance.uuid} come to nothing in the log of {cell}; see its quarantine"
                        ),
                    )
                else:
                    self._decide(instance)

    def _on_rebased(self, cell, aggregates):
        """The log forgot everything, ``aggregates`` too. Which of our claims stood in front of that is not known: all
        are given up, and are released behind it, so that those do not hold which stood after it."""
        self._emptied[cell] = self.clock.monotonic()
        if cell == CELL0:
            self.account_rule.begin()
            self._restore(aggregates)
            self._say_policy()
        self._decide_elsewhere(cell)
        self._end_waits(cell)
        for claim_uuid in self.in_flight.get(cell, ()):
            consumer_uuid = self.cloud.in_flight.claims[claim_uuid].consumer_uuid
            self._say(cell, events.ClaimReleased(consumer_uuid, claim_uuid, "the log was rebased"))

    def _release(self, instance):
        self._accepted_claims.drop(instance.cell, instance.claim)
        self._say(
            instance.cell,
            events.ClaimReleased(instance.uuid, instance.claim.claim_uuid, "the request was refused as a whole"),
        )

    def _fail(self, ask, fault, recorded=False):
        """Answer with an error; all that was claimed for the request is released, now or when it comes back. What no
        decision has ``recorded`` is recorded here."""
        if ask.over:
            return
        ask.over = True
        self._asks.pop(id(ask), None)
        for instance in ask.instances:
            if instance.accepted:
                self._release(instance)
        with log_context.of(ask.context):
            if not recorded:
                self.on_refused(
                    ask.request.request_id,
                    [one.uuid for one in ask.instances],
                    getattr(fault, "summary", "") or str(fault),
                )
            ask.future.set_exception(fault)

    def _answer(self, ask):
        several = len(ask.instances) > 1 and ask.alternates
        self._finish(
            ask, [[one.placed[0], *self._alternates(one)] if several else list(one.placed) for one in ask.instances]
        )

    def _all_placed(self, instance):
        """The chosen host and the alternates of a decision."""
        chosen, *others = instance.decision.candidates
        return [
            self._placed(instance, chosen, instance.claim.rule, instance.claim.claim_uuid),
            *(self._alternate(instance, other) for other in others),
        ]

    def _alternate(self, instance, other):
        rule = rule_of(self.cloud.table, other, instance.ask.request, instance.uuid)
        return self._placed(instance, other, rule, None)

    def _alternates(self, instance):
        """Alternates that are free when all instances of the request are placed, and are the host of none of them."""
        request = instance.ask.request
        placed = dict.fromkeys(one.claim.host for one in instance.ask.instances)
        request = _without(request._replace(target_cell=instance.cell), (*instance.excluded, *placed))
        others = decide(
            self.cloud,
            request,
            instance.uuid,
            self.policy,
            instance.seed,
            instance.attempt,
            instance.ask.alternates - 1,
        ).candidates
        return [self._alternate(instance, other) for other in others]

    def _finish(self, ask, placed):
        ask.over = True
        self._asks.pop(id(ask), None)
        ask.future.set_result(placed)

    def _placed(self, instance, candidate, rule, claim_uuid):
        table, row = self.cloud.table, candidate.row
        return Placed(
            instance.uuid,
            table.cells.values[table.cell[row]],
            candidate.host,
            table.node_names[row],
            table.uuids[row],
            table.zone_names(self.policy.default_availability_zone)[row],
            candidate.assignment.allocations,
            candidate.assignment.mappings,
            rule,
            claim_uuid,
            guest=candidate.guest,
            numa_limits=numa_limits(table, row, instance.ask.request, self.policy),
        )

    # --- cells that are down -----------------------------------------------------------------------------------

    def _decide_elsewhere(self, cell):
        """Claims in a cell are not waited for any longer: their instances are decided again, and they are released if
        they come back after all."""
        for instance in [one for one in self._pending.values() if one.cell == cell]:
            del self._pending[instance.claim.claim_uuid]
            self._abandoned.add(instance.claim.claim_uuid)
            instance.attempt += 1
            self._decide(instance)

    def _lose_accepted(self, cell):
        """A log forgot what it had accepted: instances of requests that are not answered yet,
        which hold nothing any more and are to be decided again."""
        lost = [one for ask in self._asks.values() for one in ask.instances if one.accepted and one.cell == cell]
        for instance in lost:
            instance.accepted = False
            instance.attempt += 1
        return lost

    # --- affinity groups of a cloud of several cells -----------------------------------------------------------

    def _anchored(self, instance):
        """The request as it may be decided, and the anchor of its affinity group: (cell, host, number) or None."""
        request = _without(instance.ask.request, instance.excluded)
        group = request.server_group
        if group is None or group.policy != "affinity" or len(self.cells) == 1:
            return request, None
        anchor = self.cloud.projections[CELL0].anchors.get(group.uuid)
        if anchor is None or anchor[2] <= instance.fenced:
            return request, None
        return request._replace(server_group=group._replace(hosts=(*group.hosts, anchor[1]))), anchor

    def _needs_anchor(self, instance, anchor, chosen):
        """Publish the anchor of a group that has none, and wait; True when the instance waits."""
        group = instance.ask.request.server_group
        if group is None or group.policy != "affinity" or len(self.cells) == 1 or anchor is not None:
            return False
        self._wait_for(instance, CELL0, events.GroupAnchored(group.uuid, instance.cell, chosen.host, instance.fenced))
        return True

    def _fence(self, instance, anchor):
        """The anchored host has no room: close the group there if it is empty, and wait; True when it waits."""
        if anchor is None:
            return False
        cell, _, number = anchor
        if instance.fenced:
            return False
        group = instance.ask.request.server_group
        projection = self.cloud.projections.get(cell)
        if projection is None or group.uuid in projection.groups.members:
            return False
        if projection.fences.get(group.uuid, 0) >= number:
            instance.fenced = number
            self._decide(instance)
            return True
        self._wait_for(instance, cell, events.GroupFenced(group.uuid, number))
        return True

    def _wait_for(self, instance, cell, data):
        """Publish what must be in a log before an instance is decided again."""
        instance.waits += 1
        if instance.waits > MAX_WAITS:
            raise errors.NovaSchedError(
                f"{MAX_WAITS} events for the group of {instance.uuid} came to nothing in the "
                f"log of {cell}; see its quarantine"
            )
        self._waits[cell].append((self.publish(cell, data), instance))


def _without(request, hosts):
    """A request that ignores some hosts more."""
    return request._replace(ignore_hosts=(*request.ignore_hosts, *hosts)) if hosts else request
