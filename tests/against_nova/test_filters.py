"""Each filter against nova's own class of that name, host by host, on random clouds and requests.

A cloud is a JSON-like dictionary from which both sides are built: ours through the log and a RequestSpec, nova's as
HostStates and a RequestSpec of its own.
"""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nova_sched import filters
from nova_sched.filters import HostView, extra_specs_ops
from nova_sched.projection.in_flight import InFlight
from nova_sched.request.from_spec import request_from
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from rpc_api import errors, events, objects
from tests.against_nova.clouds import fold
from tests.against_nova.conftest import running_peer
from tests.against_nova.shrink import shrink
from tests.builders import flavor_of, inventory_of, report, request_spec, tree, uuid_of

pytestmark = pytest.mark.nova

SEED = 4134
CLOUDS, REQUESTS, HOSTS, BATCH = 250, 40, 4, 10
#: How often each filter must have let a host through, and refused one.
OFTEN = 500
#: Filters of ours of which nova 34 has none.
NOT_NOVAS = {"AvailabilityZoneFilter", "CoreFilter", "DiskFilter", "RamFilter"}
#: Filters that are compared in files of their own.
ELSEWHERE = {"NUMATopologyFilter", "PciPassthroughFilter"}
#: Where nova falls over: a host is refused then, or the request is.
FALLS_OVER = {
    "ComputeCapabilitiesFilter": {"ValueError"},
    "AggregateInstanceExtraSpecsFilter": {"ValueError"},
    "SimpleCIDRAffinityFilter": {"AddrFormatError", "TypeError", "ValueError"},
    "JsonFilter": {"TypeError", "KeyError", "AttributeError", "JSONDecodeError"},
}

