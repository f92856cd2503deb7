"""The log in the memory of one process: for tests and simulation.

``memory://NAME`` is the same log everywhere in the process. Like a file, it exists until :meth:`MemoryLog.delete`.
"""

import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from rpc_api import errors
from rpc_api.log import checks
from rpc_api.log.last_read import LastRead
from rpc_api.log.port import READ_BYTES, Bounds, EventLog, LogReader, Record


class _Store:
    """The records of one name; every field is read and written under ``changed``."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.first = 0
        self.payloads: list[bytes] = []
        self.deleted = False

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.first, self.first + len(self.payloads) - 1)


_stores: dict[str, _Store] = {}
_stores_lock = threading.Lock()


class MemoryLog(EventLog):
    """A handle on a named log of this process. Records are kept until the process ends."""

    def __init__(self, url: str, name: str, store: _Store) -> None:
        self.url = url
        self._name = name
        self._store = store
        self._closed = False

    @classmethod
    def open(cls, url: str, create: bool = True) -> "MemoryLog":
        """Open ``memory://NAME``; UsageError for another form, LogGone for a missing one if not ``create``."""
        parts = urlsplit(url)
        name = parts.netloc
        if not name or "@" in name or parts.path or parts.query or parts.fragment:
            raise errors.UsageError(
                f"cannot open the log {checks.mask_password(url)!r}: wanted memory://NAME and no more; fix the log URL"
            )
        with _stores_lock:
            if name not in _stores:
                if not create:
                    raise errors.LogGone(
                        f"cannot open the log {url}: this process has no log of that name; "
                        "create it first, or name one that is there"
                    )
                _stores[name] = _Store()
            return cls(url, name, _stores[name])

    def append(self, payloads: Sequence[bytes]) -> None:
        checks.check_payloads(payloads)
        with self._store.changed:
            self._check_usable()
            self._store.payloads.extend(payloads)
            self._store.changed.notify_all()

    def bounds(self) -> Bounds:
        with self._store.changed:
            self._check_usable()
            return self._store.bounds

    def fence(self) -> int:
        return self.bounds().last

    def read_from(self, position: int) -> "MemoryReader":
        checks.check_position(position, self.bounds(), self.url)
        return MemoryReader(self, position)

    def truncate_before(self, position: int) -> None:
        """Drop the records before ``position``, but never the last one, as the retention of a real log does."""
        with self._store.changed:
            self._check_usable()
            first, last = self._store.bounds
            keep_from = max(first, min(position, last))
            del self._store.payloads[: keep_from - first]
            self._store.first = keep_from
            self._store.changed.notify_all()

    def lose_tail(self, count: int) -> None:
        """Drop the last ``count`` records, but not the first one, as a power cut does to a real log. Its readers
        continue as after a lost connection."""
        with self._store.changed:
            self._check_usable()
            keep = max(1, len(self._store.payloads) - count)
            del self._store.payloads[keep:]
            self._store.changed.notify_all()

    def delete(self) -> None:
        """Remove the log from the process: its readers get LogGap, and the name can be used again."""
        with _stores_lock:
            if _stores.get(self._name) is self._store:
                del _stores[self._name]
        with self._store.changed:
            self._store.deleted = True
            self._store.changed.notify_all()

    def close(self) -> None:
        with self._store.changed:
            self._closed = True
            self._store.changed.notify_all()

    def _check_usable(self) -> None:
        if self._closed:
            raise checks.closed(self.url)
        if self._store.deleted:
            raise errors.LogUnavailable(f"cannot use the log {self.url}: it was deleted; open it again to create it")

    def __repr__(self) -> str:
        return f"<MemoryLog {self.url}>"


class MemoryReader(LogReader):
    """Reads a :class:`MemoryLog`; an append of any handle on the same name wakes it at once."""

    def __init__(self, log: MemoryLog, position: int) -> None:
        self.position = position
        self._log = log
        self._store = log._store
        self._closed = False
        self._last_read = LastRead(log.url)
        with self._store.changed:
            self._check_last_read()

    def read(self, max_records: int = 1000, timeout: float = 0.0, max_bytes: int = READ_BYTES) -> list[Record]:
        checks.check_read(max_records, timeout, max_bytes)
        deadline = time.monotonic() + timeout
        with self._store.changed:
            while True:
                self._check_usable()
                records = self._next(max_records, max_bytes)
                remaining = deadline - time.monotonic()
                if records or remaining <= 0:
                    return records
                self._store.changed.wait(remaining)

    def _next(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return the records from ``position`` on, within both limits, and move the position past them."""
        start = self.position - self._store.first
        payloads = self._store.payloads[start : start + max_records]
        del payloads[checks.count_within(map(len, payloads), max_bytes) :]
        records = [Record(position, payload) for position, payload in enumerate(payloads, self.position)]
        self.position += len(records)
        self._last_read.add_all(records)
        return records

    def _check_last_read(self) -> None:
        first = max(self._store.first, self._last_read.from_position(self.position))
        self._last_read.expect(first)
        before = self._store.payloads[first - self._store.first : max(0, self.position - self._store.first)]
        for position, payload in enumerate(before, first):
            self._last_read.see(position, payload)

    def _check_usable(self) -> None:
        if self._closed or self._log._closed:
            raise checks.closed(self._log.url)
        if self._store.deleted:
            raise errors.LogGap(
                f"cannot read the log {self._log.url} on from position {self.position}: it was deleted; "
                "open it again and rebuild"
            )
        checks.check_position(self.position, self._store.bounds, self._log.url)
        self._check_last_read()

    def close(self) -> None:
        with self._store.changed:
            self._closed = True
            self._store.changed.notify_all()
