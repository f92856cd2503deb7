"""What an agent says of a host, and that the fold of it is what the host is."""

import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from compute_agent.agent import Agent
from compute_agent.drivers.base import BuildRefused
from compute_agent.drivers.simulated import SimulatedDriver, inventory_of
from compute_agent.voice import REPORT_PAUSE
from nova_sched.projection.ledger import RUNNING
from nova_sched.projection.projection import Projection
from rpc_api import codec, errors, events, levels, messages
from rpc_api.bus import LocalBus
from rpc_api.digest import consumers_digest, host_digest, inventory_digest
from rpc_api.log import open_log
from tests.builders import HandClock, Voice
from tests.servers import wait_until

SECONDS_MAX = 20.0
_NUMBER = itertools.count()


@pytest.fixture
def log():
    with open_log(f"memory://agent-{next(_NUMBER)}") as log:
        yield log


@pytest.fixture
def drivers():
    return {name: SimulatedDriver(inventory_of(name, 8, 8192, 100)) for name in ("h1", "h2")}


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def agent(log, drivers, clock):
    agent = Agent("a", "cell1", log.url, LocalBus(), drivers, clock, report_interval=3600.0).start(SECONDS_MAX)
    clock.seconds += REPORT_PAUSE
    yield agent
    agent.stop()


def folded(log):
    """The projection of all that is in the log, and its events."""
    projection, found = Projection("cell1"), []
    with log.read_from(log.bounds().first) as reader:
        for record in reader.read(1000):
            decoded = codec.decode_record(record.payload)
            found.extend(decoded.events)
            projection.fold([(record.position, decoded)])
    return projection, found


def said(log, agent):
    """As :func:`folded`, when everything that was published is there."""
    for voice in agent.hosts.values():
        assert voice.producer.wait(voice.producer.appender.queue(list), SECONDS_MAX)
    return folded(log)


def claim(drivers, host="h1", instance_uuid=None, vcpus=2):
    root = drivers[host].inventory().providers[0].uuid
    instance_uuid = instance_uuid or str(uuid.uuid4())
    return events.ClaimProposed(
        str(uuid.uuid4()),
        instance_uuid,
        instance_uuid,
        "req-1",
        "p",
        host,
        (events.Allocation(root, "VCPU", vcpus),),
        None,
    )


def test_a_start_reports_every_host(log, agent):
    projection, found = said(log, agent)
    assert [(one.name, one.producer, one.sequence) for one in found[1:]] == [
        ("HostReported", "compute_agent/h1", 1),
        ("HostReported", "compute_agent/h2", 1),
    ]
    assert {name: host.server for name, host in projection.hosts.items()} == {"h1": "a", "h2": "a"}


def test_the_digest_of_the_host_is_that_of_the_fold(log, agent, drivers):
    for host, count in (("h1", 3), ("h2", 1)):
        for _ in range(count):
            assert agent.build_instance({}, claim(drivers, host)) == messages.BuildAnswer(True, "")
    agent.delete_instance({}, "h1", drivers["h1"].running()[0].instance_uuid)
    for voice in agent.hosts.values():
        assert voice.confirm()
    projection, found = said(log, agent)
    for name, driver in drivers.items():
        host = projection.hosts[name]
        inventory = inventory_digest(levels.pack_oldest(driver.inventory()))
        assert (host.inventory_digest, host.running_digest) == (inventory, consumers_digest(driver.running()))
        confirmed = [one.data.digest for one in found if one.name == "HostConfirmed" and one.data.host == name]
        assert confirmed == [host_digest(inventory, driver.status(), consumers_digest(driver.running()))]
    assert projection.counts["divergence"] == 2 + 2 and projection.counts["HostConfirmed"] == 2
    assert {note.kind for note in projection.noted} == {"unclaimed-start"}


@pytest.mark.parametrize(
    "change, kind",
    [
        (lambda driver: driver._running.clear(), "digest-mismatch"),
        (lambda driver: setattr(driver, "state", driver.state._replace(disabled=True)), "digest-mismatch"),
        (lambda driver: setattr(driver, "offered", inventory_of("h1", 16, 8192, 100)), "digest-mismatch"),
        (lambda driver: None, None),
    ],
    ids=["instances", "status", "inventory", "nothing"],
)
def test_what_changed_is_noticed_and_healed(log, agent, drivers, change, kind):
    agent.build_instance({}, claim(drivers))
    change(drivers["h1"])
    agent.hosts["h1"].confirm()
    projection, _ = said(log, agent)
    assert [note.kind for note in projection.noted if note.resync] == ([kind] if kind else [])
    agent.report({}, "h1", agent.epoch, 0)
    agent.hosts["h1"].confirm()
    projection, _ = said(log, agent)
    assert len([note for note in projection.noted if note.resync]) == (1 if kind else 0)
    assert set(projection.consumers) == {one.instance_uuid for one in drivers["h1"].running()}


