"""A projection as bytes, and back: so that a reader starts at a position and not at the log's first record.

The bytes are a head of one msgpack array and the packed state behind it. The
head names the log that the state belongs to; its checksum covers both, so
damage is found before anything is built.
"""

import zlib
from hashlib import blake2b
from typing import NamedTuple

import msgpack

from nova_sched.projection import inventory as inventories
from nova_sched.projection.digest import state_digest
from nova_sched.projection.holding import add_entry
from nova_sched.projection.ledger import CLAIMED, RUNNING, Entry, Host
from nova_sched.projection.projection import Projection
from rpc_api import errors, events
from rpc_api.digest import consumer_hash, inventory_digest
from rpc_api.events.schema import thaw_fields
from rpc_api.packing import pack

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
    hosts = [(host.name, host.server, host.inventory, host.status, host.lost,
              [(*entry.facts(), entry.position) for _, entry in sorted(host.entries.items())])
             for _, host in sorted(projection.hosts.items())]
    state = zlib.compress(pack((
        hosts, sorted(projection.producers.items()), sorted(projection.anchors.items()),
        sorted(projection.fences.items()), [projection.aggregates[uuid] for uuid in sorted(projection.aggregates)],
        projection.accounts_required)), 1)
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
    check(packed)
    head, state = _split(packed)
    state = msgpack.unpackb(zlib.decompress(state), use_list=False, strict_map_key=False)
    projection = Projection(head[2], table)
    try:
        _load_state(projection, head, *state)
    except errors.NovaSchedError:
        # The table may be one that others use too.
        projection.forget()
        raise
    return projection


def _load_state(projection, head, hosts, producers, anchors, fences, aggregates, accounts_required):
    projection.epoch, projection.position = head[3], head[4]
    for aggregate in aggregates:
        one = thaw_fields(events.TABLE["AggregateUpdated"], aggregate)
        projection.aggregates[one.uuid] = projection.table.aggregates[one.uuid] = one
    for facts in hosts:
        _load_host(projection, *facts)
    projection.table.topology_version += 1
    projection.producers = dict(producers)
    projection.anchors = dict(anchors)
    projection.fences = dict(fences)
    projection.accounts_required = accounts_required
    if state_digest(projection) != head[5]:
        raise errors.SnapshotMismatch(f"the snapshot of {head[2]} at position {head[4]} does not give the state that "
                                      "it was made of; remove it and fold the log")


def _load_host(projection, name, server, inventory, status, lost, entries):
    host = projection.hosts[name] = Host(name, server, projection.cell)
    inventories.write(projection, host, inventories.checked(projection, name, inventory))
    host.inventory, host.inventory_digest = inventory, inventory_digest(inventory)
    host.status, host.lost = thaw_fields(events.TABLE["HostStatus"], status), lost
    inventories.write_status(projection.table, host)
    projection.table.sum_tree(host.root)
    for (consumer_uuid, instance_uuid, project_id, _, allocations, rule, claim_uuid, state, position) in entries:
        held = tuple(events.Allocation(*one) for one in allocations)
        # The two states are compared by identity wherever they are looked at.
        state = RUNNING if state == RUNNING else CLAIMED
        add_entry(projection, host, Entry(
            consumer_uuid, instance_uuid, project_id, name, held, events.GroupRule(*rule) if rule else None,
            claim_uuid, state, position, consumer_hash(instance_uuid, held)))


def check_fits(head: Head, epoch: str | None, bounds) -> None:
    """Raise SnapshotMismatch unless the log (its epoch and bounds) goes on where the snapshot ends."""
    if head.epoch != epoch:
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} is of the log {head.epoch}, this log is {epoch}; "
                                      "remove the snapshot, or name the log that it was made of")
    if head.position > bounds.last or head.position + 1 < bounds.first:
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} ends at position {head.position}, the log holds {bounds.first} to "
            f"{bounds.last}; take a newer snapshot, or fold the log")
