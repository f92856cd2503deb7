"""A sandbox in place of a devstack host, and the shell programs that these tests need."""

import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLUGIN = HERE.parent.parent / "devstack"

CELL_UUIDS = {
    "cell0": "00000000-0000-0000-0000-000000000000",
    "cell1": "11111111-aaaa-4aaa-8aaa-000000000001",
    "cell2": "22222222-bbbb-4bbb-8bbb-000000000002",
    "cell10": "10101010-cccc-4ccc-8ccc-000000000010",
}
STACK = [("stack", phase) for phase in ("pre-install", "install", "post-config", "extra", "test-config")]


def program(name: str) -> str:
    """Return the path of ``name``. A missing program skips the test, by its name, and fails it in CI."""
    # Beside the interpreter first: that is where the project's own environment has bashate and shellcheck.
    path = shutil.which(name, path=os.path.dirname(sys.executable)) or shutil.which(name)
    if path is None:
        text = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    return path


class Cloud:
    """A host before stack.sh: lib/nova has made its cells, the broker runs with their vhosts.

    ``localrc`` is the text of local.conf, in shell.
    """

    def __init__(self, directory: Path, localrc: str = "", vhosts: tuple[str, ...] = ("/", "nova_cell1")):
        self._bash = program("bash")
        self.dir = directory
        for name in ("bin", "etc/nova", "systemd", "running", "sites", "venv/bin", "usr-local-bin"):
            (directory / name).mkdir(parents=True)
        for script in (HERE / "bin").iterdir():
            shutil.copy(script, directory / "bin")
        (directory / "venv/bin/nova-sched").symlink_to(directory / "bin/nova-sched")
        (directory / "bin/uwsgi").touch(mode=0o755)
        self.set_localrc(localrc)
        self.set_cells(CELL_UUIDS.items())
        self.set_broker({"running": True, "vhosts": {vhost: nova_objects() for vhost in vhosts}})
        for name in ("calls", "logs", "local.conf", "sites/placement-api.conf"):
            (directory / name).touch()

    def set_localrc(self, text: str) -> None:
        (self.dir / "localrc").write_text(text)

    def set_cells(self, rows) -> None:
        """Let nova-manage list these (name, uuid) rows."""
        (self.dir / "cells").write_text("".join(f"{name} {uuid}\n" for name, uuid in rows))

    def set_broker(self, state: dict) -> None:
        (self.dir / "broker.json").write_text(json.dumps(state))

    def break_helper(self, name: str) -> None:
        """Let the devstack function, ``nova-manage`` or ``sudo COMMAND`` of this name fail from now on."""
        (self.dir / "fail").write_text(f"{name}\n")

    def mend_helpers(self) -> None:
        (self.dir / "fail").unlink()

    def attempt(self, *phase: str) -> subprocess.CompletedProcess:
        """Run one phase in a bash of its own; the calls of earlier phases are forgotten."""
        (self.dir / "calls").write_text("")
        return subprocess.run(
            [self._bash, str(HERE / "harness.sh"), str(self.dir), str(PLUGIN), *phase],
            check=False,
            capture_output=True,
            text=True,
            timeout=240,  # rabbitmqctl takes long on a busy machine
            stdin=subprocess.DEVNULL,
        )

    def run(self, *phase: str) -> list[str]:
        """Run one phase, which must succeed and print nothing, and return the calls that it made."""
        done = self.attempt(*phase)
        assert done.returncode == 0, f"{' '.join(phase)} ended with {done.returncode}: {done.stderr}"
        assert done.stderr == ""
        return self.calls()

    def stack(self) -> None:
        for phase in STACK:
            self.run(*phase)

    def calls(self) -> list[str]:
        return (self.dir / "calls").read_text().splitlines()

    def services(self) -> list[str]:
        """The services of ours that are enabled, in their order."""
        return [name for name in (self.dir / "services").read_text().strip().split(",") if name.startswith("nsch-")]

    def running(self) -> set[str]:
        return {path.name for path in (self.dir / "running").iterdir()}

    def units(self) -> dict[str, dict[str, str]]:
        """The lines of each unit, with the sandbox's directory taken out."""
        return {
            path.name.removeprefix("devstack@").removesuffix(".service"): dict(
                line.split(" = ", 1) for line in path.read_text().replace(str(self.dir), "").splitlines()
            )
            for path in (self.dir / "systemd").iterdir()
        }

    def exec_starts(self) -> dict[str, str]:
        """The ExecStart of each unit, with the sandbox's directory taken out."""
        return {name: lines["ExecStart"] for name, lines in self.units().items()}

    @property
    def conf_path(self) -> Path:
        return self.dir / "etc/nova_sched/nova_sched.conf"

    def conf(self, name: str = "nova_sched/nova_sched.conf") -> dict[str, dict[str, str]]:
        """A configuration file below /etc."""
        parser = configparser.ConfigParser(default_section="", interpolation=None, strict=True)
        parser.read_string((self.dir / "etc" / name).read_text())
        return {name: dict(parser[name]) for name in parser.sections()}

    def broker(self) -> dict:
        return json.loads((self.dir / "broker.json").read_text())

    def add_objects(self, vhost: str, queues: list[str], exchanges: list[str]) -> None:
        """Add to a vhost what running services have declared."""
        state = self.broker()
        state["vhosts"][vhost]["queues"] += queues
        state["vhosts"][vhost]["exchanges"] += exchanges
        self.set_broker(state)


def nova_objects() -> dict:
    """What nova itself has in a vhost, some of it with names close to ours."""
    return {
        "queues": ["conductor", "scheduler", "scheduler.host1", "nova_scheduler", "my.nova_sched.cell1"],
        "exchanges": ["", "amq.topic", "nova", "scheduler_fanout", "nova_schedule"],
        "policies": {"ha": ["^nova", "all", "{}", "0"]},
    }