CPU_INFOS = (
    "{}",
    '{"vendor": "AMD", "features": ["avx", "aes"], "topology": {"cores": 8}}',
    "no JSON",
    "",
    '{"maxphysaddr": {"mode": "emulate", "bits": 46}, "features": "avx"}',
    "[1, 2]",
)
ARCHITECTURES, TYPES, MODES = ("x86_64", "aarch64", "i686"), ("kvm", "qemu", "xen"), ("hvm", "xen")
STATS = {
    "io_workload": ("0", "3"),
    "cpu_model": ("zen", "zen 4"),
    "speed": ("10", "2.5", "fast"),
    # Asked for where a host does not say its own.
    "host_ip": ("10.0.0.1", "10.9.9.9"),
}
PROPERTIES = {
    "hw_architecture": ("x86_64", "AMD64", "aarch64", "i386"),
    "img_hv_type": ("kvm", "qemu", "xapi"),
    "hw_vm_mode": ("hvm", "hv", "xen", "pv"),
    "img_hv_requested_version": (">=8.0", "<8.0,>=7.0", "!=8.2.0"),
    "hw_maxphysaddr_bits": (0, 40, 46, 50),
    "os_distro": ("arch", "0", "debian", "False"),
    "os_type": ("linux", "windows"),
    "hw_boot_menu": ("yes", "no"),
    "hw_cpu_cores": (0, 1, 2),
    "hw_numa_mem": ([], [512], [512, 1]),
    "traits_required": (["CUSTOM_A"],),
    "hw_machine_type": ("q35", ""),
}
PROPERTY_WORDS = (
    "arch",
    "0",
    "debian",
    "False",
    "True",
    "linux",
    "windows",
    "x86_64",
    "1",
    "2",
    "[512]",
    "['CUSTOM_A']",
    "hvm",
    "kvm",
    "q35",
    "",
    ">=8.0",
)
WANTED = {
    "capabilities:hypervisor_type": ("QEMU", "s== QEMU", "<in> EM", "<or> xen <or> QEMU", "s!= QEMU", "s< R"),
    "capabilities:hypervisor_version": (">= 8000000", "== 8002000", "< 5", "= 7000000", "!= 8002000", "<= 9", ">="),
    "capabilities:cpu_info:vendor": ("AMD", "<in> A"),
    "capabilities:cpu_info:features": ("<all-in> avx aes", "avx"),
    "capabilities:cpu_info:topology:cores": ("8", ">= 4", "== x"),
    "capabilities:cpu_info": ("<in> avx", "{}"),
    "capabilities:cpu_info:features:deep": ("1",),
    "capabilities:supported_instances": ("<in> kvm",),
    "capabilities:io_workload": ("0", "<= 2"),
    "capabilities:nothing": ("1",),
    "capabilities:": ("1",),
    "capabilities": ("1",),
    "speed": (">= 5", "10", "fast"),
    "cpu_model": ("zen 4", "<in> 4"),
    "hypervisor_type": ("QEMU",),
    "host_ip": ("10.0.0.1",),
    "capabilities:host_ip": ("<in> 10.",),
    "free_ram_mb": (">= 4096", "8192"),
    "vcpus_total": ("== 8", "8"),
    "capabilities:vcpus_used": ("<= 4",),
    "host": ("h1",),
    "unknown": ("1",),
    "other:scope": ("1",),
    "capabilities:stats:speed": ("10",),
    "hw:maxphysaddr_bits": ("40", "50"),
    "capabilities:cpu_info:maxphysaddr:bits": ("46", "<= 40"),
    "num_instances": ("<= 1",),
    "capabilities:free_disk_mb": (">= 51200",),
    "cpu_allocation_ratio": ("2.0", "> 1"),
    "capabilities:service:disabled": ("True",),
    "capabilities:limits": ("{}",),
}
OF_AGGREGATES = {
    "ssd": ("true", "<in> u", "s!= true"),
    "aggregate_instance_extra_specs:ssd": ("true", "no"),
    "aggregate_instance_extra_specs:a:b": ("1", ">= 2", "== x"),
    "aggregate_instance_extra_specs:": ("",),
    "tier": ("<or> gold <or> tin", "s> h", "gold"),
    "other:tier": ("lead",),
    "capabilities:tier2": ("1",),
}
WORDS = ("true", "no", "1", "2.5", "gold", "tin", "", " true ")
PROJECTS, FLAVORS = ("p1", "p2", "p3"), ("m1", "m2", "m3")
ADDRESSES = ("10.0.0.1", "10.0.0.200", "10.0.1.7", "192.168.3.4", "fd00::1:2", "::ffff:10.0.0.1", None)
CIDRS = (
    "/24",
    "/16",
    "/8",
    "/32",
    "/0",
    "/255.255.255.0",
    "/0.0.0.255",
    "/64",
    "/127",
    "",
    "/33",
    "/x",
    "24",
    "/",
    "/-1",
)
METRICS = ("cpu.percent", "cpu.idle.percent", "numa.membw.max")
#: Nova's metrics with a value per NUMA node.
BY_NODE = ("numa.membw.max", "numa.membw.current")
IMAGES = tuple(uuid_of(f"image{number}") for number in range(3))
VALUES = ("1", "2.5", "10", "-3", "abc", "abc def", "", "['avx', 'aes']", "nan", "inf", "1e3")
OPERATORS = ("", "=", "==", "!=", ">=", "<=", "s==", "s!=", "s<", "s<=", "s>", "s>=", "<in>", "<all-in>", "<or>", ">")
#: Attributes that queries name, with values that are near theirs.
NUMBERS = {
    "free_ram_mb": (3584, 4096, 7168),
    "total_usable_ram_mb": (4096, 8192),
    "free_disk_mb": (51200, 51200.5),
    "total_usable_disk_gb": (50, 100),
    "disk_mb_used": (0, 1024),
    "vcpus_total": (4, 8.0),
    "vcpus_used": (0, 1, 2),
    "num_instances": (0, 1, True),
    "num_io_ops": (0, 2, 5),
    "failed_builds": (0, 1),
    "hypervisor_version": (0, 8002000),
    "cpu_allocation_ratio": (1, 2.0, 1.5),
    "ram_allocation_ratio": (1, 1.0),
}
TEXTS = {
    "host": ("h0", "h1", "h9"),
    "hypervisor_type": ("QEMU", "xen", "R"),
    "host_ip": ADDRESSES[:5],
    "uuid": ("x",),
    "stats.speed": ("10", "fast"),
    "stats.cpu_model": ("zen",),
    "stats.none": ("1",),
    "service.disabled": (True, False),
    "cpu_info": ("{}", ""),
    "nodename": ("h1",),
    "supported_instances": (1,),
    "unknown": ("1", 2),
    "": (1,),
    "hypervisor_type.x": ("1",),
    "limits": ({}, 1),
    "stats": ({},),
}


