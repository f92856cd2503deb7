"""Server groups that the conductor sends without uuid: nova places them by members and hosts, and so do we.

Whatever name the log knows the group by, no two of its members come to one host where one of them is named in the
request of the other; however many schedulers there are, and however far each has read.
"""

import itertools

import pytest

from nova_sched.request.server_group import name_of_members
from rpc_api import events
from rpc_api.errors import NoHostFound
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud, hosts_of

POLICIES = (("anti-affinity", False), ("affinity", True))


def unnamed(policy, *members, hosts=(), limit=1):
    """A group without uuid, as it is read from a request."""
    named = server_group(policy, limit, members=members, hosts=hosts)
    return named._replace(uuid=name_of_members(named.members))


def cloud(hosts=4, **options):
    tiny = TinyCloud(**options)
    for number in range(hosts):
        tiny.host(f"h{number}", vcpus=8)
    return tiny


def placed(tiny, engine, name, group):
    ask = tiny.ask(engine, name, group=group)
    tiny.settle()
    return hosts_of(ask)[0]


@pytest.mark.parametrize("policy, same", POLICIES)
def test_four_schedulers_race_for_one_group(policy, same):
    tiny, names = cloud(hosts=6), [f"vm-{number}" for number in range(4)]
    engines = [tiny.engine(f"s{number}") for number in range(4)]
    asks = [tiny.ask(engine, name, group=unnamed(policy, *names)) for engine, name in zip(engines, names, strict=True)]
    tiny.settle()
    hosts = [hosts_of(ask)[0] for ask in asks]
    assert len(set(hosts)) == (1 if same else 4)


@pytest.mark.parametrize("policy, same", POLICIES)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_group_grows_and_nobody_has_read_what_others_claimed(policy, same, order):
    """Each request names the members that came before it: the group's name may be another for each."""
    tiny, names = cloud(hosts=3), [f"vm-{number}" for number in order]
    engines = [tiny.engine(f"s{number}") for number in order]
    asks = [
        tiny.ask(engine, name, group=unnamed(policy, *names[: number + 1]))
        for number, (engine, name) in enumerate(zip(engines, names, strict=True))
    ]
    tiny.settle()
    assert len({hosts_of(ask)[0] for ask in asks}) == (1 if same else 3)


@pytest.mark.parametrize("policy, same", POLICIES)
def test_a_member_that_was_claimed_with_the_uuid_gives_the_group_its_name(policy, same):
    tiny = cloud()
    first, second = tiny.engine("s1"), tiny.engine("s2")
    named = server_group(policy, members=["a"])
    host = placed(tiny, first, "a", named)
    assert (placed(tiny, second, "b", unnamed(policy, "b", "a")) == host) == same
    rules = [claim.rule.group_uuid for claim in tiny.events("cell1", "ClaimProposed")]
    assert rules == [named.uuid, named.uuid]


@pytest.mark.parametrize("policy, same", POLICIES)
@pytest.mark.parametrize("first_has_uuid", [True, False])
def test_claims_of_one_scheduler_under_way_count_under_both_names(policy, same, first_has_uuid):
    tiny = cloud()
    engine, members = tiny.engine("s"), ("a", "b")
    with_uuid, without = server_group(policy, members=members), unnamed(policy, *members)
    groups = (with_uuid, without) if first_has_uuid else (without, with_uuid)
    asks = [tiny.ask(engine, name, group=group) for name, group in zip(members, groups, strict=True)]
    tiny.settle()
    assert (hosts_of(asks[0]) == hosts_of(asks[1])) == same


def test_the_log_ends_without_what_was_given_back():
    tiny = cloud(hosts=2)
    first, second = tiny.engine("s1"), tiny.engine("s2")
    asks = [
        tiny.ask(first, "vm-2", group=unnamed("anti-affinity", "vm-2")),
        tiny.ask(second, "vm-0", group=unnamed("anti-affinity", "vm-2", "vm-0")),
    ]
    tiny.settle()
    assert hosts_of(asks[0]) != hosts_of(asks[1])
    held = {
        entry.instance_uuid: entry.host
        for host in first.world.projections["cell1"].hosts.values()
        for entry in host.entries.values()
    }
    assert held == {uuid_of("vm-2"): hosts_of(asks[0])[0], uuid_of("vm-0"): hosts_of(asks[1])[0]}


def test_no_host_is_left():
    tiny = cloud(hosts=1)
    engine = tiny.engine("s")
    placed(tiny, engine, "a", unnamed("anti-affinity", "a"))
    ask = tiny.ask(engine, "b", group=unnamed("anti-affinity", "a", "b"))
    tiny.settle()
    assert isinstance(ask.future.exception(0), NoHostFound)
    decision = tiny.events("cell0", "DecisionMade")[-1]
    assert "anti-affinity" in decision.reason


def test_a_limit_above_one():
    tiny = cloud(hosts=1)
    engine = tiny.engine("s")
    for name in ("a", "b"):
        placed(tiny, engine, name, unnamed("anti-affinity", "a", "b", "c", limit=2))
    ask = tiny.ask(engine, "c", group=unnamed("anti-affinity", "a", "b", "c", limit=2))
    tiny.settle()
    assert isinstance(ask.future.exception(0), NoHostFound)


def test_an_affinity_group_goes_to_the_hosts_that_the_request_names():
    tiny = cloud()
    assert placed(tiny, tiny.engine("s"), "a", unnamed("affinity", "a", hosts=("h3",))) == "h3"


@pytest.mark.parametrize("policy, same", POLICIES)
def test_two_cells(policy, same):
    tiny = TinyCloud(("cell1", "cell2"))
    for cell in tiny.cells:
        for number in range(3):
            tiny.host(f"{cell}-{number}", cell, vcpus=8)
    engines, names = [tiny.engine(f"s{number}") for number in range(3)], ("a", "b", "c")
    asks = [tiny.ask(engine, name, group=unnamed(policy, *names)) for engine, name in zip(engines, names, strict=True)]
    tiny.settle()
    assert len({hosts_of(ask)[0] for ask in asks}) == (1 if same else 3)
    assert all(isinstance(event, events.ClaimProposed) for event in tiny.events("cell1", "ClaimProposed"))
