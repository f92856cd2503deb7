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
from rpc_api.packing import pack, unpack

MAGIC = "nova_sched snapshot"
FORMAT = 2
_MAX_HEAD_BYTES = 4096
#: Types of what follows magic and format; a log that was never begun has no epoch.
_HEAD_TYPES = ((str, str, int, str, str), (str, type(None), int, str, str))
#: Of a state that is unpacked. One of 100,000 hosts with 1,000,000 instances has less than half of it.
MAX_STATE_BYTES = 1 << 30


class Head(NamedTuple):
    """What a snapshot is of: the log (``cell``, ``epoch``), the last record folded, and the digest of the state."""

    cell: str
    epoch: str
    position: int
    digest: str


def dump(projection: Projection) -> bytes:
    """Pack the state of a projection."""
    hosts = [(host.name, host.server, host.producer, host.inventory, host.status, host.lost,
              [(*entry.facts(), entry.position) for _, entry in sorted(host.entries.items())])
             for _, host in sorted(projection.hosts.items())]
    state = zlib.compress(pack((
        hosts, sorted(projection.producers.items()), sorted(projection.anchors.items()),
        sorted(projection.fences.items()), [projection.aggregates[uuid] for uuid in sorted(projection.aggregates)])), 1)
    head = Head(projection.cell, projection.epoch, projection.position, state_digest(projection))
    return msgpack.packb((MAGIC, FORMAT, *head, _checksum(head, state))) + state


def _checksum(head, state):
    return blake2b(msgpack.packb(tuple(head)) + state, digest_size=16).hexdigest()


def _split(packed: bytes):
    unpacker = msgpack.Unpacker(max_buffer_size=_MAX_HEAD_BYTES, use_list=False)
    unpacker.feed(packed[:_MAX_HEAD_BYTES])
    try:
        head = unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException):
        head = None
    if type(head) is not tuple or len(head) < 2 or head[0] != MAGIC:
        raise errors.UnknownSchema("these bytes are not a snapshot of nova_sched; name another file or key")
    if head[1] != FORMAT or tuple(map(type, head[2:])) not in _HEAD_TYPES:
        raise errors.UnknownSchema(f"the snapshot has format {head[1]!r:.40}, or a head of another form, this process "
                                   f"knows {FORMAT}; upgrade nova_sched, or remove the snapshot and fold the log")
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
    try:
        _load_state(projection, head, *_unpacked(_split(packed)[1]))
    except (errors.NovaSchedError, ValueError, TypeError) as fault:
        # The table may be one that others use too.
        projection.forget()
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} at position {head.position} does not give the "
                                      f"state that it was made of ({fault!s:.300}); remove it and fold the log") from None
    return projection


def _unpacked(state):
    """hosts, producers, anchors, fences and aggregates of a packed state; ValueError where the bytes are not that."""
    unzip = zlib.decompressobj()
    try:
        plain = unzip.decompress(state, MAX_STATE_BYTES)
    except zlib.error as broken:
        raise ValueError(str(broken)) from None
    if not unzip.eof:
        raise ValueError(f"it does not end within {MAX_STATE_BYTES} bytes")
    hosts, producers, anchors, fences, aggregates = unpack(plain)
    return hosts, producers, anchors, fences, aggregates


def _load_state(projection, head, hosts, producers, anchors, fences, aggregates):
    """Every value goes through the event that brought it: a snapshot can say no more than a log."""
    projection.epoch, projection.position = head.epoch, head.position
    for aggregate in aggregates:
        one = _thawed("AggregateUpdated", aggregate)
        projection.aggregates[one.uuid] = projection.table.aggregates[one.uuid] = one
    for facts in hosts:
        _load_host(projection, *facts)
    projection.table.topology_version += 1
    projection.producers = {name: _mark(name, *mark) for name, mark in producers}
    for group_uuid, (cell, host, number) in anchors:
        _thawed("GroupAnchored", (group_uuid, cell, host, number))
        projection.anchors[group_uuid] = (cell, host, number)
    projection.fences = dict(_thawed("GroupFenced", fence) for fence in fences)
    if state_digest(projection) != head.digest:
        raise ValueError("its digest is another")


def _thawed(name, values):
    return thaw_fields(events.TABLE[name], values)


def _mark(name, epoch, sequence):
    if not (type(name) is str and type(epoch) is type(sequence) is int):
        raise ValueError("a producer is no text, or its mark no two integers")
    return epoch, sequence


def _load_host(projection, name, server, producer, inventory, status, lost, entries):
    report = _thawed("HostReported", (name, server, inventory, status, b"", 0))
    if name in projection.hosts or type(producer) is not str or type(lost) is not bool:
        raise ValueError(f"host {name} stands there twice, or is not known to be lost or by whom it speaks")
    tree = inventories.checked(projection, name, inventory)
    host = projection.hosts[name] = Host(name, server, producer, projection.cell)
    inventories.write(projection, host, tree)
    host.inventory, host.inventory_digest = inventory, inventory_digest(inventory)
    host.status, host.lost = report.status, lost
    inventories.write_status(projection.table, host)
    projection.table.sum_tree(host.root)
    for entry in entries:
        _load_entry(projection, host, *entry)


def _load_entry(projection, host, consumer_uuid, instance_uuid, project_id, _, allocations, rule, claim_uuid, state,
                position):
    claim = _thawed("ClaimProposed", (claim_uuid or consumer_uuid, consumer_uuid, instance_uuid, "", project_id,
                                      host.name, allocations, rule))
    if consumer_uuid in host.entries or state not in (CLAIMED, RUNNING) or type(position) is not int:
        raise ValueError(f"{consumer_uuid} is twice on {host.name}, or has the state {state!r:.40}")
    # The two states are compared by identity wherever they are looked at.
    add_entry(projection, host, Entry(
        consumer_uuid, instance_uuid, project_id, host.name, claim.allocations, claim.rule, claim_uuid,
        RUNNING if state == RUNNING else CLAIMED, position, consumer_hash(instance_uuid, claim.allocations)))


def check_fits(head: Head, epoch: str | None, bounds) -> None:
    """Raise SnapshotMismatch unless the log (its epoch and bounds) goes on where the snapshot ends."""
    if head.epoch != epoch:
        raise errors.SnapshotMismatch(f"the snapshot of {head.cell} is of the log {head.epoch}, this log is {epoch}; "
                                      "remove the snapshot, or name the log that it was made of")
    if head.position > bounds.last or head.position + 1 < bounds.first:
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} ends at position {head.position}, the log holds {bounds.first} to "
            f"{bounds.last}; take a newer snapshot, or fold the log")
