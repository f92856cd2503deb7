"""Use of providers and classes that a host does not report: dropped below level 2, counted on the host from there on.

That nothing is dropped and where it is counted is also checked after each event by ``tests.invariants``.
"""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.projection.use import strays_text
from rpc_api import events
from rpc_api.codec import decode_record, encode_record
from rpc_api.digest import pool_key
from rpc_api.packing import pack
from tests.builders import (
    Cell,
    claim,
    consumer,
    deleted,
    inventory_of,
    moved,
    of,
    pool,
    provider,
    released,
    report,
    started,
    tree,
    uuid_of,
)

PIN = events.LevelPinned(2)
CPUS = provider("numa", inventory_of("PCPU", 4), parent=0)
RENAMED = tree("a", root="a, again")


def used_on(cell, host):
    """Resource class -> what is used of it in a host's tree, where that is not 0."""
    table, rows = cell.projection.table, list(cell.projection.hosts[host].rows.values())
    sums = {name: int(table.used[index, rows].sum()) for index, name in enumerate(table.classes.values)}
    return {name: amount for name, amount in sums.items() if amount}


#: What happens, and what is used of the host a then: below level 2, and from there on.
STORIES = {
    "a provider that is not there": ([report("a", consumer("vm", of("gone", 8)))], {}, {"VCPU": 8}),
    "a class that the host does not have": ([report("a", consumer("vm", of("a", 8, "PCPU")))], {}, {}),
    "the class comes later": (
        [
            report("a", consumer("vm", of("a", 3, "PCPU"))),
            report("a", consumer("vm", of("a", 3, "PCPU")), inventory=tree("a", CPUS)),
        ],
        {},
        {"PCPU": 3},
    ),
    "a provider of another host": ([report("b"), report("a", consumer("vm", of("b", 2)))], {}, {"VCPU": 2}),
    "a claim while the uuid changes": (
        [report("a"), claim("vm", "a", of("a", 3)), report("a", inventory=RENAMED)],
        {},
        {"VCPU": 3},
    ),
    "it starts under the old uuid": (
        [report("a"), claim("vm", "a", of("a", 3)), report("a", inventory=RENAMED), started("vm", "a", of("a", 3))],
        {},
        {"VCPU": 3},
    ),
    "a start with a provider that is not there": ([report("a"), started("vm", "a", of("gone", 1))], {}, {"VCPU": 1}),
    "a child that vanishes": (
        [
            report("a", inventory=tree("a", provider("child", inventory_of(total=4), parent=0))),
            claim("vm", "a", of("child", 2), of("a", 1)),
            report("a"),
        ],
        {"VCPU": 1},
        {"VCPU": 3},
    ),
    "it comes back": (
        [
            report("a", inventory=tree("a", CPUS)),
            claim("vm", "a", of("numa", 2, "PCPU")),
            report("a"),
            report("a", inventory=tree("a", CPUS)),
        ],
        {"PCPU": 2},
        {"PCPU": 2},
    ),
    "its claim is released": (
        [report("a"), claim("vm", "a", of("a", 3)), report("a", inventory=RENAMED), released("vm")],
        {},
        {},
    ),
    "the instance is deleted": ([report("a", consumer("vm", of("gone", 8))), deleted("vm", "a")], {}, {}),
    "the instance is moved": (
        [report("a", consumer("vm", of("gone", 8))), moved("a", "vm", "migration")],
        {},
        {"VCPU": 8},
    ),
    "it runs with other use": (
        [report("a", consumer("vm", of("gone", 8))), report("a", consumer("vm", of("gone", 5), of("a", 1)))],
        {"VCPU": 1},
        {"VCPU": 6},
    ),
}


def said(cell):
    """(host, consumer) -> what it holds, which is the same on both sides of a pin."""
    return {
        (host.name, entry.consumer_uuid): entry.allocations
        for host in cell.projection.hosts.values()
        for entry in host.entries.values()
    }


@pytest.mark.parametrize("name", STORIES)
def test_what_is_counted_on_both_sides_of_a_pin(name):
    story, before, after = STORIES[name]
    cell = Cell(*story)
    assert used_on(cell, "a") == before
    pinned = Cell(PIN, *story)
    assert used_on(pinned, "a") == after
    assert said(cell) == said(pinned)
    # At the pin all hosts are counted again.
    cell.say(PIN)
    assert used_on(cell, "a") == after


