"""NUMA nodes, pages and PCI devices in the fold: the log order decides who gets them,
and use is counted again."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.devices import guest_of
from nova_sched.projection.digest import state_digest
from nova_sched.projection.in_flight import InFlight
from rpc_api import digest, events
from rpc_api.codec import DecodedRecord
from rpc_api.packing import pack
from tests.builders import (
    EPOCH,
    Cell,
    claim,
    consumer,
    deleted,
    inventory_of,
    moved,
    pool,
    released,
    report,
    tree,
    uuid_of,
)

NICS = pool(2)
NODES = (
    events.HostNUMACell(
        0, 0, (0, 1), (2, 3), ((0, 1), (2, 3)), 4096, (events.HostPages(4, 2**20, 0), events.HostPages(2048, 8, 2))
    ),
    events.HostNUMACell(1, 1, (4, 5), (6, 7), ((4, 5), (6, 7)), 4096, ()),
)


def host(*consumers, **facts):
    return report(
        "host",
        *consumers,
        inventory=tree(
            "host",
            inventories=(inventory_of("VCPU", 16, ratio=2.0), inventory_of("MEMORY_MB", 8192)),
            numa_cells=NODES,
            pci_pools=(NICS,),
            **facts,
        ),
    )


def use(cell, *pins, shared=0, memory=0, pages=0, isolated=False, reserved=()):
    return events.NUMAUse(
        cell, 0, shared, tuple((guest, cpu) for guest, cpu in enumerate(pins)), reserved, isolated, memory, pages
    )


def nic(count=1, of=NICS):
    return events.PCIUse(digest.pool_key(of), count, None)


def guest(*uses, **image):
    """The bytes of a Guest with some NUMAUse and PCIUse records."""
    return pack(
        events.Guest(
            tuple(one for one in uses if isinstance(one, events.NUMAUse)),
            tuple(one for one in uses if isinstance(one, events.PCIUse)),
            image,
        )
    )


def asking(name, *uses):
    return claim(name, "host")._replace(guest=guest(*uses))


#: Earlier claims, the claim, and its result.
ROWS = [
    ([], [use(0, 2)], "accepted"),
    ([use(0, 2)], [use(0, 3)], "accepted"),
    ([use(0, 2)], [use(0, 2)], "CPUs of NUMA node 0"),
    ([use(0, 2, isolated=True)], [use(0, 3)], "CPUs of NUMA node 0"),
    ([use(0, 3)], [use(0, 2, isolated=True)], "CPUs of NUMA node 0"),
    ([use(0, 2)], [use(1, 6)], "accepted"),
    ([], [use(0, 2), use(0, 2)], "CPUs of NUMA node 0"),
    ([], [use(0, 2, 2)], "no dedicated CPUs of NUMA node 0"),
    ([], [use(0, 0)], "no dedicated CPUs of NUMA node 0"),
    ([], [use(1, 6, reserved=(7,))], "accepted"),
    ([use(1, 6, reserved=(7,))], [use(1, 7)], "CPUs of NUMA node 1"),
    ([], [use(9, 2)], "unknown NUMA node 9"),
    ([], [use(0, 2, memory=12, pages=2048)], "accepted"),
    ([], [use(0, 2, memory=14, pages=2048)], "pages of 2048 KiB on NUMA node 0"),
    ([use(0, 2, memory=8, pages=2048)], [use(0, 3, memory=4, pages=2048)], "accepted"),
    ([use(0, 2, memory=8, pages=2048)], [use(0, 3, memory=6, pages=2048)], "pages of 2048 KiB on NUMA node 0"),
    ([], [use(0, 2, memory=4, pages=1048576)], "no pages of 1048576 KiB on NUMA node 0"),
    ([], [use(1, 6, memory=4, pages=2048)], "no pages of 2048 KiB on NUMA node 1"),
    ([use(1, 6, memory=4000)], [use(1, 7, memory=96)], "accepted"),
    ([use(1, 6, memory=4000)], [use(1, 7, memory=97)], "memory of NUMA node 1"),
    ([use(0, shared=2), use(0, shared=2)], [use(0, shared=1)], "shared CPUs of NUMA node 0"),
    ([use(0, shared=2), use(0, shared=1)], [use(0, shared=1)], "accepted"),
    ([], [use(0, shared=3)], "shared CPUs of NUMA node 0"),
    ([], [nic(2)], "accepted"),
    ([nic()], [nic()], "accepted"),
    ([nic()], [nic(2)], "PCI 8086:1520"),
    ([], [nic(), nic(), nic()], "PCI 8086:1520"),
    ([], [nic(of=pool(1, "15b3"))], f"unknown PCI pool {digest.pool_key(pool(1, '15b3'))}"),
]


@pytest.mark.parametrize("before, asked, outcome", ROWS)
def test_the_log_decides_who_gets_devices(before, asked, outcome):
    cell = Cell(host())
    if before:
        assert cell.say(asking("first", *before)) == "accepted"
    was = state_digest(cell.projection)
    assert cell.say(asking("second", *asked)) == outcome
    if outcome != "accepted":
        assert cell.projection.hosts["host"].entries.keys() == ({uuid_of("first")} if before else set())
        assert was != state_digest(cell.projection), "the producer's count is state"


def test_a_host_without_devices_has_none_to_give():
    cell = Cell(report("host"))
    assert cell.say(asking("one", use(0, 2))) == "no NUMA nodes or PCI pools"
    assert cell.say(asking("two", nic())) == "no NUMA nodes or PCI pools"
    assert cell.say(claim("three", "host")._replace(guest=guest(hw_disk_bus="virtio"))) == "accepted"


def test_a_guest_that_cannot_be_read_is_refused_or_set_aside():
    cell = Cell(host())
    assert cell.say(claim("one", "host")._replace(guest=b"no guest")) == "malformed guest"
    for said in (
        events.InstanceStarted("host", consumer("two")._replace(guest=b"no guest")),
        host(consumer("three")._replace(guest=b"no guest")),
    ):
        assert cell.say(said).startswith("invalid")
    assert not cell.projection.hosts["host"].entries


def test_devices_come_back_with_their_claim():
    cell = Cell(host(), asking("one", use(0, 2), nic(2)), released("one"))
    assert cell.say(asking("two", use(0, 2), nic(2))) == "accepted"
    cell.say(
        events.InstanceStarted(
            "host", consumer("two", *claim("two", "host").allocations)._replace(guest=guest(use(0, 2), nic(2)))
        )
    )
    assert cell.say(asking("three", nic())) == "PCI 8086:1520"
    cell.say(deleted("two", "host"))
    assert cell.say(asking("four", nic())) == "accepted"


def test_a_move_takes_devices_along():
    cell = Cell(host(), asking("one", use(0, 2)), moved("host", "one", "migration"))
    assert cell.say(asking("two", use(0, 2))) == "CPUs of NUMA node 0"


def test_an_agent_that_knows_nothing_of_a_guest_leaves_what_was_claimed():
    said = consumer("one", *claim("one", "host").allocations)
    cell = Cell(host(), asking("one", use(0, 2)), events.InstanceStarted("host", said))
    assert cell.say(asking("two", use(0, 2))) == "CPUs of NUMA node 0"
    assert not cell.projection.counts["divergence"]
    assert cell.projection.hosts["host"].running_digest == digest.consumers_digest([said])
    # One that says something else is right.
    assert cell.say(host(said._replace(guest=guest(use(0, 3))))) == "differs"
    assert cell.say(asking("two", use(0, 2))) == "accepted"


def test_what_two_guests_claim_to_have_is_not_free_when_one_goes():
    both = [consumer(name)._replace(guest=guest(use(0, 2))) for name in ("one", "two")]
    cell = Cell(host(*both))
    cell.say(deleted("one", "host"))
    assert cell.say(asking("three", use(0, 2))) == "CPUs of NUMA node 0"
    cell.say(deleted("two", "host"))
    assert cell.say(asking("four", use(0, 2))) == "accepted"


def test_nodes_that_go_away_and_come_back_are_counted_again():
    cell = Cell(host(), asking("one", use(0, 2)))
    cell.say(report("host", inventory=tree("host")))
    assert cell.projection.table.row_devices[0] is None
    cell.say(host())
    assert cell.say(asking("two", use(0, 2))) == "CPUs of NUMA node 0"


ONE_NODE = (NODES[0]._replace(shared_cpus=(), dedicated_cpus=(2, 3, 6, 7), siblings=((2, 3), (6, 7))),)
OTHER_NODES = (
    NODES[0]._replace(dedicated_cpus=(2, 6), siblings=((2,), (6,))),
    NODES[1]._replace(dedicated_cpus=(3, 7), siblings=((3,), (7,))),
)


@pytest.mark.parametrize(
    "nodes, asked, outcome",
    [
        (OTHER_NODES, use(0, 6), "CPUs of NUMA node 0"),
        (OTHER_NODES, use(0, 2), "accepted"),
        (ONE_NODE, use(0, 6), "CPUs of NUMA node 0"),
        (ONE_NODE, use(0, 7), "CPUs of NUMA node 0"),
        (ONE_NODE, use(0, 2, 3), "accepted"),
    ],
)
def test_a_cpu_stays_taken_where_a_host_comes_back_with_other_nodes(nodes, asked, outcome):
    cell = Cell(host(), asking("one", use(1, 6, isolated=True)))
    cell.say(
        report(
            "host",
            inventory=tree(
                "host", inventories=(inventory_of("VCPU", 16), inventory_of("MEMORY_MB", 8192)), numa_cells=nodes
            ),
        )
    )
    assert cell.say(asking("two", asked)) == outcome
    again = snapshot.load(snapshot.dump(cell.projection))
    assert (
        again.table.row_devices[again.hosts["host"].root].key
        == cell.projection.table.row_devices[cell.projection.hosts["host"].root].key
    )


@pytest.mark.parametrize(
    "nodes, pools",
    [
        ((NODES[0], NODES[1]._replace(dedicated_cpus=(3, 6))), ()),
        ((NODES[0], NODES[1]._replace(shared_cpus=(0, 4))), ()),
        ((NODES[0], NODES[1]._replace(siblings=((2, 4), (6, 7)))), ()),
        ((NODES[0]._replace(dedicated_cpus=(2, 2, 3)),), ()),
        ((NODES[0]._replace(shared_cpus=(0, 0, 0, 1)),), ()),
        ((NODES[0]._replace(siblings=((0, 1), (1, 2))),), ()),
        ((NODES[0]._replace(dedicated_cpus=(-1, 2)),), ()),
        ((NODES[0], NODES[0]), ()),
        ((), (NICS, NICS._replace(count=9))),
        ((NODES[0]._replace(pages=(events.HostPages(4, 1, 0), events.HostPages(4, 2, 0))),), ()),
        ((NODES[0]._replace(pages=(events.HostPages(0, 1, 0),)),), ()),
        (tuple(NODES[0]._replace(id=number) for number in range(65)), ()),
    ],
)
def test_nodes_and_pools_that_cannot_be_are_set_aside(nodes, pools):
    cell = Cell()
    assert cell.say(report("host", inventory=tree("host", numa_cells=nodes, pci_pools=pools))) == "invalid"


@pytest.mark.parametrize("last", [host(), events.HostRemoved("host", "gone")])
def test_guests_of_a_report_are_counted_together(last):
    """A change does not count all guests again: a host may run thousands."""
    many = [consumer(f"vm-{number}")._replace(guest=guest(use(0, memory=1))) for number in range(50)]
    cell = Cell()
    for said in (host(*many), last):
        looked_at = guest_of.cache_info().hits
        cell.projection.fold([(len(cell.records), DecodedRecord(EPOCH, [cell.voice("compute_agent/host").say(said)]))])
        cell.records.append(None)
        assert guest_of.cache_info().hits - looked_at < 4 * len(many)


def test_claims_in_flight_hold_devices_for_this_process_only():
    cell = Cell(host())
    table, flying = cell.projection.table, InFlight(cell.projection.table)
    said = asking("one", use(0, 2), nic(2))
    flying.add(said)
    held = table.devices(0)
    assert held.cell_uses[0].pinned == {2} and held.free_in_pool(0) == 0
    assert table.row_devices[0].free_in_pool(0) == 2
    flying.remove(said.claim_uuid)
    assert table.devices(0) is table.row_devices[0] and not table.held_guests


def test_a_snapshot_keeps_devices_and_where_instances_were_said_to_be():
    cell = Cell(
        host(),
        report("plain"),
        asking("one", use(0, 2), nic()),
        events.InstancesTracked("plain", (events.TrackedInstance(uuid_of("far"), {"hw_disk_bus": "virtio"}),), ()),
    )
    again = snapshot.load(snapshot.dump(cell.projection))
    assert state_digest(again) == state_digest(cell.projection)
    table = again.table
    assert (
        table.devices(table.row_of_host["host"]).key
        == cell.projection.table.devices(cell.projection.table.row_of_host["host"]).key
    )
    assert again.instances(uuid_of("far"))[0].host == "plain"


# --- where nova-compute says that instances are ------------------------------------------------------------------


def tracked(host, *names, gone=()):
    return events.InstancesTracked(
        host, tuple(events.TrackedInstance(uuid_of(name), {}) for name in names), tuple(map(uuid_of, gone))
    )


@pytest.mark.parametrize(
    "said, places",
    [
        ([tracked("a", "one", "two")], {"one": "a", "two": "a"}),
        ([tracked("a", "one"), tracked("b", "one")], {"one": "b"}),
        ([tracked("a", "one"), tracked("a", gone=["one"])], {}),
        ([tracked("b", "one"), tracked("a", gone=["one"])], {"one": "b"}),
        ([tracked("nowhere", "one")], {}),
        ([tracked("a", "one"), events.HostRemoved("a", "")], {}),
        ([tracked("a", "one"), tracked("a", "one")], {"one": "a"}),
    ],
)
def test_an_instance_is_where_it_was_said_to_be_last(said, places):
    cell = Cell(report("a"), report("b"), *said)
    found = {name: [instance.host for instance in cell.projection.instances(uuid_of(name))] for name in ("one", "two")}
    assert found == {name: [places[name]] if name in places else [] for name in found}
    assert not cell.projection.quarantine


def test_what_is_said_again_without_the_image_leaves_the_image():
    cell = Cell(
        report("a"),
        events.InstancesTracked("a", (events.TrackedInstance(uuid_of("one"), {"os_type": "x"}),), ()),
        tracked("a", "one"),
    )
    assert cell.projection.tracked.get(uuid_of("one")).image_properties == {"os_type": "x"}
