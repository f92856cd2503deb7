"""What a request in an older form asks for: converted as nova 34 does, or refused.

Each object that a RequestSpec reaches is written as a sender of each of its older versions writes it.
tests/against_nova/test_forms compares the same requests with what the real nova makes of them.
"""

import itertools

import pytest

from nova_sched.request.from_spec import request_from
from rpc_api import errors
from rpc_api.objects import base
from rpc_api.objects.image_meta import ImageMetaProps
from tests.builders import uuid_of
from tests.end_to_end.every_field import CELL, INSTANCE, SAID, UNSET, older, older_forms, spoilt, whole

TOPOLOGY = (base.DATA, "numa_topology")
NODE = (*TOPOLOGY, base.DATA, "cells", 0)
#: (class, versions) -> the text of the refusal: nova raises, or would place a guest without the pins that it asks for.
REFUSED = {
    ("InstanceNUMACell", range(3)): "from before they had a CPU policy",
    ("InstanceNUMACell", range(3, 4)): "1.3 has the policy dedicated and one set of CPUs",
    ("RequestGroup", range(1)): "requester_id None",
}


def read(primitive):
    return request_from(base.NovaObject.obj_from_primitive(primitive), "req-1", (INSTANCE,))


def expected(name, minor):
    """The request that is meant where objects of a class are of an older version."""
    full = read(whole())
    numa, group = full.numa, full.server_group
    if name == "Destination" and minor < 1:
        return full._replace(target_cell=None)
    if name == "InstanceGroup" and minor < 11:
        return full._replace(server_group=group._replace(limit=1))
    if name == "InstanceNUMATopology" and minor < 3:
        return full._replace(numa=numa._replace(emulator_threads_policy=None))
    if name == "InstancePCIRequest" and minor < 2:
        (device,) = full.pci
        return full._replace(
            pci=(device._replace(numa_policy=None, request_id=device.request_id if minor == 1 else None),)
        )
    if name == "ImageMetaProps":
        kept = {
            one: text
            for one, text in full.image_properties.items()
            if ImageMetaProps.ADDED_IN.get(one, (1, 0)) <= (1, minor)
        }
        return full._replace(image_properties=kept)
    if name == "RequestSpec":
        return _older_spec(full, minor)
    return full


def _older_spec(full, minor):
    without_port = [group for group in full.groups if group.suffix != "port"]
    for since, change in (
        (6, {"target_host": None, "target_node": None, "target_cell": None}),
        (9, {"user_id": None}),
        (
            12,
            {
                "groups": tuple(without_port),
                "group_policy": "none",
                "fallback_groups": tuple(group for group in full.fallback_groups if group.suffix != "port"),
            },
        ),
        (10, {"numa": full.numa._replace(physnets=(), networks=False)}),
        (13, {"root_forbidden": ()}),
    ):
        if minor < since:
            full = full._replace(**change)
    return full


@pytest.mark.parametrize("name, minor", older_forms())
def test_an_older_form_is_converted_or_refused(name, minor):
    refusal = next((text for (one, minors), text in REFUSED.items() if one == name and minor in minors), None)
    if refusal is None:
        assert read(older(name, minor)) == expected(name, minor)
    else:
        with pytest.raises(errors.NovaSchedError, match=refusal):
            read(older(name, minor))


def node_as(minor, policy, shared, pinned):
    """The whole request, of a flavor without a CPU policy, with its NUMA node in a form."""
    made = spoilt(whole(), (base.DATA, "flavor", base.DATA, "extra_specs"), {})
    for name in ("hw_cpu_policy", "hw_cpu_thread_policy"):
        made = spoilt(made, (base.DATA, "image", base.DATA, "properties", base.DATA, name), UNSET)
    made = spoilt(made, (*NODE, base.VERSION), f"1.{minor}")
    for name, value in (("cpu_policy", policy), ("cpuset", shared), ("pcpuset", pinned), ("cpu_pinning_raw", UNSET)):
        made = spoilt(made, (*NODE, base.DATA, name), value)
    return made


#: Minor versions, policy, cpuset, pcpuset -> shared and pinned CPUs of the guest; None: refused.
#: The rows are what the real nova 34 makes of such nodes: see tests/against_nova/test_forms.py.
NODES = [
    (range(7), (None, "shared", UNSET), ([0, 1, 2],), (UNSET, [], [0, 1]), ((0, 1, 2), ())),
    (range(7), (None, "shared", "dedicated", UNSET), (UNSET,), ([], [0, 1]), None),
    ((4,), ("dedicated",), ([0, 1, 2],), (UNSET, []), ((), (0, 1, 2))),
    ((4,), ("dedicated",), ([0, 1, 2],), ([0, 1],), ((0, 1, 2), (0, 1))),
    ((0, 1, 2, 3), ("dedicated",), ([0, 1, 2],), (UNSET,), None),
    ((5, 6), ("dedicated",), ([0, 1, 2], []), (UNSET,), None),
    # Not a form that anybody sends: as nova, which pins the CPUs of pcpuset alone.
    ((5, 6), ("dedicated",), ([0, 1, 2],), ([],), ((0, 1, 2), ())),
    ((5, 6), ("dedicated",), ([],), ([0, 1],), ((), (0, 1))),
    (range(7), ("mixed",), ([0, 1, 2],), (UNSET,), None),
    (range(7), ("mixed",), ([0, 1, 2],), ([3],), ((0, 1, 2), (3,))),
]
NODE_ROWS = [(*row, wanted) for *ways, wanted in NODES for row in itertools.product(*ways)]


