"""The engine: claims by the order of the log, all or nothing, and what happens when claims do not come back."""

import pytest

from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud, hosts_of

RELEASED = "ClaimReleased"


def used(engine, host):
    """VCPUs that the fold counts as used on a host."""
    table = engine.world.table
    return int(table.used[table.classes.get("VCPU"), table.row_of_host[host]])


def test_nothing_is_answered_before_the_claim_is_read_back():
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    assert not ask.future.done()
    assert [claim.host for claim in cloud.events("cell1", "ClaimProposed")] == ["a"]
    cloud.settle()
    assert hosts_of(ask) == ["a"] and used(engine, "a") == 2


def test_the_order_of_the_log_decides_between_two_schedulers():
    cloud = TinyCloud()
    cloud.host("a", vcpus=4)
    cloud.host("b", vcpus=3)
    one, two = cloud.engine("one"), cloud.engine("two")
    first, second = cloud.ask(one, "vm1", vcpus=3), cloud.ask(two, "vm2", vcpus=3)
    assert [claim.host for claim in cloud.events("cell1", "ClaimProposed")] == ["a", "a"]
    cloud.settle()
    assert (hosts_of(first), hosts_of(second)) == (["a"], ["b"])
    assert two.counts["conflicts"] == 1 and one.counts["conflicts"] == 0
    for engine in (one, two):
        assert (used(engine, "a"), used(engine, "b")) == (3, 3)


def test_the_loser_learns_that_nothing_is_left():
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    one, two = cloud.engine("one"), cloud.engine("two")
    first, second = cloud.ask(one, "vm1"), cloud.ask(two, "vm2")
    cloud.settle()
    assert hosts_of(first) == ["a"]
    with pytest.raises(errors.NoHostFound) as refused:
        second.future.result(0)
    assert refused.value.summary == "0/1 hosts: 1 VCPU"
    assert "VCPU" not in str(refused.value), "the text for the end user says nothing of the hosts"


def test_a_scheduler_does_not_collide_with_its_own_claims_in_flight():
    cloud = TinyCloud()
    for name in "abc":
        cloud.host(name, vcpus=2)
    engine = cloud.engine("one")
    asks = [cloud.ask(engine, f"vm{number}") for number in range(3)]
    cloud.settle()
    assert sorted(host for ask in asks for host in hosts_of(ask)) == ["a", "b", "c"]
    assert engine.counts["conflicts"] == 0


