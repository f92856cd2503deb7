"""The facts of hosts and instances come from a database that the real Nova has written."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from nova_sched.migration import cell_database
from rpc_api import errors, events
from rpc_api.digest import pool_key
from tests.against_nova.conftest import running_peer
from tests.nova_sched.migration.clouds import small, tapped
from tests.placement_api.regions import uuid_of

pytestmark = pytest.mark.nova

SERVICE = {"disabled": True, "disabled_reason": "disk", "forced_down": False}
CELLS = [
    {"id": 0, "shared": [0, 1], "dedicated": [2, 3], "memory_mb": 4096, "siblings": [[0, 1], [2, 3]]},
    {"id": 1, "shared": [4, 5], "dedicated": [6, 7], "memory_mb": 4096, "siblings": [[4, 5], [6, 7]]},
]
PINNED, PLAIN = uuid_of("vm-1"), uuid_of("vm-2")
DEVICES = [
    {"address": "0000:81:00.1", "status": "available"},
    {"address": "0000:81:00.2", "status": "allocated", "instance_uuid": PINNED, "request_id": uuid_of("request")},
    {"address": "0000:81:00.3", "status": "available"},
]
HOSTS = [
    {"name": "host-1", "uuid": uuid_of("host-1"), "service": SERVICE, "numa": CELLS, "devices": DEVICES},
    {
        "name": "host-2",
        "uuid": uuid_of("host-2"),
        "service": {"disabled": False, "forced_down": True},
        "numa": [],
        "devices": [],
    },
]
INSTANCES = [
    {
        "uuid": PINNED,
        "host": "host-1",
        "system_metadata": {"image_hw_disk_bus": "virtio", "image_unknown": "x", "boot_roles": "admin"},
        "numa": [
            {
                "id": 1,
                "shared": [],
                "pins": {"0": 6, "1": 7},
                "memory_mb": 1024,
                "page_kb": 4,
                "thread_policy": "isolate",
                "reserved": [5],
            }
        ],
    },
    {"uuid": PLAIN, "host": "host-2", "system_metadata": {}, "numa": []},
]


@pytest.fixture(scope="module")
def peer():
    yield from running_peer("nova", "nova_cell_database.py")


@pytest.fixture(scope="module")
def databases(peer, tmp_path_factory):
    """(URL of the cell's database, URL of the API's, the version of the services)."""
    files = [str(tmp_path_factory.mktemp("databases") / name) for name in ("cell", "api")]
    answer = peer.ask("make", *files, HOSTS, INSTANCES)
    assert "answer" in answer, answer
    return [*(f"sqlite:///{file}" for file in files), str(answer["answer"])]


def test_hosts_are_as_nova_has_them(peer, databases):
    found = cell_database.read(databases[0])
    assert found.faults == [] and found.nodes == {uuid_of("host-1"): "host-1", uuid_of("host-2"): "host-2"}
    big, small = (found.reports[name] for name in ("host-1", "host-2"))
    assert (big.status.disabled, big.status.disabled_reason, big.status.forced_down) == (True, "disk", False)
    assert (big.status.failed_builds, big.status.num_io_ops) == (3, 2)
    assert (small.status.disabled, small.status.forced_down) == (False, True)
    inventory = events.thaw("HostInventory", big.inventory)
    assert (inventory.nodename, inventory.host_ip, inventory.hypervisor_type) == ("host-1", "192.0.2.7", "QEMU")
    assert inventory.supported_instances == (("x86_64", "kvm", "hvm"),)
    assert inventory.stats == {"service_version": databases[2], "tier": "gold"}
    assert (inventory.root_uuid, inventory.authority, inventory.providers) == (uuid_of("host-1"), "nova", ())
    assert [(cell.id, cell.shared_cpus, cell.dedicated_cpus, cell.memory_mb) for cell in inventory.numa_cells] == [
        (0, (0, 1), (2, 3), 4096),
        (1, (4, 5), (6, 7), 4096),
    ]
    # All devices of the pool, of which Nova has the free ones.
    (pool,) = inventory.pci_pools
    assert (pool.count, pool.tags["physical_network"]) == (3, "net1")
    assert peer.ask("read_back", "host-1")["answer"] == {
        "uuid": uuid_of("host-1"),
        "pools": [["8086", 2]],
        "cells": len(inventory.numa_cells),
    }


def test_guests_are_as_nova_has_them(databases):
    found = cell_database.read(databases[0])
    assert found.guests.keys() == {(PINNED, "host-1")}
    guest = events.thaw("Guest", found.guests[PINNED, "host-1"])
    assert guest.numa == (events.NUMAUse(1, 0, 0, ((0, 6), (1, 7)), (5,), True, 1024, 4),)
    (pool,) = events.thaw("HostInventory", found.reports["host-1"].inventory).pci_pools
    assert guest.pci == (events.PCIUse(pool_key(pool), 1, uuid_of("request")),)
    assert found.images == {PINNED: {"hw_disk_bus": "virtio"}}


# --- instances that are moved ----------------------------------------------------------------------------------------

RESIZED, ON_ITS_HOST, OVER = uuid_of("vm-1"), uuid_of("vm-2"), uuid_of("gold")
MIGRATION, OF_ITS_HOST = uuid_of("migration"), uuid_of("migration of its host")


def device(function, instance=None, request="request"):
    """A device of a host; one that an instance has, if it is named."""
    found = {"address": f"0000:81:00.{function}", "status": "available"}
    if instance is None:
        return found
    return found | {"status": "allocated", "instance_uuid": instance, "request_id": uuid_of(request)}


def guest_on(cell, memory_mb):
    """The one NUMA node of a guest."""
    one = {"id": cell, "shared": [0], "pins": {}, "memory_mb": memory_mb, "page_kb": 4}
    return [one | {"thread_policy": None, "reserved": []}]


def moving_host(name, *devices):
    return {
        "name": name,
        "uuid": uuid_of(name),
        "service": {"disabled": False, "forced_down": False},
        "numa": CELLS,
        "devices": list(devices),
    }


def moved(uuid, host, memory_mb, migration, source, status, old_devices=()):
    move = {"uuid": migration, "source": source, "dest": host, "status": status}
    return {
        "uuid": uuid,
        "host": host,
        "system_metadata": {},
        "numa": guest_on(1, memory_mb),
        "move": {**move, "old_numa": guest_on(0, 512), "old_devices": list(old_devices)},
    }


@pytest.fixture(scope="module")
def another_peer():
    """Nova opens one database per process."""
    yield from running_peer("nova", "nova_cell_database.py")


@pytest.fixture(scope="module")
def moving(another_peer, tmp_path_factory):
    """URL of the database of a cell: one server is resized to another host (2 devices there, 1 on the old one), one on
    its host (1 device before, 1 after), and the move of one is over."""
    files = [str(tmp_path_factory.mktemp("moving") / name) for name in ("cell", "api")]
    hosts = [
        moving_host("host-1", device(0), device(1, RESIZED, "old")),
        moving_host(
            "host-2",
            device(0),
            device(1, RESIZED),
            device(2, RESIZED),
            device(3, ON_ITS_HOST, "old"),
            device(4, ON_ITS_HOST),
        ),
    ]
    instances = [
        moved(RESIZED, "host-2", 1024, MIGRATION, "host-1", "finished", [(1, "0000:81:00.1")]),
        moved(ON_ITS_HOST, "host-2", 2048, OF_ITS_HOST, "host-2", "finished", [(2, "0000:81:00.3")]),
        moved(OVER, "host-1", 256, uuid_of("over"), "host-2", "confirmed"),
    ]
    answer = another_peer.ask("make", *files, hosts, instances)
    assert "answer" in answer, answer
    return f"sqlite:///{files[0]}"


def in_words(guest):
    """(NUMA node of the host, MB of it) and (number of devices, their request) of a packed Guest."""
    found = events.thaw("Guest", guest)
    return [(use.cell, use.memory_mb) for use in found.numa], [(use.count, use.request_id) for use in found.pci]


def test_an_instance_that_is_moved_has_a_guest_on_each_host(moving):
    """What it has on its old host belongs to the migration, also if both are the same host."""
    found = cell_database.read(moving)
    assert found.faults == []
    assert {place: in_words(guest) for place, guest in found.guests.items()} == {
        (MIGRATION, "host-1"): ([(0, 512)], [(1, uuid_of("old"))]),
        (RESIZED, "host-2"): ([(1, 1024)], [(2, uuid_of("request"))]),
        (OF_ITS_HOST, "host-2"): ([(0, 512)], [(1, uuid_of("old"))]),
        (ON_ITS_HOST, "host-2"): ([(1, 2048)], [(1, uuid_of("request"))]),
        (OVER, "host-1"): ([(1, 256)], []),
    }
    assert found.moves == {
        MIGRATION: cell_database.Move(RESIZED, "host-1", "host-2"),
        OF_ITS_HOST: cell_database.Move(ON_ITS_HOST, "host-2", "host-2"),
    }


def test_an_import_of_instances_that_are_moved(stock, nova, ours, moving):
    """Both hosts are held with their devices, NUMA nodes and server group until the move ends."""
    small(stock)
    nova.servers = {"vm-1": ("host-2", {}), "vm-2": ("host-2", {})}
    put = stock.client.put
    assert put(RESIZED, 1, {uuid_of("host-2"): {"VCPU": 1}}).status == 204
    assert put(MIGRATION, None, {uuid_of("host-1"): {"VCPU": 1}}).status == 204
    words = ["--nova", nova.url, "--cell-database", f"cell1={moving}"]
    code, out, err = ours.run("import", *words)
    assert (code, err) == (0, ""), (out, err)
    state = ours.state()
    for consumer, host, numa in ((RESIZED, "host-2", [(1, 1024)]), (MIGRATION, "host-1", [(0, 512)])):
        (entry,) = state.consumers[consumer]
        assert (entry.host, entry.instance_uuid, entry.rule.group_uuid) == (host, RESIZED, uuid_of("group"))
        assert in_words(entry.guest)[0] == numa
    assert ours.run("compare", *words)[:2] == (0, "")
    position = state.position
    assert ours.run("import", *words)[0] == 0 and ours.state().position == position
    # Confirmed: the migration gives up the old host.
    assert stock.client.ask("DELETE", f"/allocations/{MIGRATION}").status == 204
    assert ours.run("import", *words)[0] == 0
    assert MIGRATION not in ours.state().consumers


def changed_copy(databases, path, *statements):
    """The URL of a copy of a cell's database after some statements."""
    path.write_bytes(Path(databases[0].removeprefix("sqlite:///")).read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{path}"


#: Facts of host-1 that nova-compute has saved, and that no tap has seen -> the lines of the comparison.
FACTS = {
    "a new hypervisor": (
        "UPDATE compute_nodes SET hypervisor_version = 9000000 WHERE host = 'host-1'",
        ["facts hypervisor_version: 9000000 in the cloud, 7002000 in the logs"],
    ),
    "a capability": (
        """UPDATE compute_nodes SET stats = '{"tier": "silver", "new": "1"}' WHERE host = 'host-1'""",
        ["stats new: 1 in the cloud, nothing in the logs", "stats tier: silver in the cloud, gold in the logs"],
    ),
    "no NUMA nodes any more": (
        "UPDATE compute_nodes SET numa_topology = NULL WHERE host = 'host-1'",
        [
            f"NUMA node {node} {field}: nothing in the cloud, {value} in the logs"
            for node, cpus, pinned, siblings in (("0", "0 1", "2 3", "0-1 2-3"), ("1", "4 5", "6 7", "4-5 6-7"))
            for field, value in (
                ("dedicated_cpus", pinned),
                ("memory_mb", 4096),
                ("pages", "1048576 of 4 KB, 0 reserved"),
                ("shared_cpus", cpus),
                ("siblings", siblings),
                ("socket", 0),
                ("tunneled", False),
            )
        ],
    ),
    "a device more": (
        "UPDATE compute_nodes SET pci_stats = replace(pci_stats, '\"count\": 2', '\"count\": 3')",
        [
            "PCI pool 8086:1515 (NUMA node 0, address=0000:81:00.0, dev_type=type-VF, physical_network=net1): "
            "4 in the cloud, 3 in the logs"
        ],
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_no_tap_has_seen_are_named_and_written(name, stock, nova, ours, databases, tmp_path):
    statement, lines = FACTS[name]
    small(stock)
    assert ours.run("import", "--nova", nova.url, "--cell-database", f"cell1={databases[0]}")[0] == 0
    status = ours.state().hosts["host-1"].status
    words = ["--nova", nova.url, "--cell-database", f"cell1={changed_copy(databases, tmp_path / 'cell', statement)}"]
    code, out, _ = ours.run("compare", *words)
    assert (code, out.splitlines()) == (1, [f"host host-1: {line}" for line in lines])
    code, out, err = ours.run("import", *words)
    assert code == 0 and ", 1 event written, 0 without effect" in out, (out, err)
    assert ours.state().hosts["host-1"].status == status
    position = ours.state().position
    assert ours.run("import", *words)[0] == 0 and ours.state().position == position
    assert ours.run("compare", "--placement-only", *words[2:])[:2] == (0, "")


def test_a_compute_node_without_a_service_gets_no_instances(databases, tmp_path):
    """Its provider still belongs to its cell."""
    statement = "UPDATE services SET deleted = id WHERE host = 'host-2'"
    found = cell_database.read(changed_copy(databases, tmp_path / "cell", statement))
    assert found.reports.keys() == {"host-1"} and found.nodes[uuid_of("host-2")] == "host-2"
    assert found.faults == [
        f"the compute node {uuid_of('host-2')} of host-2 has no service, so host-2 gets no instances; start its "
        "nova-compute, or delete the row"
    ]


def test_bare_metal_nodes_of_one_host_are_left_to_the_tap(stock, nova, ours, databases, tmp_path):
    """The tap chooses one of them, and an import has no other opinion."""
    statement = "UPDATE compute_nodes SET hypervisor_type = 'ironic', host = 'host-1'"
    url = changed_copy(databases, tmp_path / "cell", statement)
    found = cell_database.read(url)
    assert not found.reports and set(found.nodes.values()) == {"host-1"}
    (fault,) = found.faults
    assert fault.startswith("the host host-1 has 2 bare-metal nodes (Ironic)") and "left to the tap" in fault
    small(stock)
    del nova.services["host-2"]
    nova.host_of_node = {"host-2": "host-1"}
    nova.servers = {}
    nova.aggregates = {}
    words = ["--nova", nova.url, "--cell-database", f"cell1={url}"]
    code, _, err = ours.run("import", *words)
    assert code == 0 and fault in err and "note: 1 host (host-1): a nova-compute with several compute nodes" in err
    tapped(ours, "host-1")
    assert ours.run("import", *words)[:2] == (0, "5 providers, 3 consumers: no differences left\n")


def test_the_cells_of_hosts(databases):
    assert cell_database.hosts_of_cells(databases[1]) == {"host-1": "cell1", "host-2": "cell1"}


@pytest.mark.parametrize(
    "url, kind, told",
    [
        ("sqlite:////nowhere/at/all", errors.ServiceUnavailable, "unable to open database file"),
        ("mysql+pymysql://u:secret@127.0.0.1:1/nova", errors.ServiceUnavailable, "Can't connect to MySQL server"),
        ("nonsense", errors.UsageError, "the URL of the database cannot be used"),
    ],
)
def test_databases_that_cannot_be_read(url, kind, told):
    with pytest.raises(kind) as raised:
        cell_database.read(url)
    assert told in str(raised.value) and "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_database_of_something_else(databases):
    with pytest.raises(errors.ServiceUnavailable, match="no such table: services"):
        cell_database.read(databases[1])


def test_what_an_import_takes_from_it(stock, nova, ours, databases):
    """The host that no tap has reported is there with its NUMA nodes and devices, and with what instances use of them;
    so is the service of the host, and the properties of images."""
    small(stock)
    nova.services["host-1"].update(status="disabled", disabled_reason="disk")
    nova.services["host-2"].update(forced_down=True, state="down")
    words = ["--nova", nova.url, "--cell-database", f"cell1={databases[0]}"]
    code, out, err = ours.run("import", *words)
    assert (code, err) == (0, ""), (out, err)
    state = ours.state()
    host, (entry,) = state.hosts["host-1"], state.consumers[PINNED]
    assert (host.authority, host.status.disabled, entry.host) == ("nova", True, "host-1")
    assert len(events.thaw("Guest", entry.guest).numa) == 1 and state.tracked.get(PINNED).image_properties
    devices = state.table.devices(host.root)
    assert devices.cell_uses[1].pinned >= {6, 7}
    position = state.position
    assert ours.run("import", *words)[0] == 0 and ours.state().position == position
    assert ours.run("compare", *words)[:2] == (0, "")


def test_the_cells_of_hosts_come_from_the_api_database(stock, nova, two_cells, databases):
    small(stock)
    two_cells.run("import", "--nova", nova.url, "--api-database", databases[1])
    assert sorted(two_cells.state("cell1").provider_names) == ["host-1", "host-2", "numa-1", "numa-2"]
    assert sorted(two_cells.state("cell0").provider_names) == ["storage"]
