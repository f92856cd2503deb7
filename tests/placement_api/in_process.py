"""Our Placement API in this process, over a log in memory. The real one is :mod:`tests.against_nova.placement_app`."""

import io
import json

from placement_api.app import make_app
from placement_api.region import Region
from tests.placement_api.client import config_of


class OurPlacement:
    """Our application over a new log; ``options`` are some of ``[placement_api]``."""

    def __init__(self, **options):
        self.conf = config_of(**options)
        self.region = None
        self._app = None

    def empty(self):
        """Begin with a new log."""
        self.close()
        self.over(Region.in_memory())

    def over(self, region):
        """Answer for a region from now on."""
        self.region = region
        self._app = make_app(self.conf, region)

    def close(self):
        """End the threads that read the log."""
        if self.region is not None:
            self.region.close()

    def make(self, *calls):
        """Make calls, which must be accepted."""
        for call in calls:
            status, answer = self.call(*call)
            assert status < 300, (call, answer)

    def raw(self, method, path, body=None, version="1.39", **headers):
        """The status of an answer, and its body as bytes; ``headers`` are further keys of the WSGI environment."""
        raw = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(raw)),
            "HTTP_ACCEPT": "application/json",
            "HTTP_OPENSTACK_API_VERSION": f"placement {version}",
            "HTTP_X_AUTH_TOKEN": "admin",
            "HTTP_X_ROLES": "admin,service",
            "SERVER_NAME": "placement",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(raw),
            **headers,
        }
        statuses = []
        answer = b"".join(self._app(environ, lambda status, *_: statuses.append(status)))
        return int(statuses[0].split()[0]), answer

    def call(self, method, path, body=None, version="1.39"):
        """The status of an answer, and its body, read if it has one."""
        status, answer = self.raw(method, path, body, version)
        return status, json.loads(answer) if answer else None
