"""Start and end a web server."""

import socket
import threading

from nova_sched.process.web.server import WebServer


def serve(
    app, host: str, port: int, threads: int, connections: int, max_body_bytes: int, section: str, is_alone: bool = False
) -> WebServer:
    """A web server for an application; OSError if it cannot listen. Several processes may listen on one port, unless
    one ``is_alone``: the system gives each connection to one of them. ``section`` is that of the
    configuration which has the options of the server."""
    listening = [_listen(is_alone, *found) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    return WebServer(app, listening, threads, connections, max_body_bytes, section)


def _listen(is_alone, family, kind, protocol, _, address):
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not is_alone:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


def stop(server: WebServer, thread: threading.Thread, timeout: float) -> bool:
    """Take no more requests, and finish those in hand; returns whether all were finished."""
    server.close()
    thread.join(timeout)
    return not thread.is_alive()
