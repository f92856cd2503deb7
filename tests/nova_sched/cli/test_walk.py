"""Every command that README.md and the walk through a real log show is run, and prints what they show.

On a smaller log: :mod:`tests.nova_sched.cli.shown` says what may differ.
"""

import os
import re
import shlex

import pytest

from nova_sched.cli.main import replay
from rpc_api import errors
from tests.nova_sched.cli.shown import examples, not_printed, shape

WALK = "docs/operating/replay.md"
#: Commands whose exit code says what they found: the host was refused; nothing more fits the smaller cloud.
NEGATIVE = {"why-not": {errors.EXIT_NEGATIVE}, "capacity": {errors.EXIT_OK, errors.EXIT_NEGATIVE}}
#: The README names one instance and one host; these commands find such ones in any log.
FIND = "tail --type DecisionMade -g no_valid_host -n 1 -o template --template '{instance}'"
FIND_HOST = "tail --type BuildFailed -g simulated -n 1 -o template --template '{host}'"


@pytest.fixture
def directory(one_after_the_other, tmp_path, monkeypatch):
    """A directory in which ``out/c1`` is the output of a play."""
    (tmp_path / "out").mkdir()
    one_after_the_other.copy(tmp_path / "out" / "c1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOVA_SCHED_LOG", "out/c1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(words, capsys):
    """Run a command of the replay tool; returns what it printed on stdout, and on both."""
    code, printed = replay(words), capsys.readouterr()
    expected = next((NEGATIVE[word] for word in words if word in NEGATIVE), {errors.EXIT_OK})
    assert code in expected, f"{shlex.join(words)}: {printed.err}"
    return printed.out, printed.out + printed.err


def test_the_walk(directory, capsys):
    walk = examples(WALK)
    assert len(walk) > 20
    values, missing = {}, []
    for command, shown in walk:
        name, words = re.fullmatch(r"(?:(\w+)=\$\()?nova-sched-replay (.*?)\)?", command).groups()
        words = [re.sub(r"\$(\w+)", lambda found: values[found[1]], word) for word in shlex.split(words)]
        out, printed = run(words, capsys)
        assert out or words[0] == "export" or "import" in words, command
        missing += [f"{command}\n  shows {line!r}, prints\n{printed}" for line in not_printed(shown, printed)]
        if name:
            values[name] = out.strip()
    assert not missing, "\n".join(missing)
    assert {"NOHOST", "HOST", "RETRIED"} == set(values)
    assert {"incident.nslog", "again.cell0.db", "again.cell1.db", "what-if.png"} <= set(os.listdir("out/c1"))


def test_the_decision_of_the_readme(directory, capsys):
    instance, host = (run(shlex.split(command), capsys)[0].strip() for command in (FIND, FIND_HOST))
    shown_of = {}
    for command, shown in examples("README.md"):
        tool, *words = shlex.split(command)
        assert tool == "nova-sched-replay"
        words = [{"UUID": instance, "HOST": host}.get(shape(word), word) for word in words]
        assert not not_printed(shown, run(words, capsys)[1]), command
        shown_of[words[0]] = shown
    assert all(shown_of[name] for name in ("explain", "why-not"))


@pytest.mark.parametrize(
    "shown, printed, wanted",
    [
        (["cell   position"], "cell  position  lag\n", ["cell   position"]),
        (["12 events in 3 records"], "7 events in 1 record\n", []),
        (["12 events in 3 records"], "7 things in 1 record\n", ["12 events in 3 records"]),
        (["  zone     nova 1"], "  zone  other\n", []),
        (["  zone     nova 1"], "  area  nova 2\n", ["  zone     nova 1"]),
        (["cell1  log  positions 0 to 62…"], "cell2 log positions 0 to 9, whole\n", []),
        (["...", "  …"], "", []),
    ],
)
def test_what_counts_as_printed(shown, printed, wanted):
    assert not_printed(shown, printed) == wanted
