"""Restore the log of a cell from a backup: an exported file with all that it had."""

import uuid
from typing import NamedTuple

from nova_sched.process.checkpoints import PART_BYTES
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from nova_sched.replay.archive.export import import_log, needs_accounts
from nova_sched.replay.state.history import History
from rpc_api import codec, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.events.cloud import StateKept
from rpc_api.proof import Trail


class Restored(NamedTuple):
    """What :func:`restore` wrote: the last position of the new log, the digest of its state, and whether it has the
    ``records`` of the backup or only its state."""

    position: int
    digest: str
    records: bool


def state_of(cell: str, log, position: int | None = None) -> Projection:
    """The state of a log at a position, by default its last one; LogGap if that is not known."""
    last = log.bounds().last if position is None else position
    return History({cell: log}).world_at({cell: last}).projections[cell]


def restore(log, cell: str, target, producer: str, progress=lambda label, done, total: None) -> Restored:
    """Write an exported log into a new, empty one. It gets the same records at the same positions if the back-end can
    keep them and no account must be proven; else the state, as a checkpoint after a LogRestored.

    Raises UsageError for a log that is not empty, and LogGap if the state of the backup is not known. Nothing is
    written then.
    """
    bounds = target.bounds()
    if bounds.count or bounds.first:
        raise errors.UsageError(f"{target.url} has records already, wanted an empty log; name another one")
    state = state_of(cell, log)
    if state.is_too_new:
        raise state.unknown_level()
    if _keeps_positions(log, target) and needs_accounts(log) is None:
        _prove_records(cell, log, state)
        import_log(log, target, progress)
        written = True
    else:
        state = _write_state(state, cell, target, producer)
        written = False
    found = state_of(cell, target)
    if written and state_digest(found) != state_digest(state):
        raise errors.SnapshotMismatch(
            f"the new log {target.url} does not give the state of the backup; remove it, and restore into another one"
        )
    return Restored(found.position, state_digest(found), written)


class _Records:
    """An exported log without the snapshots in its file: a new log gets only its records."""

    def __init__(self, log):
        self.url, self.bounds, self.read_from = log.url, log.bounds, log.read_from


def _prove_records(cell, log, state):
    """Raise LogGap or SnapshotMismatch unless the records alone give the state of an exported log."""
    try:
        found = state_of(cell, _Records(log))
    except errors.LogGap:
        raise errors.LogGap(
            f"{log.url} begins at position {log.bounds().first}, and from its records alone the state there is not "
            "known, so nothing is restored; take a file of nova-sched backup"
        ) from None
    if state_digest(found) != state_digest(state):
        raise errors.SnapshotMismatch(
            f"the records of {log.url} do not give the state in it, so nothing is restored; take another backup"
        )


def _keeps_positions(log, target):
    """Whether the records get the positions that they had."""
    if hasattr(target, "restore"):
        return True
    bounds = log.bounds()
    # A stream takes positions for itself when it begins a segment, so a long log would not keep them.
    return bounds.first == 0 and bounds.count <= 100 and not target.is_cut_by_policy


def _write_state(state, cell, target, producer):
    """Begin a log with the state of another one; returns the state at its first record."""
    if state.level < StateKept.LEVEL:
        raise errors.UsageError(
            f"the backup of {cell} is of a log at level {state.level}: only its records can be restored, with their "
            "positions, into sqlite:///FILE; its hosts report to a new stream by themselves"
        )
    if cell == CELL0 and state.anchors:
        raise errors.UsageError(
            f"the backup of {cell} has anchors of affinity groups, which are positions of its records: restore it into "
            "sqlite:///FILE"
        )
    epoch, number, now_ns = str(uuid.uuid4()), 0, SYSTEM.now_ns()

    def append(data):
        nonlocal number
        number += 1
        event = codec.make_event(data, producer, now_ns, number, now_ns)
        payload = codec.encode_record(epoch, [event], state.level)
        target.append([payload])
        return payload

    began = append(events.LogRestored(cell, epoch, state.epoch, max(0, state.position)))
    first = target.bounds().last
    state.epoch, state.position, state.trail = epoch, first, Trail()
    state.trail.add((first, began))
    state.producers[producer] = now_ns, number
    state.use_level(state.level, first)
    for entries in state.consumers.values():
        for entry in entries:
            entry.position = first
    packed, checkpoint = snapshot.dump(state), str(uuid.uuid4())
    contents = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
    for part, content in enumerate(contents):
        append(events.StateKept(checkpoint, first, part, len(contents), content))
    append(events.CheckpointNamed(checkpoint, first, first + 1, target.bounds().last))
    return state
