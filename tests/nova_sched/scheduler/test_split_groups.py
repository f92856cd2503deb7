"""An affinity group whose members are on two hosts, as after a live migration to a host that was named by force,
and the same cause elsewhere: what the log refuses each time must not be chosen each time.

Sources: an operator's report of groups that live migrations pulled apart
(https://dischord.org/2016/04/11/nova-affinity-policy-violations/), and a loop of schedulers and plan applier that never
agree (https://github.com/hashicorp/nomad/issues/13017, #9506).
"""

import pytest

from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.instance_group import InstanceGroup
from tests.builders import consumer, inventory_of, moved, of, report, request_spec, rule, tree, uuid_of
from tests.nova_sched.scheduler.answering import World


def group(policy, members, hosts):
    return InstanceGroup(
        uuid=uuid_of("g"),
        name="g",
        policy=policy,
        policies=[policy],
        _rules={},
        members=[uuid_of(member) for member in members],
        hosts=list(hosts),
    )


def host(name, vcpus, *members, policy="together", **facts):
    held = [
        consumer(one, of(name, 1), rule=rule("g", policy, name, uuid_of(one), int(policy == "spread")))
        for one in members
    ]
    return report(name, *held, inventory=tree(name, inventories=(inventory_of(total=vcpus),)), **facts)


SPLIT = (host("a", 8, "m1"), host("b", 8, "m2"), host("c", 8))
CASES = {
    # what happens: (events, instance, fields of its request, enabled filters, its host or hosts, at level 1 if others)
    "a new member of a split group": (
        SPLIT,
        "new",
        {"instance_group": group("affinity", ["m1", "m2"], ["a", "b"])},
        None,
        ("a", "b"),
        (),
    ),
    "the same, and the conductor named no hosts": (
        SPLIT,
        "new",
        {"instance_group": group("affinity", ["m1", "m2"], [])},
        None,
        ("a", "b"),
        (),
    ),
    "a member is moved to the other's host": (
        (*SPLIT, moved("a", "m1", "migration")),
        "m1",
        {"ignore_hosts": ["a"], "instance_group": group("affinity", ["m1", "m2"], ["a", "b"])},
        None,
        ("b",),
        (),
    ),
    "a host that the group left is in the request": (
        (host("a", 64), host("b", 8, "m2"), host("c", 8)),
        "new",
        {"instance_group": group("affinity", ["m2"], ["a", "b"])},
        None,
        ("b",),
    ),
    "without the ComputeFilter, the best host is down": (
        (host("big", 64, forced_down=True), host("small", 8)),
        "vm",
        {},
        ("AllHostsFilter",),
        ("small",),
    ),
    "a host that is named by force": (
        (host("a", 8, "m1"), host("b", 8)),
        "vm",
        {"force_hosts": ["b"], "instance_group": group("affinity", ["m1"], ["a"])},
        None,
        ("b",),
    ),
    "anti-affinity without its filter": (
        (host("a", 64, "m1", policy="spread"), host("b", 8)),
        "vm",
        {"instance_group": group("anti-affinity", ["m1"], ["a"])},
        ("ComputeFilter",),
        ("b",),
    ),
    "a group of one is resized where it is": (
        (host("a", 8, "m1"), host("b", 64), moved("a", "m1", "migration")),
        "m1",
        {"instance_group": group("affinity", ["m1"], ["a"])},
        None,
        ("a",),
    ),
}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_an_instance_is_placed_where_nova_places_it_after_few_decisions(name, level):
    said, instance, fields, filters, hosts, *before = CASES[name]
    if level == 1 and before:
        (hosts,) = before
    policy = Policy() if filters is None else Policy(enabled_filters=filters)
    with World(*said, *[events.LevelPinned(2)] * (level - 1), policy=policy) as world:
        asked = request_spec(uuid_of(instance), vcpus=1, memory_mb=0, disk_gb=0, **fields)
        if hosts:
            assert world.selected(asked)[0][0].service_host in hosts
        else:
            with pytest.raises(NoValidHost):
                world.selected(asked)
        assert world.scheduler.engine.counts["decisions"] == 1
