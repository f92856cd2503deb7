"""Which account a producer needs: in a log that requires accounts, events count with the right one only."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from rpc_api import events
from rpc_api.accounts import speaks_for
from tests.builders import Cell, Voice, claim, deleted, report, started

REQUIRED = events.AccountsRequired(True)

SPEAKS = [
    # account, producer, whether it may
    ("compute_agent.host", "compute_agent/host", True),
    ("compute_agent.a.b", "compute_agent/a.b", True),
    ("compute_agent", "compute_agent/host", True),
    ("compute_agent.host", "compute_agent/host2", False),
    ("compute_agent.host2", "compute_agent/host", False),
    ("compute_agent.host", "scheduler/host", False),
    ("compute_agent/host", "compute_agent/host", False),
    ("conductor", "compute_agent/host", False),
    ("host", "compute_agent/host", False),
    ("compute_agent.", "compute_agent/host", False),
    ("Compute_agent.host", "compute_agent/host", False),
    ("", "compute_agent/host", False),
    (None, "compute_agent/host", False),
    ("", "", True),  # a producer without a role may say nothing anyway
]


@pytest.mark.parametrize("account, producer, may", SPEAKS)
def test_speaks_for(account, producer, may):
    assert speaks_for(account, producer) is may


def restricted():
    """A cell whose log requires accounts."""
    cell = Cell(report("host"), report("other"))
    assert cell.say(REQUIRED, by="conductor/one", account="conductor.one") == "ok"
    return cell


FORGED = [
    report("host", disabled=True),
    started("vm", "host"),
    deleted("vm", "host"),
    events.HostConfirmed("host", 0),
    events.HostRemoved("host", ""),
]


@pytest.mark.parametrize("account", ["compute_agent.other", "scheduler", "nova", None])
@pytest.mark.parametrize("data", FORGED, ids=lambda data: type(data).__name__)
def test_a_forged_event_is_set_aside(data, account):
    cell = restricted()
    before = state_digest(cell.projection)
    assert cell.say(data, by="compute_agent/host", account=account) == "not-its-account"
    assert state_digest(cell.projection) == before
    assert "of compute_agent/host, appended with" in cell.projection.quarantine[-1].reason


def test_a_forged_event_does_not_disturb_the_count_of_its_host():
    cell = restricted()
    forger = Voice("compute_agent/host", epoch=9)
    assert cell.append([forger.say(started("vm", "host"))], account="compute_agent.other") == "not-its-account"
    assert cell.say(report("host", disabled=True), account="compute_agent.host") == "ok"
    assert cell.projection.hosts["host"].status.disabled


def test_a_claim_needs_the_account_of_its_scheduler():
    cell = restricted()
    forger = Voice("scheduler/s", epoch=9)
    assert cell.append([forger.say(claim("vm", "host"))], account="compute_agent.host") == "not-its-account"
    assert cell.say(claim("vm", "host"), by="scheduler/s", account="scheduler.s") == "accepted"


@pytest.mark.parametrize("account", [None, "nova", "compute_agent.host", "conductor.two"])
def test_nobody_can_shut_others_out_of_a_log_that_knows_no_accounts(account):
    cell = Cell(report("host"))
    assert cell.say(REQUIRED, by="conductor/one", account=account) == "not-its-account"
    assert not cell.projection.accounts_required
    assert cell.say(report("host", disabled=True)) == "ok"


def test_it_can_be_taken_back_by_those_who_may():
    cell = restricted()
    back = events.AccountsRequired(False)
    assert cell.say(back, by="conductor/one", account="compute_agent.host") == "not-its-account"
    assert cell.say(back, by="operator/me", account="operator.me") == "ok"
    assert cell.say(report("host", disabled=True)) == "ok"


def test_a_rebased_log_says_itself_whether_it_requires_accounts():
    for required in (True, False):
        cell = restricted()
        forged = events.LogRebased("cell1", 0, not required)
        assert cell.say(forged, by="conductor/two", account="compute_agent.host") == "not-its-account"
        assert cell.projection.hosts and cell.projection.accounts_required
        assert cell.say(events.LogRebased("cell1", 0, required), by="conductor/one", account="conductor") == "rebased"
        assert cell.projection.accounts_required is required


def test_snapshots_keep_it():
    cell = restricted()
    again = snapshot.load(snapshot.dump(cell.projection))
    assert again.accounts_required and state_digest(again) == state_digest(cell.projection)
    again.accounts_required = False
    assert state_digest(again) != state_digest(cell.projection)
