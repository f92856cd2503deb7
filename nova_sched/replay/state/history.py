"""The state of logs at a moment, folded from the nearest snapshot before it.

Snapshots are looked for where schedulers keep theirs, in an exported file, and in a cache of this module's own, which
it fills while it folds long stretches: asked again, a log of a million events answers within seconds.
"""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from nova_sched.process.checkpoints import all_in
from nova_sched.process.snapshot_store import check_fits
from nova_sched.process.tuning import collector_paused
from nova_sched.projection import snapshot
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.projection.world import World
from nova_sched.replay.logs.reading import TIMEOUT, decoded_records
from nova_sched.replay.logs.times import peeked_time
from nova_sched.replay.state.steps import steps
from rpc_api import errors
from rpc_api.feed.epoch import opening_of

#: Events between two snapshots that are kept, and how many more for each host and consumer: a snapshot of many
#: takes long.
EVERY = 20_000
EVERY_A_HOLDER = 0.2
#: Of all snapshots in the cache; the ones that were not used for longest go first.
CACHE_BYTES = 1 << 30


class Kept(NamedTuple):
    """A snapshot in the cache: of the state after the record at ``position``, whose time is ``at_ns`` (0 where it has
    none) and whose bytes have the digest ``record``."""

    position: int
    at_ns: int
    record: str
    path: Path


