"""One log as a worker of the API uses it: it folds the log, writes events, and waits for their outcomes."""

import contextlib
import logging
import threading

from nova_sched.process.backlog import Backlog
from nova_sched.process.cell_log import CellLog
from nova_sched.process.checkpoint_duty import Limits
from nova_sched.process.log_state import READ, LogState, beginning_is_lost
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.tuning import collector_paused
from nova_sched.process.write_gate import WriteGate
from nova_sched.projection.beginning import projection_of
from nova_sched.projection.moving import Moving
from nova_sched.projection.projection import MISSED_PIN, Projection
from nova_sched.projection.write_outcomes import Written
from placement_api import waits
from placement_api.http_errors import OutcomeUnknown, Unavailable
from placement_api.taking import Taking
from placement_api.under_way import UnderWay
from rpc_api import concurrency, errors, faults
from rpc_api.clock import SYSTEM
from rpc_api.histogram import Histogram

LOG = logging.getLogger(__name__)

#: Seconds between two looks at what changes by itself: whether writes may be taken, and snapshots that are wanted.
TICK = 1.0
#: Seconds in which a write must have been read back.
READ_BACK_SECONDS = 20.0
#: So many writes may wait for that in a log that does not answer: the threads of the server are for the other logs and
#: for reads, too.
WAITING_MAX = 2


def facts_of(cell, projection, state):
    """(Why no use is made of a log, its level, the position up to which it is folded), as a WriteGate wants them.
    Without the lock: it reads single attributes."""
    why = None
    if projection.is_too_new:
        why = str(projection.unknown_level())
    elif state.is_behind:
        lost = state.is_headless and projection.rules.one_ledger
        why = str(beginning_is_lost(cell, state.first)) if lost else "its records are being read"
    elif state.is_down():
        why = state.why
    return why, projection.level, projection.position


