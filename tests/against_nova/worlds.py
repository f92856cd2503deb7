"""Random worlds (hosts, aggregates, requests) as plain values, of which both sides are built: ours here, nova's in its
own process (:mod:`tests.against_nova.nova_chain`)."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.request.from_spec import image_properties, request_from
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import weigh
from nova_sched.weighers import BUILT_IN
from nova_sched.weighers.base import multipliers
from rpc_api import digest, events, objects
from rpc_api.packing import pack
from tests.against_nova import numa_cases
from tests.against_nova.clouds import fold
from tests.against_nova.shrink import shrink
from tests.builders import inventory_of, report, tree, uuid_of

CELLS = ("c1", "c2")
METRICS = ("cpu", "io", "heat")
IMAGES = tuple(uuid_of(f"image{number}") for number in range(3))
PROJECTS, FLAVORS = ("p1", "p2"), ("m1", "m2")
#: What filters look for in the metadata of aggregates.
METADATA = {
    "ssd": ("true", "true,no", "no"),
    "filter_tenant_id": ("p1", "p1,p2", "p2"),
    "instance_type": ("m1", "m2, m1"),
    "max_io_ops_per_host": ("2", "13", "x"),
    "max_instances_per_host": ("3", "9"),
    "os_distro": ("ubuntu", "rhel,ubuntu"),
}
EXTRA_SPECS = {
    "capabilities:hypervisor_version": (">= 7000000", "== 8002000"),
    "capabilities:hypervisor_type": ("QEMU", "<or> xen <or> QEMU"),
    "capabilities:cpu_info:vendor": ("AMD",),
    "capabilities:io_workload": ("<= 2",),
    "ssd": ("true", "<in> t"),
    "aggregate_instance_extra_specs:ssd": ("no", "s!= no"),
    "other:scope": ("1",),
}
QUERIES = (
    '[">=", "$free_ram_mb", 65536]',
    '["in", "$host", "h1", "h2", "h5"]',
    '["=", "$stats.io_workload", "0"]',
    "",
    '["or", ["=", "$hypervisor_type", "QEMU"], ["not", [">", "$num_instances", 2]]]',
)


# --- what there is -------------------------------------------------------------------------------------------------


def some(rng, choices, chance):
    """Some of the names, each with one of its values."""
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < chance}


def random_image(rng):
    """Properties of an image."""
    return some(
        rng,
        {
            "hw_architecture": ("x86_64", "aarch64"),
            "img_hv_type": ("kvm", "qemu"),
            "hw_vm_mode": ("hvm", "xen"),
            "os_distro": ("ubuntu", "rhel"),
            "hw_disk_bus": ("virtio", "scsi"),
            "hw_cpu_max_cores": (2, 4),
            "hw_boot_menu": (True, False),
            "os_require_quiesce": (True,),
        },
        0.4,
    )


def random_host(rng, name, members, whole):
    """A host. A ``whole`` one has room for everything, and now and then NUMA nodes; else it may be used beyond what it
    has."""
    instances = [[uuid_of(f"{name}-{one}"), random_image(rng)] for one in range(rng.randrange(5))]
    instances += [[member, random_image(rng)] for member in members if rng.random() < 0.2]
    taken = {uuid for uuid, _ in instances}
    members[:] = [member for member in members if member not in taken]
    large = 64 if whole else 1
    cells = numa_cases.random_cells(rng) if whole and rng.random() < 0.8 else []
    pools = {
        (rng.choice([None, *(cell["id"] for cell in cells)]), rng.choice(numa_cases.PRODUCTS)): rng.choice(
            (1, 4, 60, 98, 120)
        )
        for _ in range(rng.choice((0, 0, 1, 2)))
    }
    return {
        "name": name,
        "cell": uuid_of(rng.choice(CELLS)),
        "vcpus": rng.choice((2, 4, 8)) * large,
        "ratio": rng.choice((1.0, 1.5, 16.0)),
        "ram": rng.choice((1024, 4096, 8192)) * large,
        "reserved": 512,
        "disk": rng.choice((5, 50, 100)) * large,
        "instances": instances,
        "each": {"VCPU": 1, "MEMORY_MB": rng.choice((256, 512)), "DISK_GB": rng.choice((1, 10))},
        "type": rng.choice(("QEMU", "QEMU", "xen")),
        "version": rng.choice((0, 7000000, 8002000)),
        "ip": f"10.0.{rng.randrange(2)}.{rng.randrange(1, 250)}",
        "cpu_info": rng.choice(("{}", '{"vendor": "AMD"}')),
        "stats": {"io_workload": rng.choice(("0", "3"))},
        "supported": [
            [rng.choice(("x86_64", "aarch64")), rng.choice(("kvm", "qemu")), rng.choice(("hvm", "xen"))]
            for _ in range(rng.choice((0, 2, 4, 6)))
        ],
        "disabled": rng.random() < 0.1,
        "down": rng.random() < 0.1,
        "io": rng.choice((0, 0, 1, 3, 12)),
        "failed": rng.choice((0, 0, 0, 1, 5)),
        "metrics": {metric: rng.randrange(-20, 100) for metric in METRICS if rng.random() < 0.8},
        # The first instance has what is used of the devices.
        "numa": cells,
        "uses": numa_cases.random_uses(rng, cells, rng.randrange(3)) if cells and instances else [],
        "pci": [
            [node, product, count, rng.randrange(count + 1) if instances else 0]
            for (node, product), count in pools.items()
        ],
    }


def random_request(rng, hosts, whole):
    """A request; with a server group in three of four. A ``whole`` one asks for all that filters look at."""
    names = [host["name"] for host in hosts]
    running = [uuid for host in hosts for uuid, _ in host["instances"]] or [uuid_of("nobody")]
    request = {
        "instance": uuid_of("new"),
        "image": rng.choice((None, random_image(rng), random_image(rng))),
        "group": None,
        "cell": rng.choice((None, None, *map(uuid_of, CELLS))),
        "may_cross": rng.random() < 0.8,
        "host": None,
        "ignore": None,
        "force": None,
        "extra_specs": {},
        "image_id": rng.choice(IMAGES),
        "project": rng.choice(PROJECTS),
        "flavor": rng.choice(FLAVORS),
        "hints": {},
        "numa": None,
        "pci": [],
    }
    if rng.random() < 0.75:
        policy = rng.choice(("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"))
        members = [uuid_of(f"member{number}") for number in range(6)]
        request["group"] = {
            "policy": policy,
            "members": members,
            "rules": {"max_server_per_host": rng.choice(("1", "2"))}
            if policy == "anti-affinity" and rng.random() < 0.5
            else {},
            "hosts": [host["name"] for host in hosts if {uuid for uuid, _ in host["instances"]} & set(members)],
        }
    if not whole:
        return request
    # Nova's NUMATopologyFilter falls over a request without one.
    request["image"] = request["image"] or {}
    request["extra_specs"] = some(rng, EXTRA_SPECS, 0.06)
    hints = request["hints"]
    for name, chance in (("different_host", 0.15), ("same_host", 0.04)):
        if rng.random() < chance:
            hints[name] = rng.choices(running, k=2)
    if rng.random() < 0.1:
        hints |= {"build_near_host_ip": ["10.0.0.7"], "cidr": [rng.choice(("/24", "/16", "/25"))]}
    if rng.random() < 0.15:
        hints["query"] = [rng.choice(QUERIES)]
    if rng.random() < 0.1:
        request["host"] = rng.choice(names)
    if rng.random() < 0.2:
        request["ignore"] = [name.upper() for name in rng.sample(names, 2)]
    if rng.random() < 0.07:
        request["force"] = rng.sample(names, 2)
    if rng.random() < 0.2:
        request["numa"] = numa_cases.random_guest(rng, rng.choice((1, 1, 2)))
    if rng.random() < 0.2:
        request["pci"] = [
            [rng.choice(numa_cases.PRODUCTS), rng.choice((1, 1, 2)), rng.choice(numa_cases.NUMA_POLICIES)]
        ]
    return request


def random_aggregate(rng, name, hosts, whole):
    """An aggregate with multipliers of its own, some of which are not numbers."""
    metadata = {
        one.key or one.option: rng.choice(("0", "-1", "2.5", " 1e3 ", "much", ""))
        for one in BUILT_IN.values()
        if rng.random() < 0.3
    }
    return {
        "name": name,
        "hosts": [host["name"] for host in hosts if rng.random() < 0.4],
        "metadata": metadata | some(rng, METADATA, 0.1 if whole else 0.0),
    }


def random_world(rng, hosts, requests, whole=False):
    """A world of some hosts and requests, for weighers only or for ``whole`` chains."""
    members = [uuid_of(f"member{number}") for number in range(6)]
    hosts = [random_host(rng, f"h{number}", members, whole) for number in range(hosts)]
    return {
        "hosts": hosts,
        "requests": [random_request(rng, hosts, whole) for _ in range(requests)],
        "aggregates": [random_aggregate(rng, f"a{number}", hosts, whole) for number in range(rng.randrange(4))],
    }


def random_options(rng, weighers, filters):
    """Values of nova's options that some weighers and filters look at: section -> name -> value."""
    options, metrics = {}, {}
    for name in weighers:
        one = BUILT_IN[name]
        (metrics if one.group == "metrics" else options)[one.option] = rng.choice(
            (one.default_multiplier, 1.0, 2.5, 0.0, 1.0 if one.least == 0.0 else -1.0)
        )
    if "ImagePropertiesWeigher" in weighers:
        options["image_props_weight_setting"] = rng.choice(
            ([], ["os_distro=2.0", "hw_disk_bus=-1"], ["hw_boot_menu=0", "img_hv_type=0.5"])
        )
    if filters:
        options |= {
            "max_io_ops_per_host": rng.choice((8, 3, 13)),
            "max_instances_per_host": rng.choice((50, 4)),
            "isolated_hosts": rng.choice(([], [], ["h0", "h1", "gone"])),
            "isolated_images": rng.sample(IMAGES, rng.choice((0, 1))),
            "restrict_isolated_hosts_to_isolated_images": rng.random() < 0.5,
            "image_properties_default_architecture": rng.choice((None, "x86_64")),
        }
    if filters or "MetricsWeigher" in weighers:
        metrics |= {
            "weight_setting": [
                f"{metric}={rng.choice((1.0, -0.5, 0, 2))}"
                for metric in rng.choices(METRICS, k=rng.choice((0, 1, 1, 2, 3)))
            ],
            "required": rng.random() < 0.1,
            "weight_of_unavailable": rng.choice((-10000.0, 5.0)),
        }
    return {"filter_scheduler": options, "metrics": metrics}


