"""One host as its agent knows it: its driver, and its producer in the log.

Starts and ends of the host's instances happen here, one after the other: each is done and published under one lock.
"""

import logging
import threading

from compute_agent.drivers.base import BuildRefused
from rpc_api import digest, errors, events, levels, messages
from rpc_api.clock import SYSTEM
from rpc_api.packing import pack

LOG = logging.getLogger(__name__)

#: Cancelled claims that a host remembers.
CANCELLED_KEPT = 1000
CANCELLED = "the build was cancelled"
#: Seconds from one full report of a host to the next one. Starts and ends of instances are not limited.
REPORT_PAUSE = 1.0


class HostVoice:
    """``server`` is where the host's agent answers RPC."""

    def __init__(self, name, driver, producer, server, clock=SYSTEM):
        self.name = name
        self._clock = clock
        self.driver = driver
        self.producer = producer
        self._server = server
        self.lock = threading.Lock()
        self._inventory = None
        self._said = None
        #: (Producer epoch, monotonic time) of the last full report.
        self._reported = (0, 0.0)
        #: Whether a report was asked for and is not made yet.
        self._asked = False
        #: Instance uuid -> uuid of the claim that it was started under, of those that this process started.
        self._claims = {}
        #: Uuids of claims under which nothing may start any more, oldest first (a dictionary for its order).
        self._cancelled = {}

    # --- reports on the whole host -----------------------------------------------------------------------------

    def _state(self):
        """What would be reported: the packed inventory, the packed providers if the log's level has them by themselves
        (else empty), and the status."""
        inventory, is_split = self.driver.inventory(), self.producer.level >= events.EVENTS["ProvidersReported"].LEVEL
        if self._inventory is None or self._inventory[0] != (inventory, is_split):
            providers = b""
            facts = inventory
            if is_split:
                providers = pack(events.ReportedProviders(inventory.providers))
                facts = inventory._replace(providers=(), root_uuid=inventory.providers[0].uuid)
            self._inventory = ((inventory, is_split), levels.pack_oldest(facts), providers)
        # In the form in which the log gets it: the digest that is confirmed is over this form.
        status = events.HostStatus(*levels.at(self.driver.status(), self.producer.level))
        return self._inventory[1], self._inventory[2], status

    def _report(self):
        # First of all: what is asked for from now on is not in this report.
        self._asked = False
        packed, providers, status = self._state()
        consumers = self.driver.running()
        try:
            if providers:
                # First, so that the log knows the host's root when it reads the report.
                self.producer.publish(events.ProvidersReported(self.name, providers))
            ticket = self.producer.publish(
                events.HostReported(
                    self.name,
                    self._server,
                    packed,
                    status,
                    pack(events.HostConsumers(consumers)),
                    digest.consumers_digest(consumers),
                )
            )
        except errors.NovaSchedError:
            # It could not be queued: the next round makes it.
            self._asked = True
            raise
        self._said = (packed, providers, status)
        self._reported = (self.producer.epoch, self._clock.monotonic())
        return ticket

    def report(self) -> int:
        """Publish the whole state; returns the ticket."""
        with self.lock:
            return self._report()

    def report_soon(self) -> None:
        """Publish the whole state now, or with the next :meth:`report_change` where an instance is starting right now,
        or the last report was a moment ago: an agent that is asked again and again must neither hold one thread for
        each time, nor flood the log."""
        self._asked = True
        self.report_change()

    def use_level(self, level: int) -> None:
        """Publish in the forms of a level from now on. If that is another one, the next round reports the host in full:
        what the older forms left out is new for the log."""
        if level != self.producer.level:
            self.producer.level = level
            self._asked = True

    def begin_anew(self, after: int) -> None:
        """Publish in an incarnation later than ``after``."""
        with self.lock:
            self.producer.begin_anew(after)

    def report_change(self) -> bool:
        """Publish the whole state if inventory or status changed since the last report, or if it was asked for. A host
        that is starting an instance right now is left for the next time: one slow start must not silence the agent's
        other hosts. So is a host whose last report, in the same incarnation, is less than REPORT_PAUSE old."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            if self._said == self._state() and not self._asked:
                return False
            epoch, reported_at = self._reported
            if epoch == self.producer.epoch and self._clock.monotonic() - reported_at < REPORT_PAUSE:
                return False
            self._report()
            return True
        finally:
            self.lock.release()

    def confirm(self) -> bool:
        """Publish the digest of what would be reported; False, and nothing, while an instance is starting."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            packed, providers, status = self._state()
            self.producer.publish(
                events.HostConfirmed(
                    self.name,
                    digest.host_digest(
                        digest.inventory_digest(packed, providers),
                        status,
                        digest.consumers_digest(self.driver.running()),
                    ),
                )
            )
            return True
        finally:
            self.lock.release()

    # --- what starts and ends ----------------------------------------------------------------------------------

    def build(self, claim):
        """Start the instance of a claim; returns a BuildAnswer, and the ticket of its start or None.

        Raises NovaSchedError if it is not known whether the instance runs.
        """
        consumer = events.Consumer(claim.instance_uuid, claim.project_id, claim.allocations, claim.rule, claim.guest)
        with self.lock:
            if claim.claim_uuid in self._cancelled:
                return messages.BuildAnswer(False, CANCELLED), None
            if self._runs(claim.instance_uuid):
                # One that was started by the process before us, under whatever claim, is taken for this one's.
                if self._claims.get(claim.instance_uuid, claim.claim_uuid) != claim.claim_uuid:
                    return messages.BuildAnswer(False, "the instance runs here already under another claim"), None
                return messages.BuildAnswer(True, ""), self._started(claim, consumer)
            try:
                self.driver.spawn(consumer)
            except BuildRefused as refused:
                return messages.BuildAnswer(False, str(refused)), None
            except Exception as fault:
                return self._failed(claim, fault), None
            if claim.claim_uuid in self._cancelled:
                self.driver.destroy(claim.instance_uuid)
                return messages.BuildAnswer(False, CANCELLED), None
            return messages.BuildAnswer(True, ""), self._started(claim, consumer)

    def _runs(self, instance_uuid):
        return any(consumer.instance_uuid == instance_uuid for consumer in self.driver.running())

    def _started(self, claim, consumer):
        self._claims[claim.instance_uuid] = claim.claim_uuid
        return self.producer.publish(events.InstanceStarted(claim.host, consumer))

    def _failed(self, claim, fault):
        """A driver failed unexpectedly: what it may have left is removed, else nothing is known of it."""
        LOG.error("the driver of %s failed to start %s: %r", self.name, claim.instance_uuid, fault)
        LOG.debug("the fault of the driver", exc_info=fault)
        try:
            self.driver.destroy(claim.instance_uuid)
        except Exception as second:
            raise errors.NovaSchedError(
                f"the driver of {self.name} failed to start {claim.instance_uuid} ({fault!r}) and to take it away "
                f"({second!r}); check the hypervisor"
            ) from None
        return messages.BuildAnswer(False, f"its driver failed: {fault!r}")

    def cancel(self, claim_uuid: str, instance_uuid: str) -> int | None:
        """Let an instance not run under a claim, neither now nor later; the ticket of its end, None if it had none.

        A start that goes on now is waited for, and undone.
        """
        self._forbid(claim_uuid)
        with self.lock:
            # As above, one that the process before us started is taken for this claim's.
            if not self._runs(instance_uuid) or self._claims.get(instance_uuid, claim_uuid) != claim_uuid:
                return None
            return self._end(instance_uuid)

    def _forbid(self, claim_uuid):
        """Let nothing start under a claim. Not under the lock: a start that holds it looks again
        before it says that the instance runs."""
        self._cancelled[claim_uuid] = True
        while len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.pop(next(iter(self._cancelled)), None)

    def delete(self, instance_uuid: str, claim_uuids=()) -> int:
        """End an instance, under whose claims nothing may start any more; returns the ticket of its end."""
        for claim_uuid in claim_uuids:
            self._forbid(claim_uuid)
        with self.lock:
            return self._end(instance_uuid)

    def _end(self, instance_uuid):
        self.driver.destroy(instance_uuid)
        self._claims.pop(instance_uuid, None)
        return self.producer.publish(events.InstanceDeleted(self.name, instance_uuid))
