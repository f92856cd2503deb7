"""Where snapshots are kept: a directory, or Redis. One snapshot per cell, the newest one."""

import abc
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from nova_sched.projection import snapshot
from rpc_api import codec, errors
from rpc_api.levels import LEVEL
from rpc_api.log import proving
from rpc_api.log.checks import mask_password
from rpc_api.proof import record_digest

LOG = logging.getLogger(__name__)

PREFIX = "nova_sched:snapshot:"
_CELL = re.compile(r"[A-Za-z0-9._-]{1,200}")


class SnapshotStore(abc.ABC):
    """Keeps the bytes of :func:`nova_sched.projection.snapshot.dump` by the name of the cell.

    A snapshot above level 1 has a name of its own (``CELL@LEVEL``), so that a service that does not know the level, and
    whose state is not that of the log any more, does not overwrite it.
    """

    def save(self, cell: str, packed: bytes) -> None:
        """Put a cell's snapshot in the place of the last one, in one step; LogUnavailable when it cannot be kept."""
        level = snapshot.level_of(packed)
        self._put(_name(cell, level), packed)
        for higher in range(level + 1, LEVEL + 1):
            self._drop(_name(cell, higher))

    def load(self, cell: str) -> bytes | None:
        """The snapshot of a cell of the highest level, None when there is none; LogUnavailable when the store cannot be
        read."""
        return next(self.load_all(cell), None)

    def load_all(self, cell: str) -> Iterator[bytes]:
        """Yield the snapshots of a cell, that of the highest level first: a log that lost its pin goes on at the level
        before. LogUnavailable when the store cannot be read."""
        for level in range(LEVEL, 0, -1):
            packed = self._get(_name(cell, level))
            if packed is not None:
                yield packed

    @abc.abstractmethod
    def _put(self, name: str, packed: bytes) -> None:
        """Keep bytes under a name, in one step."""

    @abc.abstractmethod
    def _get(self, name: str) -> bytes | None:
        """The bytes under a name, None if there are none."""

    @abc.abstractmethod
    def _drop(self, name: str) -> None:
        """Remove what is kept under a name, if there is something."""

    @abc.abstractmethod
    def where(self, cell: str) -> str:
        """The name of the file or key of a cell's snapshot, for people."""

    def kept_at_ns(self, cell: str) -> int | None:
        """When a cell's snapshot was kept (nanoseconds since 1970); None where there is none, or the store
        does not say."""


def _name(cell, level):
    if not _CELL.fullmatch(cell):
        raise errors.UsageError(
            f"a snapshot cannot be kept under the name {cell!r}, wanted letters, digits, dots, "
            "dashes and underscores; rename the cell"
        )
    return cell if level == 1 else f"{cell}@{level}"


def check_fits(head: snapshot.Head, epoch: str | None, log, in_one_file: bool = False) -> None:
    """Raise SnapshotMismatch unless a log (an EventLog, its epoch) goes on where a snapshot ends, and the snapshot
    proves to be of it. Raises as the log's readers do when it cannot be read.

    With ``in_one_file`` both were exported into one file: then they are of one history, and the record that would prove
    it need not be in the file.
    """
    if head.epoch != epoch:
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} is of the log {head.epoch}, this log is {epoch}; "
            "remove the snapshot, or name the log that it was made of"
        )
    bounds = log.bounds()
    if head.position < 0 and bounds.first == 0:
        return  # it is of a log before its first record
    if in_one_file:
        wrong = None if bounds.first - 1 <= head.position <= bounds.last else "it is of another part of the log"
    else:
        wrong = proving.check(log, bounds, head.proof)
    if wrong is not None:
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} at position {head.position} does not prove to be "
            f"of this log, which holds {bounds.first} to {bounds.last}: {wrong}; take a "
            "newer snapshot, or fold the log"
        )


def proven_by_marks(packed: bytes, log) -> bytes | None:
    """A snapshot of a version that made no proofs, with a proof, if the marks of the producers in its state are those
    of the last records of the log up to its position; else None. Raises SnapshotMismatch where it cannot be loaded, and
    as the log's readers do.

    A log that has lost records and grown again has other records there, whose marks the state does not have. Only in
    what order several producers came is not seen: use it only where the state cannot be had in another way.
    """
    state = snapshot.load(packed)
    records = proving.records_up_to(log, log.bounds(), state.position)
    marks = {}
    for record in records:
        found = codec.decode_record(record.payload, record.account)
        for event in found.events if found.epoch == state.epoch else ():
            if type(event) is not codec.Event:
                continue
            if event.name == "LogRebased":
                marks.clear()  # the state has forgotten those before it
            marks[event.producer] = max(marks.get(event.producer, (0, 0)), (event.producer_epoch, event.sequence))
    if not marks or any(state.producers.get(name) != mark for name, mark in marks.items()):
        return None
    return snapshot.with_proof(packed, tuple((record.position, record_digest(record.payload)) for record in records))


