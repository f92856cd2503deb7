"""The filters that configurations of nova may name beside the default ones, one row a case: options, hints,
aggregates."""

import pytest

from nova_sched import filters
from nova_sched.filters.aggregate_image_properties import FREE_TEXT
from nova_sched.filters.json_query import MAX_CHARACTERS, MAX_DEPTH, MAX_OPERATORS
from nova_sched.hosts.aggregates import metadata_faults
from nova_sched.selection.policy import DEFAULT_FILTERS, Policy
from rpc_api import errors, events
from rpc_api.objects import fields
from rpc_api.objects.image_meta import ImageMetaProps
from tests.asked import Asked
from tests.builders import claim, consumer, group, inventory_of, of, provider, report, request, tree, uuid_of

NAMED = filters.BUILT_IN
IMAGE, OTHER_IMAGE = uuid_of("image"), uuid_of("other image")


def aggregate(name, *hosts, **metadata):
    return events.AggregateUpdated(uuid_of(name), name, hosts, metadata)


def sized(name, *classes, **ratios):
    """A host with inventories of (class, total, reserved)."""
    return report(
        name,
        inventory=tree(
            name,
            inventories=tuple(
                inventory_of(one, total, reserved, ratio=ratios.get(one, 1.0)) for one, total, reserved in classes
            ),
        ),
    )


THREE = [report(name) for name in ("a", "b", "c")]
LOADED = [
    report("idle"),
    report("busy", consumer("vm-1", of("busy", 1)), consumer("vm-2", of("busy", 1)), num_io_ops=3),
    report("half", consumer("vm-3", of("half", 1)), num_io_ops=2),
]
ADDRESSED = [
    report(name, inventory=tree(name, host_ip=address))
    for name, address in (("a", "10.1.2.3"), ("b", "10.1.3.3"), ("c", "fd00::1"), ("d", None), ("e", "no address"))
]
METERED = [
    report("a", metrics={"cpu.percent": 0.5, "cpu.idle": 1.0}),
    report("b", metrics={"cpu.percent": 0.0}),
    report("c"),
    report("d", numa_metrics=[("cpu.percent", 0, 5), ("cpu.percent", 1, 0), ("cpu.idle", 0, 1)]),
    report("e", metrics={"cpu.idle": 1.0}, numa_metrics=[("cpu.percent", 0, 5)]),
]
ISOLATED = {"isolated_hosts": ("a", "gone"), "isolated_images": (IMAGE,)}
KINDS = [
    report(
        "small",
        inventory=tree(
            "small", inventories=(inventory_of("VCPU", 4), inventory_of("MEMORY_MB", 1024)), stats={"tier": "gold"}
        ),
    ),
    report(
        "large",
        consumer("vm-1", of("large", 2)),
        num_io_ops=1,
        metrics={"cpu.percent": 0.25},
        inventory=tree(
            "large",
            hypervisor_type="xen",
            inventories=(inventory_of("VCPU", 8, ratio=2.0), inventory_of("MEMORY_MB", 8192, 192)),
        ),
    ),
    report(
        "nested",
        inventory=tree(
            "nested",
            *(provider(f"nested/{number}", inventory_of("VCPU", 4), parent=0) for number in range(2)),
            stats={"tier": "tin", "n": "1"},
            inventories=(inventory_of("MEMORY_MB", 4096),),
        ),
    ),
]


def hints(**values):
    return {
        "scheduler_hints": {
            name: (value,) if isinstance(value, str) else tuple(value) for name, value in values.items()
        }
    }


def query(text):
    return hints(query=text)


