"""``nova-sched smoke``: a real request to a scheduler over RPC, whose claim is given back; ``service list --ask``."""

import itertools

import pytest

from nova_sched.cli import command_config
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.bus import MessagingBus
from rpc_api.contracts.scheduler import TOPIC, VERSION
from rpc_api.levels import LEVEL
from tests.builders import report, uuid_of
from tests.nova_sched.cli.operated import Cloud
from tests.servers import wait_until

_NUMBERS = itertools.count()


class Served(Cloud):
    """A cloud of two hosts, and a scheduler that answers on a bus of this process."""

    def __init__(self, folder, capsys, level=3):
        super().__init__(folder, capsys, level)
        for name in ("a", "b"):
            self.say(report(name))
        self.file = folder / "nova_sched.conf"
        self.file.write_text(
            f"[DEFAULT]\ntransport_url = fake://\ncontrol_exchange = smoke-{next(_NUMBERS)}\n"
            f"[cells]\nenabled = cell1\ncell0_log = {self.urls['cell0']}\n"
            f"[cell:cell1]\nlog = {self.urls['cell1']}\nuuid = {uuid_of('cell1')}\n"
        )
        self.bus = MessagingBus(command_config.read([str(self.file)]))
        self.scheduler = self.server = None

    def serve(self):
        """Start the scheduler."""
        cells = [Cell("cell1", uuid_of("cell1"), self.urls["cell1"])]
        self.scheduler = Scheduler("one", cell0_of(self.urls["cell0"]), cells, Policy())
        self.scheduler.start().wait_ready()
        self.server = self.bus.serve(TOPIC, "one", [SchedulerEndpoint(self.scheduler)], VERSION)
        return self

    def smoke(self, *words):
        """Run the command with the configuration alone."""
        return self.run(*words, "--config-file", str(self.file), logs=())

    def close(self):
        """Stop what runs."""
        if self.server is not None:
            self.server.stop(5.0)
            self.scheduler.stop()
        self.bus.close()


@pytest.fixture
def cloud(tmp_path, capsys):
    made = Served(tmp_path, capsys).serve()
    yield made
    made.close()


def test_a_claim_is_made_and_given_back(cloud):
    code, out, err = cloud.smoke("smoke", "2:512", "--name", "ada")
    assert code == 0 and err == "1 claimed and given back; nothing is held\n"
    heads, row = (line.split() for line in out.splitlines())
    found = dict(zip(heads, row, strict=True))
    assert {found["host"], found["alternates"]} == {"a", "b"} and found["cell"] == "cell1"
    assert int(found["released_at"]) > int(found["claimed_at"])
    assert [row["instances"] for row in cloud.rows("host", "list")] == [0, 0]


def test_several_instances(cloud):
    code, _, err = cloud.smoke("smoke", "4:512", "--count", "4")
    assert code == 0 and err.startswith("4 claimed and given back")
    assert [row["instances"] for row in cloud.rows("host", "list")] == [0, 0]


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("9:512",), 1, "the scheduler answers req-"),
        (("4:512", "--count", "5"), 1, "No valid host was found"),
        ((), 2, "a FLAVOR is needed"),
        (("big",), 2, "'big' is not a list of amounts"),
        (("1:512", "--count", "0"), 2, "--count is 0, wanted 1 or more"),
        (("1:512", "--timeout", "nan"), 2, "--timeout is 'nan', wanted a number above 0"),
    ],
)
def test_what_fails_is_said_and_nothing_is_left(cloud, words, code, told):
    found, out, err = cloud.smoke("smoke", *words)
    assert (found, out) == (code, "") and told in err
    # (A scheduler that refuses several instances gives back those that it had placed when it reads their claims.)
    wait_until(lambda: [row["instances"] for row in cloud.rows("host", "list")] == [0, 0], 20, "a claim is left")


