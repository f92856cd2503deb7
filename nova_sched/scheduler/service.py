"""The scheduler service: the engine, the thread that owns it, and the logs around it."""

import logging
import queue
import threading
import uuid
from collections import deque
from dataclasses import dataclass

from nova_sched.process.cell_log import CellLog, close_all
from nova_sched.process.tuning import collector_paused
from nova_sched.projection import snapshot
from nova_sched.scheduler.engine import CELL0, Ask, Engine
from rpc_api import concurrency, errors, events, faults, log_context
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

TICK = 0.25
#: Seconds in which the conductor of a cell may rebase its log, or keep a snapshot of it, before a scheduler rebases it.
REBASE_AFTER = 30.0
#: The same where no snapshots are kept: only a conductor that is just starting may rebase it too.
REBASE_AFTER_ALONE = 2.0
#: Inputs taken from the queue before decisions are made on what they brought.
MAX_BATCH = 256
#: Requests decided before the logs are looked at again: what other schedulers claimed meanwhile need not be tried.
ASKS_A_TURN = 4
#: Seconds between two looks at what the start waits for.
WAIT_STEP = 0.25


@dataclass(frozen=True)
class Cell:
    """A cell as the services know it: ``uuid`` is its CellMapping's, ``log`` the URL of its log."""

    name: str
    uuid: str
    log: str


