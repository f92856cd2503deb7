"""Logs that are pinned to a level that this process does not know: each command that folds one says so once, and ends
with the exit code 5, because its answer is not that of the log."""

import msgpack
import pytest

from nova_sched.cli.main import replay
from nova_sched.replay.state import history
from rpc_api import errors, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, record_of, report, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding

TOO_HIGH = LEVEL + 1
UNKNOWN = msgpack.packb([TOO_HIGH, EPOCH, [["New", "1.0", "scheduler/x", 1, 1, 1, []]]])
SENTENCE = f"the log of {{}} is pinned to level {TOO_HIGH}, this version knows 1 to {LEVEL}; upgrade nova_sched here"
#: Of a claim before the pin, and of the whole log.
EARLY = "cell1:2"


def cloud_of(*pinned, unknown=True, cells=("cell1",)):
    """Hosts and a claim at level 1, then a pin of some cells to a level that is not known, and what follows it."""
    cloud = TinyCloud(cells=cells)
    for cell in cells:
        cloud.host(f"a-{cell}", cell)
    cloud.ask(deciding(cloud), "vm")
    cloud.settle()
    for cell in pinned:
        cloud.append(cell, "operator/o", events.LevelPinned(TOO_HIGH))
        cloud.host(f"late-{cell}", cell)
        if unknown:
            cloud.logs[cell].append(UNKNOWN)
    return cloud


FOLDING = [
    ["state"],
    ["check"],
    ["stats"],
    ["top", "--once"],
    ["tail"],
    ["tail", "--outcomes"],
    ["tail", "--type", "ClaimProposed"],
    ["replay"],
    ["replay", "--verify"],
    ["quarantine"],
    ["instances"],
    ["capacity", "VCPU=1"],
    ["diff", EARLY, "last"],
    ["what-if"],
]


@pytest.mark.parametrize("command", FOLDING, ids=" ".join)
@pytest.mark.parametrize("unknown", [True, False], ids=["records follow", "only a pin"])
def test_each_command_says_so_once_for_each_cell(capsys, command, unknown):
    with Logs(cloud_of("cell1", "cell2", unknown=unknown, cells=("cell1", "cell2"))) as logs:
        code = logs.run(*command)
        said = capsys.readouterr().err.splitlines()
    sentences = [f"nova-sched-replay {command[0]}: {SENTENCE.format(cell)}" for cell in ("cell1", "cell2")]
    assert [line for line in said if "pinned to level" in line] == sentences and code == errors.EXIT_SCHEMA


@pytest.mark.parametrize("command", FOLDING, ids=" ".join)
def test_a_log_of_a_known_level_is_not_named(capsys, command):
    cloud = cloud_of()
    cloud.pin(LEVEL)
    cloud.host("late")
    with Logs(cloud) as logs:
        code = logs.run(*command)
    assert "pinned to level" not in capsys.readouterr().err and code != errors.EXIT_SCHEMA


@pytest.mark.parametrize(
    "command",
    [
        ["state", "--at", EARLY],
        ["instances", "--at", EARLY],
        ["stats", "cell1:0:2"],
        ["diff", "cell1:0", EARLY],
        ["tail", "cell1:0:2"],
        ["explain", uuid_of("vm")],
        ["why-not", uuid_of("vm"), "a-cell1"],
    ],
    ids=" ".join,
)
def test_what_was_before_the_pin_is_known(capsys, command):
    with Logs(cloud_of("cell1")) as logs:
        code = logs.run(*command)
    said = capsys.readouterr().err
    assert "pinned to level" not in said and code in (0, 1), (code, said)


def test_what_is_not_found_may_be_in_the_part_that_is_not_known(capsys):
    with Logs(cloud_of("cell1")) as logs:
        assert logs.run("state", "late-cell1") == errors.EXIT_SCHEMA
        first, second = capsys.readouterr().err.splitlines()
        assert first.endswith(SENTENCE.format("cell1")) and "late-cell1" in second
        assert logs.run("state", "--limit", "0") == errors.EXIT_USAGE


