"""The part of Keystone that checks tokens, as a server of its own: a stand-in for the peer of keystonemiddleware."""

import datetime
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSWORD = "of the service"
#: The token with which the service asks.
SERVICE_TOKEN = "token of the service"
REGION = "RegionOne"
HOUR = datetime.timedelta(hours=1)
_DOMAIN = {"id": "default", "name": "Default"}


def token(user="user", project="project", roles=("member", "reader"), system=False, age=-HOUR):
    """What Keystone says of a token. ``age`` is how long ago it ended."""
    now = datetime.datetime.now(datetime.UTC)
    found = {
        "methods": ["password"],
        "user": {"id": user, "name": user, "domain": _DOMAIN},
        "roles": [{"id": name, "name": name} for name in roles],
        "expires_at": (now - age).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "issued_at": (now - age - 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "audit_ids": ["audit"],
    }
    scope = {"system": {"all": True}} if system else {"project": {"id": project, "name": project, "domain": _DOMAIN}}
    return {"token": {**found, **scope}}


class Keystone:
    """A server on a free port, which knows ``tokens``: text -> :func:`token`. ``down`` is a status that it answers
    everything with, None if it works; without ``has_catalog`` it does not say where Keystone is. ``users`` may log in
    with a password: (name, password, project or None for the system) -> the text of their token."""

    def __init__(self, tokens, users=None):
        self.users = users or {}
        #: Tokens that were revoked.
        self.revoked = []
        self.tokens = {SERVICE_TOKEN: token("placement", "service", ("service", "admin")), **tokens}
        self.down = None
        self.has_catalog = True
        #: Type of a service -> its address.
        self.services = {}
        self.asked = 0
        keystone = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                keystone._answer(self)

            def do_DELETE(self):
                keystone._answer(self)

            def do_POST(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                keystone._answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self):
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request):
        status, body, headers = self._found(request)
        body = json.dumps(body).encode()
        request.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(body)

    def _found(self, request):
        if self.down is not None:
            return self.down, {"error": {"code": self.down, "message": "down", "title": "down"}}, {}
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.url}/v3/"}]}
        if request.path == "/":
            return 300, {"versions": {"values": [version]}}, {}
        if request.path.rstrip("/") == "/v3":
            return 200, {"version": version}, {}
        if not request.path.startswith("/v3/auth/tokens"):
            return _error(404, "not found")
        if request.command == "POST":
            return self._issued(json.loads(request.body))
        if request.command == "DELETE":
            self.revoked.append(request.headers.get("X-Subject-Token"))
            return 204, {}, {}
        self.asked += 1
        if request.headers.get("X-Auth-Token") != SERVICE_TOKEN:
            return _error(401, "The request you have made requires authentication.")
        known = self.tokens.get(request.headers.get("X-Subject-Token"))
        return _error(404, "This is not a recognized token.") if known is None else (200, known, {})

    def _catalog(self):
        return [
            {
                "id": kind,
                "name": kind,
                "type": kind,
                "endpoints": [
                    {"id": kind + name, "interface": name, "region": REGION, "region_id": REGION, "url": url}
                    for name in ("internal", "admin", "public")
                ],
            }
            for kind, url in {"identity": self.url, **self.services}.items()
        ]

    def _issued(self, asked):
        user = asked["auth"]["identity"]["password"]["user"]
        password = user["password"]
        project = asked["auth"].get("scope", {}).get("project", {}).get("name")
        text = self.users.get((user.get("name"), password, project))
        if text is not None:
            return 201, self.tokens[text], {"X-Subject-Token": text}
        if password != PASSWORD:
            return _error(401, "The request you have made requires authentication.")
        issued = {
            "token": {**self.tokens[SERVICE_TOKEN]["token"], "catalog": self._catalog() if self.has_catalog else []}
        }
        return 201, issued, {"X-Subject-Token": SERVICE_TOKEN}


def _error(status, message):
    return status, {"error": {"code": status, "message": message, "title": "error"}}, {}
