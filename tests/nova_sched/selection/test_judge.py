"""A judge of one host agrees with the decision over all hosts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection.world import World
from nova_sched.selection.decide import decide
from nova_sched.selection.judge import judge
from nova_sched.selection.policy import Policy
from tests.asked import Asked
from tests.builders import claim, group, inventory_of, of, report, request, server_group, tree, uuid_of

POLICY = Policy(weighers=(("RAMWeigher", 1.0), ("CPUWeigher", 0.5)))
VM = uuid_of("vm-new")


def host(name, vcpus=4, memory_mb=1024, **facts):
    inventories = inventory_of("VCPU", vcpus), inventory_of("MEMORY_MB", memory_mb)
    return report(name, inventory=tree(name, inventories=inventories), **facts)


def judged(world, asked, name, beside=None):
    return judge(World(world.table, world.projections, world.in_flight), world.chain, asked, VM, POLICY, name, beside)


def refusal(found):
    return None if found.refusal is None else (found.refusal[0], str(found.refusal[1]))


def test_an_unknown_host():
    assert judged(Asked(host("a"), policy=POLICY), request(), "b") is None


@pytest.mark.parametrize(
    "hosts, asked, name, wanted, words",
    [
        ([host("a")], request(), "a", None, ""),
        ([host("a", 1)], request(group(VCPU=2)), "a", ("ResourceFilter", "VCPU"), "1 free, 2 asked"),
        ([host("a", disabled=True)], request(), "a", ("ComputeStatusFilter", "disabled"), "maintenance"),
        (
            [host("a"), host("b")],
            request(force_hosts=("b",)),
            "a",
            ("DestinationFilter", "not the requested host"),
            "b",
        ),
        (
            [host("a"), claim("one", "a", of("a", 1))],
            request(server_group=server_group("anti-affinity", members=("one",), hosts=("a",))),
            "a",
            ("ServerGroupAntiAffinityFilter", "anti-affinity"),
            "",
        ),
    ],
    ids=["passes", "no room", "disabled", "forced elsewhere", "a group"],
)
def test_why_a_host_is_refused(hosts, asked, name, wanted, words):
    found = judged(Asked(*hosts, policy=POLICY), asked, name)
    assert refusal(found) == wanted and words in found.text
    assert (found.standing is None) == (wanted is not None)


def test_the_best_host_is_the_named_one_if_it_is_one_of_the_best():
    world = Asked(host("a"), host("b"), host("c", memory_mb=512), policy=POLICY)
    for beside in ("a", "b"):
        assert judged(world, request(), "c", beside).standing.best == beside
    standing = judged(world, request(), "a", "c").standing
    assert standing.best in ("a", "b") and (standing.rank, standing.of) == (1, 3)
    assert judged(world, request(), "c").standing.rank == 3
    assert "RAMWeigher" in [name for name, _, _ in standing.scores]


HOSTS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([256, 512, 1024]), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(hosts=HOSTS, vcpus=st.integers(1, 4))
def test_a_judge_agrees_with_the_decision(hosts, vcpus):
    """The hosts that pass are the candidates of a decision with many alternates, and their ranks are in its order."""
    names = [f"host-{number}" for number in range(len(hosts))]
    world = Asked(
        *(host(name, cpus, ram, disabled=off) for name, (cpus, ram, off) in zip(names, hosts, strict=True)),
        policy=POLICY,
    )
    asked = request(group(VCPU=vcpus))
    decision = decide(
        World(world.table, world.projections, world.in_flight), world.chain, asked, VM, POLICY, 1, 0, len(names)
    )
    chosen = [candidate.host for candidate in decision.candidates]
    found = {name: judged(world, asked, name, chosen[0] if chosen else None) for name in names}
    assert {name for name, each in found.items() if each.standing is not None} == set(chosen)
    ranks = [found[name].standing.rank for name in chosen]
    assert ranks == sorted(ranks) and all(found[name].standing.best == chosen[0] for name in chosen)
    assert sum(each.refusal is not None for each in found.values()) == len(names) - decision.survivors
