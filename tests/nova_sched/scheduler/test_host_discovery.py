"""The command that maps new hosts of Nova runs if there are new ones, and again after it failed."""

import logging
import sys

import pytest

from nova_sched.scheduler.host_discovery import HostDiscovery, NoDiscovery, command_of, discovery_of, hosts_of_nova
from rpc_api import errors
from rpc_api.events import LevelPinned
from tests.builders import Cell, created, facts_of, report

#: Appends a line to the file in its first argument, and ends with the exit code in the second one.
SCRIPT = """\
import sys
open(sys.argv[1], "a").write("ran\\n")
print("ERROR: Duplicate host mapping was encountered.", file=sys.stderr)
sys.exit(int(open(sys.argv[2]).read()))
"""


class Command:
    """A command that counts how often it ran."""

    def __init__(self, directory):
        self._ran, self._code = directory / "ran", directory / "code"
        self._ran.touch()
        self.ends_with(0)
        self.words = [sys.executable, "-c", SCRIPT, str(self._ran), str(self._code)]

    def ends_with(self, code):
        self._code.write_text(str(code))

    @property
    def count(self):
        return len(self._ran.read_text().splitlines())


@pytest.mark.parametrize(
    "looks, counts",
    [
        ([(0, "")], [0]),
        ([(0, "a"), (0, "a"), (0, "ab")], [1, 1, 2]),
        ([(0, "ab"), (0, "a"), (0, "ab")], [1, 1, 2]),
        ([(0, "ab"), (2, "ac"), (0, "ac")], [1, 2, 3]),
        ([(2, "a"), (0, "a"), (0, "a")], [1, 2, 2]),
    ],
    ids=["no hosts", "a host more", "a host that comes again", "one goes, one comes, and it fails", "it fails"],
)
def test_it_runs_for_new_hosts(tmp_path, looks, counts):
    command, present = Command(tmp_path), []
    discovery = HostDiscovery(command.words, 60, lambda: frozenset(present[-1]))
    for (code, hosts), count in zip(looks, counts, strict=True):
        command.ends_with(code)
        present.append(hosts)
        discovery.look()
        assert command.count == count


@pytest.mark.parametrize(
    "words, said",
    [
        ([sys.executable, "-c", "import sys; sys.exit('no such cell')"], "exit code 1, no such cell"),
        (["/no/such/command"], "No such file or directory"),
    ],
)
def test_a_command_that_fails_is_logged(words, said, caplog):
    HostDiscovery(words, 60, lambda: frozenset("abcd")).look()
    assert f"failed ({said}); it runs again in 60 s for a, b, c and 1 more" in caplog.text


def test_the_state_may_be_unknown(caplog):
    def hosts():
        raise errors.ServiceUnavailable("the scheduler stops")

    HostDiscovery(["/no/such/command"], 60, hosts).look()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.mark.parametrize("text", ["", "  ", "nova-manage 'cell_v2"])
def test_what_is_no_command(text):
    with pytest.raises(errors.UsageError, match="discover_hosts_command"):
        command_of(text)


class Options:
    """The options of [scheduler] that a discovery reads."""

    def __init__(self, interval, command):
        self.discover_hosts_in_cells_interval = interval
        self.discover_hosts_command = command


@pytest.mark.parametrize("interval", [-1, 0])
def test_a_command_that_is_not_used_is_not_checked(interval):
    assert isinstance(discovery_of(Options(interval, ""), frozenset), NoDiscovery)
    with pytest.raises(errors.UsageError, match="discover_hosts_command is empty"):
        discovery_of(Options(60, ""), frozenset)


def test_only_hosts_of_nova_are_mapped():
    cell = Cell(LevelPinned(3), report("of-an-agent"), created("of-nova"))
    cell.say(facts_of("of-nova", authority="nova"), by="conductor/tap")
    assert cell.projection.hosts.keys() == {"of-an-agent", "of-nova"}
    assert hosts_of_nova([cell.projection]) == {"of-nova"}
