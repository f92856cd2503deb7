"""The facts of hosts and instances come from a database that the real Nova has written."""

import pytest

from nova_sched.migration import cell_database
from rpc_api import errors, events
from rpc_api.digest import pool_key
from tests.against_nova.conftest import running_peer
from tests.nova_sched.migration.clouds import small
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
    assert found.guests.keys() == {PINNED}
    guest = events.thaw("Guest", found.guests[PINNED])
    assert guest.numa == (events.NUMAUse(1, 0, 0, ((0, 6), (1, 7)), (5,), True, 1024, 4),)
    (pool,) = events.thaw("HostInventory", found.reports["host-1"].inventory).pci_pools
    assert guest.pci == (events.PCIUse(pool_key(pool), 1, uuid_of("request")),)
    assert found.images == {PINNED: {"hw_disk_bus": "virtio"}}


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
