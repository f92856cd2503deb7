"""What requests wait for in one log: its fences, and records that must be folded; and whether the log answers at all.

A log that does not answer must not occupy the threads of the server. So a request waits for it for a limited time.
After that the log is *stuck*: it counts as down, and no request waits for it until it answers again.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

from rpc_api import concurrency
from rpc_api.clock import Clock

LOG = logging.getLogger(__name__)

#: Seconds after which a write, a fence or a record that requests wait for shows that a log does not answer.
STUCK_SECONDS = 2.0
#: Seconds that a request waits for a log that is read again, if it waits for that at all.
READING_SECONDS = 20.0


class Fence(NamedTuple):
    """A fence that a request waits for, until ``ends_at`` by the monotonic clock."""

    position: Future[int]
    ends_at: float

    @property
    def has_come(self) -> bool:
        """Whether it came back, so that the log answers."""
        future = self.position
        return future.done() and not future.cancelled() and future.exception() is None


class Waits:
    """``log`` is a LedgerLog; ``folded`` is notified when it has folded more, and has the lock of the fold."""

    def __init__(self, log: Any, folded: threading.Condition, name: str, clock: Clock) -> None:
        self._log, self._folded, self._clock = log, folded, clock
        self._stuck_seconds = STUCK_SECONDS
        self._lock = threading.Lock()
        #: One fence at a time is under way, in this thread: a log that hangs holds no other one.
        self._thread = concurrency.DaemonPool(1, f"{name} fence {log.cell}")
        #: The fence that is not under way yet. (One that is was perhaps there before what a request knows of.)
        self._next: Future[int] | None = None
        #: Since when a fence is under way, or since when none came back.
        self._fence_since: float | None = None
        #: (Position, since when) of the first record that requests wait for; under the lock of the fold.
        self._missing: tuple[int, float] | None = None
        self._is_closed = False

    @property
    def is_stuck(self) -> bool:
        """Whether something was waited for, and has not come, for so long that nobody should wait for the log."""
        return self._is_silent or self._is_long_since(self._log.under_way.oldest)

    @property
    def _is_silent(self) -> bool:
        """The same without writes: a log that takes none may still answer fences."""
        return self.hangs or self.is_late

    @property
    def hangs(self) -> bool:
        """Whether no fence has come back for too long: the log does not answer."""
        return self._is_long_since(self._fence_since)

    @property
    def is_late(self) -> bool:
        """Whether requests have waited too long for a record that the log has: this worker reads it too slowly, or
        cannot read it."""
        missing = self._missing
        return missing is not None and not self._is_folded(missing[0]) and self._is_long_since(missing[1])

    def _is_folded(self, position: int) -> bool:
        folded: int = self._log.projection.position
        return folded >= position

    def _is_long_since(self, since: float | None) -> bool:
        return since is not None and self._clock.monotonic() - since > self._stuck_seconds

    def look(self) -> None:
        """Find out whether a log that is stuck answers again; call it from time to time."""
        with self._folded:
            if self._missing is not None and self._is_folded(self._missing[0]):
                self._missing = None
        if self.is_stuck and not self._is_closed:
            self._share()

    def close(self) -> None:
        """Nobody waits any longer: no fence comes."""
        with self._folded:
            self._is_closed = True
            self._folded.notify_all()
        self._thread.close()

    # --- fences --------------------------------------------------------------------------------------------------

    def fence(self) -> bool:
        """Wait until everything is folded that was acknowledged before; returns whether it is."""
        return self.end_fence(self.begin_fence())

    def begin_fence(self) -> Fence | None:
        """A fence that covers all that was acknowledged before, for :meth:`end_fence`; None if the log answers none."""
        if self._is_silent or self._is_closed:
            return None
        return Fence(self._share(), self._clock.monotonic() + self._stuck_seconds)

    def end_fence(self, fence: Fence | None, also_for_reading: bool = False) -> bool:
        """Wait until everything is folded that a fence covers, also (``also_for_reading``) for a log that is read
        again; returns whether it is."""
        if fence is None:
            return False
        try:
            fault = fence.position.exception(max(0.0, fence.ends_at - self._clock.monotonic()))
        except (TimeoutError, CancelledError):
            return False
        if fault is not None:
            LOG.debug("a fence in the log of %s has failed: %s", self._log.cell, fault)
            return False
        return self.until_folded(fence.position.result(), also_for_reading)

    def _share(self) -> Future[int]:
        with self._lock:
            if self._next is None:
                self._next = self._thread.submit(self._pass)
            return self._next

    def _pass(self) -> int:
        with self._lock:
            self._next = None
        self._fence_since = since = self._fence_since or self._clock.monotonic()
        has_come = False
        try:
            position = self._log.cell_log.fence()
            has_come = True
            return position
        finally:
            # (A log that is stuck stays so if its next fence fails: each request would wait again.)
            if has_come or not self._is_long_since(since):
                self._fence_since = None

    # --- what is folded ------------------------------------------------------------------------------------------

    def until_folded(self, position: int, also_for_reading: bool = False) -> bool:
        """Whether the record at a position is folded. Waits for it; also (``also_for_reading``) for a log that is read
        again."""
        log = self._log

        def is_there() -> bool:
            return self._is_folded(position) and log.is_readable

        if is_there():
            return True
        if self._is_silent:
            return False
        with self._folded:
            # (It may have been folded since: then nothing would take the mark away in a log that is quiet.)
            if is_there():
                return True
            is_read = log.is_readable
            if is_read and self._missing is None:
                self._missing = position, self._clock.monotonic()
            self._folded.wait_for(
                lambda: is_there() or log.why_down is not None or self._is_closed,
                READING_SECONDS if also_for_reading and not is_read else self._stuck_seconds,
            )
        return is_there()

    def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so in the state, for so many seconds at most; returns whether it is."""
        with self._folded:
            return self._folded.wait_for(is_so, seconds)

    def have_folded(self, position: int) -> None:
        """More is folded, up to a position: wake those who wait for it. Call it under the lock of the fold."""
        if self._missing is not None and self._missing[0] <= position:
            self._missing = None
        self._folded.notify_all()

    def notice(self) -> None:
        """The log can be read no longer, or again: wake those who wait. Call it under the lock of the fold."""
        self._folded.notify_all()

    def forget(self) -> None:
        """The log is read again, perhaps with other positions. Call it under the lock of the fold."""
        self._missing = None
