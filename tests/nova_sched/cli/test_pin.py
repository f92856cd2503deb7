"""``nova-sched pin``: it pins when all services know the level, and says which one stands against it."""

import itertools

import pytest

from nova_sched.cli.main import main, replay
from nova_sched.projection.projection import Projection
from nova_sched.replay.health import known_levels
from rpc_api import codec, errors, events
from rpc_api.bus import MessagingBus
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import Voice, claim, report, uuid_of

CELLS = ("cell1", "cell2")
#: The levels of all logs when none is pinned, and when all are pinned to the newest level.
FIRST, NEWEST = (1, 1, 1), (LEVEL, LEVEL, LEVEL)
#: What answers: (topic, server). The agent of each host is "agent-of-HOST".
SERVERS = (
    ("scheduler", "s1"),
    ("nova_sched_conductor", "api"),
    ("nova_sched_conductor.cell.cell1", "c1"),
    ("nova_sched_conductor.cell.cell2", "c2"),
    ("nova_sched_agent", "agent-of-cell1-host"),
    ("nova_sched_agent", "agent-of-cell2-host"),
)


def level_of(url):
    """The level of a log."""
    projection = Projection("cell")
    with open_log(url) as log, log.read_from(0) as reader:
        for record in reader.read(1000, 1.0):
            projection.fold([(record.position, codec.decode_record(record.payload, record.account))])
    return projection.level


class Cloud:
    """Logs of a cloud, and servers on a bus of this process."""

    def __init__(self, directory, capsys):
        self.capsys = capsys
        self.urls = {cell: f"sqlite:///{directory}/{cell}.db" for cell in ("cell0", *CELLS)}
        self.voices = {}
        self.file = directory / "nova_sched.conf"
        sections = "".join(f"[cell:{cell}]\nlog = {self.urls[cell]}\nuuid = {uuid_of(cell)}\n" for cell in CELLS)
        self.file.write_text(
            f"[DEFAULT]\ntransport_url = fake://\ncontrol_exchange = {directory.name}\n"
            f"[cells]\nenabled = {', '.join(CELLS)}\ncell0_log = {self.urls['cell0']}\n{sections}"
        )
        self.append("cell0", "scheduler/s1", events.PolicyAdopted("digest", "{}"))
        for number, cell in enumerate(CELLS, 1):
            self.append(cell, f"compute_agent/{cell}-host", report(f"{cell}-host"))
            self.append(cell, f"conductor/c{number}", events.HostSeen(f"{cell}-host"))
            self.append(cell, "scheduler/s1", claim("vm", f"{cell}-host"))
        from nova_sched.cli import command_config

        self.bus = MessagingBus(command_config.read([str(self.file)]))
        self.served = {}
        for topic, server in SERVERS:
            self.serve(topic, server)

    def serve(self, topic, server):
        self.served[server] = self.bus.serve(topic, server, [object()], "4.5" if topic == "scheduler" else "1.2")

    def append(self, cell, producer, *data, level=1):
        voice = self.voices.setdefault((cell, producer), Voice(producer))
        with open_log(self.urls[cell]) as log:
            log.append([codec.encode_record(uuid_of(f"epoch of {cell}"), [voice.say(one) for one in data], level)])

    def level(self, cell):
        return level_of(self.urls[cell])

    def levels(self):
        return tuple(self.level(cell) for cell in ("cell0", *CELLS))

    def pin(self, *arguments):
        code = main(["pin", *arguments, "--config-file", str(self.file), "--name", "test"])
        shown = self.capsys.readouterr()
        return code, shown.out + shown.err


@pytest.fixture
def cloud(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys)
    yield cloud
    for served in cloud.served.values():
        served.stop(5.0)
    cloud.bus.close()


@pytest.mark.parametrize("level", range(2, LEVEL + 1))
def test_all_logs_are_pinned_when_all_services_know_the_level(cloud, level):
    code, shown = cloud.pin(str(level))
    assert (code, cloud.levels()) == (0, (level, level, level)), shown
    assert f"9 of 9 services and topics know level {level}\n" in shown
    assert [line.split(" at")[0] for line in shown.splitlines() if "position" in line] == [
        f"cell1 is pinned to level {level}",
        f"cell2 is pinned to level {level}",
        f"cell0 is pinned to level {level}",
    ]


def test_logs_are_pinned_from_level_to_level(cloud):
    for level in range(2, LEVEL + 1):
        code, shown = cloud.pin(str(level), "--dry-run")
        assert (code, shown.count(f"is at level {level - 1}, and can be pinned to level {level}\n")) == (0, 3), shown
        code, shown = cloud.pin(str(level))
        assert (code, cloud.levels()) == (0, (level, level, level)), shown
    assert cloud.pin()[1].count(f"is at level {LEVEL} already") == 3


@pytest.mark.parametrize("level", [None, *range(1, LEVEL + 1)])
def test_a_new_log_has_the_newest_level_unless_one_is_named(tmp_path, capsys, level):
    url = f"sqlite:///{tmp_path}/new.db"
    named = () if level is None else ("--level", str(level))
    assert main(["create-log", "cell1", url, *named]) == 0
    assert f"is new, at level {level or LEVEL}, " in capsys.readouterr().out
    assert level_of(url) == (level or LEVEL)


def test_a_second_pin_does_nothing(cloud):
    cloud.pin()
    code, shown = cloud.pin()
    assert (code, shown.count("already")) == (0, 3), shown


def test_a_dry_run_pins_nothing(cloud):
    code, shown = cloud.pin("--dry-run")
    assert (code, cloud.levels()) == (0, FIRST), shown
    assert f"cell1 is at level 1, and can be pinned to level {LEVEL}" in shown