def test_without_a_scheduler(tmp_path, capsys):
    cloud = Served(tmp_path, capsys)
    try:
        code, _, err = cloud.smoke("smoke", "1:512", "--timeout", "0.5")
        assert code == errors.EXIT_UNREACHABLE and "check the schedulers and the broker. One that answers later" in err
    finally:
        cloud.close()


def test_below_level_3_it_asks_nobody(tmp_path, capsys):
    cloud = Served(tmp_path, capsys, level=1).serve()
    try:
        code, _, err = cloud.smoke("smoke", "1:512")
        assert code == 2 and "a smoke test needs level 3; run nova-sched pin first" in err
        assert [row["instances"] for row in cloud.rows("host", "list")] == [0, 0]
    finally:
        cloud.close()


# --- services --------------------------------------------------------------------------------------------------------


def test_services_that_answer_are_up_with_version_and_level(cloud, monkeypatch):
    monkeypatch.setattr("nova_sched.replay.health.known_levels.TIMEOUT", 0.5)
    cloud.smoke("smoke", "1:512")
    agent = cloud.bus.serve("nova_sched_agent", "agent-of-a", [object()], "1.2")
    code, out, err = cloud.smoke("service", "list", "--ask", "--agents", "-o", "csv")
    agent.stop(5.0)
    rows = {line.split(",")[1]: line.split(",") for line in out.splitlines()[1:]}
    assert code == 1 and "agent-of-b of cell1 is down" in err
    assert rows["one"][3] == "up" and rows["one"][6] == str(LEVEL) and rows["one"][7] not in ("", "0")
    assert rows["agent-of-a"][3] == "up" and rows["agent-of-b"][3] == "down"


def test_cells_whose_broker_cannot_be_reached_or_is_not_known_are_not_asked(cloud, monkeypatch):
    """The others are, and all are listed."""
    monkeypatch.setattr("nova_sched.replay.health.known_levels.TIMEOUT", 0.5)
    text = cloud.file.read_text()
    cloud.file.write_text(f"{text}transport_url = rabbit://u:secret@127.0.0.1:1/\n")
    code, out, err = cloud.smoke("service", "list", "--ask", "--agents", "-o", "csv")
    rows = {(row[1], row[2]): row[3] for row in (line.split(",") for line in out.splitlines()[1:])}
    assert code == errors.EXIT_UNREACHABLE and "the services of cell1 were not asked: " in err and "secret" not in err
    assert rows["one", "cell0"] == "up" and rows["agent-of-a", "cell1"] == "silent"
    cloud.file.write_text(text.replace("enabled = cell1", "enabled = other").replace("[cell:cell1]", "[cell:other]"))
    code, out, err = cloud.run("service", "list", "--ask", "--config-file", str(cloud.file))
    assert (code, out) == (2, "") and "the services of cell1 cannot be asked, as the configuration has no such" in err


def test_a_shadow_is_a_service(cloud):
    cloud.say(events.PolicyAdopted("0123456789abcdef", "{}"), cell="cell0", by="shadow/one")
    rows = cloud.rows("service", "list")
    assert [(row["service"], row["name"], row["status"]) for row in rows if row["cell"] == "cell0"] == [
        ("scheduler", "one", "idle?"),
        ("shadow", "one", "idle?"),
    ]


def test_a_service_of_a_release_before_has_no_version(cloud, monkeypatch):
    monkeypatch.setattr("nova_sched.replay.health.known_levels.TIMEOUT", 0.5)
    monkeypatch.setattr("rpc_api.bus.port.KNOWN_VERSION", "another question")
    monkeypatch.setattr("rpc_api.bus.port.LEVEL", 2)
    cloud.smoke("smoke", "1:512")
    code, out, err = cloud.smoke("service", "list", "--ask", "-o", "csv")
    row = next(line.split(",") for line in out.splitlines() if ",one," in line)
    assert (row[3], row[6], row[7]) == ("up", "2", "") and f"know a level below {LEVEL}; upgrade them" in err
    assert code == 1
