"""Random worlds (hosts, aggregates, requests) as plain values, of which both sides are built: ours here, nova's in its
own process (:mod:`tests.peers.nova_chain`)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.policy import Policy
from nova_sched.selection.request import image_properties, request_from
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import weigh
from nova_sched.weighers import BUILT_IN
from nova_sched.weighers.base import multipliers
from rpc_api import digest, events, objects
from rpc_api.packing import pack
from tests.peers.clouds import fold, inventory, uuid_of

CELLS = ("c1", "c2")


# --- what there is -------------------------------------------------------------------------------------------------

def random_image(rng):
    """Properties of an image."""
    return {key: value for key, value in {
        "hw_architecture": rng.choice(("x86_64", "aarch64")), "img_hv_type": rng.choice(("kvm", "qemu")),
        "hw_vm_mode": rng.choice(("hvm", "xen")), "os_distro": rng.choice(("ubuntu", "rhel")),
        "hw_disk_bus": rng.choice(("virtio", "scsi")), "hw_cpu_max_cores": rng.choice((2, 4)),
        "hw_boot_menu": rng.random() < 0.5, "os_require_quiesce": True,
    }.items() if rng.random() < 0.4}


def random_host(rng, name, members, room):
    """A host; with ``room`` it has enough of everything, else it may be used beyond what it has."""
    number = rng.randrange(5)
    instances = [[uuid_of(f"{name}-{one}"), random_image(rng)] for one in range(number)]
    instances += [[member, random_image(rng)] for member in members if rng.random() < 0.2]
    taken = {uuid for uuid, _ in instances}
    members[:] = [member for member in members if member not in taken]
    large = 64 if room else 1
    return {
        "name": name, "cell": uuid_of(rng.choice(CELLS)), "vcpus": rng.choice((2, 4, 8)) * large,
        "ratio": rng.choice((1.0, 1.5, 16.0)), "ram": rng.choice((1024, 4096, 8192)) * large, "reserved": 512,
        "disk": rng.choice((5, 50, 100)) * large, "instances": instances,
        "each": {"VCPU": 1, "MEMORY_MB": rng.choice((256, 512)), "DISK_GB": rng.choice((1, 10))},
        "type": rng.choice(("QEMU", "xen")), "version": rng.choice((0, 7000000, 8002000)),
        "cpu_info": rng.choice(("{}", '{"vendor": "AMD"}')), "stats": {"io_workload": rng.choice(("0", "3"))},
        "supported": [[rng.choice(("x86_64", "aarch64")), rng.choice(("kvm", "qemu")), rng.choice(("hvm", "xen"))]
                      for _ in range(rng.randrange(4))],
        "disabled": rng.random() < 0.1, "down": rng.random() < 0.1, "io": rng.choice((0, 0, 1, 3, 12)),
        "failed": rng.choice((0, 0, 0, 1, 5)),
        "metrics": {metric: rng.randrange(-20, 100) for metric in ("cpu", "io", "heat") if rng.random() < 0.7},
        # The first instance has what is used of them.
        "pci": [[count, rng.randrange(count + 1) if instances else 0] for count in
                (rng.choice((1, 4, 60)) for _ in range(rng.choice((0, 0, 1, 2))))],
    }


def random_request(rng, hosts):
    """A request; with a server group in three of four."""
    group = None
    if rng.random() < 0.75:
        policy = rng.choice(("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"))
        members = [uuid_of(f"member{number}") for number in range(6)]
        group = {"policy": policy, "members": members, "rules": {"max_server_per_host": rng.choice(("1", "2"))}
                 if policy == "anti-affinity" and rng.random() < 0.5 else {},
                 "hosts": [host["name"] for host in hosts if {uuid for uuid, _ in host["instances"]} & set(members)]}
    names = [host["name"] for host in hosts]
    return {
        "instance": uuid_of("new"), "image": rng.choice((None, random_image(rng), random_image(rng))), "group": group,
        "cell": rng.choice((None, *map(uuid_of, CELLS))), "may_cross": rng.random() < 0.7,
        "host": rng.choice(names) if rng.random() < 0.1 else None,
        "ignore": [name.upper() for name in rng.sample(names, 2)] if rng.random() < 0.2 else None,
        "force": rng.sample(names, 2) if rng.random() < 0.1 else None,
        "extra_specs": {"capabilities:hypervisor_version": rng.choice((">= 7000000", "== 8002000"))}
        if rng.random() < 0.2 else {},
    }


def random_aggregate(rng, name, hosts):
    """An aggregate with multipliers of its own, some of which are no numbers."""
    metadata = {one.key or one.option: rng.choice(("0", "-1", "2.5", " 1e3 ", "much", ""))
                for one in BUILT_IN.values() if rng.random() < 0.3}
    return {"name": name, "hosts": [host["name"] for host in hosts if rng.random() < 0.4], "metadata": metadata}


def random_world(rng, hosts, requests, room=False):
    """A world of some hosts and requests."""
    members = [uuid_of(f"member{number}") for number in range(6)]
    hosts = [random_host(rng, f"h{number}", members, room) for number in range(hosts)]
    return {"hosts": hosts, "requests": [random_request(rng, hosts) for _ in range(requests)],
            "aggregates": [random_aggregate(rng, f"a{number}", hosts) for number in range(rng.randrange(4))]}


def random_options(rng, weighers):
    """Values of nova's options: section -> name -> value."""
    options = {"filter_scheduler": {}, "metrics": {
        "weight_setting": [f"{metric}={rng.choice((1.0, -0.5, 0, 2))}" for metric in
                           rng.choices(("cpu", "io", "heat"), k=rng.randrange(4))],
        "required": rng.random() < 0.1, "weight_of_unavailable": rng.choice((-10000.0, 5.0))}}
    for name in weighers:
        one = BUILT_IN[name]
        options[one.group][one.option] = rng.choice((one.default_multiplier, 1.0, 2.5, 0.0) if one.least == 0.0 else
                                                    (one.default_multiplier, 1.0, -1.0, 2.5, 0.0))
    options["filter_scheduler"]["image_props_weight_setting"] = rng.choice(
        ([], ["os_distro=2.0", "hw_disk_bus=-1"], ["hw_boot_menu=0", "img_hv_type=0.5"]))
    return options


