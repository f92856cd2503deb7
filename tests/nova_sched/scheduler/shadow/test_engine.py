"""The shadow's engine: what it compares with what, and that it changes nothing."""

import pytest

from nova_sched.projection.state import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import events
from tests.builders import consumer_put, of, put, server_group, uuid_of
from tests.nova_sched.scheduler.shadow.shadowing import API, Shadowed

RAM = Policy(weighers=(("RAMWeigher", 1.0),))


def other_than(host, hosts=("a", "b")):
    return next(each for each in hosts if each != host)


# --- by the allocations of the log ---------------------------------------------------------------------------------


def test_the_same_host():
    cloud = Shadowed("a")
    cloud.asks("vm")
    cloud.allocates("vm", "a")
    (found,) = cloud.compared
    assert (found.verdict, found.nova_host, found.seen_in, found.hosts) == ("same", "a", "allocations", ("a",))
    assert (found.instance_uuid, found.request_id, found.outcome) == (uuid_of("vm"), "req-vm", "selected")
    evidence = events.thaw("Evidence", found.evidence)
    assert evidence.survivors == 1 and {position.cell for position in evidence.positions} == {CELL0, "cell1"}


def test_equal_hosts_are_a_tie():
    cloud = Shadowed("a", "b")
    for number in range(8):
        cloud.asks(f"vm-{number}")
        cloud.calls(f"vm-{number}", "a")
    assert {verdict for verdict, _ in cloud.verdicts()} == {"same", "tie"}


def test_a_lower_score():
    cloud = Shadowed(policy=RAM)
    cloud.nova_host("large", memory_mb=4096)
    cloud.nova_host("small", memory_mb=1024)
    cloud.settle()
    cloud.asks("vm")
    cloud.allocates("vm", "small")
    (found,) = cloud.compared
    assert (found.verdict, found.cause, found.part, found.hosts[0]) == ("different", "weight", "RAMWeigher", "large")
    assert "small has the score +0.250 (rank 2 of 2, alternate 1 here), large has +1.000: RAMWeigher" in found.text


def test_a_write_that_the_log_refuses_is_no_choice():
    cloud = Shadowed("a")
    cloud.asks("vm")
    cloud.allocates("vm", "a", vcpus=100)
    assert not cloud.compared
    cloud.allocates("vm", "a")
    assert cloud.verdicts() == [("same", "")]


def test_nova_finds_a_host_that_has_no_room_here():
    """The conductor's call is seen, and the log has no allocation: with the state of an import."""
    cloud = Shadowed("a", has_allocations=False)
    cloud.asks("vm", vcpus=100)
    cloud.calls("vm", "a")
    (found,) = cloud.compared
    assert (found.verdict, found.cause, found.part) == ("only-nova", "state", "ResourceFilter")
    assert "VCPU" in found.text and found.outcome == "no_valid_host"


def test_a_host_that_is_disabled_here():
    cloud = Shadowed("a")
    cloud.nova_host("off", disabled=True)
    cloud.settle()
    cloud.asks("vm")
    cloud.calls("vm", "off")
    assert [(each.verdict, each.cause, each.part) for each in cloud.compared] == [
        ("different", "state", "ComputeStatusFilter")
    ]


def test_a_filter_of_the_policy_here():
    cloud = Shadowed("a", "b")
    cloud.asks("vm", availability_zone="rare")
    cloud.calls("vm", "a")
    assert [(each.verdict, each.cause, each.part) for each in cloud.compared] == [
        ("only-nova", "filter", "AvailabilityZoneFilter")
    ]


def test_a_host_that_is_not_known_here():
    cloud = Shadowed("a")
    cloud.asks("vm")
    cloud.calls("vm", "new")
    assert cloud.verdicts() == [("different", "unknown-host")]


def test_the_state_in_front_of_novas_claim_counts():
    """Between the request and Nova's claim the better host filled up."""
    cloud = Shadowed(policy=RAM)
    cloud.nova_host("large", memory_mb=4096, vcpus=2)
    cloud.nova_host("small", memory_mb=1024)
    cloud.settle()
    cloud.asks("vm", vcpus=2)
    cloud.allocates("other", "large", vcpus=2)
    cloud.allocates("vm", "small", vcpus=2)
    (found,) = cloud.compared
    assert (found.hosts[0], found.verdict, found.cause) == ("large", "moved", "")


