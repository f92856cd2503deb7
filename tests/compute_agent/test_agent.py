"""The rounds of an agent: beats, reports and confirmations do not depend on each other."""

import itertools

import pytest

from compute_agent.agent import AWAY_SECONDS, Agent
from compute_agent.drivers.simulated import SimulatedDriver, inventory_of
from nova_sched.projection.projection import Projection
from rpc_api import codec, errors
from rpc_api.bus import LocalBus
from rpc_api.log import open_log
from tests.servers import wait_until

SECONDS_MAX = 20.0
_NUMBER = itertools.count()
REFUSED = errors.LogRefused("the broker refuses our account")


@pytest.fixture
def log():
    with open_log(f"memory://rounds-{next(_NUMBER)}") as log:
        yield log


class RefusingBus(LocalBus):
    """A bus whose broker takes no cast."""

    def client(self, topic, version):
        client = super().client(topic, version)
        client.cast = self._refuse
        return client

    @staticmethod
    def _refuse(*arguments, **more):
        raise REFUSED


class Broken(SimulatedDriver):
    """A driver whose host cannot be read while ``fault`` is set."""

    fault = None

    def status(self):
        if self.fault is not None:
            raise self.fault
        return super().status()


def counts(log):
    """Name -> number of the events in the log that were folded."""
    projection = Projection("cell1")
    with log.read_from(log.bounds().first) as reader:
        projection.fold([(record.position, codec.decode_record(record.payload)) for record in reader.read(1000)])
    return projection.counts


def outages(caplog):
    """The lines about what the agent could not do."""
    return [record.getMessage() for record in caplog.records if "could not beat or report" in record.getMessage()]


def test_an_agent_that_cannot_beat_reports_and_confirms(log, caplog):
    driver = SimulatedDriver(inventory_of("h1", 8, 8192, 100))
    agent = Agent("a", "cell1", log.url, RefusingBus(), {"h1": driver}, report_interval=0.01, confirm_interval=0.02)
    agent.start(SECONDS_MAX)
    try:
        driver.state = driver.state._replace(disabled=True)
        wait_until(lambda: counts(log)["HostReported"] == 2, SECONDS_MAX, "a change is not reported")
        wait_until(lambda: counts(log)["HostConfirmed"] > 2, SECONDS_MAX, "the host is not confirmed")
    finally:
        agent.stop()
    assert outages(caplog) == [f"the agent a could not beat or report, and tries again: {REFUSED}"]


def test_an_agent_that_cannot_look_at_its_host_beats(log, caplog):
    driver, heard, bus = Broken(inventory_of("h1", 8, 8192, 100)), [], LocalBus()

    class Conductor:
        def beat(self, context, hosts, agent, epoch):
            heard.append(hosts)

    bus.serve("nova_sched_conductor.cell.cell1", "c", [Conductor()], "1.0")
    agent = Agent("a", "cell1", log.url, bus, {"h1": driver}, report_interval=0.01, confirm_interval=0.02)
    agent.start(SECONDS_MAX)
    try:
        driver.fault = OSError("the hypervisor is away")
        before = len(heard)
        wait_until(lambda: len(heard) > before + 3, SECONDS_MAX, "it does not beat")
    finally:
        agent.stop()
    assert outages(caplog) == ["the agent a could not beat or report, and tries again: the hypervisor is away"]


@pytest.mark.parametrize("is_away", [True, False])
def test_a_stop_does_not_wait_long_for_a_log_that_is_away(log, monkeypatch, is_away):
    """What waits is in the full reports of its next start."""
    driver, waited = SimulatedDriver(inventory_of("h1", 8, 8192, 100)), []
    agent = Agent("a", "cell1", log.url, LocalBus(), {"h1": driver}).start(SECONDS_MAX)
    appender, close = agent._appender, agent._appender.close
    monkeypatch.setattr(appender, "close", lambda seconds: (waited.append(seconds), close(seconds))[1])
    monkeypatch.setattr(appender, "_fault", errors.LogUnavailable("away") if is_away else None)
    assert agent.stop(60.0)
    assert (waited[0] <= AWAY_SECONDS) == is_away and waited[0] > 0
