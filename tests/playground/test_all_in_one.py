"""``nova-sched all-in-one``, as the command runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from nova_sched.replay.logs.reading import records_of
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.servers import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
import sys
from cliff.app import App
from cliff.commandmanager import CommandManager
from nova_sched.playground.all_in_one import AllInOne
from rpc_api import errors

class Test(App):
    def run_subcommand(self, argv):
        factory, name, arguments = self.command_manager.find_command(argv)
        command = factory(self, self.options, cmd_name=name)
        try:
            return command.run(command.get_parser(name).parse_args(arguments))
        except errors.NovaSchedError as fault:
            sys.stderr.write(f"{fault}\\n")
            return fault.exit_code

manager = CommandManager("tests.none")
manager.add_command("all-in-one", AllInOne)
app = Test("test", "0", manager, deferred_help=True)
sys.exit(app.run(["--quiet", "all-in-one", *sys.argv[1:]]))
"""
SECONDS_MAX = 60


def start(*args):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run(*args):
    process = start(*args)
    try:
        out, err = process.communicate(timeout=SECONDS_MAX)
    finally:
        process.kill()
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.mark.parametrize(
    "args, where",
    [((), "cell1-host"), (("--cells", "2", "--hosts", "2"), "-host"), (("--driver", "local"), "local in cell1")],
)
def test_check_builds_and_deletes(tmp_path, args, where):
    code, out, err = run("--state-dir", tmp_path, "--check", *args)
    assert code == 0, err
    assert out.startswith("built on ") and where in out and out.endswith(", and deleted again\n")
    assert "(64 MEMORY_MB, 1 VCPU)" in out


def test_a_check_that_does_not_build(tmp_path):
    # The local driver cannot write its state: its file is a directory.
    assert run("--state-dir", tmp_path, "--driver", "local", "--check")[0] == 0
    (tmp_path / "local/instances.json").unlink()
    (tmp_path / "local/instances.new").mkdir()
    code, out, _ = run("--state-dir", tmp_path, "--driver", "local", "--check")
    assert code == 1 and out.startswith("max_retries_exceeded: ") and "its state cannot be written" in out


def test_it_goes_on_with_what_the_directory_holds(tmp_path):
    assert run("--state-dir", tmp_path, "--hosts", "9", "--check")[0] == 0
    assert run("--state-dir", tmp_path, "--cells", "2", "--hosts", "1", "--check")[0] == 0
    assert run("--state-dir", tmp_path, "--driver", "local", "--check")[1].startswith("built on local in cell1")
    logs = sorted(tmp_path.glob("*.db"))
    assert [one.name for one in logs] == ["cell0.db", "cell1.db", "cell2.db"]
    for log in logs:
        said = [event.data for _, record in records_of(f"sqlite:///{log}") for event in record.events]
        assert [data for data in said if isinstance(data, events.LevelPinned)] == [events.LevelPinned(LEVEL)]


def test_it_ends_by_itself(tmp_path):
    begun = time.monotonic()
    code, out, err = run("--state-dir", tmp_path, "--for", "0.2")
    assert (code, out) == (0, "") and "ready: " in err
    assert time.monotonic() - begun > 0.2


def test_it_serves_placements_api(tmp_path):
    process = start("--state-dir", tmp_path)
    try:
        ready = wait_until(process.stderr.readline, SECONDS_MAX, "not ready")
        url = re.search(r"Placement's API at (http://127\.0\.0\.1:\d+) for the token admin", ready).group(1)
        asked = urllib.request.Request(f"{url}/resource_providers", headers={"X-Auth-Token": "admin"})
        with urllib.request.urlopen(asked, timeout=SECONDS_MAX) as answer:
            names = {one["name"] for one in json.load(answer)["resource_providers"]}
        assert names == {f"cell1-host{number}" for number in range(1, 11)}
    finally:
        process.terminate()
        assert process.wait(SECONDS_MAX) == 0
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_a_signal_and_holds_its_directory_until_then(tmp_path, number):
    process = start("--state-dir", tmp_path / "s")
    try:
        assert wait_until(process.stderr.readline, SECONDS_MAX, "not ready").startswith(("ready", "Loading"))
        wait_until(lambda: run("--state-dir", tmp_path / "s", "--for", "0")[0] == 2, SECONDS_MAX, "it was not in use")
        process.send_signal(number)
        assert process.wait(SECONDS_MAX) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "args, said",
    [
        (("--driver", "local", "--hosts", "2"), "--driver local is this one machine"),
        (("--driver", "local", "--cells", "2"), "--driver local is this one machine"),
        (("--cells", "0"), "'0' is not a whole number, 1 or more"),
        (("--placement-port", "65536"), "'65536' is not a port, 0 to 65535"),
        (("--for", "-1"), "'-1' is not a number of seconds"),
        (("--for", "1", "--check"), "not allowed with"),
        (("--state-dir", "/proc/nowhere"), "/proc/nowhere cannot be used"),
    ],
)
def test_wrong_arguments(tmp_path, args, said):
    code, out, err = run("--state-dir", tmp_path, *args)
    assert (code, out) == (2, "") and said in err
