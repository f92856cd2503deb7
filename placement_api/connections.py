"""Connections of clients to the web server of the service: how many there may be, and errors that no application sees.

The server reads a request as a whole before one of its threads answers it, so that a client that sends or reads slowly
occupies a connection and no thread.
"""

import resource
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask

from placement_api.responses import error_body

#: Seconds after which a connection is closed over which no byte came.
IDLE_SECONDS = 60
#: Files that a process needs beside its connections: logs, bodies that do not fit into memory.
OTHER_FILES = 256
#: Characters of what was sent that an error shows.
SHOWN = 1000


class Parser(HTTPRequestParser):
    """Reads a request. What is wrong with it is an error of the client, of whatever kind."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the first line and the headers; ParsingError if that is not possible."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            # A length of more digits than Python reads, for one.
            raise ParsingError("The first line or a header is not valid.") from None


class ErrorAnswer(ErrorTask):
    """The answer to a request that cannot be read, in OpenStack's form for errors."""

    def execute(self) -> None:
        """Send the answer, and close the connection: nobody knows where the next request begins."""
        error = self.request.error
        body = error_body(error.code, str(error.body)[:SHOWN], None, None)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """A connection."""

    parser_class = Parser
    error_task_class = ErrorAnswer


def server_of(application: Callable[..., Any], listening: list[Any], threads: int, connections: int, body_bytes: int):
    """A web server for an application over sockets. Requests with a body of more than ``body_bytes`` get 413, before
    the body is read."""
    servers: dict[int, Any] = {}
    made = create_server(
        application,
        map=servers,
        sockets=listening,
        threads=threads,
        connection_limit=allowed_connections(connections),
        # select() knows 1,024 files only.
        asyncore_use_poll=True,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=10,
        # The server refuses what has the limit already.
        max_request_body_size=body_bytes + 1,
        # A client that goes away is not worth a traceback.
        log_socket_errors=False,
        ident=None,
        clear_untrusted_proxy_headers=False,
    )
    for server in servers.values():
        if isinstance(server, BaseWSGIServer):
            server.channel_class = Channel
    return made


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
