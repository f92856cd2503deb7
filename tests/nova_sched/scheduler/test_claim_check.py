"""A claim is checked before it is published: a host that the log would refuse is not claimed, and the next one is.

The rows of the table are those of docs/design/0025, point 4.
"""

import pytest

from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.errors import NoHostFound
from tests.builders import consumer, moved, of, rule, server_group, uuid_of
from tests.engines import TinyCloud, hosts_of

NO_COMPUTE_FILTER = Policy(enabled_filters=("AllHostsFilter",))
SPREAD_ONLY_BY_THE_LOG = Policy(enabled_filters=("ComputeFilter",))
EVERYTHING = ("a", "b", "c")


def member(name, host, policy="together", limit=0):
    """An instance that runs on a host under a rule of the group."""
    return consumer(name, of(host, 1), rule=rule("group", policy, host, uuid_of(name), limit))


def affinity(*members, hosts=()):
    return server_group("affinity", members=members, hosts=hosts)


def spread(*members, hosts=()):
    return server_group("anti-affinity", members=members, hosts=hosts)


def cloud(a=(), b=(), c=(), *, second_cell=(), policy=None, vcpus=None, status=None):
    """Hosts a, b and c with what they run; those of ``second_cell`` are in cell2. 8 VCPUs unless ``vcpus`` says so."""
    tiny = TinyCloud(("cell1", "cell2") if second_cell else ("cell1",), policy=policy)
    for name, consumers in (("a", a), ("b", b), ("c", c)):
        tiny.host(
            name,
            "cell2" if name in second_cell else "cell1",
            vcpus=(vcpus or {}).get(name, 8),
            consumers=consumers,
            **(status or {}).get(name, {}),
        )
    return tiny


def asked(tiny, name="new", *, group=None, anchor=None, fence=None, migrates=None, **fields):
    """Ask one scheduler for a host; returns (its host or None, number of decisions). ``migrates`` is the host on which
    the instance's allocations belong to its migration; ``anchor`` the (cell, host) of the group."""
    if migrates:
        tiny.append("cell1", "conductor/c", moved(migrates, name, "migration"))
    if anchor:
        tiny.append("cell0", "scheduler/other", events.GroupAnchored(uuid_of("group"), *anchor, 0))
    engine = tiny.engine("s")
    if fence:
        number = engine.world.projections["cell0"].anchors[uuid_of("group")][2]
        tiny.append(fence, "scheduler/other", events.GroupFenced(uuid_of("group"), number))
        tiny.settle()
    ask = tiny.ask(engine, name, group=group, vcpus=1, **fields)
    tiny.settle()
    fault = ask.future.exception(0)
    assert fault is None or isinstance(fault, NoHostFound), fault
    assert engine.counts["conflicts"] == 0, "with one scheduler no claim is refused"
    return None if fault else hosts_of(ask)[0], engine.counts["decisions"]


def split(**facts):
    """An affinity group whose members are on two hosts, as after a live migration to a host that was forced."""
    return cloud([member("m1", "a")], [member("m2", "b")], **facts)


