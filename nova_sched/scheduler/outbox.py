"""Events that must be published in any case: now, or as soon as the log takes them."""

import logging
from collections import deque

from rpc_api import errors

LOG = logging.getLogger(__name__)


class Outbox:
    """``publish(cell, *data)`` is that of the engine; ``counts`` counts under ``unsaid`` the events that no log
    takes."""

    def __init__(self, publish, counts):
        self._publish = publish
        self._counts = counts
        #: (cell, *data) that could not be published yet, oldest first.
        self._waiting = deque()

    def post(self, cell, *data) -> None:
        """Publish records of a cell's log now, or later if the log takes nothing now. A record that the log refuses for
        good is logged and counted."""
        try:
            self._publish(cell, *data)
        except errors.LogUnavailable:
            self.put_off(cell, *data)
        except errors.NovaSchedError as fault:
            LOG.warning("%s is not recorded: %s", ", ".join(type(record).__name__ for record in data), fault)
            self._counts["unsaid"] += 1

    def put_off(self, cell, *data) -> None:
        """Publish records later."""
        self._waiting.append((cell, *data))

    def withdraw(self, is_outdated) -> None:
        """Drop each waiting group of records for whose first record ``is_outdated(record)`` is true."""
        self._waiting = deque(waiting for waiting in self._waiting if not is_outdated(waiting[1]))

    def retry(self) -> None:
        """Try once to publish all waiting records."""
        for _ in range(len(self._waiting)):
            self.post(*self._waiting.popleft())
