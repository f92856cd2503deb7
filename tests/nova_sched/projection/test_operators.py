"""What operators do with hosts of agents, by events: disable, enable, remove; and a claim that they give back."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    Cell,
    claim,
    confirmation,
    consumer,
    created,
    facts_of,
    inventory_of,
    of,
    put_inventories,
    released,
    report,
    uuid_of,
)

OPERATOR = "operator/ada"
OFF, ON, GONE = events.HostDisabled("host", "a fan"), events.HostEnabled("host"), events.HostRemoved("host", "sold")


def cell_of(*said):
    return Cell(events.LevelPinned(LEVEL), *said)


def nova_host(cell, name="host"):
    cell.say(created(name))
    cell.say(put_inventories(name, inventory_of("VCPU", 8)))
    assert cell.say(facts_of(name, authority="nova"), by="conductor/tap") == "ok"


def is_disabled(cell, name="host"):
    """Whether decisions and claims see the host as disabled."""
    projection = cell.projection
    return bool(projection.table.disabled[projection.hosts[name].root])


@pytest.mark.parametrize(
    "said, expected, reason",
    [
        ([], False, None),
        ([OFF], True, "a fan"),
        ([OFF, events.HostDisabled("host", "a fire")], True, "a fire"),
        ([OFF, ON], False, None),
        ([ON], False, None),
        ([OFF, ON, OFF], True, "a fan"),
        # The agent's reports do not change what an operator said, and the reverse.
        ([OFF, report("host")], True, "a fan"),
        ([OFF, report("host", disabled=True)], True, "a fan"),
        ([report("host", disabled=True), OFF, ON], True, None),
        ([OFF, report("host", disabled=True), report("host"), ON], False, None),
        # It is another host then.
        ([OFF, GONE, report("host")], False, None),
        ([events.HostDisabled("host", "")], True, ""),
    ],
)
def test_a_host_is_disabled_by_an_operator_or_by_its_report(said, expected, reason):
    cell = cell_of(report("host"))
    for data in said:
        by = None if isinstance(data, events.HostReported) else OPERATOR
        assert cell.say(data, by=by) in ("ok", "sequence-gap"), data
    assert is_disabled(cell) is expected and cell.projection.hosts["host"].disabled_for == reason
    assert cell.say(claim("vm", "host")) == ("disabled" if expected else "accepted")


def test_what_runs_on_a_disabled_host_stays_and_the_host_agrees_with_its_agent():
    reported = report("host", consumer("vm", of("host", 2)))
    cell = cell_of(reported)
    cell.say(OFF, by=OPERATOR)
    assert cell.used("host") == 2
    assert cell.say(confirmation(reported)) == "ok"


@pytest.mark.parametrize("said", [OFF, ON, GONE], ids=lambda said: type(said).__name__)
def test_an_operator_changes_neither_hosts_of_nova_nor_unknown_ones(said):
    cell = cell_of()
    assert cell.say(said, by="operator/before") == "invalid"
    nova_host(cell)
    before = state_digest(cell.projection)
    assert cell.say(said, by=OPERATOR) == "not-its-authority"
    assert "use the compute API of Nova" in cell.projection.quarantine[-1].reason
    assert "host" in cell.projection.hosts and not is_disabled(cell)
    assert state_digest(cell.projection) == before


def test_a_host_that_passes_to_nova_has_only_novas_switch():
    cell = cell_of(report("host"))
    cell.say(OFF, by=OPERATOR)
    cell.say(events.AuthorityPassed("host", "nova"), by=OPERATOR)
    assert not is_disabled(cell)
    cell.say(events.AuthorityPassed("host", "agent"), by=OPERATOR)
    assert not is_disabled(cell) and cell.say(claim("vm", "host")) == "accepted"


def test_a_removed_host_is_gone_with_all_that_it_held():
    cell = cell_of(report("host", consumer("vm", of("host", 2))), report("other"))
    assert cell.say(GONE, by=OPERATOR) == "ok"
    assert set(cell.projection.hosts) == {"other"} and uuid_of("vm") not in cell.projection.consumers


def test_an_operator_gives_a_claim_back():
    cell = cell_of(report("host"))
    assert cell.say(claim("vm", "host")) == "accepted"
    assert cell.say(released("vm"), by=OPERATOR) == "ok"
    assert cell.free("host") == 8 and not cell.projection.consumers


@pytest.mark.parametrize("said", [GONE, released("vm")], ids=lambda said: type(said).__name__)
def test_below_level_3_operators_may_not(said):
    cell = Cell(report("host"), claim("vm", "host"))
    assert cell.say(said, by=OPERATOR) == "not-allowed"
    assert "host" in cell.projection.hosts and uuid_of("vm") in cell.projection.consumers


@pytest.mark.parametrize("reason", ["a fan", ""])
def test_digest_and_snapshot_have_it(reason):
    cell = cell_of(report("host"), report("other"))
    before = state_digest(cell.projection)
    cell.say(events.HostDisabled("host", reason), by=OPERATOR)
    assert state_digest(cell.projection) != before
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert loaded.hosts["host"].disabled_for == reason and loaded.hosts["other"].disabled_for is None
    assert loaded.table.disabled[loaded.hosts["host"].root] and not loaded.table.disabled[loaded.hosts["other"].root]
