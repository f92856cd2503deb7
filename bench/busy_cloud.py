"""A busy cloud twice: as the events of its agents, and as plain facts from which nova's HostState objects are made.

A host is a dictionary of facts, and so is what is asked of the cloud (:data:`ASK`): both travel to nova as JSON.
"""

import random
import uuid

from nova_sched.fit import numa, pci
from nova_sched.projection.devices import Capacity, HostDevices, guest_of
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.projection.world import World
from rpc_api import codec, digest, events
from rpc_api.packing import pack

EPOCH = "00000000-0000-4000-8000-000000000000"
#: Each with half of the hosts.
CELLS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
SIZES_VCPUS = (32, 64, 128)
RAM_MB_A_VCPU, DISK_GB = 4096, 4000
CPU_RATIO = 4.0
INSTANCES_MAX = 8
EACH = {"VCPU": 4, "MEMORY_MB": 8192, "DISK_GB": 40}
IMAGES = ({"os_distro": "debian", "hw_architecture": "x86_64"}, {"os_distro": "fedora"}, {"hw_disk_bus": "virtio"})
AGGREGATES = 20
#: What is asked, and the defaults of it.
ASK = {
    "vcpus": 4,
    "memory_mb": 8192,
    "disk_gb": 20,
    "extra_specs": {},
    "image": {"hw_architecture": "x86_64"},
    "image_id": None,
    "hints": {},
    "project": "p1",
    "flavor": "m1",
    "group": None,
    "preferred_cell": None,
    "availability_zone": None,
    "ignore": [],
    "numa": None,
    "pci": [],
}
#: Of the hosts with NUMA nodes: CPUs of a node that are for pinned guests, and all of them.
NODES, NODE_CPUS, DEDICATED_CPUS = 2, 32, 28
NODE_MEMORY_MB = 128 * 1024
#: Pinned CPUs and memory of each of the two nodes of the guest that is asked for.
GUEST_CPUS, GUEST_MEMORY_MB = 4, 8192
POOLS = (("10de", "20b0", 4), ("15b3", "101e", 16))


