"""Where reports of agents and writes of the API meet: names, hosts of Nova, and use of what comes later."""

import pytest

from nova_sched.projection.ledger import RUNNING
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    Cell,
    consumer,
    created,
    deleted,
    inventory_of,
    of,
    provider,
    put_inventories,
    report,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection.test_writes import reshaped

KID = provider("kid", inventory_of(), parent=0)


@pytest.mark.parametrize("later", [(), (KID._replace(name="kid2"),)], ids=["no more", "under another name"])
def test_a_name_is_free_again(later):
    cell = Cell(events.LevelPinned(LEVEL), report("a", inventory=tree("a", KID)))
    assert "kid" in cell.projection.provider_names
    cell.say(report("a", inventory=tree("a", *later)))
    assert "kid" not in cell.projection.provider_names
    cell.projection.writes = []
    cell.say(created("other")._replace(name="kid"))
    assert cell.projection.writes[0].reason is None and cell.projection.provider_names["kid"] == uuid_of("other")


def test_an_agent_starts_nothing_on_a_host_of_nova():
    cell = Cell(events.LevelPinned(LEVEL), report("a"), events.AuthorityPassed("a", "nova"))
    assert cell.say(started("vm", "a")) == "not-its-authority" and not cell.projection.consumers


@pytest.mark.parametrize(
    "write",
    [put_inventories("late", inventory_of()), reshaped([("late", 0, [inventory_of()])])],
    ids=["put", "reshaped"],
)
def test_use_of_a_class_that_comes_later(write):
    """It is counted on the host until the provider has the class, and on the provider then."""
    cell = Cell(events.LevelPinned(LEVEL), report("a", consumer("vm", of("a", 1), of("late", 3))), created("late", "a"))
    assert (cell.used("a"), cell.used("late")) == (4, 0) and cell.projection.hosts["a"].strays
    cell.say(write)
    assert (cell.used("a"), cell.used("late")) == (1, 3) and not cell.projection.hosts["a"].strays
    assert cell.holdings() == {("a", uuid_of("vm")): RUNNING}
    cell.say(deleted("vm", "a"))
    assert (cell.used("a"), cell.used("late")) == (0, 0)


def test_use_of_a_class_that_nobody_has_yet():
    """A provider that is no host's comes after an instance that uses it, and has nothing at first."""
    pool = of("pool", 85, "DISK_GB")
    cell = Cell(events.LevelPinned(LEVEL), report("a", consumer("vm", of("a", 1), pool)), created("pool"))
    assert cell.used("a", "MEMORY_MB") == 0 and cell.used("pool", "MEMORY_MB") == 0
    assert cell.used("pool", "DISK_GB") == 85
    cell.say(put_inventories("pool", inventory_of("DISK_GB", 100)))
    assert cell.free("pool", "DISK_GB") == 15
    cell.say(deleted("vm", "a"))
    assert cell.used("pool", "DISK_GB") == 0
