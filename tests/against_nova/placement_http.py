"""The real Placement in this process behind a web server, without tokens.

Run by the peer's own Python. One thread answers all, because the database is in memory.
"""

import json
import threading

from placement import context
from waitress.server import create_server

from tests.against_nova.placement_app import Placement

ROOT = {"versions": [{"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39", "links": []}]}


class PlacementServer:
    """``placement`` is the Placement, and ``url`` its address."""

    def __init__(self):
        self.placement = Placement()
        self._server = create_server(self._answer, host="127.0.0.1", port=0, threads=1)
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def _answer(self, environ, start):
        if environ["PATH_INFO"] == "/":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(ROOT).encode()]
        environ["placement.context"] = context.RequestContext(user_id="admin", project_id="admin")
        return self.placement._app(environ, start)

    def close(self):
        """Stop to answer."""
        self._server.close()
        self._thread.join(5)


def environment(url):
    """The variables OS_… of a client without Keystone."""
    return {"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": "admin", "OS_ENDPOINT": url}
