"""Limits of what one client, and all of them together, may ask."""

import threading
from collections import OrderedDict
from contextlib import contextmanager

from nova_sched.page.answers import TooMany
from rpc_api.clock import SYSTEM

#: Clients that are remembered; the ones that asked nothing for longest go first.
CLIENTS = 10_000


class Rate:
    """Each client may make ``burst`` requests at once, and ``per_second`` on average."""

    def __init__(self, per_second: float, burst: float, clock=SYSTEM):
        self._per_second, self._burst, self._clock = per_second, burst, clock
        #: Client -> (requests that it may make, when that was so).
        self._left = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str, text: str) -> None:
        """Count a request; TooMany with ``text`` and the seconds to wait if the client made too many."""
        now = self._clock.monotonic()
        with self._lock:
            left, since = self._left.pop(client, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second)
            self._left[client] = (max(left - 1, left if left < 1 else 0), now)
            if len(self._left) > CLIENTS:
                self._left.popitem(last=False)
        if left < 1:
            raise TooMany(text, (1 - left) / self._per_second)


class Waits:
    """How many requests wait for news: ``most`` of all clients, ``per_client`` of one."""

    def __init__(self, most: int, per_client: int):
        self._most, self._per_client = most, per_client
        self._waiting = {}
        self._lock = threading.Lock()

    @contextmanager
    def one(self, client: str):
        """Count a request that waits. Give False if it must not: it is then answered at once."""
        with self._lock:
            mine = self._waiting.get(client, 0)
            is_allowed = mine < self._per_client and sum(self._waiting.values()) < self._most
            if is_allowed:
                self._waiting[client] = mine + 1
        try:
            yield is_allowed
        finally:
            if is_allowed:
                with self._lock:
                    self._waiting[client] -= 1
                    if not self._waiting[client]:
                        del self._waiting[client]
