"""RPC between the services, over oslo.messaging or, inside one process, directly.

A bus has clients and servers. A topic names a kind of service, a server one
of them. ``call`` waits for the answer of one server of the topic, ``cast``
does not wait, ``fanout`` reaches all of them.

* :class:`MessagingBus`: ``rabbit://`` in production, ``fake://`` in one process.
* :class:`LocalBus`: calls the endpoint in the caller's thread. What is passed still goes through the serializer, so
  that both sides never share an object.
"""

import itertools
import logging
import threading
from concurrent import futures

from rpc_api import errors
from rpc_api.nova_exception import NovaException
from rpc_api.serializer import RpcSerializer

LOG = logging.getLogger(__name__)

CALL_TIMEOUT = 60
#: What an endpoint may answer with: the project's errors, and those that a nova-conductor knows.
EXPECTED = (errors.NovaSchedError, NovaException)


class LocalBus:
    """RPC inside one process."""

    def __init__(self):
        self._serializer = RpcSerializer()
        self._servers = {}
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def serve(self, topic: str, server: str, endpoints, version: str):
        """Answer calls to a topic; returns an object with ``stop()``."""
        with self._lock:
            self._servers.setdefault(topic, {})[server] = endpoints
        return _LocalServer(self, topic, server)

    def remove(self, topic, server):
        with self._lock:
            self._servers.get(topic, {}).pop(server, None)

    def client(self, topic: str, version: str):
        """A client of the servers of a topic."""
        return _LocalClient(self, topic)

    def dispatch(self, topic, server, ctxt, method, arguments):
        """Call one server's endpoint; the answer may be a Future."""
        with self._lock:
            servers = self._servers.get(topic, {})
            if server is None and servers:
                server = sorted(servers)[next(self._turn) % len(servers)]
            endpoints = servers.get(server)
        if endpoints is None:
            raise errors.LogUnavailable(f"no server {server or ''} answers the topic {topic}; start that service")
        return self.invoke(endpoints, ctxt, method, arguments)

    def invoke(self, endpoints, ctxt, method, arguments):
        """Call the first endpoint that has the method, with arguments that went through the serializer."""
        for endpoint in endpoints:
            target = getattr(endpoint, method, None)
            if target is not None:
                # An endpoint that hands calls on to another process wants them as they travel.
                carry = self.packed if getattr(endpoint, "TAKES_PRIMITIVES", False) else self.passed
                return target(ctxt, **{name: carry(value) for name, value in arguments.items()})
        raise errors.UsageError(f"no endpoint has the method {method}; use a client of the same version")

    def packed(self, value):
        """A value as it travels."""
        return self._serializer.serialize_entity(None, value)

    def unpacked(self, value):
        """A value that travelled, as it arrives."""
        return self._serializer.deserialize_entity(None, value)

    def passed(self, value):
        """A value as it arrives on the other side."""
        return self.unpacked(self.packed(value))

    def context(self, packed):
        """A context that travelled, as it arrives."""
        return self._serializer.deserialize_context(packed)

    def servers(self, topic):
        with self._lock:
            return sorted(self._servers.get(topic, {}))

    def close(self):
        """Nothing to give back."""


class _LocalServer:
    def __init__(self, bus, topic, server):
        self._bus, self._topic, self._server = bus, topic, server

    def stop(self):
        self._bus.remove(self._topic, self._server)


