"""The log in a SQLite file: durable, for several processes on one machine, without a server.

The file is in WAL mode, so readers never wait for a writer. An append is one
transaction. A reader is woken at once by an append of its own process; what
other processes append it sees by asking ``PRAGMA data_version``, which costs
some microseconds, every ``POLL_SECONDS``.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from rpc_api import errors, faults
from rpc_api.log import checks
from rpc_api.log.port import Bounds, EventLog, LogReader, Record

#: Says "a log of ours" in the header of the file, as ``file(1)`` reads it: "nsev".
APPLICATION_ID = 0x6E736576
FORMAT_VERSION = 1

#: The smallest page of SQLite: no file of it that is not empty is smaller.
SMALLEST_BYTES = 512

BUSY_SECONDS = 15.0
POLL_SECONDS = 0.005
SYNCHRONOUS = ("full", "normal")

#: AUTOINCREMENT for its side effect: ``sqlite_sequence`` keeps the last position when its record is truncated.
#: Positions start at 0, as those of a stream do, so the sequence starts at -1. ``holes`` are positions that the log
#: was given without (see :meth:`SqliteLog.restore`); files of older versions have none, and not the table.
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS holes (position INTEGER PRIMARY KEY, next INTEGER NOT NULL);
INSERT INTO sqlite_sequence (name, seq) SELECT 'records', -1
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'records');
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
COMMIT;
"""
LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'records'"
BOUNDS = f"SELECT (SELECT min(position) FROM records), ({LAST})"
HOLE = "SELECT next FROM holes WHERE position <= ? ORDER BY position DESC LIMIT 1"
PAGE = "SELECT position, payload FROM records WHERE position >= ? ORDER BY position LIMIT ?"


class _Signal:
    """Wakes the readers of one file in this process; ``appends`` tells whether one was missed."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.appends = 0

    def notify(self) -> None:
        with self.changed:
            self.appends += 1
            self.changed.notify_all()


_signals: "weakref.WeakValueDictionary[str, _Signal]" = weakref.WeakValueDictionary()
_signals_lock = threading.Lock()


def _signal_for(real_path: str) -> _Signal:
    with _signals_lock:
        signal = _signals.get(real_path)
        if signal is None:
            signal = _signals[real_path] = _Signal()
        return signal


def parse_url(url: str) -> tuple[str, str]:
    """Return (path, synchronous) of ``sqlite:///relative`` or ``sqlite:////absolute``; raises UsageError."""
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc or parts.fragment or path in ("", "/", ":memory:"):
        raise errors.UsageError(
            f"cannot open the log {checks.mask_password(url)!r}: wanted sqlite:///relative/path or "
            "sqlite:////absolute/path (memory://NAME for one that is not kept); mend the log URL"
        )
    synchronous = "full"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "synchronous" or value not in SYNCHRONOUS:
            raise errors.UsageError(
                f"cannot open the log {checks.mask_password(url)!r}: it has the option {name!r}, "
                f"wanted none or synchronous={' or '.join(SYNCHRONOUS)}; mend the log URL"
            )
        synchronous = value
    return path, synchronous


