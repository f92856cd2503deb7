"""The conductor of one cell: builds on the claimed host, and on alternates that it claims itself.

It only folds its own cell's log, so a retry needs no call to the API level:
an alternate is claimed by an event in this log, and the fold gives the outcome.
This module has the threads, the log and the calls; the decisions are in
:mod:`conductor.engine`.
"""

import logging
import threading
from concurrent.futures import Future

from conductor.agent_casts import AgentCasts
from conductor.build import Call, ReadBack, call_agent
from conductor.engine import CellEngine
from conductor.keeping import Keeping
from conductor.losses import HostLosses
from conductor.tap.tap import tap_of
from nova_sched.process.backlog import Backlog
from nova_sched.process.cell_log import CellLog
from nova_sched.process.log_counts import LogCounts
from nova_sched.process.log_state import READ
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.tuning import collector_paused
from nova_sched.projection.projection import MISSED_PIN
from rpc_api import concurrency, errors, faults
from rpc_api.clock import SYSTEM
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts.agent import AgentAPI

LOG = logging.getLogger(__name__)

TICK = 1.0
READ_BACK_TIMEOUT = 30.0
#: Seconds between two checks of the conditions for the start.
WAIT_STEP = 0.25
#: Seconds to wait for a tick that is under way when the conductor stops.
TICK_SECONDS = 2.0
#: The log is far behind after so many seconds without reaching its end. Then it is folded for this share of the time,
#: so that beats and builds are handled in the other.
FAR_BEHIND_AFTER = 5.0
SHARE_FAR_BEHIND = 0.5


