"""HostState: the attributes that nova's has, over one row, to read and not to write."""

import copy

import pytest

from nova_sched.nova_compat.host_state import HostState
from rpc_api import events
from tests.asked import Asked
from tests.builders import claim, consumer, group, inventory_of, of, report, request, tree, uuid_of

HOST_STATE = """host nodename uuid cell_uuid total_usable_ram_mb total_usable_disk_gb disk_mb_used free_ram_mb
    free_disk_mb vcpus_total vcpus_used pci_stats numa_topology num_instances num_io_ops failed_builds host_ip
    hypervisor_type hypervisor_version hypervisor_hostname cpu_info supported_instances limits metrics aggregates
    instances ram_allocation_ratio cpu_allocation_ratio disk_allocation_ratio service stats updated
    allocation_candidates""".split()
NUMA = events.HostNUMACell(0, 1, (0, 1), (2, 3), ((2, 3),), 4096, (events.HostPages(4, 1000, 10),), ("physnet1",), True)
POOL = events.PCIPool("8086", "1520", 0, {"dev_type": "type-VF"}, 4)
INVENTORY = tree(
    "h1",
    inventories=(inventory_of("VCPU", 8, ratio=2.0), inventory_of("MEMORY_MB", 8192, 512), inventory_of("DISK_GB", 50)),
    host_ip="192.0.2.1",
    cpu_info='{"vendor": "AMD"}',
    supported_instances=(("x86_64", "kvm", "hvm"),),
    stats={"speed": "10"},
    numa_cells=(NUMA,),
    pci_pools=(POOL,),
)


def aggregate(name, *hosts, **metadata):
    return events.AggregateUpdated(uuid_of(name), name, hosts, metadata)


@pytest.fixture
def cloud():
    asked = Asked(
        report(
            "h1",
            consumer("vm-1", of("h1", 2), of("h1", 1024, "MEMORY_MB"), of("h1", 10, "DISK_GB")),
            inventory=INVENTORY,
            num_io_ops=3,
            failed_builds=1,
            metrics={"cpu.percent": 17.9, "cpu.frequency": -2.5},
            numa_metrics=[("numa.membw.current", 1, 7), ("numa.membw.current", 0, 5)],
        ),
        report("h2"),
        aggregate("a1", "h1", "h2", speed="fast"),
        aggregate("a2", "h2"),
    )
    asked.in_flight.add(claim("vm-2", "h1", of("h1", 1)))
    asked.table.cell_uuids["cell1"] = uuid_of("cell1")
    return asked


def state_of(cloud, host="h1"):
    return cloud.scope(request(group(VCPU=1))).host_state(cloud.table.row_of_host[host])


#: Attribute -> its value for h1, amounts with the claim in flight.
PLAIN = {
    "host": "h1",
    "nodename": "h1",
    "hypervisor_hostname": "h1",
    "uuid": uuid_of("h1"),
    "cell": "cell1",
    "cell_uuid": uuid_of("cell1"),
    "total_usable_ram_mb": 8192,
    "free_ram_mb": 8192 - 512 - 1024,
    "total_usable_disk_gb": 50,
    "free_disk_mb": 40 * 1024,
    "disk_mb_used": 10 * 1024,
    "vcpus_total": 8,
    "vcpus_used": 3,
    "num_instances": 2,
    "num_io_ops": 4,
    "failed_builds": 1,
    "host_ip": "192.0.2.1",
    "hypervisor_type": "QEMU",
    "hypervisor_version": 8002000,
    "cpu_info": '{"vendor": "AMD"}',
    "supported_instances": [["x86_64", "kvm", "hvm"]],
    "limits": {},
    "stats": {"speed": "10"},
    "updated": None,
    "cpu_allocation_ratio": 2.0,
    "ram_allocation_ratio": 1.0,
    "disk_allocation_ratio": 1.0,
    "service": {"host": "h1", "binary": "nova-compute", "topic": "compute", "disabled": False, "up": True},
    "allocation_candidates": [
        {"allocations": {uuid_of("h1"): {"resources": {"VCPU": 1}}}, "mappings": {"": [uuid_of("h1")]}}
    ],
}


@pytest.mark.parametrize("name", PLAIN)
def test_values(cloud, name):
    assert getattr(state_of(cloud), name) == PLAIN[name]


def test_it_has_every_attribute_that_novas_has(cloud):
    state = state_of(cloud, "h2")
    assert [name for name in HOST_STATE if not hasattr(state, name)] == []