def test_only_what_changed_is_reported(log, agent, drivers):
    assert not agent.hosts["h1"].report_change()
    drivers["h1"].state = drivers["h1"].state._replace(num_io_ops=3)
    assert agent.hosts["h1"].report_change() and not agent.hosts["h1"].report_change()
    _, found = said(log, agent)
    assert [one.data.status.num_io_ops for one in found if one.name == "HostReported"] == [0, 0, 3]


def test_one_full_report_in_a_second(log, agent, drivers, clock):
    """A conductor that asks again and again, for whatever reason, gets no flood of reports."""
    for tenths in (0, 1, 1, 7, 1, 5, 5):
        clock.seconds += tenths / 10
        agent.report({}, "h1", agent.epoch, 0)
    assert len([one for one in said(log, agent)[1] if one.producer == "compute_agent/h1"]) == 1 + 3


def test_starts_and_ends_are_not_limited(log, agent, drivers):
    agent.report({}, "h1", agent.epoch, 0)
    for _ in range(3):
        wanted = claim(drivers)
        assert agent.build_instance({}, wanted).started
        agent.delete_instance({}, "h1", wanted.instance_uuid)
    names = [one.name for one in said(log, agent)[1] if one.producer == "compute_agent/h1"]
    assert names[2:] == 3 * ["InstanceStarted", "InstanceDeleted"]


def test_what_was_asked_for_too_soon_is_reported_in_the_next_round(log, agent, drivers, clock):
    voice = agent.hosts["h1"]
    agent.report({}, "h1", agent.epoch, 0)
    agent.report({}, "h1", agent.epoch, 0)
    assert not voice.report_change()
    clock.seconds += REPORT_PAUSE
    assert voice.report_change() and not voice.report_change()


def test_an_incarnation_begins_with_a_report_at_once(log, agent, drivers):
    agent.report({}, "h1", agent.epoch, 0)
    before = agent.hosts["h1"].producer.epoch
    agent.report({}, "h1", agent.epoch, before + 10**18)
    assert [one.producer_epoch > before for one in said(log, agent)[1] if one.producer == "compute_agent/h1"] == [
        False,
        False,
        True,
    ]


def test_a_start_is_in_the_log_when_it_is_answered(log, agent, drivers):
    wanted = claim(drivers)
    agent.build_instance({}, wanted)
    projection, _ = folded(log)
    assert projection.consumers[wanted.instance_uuid][0].state is RUNNING


def test_a_refusal_says_nothing_to_the_log(log, agent, drivers):
    drivers["h1"]._fail = 1.0
    assert agent.build_instance({}, claim(drivers)) == messages.BuildAnswer(False, "simulated failure")
    assert [one.name for one in said(log, agent)[1]] == ["LogOpened", "HostReported", "HostReported"]


class Unclean(SimulatedDriver):
    """A driver that fails to start, and to take away what it left."""

    def spawn(self, consumer):
        raise RuntimeError("half started")

    def destroy(self, instance_uuid):
        raise BuildRefused("cannot be taken away")


def test_a_driver_that_leaves_something_gives_no_answer(log):
    drivers = {"h1": Unclean(inventory_of("h1", 8, 8192, 100))}
    agent = Agent("a", "cell1", log.url, LocalBus(), drivers).start(SECONDS_MAX)
    try:
        with pytest.raises(errors.NovaSchedError, match="half started.*cannot be taken away"):
            agent.build_instance({}, claim(drivers))
    finally:
        agent.stop()


@pytest.mark.parametrize(
    "call",
    [
        lambda agent, one: agent.build_instance({}, one),
        lambda agent, one: agent.report({}, "elsewhere", agent.epoch, 0),
        lambda agent, one: agent.delete_instance({}, "elsewhere", one.instance_uuid),
        lambda agent, one: agent.cancel_build({}, "elsewhere", one.claim_uuid, one.instance_uuid),
    ],
)
def test_a_host_that_is_not_its_own(agent, drivers, call):
    with pytest.raises(errors.UsageError, match="the agent a does not report for host elsewhere"):
        call(agent, claim(drivers)._replace(host="elsewhere"))


