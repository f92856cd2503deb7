"""The previous release, checked out of the repository's own history into an environment of its own."""

import subprocess
import sys
import tarfile
import venv
from io import BytesIO
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, Release

#: The previous release of most tests: level 1.
COMMIT = "35fdbc05aca585b12935196d4aadbc16fb9e3c82"
#: The first commit that had all forms of level 3, with the Placement API and the commands for operators.
WITH_API = "42381329d806b0ec25354a9d94ad2e2d98351009"
#: Commit -> service -> its module.
MODULES = {
    COMMIT: {"scheduler": "nova_sched.service.main", "conductor": "conductor.main", "agent": "compute_agent.main"},
    WITH_API: {
        "scheduler": "nova_sched.scheduler.main",
        "conductor": "conductor.main",
        "agent": "compute_agent.main",
        "placement": "placement_api.main",
    },
}

RUN_SECONDS_MAX = 600.0


def check_out(directory: Path, commit: str = COMMIT) -> Release:
    """Lay the previous release into a directory, with an environment that has it and the libraries of this one.

    Fails the test when the clone does not have the commit.
    """
    source, environment = directory / "source", directory / "environment"
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.fail(
            f"this clone does not have the previous release, commit {commit[:7]} "
            f"({archive.stderr.decode().strip()}); fetch the whole history: git fetch --unshallow",
            pytrace=False,
        )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tree:
        tree.extractall(source, filter="data")
    venv.create(environment, with_pip=False, symlinks=True)
    own = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # The libraries come after the source. This release, installed there in development mode, is not seen: Python
    # reads the links in an environment's own site-packages only.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (own / "previous.pth").write_text("\n".join([str(source), *libraries, ""]))
    return Release(str(environment / "bin" / "python"), source, MODULES[commit])


def run_script(release: Release, script: Path, *args) -> str:
    """Run a script in the environment of a release; returns what it printed."""
    done = subprocess.run(
        [release.python, "-W", "ignore", str(script), *map(str, args)],
        cwd=release.root,
        env=release.environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
