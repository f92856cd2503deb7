"""Cyborg's client of Placement, which reports accelerators as children of a host."""

import pytest

from tests.clients.conftest import asked, client_python, running
from tests.placement_api.regions import uuid_of

pytestmark = [pytest.mark.clients, pytest.mark.long]

HOST, CARD = uuid_of("host"), uuid_of("card")
INVENTORY = {"FPGA": {"total": 2, "max_unit": 2}, "CUSTOM_REGION": {"total": 1, "max_unit": 1}}


@pytest.fixture(scope="module")
def peer():
    yield from running(client_python("cyborg"), "cyborg_peer.py")


@pytest.fixture
def cyborg(peer, cloud):
    return asked(peer, cloud.facts)


def test_an_accelerator(cyborg, peer, cloud):
    def error_of(*asking):
        return peer.ask(*asking)["error"].rpartition(".")[2]

    assert cyborg("call_with_context", "ensure_resource_provider", HOST, "host") == HOST
    for _ in range(2):
        assert cyborg("call_with_context", "ensure_resource_provider", CARD, "card", HOST) == CARD
    tree = cyborg("call_with_context", "get_providers_in_tree", HOST)
    assert {(one["uuid"], one["parent_provider_uuid"]) for one in tree} == {(HOST, None), (CARD, HOST)}
    cyborg("call_with_context", "ensure_resource_classes", ["CUSTOM_REGION"])
    found = cyborg("call", "update_inventory", CARD, INVENTORY)
    assert {name: one["total"] for name, one in found["inventories"].items()} == {"FPGA": 2, "CUSTOM_REGION": 1}
    cyborg("call", "add_traits_to_rp", CARD, ["CUSTOM_FPGA_INTEL", "CUSTOM_FUNCTION_GZIP"])
    assert cloud.state()["providers"][CARD]["traits"] == ["CUSTOM_FPGA_INTEL", "CUSTOM_FUNCTION_GZIP"]
    cyborg("call_with_context", "delete_trait_by_name", CARD, "CUSTOM_FPGA_INTEL")
    cyborg("call_with_context", "delete_traits_with_prefixes", CARD, ["CUSTOM_FUNCTION_"])
    assert cloud.state()["providers"][CARD]["traits"] == cloud.state()["traits"] == []
    # A card that is in maintenance: all of it is reserved.
    cyborg("call", "update_rp_inventory_reserved", CARD, "FPGA", 2, 2)
    assert cloud.state()["providers"][CARD]["inventories"]["FPGA"][:2] == (2, 2)
    # It names no microversion, and the oldest one has no resource classes: it is refused, as by Placement.
    cyborg("call_with_context", "delete_rc_by_name", "CUSTOM_REGION")
    assert cloud.state()["classes"] == ["CUSTOM_REGION"]
    assert error_of("call", "delete_provider", HOST) == "ResourceProviderInUse"
    for provider in (CARD, HOST):
        cyborg("call", "delete_provider", provider)
    assert cloud.state()["providers"] == {}
