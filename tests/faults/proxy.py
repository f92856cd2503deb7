"""A TCP proxy between services and their broker, with the faults of networks; what it draws follows from a seed."""

import queue
import random
import socket
import struct
import threading
import time

CHUNK_BYTES = 4096
#: Chunks that may be on their way in one direction: a sender waits when there are more, as TCP's windows make it.
CHUNKS_MAX = 64
#: Closing with this sends RST.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to ``host:port`` from the port ``listen``, 0 for any; a context manager.
    Its attributes may be changed at any time:

    * ``cut_after``: (least, most) bytes; each direction of a connection made from now on draws after how many of them
      the connection is reset (RST to both sides); None: never.
    * ``delay_seconds`` and ``jitter_seconds``: how long each chunk is under way, one direction; jitter is at most.
    * ``bytes_per_second``: of each direction of each connection; None: no limit.
    """

    def __init__(self, host: str, port: int, seed: int = 0, listen: int = 0):
        self._upstream = (host, port)
        self._seed = seed
        self.cut_after: tuple[int, int] | None = None
        self.delay_seconds = self.jitter_seconds = 0.0
        self.bytes_per_second: float | None = None
        #: Connections that were reset by ``cut_after``.
        self.cuts = 0
        #: While it is set, what comes is taken and goes nowhere.
        self._swallowing = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", listen))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, name=f"proxy {self.port}", daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._closed.set()
        self._listener.close()
        self.reset_all()

    def through(self, url: str) -> str:
        """A URL of the upstream server, led through this proxy."""
        return url.replace("{}:{}".format(*self._upstream), f"127.0.0.1:{self.port}")

    def reset_all(self) -> None:
        """Reset all connections that there are."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.reset()

    def swallow(self) -> None:
        """Take all that comes from now on, pass on nothing and close nothing: as a firewall that forgot."""
        self._swallowing = True
        with self._lock:
            for connection in self._connections:
                connection.dead = True

    def spit(self) -> None:
        """Forward new connections again; those that were swallowed from stay as they are."""
        self._swallowing = False

    def _accept(self):
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                server = socket.create_connection(self._upstream, timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            number += 1
            with self._lock:
                self._connections = [one for one in self._connections if not one.over.is_set()]
                connection = _Connection(self, f"{self._seed}/{number}", client, server, self._swallowing)
                self._connections.append(connection)
            connection.start()


class _Connection:
    """Two sockets and two directions between them."""

    def __init__(self, proxy, seed, client, server, dead):
        self.proxy = proxy
        self.dead = dead
        self.over = threading.Event()
        self._sockets = (client, server)
        self._seed = seed
        for one in self._sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        client, server = self._sockets
        for name, source, target in (("up", client, server), ("down", server, client)):
            chance = random.Random(f"{self._seed}/{name}")
            under_way = queue.Queue(CHUNKS_MAX)
            for run, arguments in ((self._take, (source, under_way, chance)), (self._give, (target, under_way))):
                threading.Thread(target=run, args=arguments, name=f"proxy {self._seed}", daemon=True).start()

    def reset(self):
        self.over.set()
        for one in self._sockets:
            _reset(one)

    def _take(self, source, under_way, chance):
        proxy, taken = self.proxy, 0
        cut_at = chance.randint(*proxy.cut_after) if proxy.cut_after else None
        while not self.over.is_set():
            try:
                chunk = source.recv(CHUNK_BYTES)
            except OSError:
                chunk = b""
            if self.dead:
                if not chunk:
                    break
                continue
            if cut_at is not None and taken + len(chunk) >= cut_at:
                chunk = chunk[: cut_at - taken]
                self._put(under_way, (time.monotonic(), chunk))
                self._put(under_way, (time.monotonic(), None))
                return
            taken += len(chunk)
            due = time.monotonic() + proxy.delay_seconds + chance.random() * proxy.jitter_seconds
            self._put(under_way, (due, chunk))
            if not chunk:
                return

    def _put(self, under_way, item):
        while not self.over.is_set():
            try:
                return under_way.put(item, timeout=0.5)
            except queue.Full:
                continue

    def _give(self, target, under_way):
        proxy = self.proxy
        while not self.over.is_set():
            try:
                due, chunk = under_way.get(timeout=0.5)
            except queue.Empty:
                continue
            if proxy.bytes_per_second and chunk:
                due = max(due, time.monotonic()) + len(chunk) / proxy.bytes_per_second
            if self.over.wait(max(0.0, due - time.monotonic())) or self.dead:
                continue
            if chunk is None:
                proxy.cuts += 1
                self.reset()
                return
            try:
                if chunk:
                    target.sendall(chunk)
                else:
                    target.shutdown(socket.SHUT_WR)
                    return
            except OSError:
                self.reset()
                return


def _reset(one):
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        # A thread that waits in recv keeps the socket open: it must come back first.
        one.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # not connected any more
    one.close()