def test_aggregates(cloud):
    (one,) = state_of(cloud).aggregates
    assert (one.uuid, one.name, one.hosts, one.metadata) == (uuid_of("a1"), "a1", ["h1", "h2"], {"speed": "fast"})
    assert [one.name for one in state_of(cloud, "h2").aggregates] == sorted(("a1", "a2"), key=uuid_of)


def test_instances_are_those_that_run_and_those_in_flight(cloud):
    found = state_of(cloud).instances
    assert set(found) == {uuid_of("vm-1"), uuid_of("vm-2")}
    assert (found[uuid_of("vm-1")].uuid, found[uuid_of("vm-1")].project_id) == (uuid_of("vm-1"), "project")
    assert state_of(cloud, "h2").instances == {}


def test_metrics(cloud):
    """Values are cut to whole numbers, as in Nova's MonitorMetric."""
    frequency, percent, bandwidth = state_of(cloud).metrics
    assert (frequency.name, frequency.value, frequency.numa_membw_values) == ("cpu.frequency", -2, None)
    assert (percent.name, percent.value, type(percent.value)) == ("cpu.percent", 17, int)
    assert (bandwidth.name, bandwidth.numa_membw_values) == ("numa.membw.current", {"0": 5, "1": 7})
    assert (bandwidth.timestamp, bandwidth.source) == (None, "")
    # In Nova it is not set, and reading it raises NotImplementedError.
    with pytest.raises(AttributeError, match="has no 'value'"):
        _ = bandwidth.value
    assert state_of(cloud, "h2").metrics == []


def test_devices(cloud):
    (cell,) = state_of(cloud).numa_topology.cells
    assert (cell.id, cell.socket, cell.cpuset, cell.pcpuset, cell.memory) == (0, 1, {0, 1}, {2, 3}, 4096)
    assert (cell.free_pcpus, cell.avail_memory, cell.has_threads) == ({2, 3}, 4096, True)
    assert cell.network_metadata.tunneled is True
    assert [(mempage.size_kb, mempage.total, mempage.reserved, mempage.used) for mempage in cell.mempages] == [
        (4, 1000, 10, 0)
    ]
    assert state_of(cloud).pci_stats.pools == [
        {"vendor_id": "8086", "product_id": "1520", "numa_node": 0, "dev_type": "type-VF", "count": 4}
    ]
    assert state_of(cloud, "h2").numa_topology is None and state_of(cloud, "h2").pci_stats is None


#: What a filter must not do with a host.
WRITES = {
    "an attribute": lambda state: setattr(state, "free_ram_mb", 0),
    "a new attribute": lambda state: setattr(state, "mine", 0),
    "a limit": lambda state: state.limits.update(vcpu=1),
    "an instance": lambda state: state.instances.pop(uuid_of("vm-1")),
    "metadata": lambda state: state.aggregates[0].metadata.__setitem__("speed", "slow"),
    "an aggregate": lambda state: setattr(state.aggregates[0], "name", "mine"),
    "its aggregates": lambda state: state.aggregates.clear(),
    "candidates": lambda state: state.allocation_candidates.pop(),
    "a candidate": lambda state: state.allocation_candidates[0]["allocations"].clear(),
    "a statistic": lambda state: state.stats.setdefault("a", "b"),
    "a hypervisor": lambda state: state.supported_instances[0].append("x"),
    "a pool": lambda state: state.pci_stats.pools[0].__setitem__("count", 0),
    "a service": lambda state: state.service.__delitem__("up"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_can_be_written(cloud, write):
    with pytest.raises((TypeError, AttributeError), match="read-only"):
        write(state_of(cloud))


def test_a_copy_is_ones_own(cloud):
    copied = copy.deepcopy(state_of(cloud).service)
    copied["up"] = False
    assert type(copied) is dict and state_of(cloud).service["up"]
    assert copy.copy(state_of(cloud).supported_instances) == [["x86_64", "kvm", "hvm"]]


def test_what_no_log_says_is_an_error_that_says_so(cloud):
    cloud.table.cell_uuids.clear()
    with pytest.raises(AttributeError, match="the uuid of cell1 is not in the logs"):
        state_of(cloud).cell_uuid
    with pytest.raises(AttributeError, match="no 'instances' outside of a decision"):
        HostState(cloud.table, 0).instances
