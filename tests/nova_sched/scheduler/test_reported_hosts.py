"""Hosts that public bug reports of Nova are about, through a whole scheduler, on both sides of a pin."""

import os
from pathlib import Path

import pytest

from compute_agent.drivers import device_spec, sysfs
from compute_agent.drivers.local import LocalDriver
from nova_sched.selection.policy import Policy
from rpc_api import digest, errors, events, levels
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects import InstancePCIRequest, InstancePCIRequests
from rpc_api.packing import pack
from tests.builders import consumer, inventory_of, of, report, request_spec, tree, uuid_of
from tests.nova_sched.scheduler.answering import World
from tests.servers import wait_until

PIN = events.LevelPinned(2)
LEVELS = pytest.mark.parametrize("level", [1, 2])


def pinned(level):
    return [PIN] if level == 2 else []


def asked(name, vcpus=1, **resources):
    """A request for an instance of a name, for this much and nothing else."""
    made = request_spec(uuid_of(name), vcpus, 0, 0)
    made.flavor.extra_specs = {f"resources:{key}": str(amount) for key, amount in resources.items()}
    return made


def hosts(world, spec):
    """The host of the answer and its alternates; None without a valid host."""
    try:
        (selections,) = world.selected(spec)
    except NoValidHost:
        return None
    return [selection.service_host for selection in selections]


def wait_folded(world):
    """Wait until the scheduler has folded all that is in the log of its cell."""
    last = open_log(world.url("cell1")).bounds().last
    wait_until(
        lambda: world.scheduler.call(lambda engine: engine.world.projections["cell1"].position).result(20) >= last,
        20,
        "the log is not folded",
    )


# --- bug 1969496: a physical function and its virtual functions ------------------------------------------------------

PRODUCTS = {"type-PF": "1521", "type-VF": "1520"}


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """What the local driver reports of a card with four virtual functions, if [pci] device_spec has its address."""
    devices = tmp_path_factory.mktemp("machine") / "bus/pci/devices"
    for number in range(5):
        path = devices / f"0000:81:00.{number}"
        path.mkdir(parents=True)
        (path / "vendor").write_text("0x8086\n")
        (path / "device").write_text("0x1520\n" if number else "0x1521\n")
        (path / "numa_node").write_text("0\n")
        if number:
            (path / "physfn").symlink_to(devices / "0000:81:00.0")
        else:
            (path / "sriov_totalvfs").write_text("4\n")
    specs = device_spec.specs_of(['{"address": "0000:81:00.0"}'])
    return device_spec.pools_of(sysfs.pci_devices(Path(devices).parents[2]), specs)


def with_device(name, *kinds, count=1):
    made = asked(name)
    made.pci_requests = InstancePCIRequests(
        requests=[
            InstancePCIRequest(
                count=count,
                spec=[{"vendor_id": "8086", "product_id": PRODUCTS[kind], "dev_type": kind}],
                alias_name="a",
                request_id=uuid_of(f"{name} {kind}"),
                numa_policy=None,
            )
            for kind in kinds
        ]
    )
    return made


@LEVELS
def test_a_card_is_one_device(pools, level):
    assert sorted((pool.tags["dev_type"], pool.count) for pool in pools) == [("type-PF", 1), ("type-VF", 4)]
    host = report("a", inventory=tree("a", inventories=(inventory_of(total=32),), pci_pools=pools))
    taken = ["a"] if level == 1 else None
    policy = Policy(enabled_filters=("ComputeFilter", "PciPassthroughFilter"))
    with World(*pinned(level), host, policy=policy) as world:
        assert hosts(world, with_device("both", "type-VF", "type-PF")) == taken
    with World(*pinned(level), host, policy=policy) as world:
        assert hosts(world, with_device("vm", "type-VF")) == ["a"]
        assert hosts(world, with_device("whole", "type-PF")) == taken
    with World(*pinned(level), host, policy=policy) as world:
        assert hosts(world, with_device("whole", "type-PF")) == ["a"]
        assert hosts(world, with_device("vm", "type-VF")) == taken
    with World(*pinned(level), host, policy=policy) as world:
        assert hosts(world, with_device("four", "type-VF", count=4)) == ["a"]
        assert hosts(world, with_device("fifth", "type-VF")) is None