# --- our side ------------------------------------------------------------------------------------------------------


def report_of(host):
    """The HostReported of a host."""
    name = host["name"]
    root = uuid_of(name)
    pools = tuple(
        events.PCIPool("8086", product, node, {"dev_type": "type-PCI"}, count)
        for node, product, count, _ in host["pci"]
    )
    guest = events.Guest(
        tuple(events.NUMAUse(**use) for use in host["uses"]),
        tuple(
            events.PCIUse(digest.pool_key(pool), used, None)
            for pool, (*_, used) in zip(pools, host["pci"], strict=True)
        ),
        {},
    )
    allocations = tuple(events.Allocation(root, key, amount) for key, amount in host["each"].items())
    consumers = []
    for uuid, image in host["instances"]:
        consumers.append(
            events.Consumer(
                uuid,
                "p",
                allocations,
                None,
                pack(guest._replace(image_properties=image_properties(objects.ImageMetaProps(**image)))),
            )
        )
        guest = events.Guest((), (), {})
    amounts = (
        inventory_of("VCPU", host["vcpus"], ratio=host["ratio"]),
        inventory_of("MEMORY_MB", host["ram"], host["reserved"]),
        inventory_of("DISK_GB", host["disk"]),
    )
    inventory = tree(
        name,
        inventories=amounts,
        host_ip=host["ip"],
        hypervisor_type=host["type"],
        hypervisor_version=host["version"],
        cpu_info=host["cpu_info"],
        supported_instances=tuple(map(tuple, host["supported"])),
        stats=host["stats"],
        numa_cells=numa_cases.capacity_of(host["numa"]).cells,
        pci_pools=pools,
    )
    return report(
        name,
        *consumers,
        inventory=inventory,
        disabled=host["disabled"],
        forced_down=host["down"],
        num_io_ops=host["io"],
        failed_builds=host["failed"],
        metrics={metric: float(value) for metric, value in host["metrics"].items()},
    )


