"""Large server groups: evidence has what the decision needed, each decision can be made again from it, and no group is
too large for an event."""

import pytest

from nova_sched.request.server_group import MAX_MEMBERS, name_of_members, server_group_of
from nova_sched.selection.needed_members import MAX_NAMED
from rpc_api import errors, events
from rpc_api.objects.instance_group import InstanceGroup
from tests.builders import claim, consumer, of, report, request_spec, rule, server_group, uuid_of
from tests.engines import TinyCloud, hosts_of
from tests.nova_sched.replay.tiny import Logs, deciding
from tests.nova_sched.scheduler.answering import World

POLICIES = ("anti-affinity", "affinity", "soft-affinity", "soft-anti-affinity")
#: More than an event of 256 KiB can name.
MANY = 8_000


def names(count):
    return [f"vm-{number}" for number in range(count)]


def cloud_of(hosts=4, vcpus=8, claimed=(), running=(), **options):
    """A cloud with members on its hosts in turn: claimed under the uuid of the group, or running without a group."""
    tiny = TinyCloud(**options)
    there = [f"h{number}" for number in range(hosts)]
    for number, name in enumerate(there):
        tiny.host(name, vcpus=vcpus, consumers=[consumer(each, of(name, 1)) for each in running[number::hosts]])
    for number, name in enumerate(claimed):
        host = there[number % hosts]
        data = claim(name, host, of(host, 1), rule=rule("group", "member", host, uuid_of(name), 0))
        tiny.append("cell1", "scheduler/before", data)
    return tiny


def decisions(tiny):
    return [event for cell in tiny.logs for event in tiny.events(cell, "DecisionMade")]


def named(decision):
    return events.thaw("Evidence", decision.evidence).request.server_group


def verified(tiny, capsys):
    """(exit code, last line) of a replay that makes all decisions again."""
    with Logs(tiny) as logs:
        return logs.run("replay", "--verify"), capsys.readouterr().out


@pytest.mark.parametrize("policy", POLICIES)
def test_evidence_has_no_member_that_the_log_knows(policy, capsys):
    tiny = cloud_of(hosts=4, vcpus=3_000)
    engine = deciding(tiny)
    on = []
    for number in range(3):
        group = server_group(policy, members=names(MANY), hosts=on)
        ask = tiny.ask(engine, f"vm-{number}", group=group, alternates=2)
        tiny.settle()
        on += hosts_of(ask)
    assert [(named(each).members, len(each.evidence) < 4096) for each in decisions(tiny)] == [((), True)] * 3
    assert verified(tiny, capsys)[0] == 0


@pytest.mark.parametrize("policy, same", [("anti-affinity", False), ("affinity", True)])
def test_members_that_run_without_a_group_are_in_the_evidence(policy, same, capsys):
    tiny = cloud_of(hosts=2, running=["vm-0"], claimed=["vm-9"] if same else ())
    engine = deciding(tiny)
    ask = tiny.ask(engine, "vm-1", group=server_group(policy, members=names(MANY)))
    tiny.settle()
    assert (hosts_of(ask) == ["h0"]) == same
    assert named(decisions(tiny)[0]).members == (uuid_of("vm-0"),)
    assert verified(tiny, capsys)[0] == 0


def test_each_attempt_has_the_members_of_its_time():
    """A member whose claim names the group is not named again; one that starts without a group is."""
    tiny = cloud_of(hosts=4)
    engine = deciding(tiny)
    group = server_group("anti-affinity", members=names(4))
    tiny.ask(engine, "vm-0", group=group)
    tiny.settle()
    tiny.host("h3", vcpus=8, consumers=[consumer("vm-3", of("h3", 1))])
    tiny.settle()
    tiny.ask(engine, "vm-1", group=group)
    tiny.settle()
    assert [named(each).members for each in decisions(tiny)] == [(), (uuid_of("vm-3"),)]


@pytest.mark.parametrize("strangers, code", [(MAX_NAMED - 1, 0), (MAX_NAMED, 0), (MAX_NAMED + 200, 4)])
def test_a_list_that_was_cut_is_no_difference(strangers, code, capsys):
    """The decision counts all members; with a part of them it cannot be made again, which is not a broken law."""
    running = [f"there-{number}" for number in range(strangers)]
    tiny = cloud_of(hosts=strangers, vcpus=8, running=running)
    for number in range(2):
        tiny.host(f"free-{number}", vcpus=8)
    engine = deciding(tiny)
    ask = tiny.ask(engine, "vm", group=server_group("anti-affinity", members=["vm", *running]))
    tiny.settle()
    assert hosts_of(ask)[0].startswith("free-")
    assert len(named(decisions(tiny)[0]).members) == min(strangers, MAX_NAMED)
    found, text = verified(tiny, capsys)
    assert found == code
    assert ("1 could not be made again" in text) == ("(members): evidence has at most 1000" in text) == bool(code)


def test_several_instances_and_their_alternates():
    tiny = cloud_of(hosts=5, vcpus=2)
    ask = tiny.ask(
        deciding(tiny), "vm-0", "vm-1", group=server_group("anti-affinity", members=names(MANY)), alternates=2
    )
    tiny.settle()
    assert len({*hosts_of(ask)}) == 2 and all(len(candidates) == 3 for candidates in ask.future.result(0))


def test_a_large_group_without_uuid():
    tiny = cloud_of(hosts=2)
    group = server_group("anti-affinity", members=names(MANY))
    group = group._replace(uuid=name_of_members(group.members))
    asks = [tiny.ask(deciding(tiny, f"s{number}"), f"vm-{number}", group=group) for number in range(2)]
    tiny.settle()
    assert {hosts_of(ask)[0] for ask in asks} == {"h0", "h1"}


@pytest.mark.parametrize("what", ["members", "hosts"])
def test_the_largest_group(what):
    def spec(count):
        made = request_spec(uuid_of("vm"))
        fields = {"members": [], "hosts": [], what: [uuid_of("vm")] * count}
        made.instance_group = InstanceGroup(uuid=uuid_of("group"), policy="affinity", **fields)
        return made

    assert len(getattr(server_group_of(spec(MAX_MEMBERS)), what)) == MAX_MEMBERS
    with pytest.raises(errors.UsageError, match=f"the server group {uuid_of('group')} has .* wanted at most 200000"):
        server_group_of(spec(MAX_MEMBERS + 1))


def test_a_request_of_a_large_group_is_taken_from_nova():
    """As the conductor sends it: the names of the group do not count for the size of the request."""
    members = [uuid_of(name) for name in names(100_000)]
    asked = request_spec(uuid_of("vm"), disk_gb=0)
    asked.instance_group = InstanceGroup(
        uuid=uuid_of("group"), policy="anti-affinity", rules={}, members=members, hosts=["a"]
    )
    with World(report("a"), report("b")) as world:
        (selections,) = world.selected(asked)
    assert selections[0].service_host in ("a", "b")
