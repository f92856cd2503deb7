"""What is handed on to the thread that folds: new records of logs, and logs that can be opened again."""

import queue
import threading
from concurrent.futures import Future

from nova_sched.page.reopening import OpenedAgain
from nova_sched.replay.logs.stream import Following
from rpc_api import errors

#: Seconds after which a thread that hands on looks whether that has ended.
LOOK_SECONDS = 0.2


class Feed:
    """Follows logs with threads of its own, and puts what happens into a queue, to which others add too: (cell,
    records) as :meth:`Following.batches` gives them, (None, NovaSchedError) if a log cannot be followed any more, and
    (None, OpenedAgain) when logs that are left out can be opened. A context manager, which empties the queue at its
    end.

    ``starts`` is cell -> (EventLog, position); ``pause`` are the seconds between attempts to open logs.
    """

    def __init__(self, waiting: queue.Queue, starts, reopening, pause: float):
        self._waiting, self._reopening, self._pause = waiting, reopening, pause
        self._following = Following(starts)
        self._threads = [
            threading.Thread(target=self._hand_on, name="feed the fold", daemon=True),
            threading.Thread(target=self._open_left_out, name="open again", daemon=True),
        ]

    def __enter__(self):
        self._following.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._following.stop()
        # What is still handed on is of the logs as they were. (An attempt to open a log may take long: it is not waited
        # for, and what it opens is closed.)
        while self._threads[0].is_alive():
            self._refuse_next(LOOK_SECONDS)
        while not self._waiting.empty():
            self._refuse_next(0)
        self._following.__exit__(*exc)

    def _hand_on(self):
        try:
            for cell, records in self._following.batches():
                self._put((cell, records))
        except errors.NovaSchedError as fault:
            self._put((None, fault))

    def _open_left_out(self):
        """Try to open the logs that are left out, until one of them can be opened."""
        while not self._following.has_ended(self._pause):
            opened = OpenedAgain(self._reopening.try_again())
            if opened.logs and self._put((None, opened)):
                return
            opened.close()

    def _put(self, item):
        """Put something into the queue; returns whether it is there, and not ended."""
        while not self._following.has_ended(0):
            try:
                self._waiting.put(item, timeout=LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def _refuse_next(self, seconds):
        try:
            _, what = self._waiting.get(timeout=seconds) if seconds else self._waiting.get_nowait()
        except queue.Empty:
            return
        if isinstance(what, Future):
            what.cancel()
        elif isinstance(what, OpenedAgain):
            what.close()
