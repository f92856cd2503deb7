"""The cell conductor with a real log, a real agent and LocalBus or oslo.messaging in one process between them."""

import logging
import threading
import uuid
from concurrent.futures import Future

import pytest
from oslo_config import cfg

from conductor.cell import FAR_BEHIND_AFTER, SHARE_FAR_BEHIND
from nova_sched.process.backlog import SAY_AGAIN
from nova_sched.projection.ledger import CLAIMED, RUNNING
from rpc_api import codec, errors, events, messages
from rpc_api.bus import LocalBus, MessagingBus
from rpc_api.contracts import agent as agent_rpc
from rpc_api.errors import LogUnavailable, NoAnswer
from rpc_api.feed.follower import Batch
from rpc_api.feed.publisher import Producer
from tests.builders import Voice, deleted
from tests.conductor.cells import SECONDS_MAX, Cell
from tests.servers import wait_until


@pytest.fixture
def cell():
    with Cell(LocalBus()) as cell:
        yield cell


@pytest.fixture
def slow_cell():
    """A cell whose calls wait for the bus: builds have 0.3 s, cancels too."""
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, "fake://", f"test-{uuid.uuid4().hex}")
    with Cell(bus, build_timeout=0.3, cancel_timeout=0.3) as cell:
        yield cell
    bus.close()


def build(cell, request):
    return cell.conductor.build_instance({}, request)


