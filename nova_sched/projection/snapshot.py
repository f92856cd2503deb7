"""A projection as bytes, and back, so that a reader does not need to start at the first record of the log.

The bytes are a head of one msgpack array, the packed state and a proof. The
head names the log that the state belongs to; its checksum covers all three, so
damage is found before a projection is built. The proof (:mod:`rpc_api.proof`) names
the last records folded. Versions that do not know the proof ignore it, as it comes
after the end of the compressed state; their snapshots have none.
"""

import itertools
import zlib
from hashlib import blake2b
from typing import Any, NamedTuple

import msgpack

from nova_sched.projection.devices import Capacity, HostDevices
from nova_sched.projection.digest import state_digest
from nova_sched.projection.holding import count_devices, index_entry
from nova_sched.projection.ledger import Host, PlainTree
from nova_sched.projection.projection import Projection
from nova_sched.projection.snapshot_ledger import ReadLedger, facts_of, host_of, ledger_of, plain_trees, thawed
from nova_sched.projection.table import HostTable
from nova_sched.projection.table_rows import Rows, taken_out
from nova_sched.projection.use import find_strays
from rpc_api import errors
from rpc_api.events import HostNUMACell, PCIPool
from rpc_api.levels import LEVEL
from rpc_api.packing import unpack
from rpc_api.proof import Proof, Trail

MAGIC = "nova_sched snapshot"
FORMAT = 4
#: The format rises with the level of the log: a version that does not know the level must not load the state.
FORMATS = {FORMAT + level - 1: level for level in range(1, LEVEL + 1)}
MAX_HEAD_BYTES = 4096
#: Types of the fields after magic and format; a log that was never opened has no epoch.
_HEAD_TYPES = ((str, str, int, str, str), (str, type(None), int, str, str))
#: Greatest size of an unpacked state. One of 100,000 hosts with 1,000,000 instances has less than half of it.
MAX_STATE_BYTES = 1 << 30
#: The last bytes of a snapshot that has a proof; the four before them are its length.
_PROOF_END = b"nova_sched proof"
#: So many bytes at the end of a snapshot have its proof.
PROOF_BYTES_MAX = MAX_HEAD_BYTES + 4 + len(_PROOF_END)

#: NUMA nodes and PCI pools of a host.
Devices = tuple[tuple[HostNUMACell, ...], tuple[PCIPool, ...]]


class Head(NamedTuple):
    """The source of a snapshot: the log (``cell``, ``epoch``), the last record folded, the digest of the state, and the
    ``proof`` that it is of this log (see :mod:`rpc_api.proof`; () from a version without proofs), and the log's
    ``level`` there."""

    cell: str
    #: None for a log that was never opened.
    epoch: str | None
    position: int
    digest: str
    proof: Proof = ()
    level: int = 1


def dump(projection: Projection) -> bytes:
    """Pack the state of a projection; LogGap if it is not known, because records before the start of its log were
    removed, and UnknownSchema if its log is pinned to a level that this version does not know."""
    if projection.is_too_new:
        raise projection.unknown_level()
    if not projection.whole:
        raise errors.LogGap(
            f"the state of {projection.cell} is not known: records were removed in front of its log; "
            "start from a snapshot that fits it, or wait until it is rebased"
        )
    hosts, is_first = [projection.hosts[name] for name in sorted(projection.hosts)], projection.level == 1
    is_ledger, plain = projection.rules.one_ledger, plain_trees(projection)
    state = zlib.compress(
        msgpack.packb(
            (
                [facts_of(projection, host) for host in hosts],
                taken_out(projection.table, [*hosts, *plain], is_ledger),
                _devices_of(projection.table, hosts),
                list(projection.producers.items()),
                list(projection.anchors.items()),
                list(projection.fences.items()),
                list(projection.aggregates.values()),
                projection.accounts_required,
                projection.tracked.facts(),
                *([] if is_first else [projection.watched_ms, projection.pinned_at]),
                *([ledger_of(projection, hosts, plain)] if is_ledger else []),
            )
        ),
        1,
    )
    head = Head(projection.cell, projection.epoch, projection.position, state_digest(projection))
    body = state + _packed_proof(projection.trail.proof())
    packed: bytes = msgpack.packb((MAGIC, FORMAT + projection.level - 1, *head[:4], _checksum(head, body)))
    return packed + body


def with_proof(packed: bytes, proof: Proof) -> bytes:
    """A snapshot of a version without proofs, with a proof that was found in another way."""
    parts, body = split(packed)
    body += _packed_proof(proof)
    head: bytes = msgpack.packb((*parts[:6], _checksum(Head(*parts[2:6]), body)))
    return head + body


