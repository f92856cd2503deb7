"""Brokers of their own for the faults."""

import pytest

from tests.servers import RabbitCluster, RabbitServer


@pytest.fixture
def rabbit():
    """A node that may be killed."""
    with RabbitServer() as server:
        yield server


@pytest.fixture
def rabbit_of_logs():
    """Another one."""
    with RabbitServer() as server:
        yield server


@pytest.fixture
def cluster():
    """Three nodes that may be killed."""
    with RabbitCluster() as nodes:
        yield nodes
