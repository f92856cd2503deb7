"""The shadow's engine: it decides on copies of requests, waits for what Nova chooses, and compares. It claims nothing.

The state of the logs is folded as in a scheduler. What is under way is counted in memory only: the shadow's own choice
until Nova's is seen, and then Nova's until a log has it (with OpenStack Placement an import brings it there). Nova's
host is judged by the state in front of Nova's claim, so requests that come together are no differences.

As the scheduler's engine it has no thread, no queue, no clock and no log of its own.
"""

import logging
from collections import Counter
from typing import NamedTuple

from nova_sched.projection.ledger import NO_HOST
from nova_sched.projection.state import CELL0
from nova_sched.request.server_group import as_known, has_no_uuid
from nova_sched.scheduler.evidence import evidence_of, outcome_of
from nova_sched.scheduler.folded_logs import FoldedLogs
from nova_sched.scheduler.outbox import Outbox
from nova_sched.scheduler.shadow import compare
from nova_sched.scheduler.shadow.compare import Compared, Ours
from nova_sched.scheduler.shadow.memory import Memory
from nova_sched.scheduler.shadow.messages import END
from nova_sched.scheduler.shadow.written import hosts_in, named_in
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import claim_of, decide
from nova_sched.selection.draw import seed_of
from nova_sched.selection.judge import judge
from nova_sched.selection.needed_members import with_needed_members
from rpc_api import errors, events
from rpc_api.packing import pack

LOG = logging.getLogger(__name__)

#: The level of cell0's log from which on a shadow may publish.
LEVEL = events.EVENTS["DecisionCompared"].LEVEL
#: Seconds for which the shadow's own choice counts, if Nova's is not seen.
OWN_SECONDS = 10.0
#: Nova's claim was there before the decision if it was written so many nanoseconds before it, or later.
LATE_NS = 5_000_000_000
#: So many instances are waited for; of more, the oldest ones are given up.
WAITING_MAX = 10_000
#: Calls to hosts that came before their requests: both come over connections of their own. So many are kept, for so
#: many seconds.
EARLY_MAX, EARLY_SECONDS = 1000, 10.0
ALLOCATIONS = "allocations"


class Settings(NamedTuple):
    """``choice_timeout`` and ``memory_seconds`` are in seconds. With ``has_allocations`` the logs get what Nova
    allocates, because Nova uses our Placement API."""

    choice_timeout: float = 60.0
    memory_seconds: float = 3600.0
    has_allocations: bool = False


class Waiting:
    """An instance for which the shadow has decided, and whose host by Nova is not seen yet."""

    def __init__(self, uuid, request, decision, evidence, took_ns, from_memory, held, now):
        self.uuid = uuid
        self.request = request
        self.outcome = outcome_of(decision)
        self.ours = Ours(tuple(candidate.host for candidate in decision.candidates), decision.summary)
        self.evidence = evidence
        self.took_ns = took_ns
        self.from_memory = from_memory
        #: Hosts on which the instance held something before, and still does.
        self.held = held
        self.since = now
        #: Whether Nova's choice may be missed.
        self.is_blind = False
        #: Host -> its Judged, in front of a write that names it.
        self.judged = {}