def some(rng, choices, chance):
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < chance}


# --- random clouds ---------------------------------------------------------------------------------------------------


def random_host(rng, name, members):
    instances = [uuid_of(f"{name}-{number}") for number in range(rng.choice((0, 0, 1, 2)))]
    instances += [member for member in members if rng.random() < 0.2]
    members[:] = [member for member in members if member not in instances]
    count, vcpus, ram, disk = len(instances), rng.choice((4, 8)), rng.choice((4096, 8192)), rng.choice((50, 100))
    disk_used, (hypervisor, version) = (
        rng.choice((1, 10)),
        rng.choice((("QEMU", 8002000), ("xen", 7000000), ("QEMU", 0))),
    )
    attributes = {
        "host": name,
        "nodename": name,
        "uuid": uuid_of(name),
        "hypervisor_hostname": name,
        "hypervisor_type": hypervisor,
        "hypervisor_version": version,
        "cpu_info": rng.choice(CPU_INFOS),
        "host_ip": rng.choice(ADDRESSES),
        "supported_instances": [
            [rng.choice(ARCHITECTURES), rng.choice(TYPES), rng.choice(MODES)] for _ in range(rng.randrange(3))
        ],
        "stats": some(rng, STATS, 0.7),
        "num_instances": count,
        "num_io_ops": rng.randrange(6),
        "failed_builds": rng.randrange(2),
        "free_ram_mb": ram - 512 - count * 512,
        "total_usable_ram_mb": ram,
        "free_disk_mb": (disk - count * disk_used) * 1024,
        "total_usable_disk_gb": disk,
        "disk_mb_used": count * disk_used * 1024,
        "vcpus_total": vcpus,
        "vcpus_used": count,
        "cpu_allocation_ratio": rng.choice((1.0, 2.0)),
        "ram_allocation_ratio": 1.0,
        "disk_allocation_ratio": 1.0,
        "service": {"host": name, "disabled": rng.random() < 0.2, "up": rng.random() < 0.8},
        "limits": {},
    }
    metrics = {name: rng.choice((0.0, 50.0)) for name in METRICS if rng.random() < 0.6}
    return {
        "attributes": attributes,
        "instances": instances,
        "disk_used": disk_used,
        "metrics": metrics,
        "by_node": {
            name: {str(node): rng.randrange(9) for node in range(rng.choice((1, 2)))}
            for name in BY_NODE
            if name not in metrics and rng.random() < 0.5
        },
    }


def random_metadata(rng):
    def words(choices, chance):
        return ",".join(rng.choices(choices, k=rng.choice((1, 1, 2, 3)))) if rng.random() < chance else None

    metadata = {name: words(PROPERTY_WORDS, 0.12) for name in (*PROPERTIES, "architecture", "hw.os_type")}
    metadata |= {name: words(WORDS, 0.3) for name in ("ssd", "a:b", "tier")}
    metadata |= {f"filter_tenant_id{number}": words((*PROJECTS, " p1 "), 0.12) for number in ("", "1", "_x")}
    metadata["instance_type"] = words((*FLAVORS, " m1"), 0.3)
    numbers = ("0", "1", "2", "3", " 2 ", "+4", "1_0", "-1", "9" * 30)
    metadata |= {
        name: rng.choice((*numbers * 4, "x", "2.0", "", "1,2"))
        for name in ("max_io_ops_per_host", "max_instances_per_host")
        if rng.random() < 0.6
    }
    return {name: value for name, value in metadata.items() if value is not None}


