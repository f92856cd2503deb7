"""What a machine says of itself, from small trees in the form of /sys, and which of its PCI devices are offered."""

import json
import os

import pytest

from compute_agent.drivers.device_spec import pools_of, specs_of
from compute_agent.drivers.local import CPUs, LocalDriver, cpus_of
from compute_agent.drivers.sysfs import Device, cpus_in, numa_cells, pci_devices
from nova_sched.projection.devices import fault_of
from rpc_api import errors, events

SMALL_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def machine(tmp_path):
    """Two nodes of two cores with two threads each, and a third one without CPUs; a NIC with two virtual functions."""
    cpus, nodes, devices = "devices/system/cpu", "devices/system/node", "bus/pci/devices"
    for cpu in range(8):
        core = cpu % 4
        put(
            tmp_path,
            {
                f"{cpus}/cpu{cpu}/topology/physical_package_id": str(core // 2),
                f"{cpus}/cpu{cpu}/topology/thread_siblings_list": f"{core},{core + 4}",
            },
        )
    for node, own in enumerate(("0-1,4-5", "2-3,6-7", "")):
        put(
            tmp_path,
            {
                f"{nodes}/node{node}/cpulist": own,
                f"{nodes}/node{node}/meminfo": f"Node {node} MemTotal:       {(node + 1) * 8192} kB",
                f"{nodes}/node{node}/hugepages/hugepages-2048kB/nr_hugepages": str(node),
            },
        )
    (tmp_path / nodes / "has_cpu").write_text("0-1")
    for address, product, node in (
        ("0000:3b:00.0", "1572", "0"),
        ("0000:3b:02.0", "154c", "0"),
        ("0000:3b:02.1", "154c", "0"),
        ("0000:5e:00.0", "0443", "-1"),
    ):
        put(
            tmp_path,
            {
                f"{devices}/{address}/vendor": "0x8086",
                f"{devices}/{address}/device": f"0x{product}",
                f"{devices}/{address}/numa_node": node,
            },
        )
    put(
        tmp_path,
        {
            f"{devices}/0000:3b:00.0/sriov_totalvfs": "64",
            f"{devices}/0000:5e:00.0/sriov_totalvfs": "0",
            f"{devices}/0000:3b:00.0/net/eth0/mtu": "1500",
            f"{devices}/0000:3b:02.1/vdpa0/uevent": "",
        },
    )
    for number in range(2):
        (tmp_path / devices / f"0000:3b:02.{number}" / "physfn").symlink_to("../0000:3b:00.0")
    return tmp_path


def test_numa_nodes(machine):
    def cell(number, shared, siblings, huge):
        memory_kb = (number + 1) * 8192
        pages = (events.HostPages(SMALL_KB, (memory_kb - huge * 2048) // SMALL_KB, 0), events.HostPages(2048, huge, 0))
        return events.HostNUMACell(number, number, shared, (), siblings, memory_kb // 1024, pages)

    assert numa_cells(machine) == (
        cell(0, (0, 1, 4, 5), ((0, 4), (1, 5)), 0),
        cell(1, (2, 3, 6, 7), ((2, 6), (3, 7)), 1),
    )
    assert numa_cells(machine, {2, 6, 7}) == (cell(1, (2, 6, 7), ((2, 6), (7,)), 1),)
    pinned = cell(1, (6,), ((2, 6), (7,)), 1)._replace(dedicated_cpus=(2, 7))
    assert numa_cells(machine, {6}, {2, 7}) == (pinned,)


def test_a_machine_that_says_nothing(tmp_path):
    assert numa_cells(tmp_path) == () and pci_devices(tmp_path) == []
    put(tmp_path, {"devices/system/node/node0/cpulist": "0-1"})
    assert numa_cells(tmp_path) == (
        events.HostNUMACell(0, None, (0, 1), (), ((0,), (1,)), 0, (events.HostPages(SMALL_KB, 0, 0),)),
    )


def test_pci_devices(machine):
    (machine / "bus/pci/devices" / "no device").mkdir()
    nic = ("0000:3b:00.0", ())
    assert pci_devices(machine) == [
        Device("0000:3b:00.0", "8086", "1572", 0, "type-PF", None, ("eth0",), ()),
        Device("0000:3b:02.0", "8086", "154c", 0, "type-VF", *nic, ("eth0",)),
        Device("0000:3b:02.1", "8086", "154c", 0, "vdpa", *nic, ("eth0",)),
        Device("0000:5e:00.0", "8086", "0443", None, "type-PCI", None, (), ()),
    ]


@pytest.mark.parametrize(
    "text, cpus", [("0-2,8", {0, 1, 2, 8}), ("", set()), (" 4 , 0-5,^2", {0, 1, 3, 4, 5}), ("^1", set())]
)
def test_lists_of_cpus(text, cpus):
    assert cpus_in(text, "it") == cpus


@pytest.mark.parametrize("text", ["3-1", "x", "-1", "1-", "0x3", "1234567"])
def test_lists_that_are_none(text):
    with pytest.raises(errors.UsageError, match="^it is .*wanted numbers and ranges of CPUs"):
        cpus_in(text, "it")


NIC, ONE, TWO, QAT = (f"0000:{short}" for short in ("3b:00.0", "3b:02.0", "3b:02.1", "5e:00.0"))


@pytest.mark.parametrize(
    "spec, chosen",
    [
        ({}, [NIC, ONE, TWO, QAT]),
        ({"vendor_id": "8086", "product_id": "154C"}, [ONE, TWO]),
        ({"vendor_id": "*", "product_id": " * "}, [NIC, ONE, TWO, QAT]),
        ({"product_id": "443"}, [QAT]),
        ({"vendor_id": "10de"}, []),
        ({"address": "0000:3b:02.1"}, [TWO]),
        ({"address": "3b:2.1"}, [TWO]),
        ({"address": "*:3b:*.0"}, [NIC, ONE]),
        ({"address": ":5e:"}, [QAT]),
        ({"address": "0000:3b:00.0"}, [NIC, ONE, TWO]),
        ({"address": "0000:3b:00.0", "product_id": "154c"}, [ONE, TWO]),
        ({"address": {"bus": "3b", "function": "[1-7]"}}, [TWO]),
        ({"address": {"domain": ".*", "bus": "(5e|60)"}}, [QAT]),
        ({"devname": "eth0"}, [NIC, ONE, TWO]),
        ({"devname": "eth1"}, []),
    ],
)
def test_devices_that_a_spec_chooses(machine, spec, chosen):
    devices = pci_devices(machine)
    types = {device.address: device.dev_type for device in devices}
    (one,) = specs_of([json.dumps(spec)])
    assert [device.address for device in devices if one.chooses(device, types)] == chosen


def test_pools(machine):
    specs = specs_of(
        [
            '[{"product_id": "154c", "physical_network": "net1", "trusted": true, "live_migratable": "Yes"},'
            ' {"product_id": "154c", "physical_network": "late"}]',
            '{"product_id": "0443", "resource_class": "X", "traits": "T", "managed": "no", "a": null}',
        ]
    )
    vf = Device("0000:3b:02.2", "8086", "154c", 0, "type-VF", "0000:3b:00.0", (), ("eth0",))
    nic = {
        "address": "0000:3b:00.0",
        "live_migratable": "true",
        "parent_ifname": "eth0",
        "physical_network": "net1",
        "remote_managed": "false",
        "trusted": "True",
    }
    pools = pools_of([*pci_devices(machine), vf], specs)
    assert pools == (
        events.PCIPool("8086", "154c", 0, {**nic, "dev_type": "type-VF"}, 2),
        events.PCIPool("8086", "154c", 0, {**nic, "dev_type": "vdpa"}, 1),
        events.PCIPool(
            "8086", "0443", None, {"a": None, "address": "0000:5e:00.0", "dev_type": "type-PCI", "managed": "false"}, 1
        ),
    )
    assert pools_of(pci_devices(machine), ()) == ()


@pytest.mark.parametrize(
    "text, fault",
    [
        ("{", "Expecting property name"),
        ("3", "wanted a JSON object"),
        ('["a"]', "wanted a JSON object"),
        ('{"vendor_id": "xyz"}', "invalid literal"),
        ('{"vendor_id": "12345"}', "wanted at most FFFF"),
        ('{"vendor_id": 8086}', "vendor_id is 8086, wanted text"),
        ('{"address": 3}', "the address is 3, wanted text"),
        ('{"address": "0:0:0:0.0"}', "too many parts"),
        ('{"address": "00:20.0"}', "slot is 20, wanted at most 1F"),
        ('{"address": {"bus": "("}}', "unterminated"),
        ('{"address": "3b:00.0", "devname": "eth0"}', "not both"),
        ('{"physical_network": ["a"]}', "wanted text for each tag"),
        ('{"managed": "maybe"}', "maybe"),
        ('{"numa_node": "0"}', "a tag cannot be called"),
    ],
)
def test_specs_that_make_no_sense(text, fault):
    with pytest.raises(errors.UsageError, match=r"^\[pci\] device_spec has .*fix it") as raised:
        specs_of([text])
    assert fault in str(raised.value)


def test_the_local_driver_reports_them(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    driver = LocalDriver("me", tmp_path / "state", device_specs=specs_of(['{"product_id": "0443"}']), sys_path=machine)
    inventory = driver.inventory()
    assert [cell.shared_cpus for cell in inventory.numa_cells] == [(0, 1), (2, 3)]
    assert [(pool.product_id, pool.count) for pool in inventory.pci_pools] == [("0443", 1)]
    assert fault_of(inventory) is None
    assert LocalDriver("me", tmp_path / "state", sys_path=machine).inventory().pci_pools == ()


@pytest.mark.parametrize(
    "dedicated, shared, expected",
    [
        (None, None, ({0, 1, 2, 3}, ())),
        ("", "", ({0, 1, 2, 3}, ())),
        ("2-3", None, ((), {2, 3})),
        (None, "0-2,^1", ({0, 2}, ())),
        ("0,2", "1,3", ({1, 3}, {0, 2})),
    ],
)
def test_cpus_that_guests_may_have(dedicated, shared, expected):
    assert cpus_of(dedicated, shared, range(4)) == tuple(map(frozenset, expected))


@pytest.mark.parametrize(
    "dedicated, shared, words",
    [
        ("2-4", None, r"\[compute\] cpu_dedicated_set is '2-4', and this machine has no CPU 4"),
        (None, "x", r"\[compute\] cpu_shared_set is 'x', wanted numbers and ranges"),
        ("1-2", "2-3", "CPU 2 is in .* cpu_shared_set and in cpu_dedicated_set"),
    ],
)
def test_cpus_that_make_no_sense(dedicated, shared, words):
    with pytest.raises(errors.UsageError, match=words):
        cpus_of(dedicated, shared, range(4))


@pytest.mark.parametrize(
    "cpus, amounts",
    [
        (CPUs(frozenset({0}), frozenset({2, 3})), {"VCPU": (1, 4.0), "PCPU": (2, 1.0)}),
        (CPUs(frozenset(), frozenset({2, 3})), {"PCPU": (2, 1.0)}),
    ],
)
def test_dedicated_cpus_are_reported(machine, tmp_path, cpus, amounts):
    inventory = LocalDriver("me", tmp_path / "state", sys_path=machine, cpus=cpus).inventory()
    reported = {one.resource_class: (one.total, one.allocation_ratio) for one in inventory.providers[0].inventories}
    assert {name: reported.get(name) for name in ("VCPU", "PCPU")} == {"VCPU": None, **amounts}
    assert [cpu for cell in inventory.numa_cells for cpu in cell.dedicated_cpus] == sorted(cpus.dedicated)
    assert fault_of(inventory) is None
