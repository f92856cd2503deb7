"""Claims whose log is recreated or rebased, or loses its last records: none is kept for ever, none is lost."""

import pytest

from nova_sched.projection.beginning import Beginning
from nova_sched.scheduler.claim_life import State
from rpc_api import errors, events
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud, hosts_of


def unfinished(engine):
    """How many claims the engine keeps whose end it does not know."""
    return len(engine.claims.unfinished())


def recreate(cloud, engine, name):
    """The log of cell1 is recreated: it is empty, and producers write in a new incarnation."""
    cloud.logs["cell1"] = []
    cloud._read[name, "cell1"] = 0
    engine.on_begin("cell1", Beginning(None, 0, -1, True, True))


@pytest.fixture
def cloud():
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a", "cell1", vcpus=8)
    return cloud


def report_b(cloud):
    """There is another host, in the other cell."""
    cloud.host("b", "cell2", vcpus=4)
    cloud.deliver("one", "cell2")


def test_abandoned_claims_are_forgotten_after_their_log_was_recreated(cloud):
    engine = cloud.engine("one")
    asks = [cloud.ask(engine, f"vm-{number}") for number in range(2)]
    report_b(cloud)
    recreate(cloud, engine, "one")
    cloud.deliver("one", "cell2")
    assert [hosts_of(ask) for ask in asks] == [["b"], ["b"]]
    assert unfinished(engine) == 2, "the new log may still get them"
    cloud.host("a", "cell1", vcpus=8)
    cloud.settle()
    later = cloud.ask(engine, "later", target_cell="cell1")
    cloud.settle()
    assert hosts_of(later) == ["a"] and unfinished(engine) == 0


def test_abandoned_claims_are_forgotten_after_their_log_was_rebased(cloud):
    engine = cloud.engine("one")
    for number in range(2):
        cloud.ask(engine, f"vm-{number}", vcpus=1)
    # All of it is read at once: the claims, which the rebase wipes out, and the rebase.
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    cloud.settle()
    assert unfinished(engine) == 0


def test_claims_under_way_at_a_rebase_are_released_and_forgotten(cloud):
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm", target_cell="cell1")
    late = cloud.logs["cell1"][cloud._read["one", "cell1"] :]
    del cloud.logs["cell1"][cloud._read["one", "cell1"] :]
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    cloud.host("a", "cell1", vcpus=8)
    cloud.settle()
    cloud.logs["cell1"] += late
    cloud.settle()
    assert hosts_of(ask) == ["a"] and unfinished(engine) == 0


def test_a_claim_that_reaches_the_recreated_log_is_released(cloud):
    """What waits to be appended when a log is recreated goes to the new one."""
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    (claim,) = cloud.events("cell1", "ClaimProposed")
    late = cloud.logs["cell1"][cloud._read["one", "cell1"] :]
    report_b(cloud)
    recreate(cloud, engine, "one")
    cloud.deliver("one", "cell2")
    assert hosts_of(ask) == ["b"]
    cloud.host("a", "cell1", vcpus=8)
    cloud.logs["cell1"] += late
    cloud.settle()
    assert [release.claim_uuid for release in cloud.events("cell1", "ClaimReleased")] == [claim.claim_uuid]
    assert uuid_of("vm") not in engine.world.projections["cell1"].consumers and unfinished(engine) == 0


def test_a_claim_that_is_made_after_a_rebase_is_not_released(cloud):
    """The hosts report in the batch of the rebase, so what is decided again goes to the same log at once."""
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm", target_cell="cell1")
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    cloud.host("a", "cell1", vcpus=8)
    cloud.settle()
    answered = ask.future.result(0)[0][0].claim_uuid
    entries = engine.world.projections["cell1"].consumers.get(uuid_of("vm"), ())
    assert {entry.claim_uuid for entry in entries} == {answered}
    assert not cloud.events("cell1", "ClaimReleased")


# --- a log that loses its last records -----------------------------------------------------------------------------


def lose_tail(cloud, engine, first, meanwhile=lambda: None):
    """The log of cell1 loses its records from a position on, and is read again after what happens ``meanwhile``."""
    del cloud.logs["cell1"][first:]
    meanwhile()
    cloud._read["one", "cell1"] = 0
    engine.on_begin("cell1", Beginning(None, 0, len(cloud.logs["cell1"]) - 1, True, False, first - 1))


def reported_again(cloud, engine):
    """The hosts report, as their agents are asked to, and time passes."""
    cloud.settle()
    cloud.host("a", "cell1", vcpus=8)
    for _ in range(3):
        cloud.settle()
        cloud.clock.seconds += 6.0
        engine.on_tick()
    cloud.settle()


def held_of(engine, name):
    """The claims that the log of cell1 holds for an instance."""
    return [entry.claim_uuid for entry in engine.world.projections["cell1"].consumers.get(uuid_of(name), ())]


def test_an_answered_claim_that_the_log_lost_is_claimed_again_as_it_was(cloud):
    engine, first = cloud.engine("one"), len(cloud.logs["cell1"])
    ask = cloud.ask(engine, "vm")
    cloud.settle()
    lose_tail(cloud, engine, first)
    reported_again(cloud, engine)
    assert held_of(engine, "vm") == [ask.future.result(0)[0][0].claim_uuid]
    assert [claim.state for claim in engine.claims.kept("cell1")] == [State.ANSWERED]


