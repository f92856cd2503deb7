"""The conductor of one cell: builds on the claimed host, and on alternates that it claims itself.

It folds its own cell's log and nothing else, so a retry needs no call up to
the API level: claiming an alternate is an event in this log, and its outcome
is what the fold says. Here are its threads, its log and its calls; what it
decides is in :mod:`conductor.engine`.
"""

import logging
import threading
from concurrent.futures import Future

from conductor.build import ReadBack
from conductor.engine import CellEngine
from nova_sched.service.report import log_facts, projection_facts
from rpc_api import agent as agent_rpc
from rpc_api import errors
from rpc_api.agent import AgentAPI
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from rpc_api.log.epoch import ensure_open
from rpc_api.log.follower import Follower
from rpc_api.log.publisher import Appender, Producer

LOG = logging.getLogger(__name__)

TICK = 1.0
READ_BACK_TIMEOUT = 30.0


class CellConductor:
    """``bus`` is the cell's RPC bus, ``log_url`` the cell's log; times are in seconds."""

    RPC_METHODS = ("build_instance", "delete_instance", "beat")

    def __init__(self, name, cell, log_url, bus, clock=SYSTEM, service_down_time=60.0, claim_ttl=1200.0,
                 build_timeout=agent_rpc.BUILD_TIMEOUT, cancel_timeout=agent_rpc.CANCEL_TIMEOUT,
                 agent_topic=agent_rpc.TOPIC):
        self.name = f"conductor/{name}"
        self.cell = cell
        self._clock = clock
        self._log = open_log(log_url)
        epoch = ensure_open(self._log, cell, self.name, clock)
        self._appender = Appender(self._log, epoch, self.name)
        self.producer = Producer(self._appender, self.name, clock)
        self._agents = AgentAPI(bus, agent_topic)
        self._timeouts = {"build_instance": build_timeout, "cancel_build": cancel_timeout}
        #: Whoever calls the engine, or looks at its projection, holds it.
        self._lock = threading.Lock()
        self.engine = CellEngine(cell, self.producer.publish, service_down_time, claim_ttl)
        bounds = self._log.bounds()
        self._catch_up = bounds.last
        self._caught_up = threading.Event()
        self._stopped = threading.Event()
        #: Why it cannot go on: a gap in its log.
        self.fault = None
        self._follower = Follower(self._log, bounds.first, self._on_records, self._on_fault, self.name)
        self._ticker = threading.Thread(target=self._tick_all, name=f"{self.name} tick", daemon=True)

    @property
    def projection(self):
        """The state of the cell. Others than the owner of the lock may only look at what does not change."""
        return self.engine.projection

    def start(self, timeout=60.0):
        """Fold what the log holds; raises when that does not come to an end in time."""
        self._follower.start()
        if not self._caught_up.wait(timeout):
            raise errors.LogUnavailable(f"{self.name} did not catch up with {self._log.url} within {timeout} s; "
                                        "see to its broker, or give it more time")
        if self.fault is not None:
            raise self.fault
        self._ticker.start()
        return self

    def stop(self, timeout=5.0) -> bool:
        """Append what is waiting and end the threads; True when nothing was left."""
        self._stopped.set()
        if self._ticker.is_alive():
            self._ticker.join(timeout)
        self._follower.stop()
        drained = self._appender.close(timeout)
        self._log.close()
        return drained

    def report(self) -> dict:
        """What a person wants to know of it now."""
        with self._lock:
            facts = {"builds in flight": len(self.engine.building), **projection_facts(self.projection)}
        return {"name": self.name, "cell": self.cell, "fault": str(self.fault or self._appender.fault or "none"),
                **facts, **log_facts(self._log, facts["position"])}

    # --- the log -----------------------------------------------------------------------------------------------

    def _on_records(self, records):
        try:
            with self._lock:
                asked = self.engine.on_records(records)
        except errors.LogGap as gap:
            self._on_fault(gap)
            return
        if self.projection.position >= self._catch_up:
            self._caught_up.set()
        self._follower.taken()
        for host, server in asked.items():
            if server:
                LOG.info("host %s is asked for a full report", host)
                self._agents.report({}, server, host)

    def _on_fault(self, fault):
        if isinstance(fault, errors.LogGap):
            LOG.error("%s stops: %s", self.name, fault)
            self.fault = fault
            self._caught_up.set()

    # --- RPC ---------------------------------------------------------------------------------------------------

    def build_instance(self, context, build):
        """Build an instance (a BuildRequest) on its first claim or, one after the other, its alternates."""
        steps = self.engine.build(build)
        answer = fault = None
        while True:
            with self._lock:
                try:
                    step = steps.send(answer) if fault is None else steps.throw(fault)
                except StopIteration as end:
                    return end.value
                outcome = self._outcome_of(step)
            answer = fault = None
            try:
                answer = outcome.result(READ_BACK_TIMEOUT) if outcome else self._call(context, step)
            except (errors.NovaSchedError, TimeoutError) as met:
                fault = met

    def _outcome_of(self, step):
        """A Future of a claim's outcome, where that is what a build waits for."""
        if not isinstance(step, ReadBack):
            return None
        outcome = Future()
        self.engine.settled[step.claim_uuid] = outcome.set_result
        return outcome

    def _call(self, context, step):
        claim, timeout = step.claim, self._timeouts[step.method]
        if step.method == "build_instance":
            return self._agents.build_instance(context, step.server, claim, timeout)
        return self._agents.cancel_build(context, step.server, claim.host, claim.claim_uuid, claim.instance_uuid, timeout)

    def delete_instance(self, context, host, instance_uuid):
        """Have an instance deleted by the agent of its host."""
        with self._lock:
            server = self.engine.server_of(host)
        if server is None:
            raise errors.UsageError(f"host {host} is not known in cell {self.cell}; name a host of this cell")
        return self._agents.delete_instance(context, server, host, instance_uuid)

    def beat(self, context, hosts):
        """Hosts are alive."""
        with self._lock:
            self.engine.on_beat(hosts, self._clock.monotonic())

    # --- what time brings --------------------------------------------------------------------------------------

    def _tick_all(self):
        while not self._stopped.wait(TICK):
            try:
                self.tick()
            except errors.LogUnavailable as fault:
                LOG.warning("%s cannot append: %s", self.name, fault)

    def tick(self):
        """Say what time has brought."""
        with self._lock:
            self.engine.on_tick(self._clock.monotonic())
