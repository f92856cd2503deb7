"""What changed between two moments, with the events that did it; and what is known of one host."""

import pytest

from nova_sched.replay.state.difference import difference
from nova_sched.replay.state.history import History
from nova_sched.replay.state.hosts import Sums, details_of, named_hosts, rows_of
from nova_sched.replay.state.instances import flavors_of, instances_of, last_known
from rpc_api import errors, events
from rpc_api.digest import pool_key
from rpc_api.packing import pack
from tests import builders
from tests.builders import (
    claim,
    consumer,
    decision,
    deleted,
    inventory_of,
    moved,
    of,
    pool,
    report,
    request,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.replay.logs import Written

NODE = events.HostNUMACell(
    0,
    0,
    (0, 1),
    (2, 3, 4, 5),
    ((0, 1), (2, 3), (4, 5)),
    4096,
    (events.HostPages(4, 4096 * 256, 0), events.HostPages(2048, 64, 2)),
)
GPU = pool(4, numa_node=0)
GUEST = events.Guest(
    (events.NUMAUse(0, 0, 0, ((0, 2), (1, 3)), (), False, 64, 2048),), (events.PCIUse(pool_key(GPU), 1, None),), {}
)


def changes(written, first, last, *patterns):
    """(host, kind, what) -> (before, after, names and positions of the causes)."""
    found = difference(History({"cell1": written.log}), {"cell1": first}, {"cell1": last}, patterns)
    return {
        (one.host, one.kind, one.what): (one.before, one.after, [(cause.name, cause.position) for cause in one.causes])
        for one in found
    }


def test_instances_that_come_start_move_and_go():
    written = Written(report("a"), report("b"), claim("early", "a"), claim("late", "a"))  # 1 2 3 4
    written.say(started("early", "a")).say(claim("new", "b", of("b", 2))).say(deleted("early", "a"))  # 5 6 7
    written.say(claim("refused", "b", of("b", 99)))  # 8
    assert changes(written, 4, 5) == {
        ("a", "runs", uuid_of("early")): ("claimed VCPU=1", "running VCPU=1", [("InstanceStarted", 5)])
    }
    found = changes(written, 4, 8)
    assert found == {
        ("a", "went", uuid_of("early")): ("claimed VCPU=1", None, [("InstanceStarted", 5), ("InstanceDeleted", 7)]),
        ("b", "came", uuid_of("new")): (None, "claimed VCPU=2", [("ClaimProposed", 6)]),
        ("a", "free", "VCPU"): ("6", "7", []),
        ("b", "free", "VCPU"): ("8", "6", []),
    }
    assert changes(written, 5, 5) == {} and changes(written, 4, 8, "b*").keys() == {
        ("b", "came", uuid_of("new")),
        ("b", "free", "VCPU"),
    }


def test_a_claim_that_was_refused_causes_nothing():
    written = Written(report("a"), claim("vm", "a", of("a", 99), attempt=1), claim("vm", "a", attempt=2))
    assert changes(written, 1, 3)["a", "came", uuid_of("vm")][2] == [("ClaimProposed", 3)]


def test_an_instance_that_goes_elsewhere_has_moved():
    written = Written(report("a"), report("b"), claim("vm", "a"), started("vm", "a"))
    written.say(deleted("vm", "a")).say(claim("vm", "b", attempt=2))
    assert changes(written, 4, 6)["b", "moved", uuid_of("vm")] == (
        "a",
        "b",
        [("InstanceDeleted", 5), ("ClaimProposed", 6)],
    )


def test_what_is_held_for_another_consumer_is_named_so():
    written = Written(report("a"), claim("vm", "a"), moved("a", "vm", "migration"))
    found = changes(written, 2, 3)
    assert found["a", "came", f"{uuid_of('vm')} as {uuid_of('migration')}"][2] == [("AllocationMoved", 3)]


def test_hosts_that_come_go_and_change():
    written = Written(report("a"), report("b"))  # 1 2
    written.say(report("a", disabled=True, num_io_ops=3)).say(events.HostRemoved("b", "gone")).say(report("c"))  # 3 4 5
    written.say(events.HostLost("c", "silent"))  # 6
    written.say(
        report(
            "a",
            disabled=True,
            num_io_ops=3,
            inventory=tree("a", inventories=(inventory_of(total=16, ratio=2.0), inventory_of("MEMORY_MB", 16384))),
        )
    )  # 7
    found = changes(written, 2, 7)
    assert found["a", "status", None] == (
        "up",
        "disabled (disabled: maintenance)",
        [("HostReported", 3), ("HostReported", 7)],
    )
    assert found["a", "status", "num_io_ops"][:2] == ("0", "3")
    assert found["b", "removed", None] == ("up", None, [("HostRemoved", 4)])
    assert found["c", "added", None] == (None, "down (lost: unreachable)", [("HostReported", 5), ("HostLost", 6)])
    assert found["a", "inventory", "a VCPU total"][:2] == ("8", "16")
    assert found["a", "inventory", "a VCPU allocation_ratio"][:2] == ("1.0", "2.0")
    assert found["a", "free", "VCPU"][:2] == ("8", "32") and found["b", "free", "VCPU"][:2] == ("8", None)


def test_aggregates_change_the_hosts_in_them():
    written = Written(report("a"), report("b"))
    written.say(events.AggregateUpdated(uuid_of("fast"), "fast", ("a",), {"ssd": "true"}))
    assert changes(written, 2, 3) == {("a", "aggregates", None): (None, "fast (ssd=true)", [("AggregateUpdated", 3)])}


def test_what_only_passed_by_is_forgotten(monkeypatch):
    """Memory does not grow with the events between the two moments."""
    from nova_sched.replay.state import change as module

    monkeypatch.setattr(module, "MOST", 5)
    sizes, real = [], module.Causes.watch
    monkeypatch.setattr(
        module.Causes, "watch", lambda self, *what: (real(self, *what), sizes.append(len(self.instances)))
    )
    written = Written(report("a"), claim("kept", "a"))
    for number in range(50):
        written.say(claim(f"vm-{number}", "a")).say(started(f"vm-{number}", "a")).say(deleted(f"vm-{number}", "a"))
    written.say(claim("last", "a"))
    found = changes(written, 2, written.log.bounds().last)
    assert [key[2] for key in found if key[1] == "came"] == [uuid_of("last")] and max(sizes) < 25


def test_the_moments_have_an_order():
    written = Written(report("a"), report("b"))
    with pytest.raises(errors.UsageError, match="earlier one first"):
        changes(written, 2, 1)


def test_everything_of_a_host_with_nodes_devices_and_a_child():
    inventory = tree(
        "a",
        builders.provider("a_child", inventory_of("VGPU", 4), parent=0, traits=("CUSTOM_FAST",)),
        inventories=(inventory_of(total=8, reserved=1, ratio=2.0), inventory_of("PCPU", 4)),
        numa_cells=(NODE,),
        pci_pools=(GPU,),
        availability_zone="east",
    )
    held = consumer("vm", of("a", 2, "PCPU"), of("a_child", 1, "VGPU"))._replace(guest=pack(GUEST))
    written = Written(
        report("a", held, inventory=inventory, metrics={"cpu.percent": 12.5}), claim("new", "a", of("a", 3))
    )
    world = History({"cell1": written.log}).world_at({"cell1": 2})
    ((cell, host),) = named_hosts(world, ["a"])
    details = details_of(world, cell, host, {1: 111, 2: 222})
    vcpu = next(one for one in details["providers"][0]["inventories"] if one["resource_class"] == "VCPU")
    assert vcpu | {"total": 8, "reserved": 1, "allocation_ratio": 2.0, "capacity": 14, "used": 3, "free": 11} == vcpu
    assert details["providers"][1]["parent"] == details["providers"][0]["uuid"]
    assert details["providers"][1]["traits"] == ["CUSTOM_FAST"]
    (node,), (gpu,) = details["numa_nodes"], details["pci_pools"]
    assert (node["pinned"], node["free_cpus"], node["memory_used_mb"]) == ([2, 3], [4, 5], 64)
    assert node["pages"][1] == {"size_kb": 2048, "total": 64, "reserved": 2, "used": 32, "free": 30}
    assert (gpu["total"], gpu["used"], gpu["free"]) == (4, 1, 3)
    assert [(one["instance"], one["state"], one["since"]) for one in details["instances"]] == [
        (uuid_of("vm"), "running", 111),
        (uuid_of("new"), "claimed", 222),
    ]
    (row,) = rows_of(world, [(cell, host)])
    assert (
        row.amounts == {"VCPU": (3, 14), "PCPU": (2, 4), "VGPU": (1, 4)} and row.zone == "east" and row.instances == 2
    )
    assert Sums(world.table).of(host.root) == row.amounts


def test_globs_name_hosts_and_unknown_names_are_an_error():
    world = History({"cell1": Written(*(report(name) for name in ("a-1", "a-2", "b"))).log}).world_at({"cell1": 3})
    assert [host.name for _, host in named_hosts(world, ["a-*", "b"])] == ["a-1", "a-2", "b"]
    with pytest.raises(errors.NovaSchedError, match="no host 'c'"):
        named_hosts(world, ["b", "c"])


def test_instances_with_their_states_and_flavors():
    written = Written(report("a"), report("b"), claim("vm", "a"), started("vm", "a"), claim("new", "b"))
    written.say(events.InstancesTracked("b", (events.TrackedInstance(uuid_of("seen"), {}),), ()))
    for flavor in ("m1.old", "m1.new"):
        written.say(decision("vm", "a", asked=request(flavor_name=flavor)))
    world = History({"cell1": written.log}).world_at({"cell1": 8})
    rows = {(row.instance, row.host): (row.state, row.position) for row in instances_of(world.projections["cell1"])}
    assert rows == {
        (uuid_of("vm"), "a"): ("running", 3),
        (uuid_of("new"), "b"): ("claimed", 5),
        (uuid_of("seen"), "b"): ("tracked", None),
    }
    assert flavors_of(written.log, {uuid_of("vm")}, 8) == {uuid_of("vm"): "m1.new"}
    assert flavors_of(written.log, {uuid_of("vm")}, 7) == {uuid_of("vm"): "m1.old"}
    assert last_known("cell1", written.log.url) is None
