"""The logs of commands: those of --log, else of the environment, else of the services' configuration."""

import json

import pytest

from nova_sched.cli.main import main, replay


def config_text(played, cells=("cell1", "cell2"), more=""):
    urls = json.loads((played / "summary.json").read_text())["logs"]
    sections = "".join(f"[cell:{cell}]\nlog = {urls[cell]}\n" for cell in cells)
    return f"[cells]\ncell0_log = {urls['cell0']}\nenabled = {','.join(cells)}\n{sections}{more}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NOVA_SCHED_LOG", raising=False)
    return tmp_path


def write(home, text, place=".nova_sched/nova_sched.conf"):
    path = home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def cells_in(capsys):
    return [line.split()[1] for line in capsys.readouterr().out.splitlines()]


OPENED = ("tail", "--type", "LogOpened", "-o", "template", "--template", "{type} {cell}")


@pytest.mark.parametrize(
    "place",
    [
        ".nova_sched/nova_sched.conf",
        "nova_sched.conf",
        "nova_sched.conf.d/a.conf",
        ".nova_sched/nova-sched-replay.conf",
    ],
)
def test_logs_of_the_configuration(home, played, capsys, place):
    write(home, config_text(played), place)
    assert replay([*OPENED]) == 0
    assert sorted(cells_in(capsys)) == ["cell0", "cell1", "cell2"]


def test_what_is_named_comes_first(home, played, capsys, monkeypatch):
    urls = json.loads((played / "summary.json").read_text())["logs"]
    write(home, config_text(played))
    monkeypatch.setenv("NOVA_SCHED_LOG", f"cell1={urls['cell1']}")
    assert replay([*OPENED]) == 0
    assert cells_in(capsys) == ["cell1"]
    assert replay([*OPENED, "--log", f"cell2={urls['cell2']}"]) == 0
    assert cells_in(capsys) == ["cell2"]


def test_a_file_that_is_named(home, played, capsys):
    write(home, config_text(played))
    other = write(home, config_text(played, ["cell2"]), "other.conf")
    assert replay(["replay", "--no-decisions", "--config-file", other]) == 0
    assert "cell2" in (said := capsys.readouterr().out) and "cell1" not in said


def test_nothing_is_named(home, capsys):
    assert replay([*OPENED]) == 2
    assert "no log is named" in (said := capsys.readouterr().err) and "/etc/nova_sched/nova_sched.conf" in said


@pytest.mark.parametrize(
    "text, said",
    [
        ("[cells]\nenabled = cell1\n", "[cell:cell1] log is not set"),
        ("[cells\n", "the configuration is wrong"),
        ("[cells]\nenabled =\n", "no log is named"),
    ],
)
def test_a_configuration_that_names_no_log(home, capsys, text, said):
    write(home, text)
    assert replay([*OPENED]) == 2
    assert said in capsys.readouterr().err


def test_commands_name_options_that_nobody_reads(home, played, capsys):
    path = write(home, config_text(played, more="[snapshot]\nurl = x\n"))
    assert main(["replay", *OPENED]) == 0
    assert f"{path}: [snapshot] url is read by no service" in capsys.readouterr().err
    policy = write(home, "[filter_scheduler]\nenabled_filter = x\n", "policy.conf")
    replay(["what-if", "--policy", policy])
    assert f"{policy}: [filter_scheduler] enabled_filter is read by no service" in capsys.readouterr().err
