"""The client of Placement in nova-compute, nova-conductor and nova-scheduler: SchedulerReportClient."""

import pytest

from tests.against_nova.conftest import peer_python
from tests.clients.conftest import asked, running
from tests.placement_api.regions import uuid_of

pytestmark = [pytest.mark.clients, pytest.mark.nova]

HOST, NUMA, OTHER, VM, MIGRATION = (uuid_of(name) for name in ("host", "numa", "other", "vm", "migration"))
RACK = uuid_of("rack")
INVENTORY = {
    "VCPU": {"total": 8, "reserved": 0, "min_unit": 1, "max_unit": 8, "step_size": 1, "allocation_ratio": 4.0},
    "MEMORY_MB": {
        "total": 4096,
        "reserved": 512,
        "min_unit": 1,
        "max_unit": 4096,
        "step_size": 1,
        "allocation_ratio": 1.0,
    },
}
GPUS = {"VGPU": {"total": 4, "reserved": 0, "min_unit": 1, "max_unit": 4, "step_size": 1, "allocation_ratio": 1.0}}
ON_HOST = ["host", None, HOST, INVENTORY, ["HW_CPU_X86_AVX2", "CUSTOM_FAST"], [RACK]]
ON_NUMA = ["numa", "host", NUMA, GPUS, [], []]


@pytest.fixture(scope="module")
def peer():
    yield from running(peer_python("nova"), "nova_peer.py")


@pytest.fixture
def nova(peer, cloud):
    return asked(peer, cloud.facts)


def held(provider, **amounts):
    return {provider: {"resources": amounts}}


def claim(nova, consumer, allocations, generation=None):
    """What nova-scheduler does with a candidate."""
    return nova("call", "claim_resources", consumer, {"allocations": allocations}, "p", "u", "1.36", generation)


def report(nova):
    """What nova-compute does at its start."""
    return nova("update", HOST, "host", [ON_HOST, ON_NUMA])


def allocations_of(cloud, consumer):
    return {uuid: dict(amounts) for uuid, amounts in cloud.state()["consumers"][consumer]["allocations"].items()}


def test_a_tree_is_reported_changed_and_read(nova, cloud):
    found = report(nova)
    assert found == {
        "host": [INVENTORY, ["CUSTOM_FAST", "HW_CPU_X86_AVX2"], [RACK], None],
        "numa": [GPUS, [], [], HOST],
    }
    generations = {uuid: facts["generation"] for uuid, facts in cloud.state()["providers"].items()}
    report(nova)
    # A periodic report without a change writes nothing.
    assert {uuid: facts["generation"] for uuid, facts in cloud.state()["providers"].items()} == generations
    less = {"VCPU": {**INVENTORY["VCPU"], "reserved": 2}}
    found = nova(
        "update", HOST, "host", [["host", None, HOST, less, ["CUSTOM_SLOW"], []], ["numa", "host", None, 0, 0, 0]]
    )
    assert found == {"host": [less, ["CUSTOM_SLOW"], [], None]}
    assert set(cloud.state()["providers"]) == {HOST}


def test_the_host_is_in_an_aggregate_of_nova_api(nova, cloud):
    report(nova)
    # nova-api knows the host by its name.
    nova("call", "aggregate_add_host", OTHER, "host")
    assert cloud.state()["providers"][HOST]["aggregates"] == sorted([RACK, OTHER])
    nova("call", "aggregate_remove_host", OTHER, "host")
    assert cloud.state()["providers"][HOST]["aggregates"] == [RACK]
    assert nova("call", "get_provider_by_name", "host")["uuid"] == HOST
    assert nova("call", "get_resource_provider_name", HOST) == "host"
    assert nova("call", "get_provider_traits", HOST)[0] == ["CUSTOM_FAST", "HW_CPU_X86_AVX2"]