def random_options(rng):
    options = {
        "max_io_ops_per_host": rng.choice((8, 3, 1)),
        "max_instances_per_host": rng.choice((50, 2, 1)),
        "isolated_hosts": rng.sample(("h0", "h1", "h2", "gone"), rng.randrange(3)),
        "isolated_images": rng.sample(IMAGES, rng.randrange(3)),
        "restrict_isolated_hosts_to_isolated_images": rng.random() < 0.5,
        "metrics_weight_setting": [[name, 1.0] for name in rng.sample((*METRICS, BY_NODE[-1]), rng.randrange(3))],
    }
    if rng.random() < 0.3:
        options["image_properties_default_architecture"] = rng.choice(ARCHITECTURES)
    if rng.random() < 0.3:
        options["aggregate_image_properties_isolation_namespace"] = rng.choice(("hw", "os", "h"))
        options["aggregate_image_properties_isolation_separator"] = rng.choice((".", "_", ""))
    return options


def random_request(rng, hosts):
    members = [uuid_of(f"member{number}") for number in range(6)]
    running = [uuid for host in hosts for uuid in host["instances"]] or [uuid_of("nobody")]
    extra_specs = {name: rng.choice(WANTED[name]) for name in rng.sample(sorted(WANTED), rng.choice((0, 1, 1, 2)))}
    extra_specs |= some(rng, OF_AGGREGATES, rng.choice((0.0, 0.2)))
    hints = {
        name: rng.choice(([""], rng.sample(running, 1), rng.choices((*running, "no uuid"), k=2), []))
        for name in ("different_host", "same_host")
        if rng.random() < 0.4
    }
    if rng.random() < 0.6:
        hints["build_near_host_ip"] = [rng.choice((*ADDRESSES[:-1] * 3, "10.0.0.300", "", "here", "10.0.0.1/8"))]
    if rng.random() < 0.6:
        hints["cidr"] = [rng.choice((*CIDRS[:3] * 4, *CIDRS))]
    if rng.random() < 0.8:
        hints["query"] = [random_text(rng)]
    request = {
        "extra_specs": extra_specs,
        "hints": hints,
        "flavor": rng.choice(FLAVORS),
        "project": rng.choice((*PROJECTS, None)),
        "instance": uuid_of("new"),
        "image": None,
        "group": None,
    }
    if rng.random() < 0.8:
        request["image"] = {"id": rng.choice((*IMAGES, None)), "properties": some(rng, PROPERTIES, 0.2)}
    if rng.random() < 0.7:
        policy = rng.choice(("affinity", "anti-affinity", "anti-affinity", "soft-affinity"))
        limited = policy == "anti-affinity" and rng.random() < 0.5
        request["group"] = {
            "uuid": uuid_of("group"),
            "policy": policy,
            "members": members,
            "hosts": [host["attributes"]["host"] for host in hosts if set(members) & set(host["instances"])],
            "rules": {"max_server_per_host": str(rng.randrange(1, 3))} if limited else {},
        }
        request["instance"] = rng.choice((uuid_of("new"), uuid_of("new"), rng.choice(members)))
    return request


def random_text(rng):
    if rng.random() < 0.03:
        return rng.choice(
            ("", "[", "5", "true", "0", "null", '"text"', '{"a": 1}', "{}", "[]", '["x", 1]', '[["="], 1]', "[1]")
        )
    return json.dumps(random_query(rng, rng.randrange(3)))


