"""The writes of Placement's API: what is refused for which reason, and what they leave behind.

Each row of WRITES is one write after the same beginning, with its result, and what it changed.
"""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.reason import Reason
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    REQUEST,
    Cell,
    consumer_put,
    created,
    inventory_of,
    of,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    report,
    uuid_of,
)

DISK_GB, FAST = "DISK_GB", "CUSTOM_FAST"
POOL, DISK, HOST, NOWHERE = map(uuid_of, ("pool", "disk", "host", "nowhere"))


def changed(name, new_name=None, parent=None, may_move=True):
    parent_uuid = None if parent is None else uuid_of(parent)
    return events.ProviderChanged(uuid_of(name), new_name or name, parent_uuid, may_move, *REQUEST)


def gone(name):
    return events.ProviderDeleted(uuid_of(name), *REQUEST)


def dropped(name):
    return events.AllocationsDropped(uuid_of(name), *REQUEST)


def reshaped(inventories, *consumers):
    """``inventories`` are (name of a provider, generation, its inventories)."""
    return events.Reshaped(
        tuple(
            events.ProviderInventories(uuid_of(name), generation, tuple(its)) for name, generation, its in inventories
        ),
        consumers,
        *REQUEST,
    )


def named(kind, *names):
    return getattr(events, kind)(*names, *REQUEST)


def ledger():
    """A host of an agent; a pool with a child, of which a volume holds something; a class and a trait."""
    return Cell(
        report("host"),
        events.LevelPinned(LEVEL),
        created("pool"),
        created("disk", "pool"),
        put_inventories("pool", inventory_of(DISK_GB, 100, reserved=10, max_unit=50, step_size=5)),
        put_inventories("disk", inventory_of(DISK_GB, 10)),
        put(consumer_put("volume", of("pool", 40, DISK_GB))),
        named("ClassCreated", "CUSTOM_IOPS"),
        named("TraitCreated", FAST),
        put_traits("disk", FAST),
        put_inventories("disk", inventory_of(DISK_GB, 10), inventory_of("CUSTOM_IOPS", 7)),
    )


