"""What services log when others are gone: once when it begins, once when it is over, with how long it lasted."""

import contextlib
import logging
import re

import pytest

from compute_agent.agent import Agent
from conductor.api import ApiConductor
from nova_sched.projection.beginning import Beginning
from nova_sched.projection.table import HostTable
from nova_sched.scheduler.cell_states import CellStates
from rpc_api import errors
from rpc_api.bus import LocalBus
from rpc_api.contracts.conductor import cell_topic
from rpc_api.contracts.scheduler import TOPIC
from rpc_api.feed.follower import Follower
from rpc_api.feed.publisher import Appender
from tests.builders import HandClock
from tests.conductor.cells import SECONDS_MAX, Cell
from tests.end_to_end.processes import ServiceProcess, config_text, sections_for
from tests.servers import wait_until

AWAY = errors.LogUnavailable("the broker is away")


class Projection:
    """As far as CellStates looks at one."""

    def __init__(self, position=10, whole=True):
        self.position, self.whole, self.is_too_new = position, whole, False


def warnings(caplog):
    """The warnings that were logged since."""
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


# --- the conductor of a cell: hosts ---------------------------------------------------------------------------------


def test_fifty_hosts_that_are_lost_and_seen_again(caplog):
    names = [f"h{number:02}" for number in range(50)]
    with Cell(LocalBus(), names) as cell:
        conductor = cell.conductor

        def seconds(count, beating=()):
            for _ in range(count):
                cell.clock.seconds += 1.0
                conductor.beat({}, beating, "agent", conductor.projection.epoch)
                conductor.tick()
                cell.settled()

        seconds(10, names)
        assert warnings(caplog) == []
        seconds(70)
        said = warnings(caplog)
        assert len(said) == 1 and said[0].startswith(
            "50 hosts of cell1 are lost: h00, h01, h02 and 47 more; 50 of 50 hosts are lost now"
        )
        seconds(100)
        assert warnings(caplog) == []
        seconds(10, names)
        said = warnings(caplog)
        assert len(said) == 1 and re.match(
            r"50 hosts of cell1 are seen again, lost for \d+ s: h00, .*; no host is lost", said[0]
        )


# --- the API level's conductor: schedulers, and conductors of cells -------------------------------------------------


class Anybody:
    """A service."""

    RPC_METHODS = ()


def test_schedulers_and_cell_conductors_that_are_gone(caplog):
    bus, cell_bus, clock = LocalBus(), LocalBus(), HandClock()
    conductor = ApiConductor(bus, {"cell1": cell_bus}, clock=clock)

    def look():
        clock.seconds += 10.0
        for watch in conductor._watches.values():
            watch.ask()
        return warnings(caplog)

    servers = [bus.serve(TOPIC, name, [Anybody()], "4.5") for name in ("one", "two")]
    servers.append(cell_bus.serve(cell_topic("cell1"), "c", [Anybody()], "1.1"))
    assert look() == []
    servers.pop(0).stop()
    assert look() == [], "another one answers"
    servers.pop(0).stop()
    (said,) = look()
    assert said.startswith("the schedulers' topic scheduler has not answered for 10 s")
    assert "nova-sched-scheduler" in said
    assert conductor.silent["schedulers"] is not None and conductor.silent["cell1"] is None
    servers.pop(0).stop()
    (said,) = look()
    assert "nova_sched_conductor.cell.cell1 of the conductors of cell1 has not answered" in said
    assert look() == []
    bus.serve(TOPIC, "three", [Anybody()], "4.5")
    cell_bus.serve(cell_topic("cell1"), "d", [Anybody()], "1.1")
    assert look() == [
        "the schedulers' topic scheduler answers again, after 40 s",
        "the topic nova_sched_conductor.cell.cell1 of the conductors of cell1 answers again, after 30 s",
    ]
    conductor.close()


def test_it_asks_by_itself(caplog, monkeypatch):
    monkeypatch.setattr("conductor.api.WATCH_INTERVAL", 0.01)
    conductor = ApiConductor(LocalBus(), {}).watch()
    try:
        wait_until(lambda: warnings(caplog), SECONDS_MAX, "nothing is logged")
    finally:
        conductor.close()


