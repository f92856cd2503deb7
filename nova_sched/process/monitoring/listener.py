"""A small web server for /metrics, /healthz and /readyz, beside the work of a service.

It has one thread, and answers few requests per second: a flood of requests must not take the processor from decisions.
"""

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from nova_sched.process.connections import Accepting, close_stalled
from rpc_api import concurrency, errors
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

#: Requests that are answered within a second; the others wait.
ANSWERS_A_SECOND = 20
#: Open connections, at most; seconds without a byte after which one is closed, and those in which a request must come.
CONNECTIONS, IDLE_SECONDS, REQUEST_SECONDS = 32, 20, 5.0
#: Bytes of a body that are read: no request here has one.
BODY_BYTES = 1024
#: Seconds between two looks whether the server stops.
WAIT_SECONDS = 0.5
CLOSE_SECONDS = 2.0


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. One over which a request comes too slowly is closed: it would keep a place for ever."""

    _began: float | None = None

    def handle_expt(self) -> None:
        """Close a connection with an urgent byte: nobody reads it, so it would be reported again and again."""
        self.handle_close()

    def readable(self) -> bool:
        if self.request is None:
            self._began = None
        else:
            now = SYSTEM.monotonic()
            self._began = self._began or now
            if now - self._began > REQUEST_SECONDS:
                self.will_close = True
        return bool(super().readable())


class Limited:
    """An application that answers at most so many requests in a second. A further one waits for the next second, and so
    do all behind it: there is one thread."""

    def __init__(self, application: Callable[..., Any], stopped: threading.Event, most: int = ANSWERS_A_SECOND) -> None:
        self._application = application
        self._stopped = stopped
        self._most = most
        self._second, self._answered = 0.0, 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        now = SYSTEM.monotonic()
        if now - self._second >= 1.0:
            self._second, self._answered = now, 0
        elif self._answered >= self._most:
            self._stopped.wait(self._second + 1.0 - now)
            self._second, self._answered = SYSTEM.monotonic(), 0
        self._answered += 1
        return self._application(environ, start_response)


class Listener:
    """Serves an application on an address and a port; UsageError if it cannot listen there."""

    def __init__(self, application: Callable[..., Any], host: str, port: int) -> None:
        self._stopped = threading.Event()
        #: Held while the loop is woken, so that it does not close what wakes it meanwhile.
        self._waking = threading.Lock()
        self._has_ended = False
        self._sockets: dict[int, Any] = {}
        server = create_server(
            Limited(application, self._stopped),
            map=self._sockets,
            sockets=_listening(host, port),
            threads=1,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=5,
            max_request_body_size=BODY_BYTES,
            log_socket_errors=False,
            ident=None,
            clear_untrusted_proxy_headers=False,
        )
        self._tasks = server.task_dispatcher
        self._servers = [each for each in self._sockets.values() if isinstance(each, BaseWSGIServer)]
        for each in self._servers:
            each.channel_class = _Channel
            Accepting(each, "raise LimitNOFILE of the unit")
        self._thread = threading.Thread(target=self._run, name="metrics and health", daemon=True)
        concurrency.start_or_report(self._thread)

    @property
    def urls(self) -> list[str]:
        """The URL of each address on which it listens."""
        return [f"http://{each.effective_host}:{each.effective_port}" for each in self._servers]

    def close(self) -> None:
        """Answer nothing more."""
        with self._waking:
            self._stopped.set()
            for server in self._servers if not self._has_ended else ():
                server.pull_trigger()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                wasyncore.loop(WAIT_SECONDS, True, self._sockets, 1)
                close_stalled(self._servers, IDLE_SECONDS)
            except Exception as fault:
                # The service goes on without its metrics rather than not at all.
                LOG.warning("the listener for metrics and health met a fault, and goes on: %r", fault)
                LOG.debug("the fault of the listener", exc_info=True)
                self._stopped.wait(WAIT_SECONDS)
        self._tasks.shutdown(timeout=CLOSE_SECONDS)
        with self._waking:
            self._has_ended = True
            wasyncore.close_all(self._sockets)


def _listening(host: str, port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            made.append(socket.socket(family, kind, protocol))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[-1].bind(address)
    except OSError as fault:
        for each in made:
            each.close()
        raise errors.UsageError(
            f"the metrics cannot be served on {host}:{port} ({fault.strerror or fault}); choose another port or "
            "address ([monitoring] host and port), or switch them off (enabled)"
        ) from None
    return made
