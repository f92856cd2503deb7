"""The state at any moment is that of a whole fold, whatever snapshots there are, and damaged ones are no matter."""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.process.snapshot_store import FileStore
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.replay.state import history
from nova_sched.replay.state.history import History, SnapshotCache
from rpc_api import errors, events
from rpc_api.log import open_log
from tests.builders import Voice, claim, deleted, expired, record_of, released, report, started, uuid_of
from tests.nova_sched.replay.logs import Written, records_of

HOSTS = ("a", "b", "c")


def random_log(seed, count=60, url=None):
    rng, written = random.Random(seed), Written(*(report(host) for host in HOSTS), url=url)
    for number in range(count):
        host, name = rng.choice(HOSTS), f"vm-{rng.randrange(12)}"
        written.say(
            rng.choice(
                (
                    claim(name, host, attempt=number),
                    started(name, host),
                    deleted(name, host),
                    released(name, rng.randrange(count)),
                    expired(name, rng.randrange(count)),
                    report(host, disabled=rng.random() < 0.5),
                    events.HostLost(host, "silent"),
                    events.HostRemoved(host, "gone") if rng.random() < 0.2 else report(host),
                )
            )
        )
    return written.log


def whole_fold(log, position):
    projection = Projection("cell1")
    projection.fold([one for one in records_of(log) if one[0] <= position])
    return state_digest(projection)


def digest_at(log, position, **how):
    return state_digest(History({"cell1": log}, **how).world_at({"cell1": position}).projections["cell1"])


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(history, "EVERY", 5)
    monkeypatch.setattr(history, "EVERY_A_HOLDER", 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(-1, 63), min_size=1, max_size=6))
def test_the_state_at_any_position_is_that_of_a_whole_fold(seed, looks, tmp_path_factory):
    log, cache = random_log(seed), SnapshotCache(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "EVERY", 7)
        patch.setattr(history, "EVERY_A_HOLDER", 0)
        for position in looks:
            assert digest_at(log, position, cache=cache) == whole_fold(log, position)


def test_a_second_look_begins_at_a_kept_snapshot(tmp_path, often):
    log, cache, read = random_log(1), SnapshotCache(tmp_path), []
    digest_at(log, 60, cache=cache)
    assert digest_at(log, 62, cache=cache, progress=lambda *one: read.append(one)) == whole_fold(log, 62)
    assert read[-1][2] < 10


def test_forward_is_the_same_as_a_look_there(tmp_path):
    log = random_log(2)
    book, seen = History({"cell1": log}), []
    world = book.world_at({"cell1": 20})
    book.forward(world, "cell1", 50, lambda position, record, outcomes, noted: seen.append(position))
    assert state_digest(world.projections["cell1"]) == whole_fold(log, 50) and seen == list(range(21, 51))


def test_snapshots_of_schedulers_are_begun_with(tmp_path):
    log, store, read = random_log(3), FileStore(str(tmp_path)), []
    projection = Projection("cell1")
    projection.fold(records_of(log)[:40])
    store.save("cell1", snapshot.dump(projection))
    assert digest_at(log, 45, store=store, progress=lambda *one: read.append(one)) == whole_fold(log, 45)
    assert read[-1][2] == 6
    assert digest_at(log, 20, store=store) == whole_fold(log, 20)  # it is of no use for what was before it


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"",
        lambda packed: b"junk",
        lambda packed: packed[:-20],
        lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]),
        lambda packed: packed.replace(b"snapshot", b"snapshut"),
    ],
)
def test_a_damaged_snapshot_is_removed_and_the_one_before_it_taken(damage, tmp_path, often):
    log, cache = random_log(4), SnapshotCache(tmp_path)
    digest_at(log, 60, cache=cache)
    kept = cache.kept("cell1", log.url)
    kept[-1].path.write_bytes(damage(kept[-1].path.read_bytes()))
    read = []
    assert digest_at(log, kept[-1].position, cache=cache, progress=lambda *one: read.append(one)) == whole_fold(
        log, kept[-1].position
    )
    assert read[-1][2] == kept[-1].position - kept[-2].position
    assert cache.read(cache.kept("cell1", log.url)[-1]) is not None  # folding it again kept it again


def test_snapshots_of_another_log_at_the_same_place_are_not_taken(tmp_path, often):
    """A log that was recreated has the same name, here even the same epoch, but other records."""
    cache, url = SnapshotCache(tmp_path / "cache"), f"sqlite:///{tmp_path}/log.db"
    with random_log(5, url=url) as log:
        digest_at(log, 60, cache=cache)
    (tmp_path / "log.db").unlink()
    for path in tmp_path.glob("log.db-*"):
        path.unlink()
    with random_log(6, url=url) as log:
        assert digest_at(log, 60, cache=cache) == whole_fold(log, 60)


def test_an_epoch_names_no_directory(tmp_path, often):
    """The epoch is a text from the log: one that climbs must not lead out of the cache."""
    written = Written(report("a"), epoch="../../../../out")
    for _ in range(20):
        written.say(report("a"))
    History({"cell1": written.log}, SnapshotCache(tmp_path / "in" / "cache")).world_at({"cell1": 20})
    assert not [path for path in tmp_path.rglob("*.snapshot") if (tmp_path / "in" / "cache") not in path.parents]
    assert list((tmp_path / "in" / "cache").rglob("*.snapshot"))


