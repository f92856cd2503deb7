"""The scheduler service: the engine, the thread that owns it, and the logs around it."""

import logging
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass

from nova_sched.process.backlog import SHARE_FAR_BEHIND
from nova_sched.process.cell_log import CellLog, close_all
from nova_sched.process.log_counts import LogCounts
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.tuning import collector_paused
from nova_sched.projection.projection import MISSED_PIN
from nova_sched.scheduler.cell0_checkpoints import Cell0Keeping
from nova_sched.scheduler.engine import CELL0, Ask, Engine
from nova_sched.scheduler.inbox import Inbox
from nova_sched.scheduler.readiness import Readiness, readiness
from rpc_api import concurrency, errors, events, log_context
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

TICK = 0.25
#: Seconds for the conductor of a cell to rebase its log or to keep a snapshot, before a scheduler rebases the log.
REBASE_AFTER = 30.0
#: The same without a snapshot store: then only a conductor that is just starting may rebase it.
REBASE_AFTER_ALONE = 2.0
#: Number of requests to decide before the logs are read again, so that hosts that other schedulers claimed are not
#: tried.
ASKS_A_TURN = 4
#: Seconds between two checks of the conditions for the start.
WAIT_STEP = 0.25


@dataclass(frozen=True)
class Cell:
    """A cell: ``uuid`` is that of its CellMapping, ``log`` the URL of its log."""

    name: str
    uuid: str
    log: str