ROWS = [
    # filter, the events, the request, options, what is refused
    ("AllHostsFilter", THREE, {}, {}, {}),
    ("AggregateImagePropertiesIsolation", THREE, {"image_properties": {"os_distro": "arch"}}, {}, {}),
    (
        "AggregateImagePropertiesIsolation",
        [
            *THREE,
            aggregate("x", "a", "b", os_distro="arch , debian"),
            aggregate("y", "b", os_distro="fedora"),
            aggregate("z", "c", os_type="linux"),
        ],
        {"image_properties": {"os_distro": "fedora"}},
        {},
        {"image property os_distro of the aggregate": ["a"]},
    ),
    (
        "AggregateImagePropertiesIsolation",
        [*THREE, aggregate("x", "a", os_distro="arch", architecture="arm")],
        {},
        {},
        {},
    ),
    (
        "AggregateImagePropertiesIsolation",
        [*THREE, aggregate("x", "a", hw_boot_menu="True"), aggregate("y", "b", os_distro="1")],
        {"image_properties": {"hw_boot_menu": "False", "os_distro": "0"}},
        {},
        {"image property os_distro of the aggregate": ["b"]},
    ),
    (
        "AggregateImagePropertiesIsolation",
        [*THREE, aggregate("x", "a", os_type="windows", hw_disk_bus="ide")],
        {"image_properties": {"os_type": "linux", "hw_disk_bus": "virtio"}},
        {"aggregate_image_properties_isolation_namespace": "hw", "aggregate_image_properties_isolation_separator": "_"},
        {"image property hw_disk_bus of the aggregate": ["a"]},
    ),
    ("AggregateInstanceExtraSpecsFilter", THREE, {"extra_specs": {"capabilities:x": "1", "a:b": "2"}}, {}, {}),
    (
        "AggregateInstanceExtraSpecsFilter",
        [*THREE, aggregate("x", "a", ssd="true"), aggregate("y", "b", ssd="no, true")],
        {"extra_specs": {"ssd": "true"}},
        {},
        {"extra spec ssd of the aggregate": ["c"]},
    ),
    (
        "AggregateInstanceExtraSpecsFilter",
        [*THREE, aggregate("x", "a", speed="5"), aggregate("y", "b", speed="fast"), aggregate("z", "b", speed="7")],
        {"extra_specs": {"aggregate_instance_extra_specs:speed": ">= 6"}},
        {},
        {"extra spec speed of the aggregate": ["a", "c"]},
    ),
    ("AggregateMultiTenancyIsolation", THREE, {}, {}, {}),
    (
        "AggregateMultiTenancyIsolation",
        [
            *THREE,
            aggregate("x", "a", filter_tenant_id="other"),
            aggregate("y", "a", "b", filter_tenant_id7="some,project"),
            aggregate("z", "c", k="v"),
        ],
        {},
        {},
        {},
    ),
    (
        "AggregateMultiTenancyIsolation",
        [*THREE, aggregate("x", "a", filter_tenant_id="other"), aggregate("y", "b", filter_tenant_id7="project")],
        {},
        {},
        {"aggregate of other projects": ["a"]},
    ),
    (
        "AggregateMultiTenancyIsolation",
        [*THREE, aggregate("x", "a", filter_tenant_id="other")],
        {"project_id": None},
        {},
        {"aggregate of other projects": ["a"]},
    ),
    ("AggregateTypeAffinityFilter", THREE, {}, {}, {}),
    (
        "AggregateTypeAffinityFilter",
        [
            *THREE,
            aggregate("x", "a", instance_type="m2, m3"),
            aggregate("y", "b", instance_type="m2"),
            aggregate("z", "b", instance_type="m1 "),
        ],
        {},
        {},
        {"aggregate of other flavors": ["a"]},
    ),
    ("IoOpsFilter", LOADED, {}, {}, {}),
    ("IoOpsFilter", LOADED, {}, {"max_io_ops_per_host": 3}, {"too many I/O operations": ["busy"]}),
    ("IoOpsFilter", LOADED, {}, {"max_io_ops_per_host": 0}, {"too many I/O operations": ["busy", "half", "idle"]}),
    ("NumInstancesFilter", LOADED, {}, {}, {}),
    ("NumInstancesFilter", LOADED, {}, {"max_instances_per_host": 1}, {"too many instances": ["busy", "half"]}),
    ("AggregateIoOpsFilter", LOADED, {}, {}, {}),
    ("AggregateIoOpsFilter", LOADED, {}, {"max_io_ops_per_host": 3}, {"too many I/O operations": ["busy"]}),
    (
        "AggregateIoOpsFilter",
        [
            *LOADED,
            aggregate("x", "busy", "half", max_io_ops_per_host="9"),
            aggregate("y", "half", max_io_ops_per_host=" 2 "),
        ],
        {},
        {"max_io_ops_per_host": 3},
        {"too many I/O operations": ["half"]},
    ),
    (
        "AggregateIoOpsFilter",
        [*LOADED, aggregate("x", "busy", max_io_ops_per_host="9"), aggregate("y", "busy", max_io_ops_per_host="few")],
        {},
        {"max_io_ops_per_host": 3},
        {"too many I/O operations": ["busy"]},
    ),
    ("AggregateNumInstancesFilter", LOADED, {}, {"max_instances_per_host": 5}, {}),
    (
        "AggregateNumInstancesFilter",
        [
            *LOADED,
            aggregate("x", "half", "idle", max_instances_per_host="1"),
            aggregate("y", "idle", max_instances_per_host=f"-{10**30}"),
        ],
        {},
        {},
        {"too many instances": ["half", "idle"]},
    ),
    ("DifferentHostFilter", LOADED, {}, {}, {}),
    ("DifferentHostFilter", LOADED, hints(different_host=""), {}, {}),
    ("DifferentHostFilter", LOADED, hints(different_host="no uuid"), {}, {}),
    (
        "DifferentHostFilter",
        [*LOADED, claim("vm-9", "idle")],
        hints(different_host=[uuid_of("vm-1"), uuid_of("vm-9")]),
        {},
        {"host of an instance to keep away from": ["busy", "idle"]},
    ),
    ("SameHostFilter", LOADED, {}, {}, {}),
    ("SameHostFilter", LOADED, hints(same_host=""), {}, {}),
    (
        "SameHostFilter",
        LOADED,
        hints(same_host=[uuid_of("vm-1"), uuid_of("vm-3")]),
        {},
        {"no host of the instances to be with": ["idle"]},
    ),
    (
        "SameHostFilter",
        LOADED,
        hints(same_host="no uuid"),
        {},
        {"no host of the instances to be with": ["busy", "half", "idle"]},
    ),
    ("SimpleCIDRAffinityFilter", ADDRESSED, {}, {}, {}),
    ("SimpleCIDRAffinityFilter", ADDRESSED, hints(cidr="/8", build_near_host_ip=""), {}, {}),
    (
        "SimpleCIDRAffinityFilter",
        ADDRESSED,
        hints(build_near_host_ip="10.1.2.77"),
        {},
        {"no address": ["d", "e"], "other network": ["b", "c", "d", "e"]},
    ),
    (
        "SimpleCIDRAffinityFilter",
        ADDRESSED,
        hints(build_near_host_ip="10.1.2.77", cidr="/255.255.0.0"),
        {},
        {"no address": ["d", "e"], "other network": ["c", "d", "e"]},
    ),
    (
        "SimpleCIDRAffinityFilter",
        ADDRESSED,
        hints(build_near_host_ip="10.1.3.3", cidr=""),
        {},
        {"no address": ["d", "e"], "other network": ["a", "c", "d", "e"]},
    ),
    (
        "SimpleCIDRAffinityFilter",
        ADDRESSED,
        hints(build_near_host_ip="fd00::ffff", cidr="/64"),
        {},
        {"no address": ["d", "e"], "other network": ["a", "b", "d", "e"]},
    ),
    ("IsolatedHostsFilter", THREE, {"image_id": IMAGE}, {}, {}),
    ("IsolatedHostsFilter", THREE, {"image_id": IMAGE}, ISOLATED, {"isolated image": ["b", "c"]}),
    ("IsolatedHostsFilter", THREE, {"image_id": OTHER_IMAGE}, ISOLATED, {"isolated host": ["a"]}),
    ("IsolatedHostsFilter", THREE, {"image_id": None}, ISOLATED, {"isolated host": ["a"]}),
    ("IsolatedHostsFilter", THREE, {"image_id": OTHER_IMAGE}, {"isolated_hosts": ("b",)}, {"isolated host": ["b"]}),
    (
        "IsolatedHostsFilter",
        THREE,
        {"image_id": IMAGE},
        {"isolated_images": (IMAGE,)},
        {"isolated image": ["a", "b", "c"]},
    ),
    (
        "IsolatedHostsFilter",
        THREE,
        {"image_id": IMAGE},
        ISOLATED | {"restrict_isolated_hosts_to_isolated_images": False},
        {"isolated image": ["b", "c"]},
    ),
    (
        "IsolatedHostsFilter",
        THREE,
        {"image_id": OTHER_IMAGE},
        ISOLATED | {"restrict_isolated_hosts_to_isolated_images": False},
        {},
    ),
    ("MetricsFilter", METERED, {}, {}, {}),
    (
        "MetricsFilter",
        METERED,
        {},
        {"metrics_weight_setting": (("cpu.percent", 1.0), ("cpu.idle", -2.0))},
        {"no metric cpu.percent": ["c"], "no metric cpu.idle": ["b", "c"]},
    ),
    ("RamFilter", THREE, {}, {}, {}),
    (
        "RamFilter",
        [
            sized("a", ("MEMORY_MB", 1000, 100)),
            sized("b", ("MEMORY_MB", 1000, 100), MEMORY_MB=1.5),
            sized("c", ("MEMORY_MB", 500, 0), MEMORY_MB=9.0),
            sized("d", ("VCPU", 1, 0)),
        ],
        {"memory_mb": 950},
        {},
        {"free RAM": ["a", "c", "d"]},
    ),
    ("CoreFilter", THREE, {}, {}, {}),
    (
        "CoreFilter",
        [
            sized("a", ("VCPU", 4, 0), ("PCPU", 4, 0)),
            sized("b", ("VCPU", 4, 0), VCPU=16.0),
            sized("c", ("MEMORY_MB", 1, 0)),
            sized("d", ("VCPU", 8, 4), VCPU=1.5),
            KINDS[2],
        ],
        {"vcpus": 8},
        {},
        {"free cores": ["b"]},
    ),
    ("DiskFilter", THREE, {}, {}, {}),
    (
        "DiskFilter",
        [
            sized("a", ("DISK_GB", 10, 0)),
            sized("b", ("DISK_GB", 10, 1), DISK_GB=2.0),
            sized("c", ("DISK_GB", 11, 1)),
            sized("d", ("DISK_GB", 12, 1)),
        ],
        {"root_gb": 5, "ephemeral_gb": 5, "swap_mb": 1},
        {},
        {"free disk": ["a", "b", "c"]},
    ),
    (
        "DiskFilter",
        [sized("a", ("DISK_GB", 5, 0)), sized("b", ("DISK_GB", 4, 0))],
        {"root_gb": 90, "ephemeral_gb": 5, "is_bfv": True},
        {},
        {"free disk": ["b"]},
    ),
    ("JsonFilter", KINDS, {}, {}, {}),
    ("JsonFilter", KINDS, query(""), {}, {}),
    ("JsonFilter", KINDS, query("[]"), {}, {}),
    ("JsonFilter", KINDS, query("{}"), {}, {}),
    ("JsonFilter", KINDS, query('[">=", "$free_ram_mb", 4096]'), {}, {"query": ["small"]}),
    (
        "JsonFilter",
        KINDS,
        query('["and", [">=", "$free_ram_mb", 4096], ["=", "$hypervisor_type", "xen"]]'),
        {},
        {"query": ["nested", "small"]},
    ),
    (
        "JsonFilter",
        KINDS,
        query('["or", ["<", "$vcpus_total", 8], ["in", "$host", "nested", "else"]]'),
        {},
        {"query": ["large"]},
    ),
    ("JsonFilter", KINDS, query('["not", ["=", "$hypervisor_type", "xen"]]'), {}, {"query": ["large"]}),
    ("JsonFilter", KINDS, query('["not", ["=", "$hypervisor_type", "xen"], ["=", "$host", "small"]]'), {}, {}),
    ("JsonFilter", KINDS, query('["and", ["not", ["=", "$hypervisor_type", "xen"]]]'), {}, {}),
    (
        "JsonFilter",
        KINDS,
        query('["=", ["not", ["=", "$hypervisor_type", "xen"]], ["not", false]]'),
        {},
        {"query": ["large"]},
    ),
    ("JsonFilter", KINDS, query('["and", ["not"]]'), {}, {"query": ["large", "nested", "small"]}),
    ("JsonFilter", KINDS, query('["=", "$stats.tier", "gold"]'), {}, {"query": ["large", "nested"]}),
    ("JsonFilter", KINDS, query('["not", "$stats.n"]'), {}, {"query": ["large", "nested", "small"]}),
    ("JsonFilter", KINDS, query('["or", ["not", "$stats.n"]]'), {}, {"query": ["large", "small"]}),
    ("JsonFilter", KINDS, query('["and", "$stats.n"]'), {}, {}),
    ("JsonFilter", KINDS, query('["=", "$nothing", "$", 1, "", null, 1]'), {}, {}),
    ("JsonFilter", KINDS, query('["=", 1]'), {}, {"query": ["large", "nested", "small"]}),
    ("JsonFilter", KINDS, query('["<=", "$vcpus_used", "$num_instances", 3]'), {}, {"query": ["large"]}),
    (
        "JsonFilter",
        KINDS,
        query('["=", "$vcpus_total", "$cpu_allocation_ratio", "4"]'),
        {},
        {"query": ["large", "nested", "small"]},
    ),
    ("JsonFilter", KINDS, query('[">", "$metrics.cpu.percent", 0.2]'), {}, {"query": ["nested", "small"]}),
    (
        "JsonFilter",
        KINDS,
        query('["<", "$hypervisor_type", 5]'),
        {},
        {"query compares what cannot be compared": ["large", "nested", "small"], "query": ["large", "nested", "small"]},
    ),
    (
        "JsonFilter",
        KINDS,
        query('["or", true, ["<", "$stats.n", 5]]'),
        {},
        {"query compares what cannot be compared": ["nested"], "query": ["nested"]},
    ),
    (
        "JsonFilter",
        KINDS,
        query('["not", "$host.x"]'),
        {},
        {"query compares what cannot be compared": ["large", "nested", "small"], "query": ["large", "nested", "small"]},
    ),
    ("JsonFilter", KINDS, query(f'["<", "$free_ram_mb", {10**40}, NaN]'), {}, {"query": ["large", "nested", "small"]}),
    (
        "JsonFilter",
        KINDS,
        query('["or", ["in", {"a": 1}, {"a": 1}], ["<", {"a": 1}, {"a": 1}]]'),
        {},
        {"query compares what cannot be compared": ["large", "nested", "small"], "query": ["large", "nested", "small"]},
    ),
    ("JsonFilter", [*KINDS, aggregate("x", "small")], query('["not", "$aggregates"]'), {}, {"query": ["small"]}),
    (
        "JsonFilter",
        [*KINDS, report("off", disabled=True)],
        query('["=", "$service.disabled", false]'),
        {},
        {"query": ["off"]},
    ),
]