def test_requests_that_come_together_are_no_differences():
    """The shadow counts its own choice until Nova's is seen, as a scheduler does."""
    cloud = Shadowed("a", "b")
    cloud.asks("one", vcpus=4)
    cloud.asks("two", vcpus=4)
    ours = {each.uuid: each.ours.hosts[0] for each in cloud.engine.waiting.values()}
    assert len(set(ours.values())) == 2
    cloud.allocates("one", other_than(ours[uuid_of("one")]), vcpus=4)
    cloud.allocates("two", ours[uuid_of("one")], vcpus=4)
    assert cloud.verdicts() == [("tie", ""), ("moved", "")]


# --- what Nova does not do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vcpus, wanted", [(1, "only-ours"), (100, "neither")])
def test_nova_chooses_no_host(vcpus, wanted):
    cloud = Shadowed("a")
    cloud.asks("vm", vcpus=vcpus)
    cloud.passes(59)
    assert not cloud.compared
    cloud.passes(2)
    assert cloud.verdicts() == [(wanted, "")] and not cloud.engine.waiting
    assert cloud.compared[0].nova_host is None and cloud.compared[0].seen_in == ""


@pytest.mark.parametrize("when", ["at the request", "meanwhile", "at the end"])
def test_what_may_have_been_missed_is_no_difference(when):
    cloud = Shadowed("a", has_allocations=False, sees_builds=when != "at the request")
    cloud.asks("vm")
    cloud.sees_builds = True
    if when == "meanwhile":
        cloud.engine.on_lost()
    cloud.sees_builds = when != "at the end"
    cloud.passes(61)
    assert cloud.verdicts() == [("unseen", "")]


def test_lost_calls_do_not_matter_where_allocations_are_seen():
    cloud = Shadowed("a", sees_builds=False)
    cloud.asks("vm")
    cloud.engine.on_lost()
    cloud.passes(61)
    assert cloud.verdicts() == [("only-ours", "")]


def test_a_call_of_another_request_is_not_the_choice():
    cloud = Shadowed("a", "b")
    cloud.asks("vm", force_hosts=("a",))
    cloud.calls("vm", "b", request_id="req-before")
    assert not cloud.compared
    cloud.calls("vm", "a")
    assert cloud.verdicts() == [("same", "")]


@pytest.mark.parametrize("seconds, request_id, count", [(1, "req-vm", 1), (11, "req-vm", 0), (1, "req-before", 0)])
def test_a_call_that_is_read_before_its_request(seconds, request_id, count):
    cloud = Shadowed("a")
    cloud.calls("vm", "a", request_id=request_id)
    cloud.passes(seconds)
    cloud.asks("vm")
    assert cloud.verdicts() == [("same", "")] * count


def test_a_second_request_for_an_instance_ends_the_first():
    cloud = Shadowed("a")
    cloud.asks("vm")
    cloud.asks("vm", name="again")
    cloud.allocates("vm", "a")
    assert [(each.request_id, each.verdict) for each in cloud.compared] == [("req-vm", "unseen"), ("req-again", "same")]


# --- several instances, moves, rebuilds ----------------------------------------------------------------------------


def test_several_instances():
    cloud = Shadowed("a", "b")
    cloud.asks("one", "two", vcpus=4)
    assert {each.ours.hosts[0] for each in cloud.engine.waiting.values()} == {"a", "b"}
    cloud.allocates("one", "a", vcpus=4)
    cloud.allocates("two", "b", vcpus=4)
    assert cloud.verdicts() in ([("same", "")] * 2, [("tie", ""), ("moved", "")])


def test_of_several_instances_all_or_none():
    cloud = Shadowed("a")
    cloud.asks("one", "two", vcpus=4)
    assert not cloud.engine.world.in_flight.claims
    cloud.passes(61)
    assert cloud.verdicts() == [("neither", "")] * 2
    assert [each.outcome for each in cloud.compared] == ["no_valid_host"] * 2
    assert uuid_of("two") in cloud.compared[0].reason


