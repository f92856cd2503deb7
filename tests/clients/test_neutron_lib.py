"""neutron-lib's client of Placement, with which Neutron reports bandwidths and segments: each of its methods."""

import pytest

from tests.clients.conftest import asked, client_python, running
from tests.placement_api.regions import uuid_of

pytestmark = [pytest.mark.clients, pytest.mark.long]

AGENT, BRIDGE, POOL, VM = (uuid_of(name) for name in ("agent", "bridge", "pool", "vm"))
INVENTORY = {"total": 1000, "reserved": 0, "min_unit": 1, "max_unit": 1000, "step_size": 1, "allocation_ratio": 1.0}
EGRESS, INGRESS = "NET_BW_EGR_KILOBIT_PER_SEC", "NET_BW_IGR_KILOBIT_PER_SEC"


@pytest.fixture(scope="module")
def peer():
    yield from running(client_python("neutron-lib"), "neutron_peer.py")


@pytest.fixture
def neutron(peer, cloud):
    return Neutron(peer, asked(peer, cloud.facts))


class Neutron:
    """Calls methods, and knows which it has called."""

    def __init__(self, peer, ask):
        self._peer = peer
        self._ask = ask
        self.methods = set(ask("methods"))
        self.used = set()

    def call(self, method, **named):
        """What a method returns."""
        self.used.add(method)
        return self._ask("call", method, named)

    def error(self, method, **named):
        """(Class, text) of what a method raises."""
        self.used.add(method)
        found = self._peer.ask("call", method, named)
        return found["error"].rpartition(".")[2], found["message"]


