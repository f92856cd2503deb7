"""The wire tap of a cell's conductor: a thread that reads copies of nova-compute's messages and publishes what changed.

A message is acknowledged when the events that follow from it are in the log. A message that cannot be read is counted,
logged and acknowledged: it must neither come again without end nor disturb Nova, which has its own copy.
"""

import logging
import threading
from collections import Counter

from conductor.tap.decode import Change, Ignored, Unread, decode
from conductor.tap.model import LEVEL, TapModel
from rpc_api import concurrency, errors
from rpc_api.bus.copies import QueueInUse
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)

#: Seconds to wait for messages, for the log, and between two attempts to open the queue.
READ_SECONDS = 0.5
LOG_STEP = 0.25
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
#: Seconds between two attempts while another conductor reads the queue.
STANDBY_PAUSE = 5.0
#: Seconds for a read that is under way when the conductor stops.
STOP_SECONDS = 2.0
READING, STANDBY, CLOSED = "reads", "another conductor reads", "is not connected"
PACKED = Unread("not-a-call", "a message whose compression cannot be read")


class Tap:
    """``source`` is a CopyQueue; ``lock`` is held while the engine of ``conductor`` (a CellConductor) is used."""

    def __init__(self, cell, source, conductor, lock, clock, service_down_time):
        self._cell = cell
        self._source = source
        self._conductor = conductor
        self._engine = conductor.engine
        self._lock = lock
        self._clock = clock
        self.state = CLOSED
        self.model = TapModel(service_down_time, clock.monotonic())
        #: Since when nothing is read (monotonic); None while messages are read.
        self._away_since = clock.monotonic()
        self._epoch = None
        #: Events that could not be queued yet.
        self._pending = []
        #: Numbers of messages that are used, that concern nobody here, and that cannot be used (by code).
        self.used = self.ignored = 0
        self.unread = Counter()
        #: How often messages were dropped.
        self.drops = 0
        #: Code -> count when it was logged last.
        self._logged = {}
        self._is_low_logged = False
        self._unsure_logged = False
        self._outage = Outage(f"the tap of {cell} reads nothing, and tries again", clock, LOG)
        self._stopped = threading.Event()
        self._thread = concurrency.vital_thread(self._run, f"tap of {cell}")

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What is not acknowledged comes again to the next reader."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def facts(self) -> dict:
        """Facts for the report of the process. Call it under the lock."""
        return {
            "tap": f"{self.state}, {self._source.url}",
            "tap messages": f"{self.used} used, {self.ignored} ignored; the queue was full {self.drops} times",
            "tap messages that cannot be used": dict(sorted(self.unread.items())) or "none",
            **{f"tap {name}": fact for name, fact in self.model.facts(self._engine.projection).items()},
        }

    def report_again(self, asked) -> None:
        """The log needs full reports of hosts (host -> server of its agent; it is empty for a host of Nova). Call it
        under the lock."""
        self.model.report_again([host for host, server in asked.items() if server == ""])

    def on_tick(self, now: float, usable: bool) -> None:
        """Publish what is due after the time that has passed, if the log is ``usable``. Call it under the lock."""
        if usable and self.state == READING and self._is_ready():
            self._publish_due(self.model.liveness(self._engine.projection, now), now)
            self._log_unsure()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self):
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                self.round()
                pause = 0.0
            except QueueInUse:
                if self.state != STANDBY:
                    LOG.info("the tap of %s waits: another conductor reads %s", self._cell, self._source.url)
                self._close(STANDBY)
                pause = STANDBY_PAUSE
            except Exception as fault:
                concurrency.report_if_out_of_threads(fault)
                if not isinstance(fault, errors.NovaSchedError):
                    # Whatever a message or a fault of ours does here, the other duties of the conductor go on.
                    LOG.debug("the fault of the tap", exc_info=True)
                self._close(CLOSED)
                self._outage.met(fault)
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._close(CLOSED)

    def round(self) -> None:
        """Open the queue if it is not open, and handle the messages that have arrived."""
        if self.state != READING:
            self._open()
        bodies = self._source.read(READ_SECONDS)
        is_done = bool(bodies) and self._take(bodies)
        # Not before: some of these messages may be older than those that were dropped.
        if self._source.has_dropped():
            self.drops += 1
            self._lost("its queue was full, and the broker dropped messages")
        if is_done:
            self._source.acknowledge()

    def _open(self):
        was_there = self._source.open()
        with self._lock:
            now = self._clock.monotonic()
            self.model.read_again(now - self._away_since, now)
            self.state, self._away_since = READING, None
        self._outage.over(f"the tap of {self._cell} reads again")
        LOG.info("the tap of %s reads %s", self._cell, self._source.url)
        if not was_there:
            self._lost("its queue is new, so that earlier messages are not in it")

    def _close(self, state):
        self._source.close()
        with self._lock:
            if self._away_since is None:
                self._away_since = self._clock.monotonic()
            self.state = state

    def _lost(self, why):
        with self._lock:
            self.model.messages_were_lost(self._engine.projection)
            count = len(self.model.unsure)
        self._unsure_logged = bool(count)
        LOG.warning(
            "the tap of %s missed messages: %s; the log may have older facts of %d hosts, until their nova-compute "
            "publishes them again",
            self._cell,
            why,
            count,
        )

    def _log_unsure(self):
        if self._unsure_logged and not self.model.unsure:
            self._unsure_logged = False
            LOG.warning("the tap of %s: the facts of all hosts are certain again", self._cell)

    def _take(self, bodies):
        """Handle messages; whether they are done."""
        found = [PACKED if body is None else decode(body) for body in bodies]
        while not self._engine.is_current or self._engine.projection.is_too_new:
            if self._stopped.wait(LOG_STEP):
                return False
            self._source.beat()
        with self._lock:
            now, projection = self._clock.monotonic(), self._engine.projection
            for item in found:
                self._count(item)
                fault = self._guarded(self.model.take, item, projection, now) if isinstance(item, Change) else None
                if fault is not None:
                    self._count(Unread("not-used", fault))
            ticket = self._publish_due((), now) if self._is_ready() else None
        while ticket is not None and not self._conductor.producer.wait(ticket, LOG_STEP):
            if self._stopped.is_set():
                return False
            self._source.beat()
        return True

    def _count(self, item):
        if isinstance(item, Change):
            self.used += 1
        elif isinstance(item, Ignored):
            self.ignored += 1
        else:
            self.unread[item.code] += 1
            count = self.unread[item.code]
            if count >= 2 * self._logged.get(item.code, 0):
                self._logged[item.code] = count
                LOG.warning("the tap of %s: %d times %s, the last one: %s", self._cell, count, item.code, item.reason)

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _is_ready(self):
        """Whether the log can have reports of a conductor."""
        engine = self._engine
        if not engine.is_current or engine.projection.is_too_new:
            return False
        is_low = engine.projection.level < LEVEL
        if is_low and not self._is_low_logged:
            LOG.warning(
                "the tap of %s publishes nothing: the log is at level %d, wanted %d; pin it (nova-sched pin)",
                self._cell,
                engine.projection.level,
                LEVEL,
            )
        self._is_low_logged = is_low
        return not is_low

    def _guarded(self, function, *arguments):
        """What a function of the model returns; None if it fails. A message that meets a fault of ours must not come
        again without end."""
        try:
            return function(*arguments)
        except Exception as fault:
            concurrency.report_if_out_of_threads(fault)
            LOG.debug("the fault of the tap", exc_info=True)
            self._count(Unread("internal-fault", f"{fault!r:.200}"))
            return None

    def _publish_due(self, more, now):
        """Queue what is due for the log, and ``more``; returns the ticket of the last event, None without any."""
        projection = self._engine.projection
        if projection.epoch != self._epoch:
            if self._epoch is not None:
                self.model.log_began()
            self._epoch = projection.epoch
        self._pending += [*(self._guarded(self.model.due, projection, now) or ()), *more]
        ticket = None
        while self._pending:
            try:
                ticket = self._conductor.publish(self._pending[0])
            except errors.InvalidEvent as fault:
                self._count(Unread("not-published", str(fault)))
            del self._pending[0]
        return ticket


class NoTap:
    """What a conductor without a tap has in its place."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def facts(self) -> dict:
        return {}

    def report_again(self, asked) -> None: ...

    def on_tick(self, now: float, usable: bool) -> None: ...


def tap_of(cell, source, conductor, lock, clock, service_down_time) -> Tap | NoTap:
    """The tap that reads a CopyQueue; one that does nothing if ``source`` is None."""
    return NoTap() if source is None else Tap(cell, source, conductor, lock, clock, service_down_time)
