"""Brokers of their own for the faults."""

import pytest

from tests.conftest import running
from tests.servers import RabbitCluster, RabbitServer


@pytest.fixture
def rabbit_of_logs():
    """Another one."""
    yield from running(RabbitServer)


@pytest.fixture
def cluster():
    """Three nodes that may be killed."""
    yield from running(RabbitCluster)
