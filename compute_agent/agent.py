"""The compute agent: one process that speaks for one or several hosts.

For each host it says what is true, in the order in which it became true: the
whole state on start, on change and when asked; what starts and ends; and from
time to time the digest of it all.
"""

import logging
import threading

from compute_agent.drivers.base import BuildRefused
from rpc_api import digest, errors, events, messages
from rpc_api.clock import SYSTEM
from rpc_api.conductor import CellConductorAPI
from rpc_api.log import open_log
from rpc_api.log.epoch import ensure_open
from rpc_api.log.publisher import Appender, Producer
from rpc_api.packing import pack

LOG = logging.getLogger(__name__)

APPEND_TIMEOUT = 30.0


class HostVoice:
    """One host: its driver, and the producer that speaks for it."""

    def __init__(self, name, driver, producer, server):
        self.name = name
        self.driver = driver
        self.producer = producer
        self._server = server
        self.lock = threading.Lock()
        self._inventory = None
        self._said = None

    def _state(self):
        inventory = self.driver.inventory()
        if self._inventory is None or self._inventory[0] != inventory:
            packed = pack(inventory)
            self._inventory = (inventory, packed, digest.inventory_digest(packed))
        return self._inventory[1], self._inventory[2], self.driver.status()

    def report(self) -> int:
        """Publish the whole state; returns the ticket."""
        with self.lock:
            packed, _, status = self._state()
            consumers = self.driver.running()
            self._said = (packed, status)
            return self.producer.publish(events.HostReported(
                self.name, self._server, packed, status, pack(events.HostConsumers(consumers)),
                digest.consumers_digest(consumers)))

    def report_change(self) -> bool:
        """Publish the whole state if inventory or status changed since it was last said."""
        with self.lock:
            packed, _, status = self._state()
            same = self._said == (packed, status)
        if not same:
            self.report()
        return not same

    def confirm(self) -> None:
        """Publish the digest of what would be reported."""
        with self.lock:
            _, inventory_digest, status = self._state()
            self.producer.publish(events.HostConfirmed(self.name, digest.host_digest(
                inventory_digest, status, digest.consumers_digest(self.driver.running()))))


class Agent:
    """``drivers`` are the drivers of its hosts by name; ``server`` is its own name on the RPC bus."""

    def __init__(self, server, cell, log_url, bus, drivers, clock=SYSTEM, report_interval=10.0, confirm_interval=600.0):
        self.server = server
        self._clock = clock
        self._log = open_log(log_url)
        epoch = ensure_open(self._log, cell, f"compute_agent/{server}", clock)
        self._appender = Appender(self._log, epoch, f"agent {server}")
        self.hosts = {name: HostVoice(name, driver, Producer(self._appender, f"compute_agent/{name}", clock), server)
                      for name, driver in drivers.items()}
        self._conductors = CellConductorAPI(bus, cell)
        self._report_interval = report_interval
        self._confirm_interval = confirm_interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"agent {server}", daemon=True)

    def start(self, timeout: float = 60.0):
        """Report every host, durably, and begin to beat."""
        ticket = 0
        for voice in self.hosts.values():
            ticket = voice.report()
        if not self._appender.wait(ticket, timeout):
            raise errors.LogUnavailable(
                f"the agent {self.server} could not report to {self._log.url} within {timeout} s "
                f"({self._appender.fault or 'no answer'}); see to its broker")
        self._thread.start()
        return self

    def stop(self, timeout: float = 5.0):
        """Append what is waiting and end the threads; what runs goes on running."""
        self._stopped.set()
        self._appender.close(timeout)
        self._log.close()

    def _run(self):
        next_confirm = self._clock.monotonic() + self._confirm_interval
        while not self._stopped.wait(self._report_interval):
            try:
                self._conductors.beat({}, sorted(self.hosts))
                for voice in self.hosts.values():
                    voice.report_change()
                if self._clock.monotonic() >= next_confirm:
                    next_confirm = self._clock.monotonic() + self._confirm_interval
                    for voice in self.hosts.values():
                        voice.confirm()
            except Exception as fault:
                # A broker that is away must not end the agent: it is tried again at the next interval.
                LOG.warning("the agent %s could not beat or report, and tries again: %s", self.server, fault)

    # --- RPC ---------------------------------------------------------------------------------------------------

    def build_instance(self, context, claim):
        """Start the instance of a claim; its start is durable in the log when the answer is given."""
        voice = self._voice(claim.host)
        consumer = events.Consumer(claim.instance_uuid, claim.project_id, claim.allocations, claim.rule)
        with voice.lock:
            try:
                voice.driver.spawn(consumer)
            except BuildRefused as refused:
                return messages.BuildAnswer(False, str(refused))
            ticket = voice.producer.publish(events.InstanceStarted(claim.host, consumer))
        if not voice.producer.wait(ticket, APPEND_TIMEOUT):
            LOG.warning("%s runs on %s, its start is not in the log yet", claim.instance_uuid, claim.host)
        return messages.BuildAnswer(True, "")

    def delete_instance(self, context, host, instance_uuid):
        """End an instance; its end is durable in the log when the answer is given."""
        voice = self._voice(host)
        with voice.lock:
            voice.driver.destroy(instance_uuid)
            ticket = voice.producer.publish(events.InstanceDeleted(host, instance_uuid))
        voice.producer.wait(ticket, APPEND_TIMEOUT)

    def report(self, context, host):
        """Report a host in full."""
        self._voice(host).report()

    def _voice(self, host):
        voice = self.hosts.get(host)
        if voice is None:
            raise errors.UsageError(f"the agent {self.server} does not speak for host {host}; "
                                    "its hosts are named in its configuration")
        return voice