class TestAlternates:
    def test_the_claimed_host_is_taken(self, cell):
        request = cell.request("h1", "h2", "h3")
        assert build(cell, request) == messages.BuildOutcome(
            request.instance_uuid, messages.BUILT, "h1", request.claims[0].allocations, 1, ""
        )
        assert cell.holds() == {request.instance_uuid: [("h1", RUNNING)]}
        assert not cell.events("BuildFailed") and not cell.events("ClaimReleased")

    def test_an_alternate_is_claimed_when_the_first_refuses(self, cell):
        cell.drivers["h1"].refuse = "no more file handles"
        request = cell.request("h1", "h2", "h3")
        outcome = build(cell, request)
        assert (outcome.outcome, outcome.host, outcome.attempts) == (messages.BUILT, "h2", 2)
        assert cell.holds() == {request.instance_uuid: [("h2", RUNNING)]}
        assert [(event.host, event.reason, event.final) for event in cell.events("BuildFailed")] == [
            ("h1", "no more file handles", False)
        ]
        assert [event.claim_uuid for event in cell.events("ClaimReleased")] == [request.claims[0].claim_uuid]

    def test_a_refused_claim_costs_no_attempt(self, cell):
        cell.drivers["h1"].refuse = "no"
        for _ in range(4):
            assert build(cell, cell.request("h2")).outcome == messages.BUILT
        request = cell.request("h1", "h2", "h3", max_attempts=2)
        outcome = build(cell, request)
        assert (outcome.outcome, outcome.host, outcome.attempts) == (messages.BUILT, "h3", 2)
        assert [(event.host, event.reason) for event in cell.events("BuildFailed")] == [
            ("h1", "no"),
            ("h2", "claim refused: VCPU"),
        ]
        claimed = {claim.host for claim in cell.events("ClaimProposed") if claim.instance_uuid == request.instance_uuid}
        assert claimed == {"h1", "h3"}, "a claim that the log would refuse is not published"

    @pytest.mark.parametrize("max_attempts, hosts, tried", [(3, "h1 h2 h3", 3), (2, "h1 h2 h3", 2), (3, "h1", 1)])
    def test_all_of_them_refuse(self, cell, max_attempts, hosts, tried):
        for driver in cell.drivers.values():
            driver.refuse = "broken"
        request = cell.request(*hosts.split(), max_attempts=max_attempts)
        outcome = build(cell, request)
        assert (outcome.outcome, outcome.host, outcome.attempts) == (messages.MAX_RETRIES_EXCEEDED, None, tried)
        assert outcome.reason == f"No host left after {tried} build{'s' * (tried > 1)}: " + "; ".join(
            f"h{number}: broken" for number in range(1, tried + 1)
        )
        assert cell.holds() == {}
        assert [event.final for event in cell.events("BuildFailed")] == [False] * (tried - 1) + [True]

    def test_a_driver_that_breaks_leaves_nothing(self, cell):
        cell.drivers["h1"].fault = ZeroDivisionError("firmware")
        request = cell.request("h1", "h2")
        outcome = build(cell, request)
        assert (outcome.outcome, outcome.host) == (messages.BUILT, "h2")
        assert cell.drivers["h1"].spawned and not cell.drivers["h1"].running()
        assert cell.holds() == {request.instance_uuid: [("h2", RUNNING)]}

    def test_delete(self, cell):
        request = cell.request("h1")
        build(cell, request)
        cell.conductor.delete_instance({}, "h1", request.instance_uuid)
        assert cell.holds() == {} and not cell.drivers["h1"].running()

    def test_a_claim_that_expired_in_the_queue_is_not_built(self, cell):
        late = cell.request("h1", "h2", vcpus=8)
        cell.conductor.tick()
        cell.clock.seconds += cell.conductor.engine.reaper.claim_ttl
        cell.conductor.beat({}, ["h1", "h2", "h3"], "agent", cell.conductor.projection.epoch)
        cell.conductor.tick()
        cell.settled()
        other = cell.request("h1", vcpus=8)
        assert build(cell, other).outcome == messages.BUILT
        outcome = build(cell, late)
        assert (outcome.outcome, outcome.attempts) == (messages.MAX_RETRIES_EXCEEDED, 0)
        assert "does not hold any more" in outcome.reason
        assert cell.holds() == {other.instance_uuid: [("h1", RUNNING)]}

    def test_a_build_waits_until_its_claim_is_folded(self, cell):
        request = cell.request("h1")
        ahead = request._replace(position=cell.log.bounds().last + 1)
        outcomes = []
        thread = threading.Thread(target=lambda: outcomes.append(build(cell, ahead)))
        thread.start()
        wait_until(lambda: cell.conductor.engine.waiting, SECONDS_MAX, "it did not wait")
        assert not cell.drivers["h1"].spawned
        cell.request("h2")
        thread.join(SECONDS_MAX)
        assert outcomes[0].outcome == messages.BUILT

    def test_an_instance_that_was_deleted_before_is_not_built(self, cell):
        request = cell.request("h1", "h2")
        cell.conductor.delete_instance({}, "h1", request.instance_uuid)
        assert build(cell, request).outcome == messages.MAX_RETRIES_EXCEEDED
        assert cell.holds() == {} and not any(driver.spawned for driver in cell.drivers.values())

    def test_an_instance_that_is_deleted_meanwhile_gets_no_alternate(self, cell):
        driver, outcomes = cell.drivers["h1"], []
        request = cell.request("h1", "h2")
        driver.refuse = "no"
        driver.hold.clear()
        thread = threading.Thread(target=lambda: outcomes.append(build(cell, request)))
        thread.start()
        assert driver.entered.wait(SECONDS_MAX)
        deleting = threading.Thread(target=lambda: cell.conductor.delete_instance({}, "h1", request.instance_uuid))
        deleting.start()
        wait_until(lambda: any(one.deleted for one in cell.conductor.engine._builds), SECONDS_MAX, "not marked")
        driver.hold.set()
        thread.join(SECONDS_MAX)
        deleting.join(SECONDS_MAX)
        assert outcomes[0].outcome == messages.MAX_RETRIES_EXCEEDED
        assert cell.holds() == {} and not cell.drivers["h2"].spawned

    def test_the_same_build_again_finds_it_running(self, cell):
        request = cell.request("h1")
        assert build(cell, request).outcome == build(cell, request).outcome == messages.BUILT
        assert cell.drivers["h1"].spawned == [request.instance_uuid]
        assert cell.holds() == {request.instance_uuid: [("h1", RUNNING)]}

    def test_a_reason_that_no_event_can_hold(self, cell):
        cell.drivers["h1"].refuse = "\udc80"
        outcome = build(cell, cell.request("h1", "h2"))
        assert (outcome.outcome, outcome.host) == (messages.BUILT, "h2")
        assert [event.reason for event in cell.events("BuildFailed")] == ["?"]

    def test_two_that_build_at_once_never_share_the_last_room(self, cell):
        for driver in (cell.drivers["h1"], cell.drivers["h2"]):
            driver.refuse = "no"
        requests = [cell.request(first, "h3", vcpus=4) for first in ("h1", "h2", "h1")]
        outcomes = []
        threads = [threading.Thread(target=lambda one=one: outcomes.append(build(cell, one))) for one in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS_MAX)
        assert sorted(outcome.outcome for outcome in outcomes) == [messages.BUILT] * 2 + [messages.MAX_RETRIES_EXCEEDED]
        assert sorted(cell.holds().values()) == [[("h3", RUNNING)]] * 2