# --- bug 1419785: a host that gets another name, or another uuid, while it runs instances ----------------------------


def reported(driver, host):
    """What an agent reports of a driver."""
    running = driver.running()
    return events.HostReported(
        host,
        "agent",
        levels.pack_oldest(driver.inventory()),
        driver.status(),
        pack(events.HostConsumers(running)),
        digest.consumers_digest(running),
    )


def test_a_local_host_that_is_full_does_not_start_under_another_name(tmp_path):
    driver = LocalDriver("compute-1", tmp_path)
    root = driver.inventory().providers[0].uuid
    room = 4 * len(os.sched_getaffinity(0))
    driver.spawn(events.Consumer(uuid_of("vm"), "p", (events.Allocation(root, "VCPU", room),), None, None))
    with World(reported(LocalDriver("compute-1", tmp_path), "compute-1")) as world:
        assert hosts(world, asked("new")) is None
    with pytest.raises(errors.UsageError, match="set .compute_agent. host = compute-1"):
        LocalDriver("compute-1.example.com", tmp_path)


@LEVELS
@pytest.mark.parametrize("allocation", [of("gone", 8), of("b", 8)], ids=["a provider that is gone", "another host's"])
def test_use_of_a_provider_that_is_not_the_hosts(level, allocation):
    """A host of a driver that does start under another name."""
    with World(*pinned(level), report("a", consumer("vm", allocation))) as world:
        assert hosts(world, asked("new")) == (["a"] if level == 1 else None)


@LEVELS
def test_a_claim_under_way_while_the_uuid_changes(level):
    with World(*pinned(level), report("a", consumer("vm", of("a", 2)))) as world:
        assert hosts(world, asked("building", 3)) == ["a"]
        world.say(report("a", consumer("vm", of("a, again", 2)), inventory=tree("a", root="a, again")))
        wait_folded(world)
        assert hosts(world, asked("next", 4)) == (["a"] if level == 1 else None)
        assert hosts(world, asked("less", 2)) == ["a"]


# --- inventories with which a provider offers nothing ----------------------------------------------------------------

#: total, reserved, ratio -> whether the host takes instances that only need its memory: below level 2, and above.
CLOSED = {
    (8, 8, 1.0): (True, True),
    (8, 8, 16.0): (True, True),
    (8, 0, 0.05): (True, True),
    (8, 0, 0.0): (False, True),
    (8, 0, -1.0): (False, False),
    (8, 12, 1.0): (True, False),
}


@LEVELS
@pytest.mark.parametrize("inventory", CLOSED, ids=str)
def test_an_inventory_that_closes_its_class(level, inventory):
    total, reserved, ratio = inventory
    closed = tree(
        "a", inventories=(inventory_of(total=total, reserved=reserved, ratio=ratio), inventory_of("MEMORY_MB", 64))
    )
    was_open = tree("a", inventories=(inventory_of(total=64), inventory_of("MEMORY_MB", 64)))
    memory = CLOSED[inventory][level - 1]
    with World(*pinned(level), report("a", inventory=closed), report("b")) as world:
        assert hosts(world, asked("new")) == ["b"]
        expected = {"a", "b"} if memory else {"b"}
        assert set(hosts(world, asked("memory", VCPU=0, MEMORY_MB=8))) == expected
    # The operator closes it later. At level 1 the host stays as it was if its report is set aside.
    with World(*pinned(level), report("a", inventory=was_open), report("a", inventory=closed)) as world:
        assert hosts(world, asked("new")) == (["a"] if level == 1 and not memory else None)