def random_query(rng, depth):
    if depth and rng.random() < 0.9:
        return [
            rng.choice(("and", "or", "not", "and", "or", "not", "=")),
            *(random_query(rng, depth - 1) for _ in range(rng.choice((0, 1, 2, 2, 3)))),
        ]
    name = rng.choice(sorted(NUMBERS if rng.random() < 0.6 else TEXTS))
    near = NUMBERS.get(name) or TEXTS[name]
    operator = rng.choice(
        ("=", "in", "=", "in", "<", ">", "<=", ">=", "not", "and", "or")
        if name in NUMBERS or rng.random() < 0.2
        else ("=", "in", "not")
    )
    values = [rng.choice(near) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    if rng.random() < 0.2:
        values.append(
            rng.choice((f"${rng.choice(sorted(NUMBERS))}", f"${rng.choice(sorted(TEXTS))}", None, "", [], 2**60, 0))
        )
    values.insert(rng.choice((0, 0, 0, len(values))), f"${name}")
    return [operator, *values]


def random_cloud(rng):
    members = [uuid_of(f"member{number}") for number in range(6)]
    hosts = [random_host(rng, f"h{number}", members) for number in range(HOSTS)]
    aggregates = [
        {
            "hosts": rng.sample([host["attributes"]["host"] for host in hosts], rng.choice((1, 2, 3))),
            "metadata": random_metadata(rng),
        }
        for _ in range(rng.randrange(5))
    ]
    return {
        "hosts": hosts,
        "aggregates": aggregates,
        "options": random_options(rng),
        "requests": [random_request(rng, hosts) for _ in range(REQUESTS)],
    }


# --- our side --------------------------------------------------------------------------------------------------------


def report_of(host):
    """The HostReported of a host."""
    facts, service = host["attributes"], host["attributes"]["service"]
    inventories = (
        inventory_of("VCPU", facts["vcpus_total"], ratio=facts["cpu_allocation_ratio"]),
        inventory_of("MEMORY_MB", facts["total_usable_ram_mb"], 512),
        inventory_of("DISK_GB", facts["total_usable_disk_gb"]),
    )
    root = events.Provider(facts["uuid"], facts["host"], -1, inventories, (), ())
    inventory = tree(
        facts["host"],
        nodename=facts["nodename"],
        host_ip=facts["host_ip"],
        hypervisor_type=facts["hypervisor_type"],
        hypervisor_version=facts["hypervisor_version"],
        cpu_info=facts["cpu_info"],
        supported_instances=tuple(map(tuple, facts["supported_instances"])),
        stats=facts["stats"],
        providers=(root,),
    )
    used = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": host["disk_used"]}
    allocations = tuple(events.Allocation(facts["uuid"], name, amount) for name, amount in used.items())
    return report(
        facts["host"],
        *(events.Consumer(instance, "p", allocations, None) for instance in host["instances"]),
        inventory=inventory,
        disabled=service["disabled"],
        forced_down=not service["up"],
        num_io_ops=facts["num_io_ops"],
        failed_builds=facts["failed_builds"],
        metrics=host["metrics"],
        numa_metrics=[
            (name, int(node), value) for name, nodes in host["by_node"].items() for node, value in nodes.items()
        ],
    )


def projection_of(cloud):
    said = [(f"compute_agent/{host['attributes']['host']}", report_of(host)) for host in cloud["hosts"]]
    said += [
        ("scheduler/s", events.AggregateUpdated(uuid_of(f"a{number}"), "a", tuple(one["hosts"]), one["metadata"]))
        for number, one in enumerate(cloud.get("aggregates", []))
    ]
    return fold("c1", said, level=2)


def spec_of(request):
    """The RequestSpec of a request."""
    group, image = request.get("group"), request.get("image")
    return request_spec(
        request.get("instance"),
        flavor=flavor_of(1, 1, 0, request.get("extra_specs"), name=request.get("flavor", "")),
        image=image
        and objects.ImageMeta(
            **({"id": image["id"]} if image.get("id") else {}),
            properties=objects.ImageMetaProps(**image.get("properties", {})),
        ),
        project_id=request.get("project"),
        instance_group=group
        and objects.InstanceGroup(
            uuid=group["uuid"],
            policy=group["policy"],
            members=group["members"],
            hosts=group["hosts"],
            _rules=group["rules"],
        ),
        scheduler_hints=request.get("hints", {}),
    )


def policy_of(options):
    return Policy(**{name: _frozen(value) for name, value in options.items()})


def _frozen(value):
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def ours(cloud, names):
    """As the peer's ``verdicts`` of one cloud."""
    projection, policy = projection_of(cloud), policy_of(cloud.get("options", {}))
    table = projection.table
    view, in_flight = HostView(table, table.roots()), InFlight(table)
    places = np.searchsorted(view.rows, [table.row_of_host[host["attributes"]["host"]] for host in cloud["hosts"]])
    answers = []
    for described in cloud["requests"]:
        request = request_from(spec_of(described), "req-1")
        scope = Scope(table, [projection], in_flight, request, described.get("instance"))
        answers.append({name: _passed(filters.BUILT_IN[name], view, request, policy, scope, places) for name in names})
    return answers


def _passed(one, view, request, policy, scope, places):
    passed = np.ones(len(view), bool)
    try:
        for refusal in one.refusals(view, request, policy, scope):
            passed &= ~refusal.hosts
    except errors.UsageError:
        return ["UsageError"] * len(view)
    if one.static:
        alone = (HostView(view.table, view.rows[place : place + 1]) for place in range(len(view)))
        assert passed.tolist() == [
            not any(refusal.hosts[0] for refusal in one.refusals(host, request, policy, scope)) for host in alone
        ]
    return passed[places].tolist()


# --- the comparison --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nova_filters():
    """The real filters of nova."""
    yield from running_peer("nova", "nova_filters.py")


def differs(name, mine, novas):
    """Whether two verdicts on one host are a difference."""
    if novas in FALLS_OVER.get(name, ()):
        return mine is True and name not in ("AggregateInstanceExtraSpecsFilter", "ComputeCapabilitiesFilter")
    return mine is not novas and not (name == "SimpleCIDRAffinityFilter" and mine == "UsageError")


def first_difference(clouds, mine, novas):
    """(Filter, cloud with one request) of the first difference; None where there is none."""
    for cloud, my_answers, their_answers in zip(clouds, mine, novas, strict=True):
        for request, my_answer, their_answer in zip(cloud["requests"], my_answers, their_answers, strict=True):
            for name, verdicts in their_answer.items():
                if any(map(lambda one, other, name=name: differs(name, one, other), my_answer[name], verdicts)):
                    return name, cloud | {"requests": [request]}
    return None


def shrunk(peer, name, case):
    """The smallest such case, and both answers to it."""

    def both(one):
        return ours(one, [name])[0][name], peer.ask("verdicts", [one])["answer"][0][0][name]

    smallest = shrink(case, lambda one: any(differs(name, *pair) for pair in zip(*both(one), strict=True)))
    return smallest, both(smallest)


def test_filters_are_novas(nova_filters):
    rng = random.Random(SEED)
    names, split, fallen = sorted(set(filters.BUILT_IN) - NOT_NOVAS - ELSEWHERE), Counter(), Counter()
    for _ in range(0, CLOUDS, BATCH):
        clouds = [random_cloud(rng) for _ in range(BATCH)]
        with ThreadPoolExecutor(1) as asking:
            asked = asking.submit(nova_filters.ask, "verdicts", clouds)
            mine = [ours(cloud, names) for cloud in clouds]
            reply = asked.result()
        assert "answer" in reply, reply
        found = first_difference(clouds, mine, reply["answer"])
        assert found is None, f"seed {SEED}: {found[0]} {json.dumps(shrunk(nova_filters, *found))}"
        for name, verdict in (
            (name, verdict)
            for answers in reply["answer"]
            for answer in answers
            for name, verdicts in answer.items()
            for verdict in verdicts
        ):
            (fallen if isinstance(verdict, str) else split)[name, verdict] += 1
    assert set(names) == {name for name, _ in split}
    seldom = {(name, verdict) for name in names for verdict in (True, False) if split[name, verdict] < OFTEN}
    assert seldom == {("AllHostsFilter", False)}, split
    assert all(fault in FALLS_OVER[name] for name, fault in fallen) and fallen, fallen


def test_rebuilds_meet_the_same_filters(nova_filters):
    assert nova_filters.ask("on_rebuild")["answer"] == {
        name: one.on_rebuild for name, one in filters.BUILT_IN.items() if name not in NOT_NOVAS | ELSEWHERE
    }


def test_operators_are_novas(nova_filters):
    rng = random.Random(SEED)
    questions = [
        (
            rng.choice(VALUES),
            " ".join((rng.choice(OPERATORS), *rng.choices([*VALUES, "<or>", "avx"], k=rng.randrange(4)))),
        )
        for _ in range(10_000)
    ]
    answers = nova_filters.ask("matches", questions)["answer"]
    for question, answer in zip(questions, answers, strict=True):
        # Where nova falls over, the host does not match.
        assert extra_specs_ops.match(*question) == bool(answer), (SEED, question, answer)
    assert answers.count(True) > 500 and answers.count(None) > 500
