"""The packages, built once."""

import os
from pathlib import Path

import pytest

from tests.install.packages import built


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The directory with the wheel, the sdist and the Debian package.

    NOVA_SCHED_PACKAGES may name one that make package wrote."""
    if os.environ.get("NOVA_SCHED_PACKAGES"):
        return Path(os.environ["NOVA_SCHED_PACKAGES"])
    return built(tmp_path_factory.mktemp("packages"), "all")