# --- our side ------------------------------------------------------------------------------------------------------

def said_of(host):
    """The HostReported of a host."""
    name = host["name"]
    root = uuid_of(name)
    pools = tuple(events.PCIPool("8086", str(number), None, {}, count) for number, (count, _) in enumerate(host["pci"]))
    uses = tuple(events.PCIUse(digest.pool_key(pool), used, None) for pool, (_, used) in zip(pools, host["pci"],
                                                                                           strict=True) if used)
    allocations = tuple(events.Allocation(root, key, amount) for key, amount in host["each"].items())
    consumers = [events.Consumer(uuid, "p", allocations, None, pack(events.Guest(
        (), () if number else uses, image_properties(objects.ImageMetaProps(**image)))))
        for number, (uuid, image) in enumerate(host["instances"])]
    amounts = (inventory("VCPU", host["vcpus"], ratio=host["ratio"]), inventory("MEMORY_MB", host["ram"], host["reserved"]),
               inventory("DISK_GB", host["disk"]))
    tree = events.HostInventory(name, None, None, host["type"], host["version"], host["cpu_info"],
                                tuple(map(tuple, host["supported"])), host["stats"],
                                (events.Provider(root, name, -1, amounts, (), ()),), (), pools)
    status = events.HostStatus(host["disabled"], None, host["down"], host["io"], host["failed"],
                               {metric: float(value) for metric, value in host["metrics"].items()})
    return events.HostReported(name, name, pack(tree), status, pack(events.HostConsumers(tuple(consumers))),
                               digest.consumers_digest(consumers))