# --- agents ---------------------------------------------------------------------------------------------------------


def test_an_agent_whose_conductors_are_gone(caplog, drivers, url):
    bus = LocalBus()
    agent = Agent("a", "cell1", url, bus, drivers, report_interval=0.01).start(SECONDS_MAX)
    try:
        wait_until(lambda: agent.facts()["conductors"] == "do not answer", SECONDS_MAX, "it is not noticed")
        bus.serve(cell_topic("cell1"), "c", [Anybody()], "1.1")
        wait_until(lambda: agent.facts()["conductors"] == "answer", SECONDS_MAX, "nor that they are back")
    finally:
        agent.stop()
    said = [warning for warning in warnings(caplog) if "the conductors of cell1" in warning]
    assert "has not answered" in said[0] and "notices when its hosts are lost" in said[0]
    assert "answers again, after" in said[-1]


class Beats:
    """The intervals of an agent that stops after some of them."""

    def __init__(self, clock, count):
        self._clock, self._left = clock, count

    def wait(self, seconds):
        self._clock.seconds += 10.0
        self._left -= 1
        return self._left < 0

    def is_set(self):
        return False

    def set(self):
        """It has stopped by itself."""


def test_an_agent_that_cannot_beat_says_so_once(caplog, drivers, url, monkeypatch):
    clock = HandClock()
    agent = Agent("a", "cell1", url, LocalBus(), drivers, clock)
    monkeypatch.setattr(agent, "_stopped", Beats(clock, 6))
    faults = [AWAY, AWAY, OSError("another"), AWAY, None, None]

    def beat(*arguments):
        fault = faults.pop(0)
        if fault is not None:
            raise fault

    monkeypatch.setattr(agent._conductors, "beat", beat)
    agent._run()
    assert warnings(caplog) == [
        "the agent a could not beat or report, and tries again: the broker is away",
        "the agent a could not beat or report, and tries again: another",
        "the agent a beats and reports again, after 40 s",
    ]
    agent.stop()


@pytest.fixture
def url():
    with Cell(LocalBus(), ()) as cell:
        yield cell.url


@pytest.fixture
def drivers():
    from compute_agent.drivers.simulated import SimulatedDriver, inventory_of

    return {"h1": SimulatedDriver(inventory_of("h1", 8, 8192, 100))}


# --- schedulers: cells ----------------------------------------------------------------------------------------------


def states():
    """(CellStates, its clock) of one cell whose log is folded."""
    clock = HandClock()
    found = CellStates(HostTable(), clock, {"cell0"}, 5.0)
    found.expect("cell1")
    return found, clock


def opened(found):
    found.begin("cell1", Beginning(None, 0, 10, True, False))
    assert found.folded("cell1", Projection())


def test_a_cell_that_opens_says_nothing(caplog):
    opened(states()[0])
    assert warnings(caplog) == []


def test_a_cell_whose_log_cannot_be_opened_at_the_start(caplog):
    """A scheduler that ends for it says so itself; one that goes on without the cell says that a little later."""
    found, clock = states()
    found.fault("cell1", errors.UsageError("no such log"), "read")
    assert warnings(caplog) == []
    clock.seconds += 5.0
    for cell in found.down_for(5.0):
        found.close(cell)
    assert warnings(caplog) == ["cell cell1 is closed, and gets no instances: no such log"]


@pytest.mark.parametrize("begun, way", [(True, "read"), (True, "append"), (False, "read")])
def test_a_cell_that_is_down_and_up(caplog, begun, way):
    """Also one that is down when the scheduler starts."""
    found, clock = states()
    if begun:
        opened(found)
    for _ in range(3):
        found.fault("cell1", AWAY, way)
        clock.seconds += 5.0
        for cell in found.down_for(5.0):
            found.close(cell)
    assert warnings(caplog) == ["cell cell1 is closed, and gets no instances: the broker is away"]
    clock.seconds += 78.0
    found.fault("cell1", None, way)
    if not begun:
        opened(found)
    assert warnings(caplog) == ["cell cell1 is open again, after 93 s: its log is folded"]