class TestAgentsThatDoNotAnswer:
    def test_nobody_there_is_certain(self, cell):
        request = cell.request("h1", "h2")
        cell.take_agent_away()
        outcome = build(cell, request)
        assert (outcome.outcome, outcome.attempts) == (messages.MAX_RETRIES_EXCEEDED, 2)
        assert "no server agent answers the topic nova_sched_agent" in outcome.reason
        assert cell.holds() == {}

    def test_a_host_that_is_not_the_agents_is_certain(self, cell):
        request = cell.request("h1", "h2")
        del cell.agent.hosts["h1"]
        assert build(cell, request).host == "h2"
        assert cell.holds() == {request.instance_uuid: [("h2", RUNNING)]}

    def test_a_slow_start_is_undone_and_the_claim_stays_until_it_expires(self, slow_cell):
        driver = slow_cell.drivers["h1"]
        driver.hold.clear()
        request = slow_cell.request("h1", "h2")
        outcome = build(slow_cell, request)
        assert (outcome.outcome, outcome.attempts) == (messages.MAX_RETRIES_EXCEEDED, 1)
        assert "did not confirm that the build is cancelled" in outcome.reason
        assert slow_cell.holds() == {request.instance_uuid: [("h1", CLAIMED)]}
        assert [event.final for event in slow_cell.events("BuildFailed")] == [True]
        assert not slow_cell.events("ClaimReleased")

        driver.hold.set()
        wait_until(lambda: driver.spawned and not driver.running(), SECONDS_MAX, "the start was not undone")
        assert slow_cell.holds() == {request.instance_uuid: [("h1", CLAIMED)]}
        slow_cell.conductor.tick()
        slow_cell.clock.seconds += slow_cell.conductor.engine.reaper.claim_ttl
        slow_cell.conductor.tick()
        assert slow_cell.holds() == {}
        assert [event.claim_uuid for event in slow_cell.events("ClaimExpired")] == [request.claims[0].claim_uuid]

    def test_an_answer_that_is_lost_is_cancelled_and_the_alternate_taken(self):
        bus = LosingBus("build_instance")
        with Cell(bus) as cell:
            request = cell.request("h1", "h2")
            outcome = build(cell, request)
            assert (outcome.outcome, outcome.host, outcome.attempts) == (messages.BUILT, "h2", 2)
            assert cell.drivers["h1"].spawned == [request.instance_uuid] and not cell.drivers["h1"].running()
            assert cell.holds() == {request.instance_uuid: [("h2", RUNNING)]}

    def test_a_call_that_arrives_late_is_refused(self, cell):
        request = cell.request("h1", "h2")
        claim = request.claims[0]
        assert cell.agent.cancel_build({}, "h1", claim.claim_uuid, request.instance_uuid) is True
        assert cell.agent.build_instance({}, claim) == messages.BuildAnswer(False, "the build was cancelled")
        assert not cell.drivers["h1"].spawned

    def test_cancelling_an_old_claim_does_not_end_what_runs_under_a_new_one(self, cell):
        request = cell.request("h1")
        build(cell, request)
        assert cell.agent.cancel_build({}, "h1", str(uuid.uuid4()), request.instance_uuid) is True
        assert cell.holds() == {request.instance_uuid: [("h1", RUNNING)]}

    def test_an_end_that_fails_is_not_confirmed(self):
        bus = LosingBus("build_instance")
        with Cell(bus) as cell:
            cell.drivers["h1"].keeps = True
            request = cell.request("h1", "h2")
            outcome = build(cell, request)
            assert outcome.outcome == messages.MAX_RETRIES_EXCEEDED
            assert cell.holds() == {request.instance_uuid: [("h1", RUNNING)]}
            assert not cell.drivers["h2"].spawned