class ShadowEngine:
    """Arguments as for :class:`~nova_sched.scheduler.engine.Engine`, whose owner can own this one instead; and the
    ``settings``. ``sees_builds()`` returns whether the calls to compute hosts are read now."""

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
        settings=None,
        sees_builds=lambda: True,
    ):
        self.cells = tuple(cells)
        self.policy = policy
        self.name = name
        self.publish = publish
        self.new_uuid = new_uuid
        self.clock = clock
        self.cell_down_after = cell_down_after
        self.settings = settings or Settings()
        self.sees_builds = sees_builds
        self.logs = FoldedLogs(self.cells, clock, cell_down_after, require_accounts)
        self.world, self.states, self.account_rule = self.logs.world, self.logs.states, self.logs.account_rule
        self.chain = FilterChain(self.world.table, policy)
        #: By verdict, and beside them requests, faults and so on.
        self.counts = Counter()
        self.outbox = Outbox(lambda cell, *data: self.publish(cell, *data), self.counts)
        self.memory = Memory(self.world, new_uuid)
        #: Instance uuid -> its Waiting, the oldest first.
        self.waiting = {}
        #: Instance uuid -> (Choice, since when) of calls that no request waited for.
        self._early = {}

    # --- logs, as a scheduler folds them -----------------------------------------------------------------------------

    def on_begin(self, cell, beginning):
        """Start reading a log: see Engine. A log that must be rebased is left to others."""
        self.logs.begin(cell, beginning)
        self.logs.is_at_its_end(cell)

    def on_records(self, cell, records, at_end=True):
        """Fold records of a cell's log; in front of a record with what Nova may have chosen, judge its host. Returns
        the notes."""
        noted, first = [], 0
        for number, record in enumerate(records):
            named = named_in(record[1]).intersection(self.waiting) if self.waiting else ()
            if named:
                noted += self.logs.fold(cell, records[first:number])[1]
                first = number + 1
                self._judge_written(record[1], named)
                noted += self.logs.fold(cell, records[number:first])[1]
                for uuid in named:
                    self._look_for_choice(self.waiting[uuid])
        noted += self.logs.fold(cell, records[first:])[1]
        self.states.see(cell, records, at_end)
        self.logs.is_at_its_end(cell)
        return noted

    def on_fault(self, cell, fault, way="read"):
        """A cell's log cannot be read or appended to now, or can be again: see Engine."""
        self.states.fault(cell, fault, way)

    def set_policy(self, policy):
        """Use another policy from now on."""
        self.policy = policy
        self.chain = FilterChain(self.world.table, policy)

    def publish_policy(self, cell=CELL0):
        """Publish the policy, unless the log cannot have it from a shadow yet."""
        if self.world.projections[cell].level >= LEVEL:
            self.outbox.post(cell, events.PolicyAdopted(self.policy.digest, self.policy.to_json()))

    def open_asks(self):
        """Requests that wait for an answer: none, as nobody asks a shadow."""
        return []

    # --- requests ----------------------------------------------------------------------------------------------------

    def on_request(self, request, instance_uuids):
        """Decide for the instances of a copied request."""
        self.counts["requests"] += 1
        for uuid in instance_uuids:
            if uuid in self.waiting:
                self._end(self.waiting[uuid], Compared(compare.UNSEEN, "", "", "another request for the instance came"))
        if has_no_uuid(request):
            request = as_known(request, self.world)
        if request.check_only:
            request = request._replace(groups=())
        call = {uuid: self._decide(request, uuid) for uuid in instance_uuids}
        self._all_or_none(call)
        self.waiting.update(call)
        for waiting in call.values():
            self._look_if_late(waiting)
        for uuid in call.keys() & self._early.keys():
            self.on_choice(self._early.pop(uuid)[0])
        while len(self.waiting) > WAITING_MAX:
            self._end(
                next(iter(self.waiting.values())),
                Compared(compare.UNSEEN, "", "", "too many instances were waited for"),
            )

    def _decide(self, request, uuid):
        request = with_needed_members(request, self.world, self.policy, uuid)
        positions = tuple(
            events.CellPosition(
                cell, projection.epoch or "", projection.position, 0, 0, bool(self.world.table.cell_closed.get(cell))
            )
            for cell, projection in self.world.projections.items()
        )
        from_memory = len(self.world.in_flight.claims)
        seed, started = seed_of(request.request_id, uuid), self.clock.monotonic()
        decision = decide(
            self.world, self.chain, request, uuid, self.policy, seed, 0, max(0, self.policy.max_attempts - 1)
        )
        now = self.clock.monotonic()
        if decision.candidates and not request.check_only:
            self.memory.hold_own(claim_of(self.new_uuid(), uuid, request, decision.candidates[0]), now)
        evidence = pack(evidence_of(self.policy, decision, seed, request, positions))
        held = self._hosts_of(uuid)
        waiting = Waiting(uuid, request, decision, evidence, int((now - started) * 1e9), from_memory, held, now)
        waiting.is_blind = self._is_blind(waiting)
        return waiting

    def _all_or_none(self, call):
        """A request for several instances fails if one of them finds no host."""
        failed = next((waiting for waiting in call.values() if not waiting.ours.hosts), None)
        if failed is None or len(call) == 1:
            return
        for waiting in call.values():
            self.memory.let_go_of_own(waiting.uuid)
            if waiting.ours.hosts:
                waiting.outcome = failed.outcome
                waiting.ours = Ours((), f"no host for {failed.uuid} of the same request: {failed.ours.summary}")

    def _is_blind(self, waiting):
        if self.settings.has_allocations and not waiting.request.check_only:
            return any(self.world.table.cell_closed.values())
        return not self.sees_builds()

    def on_lost(self):
        """Copies of calls to compute hosts were lost, or cannot be read now: a choice may have been among them."""
        for waiting in self.waiting.values():
            waiting.is_blind |= waiting.request.check_only or not self.settings.has_allocations

    # --- what Nova chose ---------------------------------------------------------------------------------------------

    def on_choice(self, choice):
        """The conductor calls a host for an instance."""
        waiting = self.waiting.get(choice.instance_uuid)
        if choice.method == END:
            self.memory.forget(choice.instance_uuid)
        elif waiting is not None and waiting.request.request_id == choice.request_id:
            judged = self._judged(waiting, choice.host)
            self._end(waiting, self._compared(waiting, choice.host, judged), choice.host, choice.method)
        else:
            now = self.clock.monotonic()
            self._early[choice.instance_uuid] = choice, now
            if len(self._early) > EARLY_MAX:
                del self._early[next(iter(self._early))]
            self.memory.move(choice.instance_uuid, choice.host, self.policy, now)

    def _judge_written(self, record, named):
        for uuid, rows in hosts_in(record, named, self.world.table).items():
            waiting = self.waiting[uuid]
            waiting.judged |= {host: self._judged(waiting, host) for host in rows - waiting.held}

    def _look_for_choice(self, waiting):
        """The logs have another record that names the instance."""
        held = self._hosts_of(waiting.uuid)
        waiting.held &= held
        chosen = min(held - waiting.held, default=None)
        if chosen is not None and not waiting.request.check_only:
            judged = waiting.judged.get(chosen) or self._judged(waiting, chosen)
            self._end(waiting, self._compared(waiting, chosen, judged), chosen, ALLOCATIONS)

    def _look_if_late(self, waiting):
        """Nova's claim may be in the log already, if its scheduler was faster."""
        chosen = min(waiting.held - {*waiting.request.ignore_hosts}, default=None)
        if chosen is None or waiting.request.check_only or not self.settings.has_allocations:
            return
        written_ns = max(
            (
                projection.holders[waiting.uuid].written_ns
                for projection in self.world.projections.values()
                if waiting.uuid in projection.holders
            ),
            default=0,
        )
        if self.clock.now_ns() - written_ns < LATE_NS:
            compared = compare.compare(waiting.ours, chosen, None, is_late=True)
            self._end(waiting, compared, chosen, ALLOCATIONS)

    def _hosts_of(self, uuid):
        """Hosts on which an instance holds something, by the logs."""
        return {
            entry.host for projection in self.world.projections.values() for entry in projection.consumers.get(uuid, ())
        } - {NO_HOST}

    def _judged(self, waiting, host):
        """The Judged of a host beside ours; None for an unknown host; a Compared after a fault."""
        beside = waiting.ours.hosts[0] if waiting.ours.hosts else None
        try:
            with self.memory.without_own():
                return judge(self.world, self.chain, waiting.request, waiting.uuid, self.policy, host, beside)
        except Exception as fault:
            # A class of the deployment, or a fault of ours: neither may end the shadow.
            if not isinstance(fault, errors.NovaSchedError):
                LOG.debug("the fault of the comparison", exc_info=True)
            self.counts["faults"] += 1
            return Compared(
                compare.DIFFERENT if waiting.ours.hosts else compare.ONLY_NOVA,
                compare.FAULT,
                "",
                f"{host} cannot be judged: {fault!s:.200}",
            )

    def _compared(self, waiting, host, judged):
        if isinstance(judged, Compared) and host not in waiting.ours.hosts[:1]:
            return judged
        return compare.compare(
            waiting.ours, host, None if isinstance(judged, Compared) else judged, self.policy.host_subset_size
        )

    # --- the end -----------------------------------------------------------------------------------------------------

    def _end(self, waiting, compared, host=None, seen_in=""):
        """Record a comparison."""
        self.waiting.pop(waiting.uuid, None)
        self.memory.let_go_of_own(waiting.uuid)
        self.counts[compared.verdict] += 1
        log = LOG.info if compared.verdict in compare.DIFFERENCES else LOG.debug
        log("%s of %s: %s: %s", waiting.uuid, waiting.request.request_id, compared.verdict, compared.text)
        self.outbox.post(
            CELL0,
            events.DecisionCompared(
                waiting.request.request_id,
                waiting.uuid,
                waiting.outcome,
                waiting.ours.summary,
                waiting.ours.hosts,
                host,
                seen_in,
                *compared,
                waiting.from_memory,
                waiting.took_ns,
                waiting.evidence,
            ),
        )
        # What Nova chose counts from here on; where the log gets it, it is there.
        if host is not None and not (waiting.request.check_only or self.settings.has_allocations):
            counted = self.memory.remember(
                waiting.uuid, host, waiting.request, self.policy, self.clock.monotonic(), self._hosts_of(waiting.uuid)
            )
            self.counts["choices not counted"] += not counted

    def on_tick(self):
        """Give up what takes too long, and handle cells as a scheduler does."""
        now = self.clock.monotonic()
        for cell in self.states.down_for(self.cell_down_after):
            self.states.close(cell)
        self.states.look_for_reports()
        self.states.warn_of_backlogs()
        timeout = self.settings.choice_timeout
        for waiting in [each for each in self.waiting.values() if now - each.since >= timeout]:
            is_blind = waiting.is_blind or self._is_blind(waiting)
            self._end(waiting, compare.without_choice(waiting.ours, timeout, is_blind))
        for uuid in [uuid for uuid, (_, since) in self._early.items() if now - since >= EARLY_SECONDS]:
            del self._early[uuid]
        self.memory.let_go(now, OWN_SECONDS, self.settings.memory_seconds, self._hosts_of)
        self.outbox.retry()
