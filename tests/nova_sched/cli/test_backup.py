"""Backups of logs with API writes, restored into new logs; the removal of old records; a rebase by an operator."""

import itertools
import re
import shlex
import stat
from pathlib import Path

import pytest

from nova_sched.cli.main import main
from nova_sched.process.cell_log import find_beginning
from nova_sched.process.checkpoints import newest_in
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.replay.archive.restore import state_of
from rpc_api import events
from rpc_api.clock import SYSTEM
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.proof import RECORDS
from tests.builders import uuid_of
from tests.nova_sched.process.checkpoint_logs import KeptLog

_NUMBERS = itertools.count()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/cell1.db"


@pytest.fixture
def kept(url, request):
    with open_log(url) as log:
        kept = KeptLog(log=log, level=getattr(request, "param", 3))
        kept.hosts("h1", "h2")
        kept.written("pool")
        kept.claims("h1", "vm-1")
        yield kept


def shown(capsys, *arguments):
    code = main([*arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


def cut(kept):
    """Write a checkpoint, and let retention remove what is before it."""
    checkpoint = kept.keep(between=("h3",))
    kept.log.truncate_before(checkpoint.position - 1)
    kept.hosts("h4")


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_backup_is_restored_with_its_api_writes_at_the_same_positions(kept, url, tmp_path, capsys, is_cut):
    if is_cut:
        cut(kept)
    wanted, bounds = state_digest(state_of("cell1", kept.log)), kept.log.bounds()
    file, fresh = f"{tmp_path}/cell1.nslog", f"sqlite:///{tmp_path}/new.db"
    code, out, err = shown(capsys, "backup", "cell1", url, "-o", file)
    assert (code, err) == (0, "") and wanted in out
    assert stat.S_IMODE((tmp_path / "cell1.nslog").stat().st_mode) == 0o600
    code, out, err = shown(capsys, "restore", file, "--to", fresh)
    assert (code, err) == (0, "") and "all records are in" in out and wanted in out
    with open_log(fresh) as log:
        assert log.bounds() == bounds
        state = state_of("cell1", log)
        assert state.holds_writes and uuid_of("pool") in state.trees


def restored_elsewhere(kept, url, tmp_path, capsys, fresh):
    """A log in another back-end gets the state only."""
    cut(kept)
    file = f"{tmp_path}/cell1.nslog"
    assert shown(capsys, "backup", "cell1", url, "-o", file)[0] == 0
    code, out, err = shown(capsys, "restore", file, "--to", fresh, "--name", "me")
    assert (code, err) == (0, "") and "the state, in a checkpoint" in out
    with open_log(fresh) as log:
        before, after = state_of("cell1", kept.log), state_of("cell1", log)
        assert after.holds_writes and after.trees.keys() == before.trees.keys()
        assert {uuid: entries[0].facts() for uuid, entries in after.consumers.items()} == {
            uuid: entries[0].facts() for uuid, entries in before.consumers.items()
        }
        epoch, beginning, _ = find_beginning(log, "cell1", "conductor/c", SYSTEM, None)
        assert beginning.whole and epoch == after.epoch != before.epoch
        assert snapshot.load(beginning.snapshot).holds_writes
        log.append([b"\xc1fence of a later reader"])
        assert find_beginning(log, "cell1", "conductor/c", SYSTEM, None)[1].whole


def test_a_backup_is_restored_into_a_log_that_assigns_positions(kept, url, tmp_path, capsys):
    restored_elsewhere(kept, url, tmp_path, capsys, f"memory://restored-{next(_NUMBERS)}")


@pytest.mark.rabbit
def test_a_backup_is_restored_into_a_stream(kept, url, tmp_path, capsys, rabbit_server):
    restored_elsewhere(kept, url, tmp_path, capsys, rabbit_server.url(f"restored-{next(_NUMBERS)}"))


@pytest.mark.rabbit
def test_a_stream_is_backed_up_and_restored(tmp_path, capsys, rabbit_server):
    url = rabbit_server.url(f"backed-up-{next(_NUMBERS)}")
    with open_log(url) as log:
        kept = KeptLog(log=log)
        kept.hosts("h1")
        kept.written("pool")
        log.fence()
        kept.keep()
        file, fresh = f"{tmp_path}/cell1.nslog", f"sqlite:///{tmp_path}/new.db"
        assert shown(capsys, "backup", "cell1", url, "-o", file)[0] == 0
        assert shown(capsys, "restore", file, "--to", fresh)[0] == 0
        with open_log(fresh) as again:
            assert state_digest(state_of("cell1", again)) == state_digest(state_of("cell1", log))
            assert again.bounds() == log.bounds()


def test_a_restored_log_goes_on_and_is_trimmed_like_any_other(kept, url, tmp_path, capsys):
    fresh = f"memory://restored-{next(_NUMBERS)}"
    restored_elsewhere(kept, url, tmp_path, capsys, fresh)
    with open_log(fresh) as log:
        state = state_of("cell1", log)
        again = KeptLog(log=log, opened=False)
        again.say("compute_agent/h9", events.HostSeen("h9"))
        assert again.log.bounds().last > state.position


REFUSED = {
    "there is no such log": (["backup", "cell1", "sqlite:////nowhere/none.db", "-o", "{dir}/x"], 3, "cannot open"),
    "the file is there": (["backup", "cell1", "{url}", "-o", "{dir}/there"], 2, "exists already"),
    "the log of another cell": (["trim", "cell2", "{url}", "--keep", "1"], 2, "is the log of cell1"),
    "no number of records": (["trim", "cell1", "{url}", "--keep", "0"], 2, "--keep is 0, wanted 1 or more"),
    "no backup": (["restore", "{dir}/there", "--to", "sqlite:///{dir}/new.db"], None, ""),
    "no file": (["restore", "{dir}/none", "--to", "sqlite:///{dir}/new.db"], 3, "cannot read"),
    "a whole log": (["rebase", "cell1", "{url}", "--lose-api-writes"], 2, "has all its records"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(kept, url, tmp_path, capsys, name):
    arguments, code, text = REFUSED[name]
    (tmp_path / "there").write_bytes(b"something else")
    found, _, err = shown(capsys, *(word.format(url=url, dir=tmp_path) for word in arguments))
    assert found == code if code is not None else found
    assert text in err and err.count("\n") == 1


def test_a_log_that_has_records_is_not_restored_into(kept, url, tmp_path, capsys):
    file = f"{tmp_path}/cell1.nslog"
    assert shown(capsys, "backup", "cell1", url, "-o", file)[0] == 0
    before = kept.log.bounds()
    code, _, err = shown(capsys, "restore", file, "--to", url)
    assert code == 2 and "wanted an empty log" in err and kept.log.bounds() == before


def test_a_log_whose_state_is_lost_is_not_backed_up(kept, url, tmp_path, capsys):
    kept.log.truncate_before(4)
    code = shown(capsys, "backup", "cell1", url, "-o", f"{tmp_path}/x")[0]
    assert code == 4 and not (tmp_path / "x").exists()


def test_a_file_whose_records_do_not_give_its_state_leaves_the_new_log_empty(kept, url, tmp_path, capsys):
    part, whole = f"{tmp_path}/part.nslog", f"{tmp_path}/whole.nslog"
    export = ["replay", "export", "--log", f"cell1={url}", "--no-redact", "-o"]
    assert shown(capsys, *export, part, "cell1:1:")[0] == 0
    assert shown(capsys, *export, whole)[0] == 0
    fresh = f"sqlite:///{tmp_path}/new.db"
    code, _, err = shown(capsys, "restore", part, "--to", fresh)
    assert code == 4 and "begins at position 1" in err and "is not known, so nothing is restored" in err
    assert err.count("\n") == 1
    with open_log(fresh) as log:
        assert log.bounds().count == 0
    assert shown(capsys, "restore", whole, "--to", fresh)[0] == 0
    with open_log(fresh) as log:
        assert log.bounds() == kept.log.bounds()
        assert state_digest(state_of("cell1", log)) == state_digest(state_of("cell1", kept.log))


def test_a_file_without_its_beginning_is_restored_where_its_state_is_enough(kept, url, tmp_path, capsys):
    part, fresh = f"{tmp_path}/part.nslog", f"memory://restored-{next(_NUMBERS)}"
    assert shown(capsys, "replay", "export", "cell1:1:", "--log", f"cell1={url}", "--no-redact", "-o", part)[0] == 0
    code, out, err = shown(capsys, "restore", part, "--to", fresh)
    assert (code, err) == (0, "") and "the state, in a checkpoint" in out


# --- all logs of a configuration ---------------------------------------------------------------------------------


@pytest.fixture
def configured(kept, url, tmp_path):
    """A configuration of cell1's log, and of a log of cell0 that is not there."""
    path = tmp_path / "nova_sched.conf"
    path.write_text(
        f"[cells]\nenabled = cell1\ncell0_log = sqlite:///{tmp_path}/cell0.db\n"
        f"[cell:cell1]\nlog = {url}\nuuid = {uuid_of('cell1')}\n"
    )
    return path


def test_all_logs_are_backed_up_and_one_that_is_not_there_is_named(configured, tmp_path, capsys):
    words = ["backup", "--all", "-o", f"{tmp_path}/kept", "--config-file", str(configured)]
    code, out, err = shown(capsys, *words)
    assert code == 3 and err.startswith("cell0 is not backed up: cannot open the log") and err.count("\n") == 1
    assert "cell1.nslog: " in out and [path.name for path in (tmp_path / "kept").iterdir()] == ["cell1.nslog"]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    with open_log(f"sqlite:///{tmp_path}/cell0.db") as log:
        KeptLog("cell0", log)
    code, _, err = shown(capsys, *words)
    assert code == 2 and "cell1 is not backed up" in err and "exists already" in err
    assert shown(capsys, *words, "--force")[0] == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"cell0.nslog", "cell1.nslog"}


def test_all_logs_of_the_environment_are_backed_up(kept, url, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NOVA_SCHED_LOG", f"cell0=sqlite:///{tmp_path}/gone.db {url}")
    code, out, err = shown(capsys, "backup", "--all", "-o", f"{tmp_path}/kept")
    assert code == 3 and err.startswith("cell0 is not backed up: cannot open the log") and "cell1.nslog: " in out


def test_a_log_of_another_cell_is_not_backed_up(kept, url, tmp_path, capsys):
    """Its records would be set aside under that name, one by one."""
    code, out, err = shown(capsys, "backup", "cell0", url, "-o", f"{tmp_path}/cell0.nslog")
    assert code == 2 and "is the log of cell1, wanted that of cell0" in err and not out
    assert not (tmp_path / "cell0.nslog").exists()


def test_without_a_configured_log_no_directory_is_made(tmp_path, capsys):
    empty = tmp_path / "empty.conf"
    empty.write_text("")
    code, _, err = shown(capsys, "backup", "--all", "-o", f"{tmp_path}/kept", "--config-file", str(empty))
    assert code == 2 and "names no log" in err and not (tmp_path / "kept").exists()


def test_a_backup_is_restored_into_the_log_that_the_configuration_names(configured, kept, url, tmp_path, capsys):
    wanted, file = state_digest(state_of("cell1", kept.log)), f"{tmp_path}/cell1.nslog"
    assert shown(capsys, "backup", "cell1", url, "-o", file)[0] == 0
    words = ["restore", file, "--configured", "--config-file", str(configured)]
    code, _, err = shown(capsys, *words)
    assert code == 2 and "wanted an empty log" in err
    configured.write_text(configured.read_text().replace("cell1.db", "fresh.db"))
    code, out, _ = shown(capsys, *words)
    assert code == 0 and wanted in out
    with open_log(f"sqlite:///{tmp_path}/fresh.db") as log:
        assert state_digest(state_of("cell1", log)) == wanted
    configured.write_text(configured.read_text().replace("cell1\n", "cell2\n").replace("cell:cell1", "cell:cell2"))
    code, _, err = shown(capsys, *words)
    assert code == 2 and "the backup is of cell1, and the configuration names cell0, cell2" in err


@pytest.mark.parametrize("place", ["{dir}/there", "{dir}/there/below", "/proc/xx"])
def test_a_directory_that_cannot_be_made_is_named(configured, tmp_path, capsys, place):
    (tmp_path / "there").write_bytes(b"mine")
    place = place.format(dir=tmp_path)
    code, _, err = shown(capsys, "backup", "--all", "-o", place, "--config-file", str(configured))
    assert code == 2 and err.count("\n") == 1
    assert f"the directory {place!r} cannot be made (" in err and "name another one with --output" in err
    assert (tmp_path / "there").read_bytes() == b"mine"


@pytest.mark.parametrize("cell, is_named", [("", True), ("cell1", False)])
def test_an_empty_name_is_refused(url, kept, tmp_path, capsys, cell, is_named):
    code, _, err = shown(capsys, "backup", cell, url if is_named else "", "-o", f"{tmp_path}/x")
    assert code == 2 and "a CELL and the URL of its log are needed" in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["backup", "-o", "x"], "a CELL and the URL of its log are needed"),
        (["backup", "cell1", "-o", "x"], "a CELL and the URL of its log are needed"),
        (["backup", "cell1", "--all", "-o", "x"], "--all writes all logs"),
        (["restore", "x"], "one of the arguments --to --configured is required"),
    ],
)
def test_what_is_missing_is_named(words, said, capsys):
    code, _, err = shown(capsys, *words)
    assert code == 2 and said in err


# --- old records -------------------------------------------------------------------------------------------------


def test_only_what_a_checkpoint_covers_is_removed(kept, url, capsys):
    code, out, _ = shown(capsys, "trim", "cell1", url, "--keep", "1")
    assert code == 1 and "it has no complete checkpoint" in out and kept.log.bounds().first == 0
    kept.hosts(*(f"more-{number}" for number in range(30)))
    checkpoint = kept.keep()
    kept.hosts("late")
    wanted = state_digest(kept.folded())
    code, out, _ = shown(capsys, "trim", "cell1", url, "--keep", "1")
    assert code == 1 and f"has the state up to position {checkpoint.position}" in out
    assert kept.log.bounds().first == checkpoint.position - RECORDS + 1
    assert state_digest(state_of("cell1", kept.log)) == wanted
    assert newest_in(kept.log, "cell1", state_of("cell1", kept.log).epoch, False).checkpoint == checkpoint


def test_less_may_be_removed(kept, url, capsys):
    kept.hosts(*(f"more-{number}" for number in range(30)))
    kept.keep()
    code, out, _ = shown(capsys, "trim", "cell1", url, "--keep", "35")
    assert code == 0 and kept.log.bounds().count == 35 and "records removed" in out


def test_a_log_below_level_3_is_trimmed_as_asked(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/old.db"
    with open_log(url) as log:
        kept = KeptLog(log=log, level=2)
        kept.hosts("h1", "h2", "h3")
        assert shown(capsys, "trim", "cell1", url, "--keep", "2")[0] == 0
        assert log.bounds().count == 2


@pytest.mark.rabbit
def test_a_stream_is_not_trimmed_by_a_command(capsys, rabbit_server):
    url = rabbit_server.url(f"trimmed-{next(_NUMBERS)}")
    open_log(url).close()
    code, _, err = shown(capsys, "trim", "cell1", url, "--keep", "2")
    assert code == 2 and "set a policy for its retention" in err


# --- a rebase by an operator -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", range(3, LEVEL + 1), indirect=True)
def test_a_rebase_must_be_confirmed_and_counts_for_every_reader(kept, url, capsys):
    """The log keeps its level."""
    whole = kept.folded()
    kept.log.truncate_before(4)
    kept.say("conductor/c", events.HostSeen("h1"))
    before = kept.log.bounds()
    code, _, err = shown(capsys, "rebase", "cell1", url)
    assert code == 2 and "would be lost for good" in err and kept.log.bounds() == before
    code, out, _ = shown(capsys, "rebase", "cell1", url, "--lose-api-writes", "--name", "me")
    assert code == 0 and "is rebased at position" in out
    kept.hosts("h9")
    whole = kept.folded(start=whole)
    fresh = state_of("cell1", kept.log)
    assert list(fresh.hosts) == ["h9"] and not fresh.holds_writes and fresh.level == kept.level
    assert state_digest(fresh) == state_digest(whole)


def test_a_log_with_a_checkpoint_is_not_rebased(kept, url, capsys):
    checkpoint = kept.keep()
    kept.log.truncate_before(checkpoint.position)
    code, _, err = shown(capsys, "rebase", "cell1", url, "--lose-api-writes")
    assert code == 2 and "needs no rebase" in err


# --- the pages of the documentation ------------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parents[3] / "docs/operating"
RETENTION, BACKUP = [(DOCS / name).read_text() for name in ("retention.md", "backup.md")]


def test_each_command_of_the_pages_does_what_it_shows(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_log("sqlite:///cell1.db") as log:
        kept = KeptLog(log=log)
        kept.hosts(*(f"host-{number}" for number in range(38)))
        kept.written("pool")
        kept.keep()
        while log.bounds().last < 45:
            kept.hosts("late")
    examples = re.findall(r"```console\n(.*?)```", RETENTION + BACKUP, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        command, _, output = example.partition("\n")
        code, out, err = shown(capsys, *shlex.split(command.removeprefix("$ nova-sched ")))
        assert (code, err) == (0, ""), command
        assert output in out
    with open_log("sqlite:///restored.db") as log:
        assert state_of("cell1", log).holds_writes


@pytest.mark.rabbit
def test_the_commands_of_the_page_for_a_broker(capsys, rabbit_server):
    policy = re.search(r"^rabbitmqctl (set_policy .*)$", RETENTION, re.MULTILINE)[1]
    rabbit_server.rabbitmqctl(*shlex.split(policy))
    rebase = re.search(r"^nova-sched (rebase .*)$", RETENTION, re.MULTILINE)[1]
    url = rabbit_server.url(f"nova_sched.rebased-{next(_NUMBERS)}")
    with open_log(url) as log:
        kept = KeptLog(log=log, opened=False)
        kept.hosts("h1")  # a log that does not begin with its LogOpened
        kept.say("conductor/c", events.HostSeen("h1"))
        words = [url if word.startswith("rabbit://") else word for word in shlex.split(rebase)]
        code, out, err = shown(capsys, *words)
        assert code == 0 and "is rebased at position" in out, err
        assert state_of("cell1", log).whole