@pytest.mark.parametrize("name, said, facts, options, refused", ROWS)
def test_refusals(name, said, facts, options, refused):
    cloud = Asked(*said)
    assert cloud.refused_by(NAMED[name], request(**facts), policy=Policy(**options)) == refused


def test_one_host_alone_is_refused_as_it_is_among_all():
    for name, said, facts, options, refused in ROWS:
        cloud, one = Asked(*said), NAMED[name]
        asked, policy = request(**facts), Policy(**options)
        for row in cloud.table.roots():
            view = filters.HostView(cloud.table, cloud.table.roots()[cloud.table.roots() == row])
            reasons = {
                str(refusal.reason)
                for refusal in one.refusals(view, asked, policy, cloud.scope(asked))
                if refusal.hosts[0]
            }
            assert reasons == {reason for reason, hosts in refused.items() if cloud.table.host_names[row] in hosts}, (
                name
            )


BAD_HINTS = [
    ("JsonFilter", query("[broken"), "is not JSON"),
    ("JsonFilter", query("[" * MAX_CHARACTERS), "is not JSON"),
    ("JsonFilter", query(" " * MAX_CHARACTERS + "[]"), "characters, wanted at most"),
    ("JsonFilter", hints(query=["[]", "[]"]), "it is given 2 times, wanted once"),
    ("JsonFilter", query('{"=": 1}'), "wanted a list"),
    ("JsonFilter", query('"text"'), "wanted a list"),
    ("JsonFilter", query("5"), "wanted a list"),
    ("JsonFilter", query('{"a":' * 500 + "1" + "}" * 500), "got an object"),
    ("JsonFilter", query('["~", 1, 2]'), '"~" is not an operator, wanted one of ='),
    ("JsonFilter", query('[["="], 1, 2]'), "is not an operator"),
    ("JsonFilter", query('["and", [7, 1]]'), "7 is not an operator"),
    ("JsonFilter", query('["not",' * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1)), "inside each other"),
    ("JsonFilter", query('["and"' + ', ["not", 1]' * MAX_OPERATORS + "]"), f"at most {MAX_OPERATORS} operators"),
    ("SimpleCIDRAffinityFilter", hints(build_near_host_ip="nowhere"), "build_near_host_ip 'nowhere' and cidr '/24'"),
    (
        "SimpleCIDRAffinityFilter",
        hints(build_near_host_ip="10.0.0.1", cidr="/33"),
        "'10.0.0.1' and cidr '/33' make no network",
    ),
    ("SimpleCIDRAffinityFilter", hints(build_near_host_ip="10.0.0.1", cidr="2"), "make no network"),
    ("SimpleCIDRAffinityFilter", hints(build_near_host_ip=["10.0.0.1", "10.0.0.2"]), "make no network"),
    (
        "ImagePropertiesFilter",
        {"image_properties": {"hw_vm_mode": "hvm", "img_hv_requested_version": ">=new"}},
        "img_hv_requested_version of the image is '>=new'",
    ),
]


