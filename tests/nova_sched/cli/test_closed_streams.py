"""Programs whose standard output or standard error is closed, as a shell does with ``>&-``."""

import subprocess
import sys
from importlib import metadata

import pytest

from tests.builders import report
from tests.nova_sched.cli.operated import Cloud

PROGRAMS = {
    point.name: point.value.split(":")
    for point in metadata.entry_points(group="console_scripts")
    if point.name.startswith("nova-sched")
}


def run(program, words, closed):
    """(Exit code, stdout, stderr) of a program of which the shell closes a stream, such as ``>&-``."""
    module, function = PROGRAMS[program]
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-W", "ignore", "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_without_stdout(program):
    code, _, err = run(program, ["--help"], ">&-")
    assert code == 0 and "Traceback" not in err and "fault" not in err


@pytest.fixture
def log(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a"))
    return f"cell1={cloud.urls['cell1']}"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_without_a_stream(log, closed):
    code, out, err = run("nova-sched", ["host", "list", "--no-cache", "-o", "csv", "--log", log], closed)
    assert code == 0 and "Traceback" not in err
    assert out.startswith("host,cell,") or ">&-" in closed.split()
    assert "1 host" in err or "2>&-" in closed
