"""Snapshots: the same state from a snapshot and what follows it, and no snapshot is ever half used."""

import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import msgpack
import pytest
from oslo_config import cfg

from nova_sched.process.snapshot_store import FileStore, RedisStore, check_fits, open_store, store_of
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import AMOUNTS, TREE_SUMS, HostTable
from rpc_api import config, errors, events
from rpc_api.codec import decode_record
from rpc_api.levels import LEVEL
from rpc_api.log.memory import MemoryLog
from rpc_api.proof import RECORDS
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
        hosts["host-1"].say(started("vm-5", "host-1", of("gone", 2))),
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
    assert strays_of(loaded) == strays_of(first)
    late, _ = loaded.fold(records[cut:])
    assert [*early, *late] == expected, "claims come to the same, whether they were folded before or after"
    assert state_digest(loaded) == state_digest(whole)
    assert {str(outcome.reason) for outcome in expected} == {"None", "VCPU", "PCPU"}
    assert strays_of(loaded) == strays_of(whole) == {"host-1": {(uuid_of("gone"), "VCPU"): 2}, "host-2": {}}


def strays_of(projection):
    return {name: host.strays for name, host in projection.hosts.items()}


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
    return {
        name: [
            (
                table.uuids[row],
                table.provider_names[row],
                table.row_aggregates[row],
                table.node_names[row],
                table.host_names[row],
                {
                    (column, classes[index]): getattr(table, column)[index, row].item()
                    for column in (*AMOUNTS, *TREE_SUMS, "ratio")
                    for index in range(len(classes))
                    if column not in TREE_SUMS or row == host.root
                },
                {trait for trait in traits if table.row_has_trait(trait, row)},
                {
                    column: getattr(table, column)[row].item()
                    for column in (
                        "is_host",
                        "disabled",
                        "down",
                        "num_io_ops",
                        "failed_builds",
                        "num_instances",
                        "children",
                    )
                },
                row != host.root or (table.profiles.values[table.profile[row]], table.zones.values[table.zone[row]]),
            )
            for row in table.trees[host.root]
        ]
        for name, host in projection.hosts.items()
    }


def known(told):
    """Without what is zero: a table may know of more classes than another."""
    return {
        name: [(*row[:5], {key: value for key, value in row[5].items() if value}, *row[6:]) for row in rows]
        for name, rows in told.items()
    }


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
    return msgpack.packb(head) + packed[unpacker.tell() :]


def of_another_state():
    """A snapshot that is whole, whose digest is that of another state."""
    with mock.patch.object(snapshot, "state_digest", lambda projection: "0" * 32):
        return packed_story()


@pytest.mark.parametrize(
    "packed, fault, told",
    [
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
    ],
)
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
    head, state = snapshot.split(packed)
    parts = msgpack.unpackb(zlib.decompressobj().decompress(state), strict_map_key=False)
    change(parts)
    state = zlib.compress(msgpack.packb(parts))
    return msgpack.packb((*head[:6], snapshot._checksum(head[2:6], state))) + state


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


def other(number):
    """A record that is not of the story."""
    return record_of(Voice(f"scheduler/other-{number}").say(events.GroupFenced(uuid_of("another group"), number)))


def lose(count, *then):
    """The log loses its last records, keeps its epoch, and grows again."""

    def change(log):
        log.lose_tail(count)
        log.append(list(then))

    return change


def grow(log):
    log.append([other(number) for number in range(40)])


def remove_up_to(position):
    def change(log):
        grow(log)
        log.truncate_before(position)

    return change


STORY = [record.payload for _, record in story()]
LAST = len(STORY) - 1
#: What happened to the log since the snapshot of its last record, and whether the snapshot proves to be of it.
FITS = {
    "as it was": (lambda log: None, None),
    "grown": (grow, None),
    "begins with the record of the snapshot": (remove_up_to(LAST), None),
    "begins behind it": (remove_up_to(LAST + 1), "was removed"),
    "begins far behind it": (remove_up_to(LAST + 5), "was removed"),
    "lost its last record": (lose(1), f"the log ends at {LAST - 1}"),
    "lost one and grew again": (lose(1, other(1), other(2)), "lost records and grew again"),
    "lost several and grew to the same end": (lose(3, *map(other, range(3))), "lost records and grew again"),
    "lost several, and the last came again at its place": (lose(2, other(1), STORY[-1]), "lost records and grew again"),
    "lost several, and all came again at their places": (lose(2, *STORY[-2:]), None),
}


@pytest.mark.parametrize("change, wrong", FITS.values(), ids=FITS)
def test_a_snapshot_fits_the_log_that_it_proves_to_be_of(change, wrong):
    with MemoryLog.open(f"memory://{uuid.uuid4()}") as log:
        log.append(STORY)
        change(log)
        head = snapshot.check(packed_story())
        assert fault_of(check_fits, head, EPOCH, log) == wrong or wrong in fault_of(check_fits, head, EPOCH, log)
        assert "is of the log" in fault_of(check_fits, head, "another", log)
        log.delete()


def fault_of(function, *arguments):
    """Why a snapshot does not fit; None where it does."""
    try:
        function(*arguments)
    except errors.SnapshotMismatch as fault:
        return str(fault)
    return None


