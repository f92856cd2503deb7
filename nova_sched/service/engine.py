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

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Cloud, decide, rule_of
from nova_sched.selection.draw import seed_of
from nova_sched.service.evidence import decision_event, positions_of
from rpc_api import errors, events

LOG = logging.getLogger(__name__)

CELL0 = "cell0"
MAX_ATTEMPTS = 100
NOT_ENOUGH_HOSTS = "There are not enough hosts available."


class Placed(NamedTuple):
    """A host for an instance. ``claim_uuid`` is that of the accepted claim, None for an alternate."""

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


class Ask:
    """One ``select_destinations``: ``future`` gets a list of lists of :class:`Placed`, one list an instance."""

    def __init__(self, request, instance_uuids, alternates, arrived_at):
        self.request = request
        self.alternates = alternates
        self.arrived_at = arrived_at
        self.future = Future()
        self.over = False
        self.instances = [_Instance(self, uuid, seed_of(request.request_id, uuid)) for uuid in instance_uuids]


class _Instance:
    """One instance of an ask on its way from decision to accepted claim."""

    __slots__ = ("ask", "uuid", "seed", "attempt", "decision", "claim", "cell", "accepted", "fenced")

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


class Engine:
    """``publish(cell, *data)`` appends frozen records to a cell's log and returns the sequence of the last one.

    ``cells`` are the names of the cells, without cell0. ``new_uuid()`` gives claim uuids; ``name`` is the producer.
    """

    def __init__(self, cells, policy, name, publish, new_uuid, clock, claim_timeout=30.0, cell_down_after=5.0):
        self.cells = tuple(cells)
        self.policy = policy
        self.name = name
        self.publish = publish
        self.new_uuid = new_uuid
        self.clock = clock
        self.claim_timeout = claim_timeout
        self.cell_down_after = cell_down_after
        table = HostTable()
        projections = {cell: Projection(cell, table) for cell in (CELL0, *self.cells)}
        self.cloud = Cloud(table, projections, InFlight(table), FilterChain(table, policy))
        self.counts = Counter()
        self._pending = {}
        self._abandoned = set()
        #: Cell -> claim uuid -> sequence of this process's claims that were not read back yet, oldest first.
        self.in_flight = {cell: {} for cell in self.cells}
        #: Cell -> (sequence, instance) that go on when that event of ours was folded.
        self._waits = {cell: deque() for cell in (CELL0, *self.cells)}
        self._asks = {}
        self._down_since = {}

    # --- what comes in -----------------------------------------------------------------------------------------

    def on_records(self, cell, records):
        """Fold records of a cell's log, and settle what was waiting for them. Returns what was noted."""
        projection = self.cloud.projections[cell]
        outcomes, noted = projection.fold(records)
        for outcome in outcomes:
            # All at once, before anything is decided: what was folded must not be counted as in flight too.
            self.cloud.in_flight.remove(outcome.claim_uuid)
            self.in_flight.get(cell, {}).pop(outcome.claim_uuid, None)
        for outcome in outcomes:
            self._settle(cell, outcome)
        waits = self._waits[cell]
        folded = projection.producers.get(self.name, (0, 0))[1] if waits else 0
        while waits and waits[0][0] <= folded:
            self._decide(waits.popleft()[1])
        return noted

    def on_ask(self, ask: Ask):
        """Decide a request and publish its claims."""
        self._asks[id(ask)] = ask
        if ask.request.check_only:
            self._check_only(ask)
            return
        for instance in ask.instances:
            if not ask.over:
                self._decide(instance)

    def on_aggregate(self, aggregate):
        """Append an AggregateUpdated to cell0's log, unless the aggregate is just so already."""
        if self.cloud.table.aggregates.get(aggregate.uuid) != aggregate:
            self.publish(CELL0, aggregate)

    def on_aggregate_deleted(self, uuid):
        """Append an AggregateDeleted, if there is such an aggregate."""
        if uuid in self.cloud.table.aggregates:
            self.publish(CELL0, events.AggregateDeleted(uuid))

    def set_policy(self, policy):
        """Decide by another policy from here on; requests that are under way go on under it."""
        self.policy = policy
        self.cloud = self.cloud._replace(chain=FilterChain(self.cloud.table, policy))

    def on_fault(self, cell, fault):
        """A cell's log cannot be read now (``fault`` says why), or can be again (None)."""
        if fault is None:
            self._down_since.pop(cell, None)
            self._close_cell(cell, False)
        else:
            self._down_since.setdefault(cell, self.clock.monotonic())

    def on_tick(self):
        """Look at what takes too long: cells that are not readable, claims that do not come back."""
        now = self.clock.monotonic()
        for cell, since in self._down_since.items():
            if now - since >= self.cell_down_after:
                self._close_cell(cell, True)
        for ask in [ask for ask in self._asks.values() if now - ask.arrived_at >= self.claim_timeout]:
            waiting = sorted({str(one.cell) for one in ask.instances if not one.accepted})
            self._fail(ask, errors.ClaimTimeout(
                f"claims of {ask.request.request_id} in {', '.join(waiting)} were not read back within "
                f"{self.claim_timeout} s; see to the log of that cell"))

    def open_asks(self):
        """Requests that were not answered yet."""
        return list(self._asks.values())

    # --- decisions ---------------------------------------------------------------------------------------------

    def _decide(self, instance):
        ask = instance.ask
        if ask.over:
            return
        request, anchor = self._anchored(instance)
        positions = self._positions()
        started = self.clock.monotonic()
        decision = decide(self.cloud, request, instance.uuid, self.policy, instance.seed, instance.attempt,
                          ask.alternates)
        instance.decision = decision
        self.counts["decisions"] += 1
        took_ns = int((self.clock.monotonic() - started) * 1e9)
        if not decision.candidates:
            if not self._fence(instance, anchor):
                self._refuse(instance, request, positions, took_ns)
            return
        chosen = decision.candidates[0]
        instance.cell = self.cloud.table.cells.values[self.cloud.table.cell[chosen.row]]
        if self._needs_anchor(instance, anchor, chosen):
            return
        rule = rule_of(self.cloud.table, chosen, request, instance.uuid)
        if rule is not None and anchor is not None:
            rule = rule._replace(limit=anchor[2])
        instance.claim = events.ClaimProposed(
            self.new_uuid(), instance.uuid, instance.uuid, request.request_id, request.project_id, chosen.host,
            chosen.assignment.allocations, rule, bool(request.force_hosts or request.force_nodes))
        self._propose(instance)
        self.publish(instance.cell, decision_event(self.policy, instance, request, positions, took_ns))

    def _propose(self, instance):
        claim = instance.claim
        self.cloud.in_flight.add(claim)
        self._pending[claim.claim_uuid] = instance
        try:
            self.in_flight[instance.cell][claim.claim_uuid] = self.publish(instance.cell, claim)
        except errors.LogUnavailable as fault:
            self.cloud.in_flight.remove(claim.claim_uuid)
            del self._pending[claim.claim_uuid]
            self._fail(instance.ask, fault)

    def _refuse(self, instance, request, positions, took_ns):
        summary = instance.decision.summary
        LOG.info("No valid host for %s of %s: %s", instance.uuid, request.request_id, summary)
        self.counts["no_valid_host"] += 1
        self.publish(CELL0, decision_event(self.policy, instance, request, positions, took_ns))
        self._fail(instance.ask, errors.NoHostFound(NOT_ENOUGH_HOSTS, summary))

    def _check_only(self, ask):
        """A rebuild: the host must pass the filters; nothing is claimed."""
        placed = []
        for instance in ask.instances:
            decision = decide(self.cloud, ask.request._replace(groups=()), instance.uuid, self.policy, instance.seed)
            instance.decision = decision
            if not decision.candidates:
                self._refuse(instance, ask.request, self._positions(), 0)
                return
            placed.append([self._placed(instance.uuid, decision.candidates[0], None, None)])
        self._finish(ask, placed)

    def _positions(self):
        return positions_of(self.cloud.projections, self.in_flight, self.cloud.table.cell_closed)

    # --- claims that come back ---------------------------------------------------------------------------------

    def _settle(self, cell, outcome):
        instance = self._pending.pop(outcome.claim_uuid, None)
        if instance is None:
            if outcome.claim_uuid in self._abandoned:
                self._abandoned.discard(outcome.claim_uuid)
                if outcome.reason is None:
                    self.publish(cell, events.ClaimReleased(outcome.consumer_uuid, outcome.claim_uuid, "given up"))
            return
        if outcome.reason is None:
            instance.accepted = True
            if instance.ask.over:
                self._release(instance)
            elif all(one.accepted for one in instance.ask.instances):
                self._answer(instance.ask)
            return
        self.counts["conflicts"] += 1
        instance.attempt += 1
        LOG.debug("claim of %s on %s was refused at %d: %s", instance.uuid, instance.claim.host, outcome.position,
                  outcome.reason)
        if instance.attempt >= MAX_ATTEMPTS:
            self._fail(instance.ask, errors.NoHostFound(
                NOT_ENOUGH_HOSTS, f"{MAX_ATTEMPTS} claims were refused, the last for {outcome.reason}"))
        else:
            self._decide(instance)

    def _release(self, instance):
        self.publish(instance.cell, events.ClaimReleased(
            instance.uuid, instance.claim.claim_uuid, "the request was refused as a whole"))

    def _fail(self, ask, fault):
        """Answer with an error; all that was claimed for the request is released, now or when it comes back."""
        if ask.over:
            return
        ask.over = True
        self._asks.pop(id(ask), None)
        for instance in ask.instances:
            if instance.accepted:
                self._release(instance)
        ask.future.set_exception(fault)

    def _answer(self, ask):
        placed = []
        for instance in ask.instances:
            chosen, *others = instance.decision.candidates
            if len(ask.instances) > 1 and ask.alternates:
                others = self._alternates(instance)
            placed.append([self._placed(instance.uuid, chosen, instance.claim.rule, instance.claim.claim_uuid), *(
                self._placed(instance.uuid, other, rule_of(self.cloud.table, other, ask.request, instance.uuid), None)
                for other in others)])
        self._finish(ask, placed)

    def _alternates(self, instance):
        """Alternates that are free when all instances of the request are placed."""
        request = instance.ask.request
        request = request._replace(target_cell=instance.cell,
                                   ignore_hosts=(*request.ignore_hosts, instance.claim.host))
        return decide(self.cloud, request, instance.uuid, self.policy, instance.seed, instance.attempt,
                      instance.ask.alternates - 1).candidates

    def _finish(self, ask, placed):
        ask.over = True
        self._asks.pop(id(ask), None)
        ask.future.set_result(placed)

    def _placed(self, instance_uuid, candidate, rule, claim_uuid):
        table, row = self.cloud.table, candidate.row
        return Placed(
            instance_uuid, table.cells.values[table.cell[row]], candidate.host, table.node_names[row], table.uuids[row],
            table.zone_names(self.policy.default_availability_zone)[row], candidate.assignment.allocations,
            candidate.assignment.mappings, rule, claim_uuid)

    # --- cells that are down -----------------------------------------------------------------------------------

    def _close_cell(self, cell, closed):
        table = self.cloud.table
        if bool(table.cell_closed.get(cell)) == closed:
            return
        table.cell_closed[cell] = closed
        table.topology_version += 1
        LOG.warning("cell %s is %s", cell, "closed: its log cannot be read" if closed else "open again")
        if closed:
            stuck = [one for one in self._pending.values() if one.cell == cell]
            for instance in stuck:
                del self._pending[instance.claim.claim_uuid]
                self._abandoned.add(instance.claim.claim_uuid)
                instance.attempt += 1
                self._decide(instance)

    # --- affinity groups of a cloud of several cells -----------------------------------------------------------

    def _anchored(self, instance):
        """The request as it may be decided, and the anchor of its affinity group: (cell, host, number) or None."""
        request = instance.ask.request
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
        sequence = self.publish(CELL0, events.GroupAnchored(group.uuid, instance.cell, chosen.host, instance.fenced))
        self._waits[CELL0].append((sequence, instance))
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
        sequence = self.publish(cell, events.GroupFenced(group.uuid, number))
        self._waits[cell].append((sequence, instance))
        return True