def uuid_of(text: str) -> str:
    """A uuid that follows from a text."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


# --- the hosts as facts --------------------------------------------------------------------------------------------


def hosts_of(count: int, seed: int) -> list[dict]:
    """Hosts of different sizes and loads, as facts."""
    rng = random.Random(seed)
    return [_host(rng, number) for number in range(count)]


def _host(rng, number):
    vcpus = rng.choice(SIZES_VCPUS)
    return {
        "name": f"host-{number}",
        "cell": CELLS[number % 2],
        "vcpus": vcpus,
        "ram_mb": vcpus * RAM_MB_A_VCPU,
        "ip": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        "version": rng.choice((8002000, 8002000, 9001000)),
        "num_io_ops": rng.randrange(6),
        "failed_builds": int(rng.random() < 0.01),
        "metrics": {"cpu.percent": rng.random() * 100},
        "instances": [
            [uuid_of(f"{number}/{one}"), rng.randrange(len(IMAGES))] for one in range(rng.randrange(INSTANCES_MAX))
        ],
        "aggregates": sorted({number % AGGREGATES, rng.randrange(AGGREGATES)}),
        "devices": None,
    }


def aggregates_of(hosts) -> list[dict]:
    """Aggregates of zones, projects, flavors, images, limits and multipliers."""
    metadata = [{"ssd": "true"} for _ in range(AGGREGATES)]
    for number, more in enumerate(
        (
            {"availability_zone": "east"},
            {"availability_zone": "west"},
            {"filter_tenant_id": "p1,p2"},
            {"filter_tenant_id": "p3"},
            {"instance_type": "m1,m2"},
            {"instance_type": "m3"},
            {"os_distro": "debian,fedora"},
            {"os_distro": "windows"},
            {"max_instances_per_host": "6"},
            {"max_io_ops_per_host": "5"},
            {"ram_weight_multiplier": "2.0"},
            {"ssd": "false"},
        )
    ):
        metadata[number] |= more
    return [
        {
            "uuid": uuid_of(f"aggregate {number}"),
            "name": f"aggregate-{number}",
            "metadata": one,
            "hosts": [host["name"] for host in hosts if number in host["aggregates"]],
        }
        for number, one in enumerate(metadata)
    ]


# --- the hosts as events -------------------------------------------------------------------------------------------


def world_of(hosts, aggregates) -> World:
    """The world that the agents of some hosts report, and operators divide into aggregates."""
    table = HostTable()
    projections = {name: Projection(name, table) for name in ("cell0", *CELLS)}
    said = {name: [] for name in projections}
    for host in hosts:
        said[host["cell"]].append((f"compute_agent/{host['name']}", 1, reported(host)))
    for number, one in enumerate(aggregates, 1):
        said["cell0"].append(
            (
                "operator/bench",
                number,
                events.AggregateUpdated(one["uuid"], one["name"], tuple(one["hosts"]), one["metadata"]),
            )
        )
    for name, items in said.items():
        fold(projections[name], items)
    return World(table, projections, InFlight(table))


def fold(projection, items) -> None:
    """Fold (producer, sequence, event) items; whatever is set aside is a fault of the benchmark."""
    made = [codec.make_event(data, producer, 1, sequence, 1) for producer, sequence, data in items]
    records = codec.encode_records(EPOCH, codec.encode_events(made))
    first = projection.position + 1
    projection.fold([(first + number, codec.decode_record(record)) for number, record in enumerate(records)])
    assert not projection.quarantine, list(projection.quarantine)[:3]


def reported(host):
    """The HostReported of a host."""
    name, devices = host["name"], host["devices"]
    root = uuid_of(name)
    if devices is None:
        classes, cells, pools = {"VCPU": (host["vcpus"], CPU_RATIO)}, (), ()
        guests = [(EACH, events.Guest((), (), IMAGES[image])) for _, image in host["instances"]]
    else:
        shared = NODES * (NODE_CPUS - DEDICATED_CPUS)
        classes = {"VCPU": (shared, CPU_RATIO), "PCPU": (NODES * DEDICATED_CPUS, 1.0)}
        cells, pools = CELLS_OF_HOST, POOLS_OF_HOST
        guests = [(_taken(guest), guest) for guest in devices["guests"]]
    classes |= {"MEMORY_MB": (host["ram_mb"], 1.0), "DISK_GB": (DISK_GB, 1.0)}
    provider = events.Provider(
        root,
        name,
        -1,
        tuple(events.Inventory(key, total, 0, 1, total, 1, ratio) for key, (total, ratio) in classes.items()),
        ("COMPUTE_NODE",),
        (),
    )
    tree = events.HostInventory(
        name,
        None,
        host["ip"],
        "QEMU",
        host["version"],
        '{"vendor": "AMD"}',
        (("x86_64", "kvm", "hvm"),),
        {},
        (provider,),
        cells,
        pools,
    )
    consumers = tuple(
        events.Consumer(
            instance,
            "p1",
            tuple(events.Allocation(root, key, amount) for key, amount in taken.items()),
            None,
            pack(guest),
        )
        for (instance, _), (taken, guest) in zip(host["instances"], guests, strict=True)
    )
    status = events.HostStatus(False, None, False, host["num_io_ops"], host["failed_builds"], host["metrics"])
    return events.HostReported(
        name, name, pack(tree), status, pack(events.HostConsumers(consumers)), digest.consumers_digest(consumers)
    )


def _taken(guest):
    """What a guest with pinned CPUs takes of its host."""
    return {
        "PCPU": sum(len(use.pins) for use in guest.numa),
        "MEMORY_MB": sum(use.memory_mb for use in guest.numa),
        "DISK_GB": EACH["DISK_GB"],
    }


def facts_of(host) -> dict:
    """A host as nova's HostState has it; ``use`` is what its guests have of NUMA nodes and PCI pools."""
    devices = host["devices"]
    guests = [EACH] * len(host["instances"]) if devices is None else [_taken(guest) for guest in devices["guests"]]
    vcpus = host["vcpus"] if devices is None else NODES * (NODE_CPUS - DEDICATED_CPUS)
    used = {name: sum(one.get(name, 0) for one in guests) for name in EACH}
    return {
        "uuid": uuid_of(host["name"]),
        "host": host["name"],
        "nodename": host["name"],
        "cell_uuid": host["cell"],
        "host_ip": host["ip"],
        "hypervisor_type": "QEMU",
        "hypervisor_version": host["version"],
        "hypervisor_hostname": host["name"],
        "cpu_info": '{"vendor": "AMD"}',
        "supported_instances": [["x86_64", "kvm", "hvm"]],
        "stats": {},
        "num_instances": len(guests),
        "num_io_ops": host["num_io_ops"],
        "failed_builds": host["failed_builds"],
        "vcpus_total": vcpus,
        "vcpus_used": used["VCPU"],
        "cpu_allocation_ratio": CPU_RATIO,
        "ram_allocation_ratio": 1.0,
        "disk_allocation_ratio": 1.0,
        "total_usable_ram_mb": host["ram_mb"],
        "free_ram_mb": host["ram_mb"] - used["MEMORY_MB"],
        "total_usable_disk_gb": DISK_GB,
        "free_disk_mb": (DISK_GB - used["DISK_GB"]) * 1024,
        "metrics": host["metrics"],
        "instances": [instance for instance, _ in host["instances"]],
        "aggregates": host["aggregates"],
        "use": devices and use_of(devices),
    }


