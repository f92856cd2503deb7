"""Where a guest's NUMA nodes go, one row a case; tests/against_nova/test_numa.py has nova's own word on random ones."""

import itertools
import random

import pytest

from nova_sched.fit import numa
from nova_sched.projection.devices import Capacity, HostDevices
from nova_sched.selection.limits import NUMALimits, numa_limits
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.digest import pool_key
from rpc_api.packing import pack
from tests.against_nova.numa_cases import asked_of, capacity_of, guest_of, random_cells, random_request, random_uses
from tests.asked import Asked
from tests.builders import consumer, inventory_of, pci, pool, report, request, tree

SMALL, LARGE, HUGE = 4, 2048, 1048576
PAGES = ((SMALL, 524288), (LARGE, 512), (HUGE, 1))


def node(number, kind="dedicated", threads=2, memory_mb=4096, pages=(), physnets=(), tunneled=False):
    """A NUMA node of 8 CPUs, the first of them 8 * number, whose threads are neighbours. ``kind``: all "dedicated", all
    "shared", "both": four of each, "legacy": all are both."""
    cpus = tuple(range(8 * number, 8 * number + 8))
    shared = {"dedicated": (), "both": cpus[4:]}.get(kind, cpus)
    dedicated = {"shared": (), "both": cpus[:4]}.get(kind, cpus)
    return events.HostNUMACell(
        number,
        number // 2,
        shared,
        dedicated,
        tuple(cpus[first : first + threads] for first in range(0, 8, threads)),
        memory_mb,
        tuple(events.HostPages(size, total, *(reserved or (0,))) for size, total, *reserved in pages),
        tuple(physnets),
        tunneled,
    )