class Scheduler:
    """A scheduler over the logs of ``cells`` and of cell0.

    ``start`` opens the logs and folds what they hold; ``select`` may then be called from any thread. ``store`` is the
    SnapshotStore that it starts from, and keeps the state of cell0's log in every ``snapshot_interval`` seconds.
    """

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
    ):
        self.name = f"scheduler/{name}"
        self.cells = {cell.name: cell for cell in (cell0, *cells)}
        self._clock = clock
        self._inbox = queue.SimpleQueue()
        #: Requests that were taken from it and not decided yet.
        self._undecided = deque()
        self._logs = {}
        self._ready = threading.Event()
        self._fault = None
        self._stopping = False
        #: Whether its thread has ended, and handles nothing more.
        self._ended = False
        self._on_noted = on_noted
        self._store = store
        self._snapshot_interval = snapshot_interval
        #: Logs that were begun and not folded so far that we can speak in them.
        self._silent = set()
        #: Log -> why it cannot be read now.
        self._faults = {}
        #: Whether it cannot start before a log that is away comes.
        self._waits_for_a_log = False
        #: What was taken from the inbox and is not handled yet.
        self._batch = []
        self.engine = Engine(
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
        self.engine.cloud.table.cell_uuids.update((cell.name, cell.uuid) for cell in cells)
        self._thread = concurrency.vital_thread(self._run, self.name)

    def start(self):
        """Begin to open and fold the logs: see :meth:`wait_ready`."""
        for cell in self.cells.values():
            self.engine.states.expect(cell.name)
            self._logs[cell.name] = CellLog(
                cell.name,
                cell.log,
                self.name,
                lambda kind, content, name=cell.name: self._inbox.put((kind, name, content)),
                self._clock,
                self._store,
            )
        for log in self._logs.values():
            log.start()
        self._thread.start()
        return self

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until all that the logs held at the start is folded. A cell whose log cannot be read is not waited for,
        unless there is no other; cell0's is always needed. Raises the fault that prevents it, if that lasts until a
        person changes something; what may pass is waited for without end, and does not count for ``timeout``."""
        waited = 0.0
        while not self._ready.wait(min(WAIT_STEP, timeout)):
            waited = 0.0 if self._waits_for_a_log else waited + WAIT_STEP
            if waited >= timeout:
                raise errors.LogUnavailable(
                    f"{self.name} did not catch up with its logs within {timeout} s; "
                    "see to their broker, or give it more time"
                )
        if self._fault is not None:
            raise self._fault
        for name, fault in sorted(self._faults.items()):
            LOG.warning("%s starts without %s: %s", self.name, name, fault)

    def _look_if_ready(self):
        """Say so when the logs are folded, or cannot be."""
        if self._ready.is_set() or self.engine.states.waiting_for:
            return
        down = self.engine.states.unreadable
        unknown = self.engine.states.headless
        if CELL0 in unknown:
            return  # it is going to be rebased
        if self._store is None and unknown and CELL0 not in down and len({*down, *unknown}) == len(self.cells) - 1:
            return  # there is nothing that it could answer yet, and the logs are going to be rebased
        wanted = [CELL0] if CELL0 in down else down if len(down) == len(self.cells) - 1 else []
        self._waits_for_a_log = any(faults.may_pass(self._faults[cell]) for cell in wanted)
        if self._waits_for_a_log:
            return
        if wanted:
            fault = self._faults[wanted[0]]
            raise type(fault)(str(fault))
        wrong = next((fault for fault in self._faults.values() if isinstance(fault, errors.UsageError)), None)
        if wrong is not None:
            raise errors.UsageError(str(wrong))
        self._publish(CELL0, events.PolicyAdopted(self.engine.policy.digest, self.engine.policy.to_json()))
        self._ready.set()

    def select(self, request, instance_uuids, alternates):
        """Ask for hosts; returns a Future of one list of Placed for each instance, chosen first."""
        ask = Ask(request, instance_uuids, alternates, self._clock.monotonic(), log_context.current())
        if self._stopping or self._fault is not None:
            ask.future.set_exception(self._why_not())
        else:
            self._inbox.put(("ask", None, ask))
            if self._ended:
                self._answer_rest()
        return ask.future

    def _why_not(self):
        """Why nothing is decided any more. Not a UsageError, which would blame the request."""
        if self._fault is None:
            return errors.LogClosed(f"{self.name} is stopping; ask another scheduler")
        return errors.NovaSchedError(str(self._fault)) if isinstance(self._fault, errors.UsageError) else self._fault

    def refuse(self, request_id, instance_uuids, reason) -> None:
        """Record why a request is not asked for at all."""
        self.call(lambda engine: engine.on_refused(request_id, instance_uuids, reason))

    def call(self, function):
        """Run ``function(engine)`` in the owner's thread; returns a Future of its result (for tools and tests)."""
        from concurrent.futures import Future

        done = Future()
        self._inbox.put(("call", log_context.bound(function), done))
        if self._ended:
            self._answer_rest()
        return done

    def set_policy(self, policy):
        """Decide by another policy from now on, and say so in cell0's log; returns a Future."""

        def adopt(engine):
            self._publish(CELL0, events.PolicyAdopted(policy.digest, policy.to_json()))
            engine.set_policy(policy)

        return self.call(adopt)

    @property
    def policy(self):
        """What it decides by now."""
        return self.engine.policy

    @property
    def fault(self):
        """Why this scheduler stopped deciding for good; None while it decides."""
        return self._fault

    @property
    def logs(self):
        """Cell name -> its CellLog, cell0's first."""
        return dict(self._logs)

    def stop(self, timeout: float = 5.0) -> bool:
        """Stop taking requests, append what is waiting, and end the threads; True when nothing was left."""
        deadline = self._clock.monotonic() + timeout
        self._stopping = True
        self._inbox.put(("stop", None, None))
        if self._thread.is_alive():
            self._thread.join(timeout)
        return close_all(self._logs.values(), max(0.0, deadline - self._clock.monotonic()))

    # --- the owner's thread ------------------------------------------------------------------------------------

    def _publish(self, cell, *data):
        producer = self._logs[cell].producer
        producer.publish(*data)
        return producer.epoch, producer.sequence

    def _run(self):
        next_tick = self._clock.monotonic() + TICK
        next_snapshot = self._clock.monotonic() + self._snapshot_interval
        try:
            while True:
                self._take(self._next_batch(0.0 if self._undecided else max(0.0, next_tick - self._clock.monotonic())))
                # What the logs brought comes first, so that requests are decided on the newest state.
                for kind, cell, content in self._batch:
                    if kind in _FROM_LOGS:
                        _FROM_LOGS[kind](self, cell, content)
                for kind, key, content in self._batch:
                    if kind == "stop":
                        return self._end()
                    if kind == "call":
                        concurrency.settle(content, key, self.engine)
                self._batch = []
                for _ in range(min(ASKS_A_TURN, len(self._undecided))):
                    self.engine.on_ask(self._undecided.popleft())
                if self._clock.monotonic() >= next_tick:
                    for cell, log in self._logs.items():
                        self.engine.on_fault(cell, log.fault, "append")
                    for cell in self.engine.states.headless:
                        self._logs[cell].look_for_snapshot()
                    self.engine.on_tick()
                    next_tick = self._clock.monotonic() + TICK
                if self._store is not None and self._clock.monotonic() >= next_snapshot:
                    self._keep_snapshot()
                    next_snapshot = self._clock.monotonic() + self._snapshot_interval
        except errors.NovaSchedError as fault:
            self._give_up(fault)
        except Exception as fault:
            LOG.exception("%s met a fault of its own", self.name)
            own = errors.NovaSchedError(f"{self.name} met a fault of its own ({fault!r}); see its log")
            own.__cause__ = fault
            self._give_up(own)

    def _take(self, batch):
        """Note a batch of the inbox in such a way that none of its requests is forgotten, whatever happens next."""
        self._batch = batch
        self._undecided.extend(content for kind, _, content in batch if kind == "ask")

    def _keep_snapshot(self):
        """Keep the state of cell0's log, once it is known; the other logs have conductors, who see to it."""
        if not self.engine.states.is_behind(CELL0):
            self._logs[CELL0].keep(snapshot.dump(self.engine.cloud.projections[CELL0]))

    def _next_batch(self, timeout):
        try:
            batch = [self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()]
        except queue.Empty:
            return []
        while len(batch) < MAX_BATCH:
            try:
                batch.append(self._inbox.get_nowait())
            except queue.Empty:
                break
        return batch

    # --- what the logs bring -----------------------------------------------------------------------------------

    def _begin(self, cell, beginning):
        self._silent.add(cell)
        try:
            with collector_paused():
                self.engine.on_begin(cell, beginning)
        except errors.NovaSchedError as fault:
            LOG.warning("the snapshot of %s is not used: %s", cell, fault)
            self._logs[cell].refuse_snapshot()
        self._learn_to_speak(cell)
        self._look_if_ready()

    def _fold(self, cell, records):
        try:
            noted = self.engine.on_records(cell, records)
        except errors.LogGap as gap:
            LOG.warning("the log of %s is read anew: %s", cell, gap)
            self.engine.on_fault(cell, gap)
            self._logs[cell].begin_anew()
            noted = ()
        self._logs[cell].taken()
        self._learn_to_speak(cell)
        if cell not in self._silent:
            self._logs[cell].check_heard(self.engine.cloud.projections[cell].producers.get(self.name))
        if noted and self._on_noted:
            self._on_noted(cell, noted)
        if not self._ready.is_set():
            self._look_if_ready()

    def _learn_to_speak(self, cell):
        """What the log knows of an earlier process of our name bounds how we may speak; before we say anything."""
        if cell in self._silent and not self.engine.states.is_behind(cell):
            self._silent.discard(cell)
            self._logs[cell].speak_after(self.engine.cloud.projections[cell].producers.get(self.name))

    def _note_fault(self, cell, fault):
        if fault is None:
            self._faults.pop(cell, None)
        else:
            self._faults[cell] = fault
        self.engine.on_fault(cell, fault)
        self._look_if_ready()

    def _give_up(self, fault):
        # Before it is ready, whoever waits for that says so.
        LOG.log(logging.ERROR if self._ready.is_set() else logging.DEBUG, "%s stops deciding: %s", self.name, fault)
        self._fault = fault
        self._ready.set()
        concurrency.report_if_out_of_threads(fault.__cause__ or fault)
        self._answer_taken()
        while True:
            try:
                kind, _, content = self._inbox.get(timeout=0.1)
            except queue.Empty:
                if self._stopping:
                    return
                continue
            if kind == "stop":
                return
            self._turn_down(kind, content)

    def _answer_taken(self):
        """Answer whatever was taken from the inbox and is not answered yet: nothing is decided any more."""
        waiting = [ask.future for ask in (*self.engine.open_asks(), *self._undecided)]
        for future in (*waiting, *(content for kind, _, content in self._batch if kind == "call")):
            if not future.done():
                future.set_exception(self._why_not())

    def _end(self):
        """Nobody is left to decide: what was asked and is not answered gets an error."""
        self._answer_taken()
        self._ended = True
        self._answer_rest()

    def _answer_rest(self):
        """Answer what came into the inbox too late; from any thread."""
        while batch := self._next_batch(0.0):
            for kind, _, content in batch:
                self._turn_down(kind, content)

    def _turn_down(self, kind, content):
        if kind in ("ask", "call"):
            (content.future if kind == "ask" else content).set_exception(self._why_not())


_FROM_LOGS = {"begin": Scheduler._begin, "records": Scheduler._fold, "fault": Scheduler._note_fault}


def cell0_of(log: str) -> Cell:
    """The API level's own log as a cell (nova's cell0 has the nil uuid)."""
    return Cell(CELL0, "00000000-0000-0000-0000-000000000000", log)