class SnapshotCache:
    """Snapshots of logs as files below a directory, by the cell and the URL of the log; what cannot be read or
    written is not there, and what is damaged or of another version is removed."""

    def __init__(self, directory: Path):
        self.directory = directory

    @classmethod
    def of_user(cls) -> "SnapshotCache":
        """That of the user: ``$XDG_CACHE_HOME/nova_sched``, or ``~/.cache/nova_sched``."""
        return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nova_sched")

    def kept(self, cell: str, url: str) -> list[Kept]:
        """All snapshots of a log, by position."""
        found = []
        for path in self._directory(cell, url).glob("*.snapshot"):
            parts = path.stem.split("-")
            if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
                found.append(Kept(int(parts[0]), int(parts[1]), parts[2], path))
        return sorted(found)

    def read(self, kept: Kept) -> bytes | None:
        """The bytes of a snapshot; None where it is damaged, of another version, or gone."""
        try:
            packed = kept.path.read_bytes()
            try:
                snapshot.check(packed)
            except (errors.UnknownSchema, errors.SnapshotMismatch):
                kept.path.unlink(missing_ok=True)
                return None
            os.utime(kept.path)
        except OSError:
            return None
        return packed

    def drop(self, kept: Kept) -> None:
        """Remove a snapshot."""
        with suppress(OSError):
            kept.path.unlink(missing_ok=True)

    def put(self, cell: str, url: str, position: int, at_ns: int | None, record: str, packed: bytes) -> None:
        """Keep a snapshot."""
        path = self._directory(cell, url) / f"{position}-{at_ns or 0}-{record}.snapshot"
        fresh = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_bytes(packed)
            os.replace(fresh, path)
            self._prune()
        except OSError:
            with suppress(OSError):
                fresh.unlink()

    def _prune(self):
        kept = sorted(
            ((path.stat().st_mtime, path.stat().st_size, path) for path in self.directory.glob("*/*.snapshot")),
            reverse=True,
        )
        size = 0
        for _, bytes_, path in kept:
            size += bytes_
            if size > CACHE_BYTES:
                path.unlink(missing_ok=True)

    def _directory(self, cell, url):
        return self.directory / blake2b(f"{cell}\n{url}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class History:
    """The state of some logs at given positions.

    ``logs`` is cell -> EventLog, ``cache`` a :class:`SnapshotCache` or None, ``store`` where schedulers keep their
    snapshots (a :class:`nova_sched.process.snapshot_store.SnapshotStore`) or None. ``progress(cell, done, total)`` is
    called with the number of records that are folded, and ``folded(projection)`` with each state that was folded.
    """

    def __init__(
        self, logs, cache=None, store=None, progress=lambda cell, done, total: None, folded=lambda projection: None
    ):
        self.logs = logs
        self.cache = cache
        self.store = store
        self.progress = progress
        self.folded = folded
        self._openings = {}

    def opening(self, cell):
        """How a cell's log begins, None for an empty log: see :func:`rpc_api.feed.epoch.opening_of`."""
        if cell not in self._openings:
            self._openings[cell] = opening_of(self.logs[cell])
        return self._openings[cell]

    def is_whole(self, cell) -> bool:
        """Whether nothing was removed in front of a cell's log."""
        opening = self.opening(cell)
        if opening is None or opening.whole:
            return True
        return self.logs[cell].bounds().first == 0 and not opening.is_restored

    def world_at(self, positions: dict, unknown: dict | None = None) -> World:
        """The state of all logs after the record at a position of each (cell -> position, -1 or one before
        the first: none).

        Raises LogGap where a log no longer holds what the state follows from and no snapshot helps; with ``unknown``
        such a cell is left out, and why is noted there (cell -> LogGap).
        """
        table = HostTable()
        projections = {}
        for cell, position in positions.items():
            try:
                projections[cell] = self._begin(cell, position, table)
            except errors.LogGap as gap:
                if unknown is None:
                    raise
                unknown[cell] = gap
                continue
            self._fold(projections[cell], position)
        return World(table, projections, InFlight(table))

    def forward(self, world: World, cell: str, position: int, watch=None, step=None) -> None:
        """Fold more of a cell's log into a world, up to a position. ``watch(position, record, outcomes, noted)`` is
        called after each record, or ``step(position, effect)`` after each event
        (:class:`~nova_sched.replay.state.steps.Effect`)."""
        self._fold(world.projections[cell], position, watch, step)

    def beginning(self, cell: str, table: HostTable) -> Projection:
        """The state that a cell's log begins with: nothing, of a whole log or one that was rebased; else that of the
        first snapshot that fits. LogGap where there is none."""
        if self.is_whole(cell):
            return Projection(cell, table)
        last = self.logs[cell].bounds().last
        return (
            self._rebased(cell, last, table)
            or self._from_snapshot(cell, last, table, first=True)
            or self._unknown(cell)
        )

    def _begin(self, cell, position, table):
        opening = self.opening(cell)
        if opening is None or position < 0:
            return Projection(cell, table)
        return (
            self._from_snapshot(cell, position, table)
            or (Projection(cell, table) if self.is_whole(cell) else self._rebased(cell, position, table))
            or self._unknown(cell)
        )

    def _unknown(self, cell):
        raise errors.LogGap(
            f"the log of {cell} begins at position {self.logs[cell].bounds().first}, and what the "
            "state there was is not known; name a store of snapshots that holds it with --snapshots, "
            "or a later moment"
        )

    def _rebased(self, cell, position, table):
        """The state of a log without its beginning, if a LogRebased up to the position starts it again; else
        None."""
        projection = Projection(cell, table, whole=False)
        for at, record in decoded_records(self.logs[cell], None, position):
            projection.fold([(at, record)])
            if projection.whole:
                return projection
        self.folded(projection)
        return None

    def _from_snapshot(self, cell, position, table, first=False):
        """The state of the last snapshot (or the ``first``) up to a position; None where none fits."""
        epoch, log = self.opening(cell).epoch, self.logs[cell]
        found = []
        for packed, of_file in self._snapshots(cell, position, first):
            try:
                head = snapshot.head_of(packed)
                check_fits(head, epoch, log, of_file)
            except (errors.UnknownSchema, errors.LogGap):
                continue  # (A LogGap: the records that would prove it are damaged.)
            if head.cell == cell and head.position <= position:
                found.append((head.position, packed))
        for _, packed in sorted(found, key=lambda found_snapshot: found_snapshot[0], reverse=not first):
            try:
                with collector_paused():
                    return snapshot.load(packed, table)
            except errors.SnapshotMismatch:
                continue
        return None

    def _snapshots(self, cell, position, first):
        """(Bytes, whether they are in one file with the log) of snapshots that may be of a log: of each place that
        keeps some the last one up to a position (or the ``first``), and all of an exported file."""
        log = self.logs[cell]
        packed = None if self.cache is None else self._cached(cell, position, first)
        if packed is not None:
            yield packed, False
        for packed in getattr(log, "snapshots_before", lambda position: ())(position):
            yield packed, True
        for packed in () if self.store is None else self.store.load_all(cell):
            yield packed, False
        if not self.is_whole(cell):
            yield from ((packed, False) for packed in self._checkpoints(cell, position, first))

    def _cached(self, cell, position, first):
        """The bytes of the last snapshot in the cache up to a position (or the ``first``), of those that fit the log.
        Those that were looked at and do not fit it are removed."""
        log, epoch = self.logs[cell], self.opening(cell).epoch
        kept = [one for one in self.cache.kept(cell, log.url) if one.position <= position]
        for one in kept if first else reversed(kept):
            found = _record_at(log, one.position)[1]
            if not found:
                continue  # (The record was removed, or is not there yet.)
            if found != one.record:
                self.cache.drop(one)
                continue
            packed = self.cache.read(one)
            if not _has_proof(packed):
                continue
            try:
                check_fits(snapshot.head_of(packed), epoch, log)
            except errors.SnapshotMismatch:
                self.cache.drop(one)
            except errors.LogGap:
                continue  # (The records that would prove it are damaged.)
            else:
                return packed
        return None

    def _checkpoints(self, cell, position, first):
        """The bytes of the last checkpoint in a log up to a position (or the ``first``), of those that fit it."""
        found = list(all_in(self.logs[cell], cell, self.opening(cell).epoch, position))
        return found[-1:] if first else found[:1]

    def remember(self, world: World) -> None:
        """Keep the states of a world for the time when a cell's log cannot be read, and no later ones than its log has:
        it lost those."""
        for cell, projection in world.projections.items():
            if not self._may_keep(projection):
                continue
            log, is_kept = self.logs[cell], False
            last, (at_ns, record) = log.bounds().last, _record_at(log, projection.position)
            for one in self.cache.kept(cell, log.url):
                if one.position > last or (one.position == projection.position and one.record != record):
                    self.cache.drop(one)
                else:
                    is_kept = is_kept or one.position == projection.position
            if not is_kept:
                self._put(projection, at_ns, record)

    def _may_keep(self, projection):
        return self.cache is not None and projection.whole and projection.epoch and not projection.is_too_new

    def _put(self, projection, at_ns, record):
        """Keep a state in the cache, with the time and the digest of its last record."""
        with collector_paused():
            packed = snapshot.dump(projection)
        url = self.logs[projection.cell].url
        self.cache.put(projection.cell, url, projection.position, at_ns, record, packed)

    def _fold(self, projection, position, watch=None, step=None):
        cell, log = projection.cell, self.logs[projection.cell]
        bounds = log.bounds()
        first = max(projection.position + 1, bounds.first)
        total = max(0, min(position, bounds.last) - first + 1)
        kept_at = events = 0
        for done, (at, record) in enumerate(decoded_records(log, first, position), 1):
            events += len(record.events)
            if step is not None:
                for effect in steps(projection, at, record):
                    step(at, effect)
            else:
                outcomes, noted = projection.fold([(at, record)])
                if watch is not None:
                    watch(at, record, outcomes, noted)
            holders = len(projection.hosts) + len(projection.consumers)
            if events - kept_at >= EVERY + EVERY_A_HOLDER * holders and self._may_keep(projection):
                kept_at = events
                self._put(projection, *_record_at(log, projection.position))
            if not done % 1000 or done == total:
                self.progress(cell, done, total)
        self.folded(projection)


def _has_proof(packed):
    """Whether a snapshot of the cache may prove that it is of its log: those of earlier versions do not."""
    return packed is not None and snapshot.head_of(packed).proof


def _record_at(log, position):
    """(Time, digest) of the record at a position: a log that was recreated or changed mostly has another one there.
    (None, "") where it holds none."""
    bounds = log.bounds()
    if not bounds.first <= position <= bounds.last:
        return None, ""
    with log.read_from(position) as reader:
        found = [record for record in reader.read(1, TIMEOUT) if record.position == position]
    if not found:
        return None, ""
    return peeked_time(found[0].payload), blake2b(found[0].payload, digest_size=8).hexdigest()
