"""The life of a claim: proposed, started, deleted; or released, expired, moved. One row, one life."""

import pytest

from nova_sched.projection.ledger import CLAIMED, RUNNING
from rpc_api import events
from tests.builders import (
    Cell,
    claim,
    consumer,
    deleted,
    expired,
    moved,
    of,
    released,
    report,
    rule,
    started,
    status,
    tree,
    uuid_of,
)
from tests.nova_sched.projection import unchanged_by

TWO, THREE = of("host", 2), of("host", 3)
MIGRATION = "migration of vm"

LIVES = [
    # events that follow the report of "host" with the result of each; what is held then, by consumer; VCPU used
    ("claimed", [(claim("vm", "host", TWO), "accepted")], {"vm": CLAIMED}, 2),
    ("released", [(claim("vm", "host", TWO), "accepted"), (released("vm"), "ok")], {}, 0),
    ("expired", [(claim("vm", "host", TWO), "accepted"), (expired("vm"), "ok")], {}, 0),
    ("released twice", [(claim("vm", "host", TWO), "accepted"), (released("vm"), "ok"), (released("vm"), "ok")], {}, 0),
    (
        "released before it was claimed",
        [(released("vm"), "ok"), (claim("vm", "host", TWO), "accepted")],
        {"vm": CLAIMED},
        2,
    ),
    (
        "another attempt is released",
        [(claim("vm", "host", TWO), "accepted"), (released("vm", attempt=2), "ok"), (expired("vm", attempt=2), "ok")],
        {"vm": CLAIMED},
        2,
    ),
    (
        "the first attempt is released late",
        [
            (claim("vm", "host", TWO), "accepted"),
            (released("vm"), "ok"),
            (claim("vm", "host", THREE, attempt=2), "accepted"),
            (released("vm"), "ok"),
            (expired("vm"), "ok"),
        ],
        {"vm": CLAIMED},
        3,
    ),
    (
        "claim of another consumer by that name",
        [
            (claim("vm", "host", TWO), "accepted"),
            (events.ClaimReleased(uuid_of("other"), uuid_of("claim of vm"), ""), "ok"),
        ],
        {"vm": CLAIMED},
        2,
    ),
    ("started", [(claim("vm", "host", TWO), "accepted"), (started("vm", "host", TWO), "ok")], {"vm": RUNNING}, 2),
    (
        "started twice",
        [
            (claim("vm", "host", TWO), "accepted"),
            (started("vm", "host", TWO), "ok"),
            (started("vm", "host", TWO), "ok"),
        ],
        {"vm": RUNNING},
        2,
    ),
    (
        "started with more than was claimed",
        [(claim("vm", "host", TWO), "accepted"), (started("vm", "host", THREE), "differs")],
        {"vm": RUNNING},
        3,
    ),
    (
        "started with the same in another order",
        [
            (claim("vm", "host", TWO, of("host", 9, "MEMORY_MB")), "accepted"),
            (started("vm", "host", of("host", 9, "MEMORY_MB"), TWO), "ok"),
        ],
        {"vm": RUNNING},
        2,
    ),
    (
        "started, then released",
        [(claim("vm", "host", TWO), "accepted"), (started("vm", "host", TWO), "ok"), (released("vm"), "ok")],
        {"vm": RUNNING},
        2,
    ),
    (
        "started, then expired",
        [(claim("vm", "host", TWO), "accepted"), (started("vm", "host", TWO), "ok"), (expired("vm"), "ok")],
        {"vm": RUNNING},
        2,
    ),
    ("started without a claim", [(started("vm", "host", TWO), "unclaimed-start")], {"vm": RUNNING}, 2),
    ("more than there is started", [(started("vm", "host", of("host", 20)), "unclaimed-start")], {"vm": RUNNING}, 20),
    (
        "changed while it runs",
        [(started("vm", "host", TWO), "unclaimed-start"), (started("vm", "host", THREE), "differs")],
        {"vm": RUNNING},
        3,
    ),
    (
        "started after it was released",
        [
            (claim("vm", "host", TWO), "accepted"),
            (released("vm"), "ok"),
            (started("vm", "host", TWO), "unclaimed-start"),
        ],
        {"vm": RUNNING},
        2,
    ),
    (
        "deleted",
        [(claim("vm", "host", TWO), "accepted"), (started("vm", "host", TWO), "ok"), (deleted("vm", "host"), "ok")],
        {},
        0,
    ),
    (
        "deleted before it was started",
        [(claim("vm", "host", TWO), "accepted"), (deleted("vm", "host"), "ok")],
        {"vm": CLAIMED},
        2,
    ),
    (
        "deleted twice",
        [(started("vm", "host", TWO), "unclaimed-start"), (deleted("vm", "host"), "ok"), (deleted("vm", "host"), "ok")],
        {},
        0,
    ),
    (
        "another one deleted",
        [(started("vm", "host", TWO), "unclaimed-start"), (deleted("vm-2", "host"), "ok")],
        {"vm": RUNNING},
        2,
    ),
    (
        "a claim passes to its migration",
        [(claim("vm", "host", TWO), "accepted"), (moved("host", "vm", MIGRATION), "ok")],
        {MIGRATION: CLAIMED},
        2,
    ),
    (
        "and is given back as its own",
        [
            (claim("vm", "host", TWO), "accepted"),
            (moved("host", "vm", MIGRATION), "ok"),
            (released("vm"), "ok"),
            (events.ClaimReleased(uuid_of(MIGRATION), uuid_of("claim of vm"), ""), "ok"),
        ],
        {},
        0,
    ),
    (
        "moved back",
        [
            (started("vm", "host", TWO), "unclaimed-start"),
            (moved("host", "vm", MIGRATION), "ok"),
            (moved("host", MIGRATION, "vm"), "ok"),
        ],
        {"vm": RUNNING},
        2,
    ),
    (
        "moved, then the source is deleted",
        [
            (started("vm", "host", TWO), "unclaimed-start"),
            (moved("host", "vm", MIGRATION), "ok"),
            (deleted("vm", "host"), "ok"),
        ],
        {},
        0,
    ),
    ("nothing to move", [(moved("host", "vm", MIGRATION), "not-moved")], {}, 0),
    (
        "moved to itself",
        [(claim("vm", "host", TWO), "accepted"), (moved("host", "vm", "vm"), "not-moved")],
        {"vm": CLAIMED},
        2,
    ),
    (
        "moved onto what another holds",
        [
            (claim("vm", "host", TWO), "accepted"),
            (claim("vm-2", "host", THREE), "accepted"),
            (moved("host", "vm", "vm-2"), "not-moved"),
        ],
        {"vm": CLAIMED, "vm-2": CLAIMED},
        5,
    ),
    (
        "moved on an unknown host",
        [(claim("vm", "host", TWO), "accepted"), (moved("other", "vm", MIGRATION), "not-moved")],
        {"vm": CLAIMED},
        2,
    ),
    (
        "resized in place",
        [
            (started("vm", "host", TWO), "unclaimed-start"),
            (moved("host", "vm", MIGRATION), "ok"),
            (claim("vm", "host", THREE), "accepted"),
        ],
        {"vm": CLAIMED, MIGRATION: RUNNING},
        5,
    ),
    (
        "resized in place, started",
        [
            (started("vm", "host", TWO), "unclaimed-start"),
            (moved("host", "vm", MIGRATION), "ok"),
            (claim("vm", "host", THREE), "accepted"),
            (started("vm", "host", THREE), "ok"),
        ],
        {"vm": RUNNING, MIGRATION: RUNNING},
        5,
    ),
    (
        "the host is gone",
        [
            (claim("vm", "host", TWO), "accepted"),
            (started("vm-2", "host", TWO), "unclaimed-start"),
            (events.HostRemoved("host", "gone"), "ok"),
        ],
        {},
        None,
    ),
    (
        "a failed build alone gives nothing back",
        [
            (claim("vm", "host", TWO), "accepted"),
            (events.BuildFailed(uuid_of("vm"), "req", "host", 1, "no image", False), "ok"),
        ],
        {"vm": CLAIMED},
        2,
    ),
]


