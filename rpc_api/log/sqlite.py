"""The log in a SQLite file: durable, for several processes on one machine, without a server.

The file is in WAL mode, so readers never wait for a writer. An append is one transaction. An append of the same process
wakes a reader at once; for the appends of other processes it reads ``PRAGMA data_version``, which costs some
microseconds, every ``POLL_SECONDS``.
"""

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rpc_api import errors
from rpc_api.log import checks
from rpc_api.log.last_read import LastRead
from rpc_api.log.port import READ_BYTES, Bounds, EventLog, LogReader, Record
from rpc_api.log.sqlite_file import POLL_SECONDS, SqliteFile

LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'records'"
BOUNDS = f"SELECT (SELECT min(position) FROM records), ({LAST})"
HOLE = "SELECT next FROM holes WHERE position <= ? ORDER BY position DESC LIMIT 1"
PAGE = "SELECT position, payload FROM records WHERE position >= ? ORDER BY position LIMIT ?"


class SqliteLog(EventLog):
    """A handle on a log file. Appends and bounds share one connection under a lock; each reader has its own."""

    def __init__(self, file: SqliteFile) -> None:
        self.url = file.url
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        self._readers: weakref.WeakSet[SqliteReader] = weakref.WeakSet()
        self._connection = file.connect()
        file.inode = file.stat()

    @classmethod
    def open(cls, url: str, create: bool = True) -> "SqliteLog":
        """Open the file that ``url`` names; raises UsageError, LogUnavailable, UnknownSchema."""
        file = SqliteFile(url)
        if create:
            file.create()
        return cls(file)

    def append(self, payloads: Sequence[bytes]) -> None:
        checks.check_payloads(payloads)
        with self._lock:
            self._check_usable()
            if not payloads:
                return
            with self._transaction("append to"):
                (last,) = self._connection.execute(LAST).fetchone()
                self._connection.executemany(
                    "INSERT INTO records (position, payload) VALUES (?, ?)", enumerate(payloads, last + 1)
                )
        self._file.signal.notify()

    def restore(self, records: Iterable[Record]) -> int:
        """Write the records of another log at their own positions, which rise and may have holes; returns their number.
        Writes all or none. UsageError unless this log is new and empty.

        The accounts of the records are lost.
        """
        with self._lock:
            self._check_usable()
            with self._transaction("write"):
                if self._connection.execute(LAST).fetchone() != (-1,):
                    raise errors.UsageError(
                        f"cannot write records into the log {self.url} at their positions: "
                        "it has records already; name a new log"
                    )
                count, expected = 0, None
                for record in records:
                    if expected is not None and record.position != expected:
                        self._connection.execute("INSERT INTO holes VALUES (?, ?)", (expected, record.position))
                    self._connection.execute("INSERT INTO records (position, payload) VALUES (?, ?)", record[:2])
                    count, expected = count + 1, record.position + 1
        self._file.signal.notify()
        return count

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """Run the block as one transaction, all or none, which excludes other writers from its start."""
        with self._file.translating(doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back after some errors (a full disk), but not after others.
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise

    def bounds(self) -> Bounds:
        with self._lock:
            self._check_usable()
            with self._file.translating("read the bounds of"):
                first, last = self._connection.execute(BOUNDS).fetchone()
        if last is None:
            raise errors.LogGap(
                f"the log {self.url} has no count of its records any more; remove the file, or restore it"
            )
        if first is not None and not 0 <= first <= last:
            raise errors.LogGap(
                f"the log {self.url} is damaged: its first record is {first}, and its last one {last}; restore the file"
            )
        return Bounds(last + 1 if first is None else first, last)

    def fence(self) -> int:
        return self.bounds().last

    def read_from(self, position: int) -> "SqliteReader":
        checks.check_position(position, self.bounds(), self.url)
        reader = SqliteReader(self._file, position)
        try:
            with self._lock:
                self._check_usable()  # again: the log may have been closed, or the file replaced, meanwhile
                self._readers.add(reader)
        except errors.NovaSchedError:
            reader.close()
            raise
        return reader

    def truncate_before(self, position: int) -> None:
        """Delete the records before ``position``, but never the last one, which has the epoch of the log."""
        with self._lock:
            self._check_usable()
            with self._transaction("truncate"):
                self._connection.execute(
                    "DELETE FROM records WHERE position < ? AND position < (SELECT max(position) FROM records)",
                    (position,),
                )
        self._file.signal.notify()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._connection.close()
            readers = list(self._readers)
        for reader in readers:
            reader.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise checks.closed(self.url)
        if self._file.stat() != self._file.inode:
            # Our connection would write into the removed file, which no process reads.
            raise errors.LogUnavailable(
                f"cannot use the log {self.url}: {self._file.path} was removed or replaced while it was open; "
                "open the log again"
            )

    def __repr__(self) -> str:
        return f"<SqliteLog {self.url}>"


class SqliteReader(LogReader):
    """Reads and follows a log file with its own connection."""

    def __init__(self, file: SqliteFile, position: int) -> None:
        self.position = position
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        self._last_read = LastRead(file.url)
        self._connection = file.connect()

    def read(self, max_records: int = 1000, timeout: float = 0.0, max_bytes: int = READ_BYTES) -> list[Record]:
        checks.check_read(max_records, timeout, max_bytes)
        deadline = time.monotonic() + timeout
        try:
            with self._lock, self._file.translating("read"):
                return self._read(max_records, deadline, max_bytes)
        finally:
            self._release_if_closed()

    def _read(self, max_records: int, deadline: float, max_bytes: int) -> list[Record]:
        signal = self._file.signal
        while True:
            appends, version = signal.appends, self._data_version()
            records = self._next(max_records, max_bytes)
            if records:
                return records
            self._check_same_file()
            while signal.appends == appends and self._data_version() == version:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return []
                with signal.changed:
                    if signal.appends == appends and not self._closed:
                        signal.changed.wait(min(remaining, POLL_SECONDS))
                self._check_same_file()

    def _data_version(self) -> int:
        """Changes when another connection, of any process, has committed to the file."""
        if self._closed:
            raise checks.closed(self._file.url)
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _next(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return the records from ``position`` on, and move the position past them; raise if the log does not have them
        any more."""
        records: list[Record] = []
        size, position, record = 0, self.position, None
        # With the records before it, to check that the log is still the same.
        start, is_first = self._last_read.from_position(position), True
        cursor = self._connection.execute(PAGE, (start, max_records + position - start))
        for row in cursor:
            if is_first:
                self._last_read.expect(row[0])
                is_first = False
            if row[0] < self.position:
                self._last_read.see(*row)
                continue
            record = Record(*row)
            if len(records) == max_records:
                break
            if record.position != position and not self._is_hole(position, record.position):
                break
            records.append(record)
            position = record.position + 1
            size += len(record.payload)
            if size >= max_bytes:
                break
            record = None
        cursor.close()
        if not records:
            self._check_no_gap(record)
        self._last_read.add_all(records)
        self.position = position
        return records

    def _is_hole(self, position: int, following: int) -> bool:
        """Whether the log never had the positions from ``position`` to before ``following``."""
        try:
            row = self._connection.execute(HOLE, (position,)).fetchone()
        except sqlite3.OperationalError:
            return False  # a file of an older version
        return row is not None and row[0] == following

    def _check_no_gap(self, following: Record | None) -> None:
        """Raise unless the record at ``position`` may still be appended; ``following`` is a record after it that was
        found."""
        first, last = self._connection.execute(BOUNDS).fetchone()
        checks.check_position(self.position, Bounds(last + 1 if first is None else first, last), self._file.url)
        if following is not None:
            raise errors.LogGap(
                f"cannot read the log {self._file.url} on from position {self.position}: the next record is "
                f"{following.position}, so records were removed; rebuild from a snapshot"
            )

    def _check_same_file(self) -> None:
        if self._file.stat() != self._file.inode:
            raise errors.LogGap(
                f"cannot read the log {self._file.url} on from position {self.position}: {self._file.path} was "
                "removed or replaced while it was open; open the log again and rebuild"
            )

    def close(self) -> None:
        self._closed = True
        self._file.signal.notify()
        self._release_if_closed()

    def _release_if_closed(self) -> None:
        """Close the connection unless a read uses it: then that read closes it when it ends."""
        if self._closed and self._lock.acquire(blocking=False):
            try:
                self._connection.close()
            finally:
                self._lock.release()