WRITES = [
    # (what, the write, its result)
    ("a root", created("segment"), "ok"),
    ("a child", created("shelf", "disk"), "ok"),
    ("a child of a host", created("card", "host"), "ok"),
    ("under nothing", created("shelf", "nowhere"), f"unknown parent {NOWHERE}"),
    ("under itself", created("shelf", "shelf"), f"provider {uuid_of('shelf')} cannot be its own parent"),
    ("a uuid that is taken", created("pool"), f"the uuid {POOL} is taken"),
    (
        "a name that is taken",
        events.ProviderCreated(uuid_of("other"), "disk", None, *REQUEST),
        "the name disk is taken",
    ),
    ("the name of a host", events.ProviderCreated(uuid_of("other"), "host", None, *REQUEST), "the name host is taken"),
    ("another name", changed("pool", "lake"), "ok"),
    ("the same name", changed("pool"), "ok"),
    ("no provider to change", changed("nowhere"), f"unknown provider {NOWHERE}"),
    ("a name of another one", changed("pool", "disk"), "the name disk is taken"),
    ("a loop", changed("pool", parent="disk"), f"provider {POOL} would be above itself"),
    ("away from its parent", changed("disk", may_move=True), "ok"),
    (
        "away from its parent, before 1.37",
        changed("disk", may_move=False),
        f"provider {DISK} has a parent, and may not leave it",
    ),
    ("under a host", changed("disk", parent="host"), "ok"),
    (
        "under the host of an agent, with what is held of it",
        changed("pool", parent="host"),
        "the agent of host host says what its consumers hold",
    ),
    ("under what is not there", changed("pool", parent="nowhere"), f"unknown parent {NOWHERE}"),
    ("a host under another", changed("host", parent="pool"), f"the agent of host host reports provider {HOST}"),
    ("one with a child", gone("pool"), f"provider {POOL} has children"),
    ("one without", gone("disk"), "ok"),
    ("what is not there", gone("nowhere"), f"unknown provider {NOWHERE}"),
    ("the host", gone("host"), f"the agent of host host reports provider {HOST}"),
    ("less than is used", put_inventories("pool", inventory_of(DISK_GB, 20)), "ok"),
    ("its own generation", put_inventories("pool", inventory_of(DISK_GB, 20), generation=2), "ok"),
    (
        "an old generation",
        put_inventories("pool", inventory_of(DISK_GB, 20), generation=1),
        f"provider {POOL} has generation 2, expected 1",
    ),
    ("what is in use goes", put_inventories("pool"), f"somebody holds DISK_GB of provider {POOL}"),
    ("what is not in use goes", put_inventories("disk"), "ok"),
    ("a class that nobody knows", put_inventories("pool", inventory_of("CUSTOM_X")), "unknown resource class CUSTOM_X"),
    (
        "added twice",
        put_inventories("pool", inventory_of(DISK_GB), kind="add"),
        f"provider {POOL} has an inventory of DISK_GB",
    ),
    ("added", put_inventories("pool", inventory_of("CUSTOM_IOPS", 3), kind="add"), "ok"),
    (
        "changed, and not there",
        put_inventories("pool", inventory_of("VCPU"), kind="change"),
        f"provider {POOL} has no inventory of VCPU",
    ),
    ("removed", put_inventories("disk", inventory_of(DISK_GB), kind="remove"), "ok"),
    ("of no kind", put_inventories("disk", inventory_of(DISK_GB), kind="what"), "invalid"),
    ("an inventory that is none", put_inventories("disk", inventory_of(DISK_GB, 5, reserved=6)), "invalid"),
    ("of a host", put_inventories("host", inventory_of(DISK_GB)), f"the agent of host host reports provider {HOST}"),
    ("a trait that nobody knows", put_traits("pool", "CUSTOM_SLOW"), "unknown trait CUSTOM_SLOW"),
    ("traits", put_traits("pool", FAST, "MISC_SHARES_VIA_AGGREGATE", generation=2), "ok"),
    ("aggregates", put_aggregates("pool", "agg", generation=2), "ok"),
    ("aggregates of a host", put_aggregates("host", "agg"), "ok"),
    (
        "an old generation of them",
        put_aggregates("pool", "agg", generation=0),
        f"provider {POOL} has generation 2, expected 0",
    ),
    ("up to the brim", put(consumer_put("one", of("pool", 50, DISK_GB))), "ok"),
    (
        "one too much",
        put(consumer_put("one", of("pool", 50, DISK_GB)), consumer_put("two", of("pool", 5, DISK_GB))),
        f"DISK_GB of provider {POOL}: 40 used, 55 asked, 90 there",
    ),
    (
        "no multiple of the step",
        put(consumer_put("one", of("pool", 4, DISK_GB))),
        f"4 DISK_GB of provider {POOL} is not within its units",
    ),
    ("no inventory", put(consumer_put("one", of("pool", 1))), f"provider {POOL} has no inventory of VCPU"),
    ("no provider", put(consumer_put("one", of("nowhere", 1))), f"unknown provider {NOWHERE}"),
    ("no class", put(consumer_put("one", of("pool", 5, "CUSTOM_X"))), "unknown resource class CUSTOM_X"),
    ("a new one", put(consumer_put("one", of("pool", 5, DISK_GB), generation=None)), "ok"),
    (
        "a new one that is there",
        put(consumer_put("volume", of("pool", 5, DISK_GB), generation=None)),
        f"consumer {uuid_of('volume')} has generation 1, expected None",
    ),
    ("an expected one", put(consumer_put("volume", of("pool", 5, DISK_GB), generation=1)), "ok"),
    (
        "one that is not there",
        put(consumer_put("one", of("pool", 5, DISK_GB), generation=1)),
        f"consumer {uuid_of('one')} has generation None, expected 1",
    ),
    ("to another consumer", put(consumer_put("volume"), consumer_put("one", of("pool", 40, DISK_GB))), "ok"),
    ("all given back", put(consumer_put("volume")), "ok"),
    (
        "on a host of an agent",
        put(consumer_put("one", of("host", 1))),
        "the agent of host host says what its consumers hold",
    ),
    ("a consumer twice", put(consumer_put("one"), consumer_put("one")), "invalid"),
    ("an allocation of nothing", put(consumer_put("one", of("pool", 0, DISK_GB))), "invalid"),
    ("dropped", dropped("volume"), "ok"),
    ("nothing to drop", dropped("one"), f"consumer {uuid_of('one')} holds nothing"),
    (
        "to the child, with what is held of it",
        reshaped(
            [("pool", 2, []), ("disk", 3, [inventory_of(DISK_GB, 100)])],
            consumer_put("volume", of("disk", 40, DISK_GB)),
        ),
        "ok",
    ),
    (
        "to the child, without what is held",
        reshaped([("pool", 2, []), ("disk", 3, [inventory_of(DISK_GB, 100)])]),
        f"somebody holds DISK_GB of provider {POOL}",
    ),
    (
        "more than the child has",
        reshaped(
            [("pool", 2, []), ("disk", 3, [inventory_of(DISK_GB, 30)])],
            consumer_put("volume", of("disk", 30, DISK_GB), of("pool", 10, DISK_GB)),
        ),
        f"somebody holds DISK_GB of provider {POOL}",
    ),
    ("an old generation of one", reshaped([("pool", 1, [])]), f"provider {POOL} has generation 2, expected 1"),
    ("a class again", named("ClassCreated", "CUSTOM_IOPS"), "the resource class CUSTOM_IOPS exists"),
    ("a class that is no custom one", named("ClassCreated", "IOPS"), "invalid"),
    ("a class in use", named("ClassDeleted", "CUSTOM_IOPS"), "a provider has an inventory of CUSTOM_IOPS"),
    ("no class to delete", named("ClassDeleted", "CUSTOM_X"), "unknown resource class CUSTOM_X"),
    ("a class renamed", named("ClassRenamed", "CUSTOM_IOPS", "CUSTOM_SPEED"), "ok"),
    ("a trait again", named("TraitCreated", FAST), f"the trait {FAST} exists"),
    ("a trait in use", named("TraitDeleted", FAST), f"a provider has the trait {FAST}"),
    ("no trait to delete", named("TraitDeleted", "CUSTOM_SLOW"), "unknown trait CUSTOM_SLOW"),
]


