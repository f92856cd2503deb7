"""Snapshots: the same state from a snapshot and what follows it, and no snapshot is ever half used."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import msgpack
import pytest
from oslo_config import cfg

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import AMOUNTS, TREE_SUMS, HostTable
from nova_sched.snapshots import FileStore, RedisStore, open_store, store_of
from rpc_api import config, errors, events
from rpc_api.codec import decode_record
from rpc_api.log import Bounds
from tests import invariants
from tests.builders import (
    EPOCH,
    Voice,
    claim,
    consumer,
    inventory_of,
    of,
    provider,
    record_of,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection.test_digest import busy_log


def story():
    """Records of one event each in which everything that a snapshot holds comes up."""
    scheduler, conductor, operator = Voice("scheduler/s"), Voice("conductor/c"), Voice("operator/o")
    hosts = {name: Voice(f"compute_agent/{name}") for name in ("host-1", "host-2")}
    nested = tree("host-2", provider("numa0", inventory_of("PCPU", 4), parent=0, traits=("CUSTOM_FAST",)))
    said = [
        operator.say(events.AggregateUpdated(uuid_of("rack"), "rack", ("host-1",), {"domain": "rack"})),
        hosts["host-1"].say(report("host-1", consumer("vm-0", of("host-1", 1)))),
        hosts["host-2"].say(report("host-2", inventory=nested)),
        scheduler.say(claim("vm-1", "host-1", of("host-1", 2), rule=rule(domain="host-1", partition="vm-1"))),
        scheduler.say(claim("vm-2", "host-2", of("numa0", 2, "PCPU"))),
        hosts["host-1"].say(started("vm-1", "host-1", of("host-1", 2), rule=rule(domain="host-1", partition="vm-1"))),
        scheduler.say(events.GroupAnchored(uuid_of("group"), "cell1", "host-1", 0)),
        scheduler.say(events.GroupFenced(uuid_of("other"), 3)),
        conductor.say(events.HostLost("host-2", "silent")),
        scheduler.say(claim("vm-3", "host-1", of("host-1", 6))),
        conductor.say(events.HostSeen("host-2")),
        scheduler.say(claim("vm-4", "host-2", of("numa0", 3, "PCPU"))),
        hosts["host-2"].say(started("vm-2", "host-2", of("numa0", 2, "PCPU"))),
    ]
    return [(position, decode_record(record_of(event))) for position, event in enumerate(said)]


@pytest.mark.parametrize("cut", range(len(story()) + 1))
def test_snapshot_and_suffix_give_the_state_of_the_whole(cut):
    records = story()
    whole, first = Projection("cell1", HostTable()), Projection("cell1", HostTable())
    expected, _ = whole.fold(records)
    early, _ = first.fold(records[:cut])
    loaded = snapshot.load(snapshot.dump(first)) if cut else first
    assert state_digest(loaded) == state_digest(first)
    late, _ = loaded.fold(records[cut:])
    assert [*early, *late] == expected, "claims come to the same, whether they were folded before or after"
    assert state_digest(loaded) == state_digest(whole)
    assert {outcome.reason for outcome in expected} == {None, "VCPU", "PCPU"}


def test_two_cells_load_into_one_table():
    records = story()
    table, other = HostTable(), Projection("cell2", HostTable())
    other.fold([(0, decode_record(record_of(Voice("compute_agent/host-9").say(report("host-9")))))])
    first = Projection("cell1", HostTable())
    first.fold(records)
    loaded = [snapshot.load(snapshot.dump(one), table) for one in (first, other)]
    assert [state_digest(one) for one in loaded] == [state_digest(first), state_digest(other)]
    assert len(table.roots()) == 3


def told_by_host(projection):
    """What every column of the table says, by host and provider: to the last bit, wherever the rows are."""
    table = projection.table
    classes, traits = table.classes.values, table.traits.values
    return {name: [(
        table.uuids[row], table.provider_names[row], table.row_aggregates[row], table.node_names[row],
        table.host_names[row], {(column, classes[index]): getattr(table, column)[index, row].item()
         for column in (*AMOUNTS, *TREE_SUMS, "ratio") for index in range(len(classes))
         if column not in TREE_SUMS or row == host.root},
        {trait for trait in traits if table.row_has_trait(trait, row)},
        {column: getattr(table, column)[row].item()
         for column in ("is_root", "disabled", "down", "num_io_ops", "failed_builds",
                                                                   "num_instances", "children")},
        row != host.root or (table.profiles.values[table.profile[row]], table.zones.values[table.zone[row]]),
    ) for row in table.trees[host.root]] for name, host in projection.hosts.items()}


def known(told):
    """Without what is zero: a table may know of more classes than another."""
    return {name: [(*row[:5], {key: value for key, value in row[5].items() if value}, *row[6:]) for row in rows]
            for name, rows in told.items()}


@pytest.mark.parametrize("seed", range(12))
def test_every_column_is_as_it_was(seed):
    records = [(position, decode_record(payload)) for position, payload in enumerate(busy_log(seed, steps=60))]
    folded = Projection("cell1", HostTable())
    folded.fold(records)
    # A table that others use, which has rows to give again, and classes and traits in another order.
    used, before = HostTable(), Projection("cell2")
    other = Projection("cell2", used)
    said = tree("other", provider("other-child", inventory_of("CUSTOM_GOLD", 4), parent=0, traits=("CUSTOM_X",)))
    voice = Voice("compute_agent/other")
    other.fold([(0, decode_record(record_of(voice.say(report("other", inventory=said)))))])
    stale = snapshot.load(snapshot.dump(folded), used)
    invariants.check(stale)
    stale.forget()
    for loaded in (snapshot.load(snapshot.dump(folded)), snapshot.load(snapshot.dump(folded), used)):
        invariants.check(loaded)
        assert known(told_by_host(loaded)) == known(told_by_host(folded))
        assert state_digest(loaded) == state_digest(folded)
        assert snapshot.load(snapshot.dump(loaded)).consumers.keys() == folded.consumers.keys()
    assert not before.hosts and set(other.hosts) == {"other"}


def packed_story():
    projection = Projection("cell1", HostTable())
    projection.fold(story())
    return snapshot.dump(projection)


def test_the_head_says_what_it_is_of():
    head = snapshot.head_of(packed_story())
    assert (head.cell, head.epoch, head.position) == ("cell1", EPOCH, len(story()) - 1)


def reworked(**changes):
    """A snapshot whose head was changed."""
    packed = packed_story()
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed)
    head = unpacker.unpack()
    for index, value in changes.items():
        head[int(index[1:])] = value
    return msgpack.packb(head) + packed[unpacker.tell():]


def of_another_state():
    """A snapshot that is whole, whose digest is that of another state."""
    with mock.patch.object(snapshot, "state_digest", lambda projection: "0" * 32):
        return packed_story()


@pytest.mark.parametrize("packed, fault, told", [
    (b"", errors.UnknownSchema, "not a snapshot"),
    (b"nonsense", errors.UnknownSchema, "not a snapshot"),
    (packed_story()[:10], errors.UnknownSchema, "not a snapshot"),
    (packed_story()[:-1], errors.SnapshotMismatch, "damaged"),
    (packed_story() + b"x", errors.SnapshotMismatch, "damaged"),
    (reworked(_1=1), errors.UnknownSchema, "format 1"),
    (reworked(_2="cell2"), errors.SnapshotMismatch, "damaged"),
    (reworked(_4=2), errors.SnapshotMismatch, "damaged"),
    (reworked(_5="0" * 32), errors.SnapshotMismatch, "damaged"),
    (of_another_state(), errors.SnapshotMismatch, "does not give the state"),
])
def test_a_spoiled_snapshot_is_refused(packed, fault, told):
    table = HostTable()
    with pytest.raises(fault, match=told):
        snapshot.load(packed, table)
    assert not table.trees and not table.row_of_host, "nothing is left of it in a table that others use"


def test_a_cell_without_hosts_beside_one_with_traits():
    table = HostTable()
    cells = {name: Projection(name, table) for name in ("cell0", "cell1")}
    cells["cell1"].fold(story())
    for projection in cells.values():
        assert state_digest(snapshot.load(snapshot.dump(projection))) == state_digest(projection)


def test_a_state_that_is_not_known_is_not_kept():
    projection = Projection("cell1", HostTable(), whole=False)
    projection.fold(story()[5:])
    with pytest.raises(errors.LogGap, match="the state of cell1 is not known"):
        snapshot.dump(projection)


def remade(change):
    """A snapshot with a right head and checksum, whose state was changed by somebody: ``change(parts)``."""
    packed = packed_story()
    head, state = snapshot._split(packed)
    parts = msgpack.unpackb(zlib.decompress(state), strict_map_key=False)
    change(parts)
    state = zlib.compress(msgpack.packb(parts))
    named = snapshot.Head(*head[2:6])
    return msgpack.packb((*head[:6], snapshot._checksum(named, state))) + state


HOSTS, ROWS, DEVICES = 0, 1, 2
CHANGES = {
    "no parts": lambda parts: parts.clear(),
    "a part more": lambda parts: parts.append(1),
    "a host less": lambda parts: parts[HOSTS].pop(),
    "a host's fields": lambda parts: parts[HOSTS][0].pop(),
    "a status": lambda parts: parts[HOSTS][0].__setitem__(3, [1]),
    "an inventory": lambda parts: parts[HOSTS][0].__setitem__(2, "text"),
    "an entry": lambda parts: parts[HOSTS][0][5].append([1, 2]),
    "an allocation": lambda parts: parts[HOSTS][0][5][0].__setitem__(4, [[1]]),
    "sizes": lambda parts: parts[ROWS].__setitem__(0, [1, 1]),
    "sizes of nothing": lambda parts: parts[ROWS].__setitem__(0, [3, 0]),
    "sizes that are none": lambda parts: parts[ROWS].__setitem__(0, ["a", "b"]),
    "a parent": lambda parts: parts[ROWS].__setitem__(1, b"\x63\0\0\0" * 3),
    "columns": lambda parts: parts[ROWS][8].__setitem__(0, b"12345678"),
    "a column less": lambda parts: parts[ROWS][8].pop(),
    "less trait words than traits": lambda parts: parts[ROWS][10].extend(f"CUSTOM_{number}" for number in range(64)),
    "trait words": lambda parts: parts[ROWS].__setitem__(11, b"1"),
    "profiles": lambda parts: parts[ROWS].__setitem__(12, []),
    "an address": lambda parts: parts[ROWS][6].__setitem__(0, 7),
    "devices of no host": lambda parts: parts[DEVICES][1].append([7, 0]),
    "devices that are none": lambda parts: parts[DEVICES].__setitem__(0, [[[1], []]]),
    "a guest": lambda parts: parts[HOSTS][0][5][0].__setitem__(8, b"no guest"),
    "producers": lambda parts: parts.__setitem__(3, 7),
    "an aggregate": lambda parts: parts[6].append([1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_snapshot_that_somebody_changed_is_refused(change):
    table = HostTable()
    with pytest.raises(errors.SnapshotMismatch, match="does not give the state"):
        snapshot.load(remade(change), table)
    assert not table.trees and not table.row_of_host and not table.count


@pytest.mark.parametrize("epoch, bounds, fits", [
    (EPOCH, Bounds(0, 12), True),
    (EPOCH, Bounds(0, 99), True),
    (EPOCH, Bounds(13, 99), True),
    (EPOCH, Bounds(14, 99), False),
    (EPOCH, Bounds(0, 11), False),
    ("another", Bounds(0, 12), False),
    (None, Bounds(0, -1), False),
])
def test_a_snapshot_fits_its_log_only(epoch, bounds, fits):
    head = snapshot.head_of(packed_story())
    if fits:
        snapshot.check_fits(head, epoch, bounds)
    else:
        with pytest.raises(errors.SnapshotMismatch):
            snapshot.check_fits(head, epoch, bounds)


# --- stores: one contract, three places --------------------------------------------------------------------------

@pytest.fixture(params=["file", "fakeredis", pytest.param("redis", marks=pytest.mark.redis_server)])
def store(request, tmp_path):
    """A store of each kind, empty."""
    if request.param == "file":
        return FileStore(str(tmp_path / "snapshots"))
    if request.param == "fakeredis":
        import fakeredis
        return RedisStore(fakeredis.FakeRedis())
    return open_store(request.getfixturevalue("redis_server").url(database=3))


def test_what_is_saved_is_loaded(store):
    assert store.load("cell1") is None
    store.save("cell1", b"one")
    store.save("cell1", packed_story())
    store.save("cell2", b"two")
    assert store.load("cell1") == packed_story() and store.load("cell2") == b"two"
    with pytest.raises(errors.UsageError, match="cannot be kept under the name"):
        store.save("../cell", b"")


def test_a_half_written_file_is_never_the_snapshot(tmp_path):
    store = FileStore(str(tmp_path))
    store.save("cell1", b"whole")
    (tmp_path / "cell1.new").write_bytes(b"ha")
    assert store.load("cell1") == b"whole"


def test_several_may_save_at_once(tmp_path):
    """As the conductors of one cell do: what is kept is one of theirs, whole, and nobody is in another's way."""
    stores = [FileStore(str(tmp_path)) for _ in range(8)]
    packed = [bytes([number]) * 300_000 for number in range(len(stores))]
    with ThreadPoolExecutor(len(stores)) as pool:
        for _ in range(5):
            list(pool.map(lambda store, mine: store.save("cell1", mine), stores, packed))
            assert stores[0].load("cell1") in packed


@pytest.mark.parametrize("url, fault", [
    ("ftp://x", errors.UsageError), ("file://", errors.UsageError), ("redis://localhost:x", errors.UsageError),
    ("redis://127.0.0.1:1/0", errors.LogUnavailable), ("file:///proc/nowhere", errors.LogUnavailable),
])
def test_a_store_that_is_not_there(url, fault):
    with pytest.raises(fault):
        open_store(url).save("cell1", b"")


def test_a_directory_that_cannot_be_made_is_found_at_the_start(tmp_path):
    conf = cfg.ConfigOpts()
    config.register(conf)
    (tmp_path / "file").write_text("")
    for url, made in ((f"file://{tmp_path}/new/one", tmp_path / "new/one"), (f"file://{tmp_path}/file/one", None)):
        conf.set_override("url", url, "snapshots")
        if made:
            assert store_of(conf) and made.is_dir()
        else:
            with pytest.raises(errors.LogUnavailable, match=r"cannot be made .*; mend \[snapshots\] url"):
                store_of(conf)