@pytest.mark.parametrize("minor, policy, shared, pinned, wanted", NODE_ROWS)
def test_cpus_of_a_numa_node(minor, policy, shared, pinned, wanted):
    form = node_as(minor, policy, shared, pinned)
    if wanted is None:
        with pytest.raises(errors.InvalidEvent if shared is UNSET else errors.UnknownSchema):
            read(form)
    else:
        (cell,) = read(form).numa.cells
        assert (cell.shared_cpus, cell.dedicated_cpus) == wanted


def test_a_node_that_was_pinned_before_there_were_policies_is_refused():
    with pytest.raises(errors.UnknownSchema, match="cpu_pinning_raw without a policy"):
        read(spoilt(node_as(2, UNSET, [0, 1], UNSET), (*NODE, base.DATA, "cpu_pinning_raw"), {}))


@pytest.mark.parametrize(
    "name, extra_specs, asks",
    [
        ("numa_topology", {"hw:cpu_policy": "dedicated"}, "pinned CPUs"),
        ("pci_requests", {"pci_passthrough:alias": "nic:1"}, "PCI devices"),
    ],
)
def test_what_a_flavor_asks_for_must_be_in_the_request(name, extra_specs, asks):
    made = spoilt(node_as(6, None, [0, 1], []), (base.DATA, "flavor", base.DATA, "extra_specs"), extra_specs)
    with pytest.raises(errors.UsageError, match=f"the flavor asks for {asks} and {name}"):
        read(spoilt(made, (base.DATA, name), UNSET))


# --- server groups -------------------------------------------------------------------------------------------------


def group_as(hints=None, **fields):
    """The server group of the whole request with other fields, as it is read."""
    made = spoilt(whole(), (base.DATA, "scheduler_hints"), hints)
    for name, value in {"_rules": UNSET, **fields}.items():
        made = spoilt(made, (base.DATA, "instance_group", base.DATA, name), value)
    return read(made).server_group


@pytest.mark.parametrize(
    "policy, policies, wanted",
    [
        ("affinity", ["affinity"], "affinity"),
        ("affinity", UNSET, "affinity"),
        ("affinity", [], "affinity"),
        ("affinity", None, "affinity"),
        (UNSET, ["affinity"], "affinity"),
        (None, ["affinity"], "affinity"),
        ("", ["soft-affinity"], "soft-affinity"),
        (None, [], None),
        (UNSET, [], None),
        (None, None, None),
        (None, UNSET, None),
    ],
)
def test_the_policy_of_a_group(policy, policies, wanted):
    group = group_as(policy=policy, policies=policies)
    assert (group and group.policy) == wanted


@pytest.mark.parametrize(
    "policy, policies, says",
    [
        (UNSET, UNSET, "has the policies None"),
        (UNSET, None, "has the policies None"),
        ("affinity", ["anti-affinity"], "'affinity, anti-affinity', wanted one"),
        (UNSET, ["affinity", "anti-affinity"], "wanted one"),
        ("legacy", UNSET, "has the policy 'legacy'"),
    ],
)
def test_a_group_of_no_policy_or_two_is_refused(policy, policies, says):
    with pytest.raises(errors.UsageError, match=says):
        group_as(policy=policy, policies=policies)


@pytest.mark.parametrize("policy", ["anti-affinity", "soft-affinity", "soft-anti-affinity"])
@pytest.mark.parametrize("members", [None, UNSET])
def test_a_group_whose_members_nobody_knows_is_refused(policy, members):
    with pytest.raises(errors.UsageError, match=f"the policy {policy} and no list of members"):
        group_as(policy=policy, policies=[policy], members=members)


@pytest.mark.parametrize(
    "first, second, same",
    [
        (["b"], ["b", "a"], True),
        (["a"], ["a", "b"], True),
        (["a", "c"], ["b", "c"], False),
        (["a"], ["b"], False),
        (["b", "a"], ["a", "b"], False),
    ],
)
def test_a_group_without_uuid_is_named_by_its_first_member(first, second, same):
    names = [group_as(uuid=UNSET, members=members).uuid for members in (first, second)]
    assert (names[0] == names[1]) == same


def test_a_group_without_uuid_and_members_is_named_by_the_instances_of_the_request():
    group = group_as(uuid=UNSET, members=[])
    assert group.members == (INSTANCE,) and group.uuid == group_as(uuid=UNSET, members=[INSTANCE]).uuid


@pytest.mark.parametrize(
    "hints, wanted",
    [
        ({"group": [uuid_of("group")]}, True),
        ({"group": [uuid_of("group").upper()]}, True),
        ({"group": ["name"]}, False),
        ({"group": [uuid_of("group"), uuid_of("other")]}, False),
        ({"group": []}, False),
        (None, False),
    ],
)
def test_a_group_without_uuid_has_the_one_of_the_hint(hints, wanted):
    assert (group_as(hints, uuid=UNSET).uuid == uuid_of("group")) == wanted


def test_the_uuid_of_a_group_goes_before_the_hint():
    assert group_as({"group": [uuid_of("other")]}, uuid=uuid_of("group")).uuid == uuid_of("group")


def test_the_whole_request_is_as_it_is_said():
    request = read(whole())
    assert request.target_cell == uuid_of(CELL) and request.vcpus == SAID["Flavor"]["vcpus"]
    assert request.numa.cells[0].dedicated_cpus == (0, 1) and request.server_group.limit == 3
