"""snapshot on the logs of a played cloud, and commands that are wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nova_sched.cli import create_log
from nova_sched.cli.main import main
from nova_sched.cli.main import replay as replay_main
from nova_sched.replay.decisions.recorded import difference
from nova_sched.replay.logs.source import Source
from nova_sched.replay.verify.decisions import replay
from rpc_api import codec, events
from rpc_api.log import open_log
from tests.builders import Voice, record_of, report

DEMO = Path(__file__).parents[3] / "docs/operating/demo.nslog"
FULL = "the output cannot be written (No space left on device); free space, or write elsewhere"
RUN = "import sys; from nova_sched.cli.main import replay; sys.exit(replay())"


@pytest.mark.parametrize(
    "command, code, told",
    [
        (["replay"], 2, "usage: nova-sched-replay"),
        (["replay", "state"], 2, "no log is named; name one with --log"),
        (["nonsense"], 2, "there is no command 'nonsense'; nova-sched --help lists the commands"),
        (["host"], 2, "'host' is the beginning of host disable, host drain, host enable, host list, host remove; type"),
        (["host", "--help"], 2, "'host' is the beginning of host disable"),
        (["help", "policy"], 2, "'policy' is the beginning of policy history"),
        (["hosts"], 2, "there is no command 'hosts', the nearest is 'host'"),
        (["replay", "expalin"], 2, "there is no command 'expalin', the nearest is 'explain'"),
        (["replay", "nonsense"], 2, "there is no command 'nonsense'"),
        (["nonsense", "--help"], 2, "there is no command 'nonsense'"),
        (["replay", "help", "nonsense"], 2, "nova-sched-replay help: there is no command 'nonsense'"),
        (
            ["replay", "--config-file", "x", "tail"],
            2,
            "type it after the command, as in nova-sched-replay tail --config-file",
        ),
        (["snapshot", "--log", "cell1=memory://nowhere", "--to", "ftp://x"], 3, "nowhere"),
        ([], 2, "The event-sourced scheduler"),
    ],
)
def test_wrong_commands(capsys, command, code, told):
    assert main(command) == code
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said


@pytest.mark.parametrize(
    "command, told",
    [
        (["replay", "tail", "--from", "1"], "nova-sched-replay tail: {}unrecognized arguments: --from; see {} --help"),
        (
            ["replay", "tail", "-n", "few"],
            "nova-sched-replay tail: {}argument -n/--lines: 'few' is not a whole number, 0 or more; ",
        ),
        (
            ["replay", "explain"],
            "nova-sched-replay explain: {}the following arguments are required: REQUEST|INSTANCE; ",
        ),
        (["replay", "--color", "pink", "tail"], "nova-sched-replay: {}argument --color: invalid choice: 'pink' "),
        (
            ["simulate", "--seeds", "a"],
            "nova-sched simulate: {}argument --seeds: 'a' is not a whole number, 1 or more; ",
        ),
    ],
)
def test_a_wrong_command_line_is_one_sentence(capsys, command, told):
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(told.format("the command line is wrong: ", "nova-sched-replay tail"))


@pytest.mark.parametrize("form", ["pretty", "ndjson"])
def test_a_full_disk_below_the_output(form):
    """The commands write more and less than a buffer; both meet the full disk."""
    for words in ([], ["-n", "1"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-c", RUN, "--log", str(DEMO), "tail", "-o", form, *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
            )
        assert done.returncode == 1
        assert done.stderr == f"nova-sched-replay: {FULL}\n"


@pytest.mark.parametrize(
    "to, told", [("ftp://x", "the scheme 'ftp'"), ("file://here", "no directory from the root on")]
)
def test_a_store_that_is_none(played, capsys, to, told):
    assert main(["snapshot", "--log", str(played), "--to", to]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("program, name", [(main, "nova-sched"), (replay_main, "nova-sched-replay")])
def test_without_a_command_the_way_to_the_commands_is_shown(capsys, program, name):
    assert program([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(f"\n{name}: no command is named; {name} --help lists the commands\n")


def test_help_is_no_fault(capsys):
    assert main(["--help"]) == 0
    assert "replay" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, told",
    [
        (["replay", "--help"], "usage: nova-sched-replay [--version]"),
        (["help", "replay"], "usage: nova-sched-replay [--version]"),
        (["replay", "tail", "--help"], "usage: nova-sched-replay tail"),
        (["help", "replay", "tail"], "usage: nova-sched-replay tail"),
        (["complete"], "_nova_sched()"),
    ],
)
def test_help_of_the_replay_tool(capsys, command, told):
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.startswith(told) and said.err == ""


def test_snapshot_is_kept_and_fits(played, tmp_path, capsys):
    to = f"file://{tmp_path}/snapshots"
    assert main(["snapshot", "--log", str(played), "--to", to]) == 0
    assert main(["snapshot", "--log", str(played), "--to", to, "--check"]) == 0
    assert capsys.readouterr().out.count("the same state as the whole log") == 3


def test_snapshot_of_another_log_is_refused(played, tmp_path, capsys):
    to, other = f"file://{tmp_path}/snapshots", f"sqlite:///{tmp_path}/other.db"
    assert main(["snapshot", "--log", str(played), "--to", to]) == 0
    with open_log(other) as log:
        opened = codec.make_event(
            events.LogOpened("cell1", "2be3e942-7185-43ee-91a2-ea3c62bcb527"), "operator/x", 1, 1, 1
        )
        log.append([codec.encode_record("2be3e942-7185-43ee-91a2-ea3c62bcb527", [opened])])
    assert main(["snapshot", "--log", f"cell1={other}", "--to", to, "--check"]) == 4
    assert "is of the log" in capsys.readouterr().err


def test_no_snapshot_is_kept_of_a_log_without_its_first_records(tmp_path, capsys):
    with open_log("memory://cut-for-a-snapshot") as log:
        log.append([record_of(Voice(f"compute_agent/{name}").say(report(name))) for name in ("a", "b")])
        log.truncate_before(1)
        store = f"file://{tmp_path}"
        assert main(["snapshot", "--log", "cell1=memory://cut-for-a-snapshot", "--to", store]) == 4
        assert "begins at position 1, and what the state there was is not known" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_evidence_that_is_not_what_comes_out_is_a_difference(played):
    with Source([str(played)]) as source:
        one = next(
            one for one in replay(source.logs) if one.recorded.evidence.refusals and one.recorded.evidence.scores
        )
    evidence = one.recorded.evidence
    score, refusal = evidence.scores[0], evidence.refusals[0]
    changed = {
        "survivors, recorded": {"survivors": evidence.survivors + 1},
        "hosts, recorded": {"hosts_total": evidence.hosts_total + 1},
        f"the score of {score.host}": {"scores": (score._replace(score=score.score + 1), *evidence.scores[1:])},
        "recorded Other": {"refusals": (refusal._replace(filter="Other"), *evidence.refusals[1:])},
    }
    assert one.same
    for says, change in changed.items():
        found = difference(one.recorded._replace(evidence=evidence._replace(**change)), one.again)
        assert found.code == "evidence" and says in found.text


def test_a_user_without_a_name_creates_a_log(monkeypatch, tmp_path, capsys):
    """In a container the user may be a number that no file gives a name."""
    monkeypatch.setattr(create_log.getpass, "getuser", lambda: {}["getpwuid(): uid not found: 12345"])
    assert main(["create-log", "cell1", f"sqlite:///{tmp_path}/log.db"]) == 0
    assert main(["replay", "--log", f"sqlite:///{tmp_path}/log.db", "tail"]) == 0
    assert f"by operator/uid-{os.getuid()}#1" in capsys.readouterr().out


def test_a_log_file_that_cannot_be_written(capsys):
    assert main(["--log-file", "/proc/nowhere.log", "play"]) == 2
    assert "--log-file /proc/nowhere.log cannot be written (No such file or directory); " in capsys.readouterr().err
