"""The real Placement in this process behind a web server, with faults on demand.

Run by the peer's own Python. A request needs the token ``admin``. One thread answers all: the database is in memory.
"""

import json
import threading

from placement import context
from waitress.server import create_server

from tests.against_nova.placement_app import Placement

TOKEN = "admin"
ROOT = {
    "versions": [{"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39", "links": []}]
}


class PlacementServer:
    """``placement`` is the Placement; ``before(number, environ)`` is called before each request with its number, and may
    return (status, body) in place of the answer."""

    def __init__(self, placement=None, max_version="1.39"):
        self.placement = placement or Placement()
        self.before = lambda number, environ: None
        self.requests = 0
        self.version = max_version
        self._server = create_server(self._answer, host="127.0.0.1", port=0, threads=1)
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def _answer(self, environ, start):
        self.requests += 1
        found = self.before(self.requests, environ)
        if found is None and environ["PATH_INFO"] == "/":
            versions = [{**ROOT["versions"][0], "max_version": self.version}]
            found = 200, {"versions": versions}
        if found is None and environ.get("HTTP_X_AUTH_TOKEN") != TOKEN:
            found = 401, {"errors": [{"status": 401, "title": "Unauthorized", "detail": "wrong token"}]}
        if found is not None:
            status, body = found
            start(f"{status} Answer", [("Content-Type", "application/json")])
            return [body if isinstance(body, bytes) else json.dumps(body).encode()]
        environ["placement.context"] = context.RequestContext(user_id="admin", project_id="admin")
        return self.placement._app(environ, start)

    def close(self):
        """Stop to answer."""
        self._server.close()
        self._thread.join(5)


def environment(url):
    """The variables OS_… with which a client gets past the token."""
    return {"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": TOKEN, "OS_ENDPOINT": url}