def test_an_accepted_claim_of_an_open_request_that_the_log_lost_is_decided_again(cloud):
    cloud.host("b", "cell2", vcpus=2)
    engine = cloud.engine("one")
    first = len(cloud.logs["cell1"])
    ask = cloud.ask(engine, "vm1", "vm2", vcpus=2, group=server_group("anti-affinity"))
    cloud.deliver("one", "cell1")
    (accepted,) = [instance for instance in ask.instances if instance.accepted]
    lost = accepted.claim.uuid
    lose_tail(cloud, engine, first)
    assert accepted.claim.state is State.DOUBTFUL and not ask.future.done()
    reported_again(cloud, engine)
    claims = {placed.instance_uuid: placed.claim_uuid for (placed, *_) in ask.future.result(0)}
    assert claims[accepted.uuid] != lost and unfinished(engine) == 0


def test_a_claim_in_doubt_that_is_refused_when_it_comes_again_is_not_answered(cloud):
    """Its append was made again, after other records: the host is full by then."""
    cloud.host("b", "cell2", vcpus=8)
    engine = cloud.engine("one")
    first = len(cloud.logs["cell1"])
    ask = cloud.ask(engine, "vm1", "vm2", vcpus=8, group=server_group("anti-affinity"))
    cloud.deliver("one", "cell1")
    tail = cloud.logs["cell1"][first:]

    def taken_and_appended_again():
        used = (events.Allocation(uuid_of("a"), "VCPU", 8),)
        consumer = events.Consumer(uuid_of("other"), "project", used, None)
        cloud.host("a", "cell1", vcpus=8, consumers=(consumer,))
        cloud.logs["cell1"] += tail

    lose_tail(cloud, engine, first, taken_and_appended_again)
    for _ in range(3):
        cloud.settle()
        cloud.clock.seconds += 6.0
        engine.on_tick()
    with pytest.raises(errors.NoHostFound):
        ask.future.result(0)
    assert unfinished(engine) == 0


def test_an_answered_claim_that_the_log_lost_twice_is_claimed_again(cloud):
    """The log loses the record of the second claim, too, before the scheduler has read it."""
    engine, first = cloud.engine("one"), len(cloud.logs["cell1"])
    ask = cloud.ask(engine, "vm")
    cloud.settle()
    lose_tail(cloud, engine, first)
    cloud.deliver("one", "cell1")
    assert [claim.state for claim in engine.claims.kept("cell1")] == [State.RECLAIMED]
    lose_tail(cloud, engine, first)
    reported_again(cloud, engine)
    assert held_of(engine, "vm") == [ask.future.result(0)[0][0].claim_uuid]
    assert [claim.state for claim in engine.claims.kept("cell1")] == [State.ANSWERED]


def ask_in_two_cells(cloud):
    """A request for two instances, whose claim in cell1 is accepted, and whose claim in cell2 is not read back. Returns
    (engine, Ask, the instance in cell1)."""
    cloud.host("b", "cell2", vcpus=2)
    engine = cloud.engine("one")
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    cloud.host("a", "cell1", vcpus=8)
    cloud.deliver("one", "cell1")
    ask = cloud.ask(engine, "vm1", "vm2", vcpus=2, group=server_group("anti-affinity"))
    cloud.deliver("one", "cell1")
    (accepted,) = [instance for instance in ask.instances if instance.accepted]
    return engine, ask, accepted


@pytest.mark.parametrize("records", [None, 1])
def test_an_accepted_claim_after_a_rebase_is_kept_if_the_log_is_read_again(cloud, records):
    """All of the log is read at once, or record by record."""
    engine, ask, accepted = ask_in_two_cells(cloud)
    claim = accepted.claim
    cloud._read["one", "cell1"] = 0
    engine.on_begin("cell1", Beginning(None, 0, len(cloud.logs["cell1"]) - 1, True, False))
    for _ in cloud.logs["cell1"]:
        cloud.deliver("one", "cell1", records)
    assert accepted.claim is claim and claim.state is State.ACCEPTED
    cloud.settle()
    claims = {placed.instance_uuid: placed.claim_uuid for (placed, *_) in ask.future.result(0)}
    assert claims[accepted.uuid] == claim.uuid
    assert [entry.claim_uuid for entry in engine.world.projections["cell1"].consumers[accepted.uuid]] == [claim.uuid]


def test_an_accepted_claim_is_decided_again_if_a_log_that_is_read_again_was_rebased_meanwhile(cloud):
    engine, ask, accepted = ask_in_two_cells(cloud)
    before = accepted.claim
    cloud.append("cell1", "conductor/c", events.LogRebased("cell1", 0))
    cloud.host("a", "cell1", vcpus=8)
    cloud._read["one", "cell1"] = 0
    engine.on_begin("cell1", Beginning(None, 0, len(cloud.logs["cell1"]) - 1, True, False))
    cloud.settle()
    assert before.state is State.FORGOTTEN
    claims = {placed.instance_uuid: placed.claim_uuid for (placed, *_) in ask.future.result(0)}
    assert claims[accepted.uuid] != before.uuid and unfinished(engine) == 0