class LosingBus(LocalBus):
    """A network that loses the first answer of one method: it is carried out, and nobody hears of it."""

    def __init__(self, method):
        super().__init__()
        self._method = method

    def dispatch(self, topic, server, ctxt, method, arguments):
        answer = super().dispatch(topic, server, ctxt, method, arguments)
        if method == self._method and topic == agent_rpc.TOPIC:
            self._method = None
            lost = Future()
            lost.set_exception(NoAnswer("the answer was lost"))
            return lost
        return answer


class TestTime:
    def test_hosts_that_are_not_heard_of_are_lost_and_seen_again(self, cell):
        cell.conductor.tick()
        cell.clock.seconds += 30.0
        cell.conductor.beat({}, ["h1", "h2"], "agent", cell.conductor.projection.epoch)
        cell.clock.seconds += 59.0
        cell.conductor.tick()
        assert {name for name, host in cell.settled().hosts.items() if host.lost} == {"h3"}
        assert cell.events("HostLost") == [events.HostLost("h3", "no heartbeat for 89 s")]
        cell.conductor.tick()
        cell.conductor.beat({}, ["h3"], "agent", cell.conductor.projection.epoch)
        cell.conductor.tick()
        assert not [host for host in cell.settled().hosts.values() if host.lost]
        assert len(cell.events("HostLost")) == 1
        assert [event for event in cell.events("HostSeen") if event.host != "nobody"] == [events.HostSeen("h3")]

    def test_a_lost_host_takes_no_alternate(self, cell):
        cell.drivers["h1"].refuse = "no"
        cell.conductor.tick()
        cell.clock.seconds += 100.0
        cell.conductor.beat({}, ["h1", "h3"], "agent", cell.conductor.projection.epoch)
        cell.conductor.tick()
        request = cell.request("h1", "h2", "h3")
        assert build(cell, request).host == "h3"
        assert "claim refused: down" in [event.reason for event in cell.events("BuildFailed")]

    def test_a_claim_that_is_not_built_expires_once(self, cell):
        request = cell.request("h1")
        cell.conductor.tick()
        cell.clock.seconds += 1199.0
        cell.conductor.tick()
        assert cell.holds() == {request.instance_uuid: [("h1", CLAIMED)]}
        cell.clock.seconds += 1.0
        for _ in range(2):
            cell.conductor.tick()
            assert cell.holds() == {}
        assert len(cell.events("ClaimExpired")) == 1

    def test_a_claim_that_is_being_built_does_not_expire_nor_grow_older(self, cell):
        driver = cell.drivers["h1"]
        driver.hold.clear()
        request = cell.request("h1")
        thread = threading.Thread(target=build, args=(cell, request))
        thread.start()
        assert driver.entered.wait(SECONDS_MAX)
        cell.conductor.tick()
        cell.clock.seconds += 5000.0
        cell.conductor.tick()
        assert cell.holds() == {request.instance_uuid: [("h1", CLAIMED)]}
        driver.hold.set()
        thread.join(SECONDS_MAX)
        assert cell.holds() == {request.instance_uuid: [("h1", RUNNING)]}
        assert not cell.events("ClaimExpired")


def test_at_level_2_a_claim_is_as_old_as_conductors_watched_it(cell):
    operator = Producer(cell._appender, "operator/test")
    operator.wait(operator.publish(events.LevelPinned(2)), SECONDS_MAX)
    cell.folded()
    cell.scheduler.level = 2
    request = cell.request("h1")
    for seconds in (1.0, 1.0, 600.0, 30.0):
        cell.conductor.tick()
        cell.settled()
        cell.clock.seconds += seconds
    assert [event.watched_ms for event in cell.events("ClaimsWatched")] == [1000, 120_000]
    cell.conductor.stop()
    assert [event.watched_ms for event in cell.events("ClaimsWatched")][2:] == [30_000]
    assert not cell.events("ClaimExpired") and request.instance_uuid in cell.conductor.projection.consumers


