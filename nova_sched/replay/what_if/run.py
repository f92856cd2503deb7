"""What another policy, other ratios or other hosts would have made of recorded traffic.

From the real logs others are made, record for record at the same positions and levels. What hosts and aggregates
report passes, with the changes that are asked about. The first decision for each instance of a request is made again,
by a scheduler that knows these logs to the very positions to which the recorded one knew the real ones: so knowledge is
as stale, and claims of several schedulers collide. A claim lives as those of the scheduler do (see claim_life.py
there): one that is refused is decided again when its scheduler reads that.

A claim in another cell than the recorded one is in the next record of that cell. Builds succeed. An instance whose
build failed for good, whose claim expired or that was deleted gives its place back when it did so in the real logs. One
that found a host only here stays to the end. A move gives the old place back at once.
"""

import uuid
from collections import Counter, deque

from nova_sched.projection.world import World
from nova_sched.replay.decisions.policies import PolicyMissing
from nova_sched.replay.decisions.recorded import recorded_of, set_closed
from nova_sched.replay.what_if.api_writes import OF_PROVIDERS
from nova_sched.replay.what_if.changes import NAMESPACE, Changes, HostEvents
from nova_sched.replay.what_if.real_events import OF_INSTANCES
from nova_sched.replay.what_if.schedulers import Group, Instance, Scheduler, Tape
from nova_sched.replay.what_if.traffic import Feed, Tally, Traffic, count_of, top_reason, whole_of
from nova_sched.scheduler.asks import refusals_max
from nova_sched.scheduler.claim_life import Action
from nova_sched.scheduler.claim_life import Event as Happened
from nova_sched.selection.decide import claim_of, decide
from rpc_api import codec, errors, events
from rpc_api.codec import DecodedRecord, Event

AS_A_WHOLE = "its request was refused as a whole"
_HOST_EVENTS = frozenset(
    {"HostReported", "ProvidersReported", "HostLost", "HostSeen", "HostRemoved", "HostDisabled", "HostEnabled"}
)
#: Events that change nothing that a what-if changes.
_PASSED = frozenset({"LogOpened", "LevelPinned", "AuthorityPassed", "ClaimsWatched", "AggregateDeleted", *OF_PROVIDERS})


