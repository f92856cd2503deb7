"""The state of logs at a moment, folded from the nearest snapshot before it.

Snapshots are looked for where schedulers keep theirs, in an exported file, and in a cache of this module's own, which it fills
while it folds long stretches: asked again, a log of a million events answers within seconds.
"""

import os
from pathlib import Path
from typing import NamedTuple

from nova_sched.projection import snapshot
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.reading import decoded_records
from rpc_api import errors
from rpc_api.log.epoch import opening_of

#: Events between two snapshots that are kept.
EVERY = 50_000
#: Of all snapshots in the cache; the ones that were not used for longest go first.
CACHE_BYTES = 1 << 30


class World(NamedTuple):
    """The state of several logs: one ``table``, cell -> Projection, and claims in flight (none until some are added)."""

    table: HostTable
    projections: dict
    in_flight: InFlight


class SnapshotCache:
    """Snapshots of logs by epoch and position, as files below a directory; what cannot be read or written is not there."""

    def __init__(self, directory: Path):
        self.directory = directory

    @classmethod
    def of_user(cls) -> "SnapshotCache":
        """That of the user: ``$XDG_CACHE_HOME/nova_sched``, or ``~/.cache/nova_sched``."""
        return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nova_sched")

    def before(self, epoch: str, position: int):
        """Yield the last snapshot of a log up to a position, if there is one."""
        kept = [int(path.stem) for path in (self.directory / epoch).glob("*.snapshot") if path.stem.isdigit()]
        path = self._path(epoch, max((one for one in kept if one <= position), default=-1))
        try:
            yield path.read_bytes()
            os.utime(path)
        except OSError:
            return

    def put(self, epoch: str, position: int, packed: bytes) -> None:
        """Keep a snapshot."""
        path = self._path(epoch, position)
        fresh = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_bytes(packed)
            os.replace(fresh, path)
            self._prune()
        except OSError:
            return

    def _prune(self):
        kept = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in self.directory.glob("*/*.snapshot")),
                      reverse=True)
        size = 0
        for _, bytes_, path in kept:
            size += bytes_
            if size > CACHE_BYTES:
                path.unlink(missing_ok=True)

    def _path(self, epoch, position):
        return self.directory / epoch / f"{position}.snapshot"


class History:
    """The state of some logs at positions of theirs.

    ``logs`` is cell -> EventLog, ``cache`` a :class:`SnapshotCache` or None, ``store`` where schedulers keep their snapshots (a
    :class:`nova_sched.snapshots.SnapshotStore`) or None. ``progress(cell, done, total)`` is told how many records of a stretch
    are folded.
    """

    def __init__(self, logs, cache=None, store=None, progress=lambda cell, done, total: None):
        self.logs = logs
        self.cache = cache
        self.store = store
        self.progress = progress
        self._openings = {}

    def opening(self, cell):
        """How a cell's log begins, None for an empty log: see :func:`rpc_api.log.epoch.opening_of`."""
        if cell not in self._openings:
            self._openings[cell] = opening_of(self.logs[cell])
        return self._openings[cell]

    def is_whole(self, cell) -> bool:
        """Whether nothing was removed in front of a cell's log."""
        return self.opening(cell) is None or self.opening(cell).whole or self.logs[cell].bounds().first == 0

    def world_at(self, positions: dict) -> World:
        """The state of all logs after the record at a position of each (cell -> position, -1 or one before the first: none).

        Raises LogGap where a log no longer holds what the state follows from and no snapshot helps.
        """
        table = HostTable()
        projections = {}
        for cell, position in positions.items():
            projections[cell] = self._begin(cell, position, table)
            self._fold(projections[cell], position)
        return World(table, projections, InFlight(table))

    def forward(self, world: World, cell: str, position: int, watch=None) -> None:
        """Fold more of a cell's log into a world, up to a position. ``watch(position, record, outcomes, noted)`` is called after
        each record."""
        self._fold(world.projections[cell], position, watch)

    def beginning(self, cell: str, table: HostTable) -> Projection:
        """The state that a cell's log begins with: nothing, of a whole log or one that was rebased; else that of the first
        snapshot that fits. LogGap where there is none."""
        if self.is_whole(cell):
            return Projection(cell, table)
        last = self.logs[cell].bounds().last
        return self._rebased(cell, last, table) or self._from_snapshot(cell, last, table, first=True) or self._unknown(cell)

    def _begin(self, cell, position, table):
        opening = self.opening(cell)
        if opening is None or position < 0:
            return Projection(cell, table)
        return (self._from_snapshot(cell, position, table)
                or (Projection(cell, table) if self.is_whole(cell) else self._rebased(cell, position, table)) or self._unknown(cell))

    def _unknown(self, cell):
        raise errors.LogGap(f"the log of {cell} begins at position {self.logs[cell].bounds().first}, and what the state there was is "
                            "not known; name a store of snapshots that holds it with --snapshots, or a later moment")

    def _rebased(self, cell, position, table):
        """The state of a log without its beginning where it says itself that it begins anew, by a position; else None."""
        projection = Projection(cell, table, whole=False)
        for one, record in decoded_records(self.logs[cell], None, position):
            projection.fold([(one, record)])
            if projection.whole:
                return projection
        return None

    def _from_snapshot(self, cell, position, table, first=False):
        """The state of the last snapshot (or the ``first``) up to a position; None where none fits."""
        epoch, bounds = self.opening(cell).epoch, self.logs[cell].bounds()
        found = []
        for packed in self._snapshots(cell, epoch, position):
            try:
                head = snapshot.head_of(packed)
                snapshot.check_fits(head, epoch, bounds)
            except (errors.UnknownSchema, errors.SnapshotMismatch):
                continue
            if head.cell == cell and head.position <= position:
                found.append((head.position, packed))
        for _, packed in sorted(found, key=lambda one: one[0], reverse=not first):
            try:
                return snapshot.load(packed, table)
            except errors.SnapshotMismatch:
                continue
        return None

    def _snapshots(self, cell, epoch, position):
        """The bytes of snapshots that may be of a log: the last one up to a position of each place that keeps some, and all of
        an exported file."""
        if self.cache is not None:
            yield from self.cache.before(epoch, position)
        yield from getattr(self.logs[cell], "snapshots_before", lambda position: ())(position)
        packed = None if self.store is None else self.store.load(cell)
        if packed is not None:
            yield packed

    def _fold(self, projection, position, watch=None):
        cell, log = projection.cell, self.logs[projection.cell]
        bounds = log.bounds()
        first = max(projection.position + 1, bounds.first)
        total = max(0, min(position, bounds.last) - first + 1)
        kept_at = events = 0
        for done, (one, record) in enumerate(decoded_records(log, first, position), 1):
            outcomes, noted = projection.fold([(one, record)])
            events += len(record.events)
            if watch is not None:
                watch(one, record, outcomes, noted)
            if self.cache is not None and projection.whole and projection.epoch and events - kept_at >= EVERY:
                kept_at = events
                self.cache.put(projection.epoch, one, snapshot.dump(projection))
            if not done % 1000 or done == total:
                self.progress(cell, done, total)