def test_a_proof_goes_on_through_a_snapshot():
    """What is folded behind a snapshot is proven by records from before and behind it."""
    projection = Projection("cell1")
    projection.fold(story()[:5])
    late = snapshot.load(snapshot.dump(projection))
    late.fold(story()[5:])
    whole = Projection("cell1")
    whole.fold(story())
    assert late.trail.proof() == whole.trail.proof() and len(whole.trail.proof()) == len(STORY)
    whole.fold([(LAST + 1 + number, decode_record(other(number))) for number in range(40)])
    assert [position for position, _ in whole.trail.proof()] == list(range(LAST + 41 - RECORDS, LAST + 41))


def without_proof():
    """A snapshot as the version before made it."""
    head, body = snapshot.split(packed_story())
    unzip = zlib.decompressobj()
    unzip.decompress(body)
    state = body[: len(body) - len(unzip.unused_data)]
    return msgpack.packb((*head[:6], snapshot._checksum(head[2:6], state))) + state


def test_neighbouring_versions_read_each_others_snapshots():
    """A version without proofs reads what comes before the proof: one compressed state; here, its steps."""
    old, new = without_proof(), packed_story()
    assert len(new) - len(old) < 600
    head, body = snapshot.split(new)
    assert snapshot._checksum(head[2:6], body) == head[6], "its checksum is over all bytes after the head"
    unzip = zlib.decompressobj()
    assert msgpack.unpackb(unzip.decompress(body, snapshot.MAX_STATE_BYTES), strict_map_key=False) and unzip.eof
    assert state_digest(snapshot.load(old)) == state_digest(snapshot.load(new))
    assert snapshot.check(old).proof == () and snapshot.check(new).proof
    with MemoryLog.open(f"memory://{uuid.uuid4()}") as log:
        log.append(STORY)
        assert "does not name the records" in fault_of(check_fits, snapshot.check(old), EPOCH, log)
        late = snapshot.load(old)
        late.fold([(LAST + 1, decode_record(other(1)))])
        log.append([other(1)])
        assert "does not name the records" in fault_of(check_fits, snapshot.check(snapshot.dump(late)), EPOCH, log), (
            "what is folded later does not prove a state that was not proven"
        )
        log.delete()


@pytest.mark.parametrize(
    "proof", [7, {"a": 1}, ((1,),), ((1, b"x"),), ((12, "text"),), ((5, b"x"), (5, b"y"), (12, b"z"))]
)
def test_a_proof_of_another_form_is_none(proof):
    head, body = snapshot.split(without_proof())
    body += snapshot._packed_proof(proof)
    packed = msgpack.packb((*head[:6], snapshot._checksum(head[2:6], body))) + body
    assert snapshot.check(packed).proof == ()


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


def test_a_snapshot_of_a_higher_level_has_a_name_of_its_own(store):
    """A service of the release before does not overwrite it; a log that lost its pin goes back to the one before."""
    kept = [packed_story()]
    store.save("cell1", kept[0])
    for level in range(2, LEVEL + 1):
        pinned = snapshot.load(kept[-1])
        pin = Voice("operator/o", epoch=level).say(events.LevelPinned(level))
        record = record_of(pin, epoch=pinned.epoch, level=level - 1)
        pinned.fold([(pinned.position + 1, decode_record(record))])
        kept.append(snapshot.dump(pinned))
        store.save("cell1", kept[-1])
        assert snapshot.level_of(kept[-1]) == level
        assert store.load("cell1") == kept[-1] and list(store.load_all("cell1")) == kept[::-1]
        assert f"@{level}" in store.where("cell1") or isinstance(store, RedisStore)
    for count in range(LEVEL - 1, 0, -1):
        store.save("cell1", kept[count - 1])
        assert list(store.load_all("cell1")) == kept[count - 1 :: -1]


def test_a_half_written_file_is_never_the_snapshot(tmp_path):
    store = FileStore(str(tmp_path))
    store.save("cell1", b"whole")
    (tmp_path / "cell1.new").write_bytes(b"ha")
    assert store.load("cell1") == b"whole"


def test_several_may_save_at_once(tmp_path):
    """As the conductors of one cell do: the kept snapshot is a whole one of one conductor, and no save fails."""
    stores = [FileStore(str(tmp_path)) for _ in range(8)]
    packed = [bytes([number]) * 300_000 for number in range(len(stores))]
    with ThreadPoolExecutor(len(stores)) as pool:
        for _ in range(5):
            list(pool.map(lambda store, mine: store.save("cell1", mine), stores, packed))
            assert stores[0].load("cell1") in packed


@pytest.mark.parametrize(
    "url, fault",
    [
        ("ftp://x", errors.UsageError),
        ("file://", errors.UsageError),
        ("redis://localhost:x", errors.UsageError),
        ("redis://127.0.0.1:1/0", errors.LogUnavailable),
        ("file:///proc/nowhere", errors.LogUnavailable),
    ],
)
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
            with pytest.raises(errors.LogUnavailable, match=r"cannot be made .*; fix \[snapshots\] url"):
                store_of(conf)
