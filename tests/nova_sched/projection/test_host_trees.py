"""Hosts and their trees of providers: which comes first, who reports what, and who decides about the consumers."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.claim_checks import generation_to_add_to
from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import HELD, NO_HOST, RUNNING, PlainTree
from rpc_api import digest, events
from rpc_api.levels import LEVEL
from tests.builders import (
    REQUEST,
    Cell,
    claim,
    confirmation,
    consumer,
    consumer_put,
    created,
    deleted,
    facts_of,
    inventory_of,
    of,
    provider,
    providers_reported,
    put,
    put_inventories,
    released,
    report,
    started,
    tree,
    uuid_of,
)

TAP = "conductor/tap"


def cell_of(*said):
    return Cell(events.LevelPinned(LEVEL), *said)


def nova_host(cell, name, vcpus=8):
    """A host of Nova: its provider through the API, its facts through a conductor."""
    cell.say(created(name))
    cell.say(put_inventories(name, inventory_of("VCPU", vcpus)))
    assert cell.say(facts_of(name, authority="nova"), by=TAP) == "ok"


def hosts(cell):
    """Names of the hosts that decisions see."""
    table = cell.projection.table
    return {table.host_names[row] for row in table.roots().tolist()}


def entries(cell, name):
    """Host -> state of the entries of a consumer."""
    return {entry.host: entry.state for entry in cell.projection.consumers.get(uuid_of(name), ())}


def generation(cell, name):
    tree_of = cell.projection.trees[uuid_of(name)]
    return int(cell.projection.table.generation[tree_of.rows[uuid_of(name)]])


def same_after_a_snapshot(cell):
    """A snapshot of the state gives the state again."""
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert state_digest(loaded) == state_digest(cell.projection)


# --- which comes first -----------------------------------------------------------------------------------------------


def test_a_host_waits_for_its_root():
    cell = cell_of()
    assert cell.say(facts_of("host", authority="nova"), by=TAP) == "ok"
    assert hosts(cell) == set() and list(cell.projection.waiting) == [uuid_of("host")]
    same_after_a_snapshot(cell)
    cell.say(created("host"))
    assert hosts(cell) == {"host"} and not cell.projection.waiting
    cell.say(put_inventories("host", inventory_of("VCPU", 8)))
    assert cell.free("host") == 8
    same_after_a_snapshot(cell)


def test_a_root_waits_for_its_host_with_what_is_held():
    cell = cell_of(created("host"), put_inventories("host", inventory_of("VCPU", 8)))
    cell.say(put(consumer_put("vm", of("host", 3))))
    assert hosts(cell) == set() and entries(cell, "vm") == {NO_HOST: HELD}
    cell.say(facts_of("host", authority="nova"), by=TAP)
    assert hosts(cell) == {"host"} and entries(cell, "vm") == {"host": HELD}
    assert cell.projection.table.num_instances[cell.projection.hosts["host"].root] == 1 and cell.free("host") == 5


def test_a_host_of_nova_goes_and_its_providers_stay():
    cell = cell_of()
    nova_host(cell, "host")
    cell.say(put(consumer_put("vm", of("host", 3))))
    cell.say(events.HostRemoved("host", "gone"))
    assert hosts(cell) == set() and type(cell.projection.trees[uuid_of("host")]) is PlainTree
    assert entries(cell, "vm") == {NO_HOST: HELD} and cell.used("host") == 3
    same_after_a_snapshot(cell)
    cell.say(facts_of("host", authority="nova"), by=TAP)
    assert entries(cell, "vm") == {"host": HELD}


def test_a_host_whose_root_is_deleted_waits_again():
    cell = cell_of()
    nova_host(cell, "host")
    cell.say(events.ProviderDeleted(uuid_of("host"), *REQUEST))
    assert hosts(cell) == set() and list(cell.projection.waiting) == [uuid_of("host")]
    cell.say(created("host"))
    assert hosts(cell) == {"host"}


# --- what an agent reports -------------------------------------------------------------------------------------------


def test_an_agent_reports_its_tree_and_its_facts():
    cell = cell_of(providers_reported("host"), facts_of("host", consumer("vm", of("host", 1))))
    assert hosts(cell) == {"host"} and entries(cell, "vm") == {"host": RUNNING} and cell.used("host") == 1
    same_after_a_snapshot(cell)
    host = cell.projection.hosts["host"]
    both = digest.inventory_digest(host.inventory, host.providers)
    confirmed = events.HostConfirmed("host", digest.host_digest(both, host.status, host.running_digest))
    assert cell.say(confirmed) == "ok"
    larger = tree("host", inventories=[inventory_of("VCPU", 64)])
    assert cell.say(providers_reported("host", larger)) == "ok"
    assert cell.free("host") == 63 and cell.say(confirmed) == "digest-mismatch"


def test_a_whole_report_becomes_one_in_two_parts_and_back():
    cell = cell_of(report("host", consumer("vm", of("host", 1))))
    before = generation(cell, "host")
    assert (
        cell.say(providers_reported("host")) == "ok"
        and cell.say(facts_of("host", consumer("vm", of("host", 1)))) == "ok"
    )
    assert entries(cell, "vm") == {"host": RUNNING} and generation(cell, "host") == before + 1
    whole = report("host", consumer("vm", of("host", 1)))
    assert cell.say(whole) == "ok" and cell.say(confirmation(whole)) == "ok"
    same_after_a_snapshot(cell)


def test_what_the_api_adds_to_a_tree_stays_when_its_agent_reports():
    cell = cell_of(report("host", inventory=tree("host", provider("numa", inventory_of("VCPU", 4), parent=0))))
    cell.say(created("card", "numa"))
    cell.say(put_inventories("card", inventory_of("FPGA", 2)))
    assert cell.say(claim("vm", "host", of("card", 1, "FPGA"))) == "accepted"
    assert cell.say(report("host", inventory=tree("host", inventories=[inventory_of("VCPU", 16)]))) == "ok"
    projection = cell.projection
    assert set(projection.hosts["host"].rows) == {uuid_of("host"), uuid_of("numa"), uuid_of("card")}
    assert cell.used("card", "FPGA") == 1 and cell.free("numa") == 0
    same_after_a_snapshot(cell)


REFUSED_REPORTS = [
    ("a conductor for the host of an agent", facts_of("host", authority="nova"), TAP, "not-its-authority"),
    ("an agent that calls itself Nova", facts_of("host", authority="nova"), None, "not-its-authority"),
    ("nobody's authority", facts_of("new", authority="me"), TAP, "invalid"),
    ("a root that is another host's", facts_of("new", root="host"), None, "invalid"),
    ("a root that is a child", facts_of("new", root="shelf", authority="nova"), TAP, "invalid"),
    ("providers of another host", providers_reported("new", tree("host")), None, "invalid"),
]


@pytest.mark.parametrize(
    "data, by, wanted", [row[1:] for row in REFUSED_REPORTS], ids=[row[0] for row in REFUSED_REPORTS]
)
def test_a_report_that_is_set_aside(data, by, wanted):
    cell = cell_of(report("host"), created("rack"), created("shelf", "rack"))
    before = state_digest(cell.projection)
    assert cell.say(data, by=by) == wanted
    assert state_digest(cell.projection) == before


def test_a_conductor_may_not_report_hosts_below_level_3():
    cell = Cell(events.LevelPinned(2))
    assert cell.say(report("host"), by=TAP) == "not-allowed"


# --- authority -------------------------------------------------------------------------------------------------------


def test_authority_passes_to_nova_and_back():
    cell = cell_of(report("host", consumer("vm", of("host", 1))), claim("vm-2", "host"))
    assert cell.say(put(consumer_put("vm-3", of("host", 1)))) == "ok" and "vm-3" not in cell.projection.consumers
    assert cell.say(events.AuthorityPassed("host", "nova"), by="operator/one") == "authority-passed"
    assert entries(cell, "vm") == entries(cell, "vm-2") == {"host": HELD}
    assert cell.say(report("host")) == "not-its-authority"
    cell.say(put(consumer_put("vm-3", of("host", 2))))
    assert entries(cell, "vm-3") == {"host": HELD} and cell.used("host") == 4
    same_after_a_snapshot(cell)
    assert cell.say(events.AuthorityPassed("host", "agent"), by="operator/one") == "authority-passed"
    assert entries(cell, "vm-3") == {"host": RUNNING}
    assert cell.say(report("host", consumer("vm", of("host", 1)))) == "sequence-gap, vanished, vanished"
    assert cell.used("host") == 1
    same_after_a_snapshot(cell)


def test_claims_on_a_host_of_nova_are_held():
    cell = cell_of()
    nova_host(cell, "host")
    assert cell.say(claim("vm", "host")) == "accepted" and entries(cell, "vm") == {"host": HELD}
    assert cell.projection.holders[uuid_of("vm")].generation == 1
    assert cell.say(released("vm")) == "ok" and not cell.projection.consumers
    cell.say(claim("vm", "host", attempt="2"))
    cell.say(events.AllocationsDropped(uuid_of("vm"), *REQUEST))
    assert not cell.projection.consumers and cell.free("host") == 8


# --- moves -----------------------------------------------------------------------------------------------------------


def test_an_evacuation_holds_both_hosts():
    cell = cell_of()
    nova_host(cell, "a")
    nova_host(cell, "b")
    cell.say(claim("vm", "a"))
    again = claim("vm", "b", attempt="2")
    assert cell.say(again) == "the consumer holds resources already"
    assert generation_to_add_to(cell.projection, uuid_of("vm"), ["b"]) is None
    known = generation_to_add_to(cell.projection, uuid_of("vm"), ["a"])
    assert cell.say(again._replace(consumer_generation=known + 1)) == "the consumer has changed"
    assert cell.say(again._replace(consumer_generation=known)) == "accepted"
    assert entries(cell, "vm") == {"a": HELD, "b": HELD} and cell.projection.holders[uuid_of("vm")].generation == 2
    assert (
        cell.say(claim("vm", "a", attempt="3")._replace(consumer_generation=2))
        == "the consumer holds resources already"
    )
    cell.say(put(consumer_put("vm", of("b", 1), generation=2)))
    assert entries(cell, "vm") == {"b": HELD} and cell.free("a") == 8
    same_after_a_snapshot(cell)


def test_the_terms_of_an_instance_pass_to_its_migration_and_back():
    cell = cell_of()
    nova_host(cell, "a")
    rule = events.GroupRule(uuid_of("group"), "spread", "a", uuid_of("vm"), 1)
    cell.say(claim("vm", "a")._replace(rule=rule))
    cell.say(put(consumer_put("vm", generation=1), consumer_put("migration", of("a", 1), generation=None)))
    (entry,) = cell.projection.consumers[uuid_of("migration")]
    assert (entry.host, entry.rule, entry.instance_uuid) == ("a", rule, uuid_of("vm"))
    cell.say(put(consumer_put("migration", generation=1), consumer_put("vm", of("a", 1), generation=None)))
    (entry,) = cell.projection.consumers[uuid_of("vm")]
    assert entry.rule == rule and list(cell.projection.consumers) == [uuid_of("vm")]


@pytest.mark.parametrize("amount", [1, 2], ids=["as large as before", "larger"])
def test_an_instance_that_was_resized_on_its_host_gets_its_old_terms_back(amount):
    cell = cell_of()
    nova_host(cell, "a")
    first, second = (
        events.GroupRule(uuid_of(f"{name} group"), "spread", "a", uuid_of("vm"), 1) for name in ("old", "new")
    )
    cell.say(claim("vm", "a")._replace(rule=first))
    cell.say(put(consumer_put("vm", generation=1), consumer_put("migration", of("a", 1), generation=None)))
    cell.say(claim("vm", "a", of("a", amount), attempt="2")._replace(rule=second))
    assert [entry.rule for entry in cell.projection.consumers[uuid_of("vm")]] == [second]
    cell.say(put(consumer_put("migration", generation=1), consumer_put("vm", of("a", 1), generation=1)))
    assert [entry.rule for entry in cell.projection.consumers[uuid_of("vm")]] == [first]
    same_after_a_snapshot(cell)


def test_an_alternate_brings_its_terms():
    cell = cell_of()
    nova_host(cell, "a")
    rule = events.GroupRule(uuid_of("group"), "spread", "a", uuid_of("vm"), 1)
    terms = events.ClaimTerms("a", uuid_of("vm"), rule, None, None)
    cell.say(put(consumer_put("vm", of("a", 1), generation=None, terms=terms)))
    other = terms._replace(instance_uuid=uuid_of("vm-2"), rule=rule._replace(partition=uuid_of("vm-2")))
    cell.projection.writes = []
    cell.say(put(consumer_put("vm-2", of("a", 1), generation=None, terms=other)))
    assert str(cell.projection.writes[0].reason) == "anti-affinity: 1 of the group in a, limit 1"
    assert entries(cell, "vm-2") == {}


# --- levels ----------------------------------------------------------------------------------------------------------


def test_what_was_there_before_the_pin_gets_its_first_generation():
    cell = Cell(
        report("host", inventory=tree("host", inventories=[inventory_of("CUSTOM_X", 4)])),
        claim("vm", "host", of("host", 1, "CUSTOM_X")),
    )
    cell.say(started("vm", "host", of("host", 1, "CUSTOM_X")))
    cell.say(events.LevelPinned(LEVEL))
    assert generation(cell, "host") == 1 and cell.projection.holders[uuid_of("vm")].generation == 1
    assert list(cell.projection.custom_classes) == ["CUSTOM_X"]
    assert cell.say(deleted("vm", "host")) == "ok" and not cell.projection.holders
    same_after_a_snapshot(cell)
