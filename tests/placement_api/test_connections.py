"""Connections of the web server: whatever comes over them, in whatever pieces, each request has its answer."""

import contextlib
import logging
import socket
import threading

import pytest

from tests.placement_api.server import SECONDS, Server
from tests.servers import wait_until

#: More than the buffers of the system for a connection take.
LARGE = 4 << 20
IDLE = 200


def echo(environ, start_response):
    """Answers with the path and the body that came, or with many bytes."""
    path = environ["PATH_INFO"]
    body = b"x" * LARGE if path == "/large" else path.encode() + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def server():
    made = Server(echo, connections=IDLE + 20)
    yield made
    made.close()


class Connection:
    """A connection of a client."""

    def __init__(self, server):
        self.socket = socket.create_connection(server.addresses[0], SECONDS)
        self._file = self.socket.makefile("rb")

    def send(self, path, body=b""):
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def read(self):
        """The body of the next answer."""
        status, size = self._file.readline(), 0
        assert status == b"HTTP/1.1 200 OK\r\n", status
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        return self._file.read(size)

    def close(self):
        self._file.close()
        self.socket.close()


@pytest.fixture
def connect(server):
    with contextlib.ExitStack() as ending:
        yield lambda: ending.enter_context(contextlib.closing(Connection(server)))


def test_a_connection_is_used_again(connect):
    connection = connect()
    for number in range(500):
        connection.send(f"/{number}", b"body")
        assert connection.read() == f"/{number}body".encode()


def test_requests_that_come_at_once_are_answered_in_order(connect):
    connection = connect()
    paths = [f"/{number}" for number in range(50)]
    connection.socket.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
    assert [connection.read().decode() for _ in paths] == paths


def test_a_request_in_pieces(connect):
    connection, other = connect(), connect()
    for piece in (b"POST /in HTTP/1.1\r\nHo", b"st: x\r\nContent-Length: 6\r\n\r", b"\nabc", b"def"):
        connection.socket.sendall(piece)
        # The server has read the piece before it answers this one.
        other.send("/other")
        assert other.read() == b"/other"
    assert connection.read() == b"/inabcdef"


def test_a_large_answer_and_one_after_it(connect):
    connection = connect()
    for _ in range(3):
        connection.send("/large")
        connection.send("/small")
        assert connection.read() == b"x" * LARGE
        assert connection.read() == b"/small"


def test_others_come_and_go_beside_idle_ones(connect):
    idle = [connect() for _ in range(IDLE)]
    for number in range(20):
        with contextlib.closing(connect()) as passing:
            passing.send(f"/{number}")
            assert passing.read() == f"/{number}".encode()
    for connection in idle:
        connection.send("/now")
        assert connection.read() == b"/now"


def test_a_client_that_leaves_before_its_answer(connect):
    for _ in range(50):
        connection = connect()
        connection.send("/large")
        connection.close()
    other = connect()
    other.send("/other")
    assert other.read() == b"/other"


def test_waiting_costs_nothing(server, connect, monkeypatch):
    """Idle connections are looked at from time to time, and not for each request."""
    from placement_api.connections import Channel

    looks, readable = [], Channel.readable
    idle = [connect() for _ in range(IDLE)]
    connection = connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    monkeypatch.setattr("placement_api.event_loop.Watched.look_at_all", lambda self: None)
    monkeypatch.setattr(Channel, "readable", lambda self: (looks.append(self), readable(self))[1])
    for _ in range(50):
        connection.send("/one")
        assert connection.read() == b"/one"
    assert len(set(map(id, looks))) == 1 and len(idle) == IDLE


def test_idle_connections_are_closed(connect, monkeypatch, caplog):
    from placement_api.connections import Channel

    with caplog.at_level(logging.ERROR):
        connection = connect()
        connection.send("/one")
        assert connection.read() == b"/one"
        monkeypatch.setattr(Channel, "last_activity", property(lambda self: 0, lambda self, value: None))
        assert connection.socket.recv(1) == b""
    assert not caplog.records


def test_a_request_that_has_arrived_is_answered_however_idle_its_connection_was(server, connect, monkeypatch):
    from placement_api.connections import Channel
    from placement_api.event_loop import Watched

    wait, waits, goes_on = Watched.wait, threading.Event(), threading.Event()

    def held(self, seconds):
        waits.set()
        goes_on.wait(SECONDS)
        wait(self, seconds)

    connection = connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    monkeypatch.setattr(Watched, "wait", held)
    connection.send("/two")
    assert connection.read() == b"/two" and waits.wait(SECONDS)
    (channel,) = server._server._servers[0].active_channels.values()
    wait_until(lambda: not channel.requests, SECONDS, "the request is not over")
    connection.send("/three")
    with monkeypatch.context() as idle:
        idle.setattr(Channel, "last_activity", property(lambda self: 0, lambda self, value: None))
        server._server._sockets.look_at_all()
    goes_on.set()
    assert connection.read() == b"/three"
