"""Weighers and their arithmetic, one row a case."""

import importlib
import math
import pkgutil

import numpy as np
import pytest

from nova_sched import weighers
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.policy import DEFAULT_WEIGHERS, Policy
from nova_sched.selection.weigh import weigh
from nova_sched.weighers import BUILT_IN
from nova_sched.weighers.base import bounds, normalized
from rpc_api import events
from rpc_api.digest import pool_key
from rpc_api.packing import pack
from tests.asked import Asked
from tests.builders import (
    Cell,
    claim,
    consumer,
    deleted,
    group,
    inventory_of,
    of,
    provider,
    report,
    request,
    rule,
    server_group,
    tree,
    uuid_of,
)

NORMALIZED = [
    # raw, floor, normalized
    ([1, 2, 3], None, [0, 0.5, 1]),
    ([5], None, [0]),
    ([2, 2], None, [0, 0]),
    ([-4, 0], None, [0, 1]),
    ([1, 2], 0.0, [0.5, 1]),
    ([-3, 4], 0.0, [0, 1]),
    ([-3, -1], 0.0, [0, 0]),
    ([0, 0], 0.0, [0, 0]),
    ([7, 7], 0.0, [1, 1]),
]


@pytest.mark.parametrize("raw, floor, wanted", NORMALIZED)
def test_normalized(raw, floor, wanted):
    raw = np.array(raw, float)
    assert normalized(raw, *bounds(raw, floor), floor).tolist() == wanted


