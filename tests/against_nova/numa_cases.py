"""Random hosts with NUMA nodes, guests on them, and requests: as JSON-like cases, and as our own records."""

from nova_sched.fit import numa
from nova_sched.projection.devices import Capacity, HostDevices
from rpc_api import events, objects
from rpc_api.packing import pack
from tests.builders import consumer, flavor_of, inventory_of, report, request_spec, tree, uuid_of

PAGES = ((), (4,), (4, 2048), (2048, 4), (4, 2048, 1048576), (64, 2048), (2048,))
PHYSNETS = ("p1", "p2", "p3")
PRODUCTS = ("1520", "1521")
NUMA_POLICIES = (None, "legacy", "required", "preferred", "socket")


# --- hosts ---------------------------------------------------------------------------------------------------------


def random_cells(rng):
    """NUMA nodes of a host: mostly alike, CPUs numbered as Linux does or thread by thread."""
    count, cores, threads = rng.choice((1, 2, 2, 3, 4, 5)), rng.choice((3, 4, 6, 8)), rng.choice((1, 2, 2, 2, 4))
    split, sizes = rng.choice(("dedicated", "cores", "cores", "threads", "shared", "legacy")), rng.choice(PAGES)
    memory_mb, adjacent = rng.choice((2048, 4096, 6000)), rng.random() < 0.5
    total, cells, names = count * cores, [], rng.sample(range(6), count) if rng.random() < 0.1 else range(count)
    for number in range(count):
        siblings = []
        for core in range(number * cores, (number + 1) * cores):
            siblings.append(
                [core * threads + thread if adjacent else core + thread * total for thread in range(threads)]
            )
        dedicated, shared = _split(rng, siblings, split)
        known = set(dedicated) | set(shared)
        siblings = [[cpu for cpu in core if cpu in known] for core in siblings]
        cells.append(
            {
                "id": names[number],
                "socket": rng.choice((None, number // 2)),
                "shared": sorted(shared),
                "dedicated": sorted(dedicated),
                "siblings": [core for core in siblings if core],
                "memory_mb": memory_mb if rng.random() < 0.9 else 2048,
                "pages": _pages(rng, sizes if rng.random() < 0.9 else rng.choice(PAGES), memory_mb),
                "networks": None
                if rng.random() < 0.2
                else {
                    "physnets": [name for name in PHYSNETS[:2] if rng.random() < 0.3],
                    "tunneled": rng.random() < 0.3,
                },
            }
        )
    return cells


def _split(rng, siblings, split):
    cpus = [cpu for core in siblings for cpu in core]
    if split == "dedicated":
        return cpus, []
    if split == "shared":
        return [], cpus
    if split == "legacy":
        return cpus, cpus
    if split == "threads":
        # The first thread of each core, and now and then some CPUs in neither set.
        return [core[0] for core in siblings], [cpu for core in siblings for cpu in core[1:] if rng.random() < 0.9]
    half = siblings[: len(siblings) // 2 + 1]
    dedicated = [cpu for core in half for cpu in core if rng.random() < 0.95]
    return dedicated, [cpu for core in siblings[len(half) :] for cpu in core]


def _pages(rng, sizes, memory_mb):
    """[size_kb, total, reserved] of each size: the larger ones make up about half of the memory."""
    pages, left = [], memory_mb * 1024
    for size in sorted(sizes, reverse=True):
        share = left if size == min(sizes) else left // 2
        total = max(share // size, size == 1048576)
        left -= total * size
        pages.append([size, total, rng.choice((0, 0, 0, total // 4))])
    return [next(page for page in pages if page[0] == size) for size in sizes]


def random_pools(rng, cells):
    """[NUMA node, free devices] of PCI pools."""
    return [
        [rng.choice([None, *(cell["id"] for cell in cells)]), rng.randrange(5)] for _ in range(rng.choice((0, 0, 1, 3)))
    ]


# --- requests ------------------------------------------------------------------------------------------------------


def random_guest(rng, largest):
    """At most so many nodes of a guest, and the policy of its emulator, as nova's API makes them;
    now and then its nodes differ."""
    policy = rng.choice((None, "shared", "dedicated", "dedicated", "dedicated", "mixed"))
    threads = rng.choice((None, None, "prefer", "isolate", "require")) if policy in ("dedicated", "mixed") else None
    page_kb = rng.choice((None, None, None, -1, -2, -3, 4, 2048, rng.choice((1048576, 1024))))
    count, alike, first = rng.randrange(1, largest + 1), rng.random() < 0.7, 0
    size, memory_mb, cells = _size(rng), _memory(rng, page_kb), []
    for number in range(count):
        if not alike:
            size, memory_mb = _size(rng), _memory(rng, page_kb)
        cpus = list(range(first, first + size))
        pinned = {"dedicated": size, "mixed": rng.randrange(size + 1)}.get(policy, 0)
        cells.append(
            {
                "id": number,
                "dedicated": cpus[:pinned],
                "shared": cpus[pinned:],
                "memory_mb": memory_mb,
                "page_kb": page_kb,
                "cpu_policy": policy,
                "thread_policy": threads,
            }
        )
        first += size
    emulator = (
        rng.choice((None, "share", "isolate")) if policy in ("dedicated", "mixed") else rng.choice((None, "share"))
    )
    return {"cells": cells, "emulator": emulator}


def _size(rng):
    return rng.choice((1, 1, 2, 2, 3, 4))


def _memory(rng, page_kb):
    return (
        rng.choice((1024, 2048))
        if page_kb == 1048576
        else rng.choice((128, 128, 256, 512, 512, 1000, 1023, 1024, 2048))
    )


def random_request(rng, cells):
    """A guest with all else that its place depends on; ``near``:
    one of its nodes must be on one of these of the host."""
    return {
        **random_guest(rng, min(len(cells), 3) + (rng.random() < 0.05)),
        "cpu_ratio": rng.choice((1.0, 2.0, 16.0, 0.5)),
        "ram_ratio": rng.choice((1.0, 1.5, 0.9)),
        "packed": rng.random() < 0.3,
        "networks": None
        if rng.random() < 0.6
        else {"physnets": [name for name in PHYSNETS if rng.random() < 0.3], "tunneled": rng.random() < 0.2},
        "near": None if rng.random() < 0.6 else [cell["id"] for cell in cells if rng.random() < 0.6],
    }


# --- our records ---------------------------------------------------------------------------------------------------


def capacity_of(cells, pools=()):
    """The Capacity of a case; ``pools`` are [NUMA node, devices]."""
    return Capacity(
        tuple(
            events.HostNUMACell(
                cell["id"],
                cell["socket"],
                tuple(cell["shared"]),
                tuple(cell["dedicated"]),
                tuple(map(tuple, cell["siblings"])),
                cell["memory_mb"],
                tuple(events.HostPages(*pages) for pages in cell["pages"]),
                tuple((cell["networks"] or {}).get("physnets", ())),
                bool((cell["networks"] or {}).get("tunneled")),
            )
            for cell in cells
        ),
        tuple(events.PCIPool("8086", str(number), node, {}, count) for number, (node, count) in enumerate(pools)),
    )


def asked_of(request):
    """The NUMARequest of a case."""
    networks = request["networks"] or {"physnets": (), "tunneled": False}
    return events.NUMARequest(
        tuple(
            events.NUMACellRequest(
                cell["id"],
                tuple(cell["shared"]),
                tuple(cell["dedicated"]),
                cell["memory_mb"],
                cell["page_kb"],
                cell["cpu_policy"],
                cell["thread_policy"],
                0,
            )
            for cell in request["cells"]
        ),
        request["emulator"],
        tuple(networks["physnets"]),
        networks["tunneled"],
        request["networks"] is not None,
    )


def guest_of(uses):
    """The Guest of uses as records or as a case has them."""
    return events.Guest(tuple(events.NUMAUse(**use) if isinstance(use, dict) else use for use in uses), (), {})


def fit(devices, request):
    """Our own answer to a request of a case."""
    near = request["near"]
    fits_pci = None if near is None else lambda cells: not set(cells).isdisjoint(near)
    return numa.place(
        devices, asked_of(request), request["cpu_ratio"], request["ram_ratio"], fits_pci, request["packed"]
    )


def random_uses(rng, cells, guests):
    """What guests have that were placed one after the other: uses as dictionaries."""
    devices, uses = HostDevices(capacity_of(cells)), []
    for _ in range(guests):
        request = {
            **random_guest(rng, min(len(cells), 2)),
            "networks": None,
            "near": None,
            "packed": False,
            "cpu_ratio": 4.0,
            "ram_ratio": 1.5,
        }
        placed = fit(devices, request).uses
        if placed is not None:
            devices = devices.with_guests([guest_of(placed)])
            uses += [use._asdict() for use in placed]
    return uses


# --- hosts and requests of the filter --------------------------------------------------------------------------------


def random_host(rng):
    """A host; now and then without NUMA nodes."""
    cells = random_cells(rng) if rng.random() < 0.93 else []
    pools = {
        (rng.choice([None, *(cell["id"] for cell in cells)]), rng.choice(PRODUCTS)): rng.randrange(1, 4)
        for _ in range(rng.randrange(4))
    }
    return {
        "cells": cells,
        "uses": random_uses(rng, cells, rng.randrange(5)) if cells else [],
        "pools": [[node, product, count] for (node, product), count in pools.items()],
        "cpu_ratio": rng.choice((1.0, 2.0, 4.0)),
        "ram_ratio": rng.choice((1.0, 1.5)),
    }


def random_asked(rng):
    """A request as the conductor sends it."""
    guest = random_guest(rng, rng.choice((1, 1, 2, 3))) if rng.random() < 0.9 else None
    cell = (
        guest["cells"][0] if guest else {"cpu_policy": rng.choice(("dedicated", "shared")), "thread_policy": "require"}
    )
    specs, image = {}, {}
    for name in ("cpu_policy", "thread_policy"):
        if cell[name] and rng.random() < 0.9:
            key = "cpu_thread_policy" if name == "thread_policy" else name
            if rng.random() < 0.7:
                specs[f"hw:{key}"] = cell[name]
            else:
                image[f"hw_{key}"] = cell[name]
    return {
        "guest": guest,
        "specs": specs,
        "image": image,
        "networks": None
        if rng.random() < 0.6
        else {"physnets": [name for name in PHYSNETS if rng.random() < 0.3], "tunneled": rng.random() < 0.2},
        "pci": [
            [rng.choice(PRODUCTS), rng.choice((1, 1, 2)), rng.choice(NUMA_POLICIES)]
            for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))
        ],
    }


def spec_of(asked):
    """The RequestSpec of a request of a case."""
    spec = request_spec(
        uuid_of("new"),
        flavor=flavor_of(1, 1, 0, asked["specs"], name="m1"),
        image=objects.ImageMeta(properties=objects.ImageMetaProps(**asked["image"])),
        scheduler_hints={},
        numa_topology=_topology_of(asked["guest"]),
        pci_requests=objects.InstancePCIRequests(
            requests=[
                objects.InstancePCIRequest(
                    count=count,
                    spec=[{"vendor_id": "8086", "product_id": product}],
                    alias_name="a",
                    numa_policy=policy,
                    request_id=uuid_of(f"pci {number}"),
                )
                for number, (product, count, policy) in enumerate(asked["pci"])
            ]
        ),
    )
    if asked["networks"] is not None:
        spec.network_metadata = objects.NetworkMetadata(
            physnets=set(asked["networks"]["physnets"]), tunneled=asked["networks"]["tunneled"]
        )
    return spec


def _topology_of(guest):
    return guest and objects.InstanceNUMATopology(
        emulator_threads_policy=guest["emulator"],
        cells=[
            objects.InstanceNUMACell(
                id=cell["id"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                memory=cell["memory_mb"],
                pagesize=cell["page_kb"],
                cpu_policy=cell["cpu_policy"],
                cpu_thread_policy=cell["thread_policy"],
            )
            for cell in guest["cells"]
        ],
    )


def report_of(name, host):
    """The (producer, HostReported) of a host."""
    capacity = capacity_of(host["cells"])
    inventories = (
        inventory_of("VCPU", 64, ratio=host["cpu_ratio"]),
        inventory_of("MEMORY_MB", 65536, ratio=host["ram_ratio"]),
    )
    consumers = [consumer(f"{name} vm")._replace(guest=pack(guest_of(host["uses"])))] if host["uses"] else []
    inventory = tree(
        name,
        inventories=inventories,
        supported_instances=(("x86_64", "kvm", "hvm"),),
        numa_cells=capacity.cells,
        pci_pools=tuple(
            events.PCIPool("8086", product, node, {"dev_type": "type-PCI"}, count)
            for node, product, count in host["pools"]
        ),
    )
    return f"compute_agent/{name}", report(name, *consumers, inventory=inventory)


def facts_of(host):
    """The same host for nova."""
    return {
        "cells": host["cells"] or None,
        "uses": host["uses"],
        "cpu_ratio": host["cpu_ratio"],
        "ram_ratio": host["ram_ratio"],
        "pools": [
            {
                "vendor_id": "8086",
                "product_id": product,
                "numa_node": node,
                "count": count,
                "tags": {"dev_type": "type-PCI"},
            }
            for node, product, count in host["pools"]
        ],
    }
