"""A page in this process, over logs that a test has written, and requests to it without a network."""

import io
import json
from typing import NamedTuple
from urllib.parse import urlencode

from oslo_config import cfg

from nova_sched.page import config
from nova_sched.page.app import Application, Page
from nova_sched.page.what_if import WhatIfs
from nova_sched.replay.logs.source import Source
from nova_sched.selection.catalogue import BUILT_IN
from rpc_api.clock import SYSTEM

DEMO = "docs/operating/demo.nslog"
#: Headers of a script of the page itself.
OWN = {"HTTP_X_NOVA_SCHED_PAGE": "1", "CONTENT_TYPE": "application/json", "HTTP_ORIGIN": "http://page:8790"}
READY_SECONDS = 60


def options_of(**values):
    """The options of [page], with some values."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    for name, value in values.items():
        conf.set_override(name, value, "page")
    return conf


class LogsOf:
    """As a Source: logs that are open already."""

    def __init__(self, **logs):
        self.logs, self.down, self.too_new, self.urls, self.left_out, self.faults = logs, {}, {}, {}, {}, []
        self._opened = {}

    one, leave_out, take_back, _note_down = Source.one, Source.leave_out, Source.take_back, Source._note_down

    def folded(self, projection):
        """Take it as it is."""


class Answered(NamedTuple):
    """The answer to a request."""

    code: int
    headers: dict
    body: bytes

    @property
    def json(self):
        """The body as plain values."""
        return json.loads(self.body)


class Served:
    """A page over a Source, as a context manager. ``values`` are options of [page]."""

    def __init__(self, source, keystone=None, clock=SYSTEM, names=(), what_ifs=None, **values):
        self.conf = options_of(**values)
        options = self.conf.page
        what_ifs = what_ifs or WhatIfs(names, [], options.what_if_records, options.what_if_seconds)
        self.page = Page(source, options, BUILT_IN, what_ifs, keystone, clock=clock)
        self.application = Application(self.page)
        self.cookie = None

    @classmethod
    def of_names(cls, *names, **values):
        """A page over logs that are named as for --log."""
        return cls(Source(names), names=names, **values)

    def __enter__(self):
        self.page.cloud.start()
        self.wait()
        return self

    def __exit__(self, *exc):
        self.page.what_ifs.stop()
        self.page.cloud.stop()

    def wait(self, check=lambda shown: shown.is_ready):
        """Wait until what the cloud shows passes a check."""
        happenings = self.page.cloud.happenings
        ends = SYSTEM.monotonic() + READY_SECONDS
        while not check(self.page.cloud.shown):
            assert SYSTEM.monotonic() < ends, self.page.cloud.shown
            happenings.wait(happenings.last, happenings.rounds, 0.2)

    def ask(self, path, method="GET", body=b"", headers=None, **parameters):
        """Send a request; returns the Answered."""
        started = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": urlencode(parameters),
            "HTTP_HOST": "page:8790",
            "SERVER_NAME": "page",
            "SERVER_PORT": "8790",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "192.0.2.1",
            **({"HTTP_COOKIE": f"nova_sched_page={self.cookie}"} if self.cookie else {}),
            **(headers or {}),
        }
        parts = self.application(environ, lambda status, sent: started.append((status, sent)))
        ((status, sent),) = started
        return Answered(int(status[:3]), dict(sent), b"".join(parts))

    def get(self, path, **parameters):
        """The JSON that a GET answers."""
        found = self.ask(f"/api/{path}", **parameters)
        assert found.code == 200, found
        return found.json

    def post(self, path, value, **headers):
        """Send JSON as the page itself does."""
        return self.ask(f"/api/{path}", "POST", json.dumps(value).encode(), {**OWN, **headers})

    def log_in(self, user, password, **more):
        """Log in, and keep the cookie."""
        found = self.post("login", {"user": user, "password": password, **more})
        if found.code == 200:
            self.cookie = found.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        return found