def spec_of(request):
    """The RequestSpec of a request."""
    spec = numa_cases.spec_of(
        {
            "guest": request["numa"],
            "pci": request["pci"],
            "specs": request["extra_specs"],
            "image": request["image"] or {},
            "networks": None,
        }
    )
    spec.flavor.name, spec.project_id, spec.instance_uuid = request["flavor"], request["project"], request["instance"]
    if request["image"] is None:
        spec.image = None
    else:
        spec.image.id = request["image_id"]
    spec.ignore_hosts, spec.force_hosts, spec.scheduler_hints = request["ignore"], request["force"], request["hints"]
    if request["group"] is not None:
        group = request["group"]
        spec.instance_group = objects.InstanceGroup(
            uuid=uuid_of("group"),
            policy=group["policy"],
            members=group["members"],
            hosts=group["hosts"],
            _rules=group["rules"],
        )
    if request["cell"] is not None or request["host"] is not None:
        spec.requested_destination = objects.Destination(allow_cross_cell_move=request["may_cross"])
        if request["cell"] is not None:
            spec.requested_destination.cell = objects.CellMapping(uuid=request["cell"])
        if request["host"] is not None:
            spec.requested_destination.host, spec.requested_destination.node = request["host"], None
    return spec


def policy_of(question):
    """The policy of a question."""
    weighed = tuple(
        (name, float(question["options"][BUILT_IN[name].group][BUILT_IN[name].option])) for name in question["weighers"]
    )
    options = {
        name: value for name, value in question["options"]["filter_scheduler"].items() if name not in _MULTIPLIERS
    }
    options |= {
        f"metrics_{name}": value
        for name, value in question["options"]["metrics"].items()
        if name != "weight_multiplier"
    }
    for name, value in options.items():
        if isinstance(value, list):
            options[name] = tuple(map(_weight, value)) if name.endswith("weight_setting") else tuple(value)
    return Policy(enabled_filters=tuple(question["filters"] or ()), weighers=weighed, **options)


