"""The upgrade and its way back as docs/operating/upgrades.md has them, on a cloud under load: no request fails.

The commands of the page are carried out as printed. ``systemctl restart UNIT`` starts the processes of that unit again,
on one machine after the other, as the release to which the links lead; the commands of nova_sched are run.
"""

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import records_of
from rpc_api.levels import LEVEL
from tests.end_to_end.processes import ROOT
from tests.faults.load import SELECTED, Load, audit
from tests.upgrade.loaded import NEW, UNITS, ApiLoad, LoadedCloud
from tests.upgrade.previous import COMMIT, WITH_API, check_out

pytestmark = [pytest.mark.rabbit, pytest.mark.long, pytest.mark.timeout(1200)]

PAGE = ROOT / "docs" / "operating" / "upgrades.md"
#: Directory of a release in the page -> whether it is the new one.
DIRECTORIES = {"/opt/nova_sched": False, "/opt/nova_sched-new": True}
#: Command -> the function that runs it.
PROGRAMS = {
    "nova-sched": "from nova_sched.cli.main import main",
    "nova-sched-replay": "from nova_sched.cli.main import replay as main",
    "nova-sched-status": "from nova_sched.cli.status import main",
}
COMMAND_SECONDS_MAX = 300.0
#: Requests that are answered before each restart.
BETWEEN = 3


def commands(title):
    """The commands of a section of the page, in their order."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```", section)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


UPGRADE, PIN, BACK = (commands(title) for title in ("The upgrade", "The pin", "The way back"))


class Operator:
    """Types the commands of the page on a LoadedCloud."""

    def __init__(self, cloud, old, between):
        self.cloud, self.old, self.between = cloud, old, between
        self.is_new = False
        #: (Command, exit code, what it printed) of all commands of nova_sched.
        self.ran = []
        # Where the services and commands look for their configuration, as ~/.nova_sched/nova_sched.conf.
        home = cloud._directory / "home"
        (home / ".nova_sched").mkdir(parents=True, exist_ok=True)
        (home / ".nova_sched" / "nova_sched.conf").write_text((cloud._directory / "scheduler-1.conf").read_text())
        self._home = home

    def type(self, line):
        """Carry out a line; the test fails if a command ends with another code than 0."""
        words = shlex.split(line)
        program = Path(words[0]).name
        if words[0] == "ln":
            self.is_new = DIRECTORIES[str(Path(words[2]).parent.parent)]
        elif words[:2] == ["systemctl", "restart"]:
            self._restart(words[2])
        elif program in PROGRAMS:
            directory = str(Path(words[0]).parent.parent)
            assert DIRECTORIES.get(directory, self.is_new), f"{line}: the release before does not have it"
            self._run(program, words[1:], line)
        else:
            # The fixture has laid out both releases.
            assert program in ("python3", "pip"), line

    def remove_backups(self):
        """Remove the backups of the first upgrade: the command overwrites none."""
        shutil.rmtree(self._home / "nova_sched-before")

    def _restart(self, unit):
        for name in UNITS[unit]:
            if name in self.cloud.names:
                self.cloud.replace(name, NEW if self.is_new else self.old, self.between)

    def _run(self, program, words, line):
        script = f"import sys; {PROGRAMS[program]}; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, *words],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            cwd=self._home,
            env={**NEW.environment(), "HOME": str(self._home), "PYTHONPATH": ":".join([str(ROOT), *sys.path])},
        )
        self.ran.append((line, done.returncode, done.stdout + done.stderr))
        assert done.returncode == 0, self.ran[-1]


def test_the_page_has_every_unit_and_back_is_the_reverse():
    there = [line for line in UPGRADE if line.startswith("systemctl")]
    back = [line for line in BACK if line.startswith("systemctl")]
    assert [line.split()[2] for line in there] == list(UNITS)
    assert back == there[::-1]


def level_and_digest(url, cell):
    projection = Projection(cell)
    projection.fold(records_of(url))
    return projection.level, state_digest(projection)


@pytest.mark.parametrize("commit", [COMMIT, WITH_API], ids=["35fdbc0", "42381329"])
def test_the_documented_upgrade_its_way_back_and_the_pin(tmp_path, rabbit_server, vhost, commit):
    old = check_out(tmp_path / "previous", commit)
    with_api = commit == WITH_API
    level = 3 if with_api else 1
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(LoadedCloud(tmp_path, rabbit_server, vhost, old, level, with_api))
        load = stack.enter_context(Load(cloud, rate=5.0))
        api = stack.enter_context(ApiLoad(cloud.api_port)) if with_api else None

        def between():
            load.wait_selected(BETWEEN)
            if api is not None:
                api.wait_written(BETWEEN)

        operator = Operator(cloud, old, between)
        for line in (*UPGRADE, *BACK):
            operator.type(line)
        operator.remove_backups()
        # Agents go back after the pin, too.
        for line in (*UPGRADE, *PIN, *BACK[:2]):
            operator.type(line)
        between()
        load.stop()
        if api is not None:
            api.stop()
            assert api.failed == []
            assert len(api.written) > 30 and api.lost() == []
        assert [request for request in load.requests if request.outcome != SELECTED] == []
        findings = audit(cloud, load)
        assert findings.wrong() == []
        assert {cell: level_and_digest(url, cell)[0] for cell, url in cloud.logs.items()} == dict.fromkeys(
            cloud.logs, LEVEL
        )
        asked = f"{len(load.requests)} requests for hosts" + (f", {2 * len(api.written)} of the API" if api else "")
        print(f"{commit[:8]}: {asked}, 0 failed; longest time without an answer {findings.longest_gap_seconds:.1f} s")