# --- logs that cannot be read or appended to ------------------------------------------------------------------------


class Flaky:
    """A log that fails while ``fault`` is set."""

    url = "flaky://"
    fault = None

    def append(self, payloads):
        self.read()

    def read_from(self, position):
        return self

    def read(self, *arguments, **more):
        if self.fault:
            raise self.fault
        return []

    def close(self):
        """Nothing."""


def test_a_log_that_cannot_be_appended_to_for_a_while(caplog):
    log = Flaky()
    log.fault = AWAY
    appender = Appender(log, "epoch", "agent a")
    ticket = appender.queue(lambda: [b"\x90"])
    wait_until(lambda: appender.fault, SECONDS_MAX, "no fault")
    assert warnings(caplog) == ["agent a cannot append, and keeps trying: the broker is away"]
    log.fault = None
    assert appender.wait(ticket, SECONDS_MAX) and appender.close()
    (said,) = warnings(caplog)
    assert re.fullmatch(r"agent a can append to flaky:// again, after \d.\d s", said)


def test_a_log_that_cannot_be_read_for_a_while(caplog):
    log, faults = Flaky(), []
    follower = Follower(lambda: (log, 0), lambda records: None, faults.append, "cell1").start()
    wait_until(lambda: follower._begun, SECONDS_MAX, "it does not begin")
    log.fault = AWAY
    wait_until(lambda: faults, SECONDS_MAX, "no fault")
    log.fault = None
    wait_until(lambda: faults[-1] is None, SECONDS_MAX, "it does not go on")
    follower.stop()
    said = warnings(caplog)
    assert said[0] == "the log of cell1 cannot be read, and is tried again: the broker is away"
    assert len(said) == 2 and re.fullmatch(r"the log of cell1 can be read again, after \d.\d s", said[1])


# --- all of it, with a broker ---------------------------------------------------------------------------------------


@pytest.mark.rabbit
@pytest.mark.long
def test_services_that_are_killed_and_started_again(rabbit_server, vhost, tmp_path):
    """Each loss is one line in the log of another service, and so is its end."""
    config = tmp_path / "nova_sched.conf"
    config.write_text(
        config_text(
            sections_for(
                tmp_path, DEFAULT={"transport_url": rabbit_server.url(vhost=vhost)}, conductor={"service_down_time": 2}
            )
        )
    )

    def start(service, *more):
        process = stack.enter_context(ServiceProcess(tmp_path, service, "--config-file", str(config), *more))
        process.wait_ready()
        return process

    with contextlib.ExitStack() as stack:
        of_cell = start("conductor", "--level", "cell", "--cell", "cell1")
        scheduler, api, agent = start("scheduler"), start("conductor", "--level", "api"), start("agent")
        agent.process.kill()
        of_cell.wait_for("WARNING.* 3 hosts of cell1 are lost: sim-1, sim-2, sim-3; 3 of 3 hosts are lost now")
        agent = start("agent")
        of_cell.wait_for("WARNING.* 3 hosts of cell1 are seen again, lost for .*; no host is lost any more")
        of_cell.process.kill()
        scheduler.process.kill()
        agent.wait_for("WARNING.* the topic nova_sched_conductor.cell.cell1 of the conductors of cell1 has not")
        api.wait_for("WARNING.* the schedulers' topic scheduler has not answered")
        api.wait_for("WARNING.* the topic nova_sched_conductor.cell.cell1 of the conductors of cell1 has not answered")
        start("scheduler"), start("conductor", "--level", "cell", "--cell", "cell1")
        agent.wait_for("WARNING.* of the conductors of cell1 answers again, after")
        api.wait_for("WARNING.* the schedulers' topic scheduler answers again, after")
        for process in (api, agent):
            assert "Traceback" not in process.stderr
            assert len(re.findall("conductors of cell1 has not answered", process.stderr)) == 1
