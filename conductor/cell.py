"""The conductor of one cell: builds on the claimed host, and on alternates that it claims itself.

It folds its own cell's log and nothing else, so a retry needs no call up to
the API level: claiming an alternate is an event in this log, and its outcome
is what the fold says.
"""

import logging
import threading

from conductor.build import Builder
from conductor.monitor import Monitor
from conductor.reaper import Reaper
from nova_sched.projection.projection import Projection
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
        #: Whoever looks at the projection holds it.
        self._lock = threading.Lock()
        self.projection = Projection(cell)
        self.builder = Builder(self.producer, self._agents, self.server_of, build_timeout, cancel_timeout)
        self.monitor = Monitor(service_down_time)
        self.reaper = Reaper(claim_ttl)
        bounds = self._log.bounds()
        self._catch_up = bounds.last
        self._caught_up = threading.Event()
        self._stopped = threading.Event()
        #: Why it cannot go on: a gap in its log.
        self.fault = None
        self._follower = Follower(self._log, bounds.first, self._on_records, self._on_fault, self.name)
        self._ticker = threading.Thread(target=self._tick_all, name=f"{self.name} tick", daemon=True)

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
            facts = projection_facts(self.projection)
        return {"name": self.name, "cell": self.cell, "fault": str(self.fault or self._appender.fault or "none"),
                "builds in flight": len(self.builder.building()), **facts, **log_facts(self._log, facts["position"])}

    # --- the log -----------------------------------------------------------------------------------------------

    def _on_records(self, records):
        try:
            with self._lock:
                outcomes, noted = self.projection.fold(records)
                servers = {note.host: self._server_of(note.host) for note in noted if note.resync and note.host}
                if self.projection.position >= self._catch_up:
                    self._caught_up.set()
        except errors.LogGap as gap:
            self._on_fault(gap)
            return
        self._follower.taken()
        self.builder.settle(outcomes)
        for host, server in servers.items():
            if server:
                LOG.info("host %s is asked for a full report", host)
                self._agents.report({}, server, host)

    def server_of(self, host):
        """Where the agent of a host answers, as its last report says; None for a host that is not known."""
        with self._lock:
            return self._server_of(host)

    def _server_of(self, host):
        known = self.projection.hosts.get(host)
        return known.server if known else None

    def _on_fault(self, fault):
        if isinstance(fault, errors.LogGap):
            LOG.error("%s stops: %s", self.name, fault)
            self.fault = fault
            self._caught_up.set()

    # --- RPC ---------------------------------------------------------------------------------------------------

    def build_instance(self, context, build):
        """Build an instance (a BuildRequest) on its first claim or, one after the other, its alternates."""
        return self.builder.build(context, build)

    def delete_instance(self, context, host, instance_uuid):
        """Have an instance deleted by the agent of its host."""
        server = self.server_of(host)
        if server is None:
            raise errors.UsageError(f"host {host} is not known in cell {self.cell}; name a host of this cell")
        return self._agents.delete_instance(context, server, host, instance_uuid)

    def beat(self, context, hosts):
        """Hosts are alive."""
        with self._lock:
            self.monitor.heard(hosts, self._clock.monotonic())

    # --- what time brings --------------------------------------------------------------------------------------

    def _tick_all(self):
        while not self._stopped.wait(TICK):
            try:
                self.tick()
            except errors.LogUnavailable as fault:
                LOG.warning("%s cannot append: %s", self.name, fault)

    def tick(self):
        """Say which hosts are lost or seen again, and which claims were not built in time."""
        now = self._clock.monotonic()
        building = self.builder.building()
        with self._lock:
            said = [*self.monitor.changes(self.projection.hosts, now),
                    *self.reaper.expired(self.projection.consumers, building, now)]
        if said:
            self.producer.publish(*said)
