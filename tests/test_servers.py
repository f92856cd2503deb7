"""The private servers themselves: they answer, they come back, they leave nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import redis

from tests.servers import RedisServer, ServerFailed, ServerMissing, find_program, wait_until

START_AND_WAIT = """
import sys
from tests.servers import RedisServer
server = RedisServer()
server.start()
print(server.port, server.dir, flush=True)
sys.stdin.read()
"""


@pytest.mark.redis_server
def test_redis_answers_and_comes_back_empty(redis_server):
    client = redis.Redis.from_url(redis_server.url())
    client.set("key", "value")
    redis_server.kill()
    redis_server.start()
    assert client.get("key") is None


@pytest.mark.redis_server
def test_a_closed_server_leaves_nothing_behind(redis_server):
    with RedisServer() as server:
        assert server.dir.exists() and server.port != redis_server.port
    assert not server.dir.exists()
    assert server._process.returncode is not None
    server.close()


@pytest.mark.redis_server
def test_a_server_ends_with_a_killed_owner(redis_server):
    owner = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        port, directory = owner.stdout.readline().split()
        owner.send_signal(signal.SIGKILL)
        owner.wait(20)
        wait_until(lambda: not accepts(int(port)), 20, "the server lives on")
    assert not accepts(int(port))
    shutil.rmtree(directory)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.rabbit
def test_rabbitmqctl_reaches_the_private_node_and_reports_failure(rabbit_server):
    assert rabbit_server.user in rabbit_server.rabbitmqctl("list_users")
    with pytest.raises(ServerFailed, match="rabbitmqctl delete_user"):
        rabbit_server.rabbitmqctl("delete_user", "nobody")


def test_a_missing_program_names_its_package():
    with pytest.raises(ServerMissing, match="install the package no-such-package"):
        find_program("no-such-program", ("/nowhere/*",), "no-such-package")