def test_several_instances_get_all_or_nothing():
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    cloud.host("b", vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2", "vm3")
    cloud.settle()
    with pytest.raises(errors.NoHostFound):
        ask.future.result(0)
    assert used(engine, "a") == used(engine, "b") == 0
    claimed = {claim.claim_uuid for claim in cloud.events("cell1", "ClaimProposed")}
    assert {release.claim_uuid for release in cloud.events("cell1", RELEASED)} == claimed
    both = cloud.ask(engine, "vm4", "vm5")
    cloud.settle()
    assert sorted(hosts_of(both)) == ["a", "b"]


def test_alternates_are_distinct_in_the_cell_and_free_beside_all_chosen():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    for name in "abcd":
        cloud.host(name, vcpus=2)
    cloud.host("elsewhere", cell="cell2", vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2", alternates=2, target_cell="cell1")
    cloud.settle()
    for placed in ask.future.result(0):
        names = [one.host for one in placed]
        assert len(set(names)) == 3 and "elsewhere" not in names
        assert not set(names[1:]) & set(hosts_of(ask))
        assert placed[0].claim_uuid and all(one.claim_uuid is None for one in placed[1:])


@pytest.mark.parametrize(
    "hosts, instances, policy, alternates, wanted",
    [
        ("abcd", 2, None, 2, "cd"),
        ("abcd", 2, None, 1, "c"),
        ("abcd", 2, None, 0, ""),
        ("abcd", 3, None, 2, "d"),
        ("ab", 2, None, 2, ""),
        ("abc", 2, "anti-affinity", 2, "c"),
        ("abc", 3, "anti-affinity", 2, ""),
        ("abcd", 2, "affinity", 2, ""),
    ],
)
def test_an_alternate_is_the_host_of_no_instance_of_the_request(hosts, instances, policy, alternates, wanted):
    cloud = TinyCloud(cells=("cell1", "cell2"), policy=Policy(weighers=(("CPUWeigher", 1.0),)))
    for left, name in enumerate(reversed(hosts)):
        cloud.host(name, vcpus=16 + left)  # each instance goes to another one, and all have room for all
    cloud.host("elsewhere", cell="cell2", vcpus=64)
    engine = cloud.engine("one")
    ask = cloud.ask(
        engine,
        *(f"vm{number}" for number in range(instances)),
        vcpus=8,
        alternates=alternates,
        target_cell="cell1",
        group=policy and server_group(policy),
    )
    cloud.settle()
    for placed in ask.future.result(0):
        assert "".join(one.host for one in placed[1:]) == wanted


def test_alternates_have_room_beside_all_instances_of_the_request():
    cloud = TinyCloud()
    for name, vcpus in (("a", 8), ("b", 7), ("c", 3), ("d", 4)):
        cloud.host(name, vcpus=vcpus)
    ask = cloud.ask(cloud.engine("one"), "vm1", "vm2", vcpus=4, alternates=3)
    cloud.settle()
    assert sorted(hosts_of(ask)) == ["a", "b"]
    assert [[one.host for one in placed[1:]] for placed in ask.future.result(0)] == [["d"], ["d"]]


@pytest.mark.parametrize("policy, same", [("affinity", True), ("anti-affinity", False)])
def test_server_group_of_one_request(policy, same):
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    cloud.host("b", vcpus=8)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2", group=server_group(policy))
    cloud.settle()
    assert (len(set(hosts_of(ask))) == 1) is same


def test_two_schedulers_cannot_break_anti_affinity():
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    cloud.host("b", vcpus=4)
    one, two = cloud.engine("one"), cloud.engine("two")
    asks = [
        cloud.ask(one, "vm1", group=server_group("anti-affinity")),
        cloud.ask(two, "vm2", group=server_group("anti-affinity")),
    ]
    assert [claim.host for claim in cloud.events("cell1", "ClaimProposed")] == ["a", "a"]
    cloud.settle()
    assert sorted(host for ask in asks for host in hosts_of(ask)) == ["a", "b"]


def test_two_schedulers_anchor_an_affinity_group_of_two_cells_once():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", cell="cell1", vcpus=8)
    cloud.host("b", cell="cell2", vcpus=8)
    one, two = cloud.engine("one"), cloud.engine("two")
    group = server_group("affinity")
    asks = [cloud.ask(one, "vm1", group=group, target_cell="cell1"), cloud.ask(two, "vm2", group=group)]
    assert len(cloud.events("cell0", "GroupAnchored")) == 2, "both want to anchor the group"
    cloud.settle()
    assert hosts_of(asks[0]) == ["a"] and hosts_of(asks[1]) == ["a"]


def test_an_empty_group_is_fenced_off_and_anchored_anew():
    """Its host is full and none of its members is left there: the group may go to the other cell."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", cell="cell1", vcpus=4)
    engine = cloud.engine("one")
    group = server_group("affinity")
    first = cloud.ask(engine, "vm1", group=group)
    cloud.settle()
    cloud.append(
        "cell1", "conductor/x", events.ClaimReleased(uuid_of("vm1"), first.future.result(0)[0][0].claim_uuid, "deleted")
    )
    full = cloud.ask(engine, "other", vcpus=4, target_cell="cell1")
    cloud.host("b", cell="cell2", vcpus=4)
    cloud.settle()
    full = cloud.ask(engine, "other2", vcpus=4, target_cell="cell1")
    cloud.settle()
    assert hosts_of(full) == ["a"]
    again = cloud.ask(engine, "vm2", group=group)
    cloud.settle()
    assert hosts_of(again) == ["b"]
    assert len(cloud.events("cell1", "GroupFenced")) == 1 and len(cloud.events("cell0", "GroupAnchored")) == 2


def test_a_claim_under_an_old_anchor_is_refused_after_the_fence():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", cell="cell1", vcpus=4)
    slow, quick = cloud.engine("slow"), cloud.engine("quick")
    group = server_group("affinity")
    cloud.append("cell0", "scheduler/other", events.GroupAnchored(group.uuid, "cell1", "a", 0))
    cloud.settle()
    number = slow.world.projections["cell0"].anchors[group.uuid][2]
    cloud.append("cell1", "scheduler/quick", events.GroupFenced(group.uuid, number))
    late = cloud.ask(slow, "vm1", group=group)
    claim = cloud.events("cell1", "ClaimProposed")[-1]
    assert claim.rule.limit == number
    cloud.deliver("quick", "cell1")
    assert quick.world.projections["cell1"].counts["claim-refused"] == 1
    assert not late.future.done() or late.future.exception()


def test_a_fence_that_is_folded_counts_for_every_request_of_the_group():
    """Two requests come after a third one fenced the group off and before it has a new anchor: the anchored host has
    room again, but no claim under the old anchor would hold there."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", cell="cell1", vcpus=4)
    cloud.host("b", cell="cell2", vcpus=4)
    group = server_group("affinity")
    cloud.append("cell0", "scheduler/other", events.GroupAnchored(group.uuid, "cell1", "a", 0))
    engine = cloud.engine("one")
    number = engine.world.projections["cell0"].anchors[group.uuid][2]
    cloud.append("cell1", "scheduler/other", events.GroupFenced(group.uuid, number))
    cloud.settle()
    asks = [cloud.ask(engine, f"vm{each}", group=group, vcpus=1) for each in range(2)]
    assert not cloud.events("cell1", "ClaimProposed"), "a claim under the old anchor is refused in any case"
    assert {anchor.replaces for anchor in cloud.events("cell0", "GroupAnchored")[1:]} == {number}
    cloud.settle()
    (host,) = {hosts_of(ask)[0] for ask in asks}
    assert cloud.engines["one"].counts["conflicts"] == 0
    assert engine.world.projections["cell0"].anchors[group.uuid][1] == host


def test_a_full_anchored_group_with_members_is_not_moved():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", cell="cell1", vcpus=2)
    cloud.host("b", cell="cell2", vcpus=2)
    engine = cloud.engine("one")
    group = server_group("affinity")
    first = cloud.ask(engine, "vm1", group=group)
    cloud.settle()
    second = cloud.ask(engine, "vm2", group=group)
    cloud.settle()
    assert first.future.result(0)
    with pytest.raises(errors.NoHostFound) as refused:
        second.future.result(0)
    assert "affinity" in refused.value.summary and not cloud.events("cell1", "GroupFenced")


def test_a_claim_that_does_not_come_back_fails_the_request_and_is_released_when_it_does():
    cloud = TinyCloud(claim_timeout=30)
    cloud.host("a")
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    cloud.clock.seconds += 29
    engine.on_tick()
    assert not ask.future.done()
    cloud.clock.seconds += 1
    engine.on_tick()
    with pytest.raises(errors.ClaimTimeout):
        ask.future.result(0)
    cloud.settle()
    assert len(cloud.events("cell1", RELEASED)) == 1 and used(engine, "a") == 0


def test_a_closed_cell_gets_nothing_and_what_was_under_way_goes_elsewhere():
    cloud = TinyCloud(cells=("cell1", "cell2"), cell_down_after=5)
    cloud.host("a", cell="cell1", vcpus=8)
    cloud.host("b", cell="cell2", vcpus=4)
    engine = cloud.engine("one")
    under_way = cloud.ask(engine, "vm1")
    assert cloud.events("cell1", "ClaimProposed")
    engine.on_fault("cell1", errors.LogUnavailable("gone"))
    engine.on_tick()
    assert not under_way.future.done(), "a short silence closes nothing"
    cloud.clock.seconds += 5
    engine.on_tick()
    cloud.deliver("one", "cell2")
    assert hosts_of(under_way) == ["b"]
    with pytest.raises(errors.CellsUnreachable, match="scheduled to cell1, .* 1 cell unreachable"):
        cloud.ask(engine, "big", vcpus=6).future.result(0)
    with pytest.raises(errors.NoHostFound):
        cloud.ask(engine, "too big for both", vcpus=9).future.result(0)
    engine.on_fault("cell1", None)
    cloud.settle()
    assert used(engine, "a") == 0, "the claim that came back late was released"
    again = cloud.ask(engine, "big2", vcpus=8)
    cloud.settle()
    assert hosts_of(again) == ["a"]


def test_every_decision_is_recorded_with_its_evidence():
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    cloud.ask(engine, "vm1")
    cloud.ask(engine, "big", vcpus=9)
    (taken,) = cloud.events("cell1", "DecisionMade")
    (refused,) = cloud.events("cell0", "DecisionMade")
    assert (taken.outcome, taken.hosts, taken.instance_uuid) == ("selected", ("a",), uuid_of("vm1"))
    assert (refused.outcome, refused.reason) == ("no_valid_host", "0/1 hosts: 1 VCPU")
    for decision in (taken, refused):
        evidence = events.thaw("Evidence", decision.evidence)
        assert sum(refusal.hosts for refusal in evidence.refusals) + evidence.survivors == evidence.hosts_total
        assert evidence.policy_digest == cloud.policy.digest
    in_flight = events.thaw("Evidence", refused.evidence).positions[1]
    assert (in_flight.first_in_flight, in_flight.last_in_flight) == (1, 1), "the claim before it was under way"


def test_a_rebuild_is_checked_and_claims_nothing():
    """Only the image may have changed: the host may be full or disabled, but it must be able to run the image."""
    cloud = TinyCloud()
    cloud.host("a", vcpus=1, disabled=True)
    engine = cloud.engine("one")
    rebuild = {"vcpus": 2, "check_only": True, "force_hosts": ("a",)}
    passes = cloud.ask(engine, "vm", **rebuild)
    assert hosts_of(passes) == ["a"] and not cloud.events("cell1", "ClaimProposed")
    other_image = cloud.ask(engine, "vm", image_properties={"hw_architecture": "aarch64"}, **rebuild)
    with pytest.raises(errors.NoHostFound):
        other_image.future.result(0)


def test_an_aggregate_is_appended_once():
    cloud = TinyCloud()
    engine = cloud.engine("one")
    aggregate = events.AggregateUpdated(uuid_of("rack"), "rack", ("a",), {"domain": "rack"})
    engine.on_aggregate(aggregate)
    cloud.settle()
    engine.on_aggregate(aggregate)
    assert len(cloud.events("cell0", "AggregateUpdated")) == 1
    engine.on_aggregate_deleted(aggregate.uuid)
    cloud.settle()
    engine.on_aggregate_deleted(aggregate.uuid)
    assert len(cloud.events("cell0", "AggregateDeleted")) == 1 and not engine.world.table.aggregates


# --- aggregates ----------------------------------------------------------------------------------------------------


def aggregate(*hosts):
    return events.AggregateUpdated(uuid_of("aggregate"), "one", hosts, {})


GONE = None


@pytest.mark.parametrize(
    "before, said",
    [
        (aggregate("a"), [aggregate("a", "b"), aggregate("a")]),
        (GONE, [aggregate("a"), GONE]),
        (aggregate("a"), [GONE, aggregate("a")]),
        (GONE, [aggregate("a"), aggregate("b"), aggregate("a")]),
    ],
)
@pytest.mark.parametrize("available", [True, False])
def test_an_aggregate_is_as_was_said_last(before, said, available):
    """Also if it is published before the first event is read back, and if the log takes nothing at first."""
    tiny = TinyCloud()
    if before is not GONE:
        tiny.append("cell0", "scheduler/other", before)
    engine = tiny.engine("one")
    publish = engine.publish

    def refuse(cell, *data):
        raise errors.LogUnavailable("too many events wait")

    for number, one in enumerate(said):
        engine.publish = publish if available or number else refuse
        engine.on_aggregate_deleted(uuid_of("aggregate")) if one is GONE else engine.on_aggregate(one)
    engine.on_tick()
    tiny.settle()
    assert engine.world.table.aggregates.get(uuid_of("aggregate")) == said[-1]
    told = len(tiny.logs["cell0"])
    engine.on_aggregate_deleted(uuid_of("aggregate")) if said[-1] is GONE else engine.on_aggregate(said[-1])
    assert len(tiny.logs["cell0"]) == told, "what is known already is not said again"
