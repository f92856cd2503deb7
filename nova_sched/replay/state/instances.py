"""Every instance of every cell at a moment, including cells whose logs cannot be read."""

from typing import NamedTuple

import msgpack

from nova_sched.projection import snapshot
from nova_sched.projection.ledger import NO_HOST
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.reading import BATCH, records_between
from nova_sched.replay.state.hosts import TRACKED, amounts_of
from rpc_api import errors, events

#: Indexes of fields in packed records.
_EVIDENCE_REQUEST = events.Evidence._fields.index("request")
_FLAVOR_NAME = events.SchedulingRequest._fields.index("flavor_name")
_DECISION_INSTANCE = events.DecisionMade._fields.index("instance_uuid")
_DECISION_OUTCOME = events.DecisionMade._fields.index("outcome")
_DECISION_EVIDENCE = events.DecisionMade._fields.index("evidence")


class InstanceRow(NamedTuple):
    """An instance on a host, or another consumer: ``state`` is claimed, running, held (by Nova) or tracked (only
    nova-compute reports it), ``position`` is that of the record that put it on its host (None for tracked ones). What
    is on no host has the ``host`` None."""

    instance: str
    cell: str
    host: str | None
    project: str | None
    state: str
    position: int | None
    consumer: str
    resources: dict


def instances_of(projection) -> list[InstanceRow]:
    """Return all instances and other consumers of a cell. An instance that moves is there twice."""
    rows, held = [], set()
    for entry in (entry for entries in projection.consumers.values() for entry in entries):
        held.add((entry.host, entry.instance_uuid))
        rows.append(
            InstanceRow(
                entry.instance_uuid,
                projection.cell,
                None if entry.host == NO_HOST else entry.host,
                entry.project_id,
                entry.state,
                entry.position,
                entry.consumer_uuid,
                amounts_of(entry.allocations),
            )
        )
    for host, of_host in projection.tracked.by_host.items():
        rows += [
            InstanceRow(uuid, projection.cell, host, None, TRACKED, None, uuid, {})
            for uuid in of_host
            if (host, uuid) not in held
        ]
    return rows


class AsOf(NamedTuple):
    """The last known state of a cell, and its time (None if the store does not know it)."""

    projection: object
    at_ns: int | None


def last_known(cell: str, url: str, cache=None, store=None) -> AsOf | None:
    """Return the last known state of a cell whose log cannot be opened, from the store or the cache, whichever is
    later; None if neither has it."""
    found = []
    if cache is not None:
        for kept in reversed(cache.kept(cell, url)):
            packed = cache.read(kept)
            if packed is not None:
                found.append((kept.at_ns or None, packed))
                break
    packed = None if store is None else store.load(cell)
    if packed is not None:
        found.append((store.kept_at_ns(cell), packed))
    known = []
    for at_ns, packed_ in found:
        try:
            head = snapshot.head_of(packed_)
            if head.cell == cell:
                known.append((AsOf(snapshot.load(packed_, HostTable()), at_ns), head))
        except (errors.UnknownSchema, errors.SnapshotMismatch):
            continue
    if not known:
        return None
    if len({head.epoch for _, head in known}) == 1:
        return max(known, key=lambda item: item[1].position)[0]
    # Positions of two logs that followed each other cannot be compared.
    return max(known, key=lambda item: item[0].at_ns or 0)[0]


def flavors_of(log, uuids, last: int, progress=lambda done, total: None) -> dict[str, str]:
    """Return instance uuid -> name of the last flavor that a host was found for, by the decisions up to a position: an
    instance that found no host for another flavor keeps its own.

    Reads the whole log, but decodes of it only what it looks for.
    """
    flavors, bounds = {}, log.bounds()
    if not uuids:
        return flavors
    for done, record in enumerate(records_between(log, None, last), 1):
        if b"DecisionMade" in record.payload:
            flavors.update(_asked_in(record.payload, uuids))
        if not done % BATCH:
            progress(done, bounds.count)
    return flavors


def _asked_in(payload, uuids):
    """Give (instance, flavor) of the decisions in the bytes of a record; unreadable ones are skipped."""
    try:
        batch = msgpack.unpackb(payload, use_list=False)[2]
        for event in batch:
            if (
                event[0] == "DecisionMade"
                and event[6][_DECISION_INSTANCE] in uuids
                and event[6][_DECISION_OUTCOME] == "selected"
            ):
                name = msgpack.unpackb(event[6][_DECISION_EVIDENCE], use_list=False)[_EVIDENCE_REQUEST][_FLAVOR_NAME]
                if type(name) is str and name:
                    yield event[6][_DECISION_INSTANCE], name
    except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException):
        return