def _packed_proof(proof: Proof) -> bytes:
    packed: bytes = msgpack.packb(proof)
    return packed + len(packed).to_bytes(4, "big") + _PROOF_END


def _proof_of(body: bytes, position: int) -> Proof:
    """The proof at the end of a snapshot of the state at a position; () if there is none that can be read."""
    end = len(body) - len(_PROOF_END) - 4
    size = int.from_bytes(body[end : end + 4], "big") if end >= 0 and body.endswith(_PROOF_END) else 0
    packed = body[end - size : end]
    if not 0 < size <= min(end, MAX_HEAD_BYTES):
        return ()
    try:
        proof = msgpack.unpackb(packed, use_list=False)
        places = [place for place, digest in proof if type(place) is int and type(digest) is bytes]
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return ()
    rise = all(place < following for place, following in itertools.pairwise(places))
    return proof if rise and len(places) == len(proof) and places[-1:] == [position] else ()


def _devices_of(table: HostTable, hosts: list[Host]) -> tuple[list[Devices], list[tuple[int, int]]]:
    """The distinct NUMA nodes and PCI pools of hosts that have some, and (number of the host, number of these)
    for each."""
    capacities: dict[bytes, tuple[int, Capacity]] = {}
    of_hosts: list[tuple[int, int]] = []
    for number, host in enumerate(hosts):
        devices = table.row_devices[host.root]
        if devices is not None:
            capacity = devices.capacity
            place = capacities.setdefault(capacity.key, (len(capacities), capacity))[0]
            of_hosts.append((number, place))
    return [(capacity.cells, capacity.pools) for _, capacity in capacities.values()], of_hosts


def _checksum(head: Head, body: bytes) -> str:
    return blake2b(msgpack.packb(head[:4]) + body, digest_size=16).hexdigest()


def split(packed: bytes) -> tuple[tuple[Any, ...], bytes]:
    """(The parts of the head, the body) of a snapshot; UnknownSchema for other bytes."""
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_HEAD_BYTES, use_list=False)
    unpacker.feed(packed[:MAX_HEAD_BYTES])
    try:
        head = unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException):
        head = None
    if type(head) is not tuple or len(head) < 2 or head[0] != MAGIC:
        raise errors.UnknownSchema("these bytes are not a snapshot of nova_sched; name another file or key")
    if head[1] not in FORMATS or tuple(map(type, head[2:])) not in _HEAD_TYPES:
        raise errors.UnknownSchema(
            f"the snapshot has format {head[1]!r:.40}, or a head of another form, this process "
            f"knows {', '.join(map(str, FORMATS))}; upgrade nova_sched, or remove the snapshot and fold the log"
        )
    return head, packed[unpacker.tell() :]


def head_in(parts: tuple[Any, ...], body: bytes) -> Head:
    """The head, of the parts of a snapshot."""
    cell, epoch, position, digest = parts[2:6]
    return Head(cell, epoch, position, digest, _proof_of(body, position), FORMATS[parts[1]])


def level_of(packed: bytes) -> int:
    """The level of the log of a snapshot; 1 for bytes that are not a snapshot that this version knows."""
    try:
        return head_of(packed).level
    except errors.UnknownSchema:
        return 1


def head_of(packed: bytes) -> Head:
    """Read the head of a snapshot; UnknownSchema when the bytes are not one that this version knows."""
    return head_in(*split(packed))


def check(packed: bytes) -> Head:
    """Read the head of a snapshot whose state is as it was kept; SnapshotMismatch when it is damaged, UnknownSchema for
    bytes of another form."""
    parts, body = split(packed)
    head = head_in(parts, body)
    if _checksum(head, body) != parts[6]:
        raise damaged(head)
    return head


def damaged(head: Head) -> errors.SnapshotMismatch:
    """The error for a snapshot whose bytes are not those that were made."""
    return errors.SnapshotMismatch(
        f"the snapshot of {head.cell} at position {head.position} is damaged; remove it and fold the log"
    )


def load(packed: bytes, table: HostTable | None = None) -> Projection:
    """Build the projection of a snapshot, in ``table`` if that is given.

    Raises UnknownSchema for bytes of another form and SnapshotMismatch for damaged ones; nothing is built then.
    """
    head = check(packed)
    projection = Projection(head.cell, table)
    projection.epoch, projection.position = head.epoch, head.position
    projection.trail = Trail(head.proof or (None if head.position >= 0 else ()))
    projection.use_level(head.level)
    try:
        _load_state(projection, *_unpacked(split(packed)[1]))
        if state_digest(projection) != head.digest:
            raise ValueError("its digest is another")
    except (errors.NovaSchedError, ValueError, TypeError, LookupError, OverflowError) as fault:
        # Others may use the same table.
        projection.forget()
        raise errors.SnapshotMismatch(
            f"the snapshot of {head.cell} at position {head.position} does not give the "
            f"state that it was made of ({fault!s:.300}); "
            "remove it and fold the log"
        ) from None
    return projection


