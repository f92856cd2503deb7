"""The wire tap of a cell's conductor: a thread that reads copies of nova-compute's messages and publishes what changed.

A message is acknowledged when the events that follow from it are in the log. A message that cannot be read is counted,
logged and acknowledged: it must neither come again without end nor disturb Nova, which has its own copy.
"""

import logging

from conductor.tap.decode import Change, Ignored, Lost, Unread, decode
from conductor.tap.model import LEVEL, TapModel
from rpc_api import concurrency, errors
from rpc_api.bus.copy_reader import READING, CopyReader
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: Seconds to wait for the log.
LOG_STEP = 0.25
PACKED = Unread("not-a-call", "a message whose compression cannot be read")


class Tap(CopyReader):
    """``source`` is a CopyQueue; ``lock`` is held while the engine of ``conductor`` (a CellConductor) is used."""

    def __init__(self, cell, source, conductor, lock, clock, service_down_time):
        super().__init__(f"the tap of {cell}", source, clock, LOG)
        self._conductor = conductor
        self._engine = conductor.engine
        self._lock = lock
        self._clock = clock
        self.model = TapModel(service_down_time, clock.monotonic())
        #: Since when nothing is read (monotonic); None while messages are read.
        self._away_since = clock.monotonic()
        self._epoch = None
        #: Events that could not be queued yet.
        self._pending = []
        #: Numbers of messages that are used, and that concern nobody here.
        self.used = self.ignored = 0
        self._is_low_logged = False
        self._unsure_logged = False

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

    def opened(self, was_there):
        with self._lock:
            now = self._clock.monotonic()
            self.model.read_again(now - self._away_since, now)
            self._away_since = None
        if not was_there:
            why = "its queue is new, so that earlier messages are not in it"
            LOG.warning("%s missed messages: %s; %s", self.what, why, self.lost(why))

    def closed(self, state):
        with self._lock:
            if self._away_since is None:
                self._away_since = self._clock.monotonic()

    def lost(self, why):
        with self._lock:
            self.model.messages_were_lost(self._engine.projection)
            count = len(self.model.unsure)
        self._unsure_logged = bool(count)
        return (
            f"the log may have older facts of {number_of(count, 'host')}, until their nova-compute publishes them again"
        )

    def _host_lost(self, lost):
        self.model.host_lost_messages(lost.host)
        if lost.dropped:
            self._unsure_logged = True
            LOG.warning(
                "%s missed messages: the nova-compute of %s dropped %s; the log may have older facts of that host, "
                "until it is published again",
                self.what,
                lost.host,
                number_of(lost.dropped, "message"),
            )

    def _log_unsure(self):
        if self._unsure_logged and not self.model.unsure:
            self._unsure_logged = False
            LOG.warning("%s: the facts of all hosts are certain again", self.what)

    def take(self, copies):
        found = [PACKED if copy.body is None else decode(copy.body) for copy in copies]
        while not self._engine.is_current or self._engine.projection.is_too_new:
            if self._stopped.wait(LOG_STEP):
                return False
            self._source.beat()
        with self._lock:
            now, projection = self._clock.monotonic(), self._engine.projection
            for item in found:
                self._count(item)
                if isinstance(item, Lost):
                    self._host_lost(item)
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
        if isinstance(item, (Change, Lost)):
            self.used += 1
        elif isinstance(item, Ignored):
            self.ignored += 1
        else:
            self.count_unread(item.code, item.reason)

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _is_ready(self):
        """Whether the log can have reports of a conductor."""
        engine = self._engine
        if not engine.is_current or engine.projection.is_too_new:
            return False
        is_low = engine.projection.level < LEVEL
        if is_low and not self._is_low_logged:
            LOG.warning(
                "%s publishes nothing: the log is at level %d, wanted %d; pin it (nova-sched pin)",
                self.what,
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