class _LocalClient:
    def __init__(self, bus, topic):
        self._bus, self._topic = bus, topic

    def call_async(self, ctxt, method, server=None, timeout=CALL_TIMEOUT, **arguments):
        """Call, and return a Future of the answer: calls made in order arrive in order."""
        answered = futures.Future()
        try:
            answer = self._bus.dispatch(self._topic, server, ctxt, method, arguments)
        except Exception as fault:
            answered.set_exception(fault)
            return answered
        if isinstance(answer, futures.Future):
            answer.add_done_callback(lambda done: self._pass_on(done, answered))
        else:
            answered.set_result(self._bus.passed(answer))
        return answered

    def _pass_on(self, done, answered):
        fault = done.exception()
        if fault is not None:
            answered.set_exception(fault)
        else:
            answered.set_result(self._bus.passed(done.result()))

    def call(self, ctxt, method, server=None, timeout=CALL_TIMEOUT, **arguments):
        """Call, and wait for the answer."""
        return self.call_async(ctxt, method, server, **arguments).result(timeout)

    def cast(self, ctxt, method, server=None, fanout=False, **arguments):
        """Call without an answer; what goes wrong on the other side is its own affair."""
        for one in self._bus.servers(self._topic) if fanout else [server]:
            fault = self.call_async(ctxt, method, one, **arguments).exception(CALL_TIMEOUT)
            if fault is not None:
                LOG.warning("cast %s to %s failed: %s", method, self._topic, fault)


class MessagingBus:
    """RPC through oslo.messaging."""

    def __init__(self, conf, url: str | None = None, exchange: str | None = None, threads: int = 16):
        import oslo_messaging
        self._messaging = oslo_messaging
        self._exchange = exchange or conf.control_exchange
        try:
            self._transport = oslo_messaging.get_rpc_transport(conf, url=url)
        except (oslo_messaging.DriverLoadFailure, oslo_messaging.InvalidTransportURL) as fault:
            raise errors.UsageError(f"the transport URL cannot be used ({fault}); mend transport_url") from None
        self._serializer = RpcSerializer()
        self._pool = futures.ThreadPoolExecutor(threads, thread_name_prefix="rpc call")

    def serve(self, topic: str, server: str, endpoints, version: str):
        """Answer calls to a topic; returns an object with ``stop()``."""
        target = self._messaging.Target(exchange=self._exchange, topic=topic, server=server)
        answering = [_Answering(endpoint, self._messaging, version) for endpoint in endpoints]
        rpc_server = self._messaging.get_rpc_server(
            self._transport, target, answering, serializer=self._serializer,
            access_policy=self._messaging.DefaultRPCAccessPolicy)
        rpc_server.start()
        return _MessagingServer(rpc_server)

    def client(self, topic: str, version: str):
        """A client of the servers of a topic."""
        target = self._messaging.Target(exchange=self._exchange, topic=topic, version=version)
        client = self._messaging.get_rpc_client(self._transport, target, serializer=self._serializer)
        return _MessagingClient(client, self._pool)

    def close(self):
        """Give back the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._transport.cleanup()


class _Answering:
    """An endpoint as oslo.messaging wants it: it waits for Futures, and what it raises is an answer, not an accident."""

    def __init__(self, endpoint, messaging, version):
        self._endpoint = endpoint
        self._messaging = messaging
        self.target = messaging.Target(version=version)

    def __getattr__(self, method):
        act = getattr(self._endpoint, method)

        def answer(*args, **kwargs):
            try:
                result = act(*args, **kwargs)
                return result.result() if isinstance(result, futures.Future) else result
            except EXPECTED:
                raise self._messaging.ExpectedException() from None
        return answer


class _MessagingServer:
    def __init__(self, server):
        self._server = server

    def stop(self):
        self._server.stop()
        self._server.wait()


class _MessagingClient:
    def __init__(self, client, pool):
        self._client, self._pool = client, pool

    def call(self, ctxt, method, server=None, timeout=CALL_TIMEOUT, **arguments):
        """Call, and wait for the answer."""
        prepared = self._client.prepare(server=server, timeout=timeout)
        return prepared.call(ctxt, method, **arguments)

    def call_async(self, ctxt, method, server=None, timeout=CALL_TIMEOUT, **arguments):
        """Call, and return a Future of the answer (from a pool: the order of arrival is not kept)."""
        return self._pool.submit(self.call, ctxt, method, server, timeout, **arguments)

    def cast(self, ctxt, method, server=None, fanout=False, **arguments):
        """Call without an answer."""
        self._client.prepare(server=server, fanout=fanout or None).cast(ctxt, method, **arguments)
