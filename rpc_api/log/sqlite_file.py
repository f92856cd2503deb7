"""The file of a SQLite log: where it is, how it is created and opened, and what its errors mean."""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from rpc_api import errors, faults
from rpc_api.log import checks

#: The application id in the header of the file, which ``file(1)`` reads: "nsev".
APPLICATION_ID = 0x6E736576
FORMAT_VERSION = 1

#: The smallest page of SQLite: a SQLite file that is not empty is not smaller.
SMALLEST_BYTES = 512

BUSY_SECONDS = 15.0
POLL_SECONDS = 0.005
SYNCHRONOUS = ("full", "normal")

#: AUTOINCREMENT for its side effect: ``sqlite_sequence`` keeps the last position when its record is truncated.
#: Positions start at 0, like those of a stream, so the sequence starts at -1. ``holes`` are positions without a record
#: in a restored log (see ``SqliteLog.restore``); files of older versions do not have this table.
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


class _Signal:
    """Wakes the readers of one file in this process; ``appends`` shows whether a reader missed one."""

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
            "sqlite:////absolute/path (memory://NAME for a log that is not kept); fix the log URL"
        )
    synchronous = "full"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "synchronous" or value not in SYNCHRONOUS:
            raise errors.UsageError(
                f"cannot open the log {checks.mask_password(url)!r}: it has the option {name!r}, "
                f"wanted none or synchronous={' or '.join(SYNCHRONOUS)}; fix the log URL"
            )
        synchronous = value
    return path, synchronous


class SqliteFile:
    """The file of a log: its path, how it is opened, and its errors."""

    def __init__(self, url: str) -> None:
        self.url = url
        path, self.synchronous = parse_url(url)
        self.path = os.path.realpath(path)
        self.signal = _signal_for(self.path)
        self.inode: tuple[int, int] | None = None

    @contextmanager
    def translating(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into ours: what was done, what SQLite found, what to do."""
        try:
            yield
        except sqlite3.Error as exc:
            if "not a database" in str(exc):
                raise self._not_a_log(str(exc)) from exc
            kind = errors.LogUnavailable if faults.may_pass(exc) else errors.LogRefused
            raise kind(f"cannot {doing} the log {self.url}: {exc}; {self._remedy(exc)}") from exc

    def _remedy(self, exc: sqlite3.Error) -> str:
        text = str(exc)
        if "unable to open" in text and os.path.isdir(self.path):
            return f"{self.path} is a directory, wanted a file: fix the log URL"
        if "unable to open" in text:
            return f"check that {os.path.dirname(self.path)} is a directory that this user may write in"
        if "readonly" in text:
            return f"check that this user may write {self.path} and its directory"
        if "locked" in text or "busy" in text:
            return f"another process locked it for more than {BUSY_SECONDS:.0f} s; end that process"
        if "full" in text or "I/O" in text:
            return f"free space on the file system of {self.path}, and check its quota and health"
        return f"check {self.path}, or name another file in the log URL"

    def create(self) -> None:
        """Create the file and its tables if they do not exist; several processes may do so at once."""
        if not os.path.isdir(os.path.dirname(self.path)):
            raise errors.LogRefused(
                f"cannot create the log {self.url}: {os.path.dirname(self.path)} is not a directory; "
                "create it, or name another path in the log URL"
            )
        self.check_kind()
        deadline = time.monotonic() + BUSY_SECONDS
        with self.translating("create"):
            while True:
                try:
                    return self._create_once()
                except sqlite3.OperationalError as exc:
                    # While it changes to WAL mode, SQLite does not wait for the busy timeout.
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
            connection.close()  # rolls back an unfinished script

    def check_kind(self) -> None:
        """Raise UsageError if the path exists and cannot be a SQLite file. SQLite itself would accept a file of one or
        two bytes as an empty one, and report a full disk for a pipe.

        Looks only at the size: to open and close the file without SQLite would drop the locks that SQLite has on it in
        this process, and two writers at once would damage it.
        """
        if os.path.isdir(self.path) or not os.path.exists(self.path):
            return
        if not os.path.isfile(self.path):
            raise self._not_a_log("it is not a file")
        if 0 < os.path.getsize(self.path) < SMALLEST_BYTES:
            raise self._not_a_log("it is a file of another kind")

    def connect(self) -> sqlite3.Connection:
        """Open another connection to the existing log."""
        self.check_kind()
        if not os.path.exists(self.path):
            directory = os.path.dirname(self.path)
            if os.path.isdir(directory) and not os.access(directory, os.X_OK):
                raise errors.LogRefused(
                    f"cannot open the log {self.url}: this user has no permission to enter {directory}; "
                    "give the user that permission, or run the command as another user"
                )
            raise errors.LogGone(
                f"cannot open the log {self.url}: there is no file {self.path}; "
                "create the log (nova-sched create-log), or fix the log URL"
            )
        with self.translating("open"):
            connection = self._connect("rw")
            try:
                if not self._check_format(connection):
                    # Another process may be creating them.
                    raise errors.LogGone(
                        f"cannot open the log {self.url}: {self.path} has no tables yet; create the log (nova-sched "
                        "create-log), or name another file in the log URL"
                    )
            except BaseException:
                connection.close()
                raise
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        # check_same_thread: a connection is used under a lock here, and the thread that closes the log closes it.
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
        """Return whether the log's tables exist; raise for a file of another kind or version."""
        connection.execute("BEGIN")  # all three at one moment: another process may be creating the file
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
        """Device and inode of the file that the path names now; None if there is no file."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino
