"""Each filter by itself, one row a case: which hosts it refuses, and for what reason."""

import importlib
import pkgutil

import pytest

from nova_sched import filters
from nova_sched.selection.chain import filters_for
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.packing import pack
from tests.asked import Asked
from tests.builders import (
    claim,
    consumer,
    group,
    inventory_of,
    of,
    pci,
    pool,
    provider,
    report,
    request,
    rule,
    server_group,
    tree,
    uuid_of,
)
from tests.nova_sched.filters import test_cheap_filters

NAMED = {one.name: one for one in (*filters.ALWAYS, *filters.BUILT_IN.values())}
CPU = '{"features": ["avx", "aes"], "vendor": "AMD", "maxphysaddr": {"mode": "passthrough", "bits": 46}}'


def aggregate(name, *hosts, **metadata):
    return events.AggregateUpdated(uuid_of(name), name, hosts, metadata)


def numa(host, *vcpus, **facts):
    """A host whose VCPUs are those of its NUMA cells."""
    return tree(
        host,
        *(
            provider(f"{host}/{number}", inventory_of("VCPU", amount), parent=0, traits=(f"CUSTOM_N{number}",))
            for number, amount in enumerate(vcpus)
        ),
        inventories=(inventory_of("MEMORY_MB", 1024),),
        **facts,
    )


def marked(host, *traits):
    """A host whose root provider has traits."""
    plain = tree(host)
    return plain._replace(providers=(plain.providers[0]._replace(traits=traits),))


PLAIN = [report("a"), report("b", disabled=True), report("c", forced_down=True)]
STATUS = [report("a"), report("b", inventory=marked("b", "COMPUTE_STATUS_DISABLED"))]
KINDS = [
    report(
        "kvm",
        inventory=tree(
            "kvm",
            cpu_info=CPU,
            stats={"io_workload": "3"},
            supported_instances=(("x86_64", "kvm", "hvm"), ("aarch64", "qemu", "hvm")),
        ),
    ),
    report(
        "xen",
        inventory=tree(
            "xen",
            hypervisor_type="xen",
            hypervisor_version=4000000,
            cpu_info="no JSON",
            supported_instances=(("x86_64", "xen", "xen"),),
        ),
    ),
    report("bare", inventory=tree("bare", hypervisor_version=0, cpu_info="")),
]
UNVERSIONED = report(
    "old", inventory=tree("old", hypervisor_version=0, supported_instances=(("x86_64", "kvm", "hvm"),))
)
RACKS = [
    *(report(name) for name in ("a", "b", "c", "d")),
    aggregate("rack-1", "a", "b", domain="rack"),
    aggregate("rack-2", "c", domain="rack"),
    aggregate("zone", "a", "c", availability_zone="east"),
]
ZONES = [
    report("a"),
    report("b"),
    report("c", inventory=tree("c", availability_zone="own")),
    report("d"),
    aggregate("z1", "a", "b", availability_zone="east"),
    aggregate("z2", "b", availability_zone="west"),
    aggregate("z3", "d"),
]
TREES = [
    report("flat", inventory=tree("flat", inventories=(inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 1024)))),
    report("numa", inventory=numa("numa", 4, 4)),
    report("lean", inventory=numa("lean", 2, 6)),
]
PCI = [
    report("none"),
    report("numa", inventory=tree("numa", numa_cells=(events.HostNUMACell(0, 0, (0, 1), (), (), 1024, ()),))),
    report("two", inventory=tree("two", pci_pools=(pool(2), pool(1, product_id="10ed", dev_type="type-PF")))),
    report("mixed", inventory=tree("mixed", pci_pools=(pool(1, rp_uuid="one", physical_network="net"), pool(3)))),
]
ID = uuid_of("r")


def spread(name, host, limit=1, domain=None, partition=None):
    return claim(
        name, host, of(host, 1), rule=rule("group", "spread", domain or host, partition or uuid_of(name), limit)
    )


def node(number, cpus, threads, pages=512):
    """A NUMA node with dedicated CPUs."""
    return events.HostNUMACell(
        number,
        None,
        (),
        tuple(cpus),
        tuple(tuple(cpus[first : first + threads]) for first in range(0, len(cpus), threads)),
        4096,
        (events.HostPages(4, 2**19, 0), events.HostPages(2048, pages, 0)),
    )


def pinned(*sizes, page_kb=2048):
    """The NUMARequest of a guest with so many pinned CPUs in each node."""
    return events.NUMARequest(
        tuple(
            events.NUMACellRequest(
                number, (), tuple(range(100 * number, 100 * number + size)), 1024, page_kb, "dedicated", None, 0
            )
            for number, size in enumerate(sizes)
        ),
        None,
        (),
        False,
    )


RUNS = consumer("vm-1")._replace(
    guest=pack(events.Guest((events.NUMAUse(0, 0, 0, ((0, 0), (1, 1), (2, 2)), (3,), False, 512, 0),), (), {}))
)
NODES = [
    report("plain"),
    report("single", inventory=tree("single", numa_cells=(node(0, range(3), 1),))),
    report(
        "threads",
        inventory=tree(
            "threads",
            numa_cells=(node(0, range(4), 2), node(1, range(4, 8), 2, 511)),
            pci_pools=(pool(3, numa_node=1),),
        ),
    ),
    report("full", RUNS, inventory=tree("full", numa_cells=(node(0, range(4), 2),))),
]
#: What a rebuild meets.
ON_REBUILD = {
    "DestinationFilter",
    "CellFilter",
    "ImagePropertiesFilter",
    "IsolatedHostsFilter",
    "AggregateImagePropertiesIsolation",
}