class LedgerLog:
    """``region`` has the table and the lock that all logs of the worker share; ``name`` is that of its producer, and
    ``shared`` the SharedPositions of the log on this machine, or None."""

    def __init__(
        self, region, cell: str, url: str, name: str, clock=SYSTEM, store=None, accounts_required=False, shared=None
    ):
        self.cell = cell
        self._shared = shared
        self._region = region
        self._clock = clock
        self._accounts_required = accounts_required
        self.cell_log = CellLog(cell, url, name, self._on_log, clock, store, accounts_required)
        #: The state that answers are made of.
        self.projection = Projection(cell, region.table, whole=False)
        #: While the log is read again: its new state, in a table of its own, which nobody else sees or waits for.
        self._coming: Projection | None = None
        self._state = LogState()
        self._state.expect()
        self.backlog = Backlog(5.0)
        self.under_way = UnderWay(cell, self.cell_log.producer_name)
        self.waits = waits.Waits(self, threading.Condition(region.lock), name, clock)
        self._current = threading.Event()
        #: Whether it was folded to its end once: before, nothing can be said of what it has not.
        self.was_read = False
        #: The epoch of the records that were folded last, also while the log is read again.
        self._epoch: str | None = None
        self._stopped = threading.Event()
        #: The fault because of which it cannot start, or cannot go on.
        self.fault: errors.NovaSchedError | None = None
        #: Looked at again in each tick.
        self._taking = Taking(self, WriteGate(self.cell_log, self._facts, clock, Limits()), clock.monotonic)
        #: From the publication of writes until they were read back; under the lock.
        self.write_times = Histogram()
        self.pulse = Pulse(f"ledger of {cell}", clock, TICK)
        self._ticker = concurrency.vital_thread(self._tick_all, f"{name} tick {cell}")

    def start(self) -> "LedgerLog":
        """Start to read; :meth:`wait_current` waits until the log is folded."""
        self.cell_log.start()
        self._ticker.start()
        return self

    def wait_current(self, timeout: float) -> bool:
        """Whether all records are folded that the log had when reading started; waits at most ``timeout`` seconds.
        Raises a fault that lasts until an operator changes something."""
        self._current.wait(timeout)
        if self.fault is not None:
            raise self.fault
        return self._current.is_set()

    def close(self, timeout: float = 5.0) -> bool:
        """Append what is waiting, and end the threads; True when nothing was left."""
        self._stopped.set()
        self.waits.close()
        drained = self.cell_log.close(timeout)
        if self._ticker.is_alive():
            self._ticker.join(timeout)
        self._give_up("the service is stopping")
        if self._shared is not None:
            self._shared.close()
        return drained

    # --- reading -------------------------------------------------------------------------------------------------

    @property
    def is_readable(self) -> bool:
        """Whether the state is that of the log, as far as this worker has read it."""
        return not self._state.is_behind and not self.projection.is_too_new

    @property
    def refusal(self) -> str | None:
        """Why no write is taken, for the operator; None if they are taken."""
        return self._taking.why_not

    @property
    def why_down(self) -> str | None:
        """Why the log cannot be read now, as a sentence; None if it can."""
        return self._state.why if self._state.is_down(READ) else None

    @property
    def is_away(self) -> bool:
        """Whether its cell is down: it was read, and cannot be read now. While it is only late, stuck or read again,
        others may write what this worker is going to know soon."""
        is_lost = self._state.is_headless or (self._coming or self.projection).is_too_new
        return self.was_read and (self.why_down is not None or is_lost)

    def is_late(self, fence: waits.Fence | None) -> bool:
        """Whether the log answers, although a fence was not folded in time (None for one that was not begun)."""
        answers = self.waits.is_late and not self.waits.hangs if fence is None else fence.has_come
        return answers and self.was_read and self.is_readable and self.why_down is None

    @property
    def why_stale(self) -> str | None:
        """Why the state may be old: the log cannot be read now. None if it can."""
        if self.why_down is not None:
            return self.why_down
        if self.waits.is_stuck:
            return f"the log of {self.cell} does not answer"
        return None if self.is_readable else self._facts()[0]

    def wait_for_shared(self, also_for_reading: bool = True) -> bool:
        """Wait until everything is folded that a worker of this machine acknowledged, and (``also_for_reading``) until
        a log is folded that is read again. Nobody waits for a log that cannot be read, and not for long for one that
        does not answer. Returns whether all is folded: if not, answers about the log are old."""
        if self.why_down is not None or self._epoch is None or not (also_for_reading or self.is_readable):
            return False
        # (A log that is read again has a state that may be old until it is folded to its end.)
        position = -1 if self._shared is None else self._shared.last(self._epoch)
        return self.waits.until_folded(position, also_for_reading)

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, event, *then) -> Written:
        """Append an event and those ``then``, and return the outcome of the first one when all were folded. Unavailable
        if the log takes no writes now, or if the outcome is not known: then the events may count later, and a client
        that repeats meets its own write. TooLarge and BadRequest for an event that no log takes."""
        if self.waits.is_stuck:
            raise Unavailable(f"The log of {self.cell} does not answer; try again later.")
        self._taking.check()
        with self._region.lock:
            self.cell_log.producer.level = self.projection.level
            began = self._clock.monotonic()
            waiting = self.under_way.publish(self.cell_log.producer, (event, *then), began)
            epoch = self._epoch
        try:
            outcomes = [self._read_back(mark, outcome, began) for mark, outcome in waiting.items()]
        finally:
            with self._region.lock:
                self.under_way.forget(waiting)
                self.write_times.add(self._clock.monotonic() - began)
        for outcome in outcomes:
            self._taking.check_outcome(outcome)
        if self._shared is not None:
            try:
                self._shared.acknowledge(epoch, outcomes[-1].position)
            except errors.NovaSchedError as fault:
                self.fail(fault)
                raise Unavailable(f"The write is in the log of {self.cell}, but this worker cannot go on.") from None
        return outcomes[0]

    def _read_back(self, mark, outcome, began) -> Written:
        """The outcome of a write, as soon as it is folded."""
        for seconds in (waits.STUCK_SECONDS, READ_BACK_SECONDS):
            with contextlib.suppress(TimeoutError):
                return outcome.result(began + seconds - self._clock.monotonic())
            if not outcome.done() and not self.under_way.is_among_first(mark, WAITING_MAX):
                break
        raise OutcomeUnknown(
            f"The write was not read back from the log of {self.cell} within {seconds:.0f} s, so it may count later; "
            "read the state again before you repeat it"
        )

    def _give_up(self, why):
        with self._region.lock:
            self.under_way.give_up(why)

    # --- what the log delivers -----------------------------------------------------------------------------------

    def _on_log(self, kind, content):
        try:
            if kind == "records":
                self._on_records(content)
            elif kind == "begin":
                self._on_begin(content)
            else:
                self._on_fault(content)
        except errors.NameTaken as fault:
            self.fail(fault)
        except Exception as fault:
            concurrency.report_if_out_of_threads(fault)
            LOG.error("the ledger of %s met an internal fault: %r", self.cell, fault)
            LOG.debug("the fault of the ledger", exc_info=True)
            self.fail(errors.NovaSchedError(f"the ledger of {self.cell} met an internal fault ({fault!r})"))

    def fail(self, fault):
        """This worker cannot go on because of a fault in this log."""
        self.fault = fault
        self._taking.look()
        self._give_up("this worker cannot go on")
        self._current.set()

    def _on_begin(self, beginning):
        self._current.clear()
        self.backlog.begin()
        self._taking.begin()
        with self._region.lock:
            self._state.expect()
            self.waits.forget()
            if beginning.begun_anew:
                self.under_way.give_up("its log was recreated")
        self._coming = None
        try:
            with collector_paused():
                self._coming = projection_of(self.cell, beginning, accounts_required=self._accounts_required)
        except errors.NovaSchedError as fault:
            LOG.warning("the snapshot of %s is not used: %s", self.cell, fault)
            self.cell_log.refuse_snapshot()
            return
        self._coming.writes = []
        with self._region.lock:
            self._state.begin(beginning)
        self._show_if_complete()

    def _on_records(self, batch):
        began = self._clock.monotonic()
        try:
            if self._coming is not None:
                self._coming.fold(batch.records)
                self.under_way.keep_own(self._coming)
                self._epoch = self._coming.epoch
                self._show_if_complete()
            else:
                with self._region.lock:
                    self.projection.fold(batch.records)
                    self._epoch = self.projection.epoch
                    self.under_way.settle(self.projection)
                    self.waits.have_folded(self.projection.position)
        except errors.LogGap as gap:
            LOG.warning("the log of %s is read again: %s", self.cell, gap)
            self.cell_log.begin_anew()
        self.cell_log.taken((self._coming or self.projection).level, self._clock.monotonic() - began)
        if (self._coming or self.projection).counts[MISSED_PIN]:
            self.cell_log.doubt_snapshot()
        if self._current.is_set():
            self.backlog.folded(batch.records, batch.at_end, self._clock.monotonic())
            self.cell_log.check_heard(self.projection.producers.get(self.cell_log.producer_name))

    def _show_if_complete(self):
        """Answer from the new state of the log as soon as it has all that the log had when reading began. Until then
        the last state is there for answers, marked as stale; only the exchange of both takes the lock."""
        is_whole = self._coming.whole and self._state.is_reached(self._coming)
        if not is_whole:
            with self._region.lock:
                self._state.folded(self._coming)
            return
        moving = Moving(self._coming)
        if self._shared is not None:
            self._shared.forget_lost(self._coming.epoch, self._coming.position, self.cell_log.fence)
        with self._region.lock:
            self._state.folded(self._coming)
            self.projection.forget()
            self.projection, self._coming = moving.into(self._region.table), None
            self.under_way.settle(self.projection)
            self._epoch, self.was_read = self.projection.epoch, True
            self.waits.have_folded(self.projection.position)
        self.cell_log.speak_after(self.projection.producers.get(self.cell_log.producer_name))
        self._taking.look(may_read=True)
        self._current.set()

    def _on_fault(self, fault):
        with self._region.lock:
            self._state.fault(fault, READ, self._clock.monotonic())
            self.waits.notice()
        if fault is not None:
            self._taking.look()
        if fault is None or self.was_read or faults.may_pass(fault):
            self._region.may_read(self)
        else:
            self._region.cannot_read(self, fault)

    # --- what changes by itself ----------------------------------------------------------------------------------

    def _facts(self):
        return facts_of(self.cell, self._coming or self.projection, self._state)

    def _tick_all(self):
        while not self._stopped.wait(TICK):
            try:
                self._region.keep_files(self._shared)
            except errors.NovaSchedError as fault:
                self.fail(fault)
            self.waits.look()
            self._taking.look(may_read=True)
            with self._region.lock:
                self.pulse.beat()
            if self._state.is_headless:
                self.cell_log.look_for_snapshot()
