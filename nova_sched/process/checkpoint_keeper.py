"""Write the checkpoints of a log into it, beside a service that follows it.

A thread of its own makes a checkpoint and appends it, part by part, so that what the service appends meanwhile comes
between the parts. The service waits for nothing of this.
"""

import logging
import threading
import uuid

from nova_sched.process.checkpoint_duty import CheckpointDuty
from nova_sched.process.checkpoints import PART_BYTES
from nova_sched.projection import snapshot
from rpc_api import concurrency, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

TICK = 1.0
#: Seconds for one part to be durable.
PART_SECONDS = 60.0
#: Seconds between two looks whether the first part was read back.
READ_BACK_STEP = 0.05
#: Seconds to wait for the thread when the service stops.
CLOSE_SECONDS = 2.0


class CheckpointKeeper:
    """``log`` is a CellLog, ``maker`` a Maker, and ``gate`` the WriteGate of the log."""

    def __init__(self, log, maker, gate, clock=SYSTEM):
        self._log, self._maker, self._gate = log, maker, gate
        self._clock = clock
        #: Number of checkpoints that were written, and that could not be written.
        self.written = self.failures = 0
        self._duty = CheckpointDuty(log.cell, log.producer_name, maker.limits)
        self._stopped, self._wants_snapshot = threading.Event(), threading.Event()
        self._thread = concurrency.vital_thread(self._run, f"{log.producer_name} checkpoints {log.cell}")

    def start(self) -> "CheckpointKeeper":
        """Start the thread."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Begin nothing more, and end the thread and the process that makes a state."""
        self._stopped.set()
        self._maker.close()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def keep_snapshot(self) -> None:
        """Have the present state made, and keep it in the snapshot store if there is one, not in the log."""
        if self._log.has_store:
            self._wants_snapshot.set()

    def tick(self) -> None:
        """Write a checkpoint if one is due, and name the newest one. Raises NovaSchedError."""
        now, seen = self._clock.monotonic(), self._log.checkpoints
        facts = self._gate.facts()
        if facts is None:
            return
        warning = self._duty.warning(seen, facts)
        if warning is not None:
            LOG.warning("%s", warning)
        if self._duty.is_naming_due(now, seen, facts):
            newest = seen.newest
            self._duty.named(now)
            self._publish(events.CheckpointNamed(newest.uuid, newest.position, newest.first, newest.last))
        if self._wants_snapshot.is_set():
            self._wants_snapshot.clear()
            self._log.keep(self._maker.make())
        why = self._duty.due(now, self._clock.now_ns(), seen, facts)
        if why is not None:
            LOG.info("%s writes a checkpoint of %s: %s", self._log.producer_name, self._log.cell, why)
            self._write()

    def _run(self):
        while not self._stopped.wait(TICK):
            try:
                self.tick()
            except (errors.NovaSchedError, OSError) as fault:
                if not self._stopped.is_set():
                    LOG.warning("the checkpoints of %s: %s", self._log.cell, fault)

    def _publish(self, *data):
        producer = self._log.producer
        producer.level = max(producer.level, self._gate.level)
        return producer.publish(*data)

    def _write(self):
        try:
            why_not = self._written()
        except (errors.NovaSchedError, OSError, MemoryError) as fault:
            why_not = str(fault) or repr(fault)
        if why_not is not None and not self._stopped.is_set():
            self.failures += 1
            self._duty.failed(self._clock.monotonic())
            LOG.warning("the checkpoint of %s is not written, and is tried again: %s", self._log.cell, why_not)

    def _written(self):
        """Make a checkpoint and append it; returns why that was not done, None if it was or need not be."""
        producer = self._log.producer
        incarnation = producer.epoch
        began = self._clock.monotonic()
        given_up = self._log.checkpoints.under_way()
        packed = self._maker.make()
        head = snapshot.head_of(packed)
        seen = self._log.checkpoints
        if head.epoch != seen.epoch:
            return f"it is of the log {head.epoch}, and the log is {seen.epoch} by now"
        if self._stopped.is_set() or self._is_superseded(head, seen):
            return None
        contents = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        checkpoint = str(uuid.uuid4())
        for part, content in enumerate(contents):
            if self._stopped.is_set():
                return None
            if self._log.producer.epoch != incarnation:
                return "the log was recreated, or another process has our name"
            ticket = self._publish(events.StateKept(checkpoint, head.position, part, len(contents), content))
            if not producer.wait(ticket, PART_SECONDS):
                return f"part {part + 1} of {len(contents)} was not appended within {PART_SECONDS:.0f} s"
            if part == 0 and len(contents) > 1 and self._is_second(checkpoint, head, given_up):
                return None
        LOG.info(
            "a checkpoint of %s is written: state at position %d, %s in %s, after %.1f s",
            self._log.cell,
            head.position,
            number_of(len(packed), "byte"),
            number_of(len(contents), "part"),
            self._clock.monotonic() - began,
        )
        self.written += 1
        if self._log.has_store:
            self._log.keep(packed)
        return None

    def _is_superseded(self, head, seen):
        """Whether another process wrote one meanwhile, or writes one now: the order of the log decides."""
        newest = seen.newest
        return (newest is not None and newest.position >= head.position) or self._duty.is_anothers_under_way(
            self._clock.monotonic(), seen
        )

    def _is_second(self, checkpoint, head, given_up):
        """Whether another process began one before ours, whose first part is in the log: that one goes on. Those that
        were ``given_up`` before we began do not count."""
        deadline = self._clock.monotonic() + PART_SECONDS
        while (ours := self._log.checkpoints.first_of(checkpoint)) is None:
            if self._stopped.wait(READ_BACK_STEP) or self._clock.monotonic() >= deadline:
                return False
        seen = self._log.checkpoints
        newest = seen.newest
        if newest is not None and newest.position >= head.position and newest.first < ours:
            return True
        return any(first < ours for uuid, first in seen.under_way().items() if uuid not in given_up)
