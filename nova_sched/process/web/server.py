"""The web server of a service, made of waitress: how many connections there may be, errors that no application sees.

The server reads a request as a whole before one of its threads answers it, so that a client that sends or reads slowly
occupies a connection and no thread.
"""

import logging
import resource
import select
import sys
import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.task import WSGITask

from nova_sched.process.connections import Accepting, close_stalled
from nova_sched.process.web.event_loop import WAIT_SECONDS, Watched
from rpc_api.clock import SYSTEM

# It warns of each request that waits for a thread.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

#: Seconds after which waitress closes a connection over which no byte came.
NEVER_SECONDS = 10**9
#: Seconds after which this server closes a connection over which no request came.
IDLE_SECONDS = 60
#: Seconds between two rounds through all connections: whether they are idle or slow for too long.
LOOK_SECONDS = 5.0
#: Seconds in which a request must have come as a whole.
REQUEST_SECONDS = 60
#: Seconds after which a client has gone away that takes no byte of its answer.
STALLED_SECONDS = 60
#: The same while the server stops.
STALLED_AT_END_SECONDS = 10
#: Bytes of an answer that are sent at once: the headers and a usual body.
SENT_AT_ONCE = 64 * 1024
#: Seconds in which a request must have come as a whole that was being read when the server began to stop.
LAST_SECONDS = 2.0
#: The longest wait for something to happen, while it stops.
LAST_WAIT_SECONDS = 0.1
#: Connections that wait to be accepted, at most, when the server stops.
WAITING_MAX = 1024
#: Files that a process needs beside its connections: logs, bodies that do not fit into memory.
OTHER_FILES = 256
#: A connection over which a request was answered so many seconds ago, or that came then, may bring one more when the
#: server begins to stop: its client may be sending it.
BUSY_SECONDS = 1.0
#: Seconds in which such a request must begin to come.
ONE_MORE_SECONDS = 0.5
#: Characters of what was sent that an error shows.
SHOWN = 1000
#: Where an application finds the Refused of a request that cannot be read: it has to answer that, and nothing else.
REFUSED = "nova_sched.refused"


