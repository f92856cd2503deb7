"""Writes over several logs, as one of the logs sees them: what is held and locked until they end."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from rpc_api import events
from tests.builders import (
    REQUEST,
    Cell,
    claim,
    consumer_put,
    created,
    facts_of,
    inventory_of,
    of,
    providers_reported,
    put,
    put_inventories,
    released,
    uuid_of,
)

WRITE = uuid_of("write")


def ledger():
    """Two providers of 8 VCPU; "a" has 3 of p1."""
    cell = Cell(events.LevelPinned(3))
    for name in ("p1", "p2"):
        cell.say(created(name))
        cell.say(put_inventories(name, inventory_of("VCPU", 8)))
    cell.say(put(consumer_put("a", of("p1", 3))))
    return cell


def prepared(*consumers, home="cell1", logs=("cell1", "cell2"), write=WRITE):
    return events.AllocationsPrepared(write, home, logs, consumers, *REQUEST)


def committed(write=WRITE):
    return events.WriteCommitted(write, (), *REQUEST)


def aborted(write=WRITE):
    return events.WriteAborted(write, (), *REQUEST)


def ended(write=WRITE):
    return events.WriteEnded(write, *REQUEST)


def reason_of(cell, data):
    """Why a write has no effect, as a text; None if it has."""
    cell.projection.writes = []
    cell.say(data)
    (written,) = cell.projection.writes
    return None if written.reason is None else str(getattr(written.reason, "reason", written.reason))


def held(cell):
    """Name -> what each consumer holds, of the consumers "a" and "b"."""
    projection = cell.projection
    return {
        name: sorted(
            (allocation.provider_uuid == uuid_of("p1"), allocation.amount)
            for entry in projection.consumers.get(uuid_of(name), ())
            for allocation in entry.allocations
        )
        for name in "ab"
        if uuid_of(name) in projection.consumers
    }


P1, P2 = True, False


@pytest.mark.parametrize(
    ("part", "used", "after"),
    [
        ((consumer_put("b", of("p1", 5)),), (8, 0), {"a": [(P1, 3)], "b": [(P1, 5)]}),
        ((consumer_put("a", of("p1", 4), of("p2", 2), generation=1),), (4, 2), {"a": [(P2, 2), (P1, 4)]}),
        ((consumer_put("a", of("p2", 3), generation=1),), (3, 3), {"a": [(P2, 3)]}),
        ((consumer_put("a"), consumer_put("b", of("p1", 3))), (3, 0), {"b": [(P1, 3)]}),
        ((consumer_put("a"),), (3, 0), {}),
    ],
)
def test_room_is_held_until_the_end(part, used, after):
    cell = ledger()
    before, before_digest = held(cell), state_digest(cell.projection)
    assert reason_of(cell, prepared(*part)) is None
    assert (cell.used("p1"), cell.used("p2")) == used
    assert held(cell) == before
    assert reason_of(cell, committed()) is None
    assert held(cell) == after
    assert reason_of(cell, ended()) is None
    assert (cell.projection.prepared, cell.projection.locked, cell.projection.committed) == ({}, {}, {})
    again = ledger()
    reason_of(again, prepared(*part))
    assert reason_of(again, aborted()) is None
    assert (held(again), again.used("p1"), again.used("p2")) == (before, 3, 0)
    # Besides the marks of the producers, nothing is left of it.
    again.projection.producers = ledger().projection.producers
    assert state_digest(again.projection) == before_digest


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (put(consumer_put("a", of("p1", 1))), f"consumer {uuid_of('a')} takes part in the write {WRITE}"),
        (events.AllocationsDropped(uuid_of("a"), *REQUEST), f"consumer {uuid_of('a')} takes part in the write {WRITE}"),
        (put(consumer_put("b", of("p1", 1))), f"consumer {uuid_of('b')} takes part in the write {WRITE}"),
        (put(consumer_put("c", of("p1", 4))), f"VCPU of provider {uuid_of('p1')}: 5 used, 4 asked, 8 there"),
        (
            prepared(consumer_put("a"), write=uuid_of("second")),
            f"consumer {uuid_of('a')} takes part in the write {WRITE}",
        ),
        (prepared(consumer_put("c", of("p1", 1))), f"the write {WRITE} exists"),
        (committed(uuid_of("other")), f"the write {uuid_of('other')} is not under way"),
        (ended(), f"the write {WRITE} is not under way"),
        (events.ProviderDeleted(uuid_of("p2"), *REQUEST), f"somebody holds resources of provider {uuid_of('p2')}"),
        (put_inventories("p2", kind="all"), f"somebody holds VCPU of provider {uuid_of('p2')}"),
        (put(consumer_put("c", of("p1", 3))), None),
    ],
)
def test_who_may_write_while_it_is_under_way(write, reason):
    cell = ledger()
    assert (
        reason_of(cell, prepared(consumer_put("a", of("p1", 3), of("p2", 2)), consumer_put("b", of("p1", 2)))) is None
    )
    assert reason_of(cell, write) == reason
    if reason is not None:
        assert held(cell) == {"a": [(P1, 3)]}
        assert cell.projection.prepared.keys() == {WRITE}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (prepared(consumer_put("b", of("p1", 6))), f"VCPU of provider {uuid_of('p1')}: 3 used, 6 asked, 8 there"),
        (
            prepared(consumer_put("a", of("p1", 1), generation=7)),
            f"consumer {uuid_of('a')} has generation 1, expected 7",
        ),
        (prepared(consumer_put("a", of("nowhere", 1))), f"unknown provider {uuid_of('nowhere')}"),
        (prepared(consumer_put("a"), consumer_put("a")), "names a consumer twice"),
        (prepared(consumer_put("a"), logs=("cell2",)), "wanted cell1 and its home among them"),
        (prepared(consumer_put("a"), home="cell3"), "wanted cell1 and its home among them"),
    ],
)
def test_a_part_is_refused_as_a_write_of_its_own_would_be(part, reason):
    cell = ledger()
    assert reason in reason_of(cell, part)
    assert (cell.projection.prepared, cell.projection.locked, held(cell)) == ({}, {}, {"a": [(P1, 3)]})


def test_of_two_ends_the_first_one_counts():
    cell = ledger()
    reason_of(cell, prepared(consumer_put("a")))
    assert reason_of(cell, aborted()) is None
    assert reason_of(cell, committed()) == f"the write {WRITE} is not under way"
    assert held(cell) == {"a": [(P1, 3)]}


def test_only_its_home_remembers_what_was_committed():
    for home, remembers in (("cell1", True), ("cell2", False)):
        cell = ledger()
        reason_of(cell, prepared(consumer_put("a"), home=home))
        reason_of(cell, committed())
        assert (WRITE in cell.projection.committed) is remembers


def test_generations_rise_once_and_at_the_commit():
    cell = ledger()
    table, rows = cell.projection.table, cell.projection.table.row_of_uuid
    before = table.generation.item(rows[uuid_of("p1")])
    reason_of(cell, prepared(consumer_put("a", of("p1", 4), generation=1)))
    assert table.generation.item(rows[uuid_of("p1")]) == before
    reason_of(cell, committed())
    assert table.generation.item(rows[uuid_of("p1")]) == before + 1
    assert cell.projection.holders[uuid_of("a")].generation == 2


@pytest.mark.parametrize("steps", [1, 2])
def test_a_snapshot_has_what_is_under_way(steps):
    cell = ledger()
    for data in (prepared(consumer_put("a", of("p1", 4), generation=1)), committed())[:steps]:
        reason_of(cell, data)
    loaded = snapshot.load(snapshot.dump(cell.projection))
    for name in ("prepared", "locked", "committed"):
        assert getattr(loaded, name) == getattr(cell.projection, name)
    assert state_digest(loaded) == state_digest(cell.projection)


def test_a_class_that_it_names_keeps_its_name():
    cell = ledger()
    cell.say(events.ClassCreated("CUSTOM_GOLD", *REQUEST))
    cell.say(put_inventories("p2", inventory_of("CUSTOM_GOLD", 4)))
    reason_of(cell, prepared(consumer_put("b", of("p2", 1, "CUSTOM_GOLD"))))
    renamed = events.ClassRenamed("CUSTOM_GOLD", "CUSTOM_SILVER", *REQUEST)
    assert reason_of(cell, renamed) == f"the write {WRITE} names CUSTOM_GOLD"
    reason_of(cell, aborted())
    assert reason_of(cell, renamed) is None


# --- what others do meanwhile ----------------------------------------------------------------------------------------


def with_a_host_of_nova():
    cell = Cell(events.LevelPinned(3))
    cell.say(created("host"))
    cell.say(put_inventories("host", inventory_of("VCPU", 8)))
    cell.say(facts_of("host", authority="nova"), by="conductor/tap")
    return cell


def test_a_claim_that_is_released_leaves_its_room_to_the_write():
    cell = with_a_host_of_nova()
    assert cell.say(claim("a", "host", of("host", 6))) == "accepted"
    assert reason_of(cell, prepared(consumer_put("a", of("host", 6), generation=1))) is None
    cell.say(released("a"))
    assert cell.used("host") == 6
    assert "6 used, 6 asked, 8 there" in reason_of(cell, put(consumer_put("b", of("host", 6))))
    assert reason_of(cell, committed()) is None
    assert cell.used("host") == 6


@pytest.mark.parametrize("report", [facts_of("p1"), providers_reported("p1")])
def test_an_agent_does_not_take_over_a_tree_meanwhile(report):
    cell = ledger()
    reason_of(cell, prepared(consumer_put("b", of("p1", 5))))
    assert cell.say(report) == "busy"
    reason_of(cell, committed())
    assert cell.say(report) != "busy"


def test_an_authority_does_not_pass_meanwhile():
    cell = with_a_host_of_nova()
    cell.say(put(consumer_put("a", of("host", 4))))
    reason_of(cell, prepared(consumer_put("a", of("host", 2), generation=1)))
    assert cell.say(events.AuthorityPassed("host", "agent")) == "authority-kept"
    reason_of(cell, committed())
    assert cell.say(events.AuthorityPassed("host", "agent")) == "authority-passed"


def test_nobody_writes_under_the_uuid_of_the_write():
    cell = ledger()
    reason_of(cell, prepared(consumer_put("b", of("p1", 4))))
    for data in (put(consumer_put("write", of("p1", 1))), events.AllocationsDropped(WRITE, *REQUEST)):
        assert "takes part in the write" in reason_of(cell, data)
    assert cell.used("p1") == 7


def test_home_keeps_its_consumers_locked_until_all_logs_have_committed():
    cell = ledger()
    reason_of(cell, prepared(consumer_put("a", of("p1", 4), generation=1)))
    reason_of(cell, committed())
    for data in (put(consumer_put("a")), events.AllocationsDropped(uuid_of("a"), *REQUEST)):
        assert "takes part in the write" in reason_of(cell, data)
    reason_of(cell, ended())
    assert reason_of(cell, put(consumer_put("a"))) is None
