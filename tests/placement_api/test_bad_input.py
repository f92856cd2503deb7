"""Requests that are damaged, endless, slow or too large, over real connections: each gets a clear error, others are
answered meanwhile, and the state stays."""

import contextlib
import io
import json
import logging
import socket
import threading

import pytest
import requests
import webob

from nova_sched.process.web import server as connections
from nova_sched.process.web.server import allowed_connections
from placement_api.app import make_app
from placement_api.region import Region
from tests.against_nova.ledger_answers import state_of
from tests.placement_api.client import HEADERS, World, client_of, config_of
from tests.placement_api.regions import uuid_of
from tests.placement_api.server import SECONDS, Server

BODY_BYTES = 64 * 1024
PROVIDER = f"/resource_providers/{uuid_of('host-1')}"
CONNECTIONS = 40


class Api:
    """The API behind its web server, and a client in this process beside it."""

    def __init__(self, host="127.0.0.1"):
        self.region = Region.in_memory()
        self.client = client_of(self.region)
        World().write(self.client)
        app = make_app(config_of(max_body_bytes=BODY_BYTES), self.region)
        self._server = Server(app, host, 2, CONNECTIONS, BODY_BYTES)
        self.addresses = self._server.addresses

    def close(self):
        self._server.close()
        self.region.close()

    def state(self):
        (projection,) = self.region.projections()
        with self.region.lock:
            return state_of(projection)

    def connect(self):
        """A connection, for as long as a block lasts."""
        return contextlib.closing(socket.create_connection(self.addresses[0], SECONDS))

    def send(self, *parts):
        """The answer to bytes: (status, body as JSON)."""
        with self.connect() as connection:
            for part in parts:
                try:
                    connection.sendall(part)
                except (BrokenPipeError, ConnectionResetError):
                    break
            return read_answer(connection)


def read_answer(connection):
    """(Status, body as JSON, or None without one) of an answer."""
    with connection.makefile("rb") as answer:
        status = int(answer.readline().split()[1])
        length = 0
        while line := answer.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = answer.read(length)
    return status, json.loads(body) if body else None


def request(method, path, *lines, body=b""):
    """A request as bytes; ``lines`` are further headers."""
    headers = [f"{name}: {value}" for name, value in HEADERS.items()]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, *lines, "", ""])
    return head.encode("latin-1") + body


@pytest.fixture(scope="module")
def module_api():
    api = Api()
    yield api
    api.close()


@pytest.fixture
def api(module_api, caplog):
    """The API. After the test its state is as before, the log has no traceback, and it answers."""
    before = module_api.state()
    with caplog.at_level(logging.INFO):
        yield module_api
    assert module_api.state() == before
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    assert module_api.send(request("GET", PROVIDER))[0] == 200


def error_of(answer, status):
    """The text of an error."""
    found, body = answer
    assert found == status, answer
    (error,) = body["errors"]
    assert error["status"] == status and error["title"] and error["detail"]
    assert "Traceback" not in error["detail"] and 'File "' not in error["detail"]
    return error["detail"]


JSON = "Content-Type: application/json"


def nested(depth, opening=b"[", closing=b"]"):
    return opening * depth + closing * depth


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [40, 500, 900, 950, 980, 1000, 30_000])
@pytest.mark.parametrize(
    "method, path, before, after",
    [
        ("PUT", f"{PROVIDER}/inventories", b"", b""),
        ("PUT", f"/allocations/{uuid_of('vm-3')}", b'{"mappings": {"@": ', b"}}"),
        ("PUT", f"/allocations/{uuid_of('vm-3')}", b'{"nova_sched": {"rule": ', b"}}"),
        ("POST", "/reshaper", b'{"inventories": ', b', "allocations": {}}'),
        ("POST", "/resource_providers", b'{"name": "x", "uuid": ', b"}"),
    ],
)
def test_a_deep_body_is_refused(api, method, path, before, after, depth):
    for inner in (nested(depth), nested(depth // 2, b'{"a":[', b"]}").replace(b"[]", b"[1]")):
        body = before + inner + after
        answer = api.send(request(method, path, JSON, f"Content-Length: {len(body)}", body=body))
        if len(body) > BODY_BYTES:
            error_of(answer, 413)
        else:
            assert "nested" in error_of(answer, 400)


@pytest.mark.parametrize("length", [BODY_BYTES + 1, 100 * 2**20, 2**40, 10**30, "9" * 5000])
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(api, length):
    answer = api.send(request("PUT", f"{PROVIDER}/inventories", JSON, f"Content-Length: {length}"))
    assert error_of(answer, 400 if len(str(length)) == 5000 else 413)


def test_a_client_that_sends_a_large_body_all_the_same_reads_the_error(api):
    url = "http://{}:{}/resource_providers".format(*api.addresses[0])
    answer = requests.post(
        url, b" " * (16 << 20), headers={**HEADERS, "Content-Type": "application/json"}, timeout=SECONDS
    )
    error_of((answer.status_code, answer.json()), 413)


def test_a_body_of_the_greatest_size_is_read(api):
    body = json.dumps({"name": "x" * (BODY_BYTES - 12)}).encode()
    assert len(body) == BODY_BYTES
    answer = api.send(request("POST", "/resource_providers", JSON, f"Content-Length: {len(body)}", body=body))
    assert "does not validate" in error_of(answer, 400)


def test_a_body_in_chunks_is_read(api):
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b'{"na', b'me": ', b"1}")) + b"0\r\n\r\n"
    answer = api.send(request("POST", "/resource_providers", JSON, "Transfer-Encoding: chunked", body=body))
    assert "does not validate" in error_of(answer, 400)