def keep_newest(store, cell: str, packed: bytes, log) -> bool:
    """Keep a snapshot in a store, unless a newer one is kept there that proves to be of the log too: the process that
    made this one may have hung until records that its state lacks were removed, and is then going to need that one.
    Returns whether it is kept. SnapshotMismatch where this one is not of the log, and other errors of log and store."""
    head = snapshot.head_of(packed)
    check_fits(head, head.epoch, log)
    try:
        kept = store.load(cell)
        other = None if kept is None else snapshot.check(kept)
        if other is not None and other.position >= head.position:
            check_fits(other, head.epoch, log)
            if other.position > head.position:
                return False
            if other.digest != head.digest:
                LOG.error(
                    "two states of %s at position %d differ, %s here and %s in the snapshot of another service; "
                    "compare both with the log (nova-sched snapshot --compare) and restart the service whose "
                    "state differs from it",
                    cell,
                    head.position,
                    head.digest,
                    other.digest,
                )
    except errors.NovaSchedError as fault:
        LOG.debug("the snapshot of %s that is kept is replaced: %s", cell, fault)
    store.save(cell, packed)
    return True


class FileStore(SnapshotStore):
    """Files ``CELL.snapshot`` in a directory; who holds ``CELL.lock`` is the one who writes."""

    def __init__(self, directory: str):
        self._directory = Path(directory)

    def _path(self, name):
        return self._directory / f"{name}.snapshot"

    def where(self, cell):
        return str(self._newest(cell))

    def _newest(self, cell):
        paths = [self._path(_name(cell, level)) for level in range(LEVEL, 0, -1)]
        return next((path for path in paths if path.exists()), paths[-1])

    def prepare(self) -> None:
        """Make the directory, if it is not there; LogUnavailable where that cannot be."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"the directory of the snapshots {self._directory} cannot be made "
                f"({fault.strerror}); fix [snapshots] url, "
                "or check its file system"
            ) from None

    def _put(self, name, packed):
        path = self._path(name)
        fresh = path.with_suffix(".new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with open(path.with_suffix(".lock"), "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # the conductors of a cell all write it; closing gives it back
                with open(fresh, "wb") as file:
                    file.write(packed)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(fresh, path)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"the snapshot {path} cannot be written ({fault.strerror}); check the directory of the snapshots"
            ) from None

    def kept_at_ns(self, cell):
        try:
            return self._newest(cell).stat().st_mtime_ns
        except OSError:
            return None

    def _drop(self, name):
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"the old snapshot {path} cannot be removed ({fault.strerror}); check the directory of the snapshots"
            ) from None

    def _get(self, name):
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise errors.LogUnavailable(
                f"the snapshot {path} cannot be read ({fault.strerror}); check the directory of the snapshots"
            ) from None


class RedisStore(SnapshotStore):
    """Keys ``nova_sched:snapshot:CELL`` (or ``CELL@LEVEL``) of a Redis (or Valkey) server; ``client`` is a
    ``redis.Redis``."""

    def __init__(self, client, shown: str = "redis"):
        import redis

        self._errors = redis.RedisError
        self._client = client
        self._shown = shown

    def where(self, cell):
        return f"{PREFIX}{cell} in {self._shown}"

    def _put(self, name, packed):
        self._try(self._client.set, PREFIX + name, packed)

    def _get(self, name):
        return self._try(self._client.get, PREFIX + name)

    def _drop(self, name):
        self._try(self._client.delete, PREFIX + name)

    def _try(self, command, *arguments):
        try:
            return command(*arguments)
        except self._errors as fault:
            raise self._unavailable(fault) from None

    def _unavailable(self, fault):
        return errors.LogUnavailable(
            f"the snapshots in {self._shown} cannot be reached ({str(fault)[:200]}); check the Redis server"
        )


def open_store(url: str) -> SnapshotStore:
    """Open a store: ``file:///DIRECTORY``, or ``redis://[:PASSWORD@]HOST:PORT/DB`` (``rediss://`` with TLS)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _no_redis() from None
    if parts.scheme == "file" and (parts.netloc or not parts.path):
        raise errors.UsageError(
            f"the snapshot URL {mask_password(url)!r} names no directory from the root on, "
            "wanted file:///DIRECTORY; fix it"
        )
    if parts.scheme == "file":
        return FileStore(parts.path)
    if parts.scheme in ("redis", "rediss"):
        try:
            import redis
        except ImportError:
            raise errors.UsageError(
                "snapshots in Redis need the package redis, which is not installed; pip install 'nova_sched[redis]'"
            ) from None
        try:
            shown = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
            return RedisStore(redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5), shown)
        except ValueError:
            raise _no_redis() from None
    raise errors.UsageError(
        f"the snapshot URL has the scheme {parts.scheme!r}, wanted file:///DIRECTORY or redis://...; fix it"
    )


def _no_redis():
    # Without the text of the fault: it quotes what stands where a port was looked for, and that may be of the password.
    return errors.UsageError(
        "the snapshot URL cannot be used, wanted redis://[:PASSWORD@]HOST:PORT/DB and options "
        "that redis-py knows; fix it, and percent-encode what its password has of @ : / ? #"
    )


def store_of(conf) -> SnapshotStore | None:
    """The store that ``[snapshots] url`` names; None where it names none. LogUnavailable for a directory that
    cannot be made."""
    store = open_store(conf.snapshots.url) if conf.snapshots.url else None
    if isinstance(store, FileStore):
        store.prepare()
    return store
