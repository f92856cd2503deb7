"""Requests of the Placement API as bytes: the reader of the web server, the environment that it makes, and the API."""

import json
import logging
import types

from waitress.adjustments import Adjustments
from waitress.task import WSGITask

from nova_sched.process.web.server import REFUSED, Parser, RefusedAnswer
from placement_api.region import Region
from tests.against_nova.ledger_answers import state_of
from tests.fuzz import mutation
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, hold
from tests.placement_api.client import AMOUNTS, HEADERS, World, allocations, client_of, inventory
from tests.placement_api.regions import uuid_of

#: Requests that one connection has at most.
REQUESTS = 4
BODY_BYTES = 1 << 16
#: Bytes that some reader of HTTP, of its texts or of JSON may not expect.
JUNK = (
    b"%ff",
    b"%c3%28",
    b"%00",
    b"%0d%0aX: y",
    b"%2f",
    b"%",
    b"\xff",
    b"\xc3\xa9",
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nContent-Length: 3",
    b"\r\nExpect: 100-continue",
    b"\r\nAccept: text/html",
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"\\u0000",
    b"[" * 2000,
    b"{}",
    b"&",
    b"=",
    b"?",
    b"//",
    b" ",
    b":",
)


def every_request() -> list:
    """[Method, path, query, headers, body or None] of each route, in forms of several microversions."""
    world = World()
    host, vm, new = (f"/{uuid_of(name)}" for name in (world.hosts[0], world.consumers[0], "new"))
    provider = f"/resource_providers{host}"
    at = {"resource_provider_generation": 3}
    held = {world.hosts[0]: AMOUNTS}
    old = [{"resource_provider": {"uuid": uuid_of(world.hosts[1])}, "resources": AMOUNTS}]
    own = {"cell": "cell1", "rule": None, "guest": None, "companion": None}
    paths = (
        "/",
        "/healthcheck",
        "/resource_classes",
        "/resource_classes/VCPU",
        "/resource_providers",
        provider,
        *(f"{provider}/{noun}" for noun in ("inventories", "usages", "aggregates", "allocations", "traits")),
        f"{provider}/inventories/VCPU",
        f"/allocations{vm}",
        "/traits",
        "/traits/CUSTOM_FAST",
    )
    queries = [
        ("/resource_providers", f"name=host-1&uuid={host[1:]}&in_tree={host[1:]}"),
        ("/resource_providers", f"member_of=in:{uuid_of('pool')}&resources=VCPU:1,MEMORY_MB:2&required=in:A,!B"),
        ("/traits", "name=startswith:CUSTOM_&associated=true"),
        ("/allocation_candidates", "resources=VCPU:1&required=!CUSTOM_FAST&limit=3"),
        ("/allocation_candidates", "resources_a=VCPU:1&resources_b=DISK_GB:1&group_policy=none&same_subtree=_a,_b"),
        ("/usages", "project_id=project&user_id=user&consumer_type=all"),
    ]
    bodies = [
        ("POST", "/resource_classes", {"name": "CUSTOM_X"}, "1.39"),
        ("PUT", "/resource_classes/CUSTOM_X", {"name": "CUSTOM_Y"}, "1.6"),
        ("PUT", "/resource_classes/CUSTOM_X", None, "1.39"),
        ("DELETE", "/resource_classes/CUSTOM_X", None, "1.39"),
        ("POST", "/resource_providers", {"name": "new", "uuid": new[1:], "parent_provider_uuid": host[1:]}, "1.39"),
        ("PUT", f"/resource_providers{new}", {"name": "newer", "parent_provider_uuid": None}, "1.39"),
        ("DELETE", f"/resource_providers{new}", None, "1.39"),
        ("PUT", f"{provider}/inventories", {**at, "inventories": {"VCPU": inventory(8)}}, "1.39"),
        ("POST", f"{provider}/inventories", {"resource_class": "DISK_GB", **inventory(8, max_unit=4)}, "1.39"),
        ("PUT", f"{provider}/inventories/VCPU", {**at, **inventory(8, allocation_ratio=1.5)}, "1.39"),
        ("DELETE", f"{provider}/inventories/CUSTOM_GOLD", None, "1.39"),
        ("PUT", f"{provider}/aggregates", {**at, "aggregates": [uuid_of("pool")]}, "1.39"),
        ("PUT", f"{provider}/aggregates", [uuid_of("pool")], "1.1"),
        ("PUT", f"{provider}/traits", {**at, "traits": ["CUSTOM_FAST"]}, "1.39"),
        ("DELETE", f"{provider}/traits", None, "1.39"),
        ("PUT", "/traits/CUSTOM_X", None, "1.39"),
        ("DELETE", "/traits/CUSTOM_X", None, "1.39"),
        ("PUT", f"/allocations{vm}", {**allocations(1, held), "nova_sched": own}, "1.39"),
        ("PUT", f"/allocations{new}", {**allocations(None, held), "mappings": {"": [host[1:]]}}, "1.39"),
        ("PUT", f"/allocations{vm}", {"allocations": old, "project_id": "p", "user_id": "u"}, "1.8"),
        ("POST", "/allocations", {vm[1:]: allocations(1, held), new[1:]: allocations(None, {})}, "1.39"),
        ("DELETE", f"/allocations{vm}", None, "1.39"),
        (
            "POST",
            "/reshaper",
            {
                "inventories": {host[1:]: {**at, "inventories": {"VCPU": inventory(8)}}},
                "allocations": {vm[1:]: allocations(1, held)},
            },
            "1.39",
        ),
    ]
    return [
        *(["GET", path, "", _headers("1.39"), None] for path in paths),
        *(["GET", path, query, _headers("1.39"), None] for path, query in queries),
        *([method, path, "", _headers(version), body] for method, path, body, version in bodies),
    ]