def test_check_has_a_row(capsys):
    with Logs(cloud_of("cell1")) as logs:
        _, rows = logs.json(capsys, "check")
    levels = {row["cell"]: row for row in rows if row["check"] == "level"}
    assert {cell: (row["state"], row["count"]) for cell, row in levels.items()} == {
        "cell0": ("ok", 1),
        "cell1": ("wrong", TOO_HIGH),
    }
    assert levels["cell1"]["found"] == SENTENCE.format("cell1")
    assert levels["cell0"]["found"].endswith(f"knows 1 to {LEVEL}")


def test_top_shows_the_cell_as_down(capsys):
    with Logs(cloud_of("cell1")) as logs:
        logs.run("top", "--once")
    assert f"DOWN: {SENTENCE.format('cell1')}" in capsys.readouterr().out


def test_doctor_has_it_among_its_findings(capsys):
    with Logs(cloud_of("cell1")) as logs:
        assert logs.run("doctor") == errors.EXIT_NEGATIVE
    shown = capsys.readouterr()
    assert SENTENCE.format("cell1") in shown.out and "pinned" not in shown.err


def test_a_state_that_is_not_that_of_the_log_is_not_kept(capsys, monkeypatch, tmp_path):
    """With a cache that would keep the state after each record."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(history, "EVERY", 1)
    monkeypatch.setattr(history, "EVERY_A_HOLDER", 0)
    with Logs(cloud_of("cell1")) as logs:
        named = [word for name in logs.names for word in ("--log", name)]
        for command in (["state"], ["instances"], ["state"]):
            assert replay([*named, *command]) == errors.EXIT_SCHEMA
            shown = capsys.readouterr()
            assert "a-cell1" in shown.out and shown.err.count(SENTENCE.format("cell1")) == 1


def test_a_record_of_an_unknown_level_alone_pins_nothing(capsys):
    cloud = cloud_of()
    cloud.logs["cell1"].append(UNKNOWN)
    with Logs(cloud) as logs:
        assert logs.run("state") == errors.EXIT_OK
        assert logs.run("quarantine") == errors.EXIT_NEGATIVE
        assert "pinned" not in capsys.readouterr().err
        # What tail cannot show it names, without a look at the state.
        assert logs.run("tail") == errors.EXIT_SCHEMA
        said = capsys.readouterr().err
        assert f"cell1 has a record of level {TOO_HIGH}, this process knows 1 to {LEVEL}" in said


def cut_log(*records):
    """A log of which the first three records, with its pin, were removed."""
    log = open_log("memory://cut-log")
    log.append([record_of(Voice("operator/o").say(events.LevelPinned(2)))] * 3)
    log.append(list(records))
    log.truncate_before(3)
    return log


@pytest.mark.parametrize("command, code", [("state", 5), ("check", 5), ("quarantine", 5), ("stats", 5), ("replay", 5)])
def test_a_cut_log_whose_records_are_too_new(capsys, command, code):
    with cut_log(UNKNOWN, record_of(Voice("compute_agent/a").say(report("a")))) as log:
        found = replay(["--log", f"cell1={log.url}", "--no-cache", command])
        log.delete()
    assert (found, capsys.readouterr().err.count(SENTENCE.format("cell1"))) == (code, 1)


def test_a_cut_log_has_the_level_that_its_records_show(capsys):
    """Its pin was removed; what was written after it is not set aside."""
    scheduler, agent = Voice("scheduler/one"), Voice("compute_agent/a")
    tracked = events.InstancesTracked("a", (), (uuid_of("vm"),))
    with cut_log(record_of(scheduler.say(tracked), level=2), record_of(agent.say(report("a")), level=2)) as log:
        code = replay(["--log", f"cell1={log.url}", "--no-cache", "quarantine"])
        log.delete()
    assert code == errors.EXIT_GAP and "no event is set aside" in capsys.readouterr().err
