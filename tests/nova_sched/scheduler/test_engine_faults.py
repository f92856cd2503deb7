"""The engine when something is wrong: it concerns one request, or one cell, and nothing stays held."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.beginning import Beginning
from nova_sched.projection.projection import Projection
from nova_sched.scheduler.engine import CELL0, Ask
from rpc_api import codec, errors, events
from tests.builders import claim, group, request, server_group, uuid_of
from tests.engines import TinyCloud, hosts_of

GONE = events.HostRemoved


def held(engine):
    """What the engine holds for claims in flight."""
    return int(engine.world.table.held.sum())


class Away:
    """Makes publishing to a cell fail as long as ``cells`` names it."""

    def __init__(self, engine):
        self.cells = set()
        self._publish, engine.publish = engine.publish, self

    def __call__(self, cell, *data):
        if cell in self.cells:
            raise errors.LogUnavailable(f"{cell} is away")
        return self._publish(cell, *data)


def test_a_host_that_goes_while_its_claim_is_under_way():
    cloud = TinyCloud()
    cloud.host("a")
    cloud.host("b", vcpus=3)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm", alternates=2)
    cloud.append("cell1", "conductor/c", events.HostRemoved("b", "gone"))
    cloud.host("z")
    cloud.settle()
    ((chosen, alternate),) = ask.future.result(0)
    assert chosen.host == "a" and chosen.position is not None
    assert (alternate.host, alternate.nodename, alternate.root_uuid) == ("b", "b", uuid_of("b")) or (
        alternate.host == "b" and alternate.root_uuid == uuid_of("b")
    ), "an alternate is what it was when it was chosen"
    assert held(engine) == 0


def test_a_chosen_host_that_is_removed_in_front_of_its_claim():
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    cloud.append("cell1", "conductor/c", events.HostRemoved("a", "gone"))
    ask = cloud.ask(engine, "vm")
    cloud.settle()
    with pytest.raises(errors.NoHostFound):
        ask.future.result(0)
    assert held(engine) == 0


def test_an_instance_that_holds_resources_is_not_tried_again_and_again():
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    engine = cloud.engine("one")
    assert hosts_of_settled(cloud, cloud.ask(engine, "vm")) == ["a"]
    before = len(cloud.logs["cell1"])
    again = cloud.ask(engine, "vm")
    cloud.settle()
    with pytest.raises(errors.NoHostFound) as refused:
        again.future.result(0)
    assert refused.value.summary == "no host can fix it: the consumer holds resources already"
    assert len(cloud.logs["cell1"]) - before <= 4


def hosts_of_settled(cloud, ask):
    cloud.settle()
    return hosts_of(ask)


def test_a_claim_that_cannot_be_published_fails_its_request_alone():
    cloud = TinyCloud()
    cloud.host("a", vcpus=4)
    engine = cloud.engine("one")
    away = Away(engine)
    away.cells = {"cell1"}
    ask = cloud.ask(engine, "vm")
    with pytest.raises(errors.LogUnavailable):
        ask.future.result(0)
    assert held(engine) == 0 and not engine.open_asks()
    away.cells = set()
    assert hosts_of_settled(cloud, cloud.ask(engine, "vm2", vcpus=4)) == ["a"]


def test_a_release_that_cannot_be_published_is_published_later():
    cloud = TinyCloud()
    for name in "ab":
        cloud.host(name, vcpus=2)
    engine = cloud.engine("one")
    away = Away(engine)
    ask = cloud.ask(engine, "vm1", "vm2", "vm3")
    away.cells = {"cell1"}
    cloud.settle()
    with pytest.raises(errors.NoHostFound):
        ask.future.result(0)
    assert not cloud.events("cell1", "ClaimReleased")
    away.cells = set()
    engine.on_tick()
    cloud.settle()
    assert len(cloud.events("cell1", "ClaimReleased")) == 2
    assert hosts_of_settled(cloud, cloud.ask(engine, "vm4", "vm5")) in (["a", "b"], ["b", "a"])


def test_evidence_that_cannot_be_published_does_not_keep_the_refusal_back():
    cloud = TinyCloud()
    cloud.host("a", vcpus=1)
    engine = cloud.engine("one")
    away = Away(engine)
    away.cells = {CELL0}
    ask = cloud.ask(engine, "vm")
    with pytest.raises(errors.NoHostFound):
        ask.future.result(0)
    assert not cloud.events(CELL0, "DecisionMade")
    away.cells = set()
    engine.on_tick()
    assert [event.outcome for event in cloud.events(CELL0, "DecisionMade")] == ["no_valid_host"]


def test_a_fault_of_our_own_is_one_requests_affair(monkeypatch):
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    monkeypatch.setattr(engine.anchors, "anchored", lambda instance: 1 / 0)
    ask = cloud.ask(engine, "vm")
    with pytest.raises(errors.NovaSchedError, match="met a fault of the scheduler .ZeroDivisionError"):
        ask.future.result(0)
    monkeypatch.undo()
    assert hosts_of_settled(cloud, cloud.ask(engine, "vm2")) == ["a"]


def test_a_claim_that_the_readers_set_aside_is_let_go():
    cloud = TinyCloud()
    cloud.host("a", vcpus=4)
    engine = cloud.engine("one")
    ask = Ask(
        request(group(VCPU=4), request_id="req"), ["ABCDEF00-0000-4000-8000-000000000000"], 0, cloud.clock.monotonic()
    )
    cloud.check = False
    engine.on_ask(ask)
    cloud.settle()
    cloud.append("cell1", "scheduler/one", events.ClaimReleased(uuid_of("x"), uuid_of("y"), ""))
    cloud.settle()
    with pytest.raises(errors.NovaSchedError):
        ask.future.result(0)
    assert held(engine) == 0 and not engine.claims.under_way("cell1")
    assert hosts_of_settled(cloud, cloud.ask(engine, "vm2", vcpus=4)) == ["a"]


# --- logs that start again ---------------------------------------------------------------------------------------


def test_nothing_is_scheduled_to_a_cell_whose_log_is_not_folded():
    cloud = TinyCloud(("cell1", "cell2"))
    for cell in cloud.cells:
        cloud.host(f"{cell}-host", cell)
    engine = cloud.engine("one")
    engine.on_begin("cell1", Beginning(None, 0, 0, True, False))
    assert engine.states.waiting_for == ["cell1"] and engine.world.table.cell_closed["cell1"]
    assert hosts_of_settled_only(cloud, engine, "cell2", cloud.ask(engine, "vm1")) == ["cell2-host"]
    cloud._read["one", "cell1"] = 0
    cloud.settle()
    assert not engine.states.waiting_for and not engine.world.table.cell_closed["cell1"]
    assert {hosts_of_settled(cloud, cloud.ask(engine, f"vm{number}"))[0] for number in (2, 3, 4)} == {
        "cell1-host",
        "cell2-host",
    }


def hosts_of_settled_only(cloud, engine, cell, ask):
    cloud.deliver("one", cell)
    return hosts_of(ask)


def test_claims_in_a_log_that_was_begun_anew_are_decided_again():
    cloud = TinyCloud(("cell1", "cell2"))
    cloud.host("big", "cell1", vcpus=8)
    cloud.host("small", "cell2", vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    assert cloud.events("cell1", "ClaimProposed")
    cloud.logs["cell1"] = []
    engine.on_fault("cell1", errors.LogGap("it is gone"))
    engine.on_begin("cell1", Beginning(None, 0, 0, True, True))
    cloud.deliver("one", "cell2")
    assert hosts_of(ask) == ["small"]
    assert not engine.claims.under_way("cell1")


def test_nobody_is_refused_while_a_log_is_read_anew():
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    engine = cloud.engine("one")
    engine.on_begin("cell1", Beginning(None, 0, 0, True, False))
    first, second = cloud.ask(engine, "vm1"), cloud.ask(engine, "vm2")
    assert not cloud.events(CELL0, "DecisionMade")
    cloud._read["one", "cell1"] = 0
    cloud.settle()
    engine.on_tick()
    cloud.settle()
    assert hosts_of(first) == ["a"]
    with pytest.raises(errors.NoHostFound):
        second.future.result(0)


@pytest.mark.parametrize("forgets", ["rebased", "recreated"])
def test_nobody_is_refused_until_hosts_may_be_reported_again(forgets):
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    if forgets == "rebased":
        cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
        cloud.settle()
    else:
        cloud.logs["cell1"], cloud._read["one", "cell1"] = [], 0
        engine.on_begin("cell1", Beginning(None, 0, -1, True, True))
    placed, refused = cloud.ask(engine, "small"), cloud.ask(engine, "large", vcpus=8)
    cloud.host("a")
    cloud.settle()
    engine.on_tick()
    cloud.settle()
    assert hosts_of(placed) == ["a"] and not refused.future.done()
    cloud.clock.seconds += engine.cell_down_after
    engine.on_tick()
    with pytest.raises(errors.NoHostFound):
        refused.future.result(0)


@pytest.mark.parametrize("fault", [errors.LogUnavailable, errors.LogGap])
def test_a_cell_that_is_away_for_long_keeps_nobody_waiting(fault):
    cloud = TinyCloud()
    cloud.host("a", vcpus=1)
    engine = cloud.engine("one")
    engine.on_fault("cell1", fault("it is away"))
    first = cloud.ask(engine, "vm1")
    assert first.future.done() is (fault is errors.LogUnavailable), "where it cannot be read for a moment it is known"
    cloud.clock.seconds += engine.cell_down_after
    engine.on_tick()
    for ask in (first, cloud.ask(engine, "vm2")):
        # With a log that can be read it may be known for a moment that there is no host.
        wanted = errors.NoHostFound if ask is first and fault is errors.LogUnavailable else errors.CellsUnreachable
        with pytest.raises(wanted):
            ask.future.result(0)


def test_what_is_held_is_held_on_after_the_log_was_read_anew():
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    engine.on_begin("cell1", Beginning(None, 0, 0, True, False))
    cloud._read["one", "cell1"] = 0
    cloud.deliver("one", "cell1", 1)
    assert held(engine) == 2
    cloud.settle()
    assert hosts_of(ask) == ["a"] and held(engine) == 0


def aggregate(name):
    return events.AggregateUpdated(uuid_of(name), name, ("a",), {"domain": "rack"})


def test_aggregates_that_cell0s_log_forgot_are_appended_again():
    cloud = TinyCloud()
    cloud.host("a")
    cloud.append(CELL0, "operator/x", aggregate("one"))
    engine = cloud.engine("one")
    cloud.append(CELL0, "scheduler/other", events.LogRebased(CELL0, 0))
    cloud.settle()
    assert [event.name for event in cloud.events(CELL0, "AggregateUpdated")] == ["one", "one"]
    assert uuid_of("one") in engine.world.table.aggregates
    assert [event.digest for event in cloud.events(CELL0, "PolicyAdopted")] == [engine.policy.digest]


def test_an_aggregate_that_was_deleted_meanwhile_does_not_come_back():
    cloud = TinyCloud()
    cloud.append(CELL0, "operator/x", aggregate("one"), aggregate("two"))
    engine = cloud.engine("one")
    cloud.append(CELL0, "operator/x", events.AggregateDeleted(uuid_of("one")))
    engine.on_begin(CELL0, Beginning(None, 0, len(cloud.logs[CELL0]) - 1, True, False))
    cloud._read["one", CELL0] = 0
    cloud.settle()
    assert set(engine.world.table.aggregates) == {uuid_of("two")}
    assert len(cloud.events(CELL0, "AggregateUpdated")) == 2


def test_what_a_re_created_log_of_cell0_lacks_is_appended():
    cloud = TinyCloud()
    cloud.append(CELL0, "operator/x", aggregate("one"))
    engine = cloud.engine("one")
    cloud.logs[CELL0] = []
    cloud.voices.clear()
    engine.on_begin(CELL0, Beginning(None, 0, -1, True, True))
    cloud._read["one", CELL0] = 0
    cloud.settle()
    assert uuid_of("one") in engine.world.table.aggregates


def test_a_claim_that_a_rebase_wiped_is_not_answered():
    cloud = TinyCloud()
    for host in ("a", "b"):
        cloud.host(host, vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2")
    cloud.deliver("one", "cell1", 1)
    assert [instance.accepted for instance in ask.instances] == [True, False]
    # What is under way comes behind the rebase.
    late = cloud.logs["cell1"][cloud._read["one", "cell1"] :]
    del cloud.logs["cell1"][cloud._read["one", "cell1"] :]
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    for host in ("a", "b"):
        cloud.host(host, vcpus=2)
    cloud.logs["cell1"] += late
    cloud.settle()
    for _ in range(10):
        cloud.clock.seconds += 1.0
        engine.on_tick()
        cloud.settle()
    projection = engine.world.projections["cell1"]
    answered = {placed.claim_uuid for (placed, *_) in ask.future.result(0)}
    assert answered == {entry.claim_uuid for entries in projection.consumers.values() for entry in entries}
    assert held(engine) == 0


def test_a_claim_that_went_with_its_log_is_not_answered():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", "cell1", vcpus=2)
    cloud.host("b", "cell2", vcpus=2)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2")
    cloud.deliver("one", "cell1")
    engine.on_begin("cell1", Beginning(None, 0, -1, True, True))
    cloud.deliver("one", "cell2")
    assert not ask.future.done() or ask.future.exception() is not None
    assert held(engine) == 0


def test_a_snapshot_behind_a_rebase_leaves_nothing_held():
    """The log lost the engine's position, so the engine learns the verdicts on its claims when it appends again."""
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    cloud.ask(engine, "vm")
    assert held(engine)
    other = Projection("cell1")
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    other.fold([(position, codec.decode_record(payload)) for position, payload in enumerate(cloud.logs["cell1"])])
    cloud._read["one", "cell1"] = len(cloud.logs["cell1"])
    engine.on_begin("cell1", Beginning(snapshot.dump(other), 0, other.position, True, False))
    cloud.settle()
    assert held(engine) == 0 and not engine.claims.under_way("cell1")


def test_the_number_of_an_anchor_counts_on_its_host_alone():
    """A claim of ours on the host that a group was moved from must not make others follow it under the new anchor."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", "cell1", vcpus=2)
    cloud.host("b", "cell2", vcpus=8)
    group = server_group("affinity")
    cloud.append("cell0", "scheduler/quick", events.GroupAnchored(group.uuid, "cell1", "a", 0))
    engine = cloud.engine("one")
    stale = events.GroupRule(group.uuid, "together", "b", uuid_of("old"), 1)
    engine.world.in_flight.add(claim("old", "b", rule=stale))
    cloud.ask(engine, "vm", vcpus=4, group=group)
    (proposed,) = cloud.events("cell2", "ClaimProposed")
    assert (proposed.host, proposed.rule.limit) == ("b", 0)
