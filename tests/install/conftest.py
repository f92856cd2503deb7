"""The packages, built once."""

import os
import venv
from pathlib import Path

import pytest

from tests.install import tree


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The directory with the wheel, the sdist and, where debhelper is installed, the Debian package.

    NOVA_SCHED_PACKAGES may name one that make package wrote."""
    if os.environ.get("NOVA_SCHED_PACKAGES"):
        return Path(os.environ["NOVA_SCHED_PACKAGES"])
    folder = tmp_path_factory.mktemp("packages")
    return built(folder, "all")


def refused(fault):
    """Skip the test, or fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(str(fault), pytrace=False)
    pytest.skip(str(fault))


def built(folder, what):
    """Build packages into a folder, with build and twine in an environment of their own."""
    tools = folder / "tools"
    venv.create(tools, with_pip=True)
    tree.run(tools / "bin/python", "-m", "pip", "install", "--quiet", "build", "twine")
    environment = {**os.environ, "PYTHON": str(tools / "bin/python"), "DIST": str(folder / "dist")}
    tree.run(tree.ROOT / "packaging" / "build.sh", what, env=environment)
    return folder / "dist"
