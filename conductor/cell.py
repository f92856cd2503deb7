"""The conductor of one cell: builds on the claimed host, and on alternates that it claims itself.

It folds its own cell's log and nothing else, so a retry needs no call up to
the API level: claiming an alternate is an event in this log, and its outcome
is what the fold says.
"""

import logging
import threading
from concurrent.futures import Future

from conductor.monitor import Monitor
from conductor.reaper import Reaper
from nova_sched.projection.projection import Projection
from rpc_api import errors, events, messages
from rpc_api.agent import AgentAPI
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from rpc_api.log.epoch import ensure_open
from rpc_api.log.follower import Follower
from rpc_api.log.publisher import Appender, Producer

LOG = logging.getLogger(__name__)

READ_BACK_TIMEOUT = 30.0
TICK = 1.0


class CellConductor:
    """``bus`` is the cell's RPC bus, ``log_url`` the cell's log."""

    def __init__(self, name, cell, log_url, bus, clock=SYSTEM, service_down_time=60.0, claim_ttl=600.0):
        self.name = f"conductor/{name}"
        self.cell = cell
        self._clock = clock
        self._log = open_log(log_url)
        epoch = ensure_open(self._log, cell, self.name, clock)
        self._appender = Appender(self._log, epoch, self.name)
        self.producer = Producer(self._appender, self.name, clock)
        self._agents = AgentAPI(bus)
        self._lock = threading.Lock()
        self.projection = Projection(cell)
        self._claims = {}
        self._building = set()
        self.monitor = Monitor(service_down_time)
        self.reaper = Reaper(claim_ttl)
        bounds = self._log.bounds()
        self._catch_up = bounds.last
        self._caught_up = threading.Event()
        self._stopped = threading.Event()
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

    def stop(self, timeout=5.0):
        """Append what is waiting and end the threads."""
        self._stopped.set()
        self._follower.stop()
        self._appender.close(timeout)
        self._log.close()

    # --- the log -----------------------------------------------------------------------------------------------

    def _on_records(self, records):
        with self._lock:
            outcomes, noted = self.projection.fold(records)
            settled = [(self._claims.pop(outcome.claim_uuid), outcome.reason)
                       for outcome in outcomes if outcome.claim_uuid in self._claims]
            servers = {note.host: self._server_of(note.host) for note in noted if note.resync and note.host}
            if self.projection.position >= self._catch_up:
                self._caught_up.set()
        for waiting, reason in settled:
            waiting.set_result(reason)
        self._follower.taken()
        for host, server in servers.items():
            if server:
                LOG.info("host %s is asked for a full report", host)
                self._agents.report({}, server, host)

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
        attempts, reasons, allocations = 0, [], ()
        for number, claim in enumerate(build.claims):
            if attempts == build.max_attempts:
                break
            refused = self._claim(claim) if number else None
            if refused is not None:
                reasons.append(f"{claim.host}: claim refused: {refused}")
                continue
            attempts += 1
            answer = self._build_on(context, claim)
            if answer.started:
                return messages.BuildOutcome(build.instance_uuid, messages.BUILT, claim.host, claim.allocations,
                                             attempts, "")
            reasons.append(f"{claim.host}: {answer.reason}")
            final = attempts == build.max_attempts or number == len(build.claims) - 1
            self.producer.publish(
                events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, answer.reason),
                events.BuildFailed(build.instance_uuid, build.request_id, claim.host, attempts, answer.reason, final))
        reason = f"Exhausted all hosts after {attempts} attempts: " + "; ".join(reasons)
        LOG.info("instance %s of %s is not built: %s", build.instance_uuid, build.request_id, reason)
        return messages.BuildOutcome(build.instance_uuid, messages.MAX_RETRIES_EXCEEDED, None, allocations, attempts,
                                     reason)

    def _claim(self, claim):
        """Claim an alternate on the cell's log; None when it is accepted, else why not."""
        waiting = Future()
        with self._lock:
            self._claims[claim.claim_uuid] = waiting
        self.producer.publish(claim)
        try:
            return waiting.result(READ_BACK_TIMEOUT)
        except TimeoutError:
            return f"it was not read back within {READ_BACK_TIMEOUT} s"

    def _build_on(self, context, claim):
        with self._lock:
            server = self._server_of(claim.host)
            self._building.add(claim.claim_uuid)
        try:
            if server is None:
                return messages.BuildAnswer(False, "the host is not known in this cell")
            return self._agents.build_instance(context, server, claim)
        except Exception as fault:
            LOG.warning("the agent of %s did not build %s: %s", claim.host, claim.instance_uuid, fault)
            return messages.BuildAnswer(False, f"its agent did not answer: {fault}")
        finally:
            with self._lock:
                self._building.discard(claim.claim_uuid)

    def delete_instance(self, context, host, instance_uuid):
        """Have an instance deleted by the agent of its host."""
        with self._lock:
            server = self._server_of(host)
        if server is None:
            raise errors.UsageError(f"host {host} is not known in cell {self.cell}; name a host of this cell")
        return self._agents.delete_instance(context, server, host, instance_uuid)

    def beat(self, context, hosts):
        """Hosts are alive."""
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
        with self._lock:
            said = [*self.monitor.changes(self.projection.hosts, now),
                    *self.reaper.expired(self.projection.consumers, self._building, now)]
        if said:
            self.producer.publish(*said)


