"""Publish to a log: producers number their events, and one appender per log batches and appends waiting events."""

import logging
import threading
from collections.abc import Callable

from rpc_api import codec, concurrency, errors, faults
from rpc_api.clock import SYSTEM, Clock
from rpc_api.events.schema import FrozenRecord
from rpc_api.histogram import Histogram
from rpc_api.log.port import EventLog
from rpc_api.waiting import Outage
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
#: Seconds in which the reader of a deleted log can recreate it, and call :meth:`Appender.use`. If the appender wrote
#: earlier, a record of the old epoch would be the first one of the new log.
GONE_PAUSE = 5.0
MAX_WAITING = 100_000
#: What a record gets at most. Readers accept far more, but fold a record as a whole, and do nothing else meanwhile.
RECORD_EVENTS = 500
RECORD_BYTES = 256 * 1024
#: Seconds for an idle thread to end.
CLOSE_SECONDS = 1.0


class Appender:
    """Appends to one log, from a thread of its own.

    Waiting events are appended in one batch, so that many small events cost one round trip. Without an ``epoch`` it
    waits until :meth:`use` sets one. While a log is unreachable, the appender tries again with the same bytes: readers
    drop the duplicates.
    """

    def __init__(self, log: EventLog, epoch: str | None, name: str = "", clock: Clock = SYSTEM) -> None:
        self.log = log
        self.epoch = epoch
        self.name = name
        self._clock = clock
        #: How long the first event of each batch waited until it was durable.
        self.waited = Histogram()
        self._first_queued_at = 0.0
        self._changed = threading.Condition()
        #: Packed events in their order, in runs of one level. An event keeps the level with which it was queued.
        self._waiting: list[tuple[int, list[bytes]]] = []
        self._queued = 0
        self._durable = 0
        self._closed = False
        self._fault: Exception | None = None
        self._outage = Outage(f"{name} cannot append, and keeps trying", log=LOG)
        self._thread = concurrency.vital_thread(self._run, f"append {name}")
        self._thread.start()

    def queue(self, pack_events: Callable[[], list[bytes]], level: int = 1) -> int:
        """Queue the packed events that ``pack_events()`` returns, in the order of the calls, for records of a level;
        returns a ticket.

        Raises LogClosed when the appender is closed, LogUnavailable when more than ``MAX_WAITING`` events wait.
        """
        with self._changed:
            if self._closed:
                raise errors.LogClosed(f"cannot append to {self.log.url}: this service is stopping")
            waiting = sum(len(packed) for _, packed in self._waiting)
            if waiting >= MAX_WAITING:
                raise errors.LogUnavailable(
                    f"{number_of(waiting, 'event waits', 'events wait')} for {self.log.url}, wanted less than "
                    f"{MAX_WAITING}; check the log's broker"
                )
            packed = pack_events()
            if not self._waiting:
                self._first_queued_at = self._clock.monotonic()
            if not self._waiting or self._waiting[-1][0] != level:
                self._waiting.append((level, []))
            self._waiting[-1][1].extend(packed)
            self._queued += len(packed)
            self._changed.notify_all()
            return self._queued

    def wait(self, ticket: int, timeout: float | None = None) -> bool:
        """Wait until all events up to a ticket are durable; False if they are not in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._durable >= ticket or not self._thread.is_alive(), timeout)
            return self._durable >= ticket

    @property
    def waiting(self) -> int:
        """Number of events that are not durable yet."""
        return self._queued - self._durable

    @property
    def fault(self) -> str | None:
        """Why the log cannot be appended to now; None while it can."""
        met = self._fault
        return None if met is None else str(met) or repr(met)

    @property
    def refusal(self) -> errors.NovaSchedError | None:
        """The fault, if it lasts until a person changes something."""
        met = self._fault
        return met if isinstance(met, errors.NovaSchedError) and not faults.may_pass(met) else None

    def use(self, log: EventLog, epoch: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Append to another log from now on: to the recreated log, or to the same log opened again. Waiting events go
        there; ``meanwhile()`` is called while nothing can be queued."""
        with self._changed:
            self.log, self.epoch = log, epoch
            meanwhile()
            self._changed.notify_all()

    def pause(self) -> None:
        """Append nothing until :meth:`use` is called: another log may be in the place of ours."""
        with self._changed:
            self.epoch = None

    def close(self, timeout: float = 5.0) -> bool:
        """Append waiting events, for at most ``timeout`` seconds, and stop; True if all were appended.

        An append that hangs ends when the log is closed.
        """
        self.wait(self._queued, timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(min(timeout, CLOSE_SECONDS))
        if self._durable < self._queued:
            events = number_of(self._queued - self._durable, "event was", "events were")
            LOG.error("%s not appended to %s", events, self.log.url)
        return self._durable >= self._queued

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                batch, self._waiting = self._waiting, []
                last, queued_at = self._queued, self._first_queued_at
            if not self._append(batch):
                return
            self.waited.add(self._clock.monotonic() - queued_at)
            with self._changed:
                self._durable = last
                self._changed.notify_all()

    def _append(self, batch: list[tuple[int, list[bytes]]]) -> bool:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.epoch is not None or self._closed)
                if self.epoch is None:
                    return False
                log, epoch = self.log, self.epoch
            try:
                log.append(
                    [
                        record
                        for level, run in batch
                        for record in codec.encode_records(epoch, run, level, RECORD_EVENTS, RECORD_BYTES)
                    ]
                )
                self._outage.over(f"{self.name} can append to {self.log.url} again")
                self._fault = None
                return True
            except Exception as fault:
                # Any fault: waiting events must not be lost, and this thread must not end, so the append is tried
                # again.
                if not isinstance(fault, errors.NovaSchedError):
                    LOG.debug("the fault of the appender", exc_info=True)
                self._outage.met(fault)
                self._fault = fault
                gone = isinstance(fault, errors.LogGone)
            if self._wait_for_other_log(log, GONE_PAUSE if gone else pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wait_for_other_log(self, log: EventLog, seconds: float) -> bool:
        """Wait until another log is used than ``log``, for ``seconds`` at most; True when the appender is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.log is not log, seconds)
            return self._closed


class Producer:
    """A producer ``role/name`` of a log in one incarnation: its events are numbered 1, 2, 3."""

    def __init__(self, appender: Appender, name: str, clock: Clock = SYSTEM, epoch: int | None = None) -> None:
        self.appender = appender
        self.name = name
        self.epoch = epoch or clock.now_ns()
        #: Sequence of the last event that was published.
        self.sequence = 0
        #: The level of the log as far as the owner knows: events are published in its forms (:mod:`rpc_api.levels`).
        self.level = 1
        self._clock = clock

    def begin_anew(self, after: int = 0) -> None:
        """Start a new incarnation, later than ``after``: in a recreated log, or if the log has a later incarnation than
        our clock. Nothing may be published meanwhile."""
        self.epoch = max(self._clock.now_ns(), self.epoch + 1, after + 1)
        self.sequence = 0

    def publish(self, *data: FrozenRecord) -> int:
        """Queue frozen records as events; returns a ticket for :meth:`wait`.

        Raises TooLarge for one over the codec's limit (then none is queued), LogClosed and LogUnavailable.
        """
        return self.appender.queue(lambda: self._packed(data), self.level)

    def wait(self, ticket: int, timeout: float | None = None) -> bool:
        """Wait until all events up to a ticket are durable; False if they are not in time."""
        return self.appender.wait(ticket, timeout)

    def _packed(self, data: tuple[FrozenRecord, ...]) -> list[bytes]:
        at_ns = self._clock.now_ns()
        made = (
            codec.make_event(record, self.name, self.epoch, self.sequence + number, at_ns)
            for number, record in enumerate(data, 1)
        )
        packed = codec.encode_events(made, self.level)
        self.sequence += len(packed)
        return packed
