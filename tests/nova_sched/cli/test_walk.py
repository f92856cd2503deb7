"""Every command that README.md and the walk through a log show is run, and prints what they show."""

import os
import shutil

import pytest

from nova_sched.replay.archive.log import open_archive
from nova_sched.replay.logs.reading import records_between
from rpc_api import errors
from tests.nova_sched.cli import documented_ledger
from tests.nova_sched.cli.shown import ROOT, difference, examples, run

WALK = "docs/operating/replay.md"
LOG = "docs/operating/demo.nslog"
LEDGER = "docs/operating/ledger.nslog"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory with the recorded logs where the pages have them, and with an empty directory ``out``."""
    for folder in ("docs/operating", "out"):
        (tmp_path / folder).mkdir(parents=True)
    for log in (LOG, LEDGER):
        shutil.copy(ROOT / log, tmp_path / log)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOVA_SCHED_LOG", "")  # So that what a page exports ends with the test.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def differences(page, variables):
    """The commands of a page that print something else than it shows, each with its first difference."""
    found = []
    for command, shown in examples(page):
        code, printed = run(command, variables)
        # The host was refused: an answer, not a failure.
        expected = errors.EXIT_NEGATIVE if " why-not " in command else errors.EXIT_OK
        assert code == expected, f"{command}\n{printed}"
        if different := difference(shown, printed):
            found.append(f"{command}\n{different}")
    return found


def test_the_walk(directory):
    variables = {}
    assert not (found := differences(WALK, variables)), "\n\n".join(found)
    assert {"NOHOST", "HOST", "RETRIED", "VOLUME"} == set(variables)
    assert {"incident.nslog", "again.cell0.db", "again.cell1.db", "what-if.png"} <= set(os.listdir("out"))


def test_the_log_with_writes_is_that_of_its_script():
    ((_, archive),) = open_archive(ROOT / LEDGER)
    made = documented_ledger.written()
    last = made.log.bounds().last
    assert [record.payload for record in records_between(archive)] == [
        record.payload for record in records_between(made.log, 0, last)
    ], "run python -m tests.nova_sched.cli.documented_ledger, and change the page"


def test_the_decision_of_the_readme(directory):
    assert not (found := differences("README.md", {})), "\n\n".join(found)


@pytest.mark.parametrize("page, least", [(WALK, 25), ("README.md", 3)])
def test_a_page_shows_what_its_commands_print(page, least):
    """A command with output that is left out altogether would be compared with nothing."""
    commands = examples(page)
    assert len(commands) >= least and commands[0][0] == f"export NOVA_SCHED_LOG={LOG}"
    for command, shown in commands[1:]:
        assert "=$(" in command or command.startswith("export ") or any(line.strip("… .") for line in shown), command


@pytest.mark.parametrize(
    "shown, printed, different",
    [
        (["a  b", "1  2"], "a  b  \n1  2\n", None),
        (["a  b", "1  2"], "a  c\n1  2\n", "shows  'a  b'\nprints 'a  c'"),
        (["a  b", "1  2"], "a  b\n", "shows  '1  2'\nprints 'no more lines'"),
        (["a  b"], "a  b\n1  2\n", "shows  no more lines\nprints '1  2'"),
        (["a…"], "a  b\n", None),
        (["b…"], "a  b\n", "shows  'b…'\nprints 'a  b'"),
        (["a", "...", "d"], "a\nb\nc\nd\n", None),
        (["a", "..."], "a\n", None),
        (["a", "  ...", "c"], "a\nb\n", "shows  'c'\nprints 'b'"),
    ],
)
def test_what_counts_as_printed(shown, printed, different):
    assert difference(shown, printed) == different
