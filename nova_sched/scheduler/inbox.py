"""The inbox of a scheduler: what the logs bring and what is requested, for the one thread that handles it."""

import queue
from collections import deque

#: Greatest number of inputs to take from the queue before the next decisions.
MAX_BATCH = 256


class Inbox:
    """Inputs from any thread, each a ``kind``, a ``key`` and a ``content``.

    A request is ("ask", None, Ask), a call ("call", function, Future); the end is ("stop", None, None). Inputs of a log
    have its cell as the key. Inputs that were taken stay here until they are handled, so that each request and each
    call gets an answer, even after a fault."""

    def __init__(self):
        self._queue = queue.SimpleQueue()
        #: Inputs that were taken and are not handled yet.
        self.batch = []
        #: Requests (Ask) that were taken and are not decided yet.
        self.undecided = deque()

    def put(self, kind, key, content):
        """Append an input. May be called from any thread."""
        self._queue.put((kind, key, content))

    def take(self, timeout):
        """Take the next batch. Wait up to ``timeout`` seconds for its first input."""
        self.batch = self._next_batch(timeout)
        self.undecided.extend(content for kind, _, content in self.batch if kind == "ask")

    def taken(self):
        """Return the Futures of the requests and calls that were taken; some may have their answer already."""
        return [
            *(ask.future for ask in self.undecided),
            *(content for kind, _, content in self.batch if kind == "call"),
        ]

    def turn_down_rest(self, why_not):
        """Answer all inputs that were not taken with the error that ``why_not()`` returns. May be called from any
        thread."""
        while batch := self._next_batch(0.0):
            for kind, _, content in batch:
                _turn_down(kind, content, why_not)

    def turn_down_until_stop(self, why_not, is_stopping):
        """Answer all further inputs with the error that ``why_not()`` returns, until one is the end, or none is left
        and ``is_stopping()``."""
        while True:
            try:
                kind, _, content = self._queue.get(timeout=0.1)
            except queue.Empty:
                if is_stopping():
                    return
                continue
            if kind == "stop":
                return
            _turn_down(kind, content, why_not)

    def _next_batch(self, timeout):
        try:
            batch = [self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()]
        except queue.Empty:
            return []
        while len(batch) < MAX_BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch


def _turn_down(kind, content, why_not):
    if kind in ("ask", "call"):
        (content.future if kind == "ask" else content).set_exception(why_not())