def test_a_host_that_confirms_otherwise_is_asked_to_report(cell):
    request = cell.request("h1")
    build(cell, request)
    # Behind the agent's back: what runs is not what the log says.
    cell.drivers["h1"]._running.clear()
    cell.agent.hosts["h1"].confirm()
    cell.agent.hosts["h1"].producer.wait(cell.agent.hosts["h1"].producer.sequence, SECONDS_MAX)
    wait_until(lambda: not cell.settled().consumers, SECONDS_MAX, "the host was not asked to report")
    assert len(cell.events("HostReported")) == 4


def test_a_conductor_whose_broker_refuses_casts_goes_on(cell, caplog, monkeypatch):
    def refuse(*arguments, **more):
        raise errors.LogRefused("the broker refuses our account")

    monkeypatch.setattr(cell.conductor._agents._client, "cast", refuse)
    for _ in range(3):
        cell.conductor.beat({}, ["nobody-knows-it"], "agent", cell.conductor.projection.epoch)
        cell.agent.hosts["h1"].producer.publish(events.HostConfirmed("h1", 1))
        cell.settled()
    assert cell.conductor.fault is None
    assert [record.getMessage() for record in caplog.records if "full reports" in record.getMessage()] == [
        "conductor/c cannot ask the agents of hosts for full reports: the broker refuses our account"
    ]


def test_a_conductor_that_starts_again_folds_all(cell):
    request = cell.request("h1")
    build(cell, request)
    from conductor.cell import CellConductor

    second = CellConductor("d", "cell1", cell.url, cell.bus, cell.clock).start(SECONDS_MAX)
    assert second.projection.consumers[request.instance_uuid][0].state is RUNNING
    assert second.stop()


def test_a_broker_that_was_away_makes_no_host_count_as_lost():
    """No beat can come while it is, for longer than service_down_time."""
    with Cell(LocalBus()) as cell:
        conductor, clock = cell.conductor, cell.clock
        cell.settled()
        conductor.tick()
        conductor._on_log("fault", LogUnavailable("the broker is away"))
        clock.seconds += 90.0
        conductor.tick()
        conductor._on_log("fault", None)
        conductor.tick()
        cell.settled()
        assert not cell.events("HostLost")
        clock.seconds += 60.0
        conductor.tick()
        cell.settled()
        assert len(cell.events("HostLost")) == 3, "it is the time that could be heard that counts"


def test_a_log_that_is_far_behind_is_named_and_leaves_time_for_beats_and_builds(caplog):
    shares = []
    with Cell(LocalBus()) as cell, caplog.at_level(logging.WARNING):
        flat_out = Voice("compute_agent/loud")
        taken, cell.conductor.log.taken = cell.conductor.log.taken, lambda level, took, share: shares.append(share)
        position = cell.folded().position

        def bring(at_end):
            nonlocal position
            position += 1
            record = codec.DecodedRecord(cell.conductor.projection.epoch, [flat_out.say(deleted("i", "loud"))])
            cell.conductor._on_log("records", Batch([(position, record)], at_end))

        for seconds in (0.0, FAR_BEHIND_AFTER - 1, 1.0, SAY_AGAIN - 1, 1.0):
            cell.clock.seconds += seconds
            bring(at_end=False)
        bring(at_end=True)
        cell.conductor.log.taken = taken
        assert cell.conductor.fault is None
    assert shares == [1.0, 1.0, *[SHARE_FAR_BEHIND] * 3, 1.0]
    first, again, over = [record.getMessage() for record in caplog.records]
    assert first.startswith("cell cell1: its log grows faster than it is folded: compute_agent/loud wrote 100 % of")
    assert again.startswith("cell cell1: its log grows faster than it is folded")
    assert over == "cell cell1: its log is folded again as fast as it grows"