def test_an_instance_is_claimed_moved_and_deleted(nova, cloud):
    report(nova)
    assert claim(nova, VM, {**held(HOST, VCPU=2, MEMORY_MB=512), **held(NUMA, VGPU=1)}) is True
    found = nova("call", "get_allocs_for_consumer", VM)
    assert found["allocations"][HOST]["resources"] == {"VCPU": 2, "MEMORY_MB": 512}
    assert (found["consumer_generation"], found["project_id"], found["user_id"]) == (1, "p", "u")
    assert set(nova("call", "get_allocations_for_consumer", VM)) == {HOST, NUMA}
    by_consumer = nova("call", "get_allocations_for_provider_tree", "host")
    assert set(by_consumer) == {VM}
    # A claim that does not fit, and one of an instance that another scheduler claimed.
    assert claim(nova, OTHER, held(HOST, VCPU=33)) is False
    assert nova("call", "get_usages_counts_for_quota", "p")["project"] == {"cores": 2, "ram": 512}
    # A migration holds the source, and gives it back.
    assert nova("call", "move_allocations", VM, MIGRATION) is True
    assert set(cloud.state()["consumers"]) == {MIGRATION}
    assert nova("call", "move_allocations", MIGRATION, VM) is True
    # A resize in place, and what a failed build leaves behind.
    nova("call", "add_resources_to_instance_allocation", VM, held(HOST, VCPU=1))
    assert allocations_of(cloud, VM)[HOST]["VCPU"] == 3
    nova("call", "remove_resources_from_instance_allocation", VM, held(HOST, VCPU=1))
    assert allocations_of(cloud, VM)[HOST]["VCPU"] == 2
    assert nova("call_named", "delete_allocation_for_instance", [VM], {"force": True}) is True
    assert not cloud.state()["consumers"]


def test_allocations_on_a_tree_are_removed_and_those_elsewhere_stay(nova, cloud):
    report(nova)
    cloud.client.do("POST", "/resource_providers", {"name": "other", "uuid": OTHER})
    body = {"resource_provider_generation": 0, "inventories": {"DISK_GB": {"total": 100}}}
    cloud.client.do("PUT", f"/resource_providers/{OTHER}/inventories", body)
    assert claim(nova, VM, {**held(HOST, VCPU=2), **held(NUMA, VGPU=1), **held(OTHER, DISK_GB=10)})
    assert nova("call", "remove_provider_tree_from_instance_allocation", VM, HOST) is True
    assert allocations_of(cloud, VM) == {OTHER: {"DISK_GB": 10}}


def test_an_allocation_of_another_generation_is_refused(nova, cloud):
    """The text of the conflict decides whether Nova repeats the write."""
    report(nova)
    assert claim(nova, VM, held(HOST, VCPU=1))
    body = {"allocations": held(HOST, VCPU=2), "project_id": "p", "user_id": "u", "consumer_generation": None}
    before = cloud.state()
    error = nova("error_of", "put_allocations", VM, body)
    assert error[0] == "AllocationUpdateFailed"
    assert cloud.state() == before


def test_a_reshape_moves_inventories_with_their_allocations(nova, cloud):
    """As libvirt did with VGPU: from the root to a child, while instances have some."""
    nova("update", HOST, "host", [["host", None, HOST, {**INVENTORY, **GPUS}, [], []]])
    assert claim(nova, VM, held(HOST, VCPU=1, VGPU=2))
    found = nova("call", "get_allocs_for_consumer", VM)
    found["allocations"] = {**held(HOST, VCPU=1), **held(NUMA, VGPU=2)}
    after = nova("update", HOST, "host", [["host", None, HOST, INVENTORY, [], []], ON_NUMA], {VM: found})
    assert after["host"][0] == INVENTORY and after["numa"][0] == GPUS
    assert allocations_of(cloud, VM) == {HOST: {"VCPU": 1}, NUMA: {"VGPU": 2}}


def test_a_stale_report_is_a_conflict_and_the_next_one_counts(nova, cloud):
    """Another service writes the provider between nova-compute's read and its write."""
    report(nova)
    nova("call", "get_provider_tree_and_ensure_root", HOST)
    generation = cloud.state()["providers"][HOST]["generation"]
    body = {"resource_provider_generation": generation, "traits": []}
    cloud.client.do("PUT", f"/resource_providers/{HOST}/traits", body)
    less = {"VCPU": {**INVENTORY["VCPU"], "reserved": 2}}
    assert nova("error_of", "set_inventory_for_provider", HOST, less)[0] == "ResourceProviderUpdateConflict"
    nova("call", "invalidate_resource_provider", HOST)
    found = nova("update", HOST, "host", [["host", None, HOST, less, [], []]])
    assert found["host"][0] == less


def test_candidates_are_asked_and_the_host_is_deleted(nova, cloud):
    report(nova)
    requests, summaries, version = nova("candidates", {"VCPU": 1, "MEMORY_MB": 64})
    assert requests[0]["allocations"] == held(HOST, VCPU=1, MEMORY_MB=64) and version == "1.36"
    assert summaries[HOST]["resources"]["VCPU"] == {"capacity": 32, "used": 0}
    assert claim(nova, VM, requests[0]["allocations"])
    # A provider that is in use stays, and its children go.
    nova("delete_host", HOST, "host")
    assert set(cloud.state()["providers"]) == {HOST}
    nova("call_named", "delete_allocation_for_instance", [VM], {"force": True})
    nova("delete_host", HOST, "host")
    assert cloud.state()["providers"] == {}
