"""What the policy and the aggregates add to a request, one row a case."""

import pytest

from nova_sched.selection import prefilters
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import Refused, aggregates_of_segment, prefiltered
from rpc_api import events
from tests.asked import Asked
from tests.builders import group, provider, report, request, tree, uuid_of

SEGMENT = uuid_of("segment")


def aggregate(name, *hosts, called=None, **metadata):
    return events.AggregateUpdated(
        uuid_of(name), called or name, hosts, {key.replace("__", ":"): value for key, value in metadata.items()}
    )


AGGREGATES = [
    aggregate("mine", "a", filter_tenant_id="project"),
    aggregate("mine too", "b", filter_tenant_id3="project"),
    aggregate("theirs", "c", filter_tenant_id="other"),
    aggregate("no list", "c", filter_tenant_id="project,other"),
    aggregate("for A", "a", trait__CUSTOM_A="required"),
    aggregate("for A and B", trait__CUSTOM_A="required", trait__CUSTOM_B="required"),
    aggregate("for none", trait__CUSTOM_A="no", trait="required", owner="required"),
    aggregate("segment 1", called=f"Neutron segment id {uuid_of('s1')}"),
    aggregate("segment 2", segment_id=uuid_of("s2")),
    aggregate("segment 3", "c"),
]
SAID = [report("a"), report("b"), report("c"), *AGGREGATES]
PLAIN = group(VCPU=1)
MINE = tuple(sorted((uuid_of("mine"), uuid_of("mine too"))))


def in_(*lists, **facts):
    return group(VCPU=1, **facts)._replace(member_of=tuple(tuple(sorted(map(uuid_of, one))) for one in lists))


def not_in(*names, **facts):
    return group(VCPU=1, **facts)._replace(forbidden_aggregates=tuple(sorted(map(uuid_of, names))))


TENANTS = {"limit_tenants_to_placement_aggregate": True}
REQUIRED = TENANTS | {"placement_aggregate_required_for_tenants": True}
TYPES = {"query_placement_for_image_type_support": True}
ISOLATED = {"enable_isolated_aggregate_filtering": True}
DEVICES = {"image_metadata_prefilter": True}
ROUTED = {"query_placement_for_routed_network_aggregates": True}
ROWS = [
    # options, the request, what is changed of it
    ({}, {}, {}),
    ({"placement_aggregate_required_for_tenants": True}, {"project_id": "nobody"}, {}),
    (TENANTS, {}, {"groups": (in_(["mine", "mine too"]),)}),
    (TENANTS, {"project_id": "nobody"}, {}),
    (TENANTS, {"project_id": None}, {}),
    (TENANTS, {"check_only": True}, {}),
    (TENANTS, {"groups": (group("1", VGPU=1),)}, {"groups": (group()._replace(member_of=(MINE,)), group("1", VGPU=1))}),
    (
        TENANTS,
        {"groups": (PLAIN,), "fallback_groups": (group(PCPU=1),)},
        {"groups": (in_(["mine", "mine too"]),), "fallback_groups": (group(PCPU=1)._replace(member_of=(MINE,)),)},
    ),
    (REQUIRED, {"groups": (in_(["x"]),)}, {"groups": (in_(["x"], ["mine", "mine too"]),)}),
    (TYPES, {"disk_format": "qcow2"}, {"root_required": ("COMPUTE_IMAGE_TYPE_QCOW2",)}),
    (TYPES, {"disk_format": "QCOW2"}, {"root_required": ("COMPUTE_IMAGE_TYPE_QCOW2",)}),
    (TYPES, {"disk_format": "qcow2", "is_bfv": True}, {}),
    (TYPES, {"disk_format": "gpt"}, {}),
    (TYPES, {"disk_format": None}, {}),
    ({}, {"disk_format": "qcow2"}, {}),
    (ISOLATED, {}, {"groups": (not_in("for A", "for A and B"),)}),
    (
        ISOLATED,
        {"groups": (group(VCPU=1, required=["CUSTOM_A"]),)},
        {"groups": (not_in("for A and B", required=["CUSTOM_A"]),)},
    ),
    (ISOLATED, {"groups": (PLAIN, group("1", required=["CUSTOM_A", "CUSTOM_B"]))}, {}),
    (ISOLATED, {"root_required": ("CUSTOM_A", "CUSTOM_B")}, {"groups": (not_in("for A", "for A and B"),)}),
    (
        DEVICES,
        {
            "image_properties": {
                "hw_vif_model": "spapr-vlan",
                "hw_architecture": "x86_64",
                "hw_cdrom_bus": "ide",
                "hw_disk_bus": "ide",
                "hw_machine_type": "q35",
            },
            "root_required": ("CUSTOM_X",),
        },
        {
            "root_required": (
                "COMPUTE_NET_VIF_MODEL_SPAPR_VLAN",
                "COMPUTE_STORAGE_BUS_IDE",
                "CUSTOM_X",
                "HW_ARCH_X86_64",
            )
        },
    ),
    (
        DEVICES,
        {"image_properties": {"hw_architecture": "armv7l", "hw_viommu_model": "virtio"}},
        {"root_required": ("COMPUTE_VIOMMU_MODEL_VIRTIO",)},
    ),
    ({}, {"image_properties": {"hw_vif_model": "e1000"}}, {}),
    (
        ROUTED,
        {"segments": ((uuid_of("s1"), uuid_of("s2")), (uuid_of("segment 3"),))},
        {
            "groups": (
                PLAIN._replace(member_of=((uuid_of("segment 1"), uuid_of("segment 2")), (uuid_of("segment 3"),))),
            )
        },
    ),
    ({}, {"segments": ((uuid_of("s1"),),)}, {}),
    ({"disable_fallback_pcpu_query": True}, {"fallback_groups": (group(VCPU=2),)}, {"fallback_groups": ()}),
    ({}, {"fallback_groups": (group(VCPU=2),)}, {}),
]