# --- hosts with NUMA nodes and PCI devices -------------------------------------------------------------------------


def _cpus(node):
    return range(node * NODE_CPUS, (node + 1) * NODE_CPUS)


CELLS_OF_HOST = tuple(
    events.HostNUMACell(
        node,
        node,
        tuple(_cpus(node)[DEDICATED_CPUS:]),
        tuple(_cpus(node)[:DEDICATED_CPUS]),
        tuple((cpu, cpu + 1) for cpu in _cpus(node)[::2]),
        NODE_MEMORY_MB,
        (events.HostPages(4, NODE_MEMORY_MB * 256, 0),),
    )
    for node in range(NODES)
)
POOLS_OF_HOST = tuple(
    events.PCIPool(vendor, product, node, {"dev_type": "type-PCI"}, count)
    for node in range(NODES)
    for vendor, product, count in POOLS
)


def device_hosts_of(count: int, states: int, seed: int) -> list[dict]:
    """Hosts of one make with two NUMA nodes and PCI devices, in so many distinct states of use."""
    rng = random.Random(seed)
    made = list(_states(rng, states))
    hosts = [_host(rng, number) for number in range(count)]
    for host in hosts:
        host["devices"] = made[rng.randrange(states)]
        host["vcpus"], host["ram_mb"] = NODES * NODE_CPUS, NODES * NODE_MEMORY_MB
        host["instances"] = [[uuid_of(f"{host['name']}/{one}"), 0] for one in range(len(host["devices"]["guests"]))]
    return hosts


def _states(rng, count):
    """States as ``guests`` (records), each guest placed as a decision would, some of them gone again;
    all of them differ."""
    capacity, seen = Capacity(CELLS_OF_HOST, POOLS_OF_HOST), set()
    while len(seen) < count:
        guests, devices = [], HostDevices(capacity)
        for _ in range(rng.randrange(7)):
            guest = _guest_on(rng, devices)
            if guest is not None:
                guests.append(guest)
                if rng.random() < 0.2:
                    guests.pop(rng.randrange(len(guests)))
                devices = HostDevices(capacity).with_guests(guests)
        if devices.key not in seen:
            seen.add(devices.key)
            yield {"state": len(seen), "guests": guests}


def _guest_on(rng, devices):
    nodes = numa_of(rng.choice((1, 2)), rng.choice((2, GUEST_CPUS, 6)), rng.choice((4096, GUEST_MEMORY_MB)))
    uses = numa.fit(devices, numa_request(nodes), CPU_RATIO, 1.0)
    wanted = [pci_request(device) for device in pci_of(rng.randrange(2))]
    taken = None if uses is None else pci.place(devices, wanted, [use.cell for use in uses])
    return None if taken is None else guest_of(pack(events.Guest(uses, taken, {})))


