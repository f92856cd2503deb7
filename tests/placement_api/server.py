"""The API behind the web server of the service, over real connections."""

import threading

from nova_sched.process.web.serving import serve, stop

SECONDS = 20.0


class Server:
    """Serves an application on a free port until it is closed."""

    def __init__(self, app, host="127.0.0.1", threads=4, connections=100, body_bytes=4 << 20):
        self._server = serve(app, host, 0, threads, connections, body_bytes, "placement_api")
        self.addresses = self._server.addresses
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    @property
    def url(self):
        """The address of the API."""
        host, port = self.addresses[0]
        return f"http://{host}:{port}"

    def close(self):
        """Stop to serve."""
        assert stop(self._server, self._thread, SECONDS)
