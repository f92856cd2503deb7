"""Which claims are accepted: room, units, providers, the state of the host, server groups. One row, one claim."""

import pytest

from rpc_api import events
from tests.builders import (
    Cell,
    claim,
    deleted,
    inventory_of,
    of,
    provider,
    released,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection import unchanged_by

# --- room --------------------------------------------------------------------------------------------------------

ROOM = [
    # inventory of VCPU, amounts claimed one after the other with their results
    (dict(total=8), [(8, "accepted"), (1, "VCPU")]),
    (dict(total=8), [(9, "VCPU"), (8, "accepted")]),
    (dict(total=8), [(5, "accepted"), (4, "VCPU"), (3, "accepted"), (1, "VCPU")]),
    (dict(total=8, reserved=3), [(6, "VCPU"), (5, "accepted")]),
    (dict(total=8, reserved=8), [(1, "VCPU")]),
    (dict(total=8, reserved=9), [(1, "VCPU")]),
    (dict(total=0), [(1, "VCPU")]),
    (dict(total=8, ratio=2.0), [(8, "accepted"), (8, "accepted"), (1, "VCPU")]),
    (dict(total=8, reserved=2, ratio=2.0), [(8, "accepted"), (5, "VCPU"), (4, "accepted")]),
    (dict(total=8, ratio=0.5), [(5, "VCPU"), (4, "accepted"), (1, "VCPU")]),
    # A part of a unit is not room: 3 * 1.5 = 4.5.
    (dict(total=3, ratio=1.5, max_unit=9), [(5, "VCPU"), (4, "accepted"), (1, "VCPU")]),
    # Placement's arithmetic: 100 * 1.15 is 114.99999999999999 in floating point.
    (dict(total=100, ratio=1.15, max_unit=200), [(115, "VCPU"), (114, "accepted")]),
    (dict(total=30, ratio=0.1), [(4, "VCPU"), (3, "accepted")]),
    (dict(total=2**31 - 1), [(2**31 - 1, "accepted"), (1, "VCPU")]),
    (dict(total=2**31 - 1, ratio=3.4e38), [(2**31 - 1, "accepted"), (2**31 - 1, "accepted")]),
    (dict(total=1, ratio=5e-324), [(1, "VCPU")]),
    # Units.
    (dict(total=8, min_unit=2), [(1, "VCPU"), (2, "accepted")]),
    (dict(total=8, max_unit=4), [(5, "VCPU"), (4, "accepted"), (4, "accepted")]),
    (dict(total=8, max_unit=0), [(1, "VCPU")]),
    (dict(total=8, step_size=3), [(1, "VCPU"), (4, "VCPU"), (3, "accepted"), (6, "VCPU"), (3, "accepted")]),
    (dict(total=8, min_unit=2, max_unit=6, step_size=2), [(3, "VCPU"), (8, "VCPU"), (6, "accepted"), (2, "accepted")]),
    # Amounts that are none.
    (dict(total=8), [(0, "malformed allocations")]),
]


@pytest.mark.parametrize("has, claims", ROOM)
def test_room(has, claims):
    cell = Cell(report("host", inventory=tree("host", inventories=[inventory_of(**has)])))
    used = 0
    for number, (amount, outcome) in enumerate(claims):
        assert cell.say(claim(f"vm-{number}", "host", of("host", amount))) == outcome
        used += amount if outcome == "accepted" else 0
        assert cell.used("host") == used


NESTED = tree(
    "host",
    provider("numa0", inventory_of("VCPU", 4), parent=0),
    provider("numa1", inventory_of("VCPU", 2), parent=0),
    inventories=[inventory_of("MEMORY_MB", 1000)],
)

ALLOCATIONS = [
    # allocations, outcome
    ([of("numa0", 4), of("numa1", 2), of("host", 1000, "MEMORY_MB")], "accepted"),
    ([of("numa0", 4), of("numa1", 3)], "VCPU"),
    ([of("numa0", 4), of("host", 1001, "MEMORY_MB")], "MEMORY_MB"),
    ([of("host", 1)], "VCPU"),
    ([of("numa0", 1, "MEMORY_MB")], "MEMORY_MB"),
    ([of("numa0", 1, "CUSTOM_GOLD")], "CUSTOM_GOLD"),
    ([of("numa0", 1, "")], "malformed allocations"),
    ([of("numa0", 1), of("numa0", 1)], "malformed allocations"),
    ([of("numa0", 1), of("numa1", 0)], "malformed allocations"),
    ([of("numa2", 1)], f"unknown provider {uuid_of('numa2')}"),
    ([of("numa0", 1), of("other", 1)], f"unknown provider {uuid_of('other')}"),
]


@pytest.mark.parametrize("allocations, outcome", ALLOCATIONS)
def test_allocations(allocations, outcome):
    cell = Cell(report("host", inventory=NESTED), report("other"))
    with unchanged_by(cell, unless=outcome == "accepted"):
        cell.say(claim("vm", "host", *allocations))
    assert str(cell.outcomes[-1].reason or "accepted") == outcome


def test_a_claim_without_allocations_is_accepted():
    cell = Cell(report("host"))
    assert cell.say(claim("vm", "host")._replace(allocations=())) == "accepted"


# --- the host ----------------------------------------------------------------------------------------------------

LOST, SEEN, REMOVED = events.HostLost("host", "silent"), events.HostSeen("host"), events.HostRemoved("host", "gone")

STATES = [
    # events about the host, outcome, outcome when forced
    ([], "unknown host host", "unknown host host"),
    ([report("host")], "accepted", "accepted"),
    ([report("host", disabled=True)], "disabled", "accepted"),
    ([report("host", forced_down=True)], "down", "accepted"),
    ([report("host", disabled=True, forced_down=True)], "down", "accepted"),
    ([report("host"), LOST], "down", "accepted"),
    ([report("host"), LOST, SEEN], "accepted", "accepted"),
    ([report("host"), LOST, report("host")], "accepted", "accepted"),
    ([report("host", forced_down=True), LOST, SEEN], "down", "accepted"),
    ([report("host", disabled=True), report("host")], "accepted", "accepted"),
    ([report("host"), report("host", disabled=True)], "disabled", "accepted"),
    ([report("host"), REMOVED], "unknown host host", "unknown host host"),
    ([report("host"), REMOVED, report("host")], "accepted", "accepted"),
    ([LOST, report("host")], "accepted", "accepted"),
]


@pytest.mark.parametrize("said, outcome, forced", STATES)
def test_the_state_of_the_host(said, outcome, forced):
    assert Cell(*said).say(claim("vm", "host")) == outcome
    assert Cell(*said).say(claim("vm", "host", forced=True)) == forced


def test_forced_makes_no_room():
    assert Cell(report("host")).say(claim("vm", "host", of("host", 9), forced=True)) == "VCPU"


def test_a_consumer_holds_once():
    cell = Cell(report("host"), report("other"), claim("vm", "host"))
    for again in (claim("vm", "host"), claim("vm", "host", attempt=2), claim("vm", "other", of("other", 1), attempt=3)):
        with unchanged_by(cell):
            assert cell.say(again) == "the consumer holds resources already"
    assert cell.say(released("vm")) == "ok"
    assert cell.say(claim("vm", "other", of("other", 1), attempt=3)) == "accepted"


def test_outcomes_say_whose_claim_it_was():
    cell = Cell(report("host"))
    cell.say(claim("vm", "host"), by="scheduler/b")
    assert cell.outcomes == [(1, "scheduler/b", uuid_of("claim of vm"), uuid_of("vm"), None)]


# --- server groups -----------------------------------------------------------------------------------------------

ANTI = {name: rule(domain=name, partition="p" + name) for name in ("a", "b")}


def spread(name, partition, limit=1, domain="rack", group="group"):
    return claim(name, "host", rule=rule(group, "spread", domain, partition, limit))


def together(name, domain, limit=0):
    return claim(name, "host", rule=rule("group", "together", domain, name, limit))


def member(name, domain):
    return claim(name, "host", rule=rule("group", "member", domain, name, 0))


FULL = "anti-affinity: 1 of the group in rack, limit 1"

GROUPS = [
    # events one after the other with the result of each
    [(spread("vm-1", "1"), "accepted"), (spread("vm-2", "2"), FULL)],
    [(spread("vm-1", "1"), "accepted"), (spread("vm-2", "1"), "accepted")],
    [(spread("vm-1", "1"), "accepted"), (spread("vm-2", "2", domain="rack-2"), "accepted")],
    [(spread("vm-1", "1"), "accepted"), (spread("vm-2", "2", group="other"), "accepted")],
    [
        (spread("vm-1", "1"), "accepted"),
        (spread("vm-2", "2", limit=2), "accepted"),
        (spread("vm-3", "3", limit=2), "anti-affinity: 2 of the group in rack, limit 2"),
        (spread("vm-3", "2", limit=2), "accepted"),
    ],
    [(spread("vm-1", "1", limit=0), "anti-affinity: 0 of the group in rack, limit 0")],
    [(spread("vm-1", "1"), "accepted"), (released("vm-1"), "ok"), (spread("vm-2", "2"), "accepted")],
    [
        (spread("vm-1", "1"), "accepted"),
        (spread("vm-2", "1"), "accepted"),
        (released("vm-1"), "ok"),
        (spread("vm-3", "2"), FULL),
        (released("vm-2"), "ok"),
        (spread("vm-3", "2"), "accepted"),
    ],
    [
        (together("vm-1", "host-1"), "accepted"),
        (together("vm-2", "host-1"), "accepted"),
        (together("vm-3", "host-2"), "affinity: the group is on host-1"),
        (released("vm-1"), "ok"),
        (together("vm-3", "host-2"), "affinity: the group is on host-1"),
        (released("vm-2"), "ok"),
        (together("vm-3", "host-2"), "accepted"),
    ],
    [
        (member("vm-1", "host-1"), "accepted"),
        (member("vm-2", "host-2"), "accepted"),
        (together("vm-3", "host-1"), "affinity: the group is on host-2"),
        (spread("vm-4", "4", domain="host-1"), "anti-affinity: 1 of the group in host-1, limit 1"),
    ],
    [
        (claim("vm-1", "host", rule=rule(policy="soft")), "malformed rule"),
        (claim("vm-1", "host", rule=rule(policy="")), "malformed rule"),
    ],
    # Of several domains the reason names the least, in whatever order they came.
    [
        (member("vm-2", "host-2"), "accepted"),
        (member("vm-1", "host-1"), "accepted"),
        (together("vm-3", "host-3"), "affinity: the group is on host-1"),
    ],
    # Room is looked at first.
    [(spread("vm-1", "1"), "accepted"), (claim("vm-2", "host", of("host", 9), rule=rule(domain="rack")), "VCPU")],
]


@pytest.mark.parametrize("said", GROUPS)
def test_groups(said):
    cell = Cell(report("host"))
    for data, outcome in said:
        assert cell.say(data) == outcome


def test_a_deleted_instance_leaves_its_group():
    cell = Cell(report("host"), spread("vm-1", "1"))
    cell.say(events.InstanceStarted("host", events.Consumer(uuid_of("vm-1"), None, (of("host", 1),), None)))
    assert cell.say(spread("vm-2", "2")) == FULL
    cell.say(deleted("vm-1", "host"))
    assert cell.say(spread("vm-2", "2")) == "accepted"


MOVED = "affinity: the group was moved to another cell"

FENCES = [
    # the anchor fenced, then the anchor of a claim, its outcome
    (5, 5, MOVED),
    (5, 4, MOVED),
    (5, 6, "accepted"),
    (0, 0, MOVED),
    (0, 1, "accepted"),
]


@pytest.mark.parametrize("fenced, anchor, outcome", FENCES)
def test_fences(fenced, anchor, outcome):
    cell = Cell(report("host"), events.GroupFenced(uuid_of("group"), fenced))
    assert cell.say(together("vm", "host-1", limit=anchor)) == outcome
    assert cell.say(spread("vm-2", "", group="other")) == "accepted"


def test_a_group_with_a_member_is_not_fenced():
    cell = Cell(report("host"), together("vm-1", "host-1", limit=3))
    with unchanged_by(cell):
        cell.say(events.GroupFenced(uuid_of("group"), 5))
    assert cell.say(together("vm-2", "host-1", limit=3)) == "accepted"


def test_a_fence_never_goes_back():
    cell = Cell(report("host"), events.GroupFenced(uuid_of("group"), 5), events.GroupFenced(uuid_of("group"), 2))
    assert cell.projection.fences == {uuid_of("group"): 5}
    assert cell.projection.anchors == {}
    assert cell.say(together("vm", "host-1", limit=5)) == MOVED


def test_a_fence_is_for_affinity_only():
    cell = Cell(report("host"), events.GroupFenced(uuid_of("group"), 5))
    assert cell.say(spread("vm", "1", limit=1)) == "accepted"


def anchored(host, replaces):
    return events.GroupAnchored(uuid_of("group"), "cell1", host, replaces)


ANCHORS = [
    # anchors said one after the other (positions 0, 1, 2), the host that holds in the end and its number
    ([("host-1", 0)], ("host-1", 1)),
    ([("host-1", 0), ("host-2", 0)], ("host-1", 1)),
    ([("host-1", 0), ("host-2", 1)], ("host-2", 2)),
    ([("host-1", 0), ("host-2", 1), ("host-3", 1)], ("host-2", 2)),
    ([("host-1", 0), ("host-2", 1), ("host-3", 2)], ("host-3", 3)),
    ([("host-1", 7)], None),
]


@pytest.mark.parametrize("said, anchor", ANCHORS)
def test_anchors(said, anchor):
    cell = Cell(*(anchored(*one) for one in said))
    wanted = {} if anchor is None else {uuid_of("group"): ("cell1", *anchor)}
    assert cell.projection.anchors == wanted


# --- affinity before and after a pin ----------------------------------------------------------------------------------


def on(name, host, policy="together", companion=None, limit=0, consumer=None):
    """A claim of an instance on a host under the rule of an affinity group."""
    kept = rule("group", policy, host, uuid_of(name), limit)
    made = claim(consumer or name, host, instance=name, rule=kept)
    return made._replace(companion=companion and uuid_of(companion))


SPLIT = [on("m1", "a", "member"), on("m2", "b", "member")]
ON_A, ON_B = "affinity: the group is on a", "affinity: the group is on b"
FULL_A = "anti-affinity: 1 of the group in a, limit 1"
BESIDE = [
    # events, a claim, its outcome at level 1 and at level 2
    (SPLIT, on("vm", "b"), ON_A, ON_A),
    (SPLIT, on("vm", "b", companion="m2"), ON_A, "accepted"),
    (SPLIT, on("vm", "a", companion="m1"), ON_B, "accepted"),
    # The companion is on another host, on none, or has left.
    (SPLIT, on("vm", "c", companion="m2"), ON_A, ON_A),
    (SPLIT, on("vm", "b", companion="nobody"), ON_A, ON_A),
    ([*SPLIT, released("m2")], on("vm", "b", companion="m2"), ON_A, ON_A),
    # It may have come without a claim.
    ([started("m1", "a"), on("m2", "b", "member")], on("vm", "a", companion="m1"), ON_B, "accepted"),
    # A companion makes no other rule hold.
    ([on("m1", "a", "spread", limit=1)], on("vm", "a", "spread", "m1", 1), FULL_A, FULL_A),
    # A move: the instance's own migration is no member that it must be together with.
    ([on("m1", "a", consumer="migration")], on("m1", "b"), ON_A, "accepted"),
    ([on("m1", "a", consumer="migration"), on("m2", "a")], on("m1", "b"), ON_A, ON_A),
    (
        [on("m1", "a", consumer="migration"), on("m2", "b", "member")],
        on("m1", "a", companion="migration"),
        ON_B,
        "accepted",
    ),
    # A fence is not read beside a companion.
    (
        [events.GroupFenced(uuid_of("group"), 5), on("m1", "a", "member")],
        on("vm", "a", companion="m1"),
        MOVED,
        "accepted",
    ),
    ([events.GroupFenced(uuid_of("group"), 5)], on("vm", "a", companion="m1"), MOVED, MOVED),
]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("said, asked, before, after", BESIDE)
def test_an_affinity_group_on_both_sides_of_a_pin(level, said, asked, before, after):
    cell = Cell(*map(report, "abc"), *said, *[events.LevelPinned(2)] * (level - 1))
    assert cell.say(asked) == (before if level == 1 else after)
