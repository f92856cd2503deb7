"""The names of providers that an agent reports: one that it reports no more, or under another name, is free again."""

import pytest

from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import Cell, created, inventory_of, provider, report, started, tree, uuid_of

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