def test_every_method(neutron, cloud):
    # Traits and classes.
    neutron.call("update_trait", name="CUSTOM_PHYSNET_A")
    assert "CUSTOM_PHYSNET_A" in neutron.call("list_traits")["traits"]
    assert neutron.call("get_trait", name="CUSTOM_PHYSNET_A") is None
    assert neutron.error("get_trait", name="CUSTOM_NOTHING")[0] == "PlacementTraitNotFound"
    neutron.call("create_resource_class", name="CUSTOM_X")
    neutron.call("update_resource_class", name="CUSTOM_Y")
    assert neutron.call("get_resource_class", name="CUSTOM_X")["name"] == "CUSTOM_X"
    assert neutron.error("get_resource_class", name="CUSTOM_Z")[0] == "PlacementResourceClassNotFound"
    names = [one["name"] for one in neutron.call("list_resource_classes")["resource_classes"]]
    assert names[-2:] == ["CUSTOM_X", "CUSTOM_Y"]
    for name in ("CUSTOM_X", "CUSTOM_Y"):
        neutron.call("delete_resource_class", name=name)
    assert neutron.error("delete_resource_class", name="CUSTOM_X")[0] == "PlacementResourceClassNotFound"
    # Providers.
    created = neutron.call("create_resource_provider", resource_provider={"uuid": AGENT, "name": "agent"})
    assert (created["uuid"], created["generation"]) == (AGENT, 0)
    bridge = {"uuid": BRIDGE, "name": "bridge", "parent_provider_uuid": AGENT}
    for _ in range(2):
        assert neutron.call("ensure_resource_provider", resource_provider=bridge)["root_provider_uuid"] == AGENT
    bridge["name"] = "br-ex"
    assert neutron.call("update_resource_provider", resource_provider=bridge)["name"] == "br-ex"
    assert neutron.call("get_resource_provider", resource_provider_uuid=BRIDGE)["name"] == "br-ex"
    error = neutron.error("get_resource_provider", resource_provider_uuid=VM)
    assert error[0] == "PlacementResourceProviderNotFound"
    of_bridge = {"resource_provider_uuid": BRIDGE}
    # Inventories: without a generation the client reads it, and tries again after a conflict.
    inventories = {EGRESS: INVENTORY, INGRESS: INVENTORY}
    found = neutron.call("update_resource_provider_inventories", **of_bridge, inventories=inventories)
    assert (found["inventories"], found["resource_provider_generation"]) == (inventories, 1)
    found = neutron.call(
        "update_resource_provider_inventory", **of_bridge, resource_class=EGRESS, inventory={**INVENTORY, "total": 900}
    )
    assert found["total"] == 900
    assert neutron.call("get_inventory", **of_bridge, resource_class=EGRESS)["total"] == 900
    assert neutron.error("get_inventory", **of_bridge, resource_class="VCPU")[0] == "PlacementInventoryNotFound"
    error = neutron.error("get_inventory", resource_provider_uuid=VM, resource_class="VCPU")
    assert error[0] == "PlacementResourceProviderNotFound"
    error = neutron.error(
        "update_resource_provider_inventories", **of_bridge, inventories=inventories, resource_provider_generation=0
    )
    assert error[0] == "PlacementResourceProviderGenerationConflict"
    # Traits and aggregates of a provider.
    found = neutron.call("update_resource_provider_traits", **of_bridge, traits=["CUSTOM_PHYSNET_A"])
    assert found["traits"] == ["CUSTOM_PHYSNET_A"]
    error = neutron.error("update_resource_provider_traits", **of_bridge, traits=["CUSTOM_NOTHING"])
    assert error[0] == "PlacementTraitNotFound"
    assert neutron.call("list_resource_provider_traits", **of_bridge)["traits"] == ["CUSTOM_PHYSNET_A"]
    generation = neutron.call("get_resource_provider", **of_bridge)["generation"]
    body = {"aggregates": [POOL], "resource_provider_generation": generation}
    neutron.call("associate_aggregates", **of_bridge, aggregates=body)
    assert neutron.call("list_aggregates", **of_bridge)["aggregates"] == [POOL]
    for named in (
        {"name": "br-ex"},
        {"member_of": POOL},
        {"resources": f"{EGRESS}:1", "in_tree": AGENT},
        {"uuid": BRIDGE},
    ):
        found = neutron.call("list_resource_providers", **named)["resource_providers"]
        assert [one["uuid"] for one in found] == [BRIDGE], named
    # The bandwidth of a port changes.
    held = {"allocations": {BRIDGE: {"resources": {EGRESS: 10}}}, "project_id": "p", "user_id": "u"}
    body = {**held, "consumer_generation": None, "consumer_type": "INSTANCE"}
    cloud.client.do("PUT", f"/allocations/{VM}", body)
    neutron.call("update_qos_allocation", consumer_uuid=VM, alloc_diff={BRIDGE: {EGRESS: 5, INGRESS: 7}})
    found = neutron.call("list_allocations", consumer_uuid=VM)
    assert found["allocations"][BRIDGE]["resources"] == {EGRESS: 15, INGRESS: 7}
    error = neutron.error("update_qos_allocation", consumer_uuid=AGENT, alloc_diff={})
    assert error[0] == "PlacementAllocationRemoved"
    error = neutron.error("update_qos_allocation", consumer_uuid=VM, alloc_diff={BRIDGE: {EGRESS: 5000}})
    assert error[0] in ("Conflict", "PlacementClientError")
    found["allocations"] = {}
    neutron.call("update_allocation", consumer_uuid=VM, allocations=found)
    assert not cloud.state()["consumers"]
    # The end.
    neutron.call("delete_resource_provider_inventory", **of_bridge, resource_class=EGRESS)
    error = neutron.error("delete_resource_provider_inventory", **of_bridge, resource_class=EGRESS)
    assert error[0] == "PlacementInventoryNotFound"
    error = neutron.error("delete_resource_provider_inventory", resource_provider_uuid=VM, resource_class=EGRESS)
    assert error[0] == "PlacementResourceProviderNotFound"
    neutron.call("delete_resource_provider_inventories", **of_bridge)
    error = neutron.error("delete_resource_provider_inventories", resource_provider_uuid=VM)
    assert error[0] == "PlacementResourceProviderNotFound"
    neutron.call("delete_resource_provider_traits", **of_bridge)
    neutron.call("delete_trait", name="CUSTOM_PHYSNET_A")
    assert neutron.error("delete_trait", name="CUSTOM_PHYSNET_A")[0] == "PlacementTraitNotFound"
    for provider in (BRIDGE, AGENT):
        neutron.call("delete_resource_provider", resource_provider_uuid=provider)
    assert neutron.used == neutron.methods
    assert not any(cloud.state().values())