class _File:
    """Where the log is, how it is opened, and what its errors are called."""

    def __init__(self, url: str) -> None:
        self.url = url
        path, self.synchronous = parse_url(url)
        self.path = os.path.realpath(path)
        self.signal = _signal_for(self.path)
        self.inode: tuple[int, int] | None = None

    @contextmanager
    def translating(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into ours: what was done, what SQLite found, where to mend it."""
        try:
            yield
        except sqlite3.Error as exc:
            if "not a database" in str(exc):
                raise self._not_a_log(str(exc)) from exc
            kind = errors.LogUnavailable if faults.may_pass(exc) else errors.LogRefused
            raise kind(f"cannot {doing} the log {self.url}: {exc}; {self._mend(exc)}") from exc

    def _mend(self, exc: sqlite3.Error) -> str:
        text = str(exc)
        if "unable to open" in text and os.path.isdir(self.path):
            return f"{self.path} is a directory, wanted a file: mend the log URL"
        if "unable to open" in text:
            return f"check that {os.path.dirname(self.path)} is a directory that this user may write in"
        if "readonly" in text:
            return f"check that this user may write {self.path} and its directory"
        if "locked" in text or "busy" in text:
            return f"another process held it for more than {BUSY_SECONDS:.0f} s; end that one"
        if "full" in text or "I/O" in text:
            return f"free space on the file system of {self.path}, and check its quota and health"
        return f"check {self.path}, or name another file in the log URL"

    def create(self) -> None:
        """Make the file and its tables where they are not there yet; several processes may do so at once."""
        if not os.path.isdir(os.path.dirname(self.path)):
            raise errors.LogRefused(
                f"cannot create the log {self.url}: {os.path.dirname(self.path)} is no directory; "
                "make it, or name another path in the log URL"
            )
        self.check_kind()
        deadline = time.monotonic() + BUSY_SECONDS
        with self.translating("create"):
            while True:
                try:
                    return self._create_once()
                except sqlite3.OperationalError as exc:
                    # On the way to WAL mode SQLite says so at once, whatever the busy timeout.
                    if "locked" not in str(exc) or time.monotonic() >= deadline:
                        raise
                    time.sleep(POLL_SECONDS)

    def _create_once(self) -> None:
        connection = self._connect("rwc")
        try:
            if not self._check_format(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
        finally:
            connection.close()  # and so rolls back what did not come to its end

    def check_kind(self) -> None:
        """Raise UsageError for what is there and cannot be a SQLite file;
        SQLite itself takes a byte or two for an empty one, and says of a pipe that the disk is full.

        By its size alone: whoever opens the file past SQLite and closes it again gives up the locks that SQLite holds
        on it in this process, and two that write at once then spoil it.
        """
        if os.path.isdir(self.path) or not os.path.exists(self.path):
            return
        if not os.path.isfile(self.path):
            raise self._not_a_log("it is no file")
        if 0 < os.path.getsize(self.path) < SMALLEST_BYTES:
            raise self._not_a_log("it is a file of another kind")

    def connect(self) -> sqlite3.Connection:
        """Open another connection to the log that is there."""
        self.check_kind()
        if not os.path.exists(self.path):
            raise errors.LogUnavailable(
                f"cannot open the log {self.url}: there is no file {self.path}; "
                "create the log first, or mend the log URL"
            )
        with self.translating("open"):
            connection = self._connect("rw")
            try:
                if not self._check_format(connection):
                    raise self._not_a_log("it has no tables")
            except BaseException:
                connection.close()
                raise
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        # check_same_thread: a connection is used under a lock here, and closed by whoever closes the log.
        connection = sqlite3.connect(
            f"file:{quote(self.path)}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_format(self, connection: sqlite3.Connection) -> bool:
        """Return whether the log's tables are there; raise for a file of another kind or version."""
        connection.execute("BEGIN")  # all three of one moment: another process may be creating it
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
        if not tables and not application_id:
            return False
        if application_id != APPLICATION_ID:
            raise self._not_a_log("it is the SQLite file of another program")
        if version != FORMAT_VERSION:
            raise errors.UnknownSchema(
                f"cannot open the log {self.url}: its format is {version}, wanted {FORMAT_VERSION}; "
                "use the version of nova_sched that wrote it"
            )
        return True

    def _not_a_log(self, found: str) -> errors.UsageError:
        return errors.UsageError(
            f"cannot open the log {self.url}: {self.path} is not a log of nova_sched ({found}); "
            "name another file in the log URL"
        )

    def stat(self) -> tuple[int, int] | None:
        """Device and inode of the file that the path names now; None when there is none."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


class SqliteLog(EventLog):
    """A handle on a log file; appends and bounds share one connection under a lock, each reader has its own."""

    def __init__(self, file: _File) -> None:
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
        file = _File(url)
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
        """Write records of another log at their own positions, which rise and may leave some out; returns how many.
        All or none are written. UsageError unless this log is new and empty.

        What vouched for their accounts does not come with them.
        """
        with self._lock:
            self._check_usable()
            with self._transaction("write"):
                if self._connection.execute(LAST).fetchone() != (-1,):
                    raise errors.UsageError(
                        f"cannot write records into the log {self.url} at their positions: "
                        "it was begun already; name a new one"
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
        """Run the block as one transaction, all or none, that keeps other writers out from its start."""
        with self._file.translating(doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors (a full disk), not after others.
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise

    def bounds(self) -> Bounds:
        with self._lock:
            self._check_usable()
            with self._file.translating("read the bounds of"):
                first, last = self._connection.execute(BOUNDS).fetchone()
        if last is None:
            raise errors.LogGap(f"the log {self.url} has lost the count of its records; remove the file, or restore it")
        if first is not None and not 0 <= first <= last:
            raise errors.LogGap(
                f"the log {self.url} is damaged: its first record is {first}, and its last one {last}; restore the file"
            )
        return Bounds(last + 1 if first is None else first, last)

    def read_from(self, position: int) -> "SqliteReader":
        checks.check_position(position, self.bounds(), self.url)
        reader = SqliteReader(self._file, position)
        try:
            with self._lock:
                self._check_usable()  # again: it may have been closed, or the file replaced, in between
                self._readers.add(reader)
        except errors.NovaSchedError:
            reader.close()
            raise
        return reader

    def truncate_before(self, position: int) -> None:
        """Delete the records before ``position``, and never the last one: it says which log this is."""
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
            # Our connection still writes into the file that is no longer there: nobody would ever read it.
            raise errors.LogUnavailable(
                f"cannot use the log {self.url}: {self._file.path} was removed or replaced while it was open; "
                "open the log again"
            )

    def __repr__(self) -> str:
        return f"<SqliteLog {self.url}>"


class SqliteReader(LogReader):
    """Reads and follows a log file with a connection of its own."""

    def __init__(self, file: _File, position: int) -> None:
        self.position = position
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        #: The payload of the record before ``position``, once we have seen it.
        self._previous: bytes | None = None
        self._connection = file.connect()

    def read(self, max_records: int = 1000, timeout: float = 0.0) -> list[Record]:
        checks.check_read(max_records, timeout)
        deadline = time.monotonic() + timeout
        try:
            with self._lock, self._file.translating("read"):
                return self._read(max_records, deadline)
        finally:
            self._release_if_closed()

    def _read(self, max_records: int, deadline: float) -> list[Record]:
        signal = self._file.signal
        while True:
            appends, version = signal.appends, self._data_version()
            records = self._next(max_records)
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
        """Changes whenever another connection, of whatever process, has committed to the file."""
        if self._closed:
            raise checks.closed(self._file.url)
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _next(self, max_records: int) -> list[Record]:
        """Return what follows ``position`` and step over it; raise when the log no longer holds it."""
        records: list[Record] = []
        size, position, record = 0, self.position, None
        # With the record before it: whether the log still goes on where we are.
        cursor = self._connection.execute(PAGE, (position - 1, max_records + 1))
        for row in cursor:
            record = Record(*row)
            if record.position == position - 1 and not records:
                self._previous = checks.check_previous(self._previous, record.payload, record.position, self._file.url)
                record = None
                continue
            if len(records) == max_records:
                break
            if record.position != position and not self._is_hole(position, record.position):
                break
            records.append(record)
            position = record.position + 1
            size += len(record.payload)
            if size >= checks.READ_BYTES_MAX:
                break
            record = None
        cursor.close()
        if not records:
            self._check_no_gap(record)
        else:
            self._previous = records[-1].payload
        self.position = position
        return records

    def _is_hole(self, position: int, following: int) -> bool:
        """Whether the log never had the positions from one to before another."""
        try:
            row = self._connection.execute(HOLE, (position,)).fetchone()
        except sqlite3.OperationalError:
            return False  # a file of an older version
        return row is not None and row[0] == following

    def _check_no_gap(self, following: Record | None) -> None:
        """Raise unless ``position`` may still come; ``following`` is a record found beyond it."""
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
        """Close the connection unless a read is using it: that read then does so when it ends."""
        if self._closed and self._lock.acquire(blocking=False):
            try:
                self._connection.close()
            finally:
                self._lock.release()