def answer_to(cell, data):
    """The reason of the last write, the code of a SetAside, or "ok"."""
    cell.projection.writes = []
    cell.say(data)
    (written,) = cell.projection.writes
    if written.reason is None:
        return "ok"
    return str(written.reason) if type(written.reason) is Reason else written.reason.code


def test_a_write_that_is_set_aside_for_its_producer_has_an_outcome_too():
    cell = ledger()
    before = state_digest(cell.projection)
    cell.projection.writes = []
    imported = events.ProviderImported(NOWHERE, "nowhere", None, 0, (), (), (), None, *REQUEST)
    cell.say(imported, "placement/one")
    cell.say(events.LevelPinned(LEVEL), "placement/one")
    (written,) = cell.projection.writes
    assert (written.producer, written.reason.code, written.generation) == ("placement/one", "not-allowed", None)
    assert state_digest(cell.projection) == before


@pytest.mark.parametrize("data, wanted", [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_a_write_and_its_answer(data, wanted):
    """What is refused leaves no trace but the producer's count; what is accepted survives a snapshot."""
    cell = ledger()
    voice = cell.voice("placement/one")
    before = state_digest(cell.projection)
    assert answer_to(cell, data) == wanted
    if wanted != "ok":
        cell.projection.producers[voice.name] = (voice.epoch, voice.sequence - 1)
        assert state_digest(cell.projection) == before
    else:
        assert state_digest(snapshot.load(snapshot.dump(cell.projection))) == state_digest(cell.projection)
