"""Providers and consumers that an import brings: their generations are those of the other Placement, and nothing is
asked for room; the audit agrees with each answer."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of
from rpc_api import events
from rpc_api.packing import pack
from tests.builders import consumer_imported, consumer_put, facts_of, imported, inventory_of, of, rule, uuid_of
from tests.nova_sched.projection.test_writes import DISK_GB, FAST, answer_to, ledger
from tests.nova_sched.replay.test_audit_writes import Audited

POOL, DISK, HOST, VM, VOLUME = map(uuid_of, ("pool", "disk", "host", "vm", "volume"))
NOWHERE = uuid_of("nowhere")
#: The pool has generation 2, the disk 3, and the volume 1.
ROWS = [
    # (what, the event, its answer)
    ("a new root", imported("segment", 77), "ok"),
    ("a new child", imported("shelf", 5, inventory_of(DISK_GB, 9), parent="disk"), "ok"),
    ("what is there, as new", imported("pool", 9, inventory_of(DISK_GB, 100)), f"the uuid {POOL} is taken"),
    ("another generation than seen", imported("pool", 9, before=1), f"provider {POOL} has generation 2, expected 1"),
    ("one that went", imported("nowhere", 9, before=1), f"unknown provider {NOWHERE}"),
    ("more and other", imported("pool", 900, inventory_of(DISK_GB, 5), inventory_of("VCPU"), before=2), "ok"),
    ("a generation that is lower", imported("pool", 1, inventory_of(DISK_GB, 100), before=2), "ok"),
    ("what is in use is gone", imported("pool", 9, before=2), f"somebody holds DISK_GB of provider {POOL}"),
    ("away from its parent", imported("disk", 9, inventory_of(DISK_GB, 9), before=3), "ok"),
    ("under a host of an agent", imported("disk", 9, parent="host", before=3), "ok"),
    ("a loop", imported("pool", 9, parent="disk", before=2), f"provider {POOL} would be above itself"),
    ("under nothing", imported("shelf", 9, parent="nowhere"), f"unknown parent {NOWHERE}"),
    ("a name that is taken", imported("other", 1)._replace(name="disk"), "the name disk is taken"),
    ("another one's name", imported("disk", 9, before=3)._replace(name="pool"), "the name pool is taken"),
    ("no name", imported("other", 1)._replace(name=""), "invalid"),
    ("a class that nobody knows", imported("x", 1, inventory_of("CUSTOM_X")), "unknown resource class CUSTOM_X"),
    ("a trait that nobody knows", imported("x", 1, traits=("CUSTOM_X",)), "unknown trait CUSTOM_X"),
    ("an inventory that is none", imported("x", 1, inventory_of(DISK_GB, 5, reserved=6)), "invalid"),
    ("of an agent", imported("host", 9, before=0), f"provider {HOST} has generation 1, expected 0"),
    ("of an agent, as it is", imported("host", 9, before=1), f"the agent of host host reports provider {HOST}"),
    ("a new consumer", consumer_imported(12, "vm", of("pool", 1, DISK_GB), generation=None), "ok"),
    ("more than there is", consumer_imported(12, "vm", of("pool", 5000, DISK_GB), generation=None), "ok"),
    ("no multiple of the step", consumer_imported(2, "volume", of("pool", 41, DISK_GB), generation=1), "ok"),
    ("a consumer that goes", consumer_imported(0, "volume", generation=1), "ok"),
    (
        "another generation of a consumer",
        consumer_imported(12, "volume", of("pool", 1, DISK_GB), generation=4),
        f"consumer {VOLUME} has generation 1, expected 4",
    ),
    (
        "a consumer that came",
        consumer_imported(12, "volume", of("pool", 1, DISK_GB), generation=None),
        f"consumer {VOLUME} has generation 1, expected None",
    ),
    ("of nothing", consumer_imported(1, "vm", of("nowhere", 1), generation=None), f"unknown provider {NOWHERE}"),
    (
        "no such inventory",
        consumer_imported(1, "vm", of("pool", 1, "VCPU"), generation=None),
        f"provider {POOL} has no inventory of VCPU",
    ),
    (
        "on a host of an agent",
        consumer_imported(1, "vm", of("host", 1), generation=None),
        "the agent of host host says what its consumers hold",
    ),
    ("an amount of 0", consumer_imported(1, "vm", of("pool", 0, DISK_GB), generation=None), "invalid"),
]


@pytest.mark.parametrize("data, wanted", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_an_import_and_its_answer(data, wanted):
    """What is refused leaves no trace but the producer's count; what is accepted survives a snapshot."""
    cell = ledger()
    before = state_digest(cell.projection)
    assert answer_to(cell, data) == wanted
    if wanted != "ok":
        voice = cell.voice("operator/one")
        cell.projection.producers[voice.name] = (voice.epoch, voice.sequence - 1)
        assert state_digest(cell.projection) == before
    else:
        assert state_digest(snapshot.load(snapshot.dump(cell.projection))) == state_digest(cell.projection)


