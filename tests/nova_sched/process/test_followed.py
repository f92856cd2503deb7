"""The numbers of a log in the metrics: they agree with the commands."""

from types import SimpleNamespace

import pytest

from nova_sched.process.monitoring.followed import Ends, FollowedLog, samples_of
from nova_sched.projection.host_status import counts_of
from nova_sched.projection.ledger import Host
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import Cell, HandClock, created, facts_of, inventory_of, put_inventories, put_traits, report


def hosts_in(projection):
    """Status -> number of hosts, as the metrics have it."""
    log = SimpleNamespace(
        cell=projection.cell, appender=None, fault=None, checkpoints=SimpleNamespace(newest=None, records=0)
    )
    followed = FollowedLog(log, projection, None, None, None)
    ends = Ends(lambda: [followed], lambda: None, HandClock())
    return {
        sample.labels[1]: sample.value
        for sample in samples_of(followed, ends, HandClock())
        if sample.family == "nova_sched_hosts"
    }


@pytest.mark.parametrize(
    "batch, status",
    [
        ((), "up"),
        ((report("a", disabled=True),), "disabled"),
        ((events.HostDisabled("a", "a fan"),), "disabled"),
        ((report("a", disabled=True, forced_down=True),), "forced_down"),
        ((events.HostLost("a", "silent"), events.HostDisabled("a", "a fan")), "lost"),
    ],
)
def test_hosts_by_status(batch, status):
    cell = Cell(events.LevelPinned(LEVEL), report("a"), report("b"), *batch)
    found = hosts_in(cell.projection)
    expected = dict.fromkeys(("up", "disabled", "forced_down", "lost"), 0)
    expected["up"] += 1
    expected[status] += 1
    assert found == expected
    assert list(counts_of(cell.projection).values()) == list(expected.values())


def test_a_host_whose_report_is_being_folded():
    """Another thread asks: the host is there, and its status is not yet."""
    cell = Cell(report("a"))
    cell.projection.hosts["new"] = Host("new", "agent-of-new", "cell1")
    assert hosts_in(cell.projection) == {"up": 1, "disabled": 0, "forced_down": 0, "lost": 0}


def test_a_service_that_nova_disabled():
    """An unmodified Nova says so with a trait."""
    made = created("n"), put_inventories("n", inventory_of("VCPU", 8))
    cell = Cell(events.LevelPinned(LEVEL), *made)
    cell.say(facts_of("n", authority="nova"), by="conductor/tap")
    cell.say(put_traits("n", "COMPUTE_STATUS_DISABLED"))
    assert hosts_in(cell.projection) == {"up": 0, "disabled": 1, "forced_down": 0, "lost": 0}
