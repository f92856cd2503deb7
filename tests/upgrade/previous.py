"""The previous release, checked out of the repository's own history into an environment of its own."""

import subprocess
import sys
import tarfile
import venv
from io import BytesIO
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, Release

COMMIT = "35fdbc05aca585b12935196d4aadbc16fb9e3c82"
MODULES = {"scheduler": "nova_sched.service.main", "conductor": "conductor.main", "agent": "compute_agent.main"}

RUN_SECONDS_MAX = 600.0


def check_out(directory: Path) -> Release:
    """Lay the previous release into a directory, with an environment that has it and the libraries of this one.

    Fails the test when the clone does not have the commit.
    """
    source, environment = directory / "source", directory / "environment"
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.fail(
            f"this clone does not have the previous release, commit {COMMIT[:7]} "
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
    return Release(str(environment / "bin" / "python"), source, MODULES)


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
