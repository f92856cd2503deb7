"""The thread that reads a queue of copies, whatever happens to its broker: it connects again, it waits while another
process reads, and it learns what was lost."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence

from rpc_api import concurrency, errors
from rpc_api.bus.copies import Copy, CopyQueue, QueueInUse
from rpc_api.clock import Clock
from rpc_api.waiting import Outage
from rpc_api.wording import number_of

#: Seconds to wait for messages, and between two attempts to open the queue.
READ_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
#: Seconds between two attempts while another process reads the queue.
STANDBY_PAUSE = 5.0
#: Seconds for a read that is under way at a stop.
STOP_SECONDS = 2.0
READING, STANDBY, CLOSED = "reads", "another process reads", "is not connected"
FULL = "its queue was full, and the broker dropped messages"


class CopyReader:
    """``what`` is the start of log lines, such as "the tap of cell1"; ``log`` is the logger of the owner.

    A message is acknowledged when :meth:`take` returns True. Without that it comes again to the next reader.
    """

    def __init__(self, what: str, source: CopyQueue, clock: Clock, log: logging.Logger) -> None:
        self.what = what
        self.state = CLOSED
        #: How often messages were dropped.
        self.drops = 0
        #: Code -> number of messages that cannot be used.
        self.unread: Counter[str] = Counter()
        #: Code -> count when it was logged last.
        self._logged: dict[str, int] = {}
        self._source = source
        self._log = log
        self._outage = Outage(f"{what} reads nothing, and tries again", clock, log)
        self._losses = Outage(f"{what} missed messages", clock, log)
        self._stopped = threading.Event()
        self._thread = concurrency.vital_thread(self._run, what.removeprefix("the "))

    # --- what the owner does -----------------------------------------------------------------------------------------

    def opened(self, was_there: bool) -> None:
        """Reading starts; ``was_there`` says whether the queue was already there, so that nothing was lost before."""

    def closed(self, state: str) -> None:
        """Reading ends; the new state."""

    def take(self, copies: Sequence[Copy]) -> bool:
        """Handle messages; whether they are done."""
        raise NotImplementedError

    def lost(self, why: str) -> str:
        """Messages were lost; why. Returns what that means, for the log."""
        raise NotImplementedError

    def count_unread(self, code: str, reason: str) -> None:
        """Count a message that cannot be used, and log it when the count has doubled. ``code`` is stable, and
        ``reason`` quotes nothing secret."""
        self.unread[code] += 1
        count = self.unread[code]
        if count >= 2 * self._logged.get(code, 0):
            self._logged[code] = count
            times = number_of(count, "time")
            self._log.warning("%s: %s %s, the last one: %s", self.what, times, code, reason)

    # --- the thread --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What is not acknowledged comes again to the next reader."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                self.round()
                pause = 0.0
            except QueueInUse:
                if self.state != STANDBY:
                    self._log.info("%s waits: another process reads %s", self.what, self._source.url)
                self._close(STANDBY)
                pause = STANDBY_PAUSE
            except Exception as fault:
                concurrency.report_if_out_of_threads(fault)
                if not isinstance(fault, errors.NovaSchedError):
                    # Whatever a message or a fault of ours does here, the other duties of the process go on.
                    self._log.debug("the fault of %s", self.what, exc_info=True)
                self._close(CLOSED)
                self._outage.met(fault)
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._close(CLOSED)

    def round(self) -> None:
        """Open the queue if it is not open, and handle the messages that have arrived."""
        if self.state != READING:
            was_there = self._source.open()
            self._outage.over(f"{self.what} reads again")
            self._log.info("%s reads %s", self.what, self._source.url)
            self.opened(was_there)
            self.state = READING
        copies = self._source.read(READ_SECONDS)
        is_done = bool(copies) and self.take(copies)
        # Not before: some of these messages may be older than those that were dropped.
        if self._source.has_dropped():
            self.drops += 1
            self._losses.met(errors.ServiceUnavailable(f"{FULL}; {self.lost(FULL)}"))
        elif not copies:
            # All that was in the queue is read.
            self._losses.over(f"{self.what} misses no messages any more")
        if is_done:
            self._source.acknowledge()

    def _close(self, state: str) -> None:
        self._source.close()
        self.state = state
        self.closed(state)