def use_of(devices):
    """What is used of a host in a state, for nova: CPUs, memory and pages of each node,
    and the devices of each pool."""
    used = HostDevices(Capacity(CELLS_OF_HOST, POOLS_OF_HOST)).with_guests(devices["guests"])
    return {
        "state": devices["state"],
        "nodes": [[use.shared_cpus, sorted(use.pinned), use.memory_mb, list(use.pages)] for use in used.cell_uses],
        "pools": list(used.pool_uses),
    }


def make_of_hosts():
    """NUMA nodes and PCI pools that all of them have, for nova."""
    return {
        "nodes": [
            {
                "id": cell.id,
                "shared": cell.shared_cpus,
                "dedicated": cell.dedicated_cpus,
                "siblings": cell.siblings,
                "memory_mb": cell.memory_mb,
                "pages": cell.pages,
                "socket": cell.socket,
            }
            for cell in CELLS_OF_HOST
        ],
        "pools": [[pool.vendor_id, pool.product_id, pool.numa_node, pool.tags, pool.count] for pool in POOLS_OF_HOST],
    }


def numa_of(nodes=2, cpus=GUEST_CPUS, memory_mb=GUEST_MEMORY_MB):
    """Nodes of a guest with pinned CPUs, as facts."""
    return [
        {"id": node, "cpus": list(range(node * cpus, (node + 1) * cpus)), "memory_mb": memory_mb}
        for node in range(nodes)
    ]


def pci_of(count=1, alias="gpu"):
    """PCI requests of a guest, as facts."""
    return [{"id": uuid_of("device"), "alias": alias, "vendor_id": POOLS[0][0], "product_id": POOLS[0][1], "count": 1}][
        :count
    ]


def numa_request(nodes):
    """The NUMARequest of a guest's nodes."""
    return events.NUMARequest(
        tuple(
            events.NUMACellRequest(one["id"], (), tuple(one["cpus"]), one["memory_mb"], None, "dedicated", None, 0)
            for one in nodes
        ),
        None,
        (),
        False,
    )


def pci_request(device):
    """The PCIRequest of a device."""
    return events.PCIRequest(
        device["count"],
        ({"vendor_id": device["vendor_id"], "product_id": device["product_id"]},),
        device["alias"],
        device["id"],
        None,
        "legacy",
    )


# --- what is asked -------------------------------------------------------------------------------------------------


def request_of(number: int, ask: dict):
    """The SchedulingRequest of what is asked (:data:`ASK`, all of it)."""
    group, nodes = ask["group"], ask["numa"]
    if nodes is None:
        cpus, memory_mb = ("VCPU", ask["vcpus"]), ask["memory_mb"]
    else:
        cpus, memory_mb = ("PCPU", sum(len(one["cpus"]) for one in nodes)), sum(one["memory_mb"] for one in nodes)
    amounts = (cpus, ("MEMORY_MB", memory_mb), ("DISK_GB", ask["disk_gb"]))
    return events.SchedulingRequest(
        request_id=f"req-{number}",
        project_id=ask["project"],
        flavor_name=ask["flavor"],
        extra_specs=ask["extra_specs"],
        image_properties=ask["image"],
        groups=(
            events.ResourceGroup(
                "", tuple(events.ResourceAmount(*amount) for amount in amounts), ("COMPUTE_NODE",), (), (), (), (), None
            ),
        ),
        group_policy="",
        same_subtree=(),
        root_required=(),
        root_forbidden=(),
        availability_zone=ask["availability_zone"],
        force_hosts=(),
        force_nodes=(),
        ignore_hosts=tuple(ask["ignore"]),
        target_host=None,
        target_node=None,
        target_cell=None,
        server_group=group
        and events.ServerGroupRequest(
            group["uuid"], group["policy"], 1, "host", None, tuple(group["members"]), tuple(group["hosts"])
        ),
        vcpus=cpus[1],
        memory_mb=memory_mb,
        root_gb=ask["disk_gb"],
        image_id=ask["image_id"],
        scheduler_hints={name: tuple(values) for name, values in ask["hints"].items()},
        numa=nodes and numa_request(nodes),
        pci=tuple(map(pci_request, ask["pci"])),
        preferred_cell=ask["preferred_cell"],
    )
