"""A projection as bytes, and back: so that a reader starts at a position and not at the log's first record.

The bytes are a head of one msgpack array and the packed state behind it. The
head names the log that the state belongs to; its checksum covers both, so
damage is found before anything is built.
"""

import zlib
from hashlib import blake2b
from typing import NamedTuple

import msgpack

from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import CLAIMED, RUNNING, Entry, Host
from nova_sched.projection.projection import Projection
from nova_sched.projection.table_rows import Rows, taken_out
from rpc_api import errors, events
from rpc_api.digest import MASK, inventory_digest
from rpc_api.events.schema import thaw_fields

MAGIC = "nova_sched snapshot"
FORMAT = 3
_HEAD_FIELDS = 7


class Head(NamedTuple):
    """What a snapshot is of: the log (``cell``, ``epoch``), the last record folded, and the digest of the state."""

    cell: str
    epoch: str
    position: int
    digest: str


def dump(projection: Projection) -> bytes:
    """Pack the state of a projection."""
    hosts = [projection.hosts[name] for name in sorted(projection.hosts)]
    state = zlib.compress(msgpack.packb((
        [(host.name, host.server, host.inventory, host.status, host.lost,
          [(*entry.facts(), entry.position, entry.hash) for entry in host.entries.values()]) for host in hosts],
        taken_out(projection.table, hosts), list(projection.producers.items()), list(projection.anchors.items()),
        list(projection.fences.items()), list(projection.aggregates.values()), projection.accounts_required)), 1)
    head = Head(projection.cell, projection.epoch, projection.position, state_digest(projection))
    return msgpack.packb((MAGIC, FORMAT, *head, _checksum(head, state))) + state


def _checksum(head, state):
    return blake2b(msgpack.packb(tuple(head)) + state, digest_size=16).hexdigest()


def _split(packed: bytes):
    unpacker = msgpack.Unpacker(max_buffer_size=0, use_list=False)
    unpacker.feed(packed[:4096])
    try:
        head = unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException):
        head = None
    if type(head) is not tuple or len(head) < 2 or head[0] != MAGIC:
        raise errors.UnknownSchema("these bytes are not a snapshot of nova_sched; name another file or key")
    if head[1] != FORMAT or len(head) != _HEAD_FIELDS:
        raise errors.UnknownSchema(f"the snapshot has format {head[1]}, this process knows {FORMAT}; "
                                   "upgrade nova_sched, or remove the snapshot and fold the log")
    return head, packed[unpacker.tell():]


def head_of(packed: bytes) -> Head:
    """Read the head of a snapshot; UnknownSchema when the bytes are not one that this version knows."""
    return Head(*_split(packed)[0][2:6])


def check(packed: bytes) -> Head:
    """Read the head of a snapshot whose state is as it was kept; SnapshotMismatch when it is damaged, UnknownSchema for
    bytes of another form."""
    parts, state = _split(packed)
    head = Head(*parts[2:6])
    if _checksum(head, state) != parts[6]:
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} at position {head.position} is damaged; "
                                      "remove it and fold the log")
    return head


def load(packed: bytes, table=None) -> Projection:
    """Build the projection of a snapshot, in ``table`` if that is given.

    Raises UnknownSchema for bytes of another form and SnapshotMismatch for damaged ones; nothing is built then.
    """
    head = check(packed)
    projection = Projection(head.cell, table)
    projection.epoch, projection.position = head.epoch, head.position
    try:
        state = msgpack.unpackb(zlib.decompress(_split(packed)[1]), use_list=False, strict_map_key=False)
        _load_state(projection, *state)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, zlib.error, errors.InvalidEvent) as fault:
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} at position {head.position} cannot be read "
                                      f"({str(fault)[:200]}); remove it and fold the log") from None
    if state_digest(projection) != head.digest:
        # The table may be one that others use too.
        projection.forget()
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} at position {head.position} does not give the state "
                                      "that it was made of; remove it and fold the log")
    return projection


def _load_state(projection, facts, rows, producers, anchors, fences, aggregates, accounts_required):
    """Read everything first; what cannot be is met before the table is written."""
    hosts = [_host(projection.cell, *one) for one in facts]
    rows = Rows(*rows)
    aggregates = [thaw_fields(events.TABLE["AggregateUpdated"], one) for one in aggregates]
    projection.producers = dict(producers)
    projection.anchors = dict(anchors)
    projection.fences = dict(fences)
    projection.accounts_required = accounts_required
    for one in aggregates:
        projection.aggregates[one.uuid] = projection.table.aggregates[one.uuid] = one
    trees = rows.put_into(projection.table, projection.cell_index, [host.name for host in hosts])
    uuids = projection.table.uuids
    for host, tree in zip(hosts, trees, strict=True):
        projection.hosts[host.name] = host
        host.root = tree[0]
        host.rows = {uuids[row]: row for row in tree}
        projection.provider_hosts.update(dict.fromkeys(host.rows, host.name))
        for entry in host.entries.values():
            others = projection.consumers.get(entry.consumer_uuid, ())
            projection.consumers[entry.consumer_uuid] = (*others, entry)
            if entry.rule is not None:
                projection.groups.add(entry)


def _host(cell, name, server, inventory, status, lost, entries):
    host = Host(name, server, cell)
    host.inventory, host.inventory_digest = inventory, inventory_digest(inventory)
    host.status, host.lost = _new_status(status), lost
    for (consumer_uuid, instance_uuid, project_id, _, allocations, rule, claim_uuid, state, position, hash_) in entries:
        running = state == RUNNING
        # The two states are compared by identity wherever they are looked at.
        host.entries[consumer_uuid] = Entry(
            consumer_uuid, instance_uuid, project_id, name, tuple(map(_new_allocation, allocations)),
            events.GroupRule(*rule) if rule else None, claim_uuid, RUNNING if running else CLAIMED, position, hash_)
        if running:
            host.running_digest = (host.running_digest + hash_) & MASK
    return host


_new_allocation = events.Allocation._make
_new_status = events.HostStatus._make


def check_fits(head: Head, epoch: str | None, bounds) -> None:
    """Raise SnapshotMismatch unless the log (its epoch and bounds) goes on where the snapshot ends."""
    if head.epoch != epoch:
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} is of the log {head.epoch}, this log is {epoch}; "
                                      "remove the snapshot, or name the log that it was made of")
    if head.position > bounds.last or head.position + 1 < bounds.first:
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} ends at position {head.position}, the log holds {bounds.first} to "
            f"{bounds.last}; take a newer snapshot, or fold the log")