def test_an_anti_affinity_group_of_one_request():
    cloud = Shadowed("a", "b")
    cloud.asks("one", "two", server_group=server_group("anti-affinity", members=("one", "two")))
    assert {each.ours.hosts[0] for each in cloud.engine.waiting.values()} == {"a", "b"}


def test_an_evacuation_holds_both_hosts():
    """The source is in what Nova writes, and is not its choice."""
    cloud = Shadowed("a", "b")
    cloud.allocates("vm", "a")
    cloud.clock.seconds += 3600
    cloud.asks("vm", ignore_hosts=("a",))
    cloud.allocates("vm", "a", "b")
    assert [(each.verdict, each.nova_host) for each in cloud.compared] == [("same", "b")]


def test_a_resize_on_the_same_host():
    """The conductor passes what the instance holds to the migration, then the scheduler claims."""
    cloud = Shadowed("a")
    cloud.allocates("vm", "a")
    cloud.clock.seconds += 3600
    cloud.asks("vm", vcpus=2)
    cloud.append("cell1", API, put(consumer_put("vm"), consumer_put("migration", of("a", 1))))
    cloud.settle()
    assert not cloud.compared
    cloud.allocates("vm", "a", vcpus=2)
    assert [(each.verdict, each.nova_host) for each in cloud.compared] == [("same", "a")]


def test_a_live_migration_is_seen_at_its_destination():
    cloud = Shadowed("a", "b", has_allocations=False)
    cloud.asks("vm", ignore_hosts=("a",))
    cloud.calls("vm", "b", "check_can_live_migrate_destination")
    assert [(each.verdict, each.seen_in) for each in cloud.compared] == [("same", "check_can_live_migrate_destination")]


@pytest.mark.parametrize("is_disabled, wanted", [(False, ("same", "")), (True, ("only-nova", "filter"))])
def test_a_rebuild(is_disabled, wanted):
    """Only the call to the host shows it: nothing is allocated."""
    policy = Policy(enabled_filters=("IsolatedHostsFilter",), isolated_hosts=("a",) if is_disabled else ())
    cloud = Shadowed("a", policy=policy)
    cloud.asks("vm", check_only=True, target_host="a", image_id="plain")
    assert not cloud.engine.world.in_flight.claims
    cloud.allocates("vm", "a")
    assert not cloud.compared
    cloud.calls("vm", "a", "rebuild_instance")
    assert cloud.verdicts() == [wanted]


def test_a_forced_host():
    cloud = Shadowed("a", "b")
    cloud.asks("vm", force_hosts=("b",))
    cloud.allocates("vm", "b")
    assert [(each.verdict, each.hosts) for each in cloud.compared] == [("same", ("b",))]


def test_novas_claim_came_before_the_decision():
    cloud = Shadowed("a", "b", policy=Policy(weighers=(("CPUWeigher", 1.0),)))
    cloud.clock.seconds = 0.0
    cloud.allocates("vm", "a")
    cloud.asks("vm")
    (found,) = cloud.compared
    assert (found.hosts[0], found.nova_host, found.verdict, found.cause) == ("b", "a", "late", "")


# --- what counts in memory -----------------------------------------------------------------------------------------


def test_novas_choice_counts_until_an_import_brings_it():
    cloud = Shadowed("a", "b", has_allocations=False)
    cloud.asks("one", vcpus=4)
    cloud.calls("one", "a")
    cloud.asks("two", vcpus=4)
    assert cloud.engine.waiting[uuid_of("two")].ours.hosts == ("b",)
    cloud.calls("two", "b")
    assert cloud.compared[-1].verdict == "same" and cloud.compared[-1].from_memory == 1
    assert len(cloud.engine.memory) == 2
    cloud.allocates("one", "a", vcpus=4)
    cloud.passes(1)
    assert len(cloud.engine.memory) == 1
    cloud.asks("three", vcpus=1)
    assert cloud.engine.waiting[uuid_of("three")].ours.hosts == ()