class Run:
    """One run of the traffic through a changed world; :meth:`run` gives its Tally.

    ``policies`` is a PolicyBook that knows the policies of the logs, ``spool`` has the decisions.
    """

    def __init__(
        self,
        logs,
        policies,
        spool,
        traffic: Traffic,
        changes: Changes,
        label="what-if",
        progress=lambda label, done, total: None,
    ):
        self.logs = logs
        self.policies = policies
        self.traffic = traffic
        self.changes = changes
        self.tally = Tally()
        self.label = label
        self.progress = progress
        whole = whole_of(logs)
        #: What is true in this world; each scheduler knows a part of it.
        self.truth = World.empty(whole)
        self._epochs = {}
        self._feeds = {cell: Feed(log) for cell, log in logs.items()}
        self._busy = set()
        self._schedulers = {name: Scheduler(name, whole, spool.of_producer(name)) for name in traffic.producers}
        #: Instance uuid -> Instance that was decided here and is not gone in the real logs.
        self.decided = {}
        #: Request id -> its instances that were decided and did not leave.
        self._requests = {}
        self._groups = {}
        #: (Cell, uuid) of a write over several logs that is under way -> its consumers.
        self.prepared = {}
        self._failed = deque(maxlen=1000)
        #: Instances whose requests failed while their claims were under way.
        self._whole_refused = set()
        self._policies = {}
        self._host_events = HostEvents(changes, self.decided.__contains__)
        self._tapes = {cell: Tape() for cell in logs}
        self._frontier = dict.fromkeys(logs, -1)
        self._waiting = {cell: [] for cell in logs}
        #: Cell -> the highest level that the producers of this world's own events in its next record know.
        self._levels = {}
        self._current, self._batch = None, []
        self._sequences = Counter()
        self._done = self._at_ns = 0

    def run(self) -> Tally:
        """Run it to the end."""
        total = count_of(self.logs)
        while True:
            ready = [(feed.next[0], cell) for cell, feed in self._feeds.items() if feed.next]
            if not ready:
                break
            self._step(min(ready)[1])
            if not self._done % 1000:
                self.progress(self.label, self._done, total)
        while any(self._waiting.values()):
            for cell in sorted(self._waiting):
                if self._waiting[cell]:
                    self._publish(cell, self._frontier[cell] + 1, None, self._at_ns)
        self.tally.end(self.truth.table, self.traffic.least)
        return self.tally

    # --- records ---------------------------------------------------------------------------------------------------

    def _advance(self, cell, position):
        """Have a log go to a position at least."""
        feed = self._feeds.get(cell)
        while feed is not None and cell not in self._busy and self._frontier[cell] < position and feed.next:
            self._step(cell)

    def _step(self, cell):
        """Make the next record of a cell's log."""
        at_ns, position, record = self._feeds[cell].next
        self._busy.add(cell)
        decisions = [
            recorded_of(cell, position, event)
            for event in record.events
            if isinstance(event, Event) and event.name == "DecisionMade"
        ]
        for recorded in decisions:
            for known in recorded.evidence.positions if recorded.evidence is not None else ():
                if known.cell != cell:
                    self._advance(known.cell, known.position)
        self._feeds[cell].advance()
        self._done += 1
        self._at_ns = max(self._at_ns, at_ns)
        self._current, self._batch = cell, []
        counts = self._counts(cell, record)
        try:
            if counts:
                decided = iter(decisions)
                for event in record.events:
                    if isinstance(event, Event):
                        self._translate(cell, event, next(decided) if event.name == "DecisionMade" else None)
        finally:
            self._current = None
        self._publish(cell, position, record.account, at_ns, record.level if counts else 1)
        self._busy.discard(cell)

    def _counts(self, cell, record):
        """Whether a record is for the log that it is in, and not for another that was there before, and in forms that
        this log has."""
        projection = self.truth.projections[cell]
        if projection.whole and record.level > projection.level:
            return False
        return record.epoch is not None and record.epoch == self._epochs.setdefault(cell, record.epoch)

    def _publish(self, cell, position, account, at_ns, level=1):
        """Append a record: what waits for it, and what the real one became. It has the level of its newest part."""
        batch, self._waiting[cell], self._batch = [*self._waiting[cell], *self._batch], [], []
        record = DecodedRecord(None, batch, account, level=max(level, self._levels.pop(cell, 1)))
        outcomes, _ = self.truth.projections[cell].fold([(position, record)])
        claims = {event.data.claim_uuid: event.data for event in batch if event.name == "ClaimProposed"}
        for outcome in outcomes:
            claim = claims[outcome.claim_uuid]
            if outcome.reason is not None:
                self.tally.conflicts += 1
            elif claim.instance_uuid not in self._whole_refused:
                self.tally.placed[claim.instance_uuid] = claim.host
        self._frontier[cell] = position
        self._tapes[cell].append(position, record)
        self._read_ahead()
        self.tally.sample(at_ns, self.truth.table, self.traffic.least, self.tally.refused.total())

    def _read_ahead(self):
        """Schedulers read as far as they may, and what all have read is dropped."""
        for scheduler in self._schedulers.values():
            for cell, frontier in self._frontier.items():
                self._fold(scheduler, cell, scheduler.may_know(cell, frontier))
        for cell, tape in self._tapes.items():
            tape.drop(min(scheduler.read[cell] for scheduler in self._schedulers.values()))

    def _fold(self, scheduler, cell, position):
        if scheduler.world.projections[cell].position < position:
            for claim, reason in scheduler.fold(cell, self._tapes[cell], position):
                self._settle(scheduler, claim, reason)

    # --- events ------------------------------------------------------------------------------------------------------

    def emit(self, cell, event):
        """Append an event to a cell's log: in the record that is being made, or in its next one."""
        (self._batch if cell == self._current else self._waiting[cell]).append(event)

    def _append(self, cell, producer, data, known):
        """Append an event of a producer who knows a world; returns its mark."""
        self._levels[cell] = max(known.projections[cell].level, self._levels.get(cell, 1))
        sequence = self._sequences[cell, producer] = self._sequences[cell, producer] + 1
        self.emit(cell, codec.make_event(data, producer, 1, sequence, self._at_ns))
        return 1, sequence

    def _translate(self, cell, event, recorded):
        name, data = event.name, event.data
        if name in _HOST_EVENTS:
            for changed in self._host_events.of(event):
                self.emit(cell, changed)
        elif name in ("AggregateUpdated", "InventoriesPut"):
            self.emit(cell, self._host_events.changed(event))
        elif name in _PASSED:
            self.emit(cell, event)
        elif name == "LogRebased" and not self.truth.projections[cell].whole:
            self.emit(cell, event._replace(data=data._replace(accounts_required=False)))
        elif name == "DecisionMade":
            self._decision(recorded)
        elif name == "GroupAnchored":
            self._groups.setdefault(data.group_uuid, Group()).real_anchors.add(data.host)
        elif name in OF_INSTANCES:
            OF_INSTANCES[name](self, cell, event)

    def leave(self, instance):
        """An instance is gone in the real logs."""
        self.decided.pop(instance.uuid, None)
        of_request = self._requests.get(instance.request_id, {})
        of_request.pop(instance.uuid, None)
        if not of_request:
            self._requests.pop(instance.request_id, None)
        self._give_back(instance)

    def _give_back(self, instance):
        claim = instance.claim
        if claim is not None:
            # The cell's conductor releases it at once, whether its scheduler has read it back or not.
            instance.claims.event(claim, Happened.REQUEST_FAILED)
            released = events.ClaimReleased(instance.uuid, claim.uuid, "left")
            self._append(claim.cell, "conductor/what-if", released, self.truth)
        group = self._groups.get(instance.group)
        if group is not None:
            group.members.pop(instance.uuid, None)

    # --- decisions ---------------------------------------------------------------------------------------------------

    def _decision(self, recorded):
        scheduler = self._schedulers.get(recorded.producer)
        if recorded.evidence is None or scheduler is None:
            self.tally.missing["the evidence cannot be read"] += 1
            return
        scheduler.has_passed(recorded)
        before = self.decided.get(recorded.decision.instance_uuid)
        request = recorded.evidence.request
        if (
            request.check_only
            or recorded.decision.attempt
            or (before and before.request_id == recorded.decision.request_id)
        ):
            if before is not None and recorded.is_selected:
                before.runs_at(recorded.decision.hosts[0])
            return
        for known in recorded.evidence.positions:
            if known.cell in self.logs:
                self._fold(scheduler, known.cell, min(known.position, self._frontier[known.cell]))
        self.tally.asked += 1
        if before is not None:
            self.leave(before)
        instance = self.decided[recorded.decision.instance_uuid] = Instance(recorded)
        self.tally.not_built.discard(instance.uuid)
        self._requests.setdefault(instance.request_id, {})[instance.uuid] = instance
        if request.server_group is not None:
            instance.group = request.server_group.uuid
            self._groups.setdefault(instance.group, Group()).members[instance.uuid] = instance
        if recorded.decision.request_id in self._failed:
            self.tally.refused[AS_A_WHOLE] += 1
            return
        set_closed(scheduler.world.table, recorded)
        self._place(scheduler, instance)

    def _policy(self, recorded):
        digest = recorded.evidence.policy_digest
        if digest not in self._policies:
            self._policies[digest] = self.changes.policy_from(self.policies, digest)
        return self._policies[digest]

    def _place(self, scheduler, instance):
        """Decide for an instance, and claim what was chosen."""
        recorded = instance.recorded
        request = recorded.evidence.request
        if request.server_group is not None:
            request = self._groups[instance.group].request_of(instance, request)
        try:
            policy = self._policy(recorded)
            decision = decide(
                scheduler.world,
                scheduler.chain(policy),
                request,
                instance.uuid,
                policy,
                recorded.evidence.seed,
                instance.attempt,
            )
        except (PolicyMissing, errors.PluginFault) as fault:
            self.tally.missing[str(fault)] += 1
            return
        if not decision.candidates:
            self._refuse(instance, top_reason(decision.refusals))
            return
        chosen = decision.candidates[0]
        cell = scheduler.world.table.cells.values[scheduler.world.table.cell[chosen.row]]
        claim = claim_of(
            str(uuid.uuid5(NAMESPACE, f"{request.request_id}/{instance.uuid}/{instance.attempt}")),
            instance.uuid,
            request,
            chosen,
        )
        # Under another name: the numbers of the real producer are those of other events.
        producer = f"{scheduler.producer}+what-if"[-codec.MAX_NAME :]
        mark = self._append(cell, producer, claim, scheduler.world)
        instance.claims = scheduler.claims
        scheduler.claims.propose(cell, claim, mark, instance)

    def _refuse(self, instance, reason):
        """No host for an instance: its request fails, with all instances that are placed already."""
        self.tally.refused[reason] += 1
        self.tally.placed.pop(instance.uuid, None)
        self._failed.append(instance.request_id)
        for other in self._requests.get(instance.request_id, {}).values():
            if other is not instance and other.claim is not None:
                self._give_back(other)
                self.tally.placed.pop(other.uuid, None)
                self._whole_refused.add(other.uuid)
                self.tally.refused[AS_A_WHOLE] += 1

    def _settle(self, scheduler, claim, reason):
        """A scheduler reads the verdict on its claim."""
        instance = claim.instance
        self._whole_refused.discard(claim.proposed.instance_uuid)
        action = scheduler.claims.event(claim, Happened.ACCEPTED if reason is None else Happened.REFUSED)
        if action is Action.COUNT_REFUSAL:
            self.tally.refused["gone before it was placed"] += 1
        elif action is Action.ANSWER:
            instance.recorded = None
        elif action is Action.DECIDE_AFTER_REFUSAL:
            instance.attempt += 1
            if instance.attempt >= refusals_max(1):
                self._refuse(instance, "claims refused")
            else:
                self._place(scheduler, instance)