ROWS = [
    # filter, the events, the request, what is refused
    ("ComputeFilter", PLAIN, {}, {"disabled": ["b"], "down": ["c"]}),
    ("ComputeStatusFilter", PLAIN, {}, {"disabled": ["b"]}),
    ("ComputeStatusFilter", STATUS, {"force_hosts": ("a", "b")}, {"disabled": ["b"]}),
    ("DestinationFilter", PLAIN, {}, {}),
    ("DestinationFilter", PLAIN, {"target_host": "A"}, {"not the requested host": ["a", "b", "c"]}),
    ("DestinationFilter", PLAIN, {"ignore_hosts": ("A", "nobody")}, {"ignored": ["a"]}),
    ("DestinationFilter", PLAIN, {"force_hosts": ("B",)}, {"not the requested host": ["a", "c"]}),
    (
        "DestinationFilter",
        PLAIN,
        {"force_hosts": ("a", "b"), "target_host": "b"},
        {"not the requested host": ["a", "c"]},
    ),
    ("DestinationFilter", PLAIN, {"target_host": "nobody"}, {"not the requested host": ["a", "b", "c"]}),
    ("DestinationFilter", PLAIN, {"force_nodes": ("a",)}, {"not the requested node": ["b", "c"]}),
    ("DestinationFilter", PLAIN, {"target_node": "A"}, {"not the requested node": ["a", "b", "c"]}),
    ("CellFilter", PLAIN, {}, {}),
    ("CellFilter", PLAIN, {"target_cell": "cell1"}, {}),
    ("CellFilter", PLAIN, {"target_cell": "cell2"}, {"other cell": ["a", "b", "c"]}),
    ("AvailabilityZoneFilter", RACKS, {}, {}),
    ("AvailabilityZoneFilter", RACKS, {"availability_zone": "east"}, {"availability zone": ["b", "d"]}),
    ("AvailabilityZoneFilter", RACKS, {"availability_zone": "nova"}, {"availability zone": ["a", "c"]}),
    ("AvailabilityZoneFilter", ZONES, {"availability_zone": "east"}, {"availability zone": ["c", "d"]}),
    ("AvailabilityZoneFilter", ZONES, {"availability_zone": "west"}, {"availability zone": ["a", "c", "d"]}),
    ("AvailabilityZoneFilter", ZONES, {"availability_zone": "own"}, {"availability zone": ["a", "b", "d"]}),
    ("AvailabilityZoneFilter", ZONES, {"availability_zone": "nova"}, {"availability zone": ["a", "b", "c"]}),
    ("AvailabilityZoneFilter", RACKS, {"availability_zone": "west"}, {"availability zone": ["a", "b", "c", "d"]}),
    ("ComputeCapabilitiesFilter", KINDS, {}, {}),
    ("ComputeCapabilitiesFilter", KINDS, {"extra_specs": {"hw:cpu_policy": "shared", "nothing": "1"}}, {}),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"capabilities:hypervisor_type": "QEMU"}},
        {"capabilities": ["xen"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"hypervisor_type": "xen"}},
        {"capabilities": ["bare", "kvm"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"capabilities:cpu_info:features": "<all-in> avx aes"}},
        {"capabilities": ["bare", "xen"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"capabilities:hypervisor_version": ">= 4000000"}},
        {"capabilities": ["bare"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"capabilities:io_workload": "3"}},
        {"capabilities": ["bare", "xen"]},
    ),
    ("ComputeCapabilitiesFilter", KINDS, {"extra_specs": {"io_workload": "<= 2"}}, {"capabilities": ["kvm"]}),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"free_ram_mb": ">= 16384", "host": "kvm"}},
        {"capabilities": ["bare", "xen"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"hw:maxphysaddr_bits": "46"}},
        {"capabilities": ["bare", "xen"]},
    ),
    (
        "ComputeCapabilitiesFilter",
        KINDS,
        {"extra_specs": {"hw:maxphysaddr_bits": "47"}},
        {"capabilities": ["bare", "kvm", "xen"]},
    ),
    ("ImagePropertiesFilter", KINDS, {}, {}),
    (
        "ImagePropertiesFilter",
        KINDS,
        {"image_properties": {"hw_architecture": "x86_64"}},
        {"image properties": ["bare"]},
    ),
    (
        "ImagePropertiesFilter",
        KINDS,
        {"image_properties": {"hw_architecture": "aarch64", "img_hv_type": "kvm"}},
        {"image properties": ["bare", "kvm", "xen"]},
    ),
    (
        "ImagePropertiesFilter",
        KINDS,
        {"image_properties": {"hw_vm_mode": "hvm"}},
        {"image properties": ["bare", "xen"]},
    ),
    ("ImagePropertiesFilter", KINDS, {"image_properties": {"img_hv_requested_version": ">=8.0"}}, {}),
    (
        "ImagePropertiesFilter",
        KINDS,
        {"image_properties": {"hw_architecture": "x86_64", "img_hv_requested_version": ">=8.0"}},
        {"image properties": ["bare", "xen"]},
    ),
    (
        "ImagePropertiesFilter",
        KINDS,
        {"image_properties": {"hw_architecture": "x86_64", "hw_maxphysaddr_bits": "50"}},
        {"image properties": ["bare", "kvm"]},
    ),
    ("ImagePropertiesFilter", KINDS[:1], {"image_properties": {"hw_vm_mode": "hvm", "hw_maxphysaddr_bits": "46"}}, {}),
    (
        "ImagePropertiesFilter",
        [UNVERSIONED],
        {"image_properties": {"hw_vm_mode": "hvm", "img_hv_requested_version": ">=8.0"}},
        {},
    ),
    (
        "ResourceFilter",
        STATUS,
        {"root_forbidden": ("COMPUTE_STATUS_DISABLED",)},
        {"forbidden trait COMPUTE_STATUS_DISABLED": ["b"]},
    ),
    ("ResourceFilter", TREES, {"groups": ()}, {}),
    (
        "ResourceFilter",
        [*TREES, aggregate("of-host", "numa")],
        {"groups": (group(VCPU=1, member_of=[["of-host"]]),)},
        {"traits or aggregates": ["flat", "lean"], "VCPU": ["flat", "lean"]},
    ),
    (
        "ResourceFilter",
        [report("p", inventory=tree("p", provider("p/0", parent=0, aggregates=["of-child"])))],
        {"groups": (group(member_of=[["of-child"]]),)},
        {"traits or aggregates": ["p"]},
    ),
    ("ResourceFilter", TREES, {"groups": (group(VCPU=5),)}, {"VCPU": ["numa"]}),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(VCPU=5, MEMORY_MB=1025),)},
        {"VCPU": ["numa"], "MEMORY_MB": ["flat", "lean", "numa"]},
    ),
    ("ResourceFilter", TREES, {"groups": (group(VCPU=2**31 - 1),)}, {"VCPU": ["flat", "lean", "numa"]}),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(CUSTOM_UNHEARD_OF=1),)},
        {"CUSTOM_UNHEARD_OF": ["flat", "lean", "numa"]},
    ),
    ("ResourceFilter", TREES, {"groups": (group(PCPU=5),), "fallback_groups": (group(VCPU=5),)}, {"PCPU": ["numa"]}),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(VCPU=5),), "fallback_groups": (group("1", VCPU=4, MEMORY_MB=1),)},
        {"VCPU": ["numa"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(required=["CUSTOM_N0"]),)},
        {"trait CUSTOM_N0": ["flat", "lean", "numa"]},
    ),
    (
        "ResourceFilter",
        STATUS,
        {"groups": (group(required=["COMPUTE_STATUS_DISABLED"]),)},
        {"trait COMPUTE_STATUS_DISABLED": ["a"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group("1", VCPU=4, MEMORY_MB=1),)},
        {"VCPU+MEMORY_MB on one provider": ["lean", "numa"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group("1", required=["CUSTOM_N0"]), group("2", required=["CUSTOM_N0"])), "group_policy": "isolate"},
        {"trait CUSTOM_N0": ["flat"], "traits on 2 providers": ["flat", "lean", "numa"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group("1", VCPU=3), group("2", VCPU=3)), "group_policy": "isolate"},
        {"VCPU on 2 providers": ["flat", "lean"]},
    ),
    ("ResourceFilter", TREES, {"groups": (group("1", VCPU=3), group("2", VCPU=3)), "group_policy": "none"}, {}),
    ("ResourceFilter", TREES, {"groups": (group(VCPU=1, required=["CUSTOM_N0"]),)}, {"trait CUSTOM_N0": ["flat"]}),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group("1", VCPU=3, required=["CUSTOM_N0"]),)},
        {"trait CUSTOM_N0": ["flat"], "VCPU": ["flat", "lean"]},
    ),
    ("ResourceFilter", TREES, {"groups": (group("1", VCPU=3, forbidden=["CUSTOM_N1"]),)}, {"VCPU": ["lean"]}),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group("1", VCPU=1, any_traits=[["CUSTOM_N1", "CUSTOM_X"]]),)},
        {"trait CUSTOM_N1 or CUSTOM_X": ["flat"], "VCPU": ["flat"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(VCPU=1, in_tree="numa/1"),)},
        {"traits or aggregates": ["flat", "lean"], "VCPU": ["flat", "lean"]},
    ),
    (
        "ResourceFilter",
        TREES,
        {"groups": (group(VCPU=1, in_tree="nowhere"),)},
        {"traits or aggregates": ["flat", "lean", "numa"], "VCPU": ["flat", "lean", "numa"]},
    ),
    (
        "ResourceFilter",
        [report("t", inventory=tree("t", root="t"))],
        {"root_required": ("CUSTOM_X",)},
        {"trait CUSTOM_X": ["t"]},
    ),
    ("ResourceFilter", TREES, {"groups": (), "root_forbidden": ("CUSTOM_N0",)}, {}),
    (
        "ResourceFilter",
        RACKS,
        {"groups": (group(VCPU=1, member_of=[["rack-1", "rack-2"], ["zone"]]),)},
        {"traits or aggregates": ["b", "d"], "VCPU": ["b", "d"]},
    ),
    (
        "ResourceFilter",
        RACKS,
        {"groups": (group(VCPU=1, not_member_of=["rack-1"]),)},
        {"traits or aggregates": ["a", "b"], "VCPU": ["a", "b"]},
    ),
    ("ResourceFilter", RACKS, {"groups": (group(member_of=[["rack-2"]]),)}, {"traits or aggregates": ["a", "b", "d"]}),
    ("NUMATopologyFilter", NODES, {}, {}),
    ("NUMATopologyFilter", NODES, {"numa": pinned(2)}, {"no NUMA topology": ["plain"], "NUMA pinned CPUs": ["full"]}),
    (
        "NUMATopologyFilter",
        NODES,
        {"numa": pinned(4)},
        {"no NUMA topology": ["plain"], "NUMA pinned CPUs": ["full", "single"]},
    ),
    (
        "NUMATopologyFilter",
        NODES,
        {"numa": pinned(1, 1)},
        {"no NUMA topology": ["plain"], "NUMA nodes": ["full", "single"], "NUMA topology": ["threads"]},
    ),
    (
        "NUMATopologyFilter",
        NODES,
        {"extra_specs": {"hw:cpu_policy": "dedicated"}, "image_properties": {"hw_cpu_thread_policy": "require"}},
        {"no hyperthreads": ["single"]},
    ),
    ("NUMATopologyFilter", NODES, {"extra_specs": {"hw:cpu_policy": "shared", "hw:cpu_thread_policy": "require"}}, {}),
    (
        "NUMATopologyFilter",
        NODES,
        {"numa": pinned(1, page_kb=None), "pci": (pci(1, product_id="1520"),)},
        {"no NUMA topology": ["plain"], "NUMA pinned CPUs": ["full"], "NUMA PCI devices": ["single"]},
    ),
    (
        "NUMATopologyFilter",
        NODES,
        {
            "numa": pinned(1, page_kb=None),
            "pci": (pci(2, product_id="1520"), pci(2, request_id="s", product_id="1520")),
        },
        {"no NUMA topology": ["plain"], "NUMA pinned CPUs": ["full"], "NUMA PCI devices": ["single", "threads"]},
    ),
    # Where Placement assigns devices, what is left for a request is known with the assignment.
    (
        "NUMATopologyFilter",
        NODES,
        {
            "numa": pinned(1, page_kb=None),
            "groups": (group(f"{ID}-0", CUSTOM_X=1),),
            "pci": (pci(2, product_id="1520"), pci(2, request_id="s", product_id="1520")),
        },
        {"no NUMA topology": ["plain"], "NUMA pinned CPUs": ["full"], "NUMA PCI devices": ["single"]},
    ),
    ("PciPassthroughFilter", PCI, {}, {}),
    ("PciPassthroughFilter", PCI, {"pci": (pci(product_id="1520"),)}, {"no PCI devices": ["none", "numa"]}),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(3, product_id="1520"),)},
        {"no PCI devices": ["none", "numa"], "PCI nic": ["two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(1, None, physical_network="NET"), pci(4, "gpu", vendor_id="8086"))},
        {"no PCI devices": ["none", "numa"], "PCI NET": ["two"], "PCI gpu": ["mixed"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(5, None, vendor_id="8086", product_id="1520"), pci(1, "late"))},
        {"no PCI devices": ["none", "numa"], "PCI 8086:1520": ["mixed", "two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {
            "pci": (
                pci(1, "any", vendor_id="8086"),
                pci(2, "both", product_id="1520"),
                pci(1, "last", product_id="1520"),
            )
        },
        {"no PCI devices": ["none", "numa"], "PCI both": ["two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(2, product_id="1520"),), "groups": (group(f"{ID}-0", CUSTOM_X=1),)},
        {"no PCI devices": ["none", "numa"], "PCI nic": ["mixed", "two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(1, product_id="1520"),), "groups": (group(f"{ID}-0", CUSTOM_X=1),)},
        {"no PCI devices": ["none", "numa"], "PCI nic": ["two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(0, product_id="1520"), pci(0, None, product_id="0000"))},
        {"no PCI devices": ["none", "numa"], "PCI device": ["mixed", "two"]},
    ),
    (
        "PciPassthroughFilter",
        PCI,
        {"pci": (pci(2, "all", product_id="1520"), pci(0, "none left", product_id="1520"))},
        {"no PCI devices": ["none", "numa"], "PCI none left": ["two"]},
    ),
    ("ServerGroupAntiAffinityFilter", [*RACKS, spread("vm-1", "a")], {"server_group": None}, {}),
    ("ServerGroupAntiAffinityFilter", [*RACKS, spread("vm-1", "a")], {"server_group": server_group("affinity")}, {}),
    (
        "ServerGroupAntiAffinityFilter",
        [*RACKS, spread("vm-1", "a")],
        {"server_group": server_group("anti-affinity")},
        {"anti-affinity": ["a"]},
    ),
    (
        "ServerGroupAntiAffinityFilter",
        [*RACKS, spread("vm-1", "a", 2)],
        {"server_group": server_group("anti-affinity", 2)},
        {},
    ),
    (
        "ServerGroupAntiAffinityFilter",
        [*RACKS, spread("vm-new", "a")],
        {"server_group": server_group("anti-affinity")},
        {},
    ),
    (
        "ServerGroupAntiAffinityFilter",
        [*RACKS, claim("vm-1", "b", of("b", 1))],
        {"server_group": server_group("anti-affinity", members=["vm-1", "vm-2"])},
        {"anti-affinity": ["b"]},
    ),
    ("ServerGroupAffinityFilter", RACKS, {"server_group": server_group("affinity")}, {}),
    ("ServerGroupAffinityFilter", RACKS, {"server_group": server_group("anti-affinity", hosts=["a"])}, {}),
    (
        "ServerGroupAffinityFilter",
        RACKS,
        {"server_group": server_group("affinity", hosts=["b"])},
        {"affinity": ["a", "c", "d"]},
    ),
    (
        "ServerGroupAffinityFilter",
        RACKS,
        {"server_group": server_group("affinity", hosts=["gone"])},
        {"affinity": ["a", "b", "c", "d"]},
    ),
    (
        "ServerGroupAffinityFilter",
        [*RACKS, claim("vm-1", "c", of("c", 1), rule=rule("group", "together", "c", uuid_of("vm-1"), 0))],
        {"server_group": server_group("affinity")},
        {"affinity": ["a", "b", "d"]},
    ),
    ("ServerGroupFaultDomainFilter", RACKS, {"server_group": server_group("anti-affinity")}, {}),
    (
        "ServerGroupFaultDomainFilter",
        RACKS,
        {"server_group": server_group("fault-domain", scope="rack")},
        {"no rack": ["d"]},
    ),
    (
        "ServerGroupFaultDomainFilter",
        [*RACKS, spread("vm-1", "a", 1, uuid_of("rack-1"), "p1")],
        {"server_group": server_group("fault-domain", scope="rack", partition="p2")},
        {"no rack": ["d"], "fault domain": ["a", "b"]},
    ),
    (
        "ServerGroupFaultDomainFilter",
        [*RACKS, spread("vm-1", "a", 1, uuid_of("rack-1"), "p1")],
        {"server_group": server_group("fault-domain", scope="rack", partition="p1")},
        {"no rack": ["d"]},
    ),
]


@pytest.mark.parametrize("name, said, facts, refused", ROWS)
def test_refusals(name, said, facts, refused):
    facts = dict(facts)
    asked = request(**facts)
    cloud = Asked(*said)
    assert not cloud.cell.noted and all(outcome.reason is None for outcome in cloud.cell.outcomes)
    assert cloud.refused_by(NAMED[name], asked) == refused


def test_every_filter_refuses_in_some_row_and_none_in_another():
    seen = {(name, bool(refused)) for name, *_, refused in (*ROWS, *test_cheap_filters.ROWS)}
    for does, but_for, what in (
        (True, {"AllHostsFilter"}, "refuses a host"),
        (False, {"ComputeFilter", "ComputeStatusFilter"}, "refuses no host"),
    ):
        missing = sorted(name for name in set(NAMED) - but_for if (name, does) not in seen)
        assert not missing, (
            f"in no row {', '.join(missing)} {what}: add a row (name, events, facts of the request, reason -> hosts) "
            "to ROWS here or in test_cheap_filters.py"
        )


def test_every_filter_of_the_package_is_in_its_list():
    modules = [f"{filters.__name__}.{module.name}" for module in pkgutil.iter_modules(filters.__path__)]
    classes = [each for module in modules for each in vars(importlib.import_module(module)).values()]
    defined = {each.name for each in classes if isinstance(each, type) and issubclass(each, filters.Filter)}
    missing = sorted(defined - set(NAMED) - {""})
    assert not missing, f"{', '.join(missing)}: add it to BUILT_IN in nova_sched/filters/__init__.py"


def test_a_closed_cell_is_unreachable():
    cloud = Asked(cells={"cell1": [report("a")], "cell2": [report("b")]})
    assert cloud.survivors(request()) == ["a", "b"]
    cloud.table.cell_closed["cell2"] = True
    cloud.table.topology_version += 1
    assert cloud.refused_by(NAMED["ComputeFilter"], request()) == {"cell unreachable": ["b"]}
    assert cloud.survivors(request()) == ["a"]


def test_the_default_architecture_is_asked_for_where_the_image_names_none():
    cloud = Asked(*KINDS)
    policy = Policy(image_properties_default_architecture="aarch64")
    refused = {"image properties": ["bare", "xen"]}
    assert cloud.refused_by(NAMED["ImagePropertiesFilter"], request(), policy=policy) == refused
    asked = request(image_properties={"hw_architecture": "x86_64"})
    assert cloud.refused_by(NAMED["ImagePropertiesFilter"], asked, policy=policy) == {"image properties": ["bare"]}


def test_what_a_pci_request_is_called_does_not_make_a_shape_of_its_own():
    one = NAMED["PciPassthroughFilter"]
    asked = request(pci=(pci(1, "nic", "first", product_id="1520"),))
    assert one.seen(asked) == one.seen(request(pci=(pci(1, "nic", "second", product_id="1520"),)))
    others = (
        {"pci": (pci(2, "nic", "first", product_id="1520"),)},
        {"pci": (pci(1, "nik", "first", product_id="1520"),)},
        {"pci": (pci(1, "nic", "first", product_id="1521"),)},
        {"pci": asked.pci * 2},
        {"pci": ()},
        {"groups": (group(f"{uuid_of('first')}-0", CUSTOM_X=1),)},
    )
    seen = [one.seen(asked._replace(**facts)) for facts in others]
    assert len({*map(hash, seen)}) == len(others) and one.seen(asked) not in seen


def test_what_is_in_flight_is_taken():
    cloud = Asked(report("a"))
    held = claim("vm-1", "a", of("a", 8), rule=rule("group", "spread", "a", uuid_of("vm-1"), 1))
    cloud.in_flight.add(held)
    asked = request(server_group=server_group("anti-affinity"))
    assert cloud.refused_by(NAMED["ResourceFilter"], asked) == {"VCPU": ["a"]}
    assert cloud.refused_by(NAMED["ServerGroupAntiAffinityFilter"], asked) == {"anti-affinity": ["a"]}
    cloud.in_flight.remove(held.claim_uuid)
    assert cloud.survivors(asked) == ["a"]


@pytest.mark.parametrize(
    "facts, met",
    [
        ({}, {*NAMED}),
        ({"force_hosts": ("a",)}, {each.name for each in filters.ALWAYS}),
        ({"force_nodes": ("a",)}, {each.name for each in filters.ALWAYS}),
        ({"force_nodes": ("a",), "scheduler_hints": {"_nova_check_type": ("any",)}}, {*NAMED}),
        ({"check_only": True}, ON_REBUILD),
        ({"check_only": True, "force_hosts": ("a",)}, ON_REBUILD),
    ],
)
def test_filters_that_a_request_meets(facts, met):
    policy = Policy(enabled_filters=tuple(filters.BUILT_IN))
    assert {one.name for one in filters_for(policy, request(**facts))} == met


def test_a_row_that_was_given_back_is_no_provider():
    cloud = Asked(report("first", inventory=marked("first", "CUSTOM_T")), *TREES)
    cloud.cell.say(report("numa", inventory=numa("numa", 4)))
    assert cloud.table.count == len(cloud.table.row_of_uuid) + 1
    asked = request(group("1", forbidden=["CUSTOM_T"]), group("2", VCPU=1))
    assert cloud.refused_by(NAMED["ResourceFilter"], asked) == {"traits or aggregates": ["first"]}
    asked = request(group(VCPU=1, forbidden=["CUSTOM_N0"]))
    assert cloud.refused_by(NAMED["ResourceFilter"], asked) == {"VCPU": ["numa"]}
    assert cloud.survivors(asked) == ["first", "flat", "lean"]
