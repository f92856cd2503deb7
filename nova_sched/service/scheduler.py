"""The scheduler service: the engine, the thread that owns it, and the logs around it."""

import logging
import queue
import threading
import uuid
from dataclasses import dataclass

from nova_sched.service.engine import CELL0, Ask, Engine
from rpc_api import errors, events
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from rpc_api.log.epoch import ensure_open
from rpc_api.log.follower import Follower
from rpc_api.log.publisher import Appender, Producer

LOG = logging.getLogger(__name__)

TICK = 0.25
#: Inputs taken from the queue before decisions are made on what they brought.
MAX_BATCH = 256


@dataclass(frozen=True)
class Cell:
    """A cell as the services know it: ``uuid`` is its CellMapping's, ``log`` the URL of its log."""

    name: str
    uuid: str
    log: str


class _CellLog:
    """The log of one cell, with the thread that appends to it and the one that follows it."""

    def __init__(self, cell, producer_name, clock, deliver):
        self.cell = cell
        self.log = open_log(cell.log)
        epoch = ensure_open(self.log, cell.name, producer_name, clock)
        self.appender = Appender(self.log, epoch, f"{producer_name} to {cell.name}")
        self.producer = Producer(self.appender, producer_name, clock)
        bounds = self.log.bounds()
        #: Position that must be folded before the service is ready.
        self.catch_up = bounds.last
        self.follower = Follower(self.log, bounds.first, lambda records: deliver("records", cell.name, records),
                                 lambda fault: deliver("fault", cell.name, fault), cell.name)

    def close(self, timeout):
        self.follower.stop()
        drained = self.appender.close(timeout)
        self.log.close()
        return drained


class Scheduler:
    """A scheduler over the logs of ``cells`` and of cell0.

    ``start`` opens the logs and folds what they hold; ``select`` may then be called from any thread.
    """

    def __init__(self, name, cell0: Cell, cells, policy, clock=SYSTEM, claim_timeout=30.0, cell_down_after=5.0,
                 on_noted=None):
        self.name = f"scheduler/{name}"
        self.cells = {cell.name: cell for cell in (cell0, *cells)}
        self._clock = clock
        self._inbox = queue.SimpleQueue()
        self._logs = {}
        self._ready = threading.Event()
        self._fault = None
        self._stopping = False
        self._on_noted = on_noted
        self.engine = Engine([cell.name for cell in cells], policy, self.name, self._publish,
                             lambda: str(uuid.uuid4()), clock, claim_timeout, cell_down_after)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self):
        """Open the logs and begin to fold and decide; raises LogUnavailable or LogGap for a log that is not usable."""
        for cell in self.cells.values():
            self._logs[cell.name] = _CellLog(cell, self.name, self._clock, self._deliver)
        policy = self.engine.policy
        self._publish(CELL0, events.PolicyAdopted(policy.digest, policy.to_json()))
        for one in self._logs.values():
            one.follower.start()
        self._thread.start()
        return self

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until all that the logs held at the start is folded; raises the fault that prevents it."""
        if not self._ready.wait(timeout):
            raise errors.LogUnavailable(f"{self.name} did not catch up with its logs within {timeout} s; "
                                        "see to their broker, or give it more time")
        if self._fault is not None:
            raise self._fault

    def select(self, request, instance_uuids, alternates):
        """Ask for hosts; returns a Future of one list of Placed for each instance, chosen first."""
        ask = Ask(request, instance_uuids, alternates, self._clock.monotonic())
        if self._stopping or self._fault is not None:
            ask.future.set_exception(self._fault or errors.LogClosed(
                f"{self.name} is stopping; ask another scheduler"))
        else:
            self._inbox.put(("ask", None, ask))
        return ask.future

    def call(self, function):
        """Run ``function(engine)`` in the owner's thread; returns a Future of its result (for tools and tests)."""
        from concurrent.futures import Future
        done = Future()
        self._inbox.put(("call", function, done))
        return done

    def set_policy(self, policy):
        """Decide by another policy from now on, and say so in cell0's log; returns a Future."""
        def adopt(engine):
            self._publish(CELL0, events.PolicyAdopted(policy.digest, policy.to_json()))
            engine.set_policy(policy)
        return self.call(adopt)

    @property
    def fault(self):
        """Why this scheduler stopped deciding for good; None while it decides."""
        return self._fault

    @property
    def logs(self):
        """Cell name -> its log, cell0's first."""
        return {name: one.log for name, one in self._logs.items()}

    def stop(self, timeout: float = 5.0) -> bool:
        """Stop taking requests, append what is waiting, and end the threads; True when nothing was left."""
        self._stopping = True
        self._inbox.put(("stop", None, None))
        if self._thread.is_alive():
            self._thread.join(timeout)
        return all([one.close(timeout) for one in self._logs.values()])

    # --- the owner's thread ------------------------------------------------------------------------------------

    def _deliver(self, kind, cell, content):
        self._inbox.put((kind, cell, content))

    def _publish(self, cell, *data):
        producer = self._logs[cell].producer
        producer.publish(*data)
        return producer.sequence

    def _run(self):
        next_tick = self._clock.monotonic() + TICK
        try:
            while True:
                batch = self._next_batch(max(0.0, next_tick - self._clock.monotonic()))
                # What the logs brought comes first, so that requests are decided on the newest state.
                for kind, cell, content in batch:
                    if kind == "records":
                        self._fold(cell, content)
                for kind, key, content in batch:
                    if kind == "stop":
                        return
                    self._handle(kind, key, content)
                if self._clock.monotonic() >= next_tick:
                    self.engine.on_tick()
                    next_tick = self._clock.monotonic() + TICK
        except errors.NovaSchedError as fault:
            self._give_up(fault)
        except Exception as fault:
            LOG.exception("%s met a fault of its own", self.name)
            self._give_up(errors.NovaSchedError(f"{self.name} met a fault of its own ({fault!r}); see its log"))

    def _next_batch(self, timeout):
        try:
            batch = [self._inbox.get(timeout=timeout)]
        except queue.Empty:
            return []
        while len(batch) < MAX_BATCH:
            try:
                batch.append(self._inbox.get_nowait())
            except queue.Empty:
                break
        return batch

    def _fold(self, cell, records):
        noted = self.engine.on_records(cell, records)
        self._logs[cell].follower.taken()
        if noted and self._on_noted:
            self._on_noted(cell, noted)
        if not self._ready.is_set() and all(
                self.engine.cloud.projections[name].position >= one.catch_up for name, one in self._logs.items()):
            self._ready.set()

    def _handle(self, kind, key, content):
        if kind == "ask":
            self.engine.on_ask(content)
        elif kind == "fault":
            if isinstance(content, errors.LogGap):
                raise content
            self.engine.on_fault(key, content)
        elif kind == "call":
            try:
                content.set_result(key(self.engine))
            except Exception as fault:
                content.set_exception(fault)

    def _give_up(self, fault):
        LOG.error("%s stops deciding: %s", self.name, fault)
        self._fault = fault
        self._ready.set()
        for ask in self.engine.open_asks():
            ask.future.set_exception(fault)
        while True:
            try:
                kind, _, content = self._inbox.get(timeout=0.1)
            except queue.Empty:
                if self._stopping:
                    return
                continue
            if kind in ("ask",):
                content.future.set_exception(fault)
            elif kind == "call":
                content.set_exception(fault)
            elif kind == "stop":
                return


def cell0_of(log: str) -> Cell:
    """The API level's own log as a cell (nova's cell0 has the nil uuid)."""
    return Cell(CELL0, "00000000-0000-0000-0000-000000000000", log)
