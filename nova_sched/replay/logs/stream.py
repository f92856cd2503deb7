"""The wanted events of several logs as one stream: present events, merged by time, and new ones."""

import heapq
import threading
from queue import SimpleQueue
from typing import NamedTuple

from nova_sched.projection.projection import unknown_level
from nova_sched.replay.logs.matching import LEDGER
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import readable_records
from rpc_api import codec, errors
from rpc_api.levels import LEVEL

#: The first bytes of a record (an array of three, and its level) of the newest level that is known.
_KNOWN = bytes([0x93, LEVEL])
FIRST_BLOCK = 1000
READ_SECONDS = 0.5
#: Greatest number of batches that a log may be ahead of the output.
MAX_AHEAD = 8
PAUSE_SECONDS = 1.0


class Hit(NamedTuple):
    """The wanted events of one record: ``events`` are [(index, event)]; ``at_ns`` never goes back within one log."""

    at_ns: int
    cell: str
    position: int
    payload: bytes
    events: list


class Picker:
    """Takes the wanted events of one log's records, in their order.

    ``since_ns`` and ``until_ns`` limit the times of events; an unreadable event has the time of its record, or of the
    events before it. ``skip`` is (position of the first record, number of its events that were shown already).
    ``too_new`` gets cell -> UnknownSchema if the log goes on in forms that this process does not know.
    """

    def __init__(self, cell, match, since_ns=None, until_ns=None, skip=(-1, 0), too_new=None):
        self.cell = cell
        self._match = match
        self._since, self._until = since_ns, until_ns
        self._skip = skip
        self._too_new = {} if too_new is None else too_new
        self._at_ns = 0

    def pick(self, record) -> Hit | None:
        """Return the :class:`Hit` of a record; None if no event of it is wanted."""
        if self.cell not in self._too_new and (fault := newer_than_known(self.cell, record.payload)):
            self._too_new[self.cell] = fault
        found = self._match.events_of(record.payload, self.cell, record.position)
        if record.position == self._skip[0]:
            found = [hit for hit in found if hit[0] >= self._skip[1]]
        if found and (self._since is not None or self._until is not None):
            found = [hit for hit in found if self._is_in_time(hit[1], record)]
        if not found:
            return None
        self._at_ns = max(self._at_ns, time_of(event for _, event in found) or 0)
        return Hit(self._at_ns, self.cell, record.position, record.payload, found)

    def _is_in_time(self, event, record):
        at_ns = (
            event.at_ns
            if isinstance(event, codec.Event)
            else time_of(codec.decode_record(record.payload).events) or self._at_ns
        )
        return (self._since is None or at_ns >= self._since) and (self._until is None or at_ns <= self._until)


def is_ledger(log) -> bool:
    """Return whether a log has, at its end, a level at which Placement's API writes to it."""
    last = log.bounds().last
    return any(record.payload[1:2] >= LEDGER for record in readable_records(log, last, last, lambda gap: None))


def newer_than_known(cell, payload) -> errors.UnknownSchema | None:
    """The error for a record that pins a log to a level that this process does not know, or has such a level; else
    None."""
    if payload[:2] <= _KNOWN and b"LevelPinned" not in payload:
        return None
    record = codec.decode_record(payload)
    for event in record.events:
        if isinstance(event, codec.Event) and event.name == "LevelPinned" and event.data.level > LEVEL:
            return unknown_level(cell, event.data.level)
        if record.level > LEVEL:
            return errors.UnknownSchema(f"{cell} has {event.reason}")
    return None


def hits(log, span, picker, on_gap):
    """Yield the :class:`Hit` of each record of a span."""
    for record in readable_records(log, span.first, span.last, on_gap):
        hit = picker.pick(record)
        if hit is not None:
            yield hit


def last_hits(log, span, picker, count, on_gap) -> list:
    """Return the last ``count`` wanted events of a span, searched from its end: a list of :class:`Hit`."""
    found, events, size, end = [], 0, FIRST_BLOCK, span.last
    while events < count and end >= span.first:
        begin = max(span.first, end - size + 1)
        block = list(hits(log, span._replace(first=begin, last=end), picker, on_gap))
        found = block + found
        events += sum(len(hit.events) for hit in block)
        end, size = begin - 1, 2 * size
    return trimmed(found, count)


def trimmed(found, count) -> list:
    """Return the last ``count`` events of a list of hits."""
    kept = []
    for hit in reversed(found):
        if count <= 0:
            break
        kept.append(hit._replace(events=hit.events[-count:]))
        count -= len(hit.events)
    return kept[::-1]


def merged(streams):
    """Yield the hits of several logs by time. The order within a log stays."""
    return heapq.merge(*streams, key=lambda hit: hit.at_ns)


class Following:
    """The new records of several logs, with one thread per log. A context manager.

    ``starts`` is cell -> (EventLog, position).
    """

    def __init__(self, starts):
        self._stop = threading.Event()
        self._batches = SimpleQueue()
        self._ahead = {cell: threading.Semaphore(MAX_AHEAD) for cell in starts}
        # Opened here, so that a position that a log does not have is an error at once.
        self._readers = {}
        try:
            for cell, (log, position) in starts.items():
                self._readers[cell] = log.read_from(position)
        except errors.NovaSchedError:
            self._close()
            raise
        self._threads = [
            threading.Thread(target=self._run, args=(cell, reader), name=f"tail {cell}", daemon=True)
            for cell, reader in self._readers.items()
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        for semaphore in self._ahead.values():
            semaphore.release()
        self._close()
        for thread in self._threads:
            thread.join(5)

    def stop(self) -> None:
        """End :meth:`batches`. A signal handler may call it."""
        self._stop.set()
        self._batches.put(None)

    def has_ended(self, seconds: float) -> bool:
        """Wait for :meth:`stop` for at most some seconds; returns whether it was called."""
        return self._stop.wait(seconds)

    def batches(self):
        """Yield (cell, records): a list of new records, a LogUnavailable if the log cannot be read, and None when it
        can be read again. Raise LogGap if a log does not continue at our position. :meth:`stop` ends it."""
        while not self._stop.is_set():
            batch = self._batches.get()
            if batch is None:
                return
            cell, records = batch
            if isinstance(records, errors.NovaSchedError) and not isinstance(records, errors.LogUnavailable):
                raise records
            yield batch
            self._ahead[cell].release()

    def _run(self, cell, reader):
        down = False
        while not self._stop.is_set():
            try:
                records = reader.read(1000, READ_SECONDS)
            except errors.LogUnavailable as fault:
                # The reader continues at its position.
                if not down:
                    self._hand_on(cell, fault)
                down = True
                self._stop.wait(PAUSE_SECONDS)
                continue
            except errors.NovaSchedError as fault:
                self._hand_on(cell, fault)
                return
            if down:
                down = False
                self._hand_on(cell, None)
            if records:
                self._hand_on(cell, records)

    def _hand_on(self, cell, what):
        self._ahead[cell].acquire()
        if not self._stop.is_set():
            self._batches.put((cell, what))

    def _close(self):
        for reader in self._readers.values():
            reader.close()