@pytest.mark.parametrize("name, facts, words", BAD_HINTS)
def test_what_makes_no_sense_refuses_the_request_by_name_and_value(name, facts, words):
    cloud = Asked(*THREE)
    with pytest.raises(errors.UsageError) as refusal:
        cloud.refused_by(NAMED[name], request(**facts))
    assert words in str(refusal.value) and "fix" in str(refusal.value) and len(str(refusal.value)) < 500
    chained = Asked(*THREE, policy=Policy(enabled_filters=(name,)))
    for _ in range(2):
        with pytest.raises(errors.UsageError):
            chained.run(request(**facts))
    # Where the filter is not asked, nobody minds.
    assert Asked(*THREE, policy=Policy(enabled_filters=())).survivors(request(**facts)) == ["a", "b", "c"]


def test_claims_under_way_count_as_instances_and_operations():
    cloud = Asked(
        *LOADED,
        policy=Policy(
            enabled_filters=("NumInstancesFilter", "IoOpsFilter"), max_instances_per_host=2, max_io_ops_per_host=4
        ),
    )
    assert cloud.survivors(request()) == ["half", "idle"]
    held = [claim(f"vm-{number}", "idle") for number in (7, 8)]
    for one in held:
        cloud.in_flight.add(one)
    assert cloud.survivors(request()) == ["half"]
    cloud.in_flight.count_again()
    assert cloud.survivors(request()) == ["half"]
    cloud.in_flight.remove(held[0].claim_uuid)
    assert cloud.survivors(request()) == ["half", "idle"]
    cloud.in_flight.add(claim("vm-9", "half"))
    assert cloud.refusals(request()) == [("NumInstancesFilter", "too many instances", 2)]