def test_one_cell_may_be_pinned_first_and_an_interrupted_run_be_repeated(cloud):
    assert cloud.pin("--cell", "cell2")[0] == 0
    assert cloud.levels() == (1, 1, LEVEL)
    assert cloud.pin()[0] == 0
    assert cloud.levels() == NEWEST


@pytest.mark.parametrize("known", range(1, LEVEL))
def test_a_service_that_knows_less_stands_against_it_also_with_force(cloud, monkeypatch, known):
    monkeypatch.setattr("rpc_api.bus.port.LEVEL", known)
    for force in ((), ("--force",)):
        code, shown = cloud.pin(*force)
        assert (code, cloud.levels()) == (1, FIRST), shown
        for service in ("scheduler s1 of cell0", "agent agent-of-cell2-host of cell2"):
            assert f"{service} knows level {known}, wanted {LEVEL}; upgrade it" in shown
    if known > 1:
        # The level that all of them know is enough for a pin to it.
        code, shown = cloud.pin(str(known))
        assert (code, cloud.levels()) == (0, (known, known, known)), shown


def test_a_service_that_does_not_answer_stands_against_it_without_force(cloud, monkeypatch):
    monkeypatch.setattr("nova_sched.replay.health.known_levels.TIMEOUT", 0.5)
    cloud.serve("nova_sched_conductor.cell.cell1", "other")
    cloud.served.pop("c1").stop(5.0)
    code, shown = cloud.pin()
    assert (code, cloud.levels()) == (1, FIRST), shown
    assert "conductor c1 of cell1 does not answer" in shown
    assert "start it, or use --gone c1 if it is gone for good" in shown
    assert cloud.pin("--gone", "c2")[0] == 1
    code, shown = cloud.pin("--gone", "c1", "--cell", "cell1")
    assert (code, cloud.levels()) == (0, (1, LEVEL, 1)), shown
    assert "; 1 skipped" in shown
    code, shown = cloud.pin("--force")
    assert (code, cloud.levels()) == (0, NEWEST), shown


def test_a_topic_without_a_server_stands_against_it_but_for_that_of_the_api_conductors(cloud, monkeypatch):
    monkeypatch.setattr("nova_sched.replay.health.known_levels.TIMEOUT", 0.5)
    cloud.served.pop("api").stop(5.0)
    cloud.served.pop("s1").stop(5.0)
    code, shown = cloud.pin()
    assert (code, cloud.levels()) == (1, FIRST), shown
    assert "a scheduler of cell0 does not answer" in shown


def test_one_that_does_not_answer_hides_no_other_that_is_too_old():
    """An API conductor that hangs, beside one of the release before, with force."""

    class Client:
        def __init__(self, *answers):
            self.answers = itertools.cycle(answers)

        def known_level(self, server, timeout):
            answer = next(self.answers)
            if answer is None:
                raise errors.NoAnswer("no answer")
            return answer

    def known(*answers, service=known_levels.API_CONDUCTORS):
        return known_levels._known(Client(*answers), service)[1:3]

    assert known(2, None, 1) == (1, "no answer")
    assert known(None, 1, 2) == (1, "no answer")
    assert known(2, 2, 1) == (1, None)
    assert known(2) == (2, None)
    assert known(None) == (None, "no answer")


WRONG = {
    "an unknown level": ((str(LEVEL + 1),), f"level {LEVEL + 1} is not known, wanted 2 to {LEVEL}; name another one"),
    "level 1": (("1",), f"a log cannot be pinned to level 1, wanted 2 to {LEVEL}; a level is never taken back"),
    "no number": (("two",), "the command line is wrong"),
    "a cell that is not there": (("--cell", "cell9"), "there is no cell 'cell9', wanted one of cell1, cell2, cell0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(cloud, name):
    arguments, text = WRONG[name]
    code, shown = cloud.pin(*arguments)
    assert (code, cloud.levels()) == (2, FIRST)
    assert text in shown


def test_a_pin_is_not_taken_back(cloud):
    cloud.append("cell2", "operator/else", events.LevelPinned(LEVEL))
    code, shown = cloud.pin(str(LEVEL - 1))
    assert (code, cloud.level("cell1"), cloud.level("cell2")) == (2, 1, LEVEL)
    assert f"cell2 is at level {LEVEL}, a pin is not taken back; name level {LEVEL}" in shown


def test_a_log_without_accounts_takes_a_pin(cloud):
    with open_log(cloud.urls["cell1"]) as log:
        forged = [Voice("operator/else").say(events.AccountsRequired(True))]
        log.append([codec.encode_record(uuid_of("epoch of cell1"), forged)])
    code, shown = cloud.pin("--cell", "cell1")
    # Without accounts the rule itself does not count: the log takes pins.
    assert (code, cloud.level("cell1")) == (0, LEVEL), shown


def test_a_log_that_is_not_there(cloud, tmp_path):
    (tmp_path / "cell2.db").unlink()
    code, shown = cloud.pin()
    assert (code, cloud.level("cell1")) == (3, 1)
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["pin", "doctor"])
def test_a_command_does_not_wait_for_a_broker_that_is_away(cloud, command):
    cloud.file.write_text(cloud.file.read_text().replace("fake://", "rabbit://u:p@127.0.0.1:1/"))
    if command == "pin":
        code, shown = cloud.pin("--force")
        assert (code, cloud.levels()) == (3, FIRST), shown
    else:
        code = replay(["doctor", "--ask", "--config-file", str(cloud.file)])
        shown = cloud.capsys.readouterr().out
        assert code == 1
    assert "the RPC broker cannot be used" in shown and "Traceback" not in shown
