"""Connections of the web server: whatever comes over them, in whatever pieces, each request has its answer."""

import contextlib
import errno
import logging
import select
import socket
import threading

import pytest

from tests.placement_api.server import SECONDS, Server
from tests.servers import wait_until

#: More than the buffers of the system for a connection take.
LARGE = 4 << 20
IDLE = 200
#: In the place of the attribute of all connections: by the monotonic clock.
IDLE_FOR_LONG = property(lambda self: -1e9, lambda self, value: None)


def echo(environ, start_response):
    """Answers with the path and the body that came, or with many bytes."""
    path = environ["PATH_INFO"]
    if path == "/none":
        start_response("204 No Content", [])
        return []
    body = b"x" * LARGE if path == "/large" else path.encode() + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr("nova_sched.process.web.server.LOOK_SECONDS", 0.1)


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
        #: Whether the server has said that it answers nothing more over this connection.
        self.is_last = False

    def send(self, path, body=b""):
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def read(self):
        """The body of the next answer."""
        status, headers = self.read_headers()
        assert status == b"HTTP/1.1 200 OK\r\n", status
        return self._file.read(int(headers.get(b"content-length", 0)))

    def read_headers(self):
        """The first line and the headers of the next answer."""
        status, headers = self._file.readline(), {}
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        self.is_last = headers.get(b"connection", b"").lower() == b"close"
        return status, headers

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