class Parser(HTTPRequestParser):
    """Reads a request. What is wrong with it is an error of the client, of whatever kind."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the first line and the headers; ParsingError if that is not possible."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            # A length of more digits than Python reads, for one.
            raise ParsingError("The first line or a header is not valid.") from None
        # (Of HTTP/1.1 waitress has taken the header away.)
        if "TRANSFER_ENCODING" in self.headers or (self.chunked and "CONTENT_LENGTH" in self.headers):
            # A proxy before this server may see another end of the body, and what follows would be another's request.
            raise ParsingError(
                "The length of the body is not clear: Transfer-Encoding needs HTTP/1.1, and no "
                "Content-Length beside it."
            )


class Refused(NamedTuple):
    """What is wrong with a request that cannot be read: a status of HTTP, and a sentence."""

    status: int
    text: str


class Answer(WSGITask):
    """The answer of the application."""

    def build_response_header(self) -> bytes:
        """The first line and the headers. The last answer over a connection says so: its client must not send another
        request over it."""
        if self.channel.server.is_stopping:
            self.set_close_on_finish()
        return bytes(super().build_response_header())

    def set_close_on_finish(self) -> None:
        """Close the connection after the answer. Waitress also does that if nothing says where an answer ends; but one
        without a body ends with its headers."""
        has_end = not self.has_body and self.version != "1.0"
        wants_more = self.request.headers.get("CONNECTION", "").lower() != "close"
        if not (has_end and wants_more) or self.channel.server.is_stopping:
            super().set_close_on_finish()

    def finish(self) -> None:
        """Send what is not sent yet, headers and body together."""
        super().finish()
        self.channel.send_now()


class RefusedAnswer(Answer):
    """The answer of the application to a request that cannot be read."""

    def execute(self) -> None:
        """Send the answer, and close the connection: nobody knows where the next request begins."""
        self.set_close_on_finish()
        super().execute()

    def get_environment(self) -> dict[str, Any]:
        """What is known of the request, and what is wrong with it, under :data:`REFUSED`."""
        request, server, error = self.request, self.channel.server, self.request.error
        # (For headers that are too large waitress reads a line of its own in their place.)
        is_known = hasattr(request, "path") and error.code != 431
        text = str(error.body)[:SHOWN]
        if error.code == 413:
            text = f"The body of the request has more than {request.adj.max_request_body_size - 1} bytes."
        return {
            REFUSED: Refused(error.code, text),
            "REMOTE_ADDR": self.channel.addr[0],
            "REQUEST_METHOD": request.command if is_known else "-",
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path if is_known else "",
            "QUERY_STRING": request.query if is_known else "",
            "SERVER_NAME": server.server_name,
            "SERVER_PORT": str(server.effective_port),
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.adj.url_scheme,
            "wsgi.input": BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }


class ServerOfChannel:
    """The server as a connection sees it. Waitress wakes its loop after each answer; that is not necessary if the whole
    answer was sent."""

    def __init__(self, server: Any, channel: "Channel", sockets: Watched) -> None:
        self._server, self._channel, self._sockets = server, channel, sockets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def pull_trigger(self) -> None:
        """Wait for the next request of the connection, or have the loop look at it."""
        channel = self._channel
        channel.idle_since = SYSTEM.monotonic()
        is_idle = not (channel.requests or channel.writable() or self._server.is_stopping)
        # (The loop measures how long a request takes to come, from when it looks at its first part.)
        if is_idle and channel.request is None:
            self._sockets.wait_for_request(channel._fileno)
        else:
            self._sockets.changed(channel._fileno)
            self._server.wake()


class Channel(HTTPChannel):
    """A connection."""

    parser_class = Parser
    task_class = Answer
    error_task_class = RefusedAnswer
    #: When the request began that is being read, by the monotonic clock.
    _began: float | None = None
    #: When it began to wait for a request, by the monotonic clock: empty lines before a request are none.
    idle_since: float
    #: When it was looked at first after the server began to stop.
    _stops_since: float | None = None

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Watched) -> None:
        self.idle_since = SYSTEM.monotonic()
        super().__init__(ServerOfChannel(server, self, map), sock, addr, adj, map)

    def send_now(self) -> None:
        """Send what waits to be sent, as far as the client takes it."""
        with self.outbuf_lock:
            if self.total_outbufs_len:
                self._flush_exception(self._flush_some, do_close=False)

    def readable(self) -> bool:
        """Whether to read more. The loop asks before it reads: no request comes between this look and the end."""
        if self._is_at_end():
            self.will_close = True
        return bool(super().readable())

    def _is_at_end(self) -> bool:
        if self.server.is_stopping:
            return not self.requests and not self.total_outbufs_len and not self._has_a_last_request()
        if self.request is None:
            self._began = None
            return self._is_idle()
        now = SYSTEM.monotonic()
        self._began = self._began or now
        # A client that sends a byte now and then would keep its connection for ever.
        return now - self._began > REQUEST_SECONDS

    def _is_idle(self) -> bool:
        """Whether no request came for long. One that has arrived, but was not read yet, is answered: its client may not
        repeat it."""
        now = SYSTEM.monotonic()
        if self.requests or self.total_outbufs_len:
            self.idle_since = now
        return now - self.idle_since > IDLE_SECONDS and not _has_input(self.socket)

    def _has_a_last_request(self) -> bool:
        """Whether a request came before the server began to stop, or most of it, or one may come yet: it is answered,
        and no other one."""
        now = SYSTEM.monotonic()
        is_first_look = self._stops_since is None
        if self._stops_since is None:
            self._stops_since = now
        stops_for = now - self._stops_since
        if self.request is not None:
            return stops_for < LAST_SECONDS
        was_busy = self._stops_since - self.idle_since < BUSY_SECONDS
        return (was_busy and stops_for < ONE_MORE_SECONDS) or (is_first_look and _has_input(self.socket))


def _has_input(connection: Any) -> bool:
    """Whether there is something to read, or a connection to accept."""
    looked = select.poll()
    looked.register(connection, select.POLLIN)
    return bool(looked.poll(0))


class WebServer:
    """A web server for an application over listening sockets. Requests with a body of more than ``body_bytes`` get 413,
    before the body is read. ``section`` is the section of the configuration that has its options."""

    def __init__(
        self,
        application: Callable[..., Any],
        listening: list[Any],
        threads: int,
        connections: int,
        body_bytes: int,
        section: str,
    ) -> None:
        self._sockets = Watched()
        made = create_server(
            application,
            map=self._sockets,
            sockets=listening,
            threads=threads,
            # Idle connections are closed here: waitress does it before it looks whether a request has arrived.
            channel_timeout=NEVER_SECONDS,
            send_bytes=SENT_AT_ONCE,
            # The server refuses what has the limit already.
            max_request_body_size=body_bytes + 1,
            # A client that goes away is not worth a traceback.
            log_socket_errors=False,
            ident=None,
            clear_untrusted_proxy_headers=False,
        )
        # (Waitress counts everything that its loop looks at.)
        made.adj.connection_limit = allowed_connections(connections) + len(self._sockets)
        self._threads = made.task_dispatcher
        self._servers = [server for server in self._sockets.values() if isinstance(server, BaseWSGIServer)]
        self._is_stopping = False
        #: Held while the loop is woken, so that it does not close what wakes it meanwhile.
        self._waking = threading.RLock()
        self._has_ended = False
        for server in self._servers:
            server.channel_class = Channel
            server.is_stopping = False
            Accepting(server, f"raise LimitNOFILE of the unit, or lower [{section}] connections")
            server.wake = partial(self._wake, server)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(Host, port) of each address on which it listens: a name may have several."""
        return [(server.effective_host, int(server.effective_port)) for server in self._servers]

    def run(self) -> None:
        """Answer requests until :meth:`close` is called, and those that are in hand then."""
        looked_at, is_looking = SYSTEM.monotonic(), False
        while not self._is_stopping:
            self._sockets.wait(0.0 if is_looking else WAIT_SECONDS)
            if not is_looking and SYSTEM.monotonic() - looked_at >= LOOK_SECONDS:
                looked_at, is_looking = SYSTEM.monotonic(), True
                close_stalled(self._servers, STALLED_SECONDS)
                self._sockets.begin_round()
            is_looking = is_looking and self._sockets.look_on()
        for server in self._servers:
            self._accept_waiting(server)
            wasyncore.dispatcher.close(server)
        while any(server.active_channels for server in self._servers):
            close_stalled(self._servers, STALLED_AT_END_SECONDS)
            self._sockets.look_at_all()
            self._sockets.wait(LAST_WAIT_SECONDS)
        self._threads.shutdown()
        with self._waking:
            self._has_ended = True
            for server in self._servers:
                server.trigger.close()
        self._sockets.close()

    def _wake(self, server: Any) -> None:
        """Wake the loop, if it has not ended: what wakes it is closed then, and its descriptor may be another file."""
        with self._waking:
            if not self._has_ended:
                server.pull_trigger()

    @staticmethod
    def _accept_waiting(server: Any) -> None:
        """Take the connections that wait to be accepted: they would be reset."""
        for _ in range(WAITING_MAX):
            if not (server.has_files() and _has_input(server.socket)):
                return
            server.handle_accept()

    def close(self) -> None:
        """Take no more requests. Connections over which none is answered now are closed."""
        with self._waking:
            self._is_stopping = True
            for server in self._servers:
                server.is_stopping = True
                self._wake(server)


def allowed_connections(wanted: int) -> int:
    """The number of connections that the limit of open files allows, at most ``wanted``. The limit is raised as far as
    this process may do that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    files = wanted + OTHER_FILES
    if soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - OTHER_FILES))
