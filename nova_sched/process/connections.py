"""What waitress leaves open for the connections of a web server: no free file for one more, and clients that do not
read their answers."""

import errno
import logging
from collections.abc import Iterable
from typing import Any

from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

#: Seconds without new connections after the system had no file or memory for one.
ACCEPT_PAUSE_SECONDS = 1.0
_NOTHING_FREE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Accepting:
    """How a server of waitress accepts connections: without a file for one more it waits a moment, instead of trying
    again at once, and an error of one connection does not close the server. ``advice`` says what to do about the
    files."""

    def __init__(self, server: Any, advice: str) -> None:
        self._accept, self._handle_accept, self._readable = server.accept, server.handle_accept, server.readable
        self._advice = advice
        self._waits_until = 0.0
        server.accept, server.handle_accept, server.readable = self.accept, self.handle_accept, self.readable
        server.has_files = self.has_files

    def accept(self) -> Any:
        """(Socket, address) of the next connection; None if there is none now."""
        try:
            return self._accept()
        except OSError as fault:
            if fault.errno in _NOTHING_FREE:
                LOG.warning("a connection cannot be accepted (%s), so new ones wait; %s", fault.strerror, self._advice)
                self._waits_until = SYSTEM.monotonic() + ACCEPT_PAUSE_SECONDS
                return None
            raise

    def handle_accept(self) -> None:
        """Accept a connection."""
        try:
            self._handle_accept()
        except Exception as fault:
            LOG.warning("a connection was not accepted: %r", fault)

    def readable(self) -> bool:
        """Whether to accept connections now."""
        return bool(self._readable()) and self.has_files()

    def has_files(self) -> bool:
        """Whether there may be a file for one more connection."""
        return SYSTEM.monotonic() >= self._waits_until


def close_stalled(servers: Iterable[Any], seconds: float) -> None:
    """Close the connections of waitress servers whose clients took no byte of their answers for some seconds. Waitress
    waits until they do: the connection, and a thread that has more to send, would be lost. Only the thread of the loop
    may call this."""
    now = SYSTEM.now_ns() / 1e9
    for channel in [channel for server in servers for channel in server.active_channels.values()]:
        if channel.total_outbufs_len and now - channel.last_activity > seconds:
            LOG.info("the client %s does not read its answer; its connection is closed", channel.addr)
            channel.handle_close()