def test_chunks_without_an_end_are_refused(api):
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    head = request("POST", "/resource_providers", JSON, "Transfer-Encoding: chunked")
    error_of(api.send(head, *[chunk] * (BODY_BYTES // 0x1000 + 1)), 413)


@pytest.mark.parametrize("body", [b"xyz\r\n", b"-1\r\n", b"5\r\nabc", b"1\r\nabc\r\n0\r\n\r\n"])
def test_damaged_chunks_are_refused(api, body):
    with api.connect() as connection:
        connection.sendall(request("POST", "/resource_providers", JSON, "Transfer-Encoding: chunked", body=body))
        connection.shutdown(socket.SHUT_WR)
        try:
            error_of(read_answer(connection), 400)
        except IndexError:
            # A body that ends early is no request, and the client has gone.
            assert body == b"5\r\nabc"


@pytest.mark.parametrize(
    "lines, status",
    [
        (["Content-Length: -1"], 400),
        (["Content-Length: x"], 400),
        (["Content-Length: 0x10"], 400),
        (["Content-Length: +3"], 400),
        (["Content-Length: 3", "Content-Length: 4"], 400),
        (["Transfer-Encoding: gzip"], 501),
        (["Content-Length: 3\r\n 4"], 400),
        (["A header without a colon"], 400),
        (["X: " + "x" * 300_000], 431),
    ],
)
def test_headers_that_lie_are_refused(api, lines, status):
    error_of(api.send(request("PUT", f"{PROVIDER}/inventories", JSON, *lines)), status)


@pytest.mark.parametrize(
    "version, lines",
    [
        ("1.1", ["Content-Length: 6", "Transfer-Encoding: chunked"]),
        ("1.1", ["Transfer-Encoding: chunked", "Content-Length: 0"]),
        ("1.0", ["Transfer-Encoding: chunked", "Connection: keep-alive"]),
        ("1.0", ["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: keep-alive"]),
    ],
)
def test_a_body_whose_end_is_not_clear_is_refused(api, version, lines):
    """A proxy may see its end elsewhere: what follows would be the request of somebody else."""
    first = "\r\n".join([f"PUT /nothing HTTP/{version}", "Host: x", "X-Auth-Token: admin", *lines])
    with api.connect() as connection:
        connection.sendall(f"{first}\r\n\r\n0\r\n\r\n".encode() + request("GET", "/"))
        status, body = read_answer(connection)
        assert status == 400 and "The length of the body is not clear" in body["errors"][0]["detail"]
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\nX-Auth-Token: admin\r\n\r\n",
        b"GET / HTTP/1.1\rX: a\r\n\r\n",
    ],
)
def test_lines_that_do_not_end_as_they_must_are_refused(api, raw):
    with api.connect() as connection:
        connection.sendall(raw + b"\r\n\r\n")
        assert read_answer(connection)[0] == 400


def test_what_follows_a_short_body_is_another_request(api):
    """A client that sends more than it says gets an answer for the rest, and no write."""
    body = b'{"name": "a"}{"name": "b"}'
    with api.connect() as connection:
        connection.sendall(request("PUT", "/nothing", JSON, "Content-Length: 13", body=body))
        assert read_answer(connection)[0] == 404


def test_a_client_that_goes_away_before_its_body_is_there_changes_nothing(api):
    body = json.dumps({"name": "half"}).encode()
    with api.connect() as connection:
        connection.sendall(request("POST", "/resource_providers", JSON, f"Content-Length: {len(body)}", body=body[:-1]))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""


@pytest.mark.parametrize("first", [b"GET", b"GET a", b"\0\0\0", b"G\xffT / HTTP/1.1", b"get\t/"])
def test_a_first_line_that_is_none_is_refused(api, first):
    status, body = api.send(first + b"\r\nHost: x\r\nX-Auth-Token: admin\r\n\r\n")
    assert 400 <= status < 500 and "errors" in body


@pytest.mark.parametrize(
    "path",
    [
        "/usages?project_id=%ff",
        "/traits?name=%ff",
        "/resource_providers?name=%ff",
        "/usages?project_id=a&user_id=%c3%28",
        "/usages?%ff=a&project_id=a",
    ],
)
def test_a_query_that_is_not_utf_8_is_refused(api, path):
    error_of(api.send(request("GET", path)), 400)


@pytest.mark.parametrize(
    "line, status", [("", 405), (f"Content-Type: {'x' * 20_000}", 415)], ids=["method", "media type"]
)
def test_what_a_client_sent_is_quoted_in_part(api, line, status):
    method = "POST" if line else "X" * 20_000
    asked = request(method, "/resource_providers", line or JSON, "Content-Length: 2", body=b"{}")
    assert len(error_of(api.send(asked), status)) < 10_000


@pytest.mark.parametrize(
    "path", ["/resource_providers/%ff", "/traits/%ff", "/resource_classes/%00", "/allocations/%ff", "/%ff", "/a/%0d%0a"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_that_is_not_utf_8_is_refused(api, method, path):
    body = b'{"name": "x"}'
    status, found = api.send(request(method, path, JSON, f"Content-Length: {len(body)}", body=body))
    assert 400 <= status < 500 or (method, path) == ("GET", "/allocations/%ff")
    assert "errors" in found or "allocations" in found


@pytest.mark.parametrize(
    "version", ["placement 1.9999999999", "placement 1." + "9" * 5000, "placement x", "placement \xb9.\xb2", "x"]
)
def test_a_version_that_there_is_not_is_refused(api, version):
    lines = f"GET / HTTP/1.1\r\nHost: x\r\nOpenStack-API-Version: placement {version}\r\n\r\n".encode("latin-1")
    status, body = api.send(lines)
    assert status in (400, 406) and "errors" in body


def test_what_does_not_fit_into_an_event_is_refused(api):
    """The body is not too large, but its event is: no later try would succeed."""
    generation = api.state()["providers"][uuid_of("host-1")]["generation"]
    body = {"resource_provider_generation": generation, "aggregates": [uuid_of(str(number)) for number in range(9000)]}
    answer = api.client.ask("PUT", f"{PROVIDER}/aggregates", body)
    assert "too large for one record" in error_of((answer.status, answer.body), 413)
    answer = api.client.ask("POST", "/resource_providers", {"name": "x"}, **{"X-Auth-Token": "x" * 70_000})
    assert "cannot be recorded" in error_of((answer.status, answer.body), 400)


# --- other servers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length, body, status",
    [
        ("100", b'{"name": "x"', 400),
        ("9" * 5000, b"", 413),
        ("\u0663", b"{}", 400),
        ("-5", b"{}", 400),
        ("1e3", b"{}", 400),
        (" 2", b"{}", 400),
    ],
)
def test_a_server_that_does_not_look_at_the_length(api, length, body, status):
    """Each server reads a body in its own way; some pass it on as the client sends it."""
    asked = webob.Request.blank("/resource_providers", method="POST", headers=HEADERS)
    asked.content_type = "application/json"
    asked.environ["wsgi.input"], asked.environ["CONTENT_LENGTH"] = io.BytesIO(body), length
    answer = asked.get_response(api.client.app)
    text = error_of((answer.status_code, answer.json), status)
    assert length != "100" or "ends before" in text


# --- slow clients ---------------------------------------------------------------------------------------------------


def test_slow_clients_do_not_stop_others(api):
    """There are more of them than threads, each in the middle of its headers or of its body."""
    whole = request("GET", PROVIDER)
    body = json.dumps({"name": "slow"}).encode()
    half = request("POST", "/resource_providers", JSON, f"Content-Length: {len(body)}", body=body[:5])
    with contextlib.ExitStack() as slow:
        opened = [slow.enter_context(api.connect()) for _ in range(CONNECTIONS - 10)]
        for number, connection in enumerate(opened):
            connection.sendall(whole[:50] if number % 2 else half)
        for _ in range(20):
            assert api.send(whole)[0] == 200
        opened[1].sendall(whole[50:])
        assert read_answer(opened[1])[0] == 200


def test_a_request_that_does_not_end_is_given_up(api, monkeypatch):
    """Its client sends a byte now and then, for ever: its connection is needed for others."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    with api.connect() as connection:
        connection.sendall(request("GET", PROVIDER)[:20])
        connection.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while not is_closed(connection):
                connection.sendall(b"x")


def is_closed(connection):
    """Whether the other side has closed a connection; waits for its timeout."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_clients_that_do_not_read_do_not_stop_others(api):
    """Their answers are many times as large as what the system keeps for a connection."""
    whole = request("GET", "/traits")
    with contextlib.ExitStack() as slow:
        for _ in range(10):
            connection = slow.enter_context(api.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(whole * 20)
        for _ in range(20):
            assert api.send(request("GET", PROVIDER))[0] == 200


def test_clients_beyond_the_greatest_number_wait(api):
    """They are answered when others leave."""
    with api.connect() as late:
        with contextlib.ExitStack() as early:
            for _ in range(CONNECTIONS + 5):
                early.enter_context(api.connect())
            late.sendall(request("GET", PROVIDER))
        assert read_answer(late)[0] == 200


def test_connections_are_fewer_than_files():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert allowed_connections(100) == 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
        assert allowed_connections(soft) < soft
    finally:
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_name_with_several_addresses_is_served_on_each():
    api = Api("localhost")
    try:
        assert api.addresses
        assert api.send(request("GET", PROVIDER))[0] == 200
    finally:
        api.close()


@pytest.mark.parametrize(
    "raw, text",
    [
        (request("PUT", "/traits/CUSTOM_X", f"Content-Length: {10**7}"), "PUT /traits/CUSTOM_X 413 "),
        (request("GET", "/a?b=c", f"X: {'x' * (1 << 19)}"), "- - 431 "),
        (request("GET", "/a?b=c", "Content-Length: x"), "GET /a?b=c 400 "),
        (request("GET", "/a", "Transfer-Encoding: gzip"), "GET /a 501 "),
        (b"nonsense\r\n\r\n", "- - 400 "),
        (b"GET http://[x HTTP/1.1\r\n\r\n", "- - 400 "),
    ],
    ids=["413", "431", "400", "501", "no first line", "no path"],
)
def test_what_cannot_be_read_has_its_line_in_the_access_log_too(api, access_log, raw, text):
    _, body = api.send(raw)
    (line,) = access_log.getvalue().splitlines()
    assert f" 127.0.0.1 {text}" in line and body["errors"][0]["request_id"] in line


# --- the end --------------------------------------------------------------------------------------------------------


def test_connections_without_a_request_do_not_hold_up_the_end():
    """Clients keep their connections: each nova-compute has one."""
    api = Api()
    with api.connect() as idle, api.connect() as half, api.connect() as new:
        idle.sendall(request("GET", PROVIDER))
        assert read_answer(idle)[0] == 200
        half.sendall(request("GET", PROVIDER)[:20])
        api.close()
        assert idle.recv(1) == half.recv(1) == new.recv(1) == b""


def test_a_request_in_hand_is_answered_at_the_end():
    """It waits for the ledger while the server stops."""
    api = Api()
    body = json.dumps({"name": "late"}).encode()
    with api.connect() as connection:
        with api.region.lock:
            whole = request("POST", "/resource_providers", JSON, f"Content-Length: {len(body)}", body=body)
            connection.sendall(whole)
            # An answer to a later request shows that the first one is in hand of a thread.
            assert api.send(request("GET", "/"))[0] == 200
            closing = threading.Thread(target=api.close)
            closing.start()
            with pytest.raises(OSError):
                while True:
                    with api.connect():
                        pass
        assert read_answer(connection)[0] == 200
        closing.join(SECONDS)
    assert not closing.is_alive()
