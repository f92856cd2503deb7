"""Commands while the log of one cell is away: the others are shown, and the one that is missing is named."""

import json

import pytest

from nova_sched.cli.main import main, replay


@pytest.fixture
def without_cell2(played_cloud, tmp_path):
    """A played cloud of which the log of cell2 is gone."""
    directory = played_cloud.copy(tmp_path / "out")
    for path in directory.glob("log.cell2.db*"):
        path.unlink()
    return directory


@pytest.fixture
def run(without_cell2, capsys, tmp_path, monkeypatch):
    """Run a command; gives (exit code, stdout, stderr)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*words, log=without_cell2):
        return replay(["--log", str(log), *words]), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("tail", "-n", "5"),
        ("state",),
        ("stats",),
        ("diff", "first", "last"),
        ("check",),
        ("capacity", "VCPU=1"),
        ("quarantine",),
    ],
    ids=lambda words: words[0],
)
def test_the_other_cells_are_shown(run, words):
    code, out, err = run(*words)
    assert code == 3 and out and "cell2 is left out: " in err and "there is no file" in err and "Traceback" not in err


def test_a_command_that_does_not_need_it_does_not_name_it(run):
    code, out, err = run("tail", "--cell", "cell1", "-n", "1")
    assert (code, len(out.splitlines()), err) == (0, 1, "")


@pytest.mark.parametrize(
    "words", [("replay", "--verify"), ("what-if",), ("export", "-o", "file.nslog")], ids=lambda words: words[0]
)
def test_what_would_be_wrong_without_it_is_not_done(run, words):
    code, out, err = run(*words)
    assert code == 3 and not out and "there is no file" in err


def test_nothing_is_shown_where_no_log_is_there(run, without_cell2):
    for path in without_cell2.glob("*.db*"):
        path.unlink()
    code, out, err = run("state")
    assert code == 3 and not out and "there is no file" in err


def test_instances_of_a_cell_are_remembered(run, played_cloud, tmp_path):
    """Looked at once, the instances of a cell are still listed when its log is gone."""
    directory = played_cloud.copy(tmp_path / "again")
    code, out, _ = run("instances", "-o", "json", log=directory)
    before = json.loads(out)
    for path in directory.glob("log.cell2.db*"):
        path.unlink()
    later, out, err = run("instances", "-o", "json", log=directory)
    after = json.loads(out)
    assert (code, later) == (0, 4) and "cell2: down, as of 20" in err
    assert {(one["instance"], one["host"]) for one in after} == {(one["instance"], one["host"]) for one in before}
    assert {one["cell"] for one in after if one["as_of"]} == {"cell2"}


def test_a_cell_of_which_nothing_is_known_has_a_row(run):
    code, out, err = run("instances", "-o", "json")
    unknown = [instance for instance in json.loads(out) if instance["instance"] is None]
    assert code == 4 and [(one["cell"], one["as_of"]) for one in unknown] == [("cell2", "down, nothing is known")]
    assert "cell2: its instances are not known" in err


def test_a_snapshot_of_some_cells_only_is_not_taken(without_cell2, tmp_path, capsys):
    assert main(["snapshot", "--log", str(without_cell2), "--to", f"file://{tmp_path}/kept"]) == 3
    assert "there is no file" in capsys.readouterr().err and not (tmp_path / "kept").exists()