@pytest.mark.parametrize(
    "first, is_kept", [("HTTP/1.1\r\n", True), ("HTTP/1.1\r\nConnection: close\r\n", False), ("HTTP/1.0\r\n", False)]
)
def test_an_answer_without_a_body_keeps_the_connection(connect, first, is_kept):
    """It has no length, and needs none."""
    connection = connect()
    connection.socket.sendall(f"PUT /none {first}Host: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status, headers = connection.read_headers()
    assert status.endswith(b"204 No Content\r\n") and b"content-length" not in headers
    assert headers.get(b"connection") == (None if is_kept else b"close")
    if is_kept:
        assert connection.read() == b"/next"
    else:
        assert connection.socket.recv(1) == b""


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
    from nova_sched.process.web.server import Channel

    looks, readable = [], Channel.readable
    idle = [connect() for _ in range(IDLE)]
    connection = connect()
    monkeypatch.setattr("nova_sched.process.web.event_loop.Watched.begin_round", lambda self: None)
    # (A round that has begun is at its end when two requests are answered.)
    for _ in range(2):
        connection.send("/one")
        assert connection.read() == b"/one"
    monkeypatch.setattr(Channel, "readable", lambda self: (looks.append(self), readable(self))[1])
    for _ in range(50):
        connection.send("/one")
        assert connection.read() == b"/one"
    assert len(set(map(id, looks))) == 1 and len(idle) == IDLE


def test_idle_connections_are_closed(connect, monkeypatch, caplog):
    from nova_sched.process.web.server import Channel

    with caplog.at_level(logging.ERROR):
        connection = connect()
        connection.send("/one")
        assert connection.read() == b"/one"
        monkeypatch.setattr(Channel, "idle_since", IDLE_FOR_LONG, raising=False)
        assert connection.socket.recv(1) == b""
    assert not caplog.records


def test_empty_lines_do_not_keep_a_connection(connect, monkeypatch):
    from nova_sched.process.web.server import Channel

    connection = connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    monkeypatch.setattr(Channel, "idle_since", IDLE_FOR_LONG, raising=False)

    def is_closed():
        try:
            connection.socket.sendall(b"\r\n")
            return select.select([connection.socket], [], [], 0)[0]
        except OSError:
            return True

    wait_until(is_closed, SECONDS, "the connection is kept")


def test_requests_are_answered_between_the_parts_of_a_round(server, connect, monkeypatch):
    """A round through many connections at once would hold up the requests that come meanwhile."""
    from nova_sched.process.web import event_loop
    from nova_sched.process.web.event_loop import Watched

    idle, connection = [connect() for _ in range(IDLE // 4)], connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    happened, wait, look_on = [], Watched.wait, Watched.look_on

    def look(self):
        has_more = look_on(self)
        happened.append("part" if has_more else "end")
        return has_more

    monkeypatch.setattr(event_loop, "LOOK_MAX", 10)
    monkeypatch.setattr(Watched, "look_on", look)
    monkeypatch.setattr(Watched, "wait", lambda self, seconds: (happened.append("wait"), wait(self, seconds)))
    wait_until(lambda: happened.count("end") >= 3, SECONDS, "there are no rounds")
    first, second, *_ = [place for place, what in enumerate(happened) if what == "end"]
    round_ = happened[first + 1 : second + 1]
    assert round_.count("part") >= len(idle) // 10
    assert all(round_[place - 1] == "wait" for place, what in enumerate(round_) if what != "wait" and place)


def test_a_request_that_has_arrived_is_answered_however_idle_its_connection_was(server, connect, monkeypatch):
    from nova_sched.process.web.event_loop import Watched
    from nova_sched.process.web.server import Channel

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
        idle.setattr(Channel, "idle_since", IDLE_FOR_LONG, raising=False)
        server._server._sockets.look_at_all()
    goes_on.set()
    assert connection.read() == b"/three"


def test_an_urgent_byte_costs_nothing(server, connect, monkeypatch):
    """Nobody reads it. It must not be reported for ever."""
    from nova_sched.process.web.event_loop import Watched

    waits, wait = [], Watched.wait
    connection, other = connect(), connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    connection.socket.send(b"!", socket.MSG_OOB)
    monkeypatch.setattr(Watched, "wait", lambda self, seconds: (waits.append(self), wait(self, seconds)))
    for number in range(50):
        other.send(f"/{number}")
        assert other.read() == f"/{number}".encode()
    assert len(waits) < 200
    connection.send("/two", b"body")
    assert connection.read() == b"/twobody"


def test_a_client_that_sends_no_more_gets_its_answers(connect):
    connection = connect()
    connection.socket.sendall(b"".join(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for number in range(3)))
    connection.socket.shutdown(socket.SHUT_WR)
    assert [connection.read() for _ in range(3)] == [b"/0", b"/1", b"/2"]
    assert connection.socket.recv(1) == b""


def test_without_a_free_file_new_connections_wait(server, connect, monkeypatch, caplog):
    """The server does not try again at once, says so, and goes on when there are files again."""
    tried, has_files, accept = [], threading.Event(), socket.socket.accept

    def accepts(self):
        tried.append(self)
        if not has_files.is_set():
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr("nova_sched.process.connections.ACCEPT_PAUSE_SECONDS", 0.2)
    connection = connect()
    connection.send("/one")
    assert connection.read() == b"/one"
    monkeypatch.setattr(socket.socket, "accept", accepts)
    with caplog.at_level(logging.WARNING):
        late = connect()
        late.send("/late")
        for number in range(100):
            connection.send(f"/{number}")
            assert connection.read() == f"/{number}".encode()
        wait_until(lambda: tried, SECONDS, "nothing was accepted")
    assert "a connection cannot be accepted (Too many open files), so new ones wait" in caplog.text
    assert len(tried) < 50
    has_files.set()
    assert late.read() == b"/late"


def test_an_error_of_one_connection_does_not_close_the_server(server, connect, monkeypatch, caplog):
    from nova_sched.process.web.server import Channel

    def fails(*arguments, **options):
        raise MemoryError

    with monkeypatch.context() as once:
        once.setattr(Channel, "__init__", fails)
        lost = connect()
        wait_until(lambda: "a connection was not accepted" in caplog.text, SECONDS, "nothing was logged")
        lost.close()
    other = connect()
    other.send("/other")
    assert other.read() == b"/other"


def test_a_client_that_does_not_read_loses_its_connection(monkeypatch):
    """Its second answer would hold a thread for ever: here the only one."""
    huge = 40 << 20

    def answers(environ, start_response):
        body = b"x" * huge if environ["PATH_INFO"] == "/huge" else b"small"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    monkeypatch.setattr("nova_sched.process.web.server.STALLED_SECONDS", 0.5)
    served = Server(answers, threads=1)
    try:
        with contextlib.closing(Connection(served)) as stalled, contextlib.closing(Connection(served)) as other:
            stalled.socket.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            other.send("/other")
            assert other.read() == b"small"
            with contextlib.suppress(ConnectionError):
                received = 0
                while got := stalled.socket.recv(1 << 20):
                    received += len(got)
                assert received < huge
    finally:
        served.close()


def test_a_second_stop_after_the_end_wakes_nothing(tmp_path):
    """The descriptor of what wakes the loop may be another file then."""
    served = Server(echo)
    woken = [server.trigger.trigger for server in served._server._servers]
    served.close()
    with contextlib.ExitStack() as files:
        opened = [files.enter_context((tmp_path / str(number)).open("wb+")) for number in range(50)]
        assert {file.fileno() for file in opened} & set(woken)
        served._server.close()
        assert all((tmp_path / str(number)).read_bytes() == b"" for number in range(50))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_as_many_clients_as_configured_are_served_side_by_side(most):
    server = Server(echo, connections=most)
    with contextlib.ExitStack() as ending:
        ending.callback(server.close)
        clients = [ending.enter_context(contextlib.closing(Connection(server))) for _ in range(most)]
        for client in clients * 2:
            client.send("/now")
            assert client.read() == b"/now"


def test_clients_that_send_without_a_pause_lose_nothing_when_the_server_stops(monkeypatch):
    """The last answer of each says that it is the last."""
    monkeypatch.setattr("nova_sched.process.web.server.BUSY_SECONDS", SECONDS)
    monkeypatch.setattr("nova_sched.process.web.server.ONE_MORE_SECONDS", SECONDS)
    server, faults, begun = Server(echo), [], threading.Barrier(5, timeout=SECONDS)

    def send_on(client):
        try:
            for number in range(10**9):
                client.send(f"/{number}")
                assert client.read() == f"/{number}".encode()
                if number == 20:
                    begun.wait()
                if client.is_last:
                    return
        except (OSError, AssertionError) as fault:
            faults.append(repr(fault))

    with contextlib.ExitStack() as ending:
        clients = [ending.enter_context(contextlib.closing(Connection(server))) for _ in range(4)]
        threads = [threading.Thread(target=send_on, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        begun.wait()
        server.close()
        for thread in threads:
            thread.join(SECONDS)
        assert faults == [] and all(client.is_last for client in clients)