_MULTIPLIERS = {one.option for one in BUILT_IN.values()}


def _weight(setting):
    name, weight = setting.split("=")
    return name, float(weight)


class World:
    """Our side of a world: its projections, and its requests with their scopes."""

    def __init__(self, world):
        self.table = HostTable()
        cells = {}
        for host in world["hosts"]:
            cells.setdefault(host["cell"], []).append((f"compute_agent/{host['name']}", report_of(host)))
        zero = [
            (
                "scheduler/s",
                events.AggregateUpdated(uuid_of(one["name"]), one["name"], tuple(one["hosts"]), one["metadata"]),
            )
            for one in world["aggregates"]
        ]
        self.projections = [fold(cell, said, self.table) for cell, said in {**cells, "cell0": zero}.items()]
        self.requests = []
        for request in world["requests"]:
            asked = request_from(spec_of(request), "req-1")
            self.requests.append(
                (asked, Scope(self.table, self.projections, InFlight(self.table), asked, request["instance"]))
            )

    def answer(self, question):
        """Name -> score of the hosts that pass; None where a metric that is required is missing, or would be if its
        weigher were not turned off."""
        request, scope = self.requests[question["request"]]
        policy = policy_of(question)
        rows = (
            self.rows(question["hosts"])
            if question["filters"] is None
            else FilterChain(self.table, policy).run(request, scope).rows
        )
        scores, parts = weigh(self.table, rows, request, scope, policy)
        if any(np.isnan(part.raw).any() for part in parts) or self._off(rows, request, policy):
            return None
        return dict(zip([self.table.host_names[row] for row in rows.tolist()], scores.tolist(), strict=True))

    def _off(self, rows, request, policy):
        """Whether the metrics have a multiplier of 0 for all of some hosts, and one of those lacks a metric that is
        required: nova looks at the metrics all the same."""
        one = BUILT_IN["MetricsWeigher"]
        configured = dict(policy.weighers).get(one.name)
        if configured is None or not policy.metrics_required or len(rows) < 2:
            return False
        raw = one.raw(self.table, rows, request, policy, None)
        return raw is not None and np.isnan(raw).any() and not np.any(multipliers(one, self.table, rows, configured))

    def rows(self, names):
        """Root rows of some hosts, ascending."""
        roots = self.table.roots()
        wanted = {self.table.row_of_host[name] for name in names}
        return roots[[row in wanted for row in roots.tolist()]]


# --- both ----------------------------------------------------------------------------------------------------------


def differs(question, novas, ours):
    """How two answers differ, in words; None where they do not. Scores are equal but for the rounding of their sums."""
    if novas and novas[0] == "ComputeHostMetricNotFound":
        return None if ours is None else "nova misses a metric"
    if novas and isinstance(novas[0], str):
        return "nova falls over"
    if ours is None:
        return "we miss a metric"
    if {name for name, _ in novas} != set(ours):
        return "other hosts pass"
    # Each term of a sum is rounded to the size of the largest one, which an aggregate's 1e3 may be.
    terms = [abs(question["options"][BUILT_IN[name].group][BUILT_IN[name].option]) for name in question["weighers"]]
    error = 1e-12 * (max(1e3, *terms) if len(terms) > 1 else max([1.0, *(abs(score) for _, score in novas)]))
    if any(abs(score - ours[name]) > error for name, score in novas):
        return "other scores"
    best_first = [ours[name] for name, _ in novas]
    if any(later - before > 2 * error for before, later in itertools.pairwise(best_first)):
        return "another order"
    return None


def compared(nova, world, questions):
    """Yield (question, nova's answer, our answer, how they differ) for questions about one world; both sides answer at
    the same time."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(nova.ask, "answers", world, questions)
        ours = World(world)
        answers = [ours.answer(question) for question in questions]
        reply = asked.result()
    assert "error" not in reply, reply
    for question, novas, own in zip(questions, reply["answer"], answers, strict=True):
        yield question, novas, own, differs(question, novas, own)


def smallest(nova, world, question, difference):
    """The smallest case that shows the same difference, and both answers to it."""

    def found(case):
        return next(compared(nova, case["world"], [case["question"]]))

    case = shrink(
        {
            "world": {**world, "requests": [world["requests"][question["request"]]]},
            "question": {**question, "request": 0},
        },
        lambda case: found(case)[3] == difference,
    )
    return case, found(case)[1:]