@pytest.mark.parametrize("said, held, used", [life[1:] for life in LIVES], ids=[life[0] for life in LIVES])
def test_lives(said, held, used):
    cell = Cell(report("host"))
    for data, outcome in said:
        assert cell.say(data) == outcome
    assert cell.holdings() == {("host", uuid_of(name)): state for name, state in held.items()}
    if used is not None:
        assert cell.used("host") == used


# --- two hosts ---------------------------------------------------------------------------------------------------


def test_a_move_holds_both_hosts_until_the_source_is_deleted():
    cell = Cell(report("host"), report("other"), claim("vm", "host", TWO), started("vm", "host", TWO))
    assert cell.say(claim("vm", "other", of("other", 2), attempt=2)) == "the consumer holds resources already"
    assert cell.say(moved("host", "vm", MIGRATION)) == "ok"
    assert cell.say(claim("vm", "other", of("other", 2), attempt=2)) == "accepted"
    assert cell.say(started("vm", "other", of("other", 2))) == "ok"
    assert (cell.used("host"), cell.used("other")) == (2, 2)
    assert cell.say(deleted("vm", "host")) == "ok"
    assert (cell.used("host"), cell.used("other")) == (0, 2)


def test_nothing_moves_onto_what_another_host_holds():
    cell = Cell(report("host"), report("other"), claim("vm", "host", TWO), claim("vm-2", "other", of("other", 2)))
    with unchanged_by(cell):
        assert cell.say(moved("host", "vm", "vm-2")) == "not-moved"


