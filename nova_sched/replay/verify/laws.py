"""The laws of logs, checked in one fold: the same state from a snapshot on the way, nothing claimed twice, no group
broken, no event missing."""

from typing import NamedTuple

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.verify.audit import Audit, taken_out
from rpc_api import errors
from rpc_api.codec import Event

#: Number of sentences to keep; all are counted.
KEPT = 100
#: The share of a log after which the snapshot is taken. Only the rest is folded twice, because folding everything twice
#: would take twice as long.
SNAPSHOT_AT = 7 / 8


class Folded(NamedTuple):
    """A cell's log folded to its end: ``first`` is the first position, ``projection`` the state, ``counts`` a Counter
    of the projection, ``breaches`` are sentences about broken laws, ``gaps`` sentences about missing events."""

    cell: str
    first: int
    records: int
    events: int
    projection: object
    digest: str
    counts: dict
    breaches: list
    gaps: list


def fold_all(history, cell: str, begin: int | None = None, audit: Audit | None = None, take=None) -> Folded:
    """Fold a cell's log to its end, from its beginning or from the record after a position.

    With an ``audit`` its laws are checked. ``take(cell, position, event, level)`` gets each readable event, with the
    level of its record. Raise LogGap if
    the state at the beginning is not known.
    """
    log = history.logs[cell]
    projection = _beginning(history, cell, begin)
    bounds = log.bounds()
    first = max(bounds.first, projection.position + 1)
    if audit is not None:
        audit.begin(cell, projection)
        projection.writes = []
    middle, other = first + int((bounds.last - first) * SNAPSHOT_AT), None
    gaps, events_seen, records = [], 0, 0
    for position, record in decoded_records(log, first):
        outcomes, noted = projection.fold([(position, record)])
        aside = taken_out(projection)
        if other is not None:
            other.fold([(position, record)])
            other.quarantine.clear()
        elif audit is not None and position >= middle and _may_keep(projection):
            other = snapshot.load(snapshot.dump(projection), HostTable())
        if audit is not None and projection.whole:
            audit.record(cell, position, record, outcomes, aside, projection)
        if take is not None:
            for event in record.events:
                if type(event) is Event:
                    take(cell, position, event, record.level)
        for note in noted:
            if note.kind == "sequence-gap" and len(gaps) < KEPT:
                gaps.append(f"{cell} {note.position}: {note.detail}")
        projection.noted.clear()
        records += 1
        events_seen += len(record.events)
        if not records % 1000 or position == bounds.last:
            history.progress(cell, position - first + 1, bounds.last - first + 1)
    history.folded(projection)
    digest, breaches = state_digest(projection), []
    if other is not None and state_digest(other) != digest:
        breaches.append(
            f"{cell}: folded from a snapshot at {middle} the state is {state_digest(other)}, "
            f"from the beginning {digest}"
        )
    if audit is not None:
        audit.end(cell, projection)
        of = audit.cells[cell]
        breaches += [f"{cell} {breach}" for breach in (*of.over_commitments, *of.group_breaches, *of.write_breaches)]
    return Folded(cell, first, records, events_seen, projection, digest, projection.counts, breaches, gaps)


def _may_keep(projection):
    """Whether there is a snapshot of a state."""
    return projection.epoch and projection.whole and not projection.is_too_new


def _beginning(history, cell, begin):
    """Return the state at the start of the fold; its notes are taken out record by record."""
    if begin is not None:
        projection = history.world_at({cell: begin}).projections[cell]
    else:
        try:
            projection = history.beginning(cell, HostTable())
        except errors.LogGap:
            # The end of the log can still be checked: the records after a LogRebased count.
            projection = Projection(cell, HostTable(), whole=False)
    projection.noted = type(projection.noted)()
    projection.quarantine = type(projection.quarantine)()
    return projection