def test_a_deleted_instance_does_not_count():
    cloud = Shadowed("a", has_allocations=False)
    cloud.asks("one", vcpus=4)
    cloud.calls("one", "a")
    cloud.calls("one", "a", "terminate_instance")
    assert len(cloud.engine.memory) == 0
    cloud.asks("two", vcpus=4)
    assert cloud.engine.waiting[uuid_of("two")].ours.hosts == ("a",)


def test_an_alternate_takes_the_place_of_a_host_whose_build_failed():
    cloud = Shadowed("a", "b", has_allocations=False)
    cloud.asks("one", vcpus=4)
    cloud.calls("one", "a")
    cloud.calls("one", "b")
    cloud.asks("two", vcpus=4)
    assert cloud.engine.waiting[uuid_of("two")].ours.hosts == ("a",)
    assert len(cloud.compared) == 1


def test_memory_ends():
    cloud = Shadowed("a", has_allocations=False)
    cloud.asks("one", vcpus=4)
    cloud.calls("one", "a")
    cloud.passes(3601)
    assert len(cloud.engine.memory) == 0 and not cloud.engine.world.in_flight.claims


def test_the_shadows_own_choice_counts_only_for_seconds():
    cloud = Shadowed("a")
    cloud.asks("one", vcpus=4)
    cloud.passes(9)
    assert cloud.engine.world.in_flight.claims
    cloud.passes(2)
    assert not cloud.engine.world.in_flight.claims and cloud.engine.waiting


# --- nothing is disturbed ------------------------------------------------------------------------------------------


def test_it_writes_nothing_but_comparisons_and_its_policy():
    cloud = Shadowed("a", "b")
    cloud.engine.publish_policy()
    cloud.asks("one", "two")
    cloud.allocates("one", "a")
    cloud.calls("two", "b")
    cloud.passes(100)
    assert cloud.written_by_shadow() == {CELL0: {"DecisionCompared", "PolicyAdopted"}, "cell1": set()}
    cloud.settle()
    assert not cloud.engine.world.projections[CELL0].quarantine


def test_a_shadow_may_not_claim():
    """The log refuses it, whatever the process does."""
    cloud = Shadowed("a")
    cloud.asks("vm")
    (held,) = cloud.engine.world.in_flight.claims.values()
    cloud.append(
        "cell1",
        "shadow/s",
        events.ClaimProposed(
            held.claim_uuid,
            held.consumer_uuid,
            held.instance_uuid,
            "req-vm",
            "project",
            held.host,
            held.allocations,
            None,
            False,
            None,
            None,
            None,
        ),
    )
    cloud.settle()
    projection = cloud.engine.world.projections["cell1"]
    assert not projection.consumers and [each.code for each in projection.quarantine] == ["not-allowed"]


def test_below_its_level_the_policy_is_not_published():
    cloud = Shadowed("a")
    cloud.engine.world.projections[CELL0].level = 2
    cloud.engine.publish_policy()
    assert cloud.written_by_shadow()[CELL0] == set()


def test_a_fault_of_a_comparison_is_recorded(monkeypatch):
    from nova_sched.scheduler.shadow import engine

    cloud = Shadowed("a", "b")
    cloud.asks("vm")
    monkeypatch.setattr(engine, "judge", lambda *arguments: 1 // 0)
    cloud.allocates("vm", other_than(cloud.engine.waiting[uuid_of("vm")].ours.hosts[0]))
    assert cloud.verdicts() == [("different", "fault")] and cloud.engine.counts["faults"] == 1


def test_a_log_that_is_read_again_keeps_what_waits():
    from nova_sched.projection.beginning import Beginning

    cloud = Shadowed("a")
    cloud.asks("vm")
    cloud.engine.on_begin("cell1", Beginning(None, 0, len(cloud.logs["cell1"]) - 1, True, False))
    cloud._read["s", "cell1"] = 0
    cloud.settle()
    cloud.allocates("vm", "a")
    assert cloud.verdicts() == [("same", "")]
