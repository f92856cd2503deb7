"""All services at one instant, on a broker that has nothing yet: each of them serves in the end, and none ends."""

import uuid

import pytest

from tests.end_to_end.processes import COMMANDS, ServiceProcess, rabbit_config
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit

#: Seconds in which all of them serve: a busy machine starts them slowly.
READY_SECONDS_MAX = 120.0


def start_all(directory, server) -> None:
    """Start all services at one instant on a new vhost; fails when one of them ends or does not serve."""
    vhost = f"start-{uuid.uuid4().hex}"
    server.add_vhost(vhost)
    directory.mkdir()
    config = rabbit_config(directory, server, vhost)
    running = [
        ServiceProcess(directory, service, "--config-file", str(config), *args) for service, *args in COMMANDS.values()
    ]

    def all_ready():
        for process in running:
            assert process.process.poll() is None, f"{process.service} ended: {process.stderr}"
            assert "Traceback" not in process.stderr, process.stderr
        return all(" is ready: " in process.stderr for process in running)

    try:
        wait_until(all_ready, READY_SECONDS_MAX, "not all of them serve")
        for process in running:
            assert process.stop() == 0, process.stderr
    finally:
        for process in running:
            process.__exit__()
        server.rabbitmqctl("delete_vhost", vhost)


def test_all_at_one_instant(tmp_path, rabbit_server):
    for turn in range(3):
        start_all(tmp_path / str(turn), rabbit_server)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_at_one_instant_many_times(tmp_path, rabbit_server):
    for turn in range(50):
        start_all(tmp_path / str(turn), rabbit_server)
