"""Every command of the walk through a real log (docs/operating/replay.md) is run, on a smaller log."""

import os
import re
import shlex
from pathlib import Path

import pytest

from nova_sched.cli.main import replay
from rpc_api import errors

PAGE = (Path(__file__).parents[3] / "docs" / "operating" / "replay.md").read_text()
COMMANDS = re.findall(r"(?m)^\$ (.*)$", PAGE)
#: Say what they found by their code: the host was refused; nothing more fits the smaller cloud.
NEGATIVE = {"why-not": {errors.EXIT_NEGATIVE}, "capacity": {errors.EXIT_OK, errors.EXIT_NEGATIVE}}


@pytest.fixture
def directory(played_cloud, tmp_path, monkeypatch):
    """A directory in which ``out/c1`` is the output of a play."""
    (tmp_path / "out").mkdir()
    played_cloud.copy(tmp_path / "out" / "c1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOVA_SCHED_LOG", "out/c1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_walk(directory, capsys):
    assert len(COMMANDS) > 20
    values = {}
    for command in COMMANDS:
        name, words = re.fullmatch(r"(?:(\w+)=\$\()?nova-sched-replay (.*?)\)?", command).groups()
        words = [re.sub(r"\$(\w+)", lambda found: values[found[1]], word) for word in shlex.split(words)]
        code, said = replay(words), capsys.readouterr()
        expected = next((NEGATIVE[word] for word in words if word in NEGATIVE), {errors.EXIT_OK})
        assert code in expected, f"{command}: {said.err}"
        assert said.out or words[0] == "export" or "import" in words, command
        if name:
            values[name] = said.out.strip()
    assert {"NOHOST", "HOST", "RETRIED"} == set(values)
    assert {"incident.nslog", "again.cell0.db", "again.cell1.db", "what-if.png"} <= set(os.listdir("out/c1"))
