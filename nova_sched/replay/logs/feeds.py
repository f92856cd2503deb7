"""The feeds of a live view: logs that grow, or old logs that are played again."""

import queue
import threading
from typing import NamedTuple

from nova_sched.replay.logs.moments import position_at, time_of
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import errors
from rpc_api.feed.follower import Follower

SECOND_NS = 10**9
#: Greatest number of batches that wait, of all logs together.
MAX_WAITING = 64
MEASURE_EVERY_S = 2.0
#: Greatest number of records of a played log to take at once, so that the view is still drawn.
MOST_AT_ONCE = 2000


def first_positions(logs, at_ns: int) -> dict[str, int]:
    """Return the first position of each log after a time."""
    return {cell: position_at(log, at_ns) + 1 for cell, log in logs.items()}


def last_time(logs) -> int | None:
    """Return the time of the last record of some logs; None if no record has a time."""
    times = []
    for log in logs.values():
        bounds = log.bounds()
        if bounds.count > 0:
            with log.read_from(bounds.last) as reader:
                times += [time_of(record.events) for _, record in decoded_records(log, bounds.last, reader.position)]
    return max((at_ns for at_ns in times if at_ns is not None), default=None)


class _ReadTo(NamedTuple):
    """The position after which a reader begins."""

    position: int


class Following:
    """Follows logs from a time on. A thread per log only reads; :meth:`pump` does the rest in the thread of the
    view."""

    def __init__(self, logs, live, since_ns: int):
        self._logs, self._live, self._since_ns = logs, live, since_ns
        self._next = {}
        self._found = queue.Queue(MAX_WAITING)
        self._stopped = threading.Event()
        self._measuring = threading.Thread(target=self._measure, name="measure logs", daemon=True)
        self._followers = {
            cell: Follower(
                lambda cell=cell: self._begin(cell),
                lambda batch, cell=cell: self._hand_on(cell, batch.records),
                lambda fault, cell=cell: self._hand_on(cell, fault),
                cell,
            )
            for cell in logs
        }

    def start(self):
        """Begin to read."""
        for follower in self._followers.values():
            follower.start()
        self._measuring.start()
        return self

    def _measure(self):
        """Read the ends of the logs, in a thread, because the broker may not answer for a while."""
        while not self._stopped.is_set():
            for cell, log in self._logs.items():
                try:
                    self._hand_on(cell, log.bounds().last)
                except errors.NovaSchedError:
                    continue  # its reader meets the same fault, and reports it
            self._stopped.wait(MEASURE_EVERY_S)

    def _begin(self, cell):
        log = self._logs[cell]
        if cell not in self._next:
            self._next[cell] = position_at(log, self._since_ns) + 1
        bounds = log.bounds()
        position = min(max(self._next[cell], bounds.first), bounds.last + 1)
        # The records before it are too old to count: they are not unread, also if no record comes after them.
        self._hand_on(cell, _ReadTo(position - 1))
        return log, position

    def _hand_on(self, cell, found):
        while not self._stopped.is_set():
            try:
                self._found.put((cell, found), timeout=0.2)
                return
            except queue.Full:
                continue

    def pump(self, now_ns: int) -> int:
        """Give the view's Live all new records, and return their number."""
        count = 0
        for _ in range(MAX_WAITING):
            try:
                cell, found = self._found.get_nowait()
            except queue.Empty:
                break
            if isinstance(found, _ReadTo):
                self._live.read_to(cell, found.position)
            elif isinstance(found, int):
                self._live.end(cell, found)
            elif isinstance(found, list):
                for position, record in found:
                    self._live.feed(cell, position, record, now_ns)
                    self._next[cell] = position + 1
                count += len(found)
                self._followers[cell].taken()
            else:
                self._live.down(cell, None if found is None else str(found))
        return count

    def stop(self) -> None:
        """End the threads."""
        self._stopped.set()
        for follower in self._followers.values():
            follower.stop()
        if self._measuring.is_alive():
            self._measuring.join(5)


class Played:
    """Gives a Live the records of logs at their own times, ``speed`` times as fast."""

    def __init__(self, logs, live, first: dict, start_ns: int, speed: float):
        self._live, self._logs = live, logs
        self._first = {cell: max(first[cell], log.bounds().first) for cell, log in logs.items()}
        self._start_ns, self._speed = start_ns, speed
        self._records = {cell: decoded_records(log, self._first[cell]) for cell, log in logs.items()}
        self._waiting = {}
        self._began_ns = None

    def start(self):
        """Give the Live the ends of the logs, and where they begin."""
        for cell, log in self._logs.items():
            self._live.read_to(cell, self._first[cell] - 1)
            self._live.end(cell, log.bounds().last)
        return self

    def clock(self, now_ns: int) -> int:
        """Return the time in the logs at the real time ``now_ns``. The first call starts the clock."""
        if self._began_ns is None:
            self._began_ns = now_ns
        return self._start_ns + int((now_ns - self._began_ns) * self._speed)

    def pump(self, now_ns: int) -> int:
        """Give the Live all records up to a time in the logs, and return their number."""
        count = 0
        for cell, records in self._records.items():
            while count < MOST_AT_ONCE:
                position, record = self._waiting.pop(cell, None) or next(records, (None, None))
                if record is None:
                    break
                if (time_of(record.events) or 0) > now_ns:
                    self._waiting[cell] = position, record
                    break
                self._live.feed(cell, position, record, now_ns)
                count += 1
        return count

    def stop(self) -> None:
        """Close the readers."""
        for records in self._records.values():
            records.close()