def test_a_filter_that_is_always_asked_may_be_named_too():
    policy = Policy(
        enabled_filters=("AvailabilityZoneFilter", *DEFAULT_FILTERS, "AvailabilityZoneFilter", "ComputeFilter")
    )
    assert policy.filters == Policy().filters
    cloud = Asked(*THREE, aggregate("x", "a", availability_zone="east"), policy=policy)
    assert cloud.refusals(request(availability_zone="east")) == [("AvailabilityZoneFilter", "availability zone", 2)]
    assert cloud.survivors(request(availability_zone="east", force_hosts=("b",))) == []


def test_an_address_that_changes_is_seen():
    cloud = Asked(*ADDRESSED)
    asked = request(**hints(build_near_host_ip="10.1.2.77"))
    one = NAMED["SimpleCIDRAffinityFilter"]
    assert "a" not in cloud.refused_by(one, asked)["other network"]
    cloud.cell.say(report("a", inventory=tree("a", host_ip="10.9.9.9")))
    assert "a" in cloud.refused_by(one, asked)["other network"]


def test_free_text_properties_are_those_of_the_image():
    assert FREE_TEXT == {name for name, field in ImageMetaProps.fields.items() if type(field) is fields.StringField}


@pytest.mark.parametrize(
    "metadata, faults",
    [
        ({"max_io_ops_per_host": "8", "max_instances_per_host": " 7"}, 0),
        ({"max_io_ops_per_host": "few"}, 1),
        ({"max_io_ops_per_host": "", "max_instances_per_host": "1.5", "x": "y"}, 2),
    ],
)
def test_aggregates_whose_numbers_are_none(metadata, faults):
    found = metadata_faults(aggregate("x", "a", **metadata))
    assert len(found) == faults and all("aggregate x: max_i" in one for one in found)


def test_groups_do_not_matter_to_them():
    """The amounts that they look at are those of the flavor, not of its groups."""
    cloud = Asked(sized("a", ("VCPU", 1, 0), ("MEMORY_MB", 1, 0)))
    assert cloud.refused_by(NAMED["CoreFilter"], request(group(VCPU=9), vcpus=1)) == {}