def _headers(version):
    return {**HEADERS, "OpenStack-API-Version": f"placement {version}", "Content-Type": "application/json"}


def as_bytes(method, path, query, headers, body, says_length=True) -> bytes:
    """A request as it is sent: whatever a part is, it becomes text."""
    sent = b"" if body is None else mutation.to_json(body)
    lines = [f"{_text(method)} {_text(path)}{'?' if query else ''}{_text(query)} HTTP/1.1"]
    if isinstance(headers, dict):
        lines += [f"{_text(name)}: {_text(value)}" for name, value in headers.items()]
    if says_length:
        lines.append(f"Content-Length: {len(sent)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + sent


def _text(value) -> str:
    return value if isinstance(value, str) else str(value)


class _Faults(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        self.texts.append(logging.Formatter().format(record))


class Requests(Target):
    """No answer is an error of the server, each error is clear, and a refused request changes nothing."""

    EPISODE = 2000
    requests = every_request()

    def __init__(self, rng):
        super().__init__(rng)
        self.mutator = Mutator(rng, mutation.leaves(self.requests), packable=False)
        self.adjustments = Adjustments(max_request_body_size=BODY_BYTES)
        self.channel = types.SimpleNamespace(
            addr=("192.0.2.1", 1),
            check_client_disconnected=lambda: False,
            server=types.SimpleNamespace(adj=self.adjustments, effective_port=1, server_name="x"),
        )
        self.faults = _Faults()
        self._open()

    def _open(self):
        self.region = Region.in_memory()
        self.client = client_of(self.region, max_body_bytes=BODY_BYTES)
        World().write(self.client)
        (self.projection,) = self.region.projections()
        self.before, self.position = self._state(), self.projection.position

    def _state(self):
        with self.region.lock:
            return state_of(self.projection)

    def make(self):
        chosen, chance = self.rng.choice(self.requests), self.rng.random()
        if chance < 0.1:
            return as_bytes(*chosen)
        if chance < 0.4:
            return as_bytes(*chosen[:4], self.mutator.changed(chosen[4], self.rng.choice((1, 1, 2, 4))))
        if chance < 0.8:
            changed = self.mutator.changed(chosen, self.rng.choice((1, 2, 4)))
            if isinstance(changed, list) and len(changed) == len(chosen):
                return as_bytes(*changed, says_length=self.rng.random() < 0.95)
        if chance < 0.9:
            return self._spoiled(as_bytes(*chosen))
        return self.mutator.damaged(as_bytes(*chosen), as_bytes(*self.rng.choice(self.requests)))

    def _spoiled(self, payload):
        """The request with junk in its first line, in its headers or in its body."""
        line, body = payload.index(b"\r\n"), payload.index(b"\r\n\r\n")
        first, last = self.rng.choice(((0, line), (line, body), (body, len(payload))))
        at = self.rng.randint(first, last)
        return payload[:at] + self.rng.choice(JUNK) + payload[at:]

    def feed(self, payload):
        logger = logging.getLogger("placement_api.middleware")
        logger.addHandler(self.faults)
        disabled, logger.manager.disable = logger.manager.disable, logging.NOTSET
        try:
            self._feed(payload)
        finally:
            logger.manager.disable = disabled
            logger.removeHandler(self.faults)
            self.faults.texts.clear()

    def _feed(self, payload):
        for _ in range(REQUESTS):
            parser = Parser(self.adjustments)
            while payload and not parser.completed:
                payload = payload[parser.received(payload) :]
            if not parser.completed:
                return  # the client has gone before its request was there
            if parser.error:
                hold(
                    400 <= parser.error.code < 500 or parser.error.code == 501,
                    "not an error of the client",
                    parser.error,
                )
                self._answer(RefusedAnswer(self.channel, parser).get_environment())
                return
            if not parser.empty:
                self._answer(WSGITask(self.channel, parser).get_environment())

    def _answer(self, environ):
        started = []
        parts = self.client.app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
        body = b"".join(parts)
        hold(len(started) == 1, "not one answer", started)
        status, headers = int(started[0][0].split()[0]), dict(started[0][1])
        hold(status < 500 or REFUSED in environ, "an error of the server", status, "\n".join(self.faults.texts)[-1500:])
        hold(all(text.isprintable() for name, value in headers.items() for text in (name, value)), "headers", headers)
        if status >= 400:
            if headers["Content-Type"] == "application/json" and environ["REQUEST_METHOD"] != "HEAD":
                self._check_error(status, body)
        elif body and headers["Content-Type"] == "application/json":
            json.loads(body)
        if self.projection.position != self.position:
            after = self._state()
            hold(status < 400 or after == self.before, "a refused request has changed the state", status, body)
            self.before, self.position = after, self.projection.position

    def _check_error(self, status, body):
        (error,) = json.loads(body)["errors"]
        hold(error["status"] == status and error["title"] and error["detail"], "an error without its facts", error)
        hold("Traceback" not in error["detail"] and len(error["detail"]) < 10_000, "an error that is not clear", error)

    def settle(self):
        hold(self.client.ask("GET", "/resource_providers").status == 200, "it does not answer any more")
        hold(self._state() == self.before, "the state is another one than after the last answer")
        self.region.close()