def test_one_instance_reported_by_two_hosts_is_held_by_both():
    cell = Cell(report("host"), report("other"), started("vm", "host", TWO), started("vm", "other", of("other", 3)))
    assert (cell.used("host"), cell.used("other")) == (2, 3)
    assert len(cell.projection.consumers[uuid_of("vm")]) == 2
    cell.say(deleted("vm", "host"))
    assert (cell.used("host"), cell.used("other")) == (0, 3)


def test_an_instance_started_elsewhere_leaves_its_claim():
    cell = Cell(report("host"), report("other"), claim("vm", "host", TWO))
    assert cell.say(started("vm", "other", of("other", 2))) == "unclaimed-start"
    assert cell.holdings() == {("host", uuid_of("vm")): CLAIMED, ("other", uuid_of("vm")): RUNNING}
    assert cell.say(released("vm")) == "ok"
    assert cell.holdings() == {("other", uuid_of("vm")): RUNNING}


def test_a_moved_allocation_keeps_its_group():
    cell = Cell(
        report("host"), claim("vm", "host", rule=rule(domain="host", partition="vm")), moved("host", "vm", MIGRATION)
    )
    assert cell.say(claim("vm-2", "host", rule=rule(domain="host", partition="vm-2"))) == (
        "anti-affinity: 1 of the group in host, limit 1"
    )


# --- entries that cannot be right ----------------------------------------------------------------------------------


def test_an_instance_displaces_what_another_holds_under_its_uuid():
    cell = Cell(report("host"), claim("vm", "host", TWO, instance="vm-2"))
    assert cell.say(started("vm", "host", THREE)) == "unclaimed-start, displaced"
    assert cell.holdings() == {("host", uuid_of("vm")): RUNNING}
    assert cell.used("host") == 3
    assert cell.projection.hosts["host"].entries[uuid_of("vm")].instance_uuid == uuid_of("vm")


def test_a_start_finds_the_claim_that_fits_it():
    cell = Cell(report("host"), claim("a", "host", TWO, instance="vm"), claim("b", "host", THREE, instance="vm"))
    assert cell.say(started("vm", "host", THREE)) == "ok"
    assert cell.holdings() == {("host", uuid_of("a")): CLAIMED, ("host", uuid_of("b")): RUNNING}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize(
    "said",
    [
        started("vm", "host", TWO),
        started("vm", "host", THREE),
        report("host", consumer("vm", TWO)),
        report("host", consumer("vm", THREE)),
    ],
    ids=["start", "differs", "report", "other report"],
)
def test_of_two_that_fit_alike_the_order_does_not_matter(order, said):
    """A reader that began with a snapshot has the entries of a host in another order."""
    cell = Cell(report("host"), *(claim(name, "host", TWO, instance="vm") for name in order))
    cell.say(said)
    running = min(uuid_of("a"), uuid_of("b"))
    assert [uuid for (_, uuid), state in cell.holdings().items() if state == RUNNING] == [running]


def test_what_a_provider_has_no_inventory_of_is_counted_nowhere():
    gone = of("host", 1, "CUSTOM_GONE")
    cell = Cell(report("host"), started("vm", "host", gone, of("elsewhere", 1), TWO))
    assert cell.projection.table.classes.get("CUSTOM_GONE") == -1
    assert cell.used("host") == 2
    assert cell.say(deleted("vm", "host")) == "ok"
    assert cell.used("host") == 0


def test_an_unknown_host_is_asked_to_report():
    cell = Cell()
    assert cell.say(started("vm", "host", TWO)) == "unknown-host"
    assert cell.noted[-1].resync and cell.noted[-1].host == "host"
    assert cell.say(deleted("vm", "host")) == "ok"
    assert cell.projection.hosts == {}


def test_a_claim_of_a_disabled_host_starts_all_the_same():
    cell = Cell(report("host"), claim("vm", "host", TWO), report("host", disabled=True))
    assert cell.say(started("vm", "host", TWO)) == "ok"
    assert cell.projection.hosts["host"].status == status(disabled=True)


def test_events_that_touch_no_host_change_no_host():
    cell = Cell(report("host", inventory=tree("host")), claim("vm", "host", TWO))
    with unchanged_by(cell):
        cell.say(events.LogOpened("cell1", uuid_of("another epoch")))
        cell.say(events.BuildFailed(uuid_of("vm"), "req", "host", 1, "no image", True))
        cell.say(events.DecisionMade("req", uuid_of("vm"), 0, "selected", "", None, (), 0, b"\xc1"))
    assert cell.projection.counts["DecisionMade"] == 1