TABLE = {
    # what happens: (cloud, request, hosts that may be chosen, decisions)
    "a new member of a split group": (lambda: split(), {"group": affinity("m1", "m2", hosts=("a", "b"))}, (), 1),
    "the same, and no hosts are named": (lambda: split(), {"group": affinity("m1", "m2")}, (), 1),
    "m1 of a split group moves to the other": (
        lambda: split(),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", "m2", hosts=("a", "b"))},
        (),
        1,
    ),
    "m1 of a split group is resized, and may stay": (
        lambda: split(),
        {"name": "m1", "migrates": "a", "group": affinity("m1", "m2", hosts=("a", "b"))},
        (),
        1,
    ),
    "one of two members must leave": (
        lambda: cloud([member("m1", "a"), member("m2", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", "m2", hosts=("a",))},
        (),
        1,
    ),
    "the only member must leave, and its host is named": (
        lambda: cloud([member("m1", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", hosts=("a",))},
        (),
        1,
    ),
    "the only member must leave, and no host is named": (
        lambda: cloud([member("m1", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1")},
        (),
        1,
    ),
    "the only member is resized in place": (
        lambda: cloud([member("m1", "a")], vcpus={"b": 64}),
        {"name": "m1", "migrates": "a", "group": affinity("m1", hosts=("a",))},
        ("a",),
        1,
    ),
    "a member runs without a claim, another one with it": (
        lambda: cloud([consumer("m1", of("a", 1))], [member("m2", "b")], vcpus={"a": 64}),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        ("b",),
        1,
    ),
    "the request names a host that the group left": (
        lambda: cloud((), [member("m2", "b")], vcpus={"a": 64}),
        {"group": affinity("m2", hosts=("a", "b"))},
        ("b",),
        1,
    ),
    "forced, and outside of the affinity group": (
        lambda: cloud([member("m1", "a")]),
        {"group": affinity("m1", hosts=("a",)), "force_hosts": ("b",)},
        ("b",),
        1,
    ),
    "forced, and full by anti-affinity": (
        lambda: cloud([member("m1", "a", "spread", 1)]),
        {"group": spread("m1", hosts=("a",)), "force_hosts": ("a",)},
        ("a",),
        1,
    ),
    "anti-affinity without its filter": (
        lambda: cloud([member("m1", "a", "spread", 1)], vcpus={"a": 64}, policy=SPREAD_ONLY_BY_THE_LOG),
        {"group": spread("m1", hosts=("a",))},
        ("b", "c"),
        1,
    ),
    "affinity without its filter": (
        lambda: cloud([member("m1", "a")], vcpus={"b": 64}, policy=SPREAD_ONLY_BY_THE_LOG),
        {"group": affinity("m1", hosts=("a",))},
        ("a",),
        1,
    ),
    "the best host is down, and no filter looks": (
        lambda: cloud(vcpus={"a": 64, "b": 32}, status={"a": {"forced_down": True}}, policy=NO_COMPUTE_FILTER),
        {"alternates": 2},
        ("b",),
        1,
    ),
    "the best host is disabled, and no filter looks": (
        lambda: cloud(vcpus={"a": 64, "b": 32}, status={"a": {"disabled": True}}, policy=NO_COMPUTE_FILTER),
        {},
        ("b",),
        1,
    ),
    "all hosts are down, and no filter looks": (
        lambda: cloud(status={name: {"forced_down": True} for name in EVERYTHING}, policy=NO_COMPUTE_FILTER),
        {},
        (),
        1,
    ),
    "forced to a host that is down": (
        lambda: cloud(status={"a": {"forced_down": True}}),
        {"force_hosts": ("a",)},
        ("a",),
        1,
    ),
    "anti-affinity: m1 is resized in place": (
        lambda: cloud([member("m1", "a", "spread", 1)], vcpus={"a": 64}),
        {"name": "m1", "migrates": "a", "group": spread("m1", hosts=("a",))},
        ("a",),
        1,
    ),
    "two cells: members in both": (
        lambda: split(second_cell=("b",)),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        ("a", "b"),
        2,
    ),
    "two cells: members on two hosts of one": (
        lambda: split(second_cell=("c",), vcpus={"c": 64}),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        (),
        1,
    ),
    "two cells: the anchor is in the cell without members": (
        lambda: cloud((), [member("m2", "b")], second_cell=("b",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "group": affinity("m2", hosts=("b",))},
        ("b",),
        1,
    ),
    "two cells: the same, and the group is fenced off there": (
        lambda: cloud((), [member("m2", "b")], second_cell=("b",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "fence": "cell1", "group": affinity("m2", hosts=("b",))},
        ("b",),
        2,
    ),
    "two cells: anchor and member are on two hosts of one": (
        lambda: cloud((), [member("m2", "b")], second_cell=("c",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "group": affinity("m2", hosts=("b",))},
        ("b",),
        1,
    ),
    "two cells: the anchor's host is full, and there is no member": (
        lambda: cloud(second_cell=("b", "c"), vcpus={"a": 0}),
        {"anchor": ("cell1", "a"), "group": affinity()},
        ("b", "c"),
        3,
    ),
    "two cells: forced outside of the anchor's cell": (
        lambda: cloud(second_cell=("b",)),
        {"anchor": ("cell1", "a"), "group": affinity(), "force_hosts": ("b",)},
        ("b",),
        1,
    ),
    "two cells: forced, and no anchor yet": (
        lambda: cloud(second_cell=("b",)),
        {"group": affinity(), "force_hosts": ("b",)},
        ("b",),
        1,
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_table_of_the_design(row):
    made, request, hosts, decisions = row
    host, count = asked(made(), **request)
    assert (host in hosts) if hosts else host is None, host
    assert count == decisions
