"""The age of claims in a log from level 2 on: which time that conductors watched counts, and for which claims."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.fold import WATCHED_MAX_MS
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from tests.builders import EPOCH, Cell, Voice, claim, deleted, moved, of, record_of, released, report, started, uuid_of

PIN = events.LevelPinned(2)


def watched(after_ms, watched_ms, *building):
    return events.ClaimsWatched(after_ms, watched_ms, tuple(uuid_of(name) for name in building))


def a_claim(name):
    return claim(name, "a", of("a", 1))


def ages(projection):
    """Consumer -> age of its claim in ms, None for one that was not watched yet."""
    return {
        entry.consumer_uuid: None if entry.watched_from_ms is None else projection.watched_ms - entry.watched_from_ms
        for entries in projection.consumers.values()
        for entry in entries
    }


WATCHED = {
    # events after the pin -> the total, the age of each claim
    "nobody watched": ([a_claim("x")], 0, {"x": None}),
    "a claim counts from the next interval on": ([a_claim("x"), watched(0, 500)], 500, {"x": 0}),
    "the second interval": ([a_claim("x"), watched(0, 500), watched(500, 70)], 570, {"x": 70}),
    "an interval twice": ([a_claim("x"), watched(0, 5), watched(5, 70), watched(5, 70)], 75, {"x": 70}),
    "another conductor was first": ([a_claim("x"), watched(0, 5), watched(5, 70), watched(5, 90)], 75, {"x": 70}),
    "an interval after a total that is not there yet": ([a_claim("x"), watched(0, 5), watched(9, 70)], 5, {"x": 0}),
    "one that is too long": ([a_claim("x"), watched(0, 5), watched(5, 10**9)], 5 + WATCHED_MAX_MS, {"x": 120_000}),
    "a claim that is built is as new": ([a_claim("x"), watched(0, 5), watched(5, 70, "x")], 75, {"x": 0}),
    "also if the interval does not count": (
        [a_claim("x"), watched(0, 5), watched(5, 9), watched(5, 70, "x")],
        14,
        {"x": 0},
    ),
    "only that claim": ([a_claim("x"), a_claim("y"), watched(0, 5), watched(5, 70, "x")], 75, {"x": 0, "y": 70}),
    "one that is not there": ([a_claim("x"), watched(0, 5), watched(5, 70, "gone")], 75, {"x": 70}),
    "a claim that came later": (
        [a_claim("x"), watched(0, 5), a_claim("y"), watched(5, 70), watched(75, 1)],
        76,
        {"x": 71, "y": 1},
    ),
    "a claim that was released and came again": (
        [a_claim("x"), watched(0, 5), watched(5, 70), released("x"), a_claim("x"), watched(75, 1)],
        76,
        {"x": 0},
    ),
    "allocations that were moved are as old": (
        [a_claim("x"), watched(0, 5), moved("a", "x", "migration"), watched(5, 70)],
        75,
        {"migration": 70},
    ),
    "moved before they were watched": (
        [a_claim("x"), moved("a", "x", "migration"), watched(0, 5), watched(5, 70)],
        75,
        {"migration": 70},
    ),
    "all are gone": ([a_claim("x"), started("x", "a", of("a", 1)), deleted("x", "a"), watched(0, 5)], 5, {}),
    "after a rebase": (
        [a_claim("x"), watched(0, 5), events.LogRebased("cell1", 3), report("a"), a_claim("x")],
        0,
        {"x": None},
    ),
}


@pytest.mark.parametrize("name", WATCHED)
def test_what_counts(name):
    data, total, wanted = WATCHED[name]
    cell = Cell(report("a"), PIN, *data)
    assert cell.projection.watched_ms == total
    assert ages(cell.projection) == {uuid_of(one): age for one, age in wanted.items()}


@pytest.mark.parametrize("name", WATCHED)
def test_a_snapshot_at_each_position_goes_on_in_the_same_way(name):
    cell = Cell(report("a"), PIN, *WATCHED[name][0])
    for position in range(2, len(cell.records)):
        first = Projection("cell1")
        first.fold(cell.records[:position])
        loaded = snapshot.load(snapshot.dump(first))
        loaded.fold(cell.records[position:])
        assert state_digest(loaded) == state_digest(cell.projection)
        assert (loaded.watched_ms, ages(loaded)) == (cell.projection.watched_ms, ages(cell.projection))


def test_the_total_and_the_marks_are_in_the_digest():
    marks = [
        state_digest(Cell(report("a"), PIN, a_claim("x"), *more).projection)
        for more in (
            [watched(0, 5), watched(5, 1)],
            [watched(0, 5), watched(5, 2)],
            [watched(0, 5), watched(5, 2, "x")],
        )
    ]
    assert len(set(marks)) == 3


def test_a_claim_from_before_the_pin_counts_from_the_pin_on():
    cell = Cell(report("a"), a_claim("x"), PIN, watched(0, 500))
    assert ages(cell.projection) == {uuid_of("x"): 500}


def test_below_level_2_there_is_no_such_event():
    cell = Cell(report("a"), a_claim("x"))
    digest = state_digest(cell.projection)
    assert cell.say(watched(0, 500), level=2) == "newer-level"
    assert (cell.projection.watched_ms, state_digest(cell.projection)) == (0, digest)
    with pytest.raises(Exception, match="a ClaimsWatched event is of level 2, the log is at level 1"):
        record_of(Voice("conductor/one").say(watched(0, 500)))
    packed = record_of(Voice("conductor/one").say(watched(0, 500)), level=2)
    assert codec.decode_record(packed).epoch == EPOCH


@pytest.mark.parametrize("producer", ["scheduler/one", "compute_agent/a", "operator/one"])
def test_only_conductors_watch(producer):
    cell = Cell(report("a"), PIN)
    assert cell.say(watched(0, 500), by=producer) == "not-allowed"
    assert cell.projection.watched_ms == 0
