"""What a request sees of its server group: the conductor's list, the log of each cell, and what is in flight."""

import pytest

from nova_sched.selection.policy import Policy
from rpc_api import events
from tests.asked import Asked
from tests.builders import claim, deleted, of, released, report, request, rule, server_group, started, uuid_of

CELLS = {"cell1": [report("a"), report("b")], "cell2": [report("c")]}


def cloud_of(**said):
    return Asked(cells={cell: [*data, *said.get(cell, ())] for cell, data in CELLS.items()})


def member(name, host, policy="spread", domain=None, partition=None, limit=1, **facts):
    return claim(
        name, host, of(host, 1), rule=rule("group", policy, domain or host, partition or uuid_of(name), limit), **facts
    )


def members(cloud, group, instance="vm-new"):
    by_row = cloud.scope(request(server_group=group), instance).members_by_row()
    return {cloud.table.host_names[row]: set(instances) for row, instances in by_row.items()}


ROWS = [
    # events in cell1 and cell2, members that the conductor lists, hosts with their members
    ([], [], [], {}),
    ([member("vm-1", "a")], [], [], {"a": {"vm-1"}}),
    (
        [member("vm-1", "a", limit=2), member("vm-2", "a", limit=2)],
        [member("vm-3", "c")],
        [],
        {"a": {"vm-1", "vm-2"}, "c": {"vm-3"}},
    ),
    ([claim("vm-1", "a")], [], [], {}),
    ([claim("vm-1", "a")], [], ["vm-1", "vm-unknown"], {"a": {"vm-1"}}),
    ([claim("vm-1", "a")], [claim("vm-2", "c")], ["vm-1", "vm-2"], {"a": {"vm-1"}, "c": {"vm-2"}}),
    ([member("vm-1", "a")], [], ["vm-1"], {"a": {"vm-1"}}),
    ([member("vm-1", "a"), released("vm-1")], [], ["vm-1"], {}),
    ([started("vm-1", "b")], [], ["vm-1"], {"b": {"vm-1"}}),
    ([started("vm-1", "b"), deleted("vm-1", "b")], [], ["vm-1"], {}),
    ([member("migration", "a", instance="vm-1")], [], [], {"a": {"vm-1"}}),
]


@pytest.mark.parametrize("cell1, cell2, listed, wanted", ROWS)
def test_members(cell1, cell2, listed, wanted):
    found = members(cloud_of(cell1=cell1, cell2=cell2), server_group("anti-affinity", members=listed))
    assert found == {host: {uuid_of(name) for name in names} for host, names in wanted.items()}


def test_members_in_flight():
    cloud = cloud_of(cell1=[member("vm-1", "a")])
    cloud.in_flight.add(member("vm-2", "c"))
    assert members(cloud, server_group("anti-affinity")) == {"a": {uuid_of("vm-1")}, "c": {uuid_of("vm-2")}}
    cloud.in_flight.remove(member("vm-2", "c").claim_uuid)
    assert members(cloud, server_group("anti-affinity")) == {"a": {uuid_of("vm-1")}}


def test_a_member_that_the_log_and_the_conductor_both_name_is_one_entry():
    cloud = cloud_of(cell1=[member("vm-1", "a")])
    asked = request(server_group=server_group("anti-affinity", members=["vm-1"]))
    assert len([*cloud.scope(asked, "vm-new").members()]) == 1


def test_members_of_another_group_are_none_of_this_one():
    cloud = cloud_of(cell1=[claim("vm-1", "a", of("a", 1), rule=rule("another", "spread", "a", uuid_of("vm-1"), 1))])
    assert members(cloud, server_group("anti-affinity")) == {}


SURVIVORS = [
    # group, events in cell1 and cell2, the instance, hosts that pass
    (server_group("anti-affinity"), [member("vm-1", "a")], [member("vm-2", "c")], "vm-new", ["b"]),
    (server_group("anti-affinity", 2), [member("vm-1", "a", limit=2)], [], "vm-new", ["a", "b", "c"]),
    (
        server_group("anti-affinity", 2),
        [member("vm-1", "a", limit=2), member("vm-2", "a", limit=2)],
        [],
        "vm-new",
        ["b", "c"],
    ),
    (server_group("anti-affinity"), [member("vm-1", "a")], [], "vm-1", ["a", "b", "c"]),
    (server_group("affinity"), [member("vm-1", "a", "together", limit=0)], [], "vm-new", ["a"]),
    (server_group("affinity"), [member("vm-1", "a", "together", limit=0)], [], "vm-1", ["a", "b", "c"]),
    (server_group("affinity", hosts=["c"]), [], [], "vm-new", ["c"]),
    (server_group("affinity", members=["vm-1"]), [], [claim("vm-1", "c")], "vm-new", ["c"]),
    (server_group("soft-affinity"), [member("vm-1", "a", "member")], [], "vm-new", ["a", "b", "c"]),
    (server_group("soft-anti-affinity"), [member("vm-1", "a", "member")], [], "vm-new", ["a", "b", "c"]),
]


@pytest.mark.parametrize("group, cell1, cell2, instance, hosts", SURVIVORS)
def test_survivors(group, cell1, cell2, instance, hosts):
    assert cloud_of(cell1=cell1, cell2=cell2).survivors(request(server_group=group), instance) == hosts


def racks(**said):
    return Asked(
        *(report(name) for name in ("a", "b", "c", "d")),
        *said.get("said", ()),
        events.AggregateUpdated(uuid_of("r1"), "r1", ("a", "b"), {"domain": "rack"}),
        events.AggregateUpdated(uuid_of("r2"), "r2", ("c",), {"domain": "rack"}),
    )


DOMAINS = [
    # partition and limit asked for, (instance, partition) in rack r1, the instance, hosts that pass
    ("p2", 1, [("vm-1", "p1")], "vm-new", ["c"]),
    ("p1", 1, [("vm-1", "p1")], "vm-new", ["a", "b", "c"]),
    ("p2", 2, [("vm-1", "p1")], "vm-new", ["a", "b", "c"]),
    ("p3", 2, [("vm-1", "p1"), ("vm-2", "p2")], "vm-new", ["c"]),
    ("p3", 2, [("vm-1", "p1"), ("vm-2", "p1")], "vm-new", ["a", "b", "c"]),
    ("p2", 1, [("vm-new", "p1")], "vm-new", ["a", "b", "c"]),
]


@pytest.mark.parametrize("partition, limit, there, instance, hosts", DOMAINS)
def test_fault_domains(partition, limit, there, instance, hosts):
    cloud = racks(said=[member(name, "a", "spread", uuid_of("r1"), of_it, limit) for name, of_it in there])
    group = server_group("fault-domain", limit, "rack", partition)
    assert cloud.survivors(request(server_group=group), instance) == hosts


def test_soft_policies_choose_by_members():
    for policy, chosen in (("soft-affinity", "a"), ("soft-anti-affinity", "b")):
        said = [report("a"), report("b"), member("vm-1", "a", "member")]
        cloud = Asked(
            *said,
            policy=Policy(
                weighers=(("ServerGroupSoftAffinityWeigher", 1.0), ("ServerGroupSoftAntiAffinityWeigher", 1.0))
            ),
        )
        assert {
            cloud.decide(request(server_group=server_group(policy)), seed=seed).candidates[0].host for seed in range(9)
        } == {chosen}