def spec_of(request):
    """The RequestSpec of a request."""
    spec = objects.RequestSpec(
        flavor=objects.Flavor(name="m1", vcpus=1, memory_mb=1, root_gb=0, ephemeral_gb=0, swap=0,
                              extra_specs=request["extra_specs"]),
        image=None if request["image"] is None else objects.ImageMeta(properties=objects.ImageMetaProps(**request["image"])),
        project_id="p", availability_zone=None, num_instances=1, ignore_hosts=request["ignore"],
        force_hosts=request["force"], force_nodes=None, instance_group=None, instance_uuid=request["instance"],
        scheduler_hints={}, numa_topology=None, pci_requests=None)
    if request["group"] is not None:
        group = request["group"]
        spec.instance_group = objects.InstanceGroup(uuid=uuid_of("group"), policy=group["policy"],
                                                    members=group["members"], hosts=group["hosts"], _rules=group["rules"])
    if request["cell"] is not None or request["host"] is not None:
        spec.requested_destination = objects.Destination(allow_cross_cell_move=request["may_cross"])
        if request["cell"] is not None:
            spec.requested_destination.cell = objects.CellMapping(uuid=request["cell"])
        if request["host"] is not None:
            spec.requested_destination.host, spec.requested_destination.node = request["host"], None
    return spec


def policy_of(question):
    """The policy of a question."""
    options = question["options"]
    settings = options["filter_scheduler"]["image_props_weight_setting"]
    return Policy(
        enabled_filters=tuple(question["filters"] or ()),
        weighers=tuple((name, float(options[BUILT_IN[name].group][BUILT_IN[name].option])) for name in question["weighers"]),
        image_props_weight_setting=tuple(_weight(one) for one in settings),
        metrics_weight_setting=tuple(_weight(one) for one in options["metrics"]["weight_setting"]),
        metrics_required=options["metrics"]["required"],
        metrics_weight_of_unavailable=options["metrics"]["weight_of_unavailable"])


def _weight(setting):
    name, weight = setting.split("=")
    return name, float(weight)


class World:
    """Our side of a world: its projections, and its requests with their scopes."""

    def __init__(self, world):
        self.table = HostTable()
        cells = {}
        for host in world["hosts"]:
            cells.setdefault(host["cell"], []).append((f"compute_agent/{host['name']}", said_of(host)))
        zero = [("scheduler/s", events.AggregateUpdated(uuid_of(one["name"]), one["name"], tuple(one["hosts"]), one["metadata"]))
                for one in world["aggregates"]]
        self.projections = [fold(cell, said, self.table) for cell, said in {**cells, "cell0": zero}.items()]
        self.requests = []
        for request in world["requests"]:
            asked = request_from(spec_of(request), "req-1")
            self.requests.append((asked, Scope(self.table, self.projections, InFlight(self.table), asked,
                                               request["instance"])))

    def answer(self, question):
        """Name -> score of the hosts that pass; None where a metric that is required is missing, or would be if its
        weigher were not turned off."""
        request, scope = self.requests[question["request"]]
        policy = policy_of(question)
        rows = self.rows(question["hosts"]) if question["filters"] is None else FilterChain(
            self.table, policy).run(request, scope).rows
        scores, parts = weigh(self.table, rows, request, scope, policy)
        if any((part.raw != part.raw).any() for part in parts) or self._off(rows, request, policy):
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
        return raw is not None and (raw != raw).any() and not np.any(multipliers(one, self.table, rows, configured))

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
        return None  # nova fell over: see the tests of each filter
    if ours is None:
        return "we miss a metric"
    if {name for name, _ in novas} != set(ours):
        return "other hosts pass"
    error = 1e-12 * max([1e3, *(abs(question["options"][BUILT_IN[name].group][BUILT_IN[name].option])
                                for name in question["weighers"])])
    if any(abs(score - ours[name]) > error for name, score in novas):
        return "other scores"
    best_first = [ours[name] for name, _ in novas]
    if any(later - before > 2 * error for before, later in zip(best_first, best_first[1:], strict=False)):
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


def smaller(nova, shrink, world, question, difference):
    """The smallest case that shows the same difference."""
    case = {"world": {**world, "requests": [world["requests"][question["request"]]]},
            "question": {**question, "request": 0}}

    def still(case):
        return next(compared(nova, case["world"], [case["question"]]))[3] == difference

    return shrink(case, still)