class Scheduler:
    """A scheduler over the logs of ``cells`` and of cell0.

    ``start`` opens and folds the logs; ``select`` may then be called from any thread. The scheduler starts from the
    snapshots in ``store``, a SnapshotStore, and saves the state of cell0's log there every ``snapshot_interval``
    seconds. ``checkpoints`` is a Maker of those of cell0's log, ``tracing`` a Tracing; each may be None."""

    def __init__(
        self,
        name,
        cell0: Cell,
        cells,
        policy,
        clock=SYSTEM,
        claim_timeout=30.0,
        cell_down_after=5.0,
        on_noted=None,
        store=None,
        snapshot_interval=600.0,
        require_accounts=None,
        checkpoints=None,
        tracing=None,
        role="scheduler",
        engine_class=Engine,
    ):
        self.name = f"{role}/{name}"
        self._tracing = tracing
        self.cells = {cell.name: cell for cell in (cell0, *cells)}
        self._clock = clock
        self._inbox = Inbox()
        self._logs = {}
        self._ready = threading.Event()
        #: The fault that ended this scheduler; None while it decides.
        self.fault = None
        self._stopping = False
        self._ended = False
        self._on_noted = on_noted
        self.store = store
        self.pulse = Pulse("decisions", clock, TICK)
        self.keeping = Cell0Keeping(checkpoints)
        self._snapshot_interval = snapshot_interval
        #: Logs that are not folded far enough yet for this scheduler to publish in them.
        self._silent = set()
        self._counts = {cell: LogCounts(cell) for cell in self.cells}
        #: Log -> the reason why it cannot be read now.
        self.faults = {}
        #: Whether the start waits for a log that cannot be read.
        self._waits_for_a_log = False
        self.engine = engine_class(
            [cell.name for cell in cells],
            policy,
            self.name,
            self._publish,
            lambda: str(uuid.uuid4()),
            clock,
            claim_timeout,
            cell_down_after,
            REBASE_AFTER_ALONE if store is None else REBASE_AFTER + 2 * snapshot_interval,
            require_accounts,
        )
        self.engine.world.table.cell_uuids.update((cell.name, cell.uuid) for cell in cells)
        self._thread = concurrency.vital_thread(self._run, self.name)

    def start(self):
        """Start to open and fold the logs: see :meth:`wait_ready`."""
        for cell in self.cells.values():
            self.engine.states.expect(cell.name)
            self._logs[cell.name] = CellLog(
                cell.name,
                cell.log,
                self.name,
                lambda kind, content, name=cell.name: self._inbox.put(kind, name, content),
                self._clock,
                self.store,
                bool(self.engine.account_rule.wanted),
            )
        for log in self._logs.values():
            log.start()
        self.keeping.start(self._logs[CELL0], self.engine, self.faults, self._clock)
        self._thread.start()
        return self

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until the records that the logs had at the start are folded.

        The log of cell0 is always needed. A cell whose log cannot be read is skipped, unless there is no other cell.
        Raise a fault that lasts until the operator changes something. For a fault that may pass, wait without end; that
        time does not count for ``timeout``."""
        waited = 0.0
        while not self._ready.wait(min(WAIT_STEP, timeout)):
            waited = 0.0 if self._waits_for_a_log else waited + WAIT_STEP
            if waited >= timeout:
                raise self.engine.states.lost_beginning or errors.LogUnavailable(
                    f"{self.name} did not catch up with its logs within {timeout} s; "
                    "check their broker, or raise the timeout"
                )
        if self.fault is not None:
            raise self.fault
        for name, fault in sorted(self.faults.items()):
            LOG.warning("%s starts without %s: %s", self.name, name, fault)

    def _look_if_ready(self):
        """Signal that the logs are folded, or that they cannot be."""
        if self._ready.is_set():
            return
        found = readiness(self.engine.states, self.faults, len(self.cells) - 1, self.store is not None)
        self._waits_for_a_log = found is Readiness.WAITS_FOR_A_LOG
        if found is Readiness.READY:
            self.engine.publish_policy()
            self._ready.set()

    def select(self, request, instance_uuids, alternates):
        """Ask for hosts. Return a Future of one list of Placed per instance; the chosen host is the first of a list."""
        ask = Ask(request, instance_uuids, alternates, self._clock.monotonic(), log_context.current())
        if self._stopping or self.fault is not None:
            ask.future.set_exception(self._why_not())
        else:
            ask.trace = None if self._tracing is None else self._tracing.begin(ask)
            self._inbox.put("ask", None, ask)
            if self._ended:
                self._inbox.turn_down_rest(self._why_not)
        return ask.future

    def _why_not(self):
        """The error for requests after the end. Not a UsageError, which would blame the request."""
        if self.fault is None:
            return errors.LogClosed(f"{self.name} is stopping; ask another scheduler")
        return errors.NovaSchedError(str(self.fault)) if isinstance(self.fault, errors.UsageError) else self.fault

    def refuse(self, request_id, instance_uuids, reason) -> None:
        """Record why a request is refused without a decision."""
        self.call(lambda engine: engine.on_not_readable(request_id, instance_uuids, reason))

    def call(self, function):
        """Run ``function(engine)`` in the owner's thread, and return a Future of its result."""
        done = Future()
        self._inbox.put("call", log_context.bound(function), done)
        if self._ended:
            self._inbox.turn_down_rest(self._why_not)
        return done

    def set_policy(self, policy):
        """Use another policy from now on, and publish it in cell0's log. Return a Future."""

        def adopt(engine):
            self._publish(CELL0, events.PolicyAdopted(policy.digest, policy.to_json()))
            engine.set_policy(policy)

        return self.call(adopt)

    @property
    def policy(self):
        """The present policy."""
        return self.engine.policy

    @property
    def logs(self):
        """Cell name -> its CellLog, cell0 first."""
        return dict(self._logs)

    def stop(self, timeout: float = 5.0) -> bool:
        """Stop taking requests, append waiting events, and end the threads. Return whether nothing was left."""
        deadline = self._clock.monotonic() + timeout
        self.keeping.close()
        self._stopping = True
        self._inbox.put("stop", None, None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return close_all(self._logs.values(), max(0.0, deadline - self._clock.monotonic()))

    # --- the owner's thread ------------------------------------------------------------------------------------

    def _publish(self, cell, *data):
        producer = self._logs[cell].producer
        if self.engine.world.projections[cell].is_too_new:
            raise self.engine.world.projections[cell].unknown_level()
        producer.level = self.engine.world.projections[cell].level
        producer.publish(*data)
        return producer.epoch, producer.sequence

    def _run(self):
        inbox = self._inbox
        next_tick = self._clock.monotonic() + TICK
        next_snapshot = self._clock.monotonic() + self._snapshot_interval
        try:
            while True:
                self.pulse.beat()
                inbox.take(0.0 if inbox.undecided else max(0.0, next_tick - self._clock.monotonic()))
                # Records of the logs come first, so that requests are decided on the newest state.
                for kind, cell, content in inbox.batch:
                    if kind in _FROM_LOGS:
                        _FROM_LOGS[kind](self, cell, content)
                for kind, key, content in inbox.batch:
                    if kind == "stop":
                        return self._end()
                    if kind == "call":
                        concurrency.settle(content, key, self.engine)
                inbox.batch = []
                for _ in range(min(ASKS_A_TURN, len(inbox.undecided))):
                    self.engine.on_ask(inbox.undecided.popleft())
                if self._clock.monotonic() >= next_tick:
                    for cell, log in self._logs.items():
                        self.engine.on_fault(cell, log.fault, "append")
                    for cell in self.engine.states.headless:
                        self._logs[cell].look_for_snapshot()
                    self.engine.on_tick()
                    for cell, projection in self.engine.world.projections.items():
                        self._counts[cell].look(projection.counts)
                    next_tick = self._clock.monotonic() + TICK
                if self.store is not None and self._clock.monotonic() >= next_snapshot:
                    self.keeping.keep_snapshot()
                    next_snapshot = self._clock.monotonic() + self._snapshot_interval
        except errors.NovaSchedError as fault:
            self._give_up(fault)
        except Exception as fault:
            LOG.exception("%s met an internal fault", self.name)
            own = errors.NovaSchedError(f"{self.name} met an internal fault ({fault!r}); see its log")
            own.__cause__ = fault
            self._give_up(own)

    # --- inputs of the logs -------------------------------------------------------------------------------------

    def _begin(self, cell, beginning):
        self._silent.add(cell)
        try:
            with collector_paused():
                self.engine.on_begin(cell, beginning)
        except errors.NovaSchedError as fault:
            LOG.warning("the snapshot of %s is not used: %s", cell, fault)
            self._logs[cell].refuse_snapshot()
        self._look_at_level(cell)
        self._learn_to_speak(cell)
        self._look_if_ready()

    def _fold(self, cell, batch):
        noted, began = (), self._clock.monotonic()
        try:
            noted = self.engine.on_records(cell, batch.records, batch.at_end)
        except errors.LogGap as gap:
            LOG.warning("the log of %s is read again from its beginning: %s", cell, gap)
            self.engine.on_fault(cell, gap)
            self._logs[cell].begin_anew()
        # Without requests nothing else needs the time.
        is_limited = self.engine.states.is_far_behind(cell) and (self._inbox.undecided or self.engine.open_asks())
        level, took = self.engine.world.projections[cell].level, self._clock.monotonic() - began
        self._logs[cell].taken(level, took, SHARE_FAR_BEHIND if is_limited else 1.0)
        self._look_at_level(cell)
        self._learn_to_speak(cell)
        if cell not in self._silent:
            self._logs[cell].check_heard(self.engine.world.projections[cell].producers.get(self.name))
        if noted and self._on_noted:
            self._on_noted(cell, noted)
        if not self._ready.is_set():
            self._look_if_ready()

    def _look_at_level(self, cell):
        """Close a cell whose log is pinned to a level that we do not know; drop a snapshot that does not know the
        pin."""
        projection = self.engine.world.projections[cell]
        if projection.is_too_new and cell not in self.faults:
            self._note_fault(cell, projection.unknown_level())
        if projection.counts[MISSED_PIN]:
            self._logs[cell].doubt_snapshot()

    def _learn_to_speak(self, cell):
        """Set our mark from the log's mark of an earlier process with our name, before we publish anything."""
        if cell in self._silent and not self.engine.states.is_behind(cell):
            self._silent.discard(cell)
            self._logs[cell].speak_after(self.engine.world.projections[cell].producers.get(self.name))

    def _note_fault(self, cell, fault):
        if fault is None and self.engine.world.projections[cell].is_too_new:
            return
        if fault is None:
            self.faults.pop(cell, None)
        else:
            self.faults[cell] = fault
        self.engine.on_fault(cell, fault)
        self._look_if_ready()

    def _give_up(self, fault):
        # Before the scheduler is ready, wait_ready raises the fault.
        LOG.log(logging.ERROR if self._ready.is_set() else logging.DEBUG, "%s stops deciding: %s", self.name, fault)
        self.fault = fault
        self._ready.set()
        concurrency.report_if_out_of_threads(fault.__cause__ or fault)
        self._answer_taken()
        self._inbox.turn_down_until_stop(self._why_not, lambda: self._stopping)

    def _answer_taken(self):
        """Answer all requests that were taken from the inbox and have no answer yet, with an error."""
        for future in (*(ask.future for ask in self.engine.open_asks()), *self._inbox.taken()):
            if not future.done():
                future.set_exception(self._why_not())

    def _end(self):
        """Answer all open requests with an error: the owner's thread ends."""
        self._answer_taken()
        self._ended = True
        self._inbox.turn_down_rest(self._why_not)


_FROM_LOGS = {"begin": Scheduler._begin, "records": Scheduler._fold, "fault": Scheduler._note_fault}


def cell0_of(log: str) -> Cell:
    """The API level's own log as a cell (nova's cell0 has the nil uuid)."""
    return Cell(CELL0, "00000000-0000-0000-0000-000000000000", log)
