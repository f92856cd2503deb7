"""How the tests build the packages, and what they do where something is missing."""

import os
import venv

import pytest

from tests.install import tree


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
