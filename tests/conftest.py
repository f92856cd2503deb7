"""Fixtures that the whole test tree shares: the private servers, one of each a session."""

from rpc_api import concurrency

concurrency.setup()  # before anything that the tests import brings oslo's libraries


import logging
import os
import sys
import uuid

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import RabbitServer, RedisServer, ServerMissing

# How long an example takes says something of the machine, and is no test. All else stays as it is, also what CI has.
settings.register_profile(
    "untimed",
    settings.default,
    deadline=None,
    suppress_health_check={*settings.default.suppress_health_check, HealthCheck.too_slow},
)
settings.load_profile("untimed")

#: Characters of captured output that the report of a test keeps.
OUTPUT_MAX = 200_000
#: What takes longest for its number of tests goes first, so that test processes side by side end together.
FIRST = ("tests/simulation/", "tests/playground/", "tests/end_to_end/", "tests/faults/", "tests/against_nova/")


def pytest_collection_modifyitems(items):
    """Put the slow directories first; within them and behind them the order stays."""
    items.sort(
        key=lambda item: next((place for place, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST))
    )


@pytest.fixture(autouse=True)
def log_as_before():
    """Take back what a command that ran in the test did to the root logger: its handlers (each of them would write a
    traceback for every later line, as its stream ends with the test), and its level."""
    before, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.setLevel(level)
    for handler in list(logging.root.handlers):
        if handler not in before and not type(handler).__module__.startswith("_pytest"):
            logging.root.removeHandler(handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Shorten captured output: a loop that logs without end must not end the whole run, as its report is too long."""
    report = yield
    report.sections = [(name, shortened(text)) for name, text in report.sections]
    return report


def shortened(text: str) -> str:
    """A text, or its beginning and its end if it has more than ``OUTPUT_MAX`` characters."""
    if len(text) <= OUTPUT_MAX:
        return text
    half = OUTPUT_MAX // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out …\n{text[-half:]}"


def pytest_runtest_logreport(report):
    """Name a test as soon as it fails: a run that is ended early shows no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\nfailed: {report.nodeid} ({report.when})\n")


def running(server_class):
    """Start a server for a fixture; a missing program skips the test here and fails it in CI."""
    try:
        server = server_class()
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def rabbit_server():
    """A private RabbitMQ node (:class:`tests.servers.RabbitServer`)."""
    yield from running(RabbitServer)


@pytest.fixture
def rabbit():
    """A node that may be killed."""
    yield from running(RabbitServer)


@pytest.fixture
def vhost(rabbit_server):
    """The name of a virtual host of its own on that node."""
    name = f"test-{uuid.uuid4().hex}"
    rabbit_server.add_vhost(name)
    return name


@pytest.fixture(scope="session")
def redis_server():
    """A private Redis server (:class:`tests.servers.RedisServer`)."""
    yield from running(RedisServer)