@pytest.mark.parametrize("options, facts, changed", ROWS)
def test_what_is_added(options, facts, changed):
    asked, cloud = (
        request(*facts.get("groups", ()), **{name: value for name, value in facts.items() if name != "groups"}),
        Asked(*SAID),
    )
    found = prefiltered(asked, cloud.table, Policy(**options))
    assert found == asked._replace(**changed)
    assert changed or found is asked, "a request to which nothing is added stays the same"


REFUSED = [
    (REQUIRED, {"project_id": "nobody"}, ("require_tenant_aggregate", "no aggregate of the project")),
    (REQUIRED, {"project_id": None}, ("require_tenant_aggregate", "no aggregate of the project")),
    (
        ROUTED,
        {"segments": ((uuid_of("s1"), SEGMENT),)},
        ("routed_networks_filter", f"no aggregate of the network segment {SEGMENT}"),
    ),
]


@pytest.mark.parametrize("options, facts, why", REFUSED)
def test_what_no_host_can_take(options, facts, why):
    cloud, policy = Asked(*SAID), Policy(**options)
    refused = prefiltered(request(**facts), cloud.table, policy)
    assert type(refused) is Refused and (refused.filter, str(refused.reason)) == why
    decision = cloud.decide(request(**facts), policy=policy)
    assert (decision.candidates, decision.summary) == ((), f"0/3 hosts: 3 {why[1]}")


def test_a_decision_looks_at_what_was_added():
    cloud, policy = Asked(*SAID), Policy(**TENANTS)
    assert cloud.decide(request(), policy=policy, alternates=5).survivors == 2
    assert cloud.decide(request(project_id="other"), policy=policy).candidates[0].host == "c"
    assert cloud.decide(request(force_hosts=("c",)), policy=policy).summary == (
        "0/3 hosts: 2 not the requested host, 1 traits or aggregates"
    ), "also where a host is named by force"


def test_a_segment_may_be_a_provider():
    said = [report("a", inventory=tree("a", provider("segment", parent=0, aggregates=["x"])))]
    assert aggregates_of_segment(Asked(*said).table, uuid_of("segment")) == (uuid_of("x"),)
    assert aggregates_of_segment(Asked().table, SEGMENT) == ()


def versioned(host, version=None, *traits):
    said = tree(host, stats={} if version is None else {"service_version": version})
    return report(host, inventory=said._replace(providers=(said.providers[0]._replace(traits=traits),)))


VERSIONS = [
    ([], ()),
    ([versioned("a")], ()),
    ([versioned("a", "73")], ("OWNER_NOVA",)),
    ([versioned("a", "72")], ()),
    ([versioned("a", "74"), versioned("b", "73")], ("OWNER_NOVA",)),
    ([versioned("a", "74"), versioned("b")], ()),
    ([versioned("a", "seventy-three")], ()),
    ([versioned("a", "9" * 30)], ()),
    ([versioned("a", "-74")], ()),
]


@pytest.mark.parametrize("said, required", VERSIONS)
def test_the_owner_is_asked_for_once_all_hosts_say_it(said, required):
    assert prefiltered(request(), Asked(*said).table, Policy()).root_required == required


def test_a_host_that_is_upgraded():
    cloud = Asked(versioned("a", "73", "OWNER_NOVA"), versioned("b", "72"))
    assert cloud.decide(request()).survivors == 2
    cloud.cell.say(versioned("b", "73"))
    assert cloud.decide(request()).summary == "1/2 hosts: 1 trait OWNER_NOVA"
    cloud.cell.say(versioned("b", "73", "OWNER_NOVA"))
    assert cloud.decide(request()).survivors == 2
    cloud.cell.say(versioned("c", "1"))
    assert cloud.decide(request()).survivors == 3
    cloud.cell.say(events.HostRemoved("c", "gone"))
    assert prefiltered(request(), cloud.table, Policy()).root_required == ("OWNER_NOVA",)


def test_devices_of_a_flavor_must_be_of_the_owner_too():
    def of_alias(alias, name):
        return events.PCIRequest(1, (), alias, uuid_of(name), None, None)

    cloud = Asked(versioned("a", "73"))
    groups = [group(f"{uuid_of(name)}-0", required=["Z"], VCPU=1) for name in ("gpu", "port")]
    asked = request(PLAIN, *groups, pci=(of_alias("gpu", "gpu"), of_alias(None, "port")))
    found = prefiltered(asked, cloud.table, Policy())
    assert [one.required_traits for one in found.groups] == [(), ("OWNER_NOVA", "Z"), ("Z",)]
    already = asked._replace(root_required=("OWNER_NOVA",))
    assert prefiltered(already, cloud.table, Policy()) is already


@pytest.mark.parametrize("one", prefilters._REQUEST_FILTERS, ids=lambda one: one.__name__.strip("_"))
def test_every_request_filter_has_a_row(one, monkeypatch):
    monkeypatch.setattr(prefilters, "_REQUEST_FILTERS", (one,))
    cloud = Asked(*SAID)
    for options, facts, _ in ROWS:
        asked = request(**{"groups": (PLAIN,), **facts})
        if prefiltered(asked, cloud.table, Policy(**options)) is not asked:
            return
    assert one is prefilters._owner_nova, (
        f"the request filter {one.__name__} adds nothing in any row: add a row (options, facts of the request, what is "
        "added) to ROWS of this file"
    )