class CellConductor:
    """``bus`` is the cell's RPC bus, ``log_url`` the cell's log, ``checkpoints`` a Maker, or None if it writes none,
    ``tap_source`` a CopyQueue of nova-compute's messages, or None without a tap; times are in seconds."""

    RPC_METHODS = ("build_instance", "delete_instance", "beat")
    RPC_AT_ONCE = ("beat",)

    def __init__(
        self,
        name,
        cell,
        log_url,
        bus,
        clock=SYSTEM,
        service_down_time=60.0,
        claim_ttl=1200.0,
        build_timeout=agent_rpc.BUILD_TIMEOUT,
        cancel_timeout=agent_rpc.CANCEL_TIMEOUT,
        agent_topic=agent_rpc.TOPIC,
        store=None,
        snapshot_interval=600.0,
        require_accounts=None,
        checkpoints=None,
        tap_source=None,
    ):
        self.name = f"conductor/{name}"
        self.cell = cell
        self._clock = clock
        self._agents = AgentAPI(bus, agent_topic)
        self._timeouts = {"build_instance": build_timeout, "cancel_build": cancel_timeout}
        #: Its CellLog.
        self.log = CellLog(cell, log_url, self.name, self._on_log, clock, store, bool(require_accounts))
        #: Writes checkpoints into the log, and knows whether API writes may be taken.
        self.keeping = Keeping(self.log, lambda: self.engine, clock, checkpoints)
        self._store = store
        self._snapshot_interval = snapshot_interval
        #: Held while the engine is called, or its projection is read.
        self.lock = threading.Lock()
        self.engine = CellEngine(cell, self.name, self.publish, service_down_time, claim_ttl, require_accounts)
        #: Whether the state is up to date with the log: not at the start, and not while the log is read again.
        self._current = threading.Event()
        self._started = False
        #: The level of the log for which a snapshot was kept.
        self._level = 1
        #: Publishes what nova-computes publish.
        self.tap = tap_of(cell, tap_source, self, self.lock, clock, service_down_time)
        self._losses = HostLosses(cell)
        #: How far it is behind the log.
        self.backlog = Backlog(FAR_BEHIND_AFTER)
        self._casts = AgentCasts(self._agents, self.name, clock)
        self._counts = LogCounts(cell)
        self._stopped = threading.Event()
        #: The fault because of which it could not start, or cannot go on.
        self.fault = None
        #: Of the loop that takes the lock of the state once a second.
        self.pulse = Pulse("watch", clock, TICK)
        self._ticker = concurrency.vital_thread(self._tick_all, f"{self.name} tick")

    @property
    def projection(self):
        """The state of the cell. Without the lock, only what does not change may be read."""
        return self.engine.projection

    @property
    def producer(self):
        """Its producer in the cell's log."""
        return self.log.producer

    def publish(self, *data):
        """Append events in the forms of the log's level. Call it under the lock."""
        if self.projection.is_too_new:
            raise self.projection.unknown_level()
        self.producer.level = self.projection.level
        return self.producer.publish(*data)

    @property
    def _readable(self):
        return not self.engine.log_state.is_down(READ)

    def start(self, timeout=60.0):
        """Fold the records that the log has. If the log cannot be read now, wait without end; that time does not count
        for ``timeout``. Raises a fault that lasts until the operator changes something, and LogUnavailable if folding
        does not end in time."""
        self.log.start()
        self._ticker.start()
        self.keeping.start()
        waited = 0.0
        while not self._current.wait(min(WAIT_STEP, timeout)):
            waited = waited + WAIT_STEP if self._readable else 0.0
            if waited >= timeout:
                raise self.engine.beginning_is_lost or errors.LogUnavailable(
                    f"{self.name} did not catch up with {self.log.url} within {timeout} s; "
                    "check its broker, or give it more time"
                )
        if self.fault is not None:
            raise self.fault
        self._started = True
        self.tap.start()
        return self

    def stop(self, timeout=5.0) -> bool:
        """Append what is waiting and end the threads; True if nothing is left."""
        deadline = self._clock.monotonic() + timeout
        self._stopped.set()
        self.tap.stop()
        self.keeping.close()
        if self._ticker.is_alive():
            self._ticker.join(min(timeout, TICK_SECONDS))
        self._end_watch()
        return self.log.close(max(0.0, deadline - self._clock.monotonic()))

    def _end_watch(self):
        """Publish for how long it watched claims, unless another thread has the lock for long. Without that, claims are
        as old as after a crash."""
        if self.lock.acquire(timeout=TICK_SECONDS):
            try:
                self.engine.on_end(self._clock.monotonic())
            except errors.NovaSchedError as fault:
                LOG.warning("%s cannot publish for how long it watched claims: %s", self.name, fault)
            finally:
                self.lock.release()

    # --- the log -----------------------------------------------------------------------------------------------

    def _on_log(self, kind, content):
        try:
            if kind == "records":
                self._on_records(content)
            elif kind == "begin":
                self._on_begin(content)
            else:
                self._on_fault(content)
        except errors.NameTaken as fault:
            self.fault = fault
            self._current.set()
        except Exception as fault:
            concurrency.report_if_out_of_threads(fault)
            # After any other fault the state may be wrong: the process ends, and another one starts.
            LOG.error("%s met an internal fault: %r", self.name, fault)
            LOG.debug("the fault of the conductor", exc_info=True)
            self.fault = errors.NovaSchedError(f"{self.name} met an internal fault ({fault!r}); see its log")
            self._current.set()

    def _on_begin(self, beginning):
        self._current.clear()
        self.backlog.begin()
        try:
            with self.lock, collector_paused():
                self.engine.on_begin(beginning)
        except errors.NovaSchedError as fault:
            LOG.warning("the snapshot of %s is not used: %s", self.cell, fault)
            self.log.refuse_snapshot()
        self._look_at_level()
        self._look_how_far()

    def _on_records(self, batch):
        asked, began = {}, self._clock.monotonic()
        try:
            with self.lock:
                asked = self.engine.on_records(batch.records, began)
                self.tap.report_again(asked)
        except errors.LogGap as gap:
            LOG.warning("the log of %s is read again: %s", self.cell, gap)
            self.log.begin_anew()
        if self.engine.is_current:
            _follow_backlog(self.cell, self.backlog, batch, self._clock.monotonic())
        share = SHARE_FAR_BEHIND if self.backlog.is_far else 1.0
        self.log.taken(self.projection.level, self._clock.monotonic() - began, share)
        self._look_at_level()
        self._look_how_far()
        if self._current.is_set():
            self.log.check_heard(self.projection.producers.get(self.name))
        self._casts.ask_to_report(asked, self.projection)

    def _look_at_level(self):
        """Stop building in a log that is pinned to a level that we do not know, drop a snapshot that does not know the
        pin, and keep one as soon as the log is pinned: services of the level before must not start from theirs."""
        projection = self.projection
        if projection.is_too_new and self._readable:
            LOG.error("%s builds nothing any more: %s", self.name, projection.unknown_level())
            self._on_fault(projection.unknown_level())
        if projection.counts[MISSED_PIN]:
            self.log.doubt_snapshot()
        if projection.level > self._level and self.engine.is_current:
            self._level = projection.level
            self.keep_snapshot()

    def _look_how_far(self):
        if self.engine.is_current and not self._current.is_set():
            self.log.speak_after(self.projection.producers.get(self.name))
            with self.lock:
                asked = self.engine.hosts_to_ask()
            self._current.set()
            self._casts.ask_many_to_report(asked, self.projection)

    def _on_fault(self, fault):
        """Read the log again after a gap, and wait for an unreachable one; a lasting fault ends the start."""
        if fault is None and self.projection.is_too_new:
            return
        with self.lock:
            now = self._clock.monotonic()
            was_down_for = self.engine.log_state.fault(fault, READ, now)
            if was_down_for is not None:
                self.engine.monitor.heard_nothing_for(was_down_for, now)
        if fault is not None and not self._started and not faults.may_pass(fault):
            self.fault = fault
            self._current.set()

    # --- RPC ---------------------------------------------------------------------------------------------------

    def build_instance(self, context, build):
        """Build an instance (a BuildRequest) on its first claim, or else on its alternates in their order."""
        if not self._current.wait(READ_BACK_TIMEOUT):
            raise errors.LogUnavailable(
                f"the log of {self.cell} is being read again for more than {READ_BACK_TIMEOUT} s; check it"
            )
        if self.projection.is_too_new:
            raise errors.LogUnavailable(str(self.projection.unknown_level()))
        steps = self.engine.build(build)
        answer = fault = None
        while True:
            with self.lock:
                try:
                    step = steps.send(answer) if fault is None else steps.throw(fault)
                except StopIteration as end:
                    return end.value
                waiting = _waiting_for(self.engine, step)
            answer = fault = None
            try:
                answer = waiting.result(READ_BACK_TIMEOUT) if waiting else self._call(context, step)
            except (errors.NovaSchedError, TimeoutError) as met:
                fault = met

    def _call(self, context, step):
        return call_agent(self._agents, context, step, self._timeouts[step.method])

    def delete_instance(self, context, host, instance_uuid):
        """Have an instance deleted by the agent of its host."""
        with self.lock:
            server = self.engine.server_of(host)
            if server is None:
                raise errors.UsageError(f"host {host} is not known in cell {self.cell}; name a host of this cell")
            claims = self.engine.delete(instance_uuid)
        return self._agents.delete_instance(context, server, host, instance_uuid, claims)

    def beat(self, context, hosts, agent, epoch):
        """Hosts are alive; the agent that answers at ``agent`` reports for them in the log's incarnation ``epoch``."""
        with self.lock:
            unknown = self.engine.on_beat(agent, hosts, epoch, self._clock.monotonic())
        if self._readable:
            # Otherwise the log may be another one by now, and the agent may be right.
            self._casts.ask_to_report(dict.fromkeys(unknown, agent), self.projection)

    # --- ticks --------------------------------------------------------------------------------------------------

    def _tick_all(self):
        next_snapshot = self._clock.monotonic() + self._snapshot_interval
        while not self._stopped.wait(TICK):
            try:
                self.tick()
            except errors.LogUnavailable as fault:
                LOG.warning("%s cannot append: %s", self.name, fault)
            self.pulse.beat()
            if self._store is not None and self._clock.monotonic() >= next_snapshot:
                self.keep_snapshot()
                next_snapshot = self._clock.monotonic() + self._snapshot_interval

    def keep_snapshot(self):
        """Keep the state as a snapshot, for services that start later."""
        if not self.keeping.keep_snapshot():
            with self.lock:
                packed = self.engine.packed_state()
            self.keeping.store(packed)

    def tick(self):
        """Publish the events and log the lines that are due after the time that has passed."""
        with self.lock:
            self.engine.on_tick(self._clock.monotonic(), self._readable, self.log.fault is None)
            self.tap.on_tick(self._clock.monotonic(), self._readable and self.log.fault is None)
            counts = dict(self.projection.counts)
            servers = self.engine.agents_to_tell(self._clock.monotonic())
            epoch, level = self.projection.epoch, self.projection.level
            # While the log is read again its hosts are not known.
            lines = self._losses.look(self.projection.hosts, self._clock.monotonic()) if self.engine.is_current else ()
        for line in lines:
            LOG.warning("%s", line)
        self.keeping.look_at_beginning()
        self._counts.look(counts)
        self._casts.send_level(servers, epoch, level)


def _waiting_for(engine, step):
    """A Future of what a build waits for in the log; None if it waits for an agent."""
    if isinstance(step, Call):
        return None
    waiting = Future()
    if isinstance(step, ReadBack):
        engine.settled[step.claim_uuid] = waiting.set_result
    elif engine.projection.position >= step.position:
        waiting.set_result(None)
    else:
        engine.waiting.append((step.position, lambda: waiting.set_result(None)))
    return waiting


def _follow_backlog(cell, backlog, batch, now):
    """A batch of a cell's log was folded: log if the log is far behind, and when it is not any more."""
    changed = backlog.folded(batch.records, batch.at_end, now)
    if backlog.is_warning_due(now):
        LOG.warning("cell %s: %s", cell, backlog.why())
    elif changed and not backlog.is_far:
        LOG.warning("cell %s: its log is folded again as fast as it grows", cell)