class TestCancel:
    def test_what_runs_under_the_claim_ends(self, log, agent, drivers):
        wanted = claim(drivers)
        agent.build_instance({}, wanted)
        assert agent.cancel_build({}, "h1", wanted.claim_uuid, wanted.instance_uuid)
        assert not drivers["h1"].running() and not folded(log)[0].consumers

    def test_twice_is_as_once(self, log, agent, drivers):
        wanted = claim(drivers)
        for _ in range(2):
            assert agent.cancel_build({}, "h1", wanted.claim_uuid, wanted.instance_uuid)
        assert "InstanceDeleted" not in [one.name for one in said(log, agent)[1]]

    def test_another_claim_of_the_instance_still_starts(self, agent, drivers):
        first = claim(drivers)
        agent.cancel_build({}, "h1", first.claim_uuid, first.instance_uuid)
        assert agent.build_instance({}, claim(drivers, instance_uuid=first.instance_uuid)).started

    def test_what_an_agent_before_it_started_ends_too(self, log, drivers):
        wanted = claim(drivers)
        first = Agent("a", "cell1", log.url, LocalBus(), drivers).start(SECONDS_MAX)
        first.build_instance({}, wanted)
        first.stop()
        second = Agent("a", "cell1", log.url, LocalBus(), drivers).start(SECONDS_MAX)
        try:
            assert second.cancel_build({}, "h1", wanted.claim_uuid, wanted.instance_uuid)
            assert not drivers["h1"].running()
        finally:
            second.stop()


def test_a_restart_reports_again_under_a_new_epoch(log, drivers):
    for _ in range(2):
        agent = Agent("a", "cell1", log.url, LocalBus(), drivers).start(SECONDS_MAX)
        agent.build_instance({}, claim(drivers))
        agent.stop()
    projection, found = folded(log)
    epochs = [one.producer_epoch for one in found if one.producer == "compute_agent/h1" and one.name == "HostReported"]
    assert len(epochs) == 2 and epochs[0] < epochs[1]
    assert len(projection.consumers) == 2 and not projection.counts["stale-epoch"]
    assert not [note for note in projection.noted if note.kind == "vanished"]


def test_beats_go_to_the_cells_conductors(log, drivers):
    heard, bus = [], LocalBus()

    class Conductor:
        def beat(self, context, hosts, agent, epoch):
            heard.append(hosts)

    bus.serve("nova_sched_conductor.cell.cell1", "c", [Conductor()], "1.0")
    agent = Agent("a", "cell1", log.url, bus, drivers, report_interval=0.01, confirm_interval=0.02).start(SECONDS_MAX)
    try:
        wait_until(lambda: len(heard) > 2 and folded(log)[0].counts["HostConfirmed"] > 1, SECONDS_MAX, "no beats")
        assert heard[0] == ["h1", "h2"]
        assert folded(log)[0].counts["divergence"] == 0
    finally:
        agent.stop()


class Slow(SimulatedDriver):
    """Takes its time to start an instance."""

    def __init__(self, inventory):
        super().__init__(inventory)
        self.begun, self.may_end = threading.Event(), threading.Event()

    def spawn(self, consumer):
        self.begun.set()
        assert self.may_end.wait(SECONDS_MAX)
        super().spawn(consumer)


def test_whoever_asks_for_reports_does_not_wait_for_a_slow_start(log):
    """A conductor asks at each beat: its calls would take up all threads of the agent, one after the other."""
    driver = Slow(inventory_of("h1", 8, 8192, 100))
    clock = HandClock()
    agent = Agent("a", "cell1", log.url, LocalBus(), {"h1": driver}, clock, report_interval=3600.0).start(SECONDS_MAX)
    clock.seconds += REPORT_PAUSE
    try:
        with ThreadPoolExecutor(1) as pool:
            building = pool.submit(agent.build_instance, {}, claim({"h1": driver}))
            assert driver.begun.wait(SECONDS_MAX)
            for _ in range(3):
                agent.report({}, "h1", agent.epoch, 0)  # would never come back
            reports = [one for one in said(log, agent)[1] if one.name == "HostReported"]
            assert len(reports) == 1
            driver.may_end.set()
            assert building.result(SECONDS_MAX).started
        assert agent.hosts["h1"].report_change() and not agent.hosts["h1"].report_change()
        reports = [one.data for one in said(log, agent)[1] if one.name == "HostReported"]
        assert len(reports) == 2 and reports[1].consumers != reports[0].consumers
    finally:
        driver.may_end.set()
        agent.stop()


def test_metrics_per_numa_node_are_reported_and_confirmed_in_the_form_of_the_level(log, agent, drivers, monkeypatch):
    """An agent whose log gets level 2 reports again, and confirms what the log has in both forms."""
    monkeypatch.setattr("compute_agent.voice.REPORT_PAUSE", 0.0)
    metric = events.NUMAMetric("numa.membw.current", 0, 5)
    drivers["h1"].state = drivers["h1"].state._replace(numa_metrics=(metric,))
    voice = agent.hosts["h1"]
    assert not voice.report_change()
    voice.report()
    voice.confirm()
    projection, _ = said(log, agent)
    assert projection.hosts["h1"].status.numa_metrics == () and not projection.noted
    log.append([codec.encode_record(agent.epoch, [Voice("operator/one").say(events.LevelPinned(2))])])
    voice.use_level(2)
    assert voice.report_change() and not voice.report_change()
    voice.confirm()
    projection, _ = said(log, agent)
    assert projection.hosts["h1"].status.numa_metrics == (metric,)
    assert [note.kind for note in projection.noted] == ["pinned"]