def host(name, vcpus=8, ram=16384, disk=100, **facts):
    return report(
        name,
        inventory=tree(
            name,
            inventories=(
                inventory_of("VCPU", vcpus, **facts),
                inventory_of("MEMORY_MB", ram, reserved=ram // 4),
                inventory_of("DISK_GB", disk),
            ),
        ),
    )


def members(policy, **hosts):
    return [
        claim(
            f"vm-{name}{number}", name, of(name, 1), rule=rule("group", policy, name, uuid_of(f"vm-{name}{number}"), 9)
        )
        for name, count in hosts.items()
        for number in range(count)
    ]


NUMA = report(
    "numa",
    inventory=tree(
        "numa",
        *(
            provider(f"numa/{number}", inventory_of("VCPU", 4, ratio=2.0), inventory_of("MEMORY_MB", 100), parent=0)
            for number in range(2)
        ),
        inventories=(inventory_of("DISK_GB", 5, reserved=1),),
    ),
)
RAW = [
    # weigher, the events, server group, raw value of each host (None: all alike)
    ("RAMWeigher", [host("a"), host("b", ram=400)], None, {"a": 12288, "b": 300}),
    ("RAMWeigher", [host("a"), claim("vm", "a", of("a", 288, "MEMORY_MB"))], None, {"a": 12000}),
    ("RAMWeigher", [NUMA], None, {"numa": 200}),
    ("RAMWeigher", [], None, None),
    ("CPUWeigher", [host("a", ratio=1.5), host("b", reserved=2), claim("vm", "a")], None, {"a": 11, "b": 6}),
    ("CPUWeigher", [NUMA], None, {"numa": 16}),
    ("DiskWeigher", [host("a"), NUMA], None, {"a": 100, "numa": 4}),
    ("DiskWeigher", [report("a")], None, None),
    (
        "ServerGroupSoftAffinityWeigher",
        [host("a"), host("b"), *members("member", a=2)],
        "soft-affinity",
        {"a": 2, "b": 0},
    ),
    ("ServerGroupSoftAffinityWeigher", [host("a"), *members("member", a=2)], "soft-anti-affinity", None),
    ("ServerGroupSoftAffinityWeigher", [host("a"), *members("member", a=2)], None, None),
    ("ServerGroupSoftAffinityWeigher", [host("a")], "soft-affinity", None),
    (
        "ServerGroupSoftAntiAffinityWeigher",
        [host("a"), host("b"), *members("member", a=2, b=1)],
        "soft-anti-affinity",
        {"a": -2, "b": -1},
    ),
    ("ServerGroupSoftAntiAffinityWeigher", [host("a"), *members("member", a=2)], "anti-affinity", None),
    (
        "HypervisorVersionWeigher",
        [report("a", inventory=tree("a", hypervisor_version=7)), report("b")],
        None,
        {"a": 7, "b": 8002000},
    ),
    ("NumInstancesWeigher", [host("a"), host("b"), claim("vm", "a"), claim("vm-2", "a")], None, {"a": 2, "b": 0}),
    ("IoOpsWeigher", [report("a", num_io_ops=3), report("b")], None, {"a": 3, "b": 0}),
    ("BuildFailureWeigher", [report("a", failed_builds=2), report("b")], None, {"a": 2, "b": 0}),
    (
        "PCIWeigher",
        [report("a", inventory=tree("a", pci_pools=(events.PCIPool("8086", "1", None, {}, 3),))), report("b")],
        None,
        {"a": 97, "b": 100},
    ),
    ("AffinityRoomWeigher", [host("a"), host("b", vcpus=3), NUMA], "affinity", {"a": 8, "b": 3, "numa": 16}),
    ("AffinityRoomWeigher", [host("a")], "anti-affinity", None),
    ("AffinityRoomWeigher", [host("a"), *members("together", a=1)], "affinity", None),
]


@pytest.mark.parametrize("name, said, policy, wanted", RAW)
def test_raw(name, said, policy, wanted):
    cloud = Asked(*said)
    asked = request(server_group=policy and server_group(policy))
    rows = cloud.table.roots()
    raw = BUILT_IN[name].raw(cloud.table, rows, asked, Policy(), cloud.scope(asked))
    names = [cloud.table.host_names[row] for row in rows]
    assert (raw if raw is None else dict(zip(names, raw.tolist(), strict=True))) == wanted


def test_every_weigher_has_rows():
    elsewhere = {"CrossCellWeigher", "MetricsWeigher", "ImagePropertiesWeigher"}
    missing = sorted(set(BUILT_IN) - elsewhere - {row[0] for row in RAW})
    assert not missing, (
        f"{', '.join(missing)} has no row: add one (name, events, policy of the group, host -> raw "
        "value) to RAW, or tests of its own below and its name to `elsewhere`"
    )
    gone = sorted(elsewhere - set(BUILT_IN))
    assert not gone, f"there are no weighers {', '.join(gone)} any more: remove them here"
    assert [name for name, _ in DEFAULT_WEIGHERS] == list(BUILT_IN)


def raw_of(name, cloud, asked, policy):
    rows = cloud.table.roots()
    raw = BUILT_IN[name].raw(cloud.table, rows, asked, policy, cloud.scope(asked))
    names = [cloud.table.host_names[row] for row in rows]
    return raw if raw is None else dict(zip(names, raw.tolist(), strict=True))


CELLS = {"cell1": [host("a")], "cell2": [host("b"), host("c")]}
CROSS_CELL = [
    # preferred cell, raw value of each host
    (None, None),
    ("cell1", {"a": 1, "b": -1, "c": -1}),
    ("cell2", {"a": -1, "b": 1, "c": 1}),
    ("elsewhere", {"a": -1, "b": -1, "c": -1}),
]


@pytest.mark.parametrize("preferred, wanted", CROSS_CELL)
def test_cross_cell(preferred, wanted):
    cloud, asked = Asked(cells=CELLS), request(preferred_cell=preferred)
    assert raw_of("CrossCellWeigher", cloud, asked, Policy()) == wanted
    chosen = {cloud.decide(asked, seed=seed).candidates[0].host for seed in range(20)}
    assert chosen == {"cell1": {"a"}, "cell2": {"b", "c"}}.get(preferred, {"a", "b", "c"})


METRICS = [
    # setting, multiplier, aggregate's multiplier of b, raw value of each host (a has cpu and io, b has cpu, c has none)
    ((), 1.0, None, None),
    ((("cpu", 2.0),), 1.0, None, {"a": 20, "b": -6, "c": -50}),
    ((("cpu", 2.0), ("io", -1.0)), 1.0, None, {"a": 13, "b": -50, "c": -50}),
    ((("cpu", 2.0), ("cpu", 1.0)), 1.0, None, {"a": 30, "b": -9, "c": -50}),
    ((("cpu", 2.0), ("io", 0.0)), 1.0, None, {"a": 20, "b": -6, "c": -50}),
    ((("cpu", 2.0), ("io", -1.0)), 1.0, "0", {"a": 13, "b": -6, "c": -50}),
    ((("cpu", 2.0), ("io", -1.0)), 0.0, "1", {"a": 13, "b": -50, "c": 0}),
    ((("none", 1.0),), 1.0, None, {"a": -50, "b": -50, "c": -50}),
    ((("cpu", 1e300), ("cpu", -1e300)), 1.0, None, {"a": 0, "b": 0, "c": -50}),
]


def measured(*said):
    return Asked(report("a", metrics={"cpu": 10.0, "io": 7.0}), report("b", metrics={"cpu": -3.0}), report("c"), *said)


@pytest.mark.parametrize("setting, multiplier, of_b, wanted", METRICS)
def test_metrics(setting, multiplier, of_b, wanted):
    cloud = measured(*([metadata("g", "b", metrics_weight_multiplier=of_b)] if of_b else []))
    policy = Policy(
        weighers=(("MetricsWeigher", multiplier),),
        metrics_weight_setting=setting,
        metrics_required=False,
        metrics_weight_of_unavailable=-50.0,
    )
    assert raw_of("MetricsWeigher", cloud, request(), policy) == wanted


REQUIRED = [
    # setting, hosts left out, the reason if no host is found
    ((("cpu", 1.0),), (), "0/3 hosts: 3 metric cpu of c is not reported"),
    ((("cpu", 1.0), ("io", 0.0)), ("c",), "0/3 hosts: 2 metric io of b is not reported, 1 ignored"),
    ((("cpu", 1.0),), ("c",), None),
    ((("cpu", 1.0), ("io", 1.0)), ("b", "c"), None),
    ((), (), None),
    ((("io", 1.0),), ("a", "b"), None),  # one host is not weighed
]


@pytest.mark.parametrize("setting, ignored, said", REQUIRED)
def test_a_required_metric_that_a_host_does_not_report(setting, ignored, said):
    cloud = measured()
    cloud.policy = Policy(metrics_weight_setting=setting)
    cloud.chain = FilterChain(cloud.table, cloud.policy)
    decision = cloud.decide(request(ignore_hosts=ignored))
    assert (None if decision.candidates else decision.summary) == said
    assert decision.survivors + sum(count for *_, count in decision.refusals) == decision.hosts_total
    if said == "0/3 hosts: 3 metric cpu of c is not reported":
        cloud.cell.say(report("c", metrics={"cpu": 99.0}))
        assert cloud.decide(request()).candidates[0].host == "c"


BY_NODE = [("cpu", 0, 40), ("cpu", 1, 2)]


def test_a_metric_per_numa_node_has_no_value_for_the_host():
    """Nova's weigher raises NotImplementedError there."""
    cloud = Asked(report("a", metrics={"cpu": 10.0}), report("b", numa_metrics=BY_NODE))
    setting = {"metrics_weight_setting": (("cpu", 1.0),)}
    policy = Policy(**setting, metrics_required=False, metrics_weight_of_unavailable=-50.0)
    assert raw_of("MetricsWeigher", cloud, request(), policy) == {"a": 10, "b": -50}
    cloud.policy = Policy(**setting)
    cloud.chain = FilterChain(cloud.table, cloud.policy)
    decision = cloud.decide(request())
    assert not decision.candidates
    assert decision.summary == "0/2 hosts: 2 metric cpu of b is reported per NUMA node, wanted one value for the host"
    # The host reports it in another form.
    cloud.cell.say(report("b", metrics={"cpu": 99.0}))
    assert cloud.decide(request()).candidates[0].host == "b"
    cloud.cell.say(report("b", numa_metrics=BY_NODE[:1]))
    assert not cloud.decide(request()).candidates


def guest(name, **image):
    return consumer(name)._replace(guest=pack(events.Guest((), (), image)))


IMAGES = [
    # setting, properties of the request's image, raw value of each host
    ((), {}, None),
    ((), {"os": "x"}, {"a": 2, "b": 0, "c": 1}),
    ((), {"os": "y"}, {"a": 0, "b": 0, "c": 0}),
    ((), {"os": "x", "bus": "1"}, {"a": 3, "b": 0, "c": 1}),
    ((), {"other": "x"}, {"a": 0, "b": 0, "c": 0}),
    ((("bus", 2.5),), {"os": "x", "bus": "1"}, {"a": 2.5, "b": 0, "c": 0}),
    ((("bus", -1.0), ("os", 0.5)), {"os": "x", "bus": "1"}, {"a": 0, "b": 0, "c": 0.5}),
    ((("none", 1.0),), {"os": "x"}, None),
    ((("os", 0.0),), {"os": "x"}, None),
]


@pytest.mark.parametrize("setting, image, wanted", IMAGES)
def test_image_properties(setting, image, wanted):
    cloud = Asked(
        report("a", guest("vm-1", os="x", bus="1"), guest("vm-2", os="x", bus="2"), consumer("vm-3")),
        report("b"),
        report("c"),
        events.InstancesTracked(
            "c",
            (
                events.TrackedInstance(uuid_of("vm-4"), {"os": "x"}),
                events.TrackedInstance(uuid_of("vm-5"), {"bus": "3"}),
            ),
            (),
        ),
    )
    policy = Policy(image_props_weight_setting=setting)
    assert raw_of("ImagePropertiesWeigher", cloud, request(image_properties=image), policy) == wanted


def test_images_follow_instances_that_are_tracked_elsewhere():
    def said(host, *gone):
        return events.InstancesTracked(host, (events.TrackedInstance(uuid_of("vm"), {"os": "x"}),), gone)

    cloud = Asked(report("a"), report("b"), said("a"), policy=Policy(weighers=(("ImagePropertiesWeigher", 1.0),)))
    asked = request(image_properties={"os": "x"})
    assert cloud.decide(asked).candidates[0].host == "a"
    cloud.cell.say(said("b"))
    assert cloud.decide(asked).candidates[0].host == "b"
    assert cloud.decide(request(image_properties={"os": "y"})).equals == 2


def test_images_of_a_log_that_is_read_anew():
    cloud = Asked(
        report("a", guest("vm-1", os="x")), report("b"), policy=Policy(weighers=(("ImagePropertiesWeigher", 1.0),))
    )
    asked = request(image_properties={"os": "x"})
    assert cloud.decide(asked).candidates[0].host == "a"
    cloud.cell.projection.forget()
    again = Cell(report("a"), report("b", guest("vm-1", os="x")), table=cloud.table)
    cloud.projections["cell1"] = again.projection
    assert cloud.decide(asked).candidates[0].host == "b"


@pytest.mark.parametrize("configured, wanted", [(0.0, [0, 0]), (1.0, [7, 0])])
def test_no_aggregate_turns_the_image_properties_on(configured, wanted):
    cloud = Asked(
        report("a", guest("vm-1", os="x")), report("b"), metadata("g", "a", image_props_weight_multiplier="7")
    )
    asked = request(image_properties={"os": "x"})
    policy = Policy(weighers=(("ImagePropertiesWeigher", configured),))
    assert weigh(cloud.table, cloud.table.roots(), asked, cloud.scope(asked), policy)[0].tolist() == wanted


def pools(*counts):
    return tuple(events.PCIPool("8086", str(number), None, {}, count) for number, count in enumerate(counts))


def test_pci_devices_in_use_and_in_flight_are_not_free():
    has = pools(2, 200, 5)
    key = pool_key(has[0])
    using = consumer("vm-1")._replace(guest=pack(events.Guest((), (events.PCIUse(key, 1, None),), {})))
    cloud = Asked(
        report("a", using, inventory=tree("a", pci_pools=has[:1])),
        report("b"),
        report("c", inventory=tree("c", pci_pools=has)),
        report("d", inventory=tree("d", pci_pools=has[2:])),
    )
    weighed = dict(cloud=cloud, asked=request(), policy=Policy())
    assert raw_of("PCIWeigher", **weighed) == {"a": 99, "b": 100, "c": 1, "d": 95}
    flying = claim("vm-2", "d")._replace(guest=pack(events.Guest((), (events.PCIUse(pool_key(has[2]), 2, None),), {})))
    cloud.in_flight.add(flying)
    assert raw_of("PCIWeigher", **weighed) == {"a": 99, "b": 100, "c": 1, "d": 97}
    cloud.in_flight.remove(flying.claim_uuid)
    cloud.cell.say(deleted("vm-1", "a"))
    assert raw_of("PCIWeigher", **weighed) == {"a": 98, "b": 100, "c": 1, "d": 95}


def test_failed_builds_count_against_a_host():
    cloud = Asked(
        report("a", failed_builds=4),
        report("b", failed_builds=1),
        report("c"),
        metadata("g", "b", build_failure_weight_multiplier="10"),
    )
    scores, _ = weigh(
        cloud.table,
        cloud.table.roots(),
        request(),
        cloud.scope(request()),
        Policy(weighers=(("BuildFailureWeigher", 100.0),)),
    )
    assert scores.tolist() == [-100.0, -2.5, 0.0]


def metadata(name, *hosts, **values):
    return events.AggregateUpdated(uuid_of(name), name, hosts, values)


MULTIPLIERS = [
    # aggregates' metadata of host b, configured multiplier, score of b (a has twice as much and so weighs 1)
    ([], 1.0, 0.5),
    ([], 2.0, 1.0),
    ([], -1.0, -0.5),
    ([], 0.0, 0.0),
    ([{"ram_weight_multiplier": "4"}], 1.0, 2.0),
    ([{"ram_weight_multiplier": "4"}, {"ram_weight_multiplier": "-2"}], 1.0, -1.0),
    ([{"ram_weight_multiplier": "4"}, {}], 1.0, 2.0),
    ([{"ram_weight_multiplier": "0"}], 1.0, 0.0),
    ([{"ram_weight_multiplier": "4"}], 0.0, 2.0),
    ([{"ram_weight_multiplier": "4"}, {"ram_weight_multiplier": "much"}], 1.0, 0.5),
    ([{"ram_weight_multiplier": "nan"}], 1.0, 0.5),
    ([{"ram_weight_multiplier": "inf"}], 1.0, 0.5),
    ([{"cpu_weight_multiplier": "4"}], 1.0, 0.5),
]


@pytest.mark.parametrize("given, configured, score", MULTIPLIERS)
def test_the_least_multiplier_of_a_hosts_aggregates_wins(given, configured, score):
    cloud = Asked(
        host("a", ram=800),
        host("b", ram=400),
        *(metadata(f"g{number}", "b", **values) for number, values in enumerate(given)),
    )
    scores, _ = weigh(
        cloud.table,
        cloud.table.roots(),
        request(),
        cloud.scope(request()),
        Policy(weighers=(("RAMWeigher", configured),)),
    )
    assert scores.tolist() == [configured, score]


def test_scores_add_up_weigher_by_weigher():
    cloud = Asked(host("a"), host("b", vcpus=2, ram=4096, disk=50), host("c", vcpus=4, ram=8192, disk=100))
    policy = Policy(
        weighers=(("RAMWeigher", 1.0), ("CPUWeigher", 2.0), ("DiskWeigher", -1.0), ("AffinityRoomWeigher", 0.0))
    )
    scores, parts = weigh(cloud.table, cloud.table.roots(), request(), cloud.scope(request()), policy)
    assert scores.tolist() == [1 + 2 - 1, 0.25 + 0.5 - 0.5, 0.5 + 1 - 1]
    assert [part.name for part in parts] == ["RAMWeigher", "CPUWeigher", "DiskWeigher"]
    assert sum(part.weighed for part in parts).tolist() == scores.tolist()


@pytest.mark.parametrize("names", [[], ["a"]])
def test_one_host_is_not_weighed(names):
    cloud = Asked(*(host(name) for name in names))
    scores, parts = weigh(cloud.table, cloud.table.roots(), request(), cloud.scope(request()), Policy())
    assert scores.tolist() == [0.0] * len(names) and parts == []


def test_large_and_overcommitted_hosts_stay_finite():
    cloud = Asked(
        host("a", vcpus=2**31 - 1, ram=2**31 - 1, disk=2**31 - 1, ratio=16.0),
        host("b"),
        report(
            "c", inventory=tree("c", inventories=(inventory_of("VCPU", 1, ratio=4.0), inventory_of("MEMORY_MB", 10)))
        ),
        claim("vm", "c", of("c", 1)),
    )
    scores, _ = weigh(cloud.table, cloud.table.roots(), request(group(VCPU=1)), cloud.scope(request()), Policy())
    assert all(math.isfinite(score) for score in scores)
    assert scores[0] == scores.max()


def test_every_weigher_of_the_package_is_in_its_list():
    modules = [f"{weighers.__name__}.{module.name}" for module in pkgutil.iter_modules(weighers.__path__)]
    classes = [each for module in modules for each in vars(importlib.import_module(module)).values()]
    defined = {each.name for each in classes if isinstance(each, type) and issubclass(each, weighers.Weigher)}
    missing = sorted(defined - set(BUILT_IN) - {""})
    assert not missing, f"{', '.join(missing)}: add it to BUILT_IN in nova_sched/weighers/__init__.py"
