"""Watch an RPC topic: ask from time to time whether a server answers, and log a change."""

import logging
import threading
from collections.abc import Callable

from rpc_api import concurrency, errors
from rpc_api.clock import SYSTEM, Clock, spelled

LOG = logging.getLogger(__name__)

#: Questions in a row without an answer before the topic counts as silent.
MISSES = 3


class Watch:
    """Watches the servers of one topic. ``ping(timeout)`` returns when a server answers, and raises NoAnswer or
    NoSuchServer when no server does.

    ``who`` names the servers and their topic, ``so`` is the consequence while they are silent; times are in seconds.
    """

    def __init__(
        self, ping: Callable[[float], object], who: str, so: str, interval: float, clock: Clock = SYSTEM
    ) -> None:
        self._ping = ping
        self._who = who
        self._so = so
        self._interval = interval
        self._clock = clock
        self._heard_at = clock.monotonic()
        #: Since when no server answers, if that was logged; else None.
        self.silent_since: float | None = None
        self._lock = threading.Lock()
        #: The thread that asks; an unreachable broker may block it.
        self._asking: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> "Watch":
        """Start asking in a thread of its own, which does not wait for long calls and delays nothing."""
        self._heard_at = self._clock.monotonic()
        threading.Thread(target=self._run, name=f"watch {self._who}", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop asking. Does not wait for the thread, because an unreachable broker may block it."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.ask_beside()

    def ask_beside(self) -> None:
        """Ask in another thread; if the last question is still open, that counts as a missing answer."""
        if self._asking is not None and self._asking.is_alive():
            self.missed(errors.NoAnswer("a question to it is blocked; check the broker"))
            return
        self._asking = threading.Thread(target=self.ask, name=f"ask {self._who}", daemon=True)
        concurrency.start_or_report(self._asking)

    def ask(self) -> None:
        """Ask once, and note the result."""
        try:
            self._ping(self._interval / 2)
        except (errors.NoAnswer, errors.NoSuchServer) as fault:
            self.missed(fault)
        except Exception as fault:
            # A fault of the bus itself must not end the thread that reports faults.
            self.missed(fault)
        else:
            self.heard()

    def heard(self) -> None:
        """Note that a server answered this question or another call."""
        with self._lock:
            self._heard_at = self._clock.monotonic()
            if self.silent_since is not None:
                LOG.warning("%s answers again, after %s", self._who, spelled(self._heard_at - self.silent_since))
            self.silent_since = None

    def missed(self, fault: Exception) -> None:
        """Note that no server answered. A busy server may miss a question, so only a topic without any server is
        reported at once."""
        with self._lock:
            silent = self._clock.monotonic() - self._heard_at
            enough = self._interval if isinstance(fault, errors.NoSuchServer) else MISSES * self._interval
            if self._stopped.is_set() or self.silent_since is not None or silent < enough:
                return
            LOG.warning("%s has not answered for %s (%s): %s", self._who, spelled(silent), fault, self._so)
            self.silent_since = self._heard_at
