"""How a service waits for something that is not available now: it logs this, rarely, and tries again after growing
pauses."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from rpc_api import errors, faults
from rpc_api.clock import SYSTEM, Clock, spelled

LOG = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Seconds between two equal log lines.
REPEAT = 60.0
#: Seconds after which the remedy of a fault is logged, if it has one.
REMEDY_AFTER = 30.0


class Outage:
    """Logs that something cannot be done now: at once, every ``REPEAT`` seconds while this lasts, and when it is over.
    A fault of a new class is logged at once, too.

    ``what`` is the start of the lines, as in "scheduler/a waits for the log of cell1".
    """

    def __init__(self, what: str, clock: Clock = SYSTEM, log: logging.Logger = LOG) -> None:
        #: May be changed.
        self.what = what
        self._clock = clock
        self._log = log
        self._began_at: float | None = None
        self._stuck_since: float | None = None
        self._remedy_at = 0.0
        #: Class of a fault -> when a fault of it was last logged.
        self._said: dict[type[Exception], float] = {}

    @property
    def lasts(self) -> bool:
        """Whether there is one."""
        return self._began_at is not None

    def met(self, fault: Exception) -> None:
        """Note that it cannot be done, because of ``fault``."""
        now = self._clock.monotonic()
        if self._began_at is None:
            self._began_at = now
        said_at = self._said.get(type(fault))
        if said_at is None or now - said_at >= REPEAT:
            self._said[type(fault)] = now
            self._log.warning("%s: %s", self.what, fault)
        self._look_for_remedy(fault, now)

    def _look_for_remedy(self, fault: Exception, now: float) -> None:
        if not isinstance(fault, errors.LogStuck):
            # While nothing answers, it is not known whether the log is stuck.
            self._stuck_since = None
            return
        if self._stuck_since is None:
            self._stuck_since, self._remedy_at = now, now + REMEDY_AFTER
        if now >= self._remedy_at:
            self._remedy_at = now + REPEAT
            self._log.warning("%s for %.0f s: %s", self.what, now - self._stuck_since, fault.remedy)

    def over(self, text: str) -> None:
        """Note that it can be done again; ``text`` is logged with the duration of the outage."""
        if self._began_at is not None:
            self._log.warning("%s, after %s", text, spelled(self._clock.monotonic() - self._began_at))
        self._began_at = self._stuck_since = None
        self._said.clear()


def until_it_passes(
    what: str,
    function: Callable[[], T],
    seconds: float | None = None,
    clock: Clock = SYSTEM,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """Return ``function()``. It is called again while its exception may pass, for at most ``seconds`` (None: without
    end). Raises a fault that lasts. ``what`` is as for :class:`Outage`."""
    outage, wait, began = Outage(what, clock), FIRST_PAUSE, clock.monotonic()
    while True:
        try:
            result = function()
        except errors.NovaSchedError as fault:
            if not faults.may_pass(fault) or (seconds is not None and clock.monotonic() - began >= seconds):
                raise
            outage.met(fault)
        else:
            outage.over(f"{what}: no longer")
            return result
        pause(wait)
        wait = min(2 * wait, LONGEST_PAUSE)
