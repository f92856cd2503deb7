"""The bus inside one process: calls the endpoint in the caller's thread."""

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

from rpc_api import concurrency, errors
from rpc_api.bus.port import (
    CALL_TIMEOUT,
    CHECK_TIMEOUT,
    KNOWN_LEVEL,
    KNOWN_VERSION,
    PING,
    Client,
    Served,
    answered,
    expected,
    invoke,
    level_answered,
    no_answer,
    version_answered,
)
from rpc_api.objects.context import RequestContext
from rpc_api.serializer import RpcSerializer

LOG = logging.getLogger(__name__)


class LocalBus:
    """RPC inside one process."""

    def __init__(self) -> None:
        self._serializer = RpcSerializer()
        #: Topic -> server -> its endpoints.
        self._servers: dict[str, dict[str, Sequence[object]]] = {}
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def serve(self, topic: str, server: str, endpoints: Sequence[object], version: str) -> Served:
        """Answer calls to a topic; returns an object with ``stop()``."""
        with self._lock:
            self._servers.setdefault(topic, {})[server] = endpoints
        return _LocalServer(self, topic, server)

    def remove(self, topic: str, server: str) -> None:
        with self._lock:
            self._servers.get(topic, {}).pop(server, None)

    def client(self, topic: str, version: str) -> Client:
        """A client of the servers of a topic."""
        return _LocalClient(self, topic)

    def dispatch(self, topic: str, server: str | None, ctxt: object, method: str, arguments: dict[str, Any]) -> Any:
        """Call one server's endpoint; the answer may be a Future."""
        with self._lock:
            servers = self._servers.get(topic, {})
            if server is None and servers:
                server = sorted(servers)[next(self._turn) % len(servers)]
            endpoints = None if server is None else servers.get(server)
        if endpoints is None:
            raise errors.NoSuchServer(
                f"no server{f' {server}' if server else ''} answers the topic {topic}; start that service"
            )
        return invoke(
            endpoints, self._serializer, ctxt, method, {name: self.packed(value) for name, value in arguments.items()}
        )

    def packed(self, value: object) -> Any:
        """A value in the form in which it is sent."""
        return self._serializer.serialize_entity(None, value)

    def unpacked(self, value: object) -> Any:
        """The value of what was sent."""
        return self._serializer.deserialize_entity(None, value)

    def passed(self, value: object) -> Any:
        """A value as it arrives on the other side."""
        return self.unpacked(self.packed(value))

    def context(self, packed: dict[str, Any]) -> RequestContext:
        """The context of what was sent."""
        return self._serializer.deserialize_context(packed)

    def servers(self, topic: str) -> list[str]:
        with self._lock:
            return sorted(self._servers.get(topic, {}))

    def check(self, timeout: float = CHECK_TIMEOUT) -> None:
        """Do nothing: this bus has no broker."""

    def close(self) -> None:
        """Do nothing: this bus has no connections."""


class _LocalServer:
    def __init__(self, bus: LocalBus, topic: str, server: str) -> None:
        self._bus, self._topic, self._server = bus, topic, server

    def stop(self, timeout: float | None = None) -> bool:
        self._bus.remove(self._topic, self._server)
        return True


class _LocalClient:
    def __init__(self, bus: LocalBus, topic: str) -> None:
        self._bus, self._topic = bus, topic

    def call_async(
        self,
        ctxt: object,
        method: str,
        server: str | None = None,
        timeout: float = CALL_TIMEOUT,
        monitored: bool = False,
        **arguments: Any,
    ) -> futures.Future[Any]:
        """Call, and return a Future of the answer; calls arrive in the order in which they were made."""
        answered: futures.Future[Any] = futures.Future()
        try:
            answer = self._bus.dispatch(self._topic, server, ctxt, method, arguments)
        except Exception as fault:
            answered.set_exception(expected(fault))
            return answered
        if isinstance(answer, futures.Future):
            answer.add_done_callback(lambda done: concurrency.settle(answered, self._passed, done.result))
        else:
            concurrency.settle(answered, self._passed, lambda: answer)
        return answered

    def _passed(self, result: Callable[[], object]) -> Any:
        try:
            return self._bus.passed(result())
        except Exception as fault:
            raise expected(fault) from None

    def call(
        self,
        ctxt: object,
        method: str,
        server: str | None = None,
        timeout: float = CALL_TIMEOUT,
        monitored: bool = False,
        **arguments: Any,
    ) -> Any:
        """Call, and wait for the answer; NoAnswer if it does not arrive in time, NoSuchServer if no server is there."""
        try:
            return self.call_async(ctxt, method, server, **arguments).result(timeout)
        except TimeoutError:
            raise no_answer(self._topic, server, method, timeout) from None

    def ping(self, timeout: float) -> None:
        """Return when a server of the topic answers: see :meth:`_MessagingClient.ping`."""
        answered(lambda: self.call({}, PING, timeout=timeout))

    def known_level(self, server: str | None, timeout: float) -> int:
        """The newest level that a server knows: see :meth:`_MessagingClient.known_level`."""
        return level_answered(lambda: self.call({}, KNOWN_LEVEL, server, timeout))

    def known_version(self, server: str | None, timeout: float) -> str | None:
        """The installed version of a server; None of one that does not know the question."""
        return version_answered(lambda: self.call({}, KNOWN_VERSION, server, timeout))

    def cast(
        self, ctxt: object, method: str, server: str | None = None, fanout: bool = False, **arguments: Any
    ) -> None:
        """Call without an answer; a fault of the server is only logged."""
        targets: list[str | None] = [*self._bus.servers(self._topic)] if fanout else [server]
        for target in targets:
            answer = self.call_async(ctxt, method, target, **arguments)
            answer.add_done_callback(lambda done: self._report(method, done))

    def _report(self, method: str, done: futures.Future[Any]) -> None:
        """Log why a cast failed, if it did."""
        fault = done.exception()
        if fault is not None:
            LOG.warning("cast %s to %s failed: %s", method, self._topic, fault)