def guest(
    *sizes, policy="dedicated", threads=None, page_kb=None, memory_mb=1024, emulator=None, physnets=(), tunneled=False
):
    """A guest with so many CPUs in each node; of those of a mixed one the first half is pinned."""
    cells, first = [], 0
    for number, size in enumerate(sizes):
        cpus = tuple(range(first, first + size))
        pinned = {"dedicated": size, "mixed": size // 2}.get(policy, 0)
        cells.append(
            events.NUMACellRequest(number, cpus[pinned:], cpus[:pinned], memory_mb, page_kb, policy, threads, 0)
        )
        first += size
    return events.NUMARequest(tuple(cells), emulator, tuple(physnets), tunneled, bool(physnets or tunneled))


def host(*nodes, pools=(), before=()):
    devices = HostDevices(Capacity(nodes, tuple(pools)))
    for one in before:
        devices = devices.with_guests([guest_of(numa.fit(devices, one, 4.0, 1.5))])
    return devices


def placed(uses):
    """[(host node, host CPUs in the order of the guest's, emulator's CPUs, page size)]."""
    return [(use.cell, [cpu for _, cpu in use.pins], list(use.reserved_cpus), use.page_kb) for use in uses]


TWO = (node(0), node(1))
PAGED = node(0, memory_mb=4096, pages=PAGES)

ROWS = [
    # what, host, guest, where it goes or why it does not
    ("whole cores", host(node(0)), guest(4), [(0, [0, 1, 2, 3], [], 0)]),
    ("as many threads of each core", host(node(0, threads=4)), guest(3), [(0, [0, 1, 2], [], 0)]),
    ("whole cores before halves", host(node(0), before=[guest(1)]), guest(3), [(0, [2, 3, 4], [], 0)]),
    (
        "the same threads of each",
        host(node(0, threads=4), before=[guest(2, memory_mb=1)]),
        guest(5, memory_mb=1),
        [(0, [2, 3, 4, 5, 6], [], 0)],
    ),
    ("single threads if need be", host(node(0), before=[guest(1)]), guest(7), [(0, [1, 2, 3, 4, 5, 6, 7], [], 0)]),
    ("no more than there are", host(node(0)), guest(9), "NUMA pinned CPUs"),
    ("require", host(node(0), before=[guest(1)]), guest(5, threads="require"), [(0, [2, 3, 4, 5, 6], [], 0)]),
    ("require no single threads", host(node(0), before=[guest(1)]), guest(7, threads="require"), "NUMA CPU threads"),
    ("require without threads", host(node(0, threads=1)), guest(2, threads="require"), "NUMA CPU threads"),
    ("isolate", host(node(0, "legacy"), before=[guest(1)]), guest(3, threads="isolate"), [(0, [2, 4, 6], [], 0)]),
    (
        "isolate leaves its threads idle",
        host(node(0, "legacy"), before=[guest(4, threads="isolate", memory_mb=1)]),
        guest(1),
        "NUMA pinned CPUs",
    ),
    (
        "isolate wants whole cores",
        host(node(0, "legacy"), before=[guest(3)]),
        guest(3, threads="isolate"),
        "NUMA CPU threads",
    ),
    ("isolate beside dedicated CPUs", host(node(0)), guest(1, threads="isolate"), "NUMA CPU threads"),
    ("isolate without threads", host(node(0, threads=1)), guest(3, threads="isolate"), [(0, [0, 1, 2], [], 0)]),
    ("a CPU for the emulator", host(*TWO), guest(2, 2, emulator="isolate"), [(0, [0, 1], [2], 0), (1, [8, 9], [], 0)]),
    ("none with the policy share", host(node(0)), guest(8, emulator="share"), [(0, [*range(8)], [], 0)]),
    ("no CPU for the emulator", host(node(0)), guest(8, emulator="isolate"), "NUMA pinned CPUs"),
    (
        "the same with a thread policy",
        host(node(0)),
        guest(8, threads="require", emulator="isolate"),
        "NUMA pinned CPUs",
    ),
    (
        "the emulator in what is left of a core",
        host(node(0), before=[guest(1)]),
        guest(5, emulator="isolate"),
        [(0, [2, 3, 4, 5, 6], [1], 0)],
    ),
    (
        "the emulator on a core of its own",
        host(node(0, "legacy"), before=[guest(1)]),
        guest(2, threads="isolate", emulator="isolate"),
        [(0, [2, 4], [6], 0)],
    ),
    (
        "no core for the emulator",
        host(node(0, "legacy"), before=[guest(1)]),
        guest(3, threads="isolate", emulator="isolate"),
        "NUMA CPU threads",
    ),
    ("mixed", host(node(0, "both")), guest(6, policy="mixed"), [(0, [0, 1, 2], [], 0)]),
    ("mixed over its own shared CPUs", host(node(0, "both")), guest(9, policy="mixed"), "NUMA shared CPUs"),
    ("mixed, all CPUs of a node shared", host(node(0, "shared")), guest(1, policy="mixed"), [(0, [], [], 0)]),
    ("the same with threads", host(node(0, "both")), guest(1, policy="mixed", threads="require"), [(0, [], [], 0)]),
    (
        "none with threads",
        host(node(0, "both", threads=1)),
        guest(1, policy="mixed", threads="require"),
        "NUMA CPU threads",
    ),
    (
        "no pinned CPUs to isolate",
        host(node(0, "legacy")),
        guest(1, policy="mixed", threads="isolate"),
        "NUMA CPU threads",
    ),
    (
        "the same with the emulator's CPU",
        host(node(0, "both")),
        guest(1, policy="mixed", emulator="isolate"),
        "NUMA pinned CPUs",
    ),
    ("shared", host(node(0, "shared")), guest(8, policy="shared"), [(0, [], [], 0)]),
    ("shared without a policy", host(node(0, "shared")), guest(8, policy=None), [(0, [], [], 0)]),
    (
        "shared within the ratio",
        host(node(0, "shared"), before=[guest(8, policy=None)]),
        guest(8, policy=None),
        [(0, [], [], 0)],
    ),
    (
        "shared over the ratio",
        host(node(0, "shared"), before=[guest(8, policy=None)] * 2),
        guest(1, policy=None),
        "NUMA shared CPUs",
    ),
    ("shared over its own CPUs", host(node(0, "shared")), guest(9, policy=None), "NUMA shared CPUs"),
    ("memory", host(node(0)), guest(1, memory_mb=4097), "NUMA memory"),
    ("memory of pinned CPUs is not shared", host(node(0), before=[guest(1)]), guest(1, memory_mb=3073), "NUMA memory"),
    (
        "memory within the ratio",
        host(node(0, "shared"), before=[guest(1, policy=None, memory_mb=2048)]),
        guest(1, policy=None, memory_mb=4096),
        [(0, [], [], 0)],
    ),
    (
        "memory over the ratio",
        host(node(0, "shared"), before=[guest(1, policy=None, memory_mb=2049)]),
        guest(1, policy=None, memory_mb=4096),
        "NUMA memory",
    ),
    ("no size: the smallest pages", host(PAGED), guest(1, memory_mb=2048), [(0, [0], [], 0)]),
    ("no size: too few of the smallest", host(PAGED), guest(1, memory_mb=2049), "NUMA memory"),
    (
        "no size: small pages are shared",
        host(node(0, "shared", pages=PAGES), before=[guest(1, policy=None, memory_mb=2048)]),
        guest(1, policy=None, memory_mb=2048),
        [(0, [], [], 0)],
    ),
    ("a size", host(PAGED), guest(1, page_kb=LARGE), [(0, [0], [], LARGE)]),
    ("a size that is not there", host(PAGED), guest(1, page_kb=64), "NUMA pages 64 KiB"),
    ("a size where none is known", host(node(0)), guest(1, page_kb=LARGE), "NUMA pages 2048 KiB"),
    ("no whole pages", host(PAGED), guest(1, memory_mb=1023, page_kb=LARGE), "NUMA pages 2048 KiB"),
    (
        "pages are used up",
        host(PAGED, before=[guest(1, page_kb=LARGE)]),
        guest(1, page_kb=LARGE),
        "NUMA pages 2048 KiB",
    ),
    (
        "reserved pages",
        host(node(0, pages=((SMALL, 262144), (LARGE, 512, 1)))),
        guest(1, page_kb=LARGE),
        "NUMA pages 2048 KiB",
    ),
    ("small", host(PAGED), guest(1, page_kb=-1), [(0, [0], [], SMALL)]),
    (
        "small is not shared",
        host(node(0, "shared", pages=PAGES), before=[guest(1, policy=None, memory_mb=2048)]),
        guest(1, policy=None, page_kb=-1),
        "NUMA small pages",
    ),
    ("large: the largest", host(PAGED), guest(1, page_kb=-2), [(0, [0], [], HUGE)]),
    (
        "large: the largest that is left",
        host(PAGED, before=[guest(1, page_kb=HUGE)]),
        guest(1, page_kb=-2),
        [(0, [2], [], LARGE)],
    ),
    ("large is not small", host(PAGED), guest(1, memory_mb=1025, page_kb=-2), "NUMA large pages"),
    ("any", host(PAGED), guest(1, memory_mb=1025, page_kb=-3), [(0, [0], [], SMALL)]),
    ("too much for any", host(PAGED), guest(1, memory_mb=2049, page_kb=-3), "NUMA pages"),
    (
        "each node for itself",
        host(node(0, pages=PAGES), node(1, pages=PAGES[:2])),
        guest(1, 1, page_kb=-2),
        [(0, [0], [], HUGE), (1, [8], [], LARGE)],
    ),
    ("too few nodes", host(node(0)), guest(1, 1), "NUMA nodes"),
    ("the node with most CPUs left", host(*TWO, before=[guest(1, memory_mb=1)]), guest(1), [(1, [8], [], 0)]),
    ("the node with most memory left", host(node(0, memory_mb=2048), node(1)), guest(1), [(1, [8], [], 0)]),
    (
        "CPUs before memory",
        host(node(0, memory_mb=2048), node(1), before=[guest(1, memory_mb=1)]),
        guest(1),
        [(0, [0], [], 0)],
    ),
    (
        "the node with fewest unpinned CPUs",
        host(node(0, "shared"), node(1, "shared"), before=[guest(2, policy=None)]),
        guest(1, policy=None),
        [(1, [], [], 0)],
    ),
    ("nodes with PCI devices last", host(*TWO, pools=[pool(1, numa_node=0)]), guest(1), [(1, [8], [], 0)]),
    ("all nodes: in their order", host(*TWO, before=[guest(1)]), guest(1, 2), [(0, [2], [], 0), (1, [8, 9], [], 0)]),
    (
        "another order where that one fails",
        host(*TWO, before=[guest(4)]),
        guest(8, 4),
        [(1, [8, 9, 10, 11, 12, 13, 14, 15], [], 0), (0, [4, 5, 6, 7], [], 0)],
    ),
    ("two for one node", host(node(0), node(1, "shared"), node(2, "shared")), guest(2, 2), "NUMA topology"),
    ("reasons that differ", host(node(0, memory_mb=512), node(1, "shared")), guest(2), "NUMA topology"),
    ("near to its network", host(node(0), node(1, physnets=["p"])), guest(1, physnets=["p"]), [(1, [8], [], 0)]),
    (
        "any of the near nodes",
        host(node(0, physnets=["p"]), node(1, physnets=["p"])),
        guest(1, physnets=["p"]),
        [(0, [0], [], 0)],
    ),
    ("a network that is nowhere near", host(*TWO), guest(1, physnets=["p"], tunneled=True), [(0, [0], [], 0)]),
    (
        "networks on two nodes",
        host(node(0, physnets=["p"]), node(1, physnets=["q"])),
        guest(1, physnets=["p", "q"]),
        "NUMA networks",
    ),
    (
        "networks on two nodes of the guest",
        host(*TWO, node(2, physnets=["p"]), node(3, tunneled=True)),
        guest(1, 1, physnets=["p"], tunneled=True),
        [(2, [16], [], 0), (3, [24], [], 0)],
    ),
    ("near to tunnels", host(node(0), node(1, tunneled=True)), guest(1, tunneled=True), [(1, [8], [], 0)]),
    (
        "the near node is full",
        host(node(0), node(1, physnets=["p"]), before=[guest(8, physnets=["p"])]),
        guest(1, physnets=["p"]),
        "NUMA networks",
    ),
]


@pytest.mark.parametrize("devices, asked, wanted", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_places(devices, asked, wanted):
    place = numa.place(devices, asked, 2.0, 1.5)
    assert (str(place.reason) if place.uses is None else placed(place.uses)) == wanted
    assert numa.fit(devices, asked, 2.0, 1.5) == place.uses
    if place.uses is not None:
        assert place.reason is None and devices.breach(guest_of(place.uses), 2.0, 1.5) is None
        assert [use.guest_cell for use in place.uses] == [cell.id for cell in asked.cells]


def test_packed_prefers_the_nodes_with_least_left():
    devices = host(*TWO, node(2), before=[guest(1, memory_mb=1), guest(2, memory_mb=1)])
    assert placed(numa.fit(devices, guest(1), 1.0, 1.0, packed=True)) == [(1, [10], [], 0)]
    shared = host(node(0, "shared"), node(1, "shared"), before=[guest(1, policy=None)])
    assert placed(numa.fit(shared, guest(1, policy=None), 1.0, 1.0, packed=True)) == [(0, [], [], 0)]


@pytest.mark.parametrize("packed", [False, True])
def test_pci_devices_are_near(packed):
    devices = host(*TWO, node(2), pools=[pool(2, numa_node=2), pool(1, numa_node=1), pool(5)])
    asked = []

    def fits_pci(cells):
        asked.append(cells)
        return cells == (1,)

    assert placed(numa.fit(devices, guest(1), 1.0, 1.0, fits_pci, packed)) == [(1, [8], [], 0)]
    assert asked == [(2,), (1,)]
    assert numa.place(devices, guest(1), 1.0, 1.0, lambda cells: False, packed).reason == numa.PCI_DEVICES
    # With networks to blame for some places and devices for others no one reason is true.
    near = host(node(0, physnets=["p"]), node(1))
    place = numa.place(near, guest(1, physnets=["p"]), 1.0, 1.0, lambda cells: cells == (1,), packed)
    assert place.reason == numa.TOPOLOGY


def test_the_first_arrangement_of_all_is_taken():
    """Looking ahead leaves nothing out: as going through all arrangements in their order."""
    rng, fits, careful = random.Random(7), 0, 0
    for _ in range(1500):
        cells = random_cells(rng)
        devices = HostDevices(capacity_of(cells)).with_guests([guest_of(random_uses(rng, cells, rng.randrange(4)))])
        case = random_request(rng, cells)
        asked, near = asked_of(case), case["near"]
        if len(asked.cells) > len(cells):
            continue
        fits_pci = None if near is None else lambda chosen, near=near: not set(chosen).isdisjoint(near)
        search = numa._Search(devices, asked, case["cpu_ratio"], case["ram_ratio"], fits_pci, case["packed"])
        first = next(
            (
                chosen
                for chosen in itertools.permutations(search.order, len(asked.cells))
                if all(search._fits(*pair) for pair in enumerate(chosen)) and search._fault_of(chosen) is None
            ),
            None,
        )
        place = search.run()
        assert placed(place.uses or ()) == placed([search._pair(*pair) for pair in enumerate(first or ())])
        assert (place.uses is None) == (first is None)
        fits += first is not None
        careful += search.careful
    assert fits > 300 and careful > 300, (fits, careful)


def test_what_is_known_of_other_hosts_changes_no_place():
    """Hosts of a few makes in many states are tried one after the other, for guests that are alike and that are not."""
    rng = random.Random(5)
    kept = judged = 0
    for _ in range(40):
        makes = [random_cells(rng) for _ in range(3)]
        case = random_request(rng, makes[0])
        asked, known = asked_of(case), {}
        for _ in range(12):
            cells = rng.choice(makes)
            devices = HostDevices(capacity_of(cells)).with_guests([guest_of(random_uses(rng, cells, rng.randrange(3)))])
            told = devices, asked, case["cpu_ratio"], case["ram_ratio"], None, case["packed"]
            alone = {}
            assert numa.place(*told, known) == numa.place(*told, alone) == numa.place(*told)
            judged += len(alone)
        kept += len(known)
    assert kept < 0.8 * judged, (kept, judged)


def random_host(rng, name):
    """A report of a host of one of a few makes, in one of a few states of each."""
    make = rng.randrange(3)
    # The node with most devices is tried first; it is not the one with most of those that are asked for.
    pools = [
        *(pool(1 + make + number, numa_node=number) for number in range(2)),
        pool(9, product_id="1521", numa_node=0),
    ]
    cells = tuple(node(number, "legacy", threads=1 + make % 2) for number in range(2 if make else 1))
    uses = (
        numa.fit(HostDevices(Capacity(cells, ())), guest(rng.choice((1, 3, 8))), 1.0, 1.0) if rng.random() < 0.7 else ()
    )
    taken = tuple(events.PCIUse(pool_key(one), 1, None) for one in pools if rng.random() < 0.5)
    running = consumer(f"guest of {name}")._replace(guest=pack(events.Guest(uses, taken, {})))
    return report(
        name,
        running,
        inventory=tree(
            name,
            inventories=(inventory_of("VCPU", 64), inventory_of("MEMORY_MB", 2**16, ratio=rng.choice((1.0, 1.5)))),
            numa_cells=cells,
            pci_pools=pools,
        ),
    )


@pytest.mark.parametrize("enabled", ["NUMATopologyFilter", "PciPassthroughFilter"])
def test_many_hosts_are_judged_as_each_alone(enabled):
    rng = random.Random(3)
    hosts = [random_host(rng, f"h{number}") for number in range(24)]
    policy, verdicts = Policy(enabled_filters=(enabled,)), set()
    cloud, clouds = Asked(*hosts, policy=policy), [Asked(one, policy=policy) for one in hosts]
    for _ in range(20):
        asked = request(
            numa=guest(
                *[rng.choice((1, 4, 7))] * rng.choice((1, 2)),
                policy=rng.choice((None, "dedicated")),
                memory_mb=rng.choice((1024, 3500)),
            ),
            pci=tuple(
                pci(rng.choice((1, 3, 5)), numa_policy=rng.choice(("required", "preferred")), product_id="1520")
                for _ in range(rng.randrange(3))
            ),
        )
        together = sorted(cloud.survivors(asked))
        alone = sorted(name for one in clouds for name in one.survivors(asked))
        assert together == alone
        verdicts.update((one.host, one.host in alone) for one in hosts)
    assert len(verdicts) > 36, "every host passes, or none"


def test_many_nodes_end():
    devices = host(*(node(number, memory_mb=2**20) for number in range(64)))
    eight = guest(*[1] * 8)
    assert len(numa.fit(devices, eight, 1.0, 1.0)) == 8
    assert numa.place(devices, eight, 1.0, 1.0, lambda cells: False).reason == numa.TOPOLOGY
    # One node of the guest more than nodes of the host that could take it: told without trying them all.
    lean = host(*(node(number, "dedicated" if number < 31 else "shared") for number in range(64)))
    search = numa._Search(lean, guest(*[1] * 32), 1.0, 1.0, None, False)
    assert search.run().reason == numa.TOPOLOGY and search.steps > numa.MAX_STEPS - 1000


def test_many_nodes_with_many_pools_end():
    """A look at the pools for each set of nodes costs what they are many."""
    cells = tuple(node(number, memory_mb=2**20) for number in range(64))
    devices = HostDevices(Capacity(cells, tuple(pool(1, tag=str(number)) for number in range(1024))))
    looks = []
    assert numa.place(devices, guest(1, 1, 1, 1), 1.0, 1.0, lambda cells: looks.append(cells)).reason == numa.TOPOLOGY
    assert 100 < len(looks) <= numa.MAX_STEPS * numa.POOLS_A_STEP // 1024


def test_what_fits_never_breaches_and_never_meets():
    """Guests are placed until nothing fits: no CPU is given twice, and what the fold checks at a claim holds."""
    rng = random.Random(11)
    for _ in range(60):
        cells = random_cells(rng)
        devices, taken = HostDevices(capacity_of(cells)), set()
        for _ in range(20):
            case = {**random_request(rng, cells), "cpu_ratio": 2.0, "ram_ratio": 1.2}
            uses = numa.fit(devices, asked_of(case), 2.0, 1.2)
            if uses is None:
                continue
            assert devices.breach(guest_of(uses), 2.0, 1.2) is None
            own = {cpu for use in uses for cpu in (*(host for _, host in use.pins), *use.reserved_cpus)}
            assert own.isdisjoint(taken)
            taken |= own
            devices = devices.with_guests([guest_of(uses)])
        for cell, used in zip(cells, devices.cell_uses, strict=True):
            assert used.shared_cpus <= 2.0 * len(cell["shared"]) and used.pinned <= set(cell["dedicated"])


NODES = tree(
    "numa",
    inventories=(inventory_of("VCPU", 8, ratio=3.0), inventory_of("MEMORY_MB", 4096, ratio=1.5)),
    numa_cells=(node(0),),
)


@pytest.mark.parametrize(
    "host_name, facts, enabled, wanted",
    [
        ("numa", {"numa": guest(1)}, True, NUMALimits(3.0, 1.5, False, (), False)),
        ("numa", {"numa": guest(1, physnets=["p"])}, True, NUMALimits(3.0, 1.5, True, ("p",), False)),
        ("numa", {}, True, None),
        ("numa", {"numa": guest(1)}, False, None),
        ("numa", {"numa": guest(1), "force_hosts": ("numa",)}, True, None),
        ("numa", {"numa": guest(1), "check_only": True}, True, None),
        ("plain", {"numa": guest(1)}, True, None),
    ],
)
def test_limits(host_name, facts, enabled, wanted):
    table = Asked(report("plain"), report("numa", inventory=NODES)).table
    policy = Policy(enabled_filters=("NUMATopologyFilter",) if enabled else ())
    assert numa_limits(table, table.row_of_host[host_name], request(**facts), policy) == wanted