@pytest.mark.parametrize("name", STORIES)
def test_a_snapshot_on_each_side_of_the_pin_goes_on_to_the_same_state(name):
    cell = Cell(*STORIES[name][0], PIN, claim("next", "a", of("a", 1)))
    records = [
        (position, decode_record(encode_record(record.epoch, record.events, record.level)))
        for position, record in cell.records
    ]
    for cut in range(1, len(records) + 1):
        first = Projection("cell1", HostTable())
        first.fold(records[:cut])
        loaded = snapshot.load(snapshot.dump(first), HostTable())
        loaded.fold(records[cut:])
        assert state_digest(loaded) == state_digest(cell.projection)
        assert {host.name: host.strays for host in loaded.hosts.values()} == {
            host.name: host.strays for host in cell.projection.hosts.values()
        }


@pytest.mark.parametrize("level, outcome", [(1, "accepted"), (2, "VCPU")])
def test_what_a_claim_holds_under_an_old_uuid_is_not_given_away(level, outcome):
    cell = Cell(*([PIN] if level == 2 else []), report("a"), claim("building", "a", of("a", 3)))
    cell.say(report("a", consumer("vm", of("a, again", 2)), inventory=RENAMED))
    assert cell.say(claim("next", "a", of("a, again", 4))) == outcome
    assert cell.say(claim("other", "a", of("a", 1))) == f"unknown provider {uuid_of('a')}"


def test_the_first_row_that_has_the_class_holds_it_the_root_first():
    """Children in the order of the report; another one if that provider does not have the class any more."""
    two = [provider(name, inventory_of("PCPU", 4), parent=0) for name in ("second", "third")]
    vm = consumer("vm", of("gone", 3, "PCPU"), of("gone", 1))
    cell = Cell(PIN, report("a", vm, inventory=tree("a", *two)))
    assert (cell.used("second", "PCPU"), cell.used("third", "PCPU"), cell.used("a")) == (3, 0, 1)
    cell.say(report("a", vm, inventory=tree("a", two[1])))
    assert (cell.used("third", "PCPU"), cell.used("a")) == (3, 1)


@pytest.mark.parametrize("pin", [(), (PIN,)])
def test_strays_are_noted(pin):
    cell = Cell(*pin)
    vm = consumer("vm", of("gone", 8), of("a", 1, "PCPU"))
    assert cell.say(report("a", vm)) == "stray-use"
    assert cell.noted[-1].host == "a" and not cell.noted[-1].resync
    assert cell.noted[-1].detail == (
        f"instances use 8 VCPU of the provider {uuid_of('gone')}, 1 PCPU of the provider {uuid_of('a')}, which the "
        "host does not report"
    )
    assert cell.say(started("other", "a")) == "unclaimed-start"
    assert cell.say(started("third", "a", of("gone", 1))) == "unclaimed-start, stray-use"
    cell.say(deleted("vm", "a"))
    cell.say(deleted("third", "a"))
    assert cell.projection.hosts["a"].strays == {}


# --- devices ---------------------------------------------------------------------------------------------------------


def with_pool(host, **tags):
    return tree(host, pci_pools=(pool(2, **tags),))


def using(name, used_pool, node=None):
    """An instance with a device of a pool, and CPUs of a NUMA node."""
    numa = () if node is None else (events.NUMAUse(node, 0, 1, (), (), False, 64, 0),)
    guest = events.Guest(numa, (events.PCIUse(pool_key(used_pool), 1, None),), {})
    return consumer(name, of("a", 1))._replace(guest=pack(guest))


def test_devices_that_a_host_does_not_report_any_more_are_noted_and_shown():
    cell = Cell()
    vm = using("vm", pool(2, physical_network="old"), node=7)
    assert "stray-use" in cell.say(report("a", vm, inventory=with_pool("a", physical_network="old")))
    host = cell.projection.hosts["a"]
    assert host.unreported == {("NUMA node 7", "guest nodes"): 1}
    assert cell.say(report("a", vm, inventory=with_pool("a", physical_network="new"))) == "stray-use"
    assert host.unreported == {
        ("NUMA node 7", "guest nodes"): 1,
        (f"PCI pool {pool_key(pool(2, physical_network='old'))}", "PCI devices"): 1,
    }
    assert "1 PCI devices of PCI pool" in strays_text(host) and "1 guest nodes of NUMA node 7" in strays_text(host)
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert loaded.hosts["a"].unreported == host.unreported
    assert cell.say(report("a", vm)) == "stray-use"  # a host without pools and nodes
    assert host.stray_devices and snapshot.load(snapshot.dump(cell.projection)).hosts["a"].unreported == host.unreported
    cell.say(report("a"))
    assert host.unreported == {}