def _unpacked(state: bytes) -> Any:
    """The parts of a packed state; ValueError or InvalidEvent if the bytes are not a packed state."""
    unzip = zlib.decompressobj()
    try:
        plain = unzip.decompress(state, MAX_STATE_BYTES)
    except zlib.error as broken:
        raise ValueError(str(broken)) from None
    if not unzip.eof:
        raise ValueError(f"it does not end within {MAX_STATE_BYTES} bytes")
    return unpack(plain)


def _load_state(
    projection: Projection,
    facts: Any,
    rows: Any,
    devices: Any,
    producers: Any,
    anchors: Any,
    fences: Any,
    aggregates: Any,
    accounts_required: Any,
    tracked: Any,
    watched_ms: Any = None,
    pinned_at: Any = None,
    ledger: Any = None,
) -> None:
    """Read and check everything first, so that a fault is found before the table is written."""
    hosts = [host_of(projection.cell, *host_facts) for host_facts in facts]
    if (ledger is not None) != projection.rules.one_ledger:
        raise ValueError("it has a ledger, or lacks one, against the level of its log")
    read_ledger = ReadLedger(projection, hosts, *ledger) if ledger is not None else None
    if len({host.name for host in hosts}) < len(hosts) or type(accounts_required) is not bool:
        raise ValueError("a host is there twice, or accounts_required is not a boolean")
    if not type(watched_ms) is type(pinned_at) is (type(None) if projection.level == 1 else int):
        raise ValueError("the time that conductors watched, or the position of the pin, is wrong for its level")
    projection.watched_ms = watched_ms or 0
    projection.pinned_at = -1 if pinned_at is None else pinned_at
    rows = Rows(*rows)
    devices = _devices(hosts, *devices)
    aggregates = [thawed("AggregateUpdated", aggregate) for aggregate in aggregates]
    projection.producers = {name: _mark(name, *mark) for name, mark in producers}
    for group_uuid, anchor in anchors:
        projection.anchors[group_uuid] = thawed("GroupAnchored", (group_uuid, *anchor))[1:]
    projection.fences = dict(thawed("GroupFenced", fence) for fence in fences)
    projection.accounts_required = accounts_required
    for host, instances in tracked:
        thawed("InstancesTracked", (host, [(uuid, dict(properties)) for uuid, properties in instances], []))
        for uuid, properties in instances:
            projection.tracked.put(host, uuid, dict(properties))
    for aggregate in aggregates:
        projection.aggregates[aggregate.uuid] = projection.table.aggregates[aggregate.uuid] = aggregate
    plain = [] if read_ledger is None else read_ledger.plain
    names = [*(host.name for host in hosts), *[None] * len(plain)]
    placed = rows.put_into(projection.table, projection.cell_index, names)
    uuids = projection.table.uuids
    trees: list[Host | PlainTree] = [*hosts, *plain]
    for tree, tree_rows in zip(trees, placed, strict=True):
        tree.root = tree_rows[0]
        tree.rows = {uuids[row]: row for row in tree_rows}
        projection.trees.update(dict.fromkeys(tree.rows, tree))
    for host in hosts:
        projection.hosts[host.name] = host
        projection.table.metrics.write(host.root, host.status)
        for entry in host.entries.values():
            index_entry(projection, entry)
            find_strays(projection, host, entry)
    if read_ledger is not None:
        read_ledger.put_into(projection)
    for host, (cells, pools) in devices:
        capacity = projection.table.capacity_of(cells, pools, projection.rules.card_is_one_device)
        projection.table.set_devices(host.root, HostDevices(capacity))
    for host in hosts:
        if any(entry.guest is not None for entry in host.entries.values()):
            count_devices(projection.table, host)


def _devices(hosts: list[Host], capacities: Any, of_hosts: Any) -> list[tuple[Host, Devices]]:
    """(Host, (NUMA nodes, PCI pools)) of what :func:`_devices_of` gave."""
    capacities = [
        (tuple(thawed("HostNUMACell", cell) for cell in cells), tuple(thawed("PCIPool", pool) for pool in pools))
        for cells, pools in capacities
    ]
    if any(type(number) is not int or number < 0 for pair in of_hosts for number in pair):
        raise ValueError("the number of a host or of its devices is none")
    return [(hosts[number], capacities[place]) for number, place in of_hosts]


def _mark(name: object, epoch: Any, sequence: Any) -> tuple[int, int]:
    if not (type(name) is str and type(epoch) is type(sequence) is int):
        raise ValueError("the name of a producer is not a text, or its mark is not two integers")
    return epoch, sequence
