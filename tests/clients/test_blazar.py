"""Blazar's client of Placement, which keeps reservations: a child of a host, with a class of its own."""

import pytest

from tests.clients.conftest import asked, client_python, running
from tests.placement_api.regions import uuid_of

pytestmark = [pytest.mark.clients, pytest.mark.long]

HOST, LEASE = uuid_of("host"), uuid_of("lease")
CLASS = f"CUSTOM_RESERVATION_{LEASE.upper().replace('-', '_')}"


@pytest.fixture(scope="module")
def peer():
    yield from running(client_python("blazar"), "blazar_peer.py")


@pytest.fixture
def blazar(peer, cloud):
    return asked(peer, cloud.facts)


def test_a_reservation(blazar, peer, cloud):
    def error_of(*asking):
        return peer.ask("call", *asking)["error"].rpartition(".")[2]

    assert blazar("call", "create_resource_provider", "host", HOST)["uuid"] == HOST
    assert error_of("create_resource_provider", "host") == "ResourceProviderCreationConflict"
    blazar("call", "create_reservation_class", LEASE)
    child = blazar("call", "create_reservation_provider", "host")
    assert (child["name"], child["parent_provider_uuid"]) == ("blazar_host", HOST)
    found = blazar("call", "update_reservation_inventory", "host", LEASE, 3, True)
    assert found["inventories"][CLASS]["total"] == 3
    found = blazar("call", "update_reservation_inventory", "host", LEASE, 2, True)
    assert found["inventories"][CLASS]["total"] == 5
    assert blazar("call", "get_inventory", child["uuid"])["inventories"][CLASS]["max_unit"] == 1
    assert blazar("call", "get_traits", HOST) == []
    assert error_of("get_inventory", LEASE) == "ResourceProviderNotFound"
    listed = blazar("call", "list_resource_providers")
    assert {one["name"] for one in listed} == {"host", "blazar_host"}
    assert error_of("delete_resource_provider", HOST) == "ResourceProviderDeletionFailed"
    blazar("call", "delete_reservation_inventory", "host", LEASE)
    blazar("call", "delete_reservation_provider", "host")
    blazar("call", "delete_reservation_class", LEASE)
    # What is gone already is not an error.
    blazar("call", "delete_reservation_class", LEASE)
    blazar("call", "delete_resource_provider", HOST)
    assert not any(cloud.state().values())
