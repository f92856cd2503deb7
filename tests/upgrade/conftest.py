"""The previous release, laid once for each test process."""

import pytest

from tests.upgrade.previous import check_out


@pytest.fixture(scope="session")
def previous(tmp_path_factory):
    """The previous release (:class:`tests.end_to_end.processes.Release`)."""
    return check_out(tmp_path_factory.mktemp("previous"))