@pytest.mark.parametrize("grown", [4, 3], ids=["as long as before", "shorter"])
def test_states_that_the_log_lost_are_not_kept(tmp_path, grown):
    """They would be shown as the last known ones when the log cannot be read."""
    log, cache = random_log(1, count=20), SnapshotCache(tmp_path)

    def remembered():
        book, last = History({"cell1": log}, cache), log.bounds().last
        book.remember(book.world_at({"cell1": last}))
        return [(one.position, snapshot.load(cache.read(one))) for one in cache.kept("cell1", log.url)]

    assert len(remembered()) == 1
    log.lose_tail(4)
    other = Voice("scheduler/other")
    log.append([record_of(other.say(claim(f"other-{number}", "a"))) for number in range(grown)])
    ((position, state),) = remembered()
    assert position == log.bounds().last and state_digest(state) == whole_fold(log, position)


def test_an_earlier_snapshot_is_used_if_a_later_one_proves_to_be_of_another_history(tmp_path):
    """Its last record came back at its old position, behind others."""
    log, cache = random_log(4, count=40), SnapshotCache(tmp_path)
    for position in (20, 39):
        book = History({"cell1": log}, cache)
        book.remember(book.world_at({"cell1": position}))
    same = records_with_bytes(log)[39]
    log.lose_tail(log.bounds().last + 1 - 35)
    other = Voice("scheduler/other")
    log.append([record_of(other.say(claim(f"other-{number}", "a"))) for number in range(4)])
    log.append([same])
    log.truncate_before(10)
    for _ in range(2):
        assert digest_at(log, 39, cache=cache) == digest_of_rest(log, cache)
        assert [one.position for one in cache.kept("cell1", log.url)] == [20]


def records_with_bytes(log):
    """Position -> bytes of all records."""
    with log.read_from(log.bounds().first) as reader:
        return {record.position: record.payload for record in reader.read(100_000, 5)}


def digest_of_rest(log, cache):
    """The digest of the state at the end, from the only snapshot of the cache on."""
    projection = snapshot.load(cache.read(cache.kept("cell1", log.url)[0]))
    projection.fold([one for one in records_of(log) if one[0] > projection.position])
    return state_digest(projection)


def test_a_cache_that_cannot_be_written_is_no_matter(tmp_path, often):
    (tmp_path / "file").write_text("")
    log = random_log(7)
    assert digest_at(log, 60, cache=SnapshotCache(tmp_path / "file")) == whole_fold(log, 60)


def test_the_cache_has_an_end(tmp_path, often, monkeypatch):
    log = random_log(8)
    digest_at(log, 62, cache=SnapshotCache(tmp_path / "a"))
    size = max(path.stat().st_size for path in (tmp_path / "a").rglob("*.snapshot"))
    monkeypatch.setattr(history, "CACHE_BYTES", 3 * size)
    cache = SnapshotCache(tmp_path / "b")
    digest_at(log, 62, cache=cache)
    kept = cache.kept("cell1", log.url)
    assert 1 <= len(kept) <= 4 and sum(one.path.stat().st_size for one in kept) <= 3 * size
    assert digest_at(log, 62, cache=cache) == whole_fold(log, 62)


def without_front(first, directory):
    """Take what stands before a position out of the log of a directory."""
    with sqlite3.connect(directory / "log.db") as database:
        table = next(
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        )
        column = next(
            name for _, name, kind, *_ in database.execute(f"PRAGMA table_info({table})") if kind == "INTEGER"
        )
        database.execute(f"DELETE FROM {table} WHERE {column} < ?", (first,))
    database.close()


def test_a_log_without_its_front_needs_a_snapshot(tmp_path, often):
    url, cache = f"sqlite:///{tmp_path}/log.db", SnapshotCache(tmp_path / "cache")
    with random_log(9, url=url) as log:
        wanted = {position: whole_fold(log, position) for position in (30, 60)}
        digest_at(log, 60, cache=cache)
        store = FileStore(str(tmp_path / "store"))
        projection = Projection("cell1")
        projection.fold(records_of(log)[:29])
        store.save("cell1", snapshot.dump(projection))
    without_front(25, tmp_path)
    with open_log(url, create=False) as log:
        with pytest.raises(errors.LogGap, match="begins at position 25.*--snapshots"):
            digest_at(log, 60)
        for how in ({"cache": cache}, {"store": store}, {"cache": cache, "store": store}):
            assert {position: digest_at(log, position, **how) for position in wanted} == wanted
        with pytest.raises(errors.LogGap):
            digest_at(log, 26, store=store)
        unknown = {}
        world = History({"cell1": log}).world_at({"cell1": 60}, unknown)
        assert not world.projections and isinstance(unknown["cell1"], errors.LogGap)


def test_a_log_that_begins_anew_is_known_from_there(tmp_path):
    url = f"sqlite:///{tmp_path}/log.db"
    written = Written(report("a"), report("b"), url=url)
    with written.log:
        written.say(events.LogRebased("cell1", 2, False))
        written.say(report("c"))
    without_front(2, tmp_path)
    with open_log(url, create=False) as log:
        world = History({"cell1": log}).world_at({"cell1": 4})
        assert sorted(world.projections["cell1"].hosts) == ["c"]
        with pytest.raises(errors.LogGap):
            History({"cell1": log}).world_at({"cell1": 2})


def test_garbage_and_an_empty_log_have_a_state():
    log = open_log("memory://history-empty")
    assert History({"cell1": log}).world_at({"cell1": -1}).projections["cell1"].position == -1
    written = Written(report("a"))
    written.log.append([b"\xc1"])
    written.say(report("b"))
    assert digest_at(written.log, 3) == whole_fold(written.log, 3)
    assert uuid_of("b") in History({"cell1": written.log}).world_at({"cell1": 3}).table.row_of_uuid