@pytest.mark.parametrize("data", [row[1] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_audit_agrees(data):
    audited = Audited(cell=ledger())
    audited.say(data)
    assert not audited.breaches()


def test_the_audit_sees_a_wrong_generation(monkeypatch):
    audited = Audited(cell=ledger())

    def plant(projection):
        projection.table.generation[projection.trees[POOL].rows[POOL]] += 1

    audited.say(imported("pool", 9, inventory_of(DISK_GB, 100), before=2), plant=plant)
    assert audited.breaches()


def test_a_provider_is_as_it_was_elsewhere():
    cell = ledger()
    inventory = inventory_of(DISK_GB, 7, ratio=2.5)
    cell.say(imported("disk", 4711, inventory, traits=(FAST,), aggregates=("agg",), before=3)._replace(name="lake"))
    table = cell.projection.table
    row = cell.projection.trees[DISK].rows[DISK]
    assert inventories_of(table, row) == {DISK_GB: inventory} and traits_of(table, row) == (FAST,)
    assert table.row_aggregates[row] == (uuid_of("agg"),) and table.generation.item(row) == 4711
    assert table.provider_names[row] == "lake" and parent_of(table, row) is None
    assert cell.projection.provider_names["lake"] == DISK and "disk" not in cell.projection.provider_names


def test_a_consumer_is_as_it_was_elsewhere():
    cell = ledger()
    generation = cell.projection.table.generation[cell.projection.trees[POOL].rows[POOL]]
    held = of("pool", 60, DISK_GB)
    cell.say(consumer_imported(40, "volume", held, generation=1, project="mine", user="ada", kind="VOLUME"))
    holder = cell.projection.holders[VOLUME]
    assert (holder.generation, holder.project_id, holder.user_id, holder.consumer_type) == (40, "mine", "ada", "VOLUME")
    assert [entry.allocations for entry in cell.projection.consumers[VOLUME]] == [(held,)]
    assert cell.used("pool", DISK_GB) == 60
    assert cell.projection.table.generation[cell.projection.trees[POOL].rows[POOL]] == generation
    cell.say(consumer_imported(0, "volume", generation=40))
    assert VOLUME not in cell.projection.holders and cell.used("pool", DISK_GB) == 0


def on_host(group, guest=None):
    """A consumer on a host of Nova, a member of a server group there."""
    terms = events.ClaimTerms("node", VM, rule(group), guest, None)
    return consumer_put("vm", of("node", 1), generation=None, terms=terms)


def test_terms_replace_those_that_are_there():
    cell = ledger()
    cell.say(imported("node", 3, inventory_of("VCPU", 8)))
    cell.say(facts_of("node", authority="nova"), by="operator/one")
    guest = pack(events.Guest((), (), {"hw_disk_bus": "virtio"}))
    cell.say(events.ConsumerImported(on_host("red"), 2, "", None))
    assert cell.projection.groups.members.keys() == {uuid_of("red")}
    cell.say(events.ConsumerImported(on_host("blue", guest)._replace(generation=2), 2, "", None))
    (entry,) = cell.projection.consumers[VM]
    assert cell.projection.groups.members.keys() == {uuid_of("blue")} and entry.guest == guest
    cell.say(consumer_imported(3, "vm", of("node", 2), generation=2))
    (entry,) = cell.projection.consumers[VM]
    assert entry.rule == rule("blue") and entry.guest == guest and entry.allocations == (of("node", 2),)


def test_a_host_waits_for_its_imported_root():
    cell = ledger()
    cell.say(facts_of("node", authority="nova"), by="operator/one")
    assert "node" not in cell.projection.hosts
    cell.say(imported("node", 3, inventory_of("VCPU", 8)))
    assert cell.projection.hosts["node"].authority == "nova"
