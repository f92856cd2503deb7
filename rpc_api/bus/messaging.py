"""The bus over oslo.messaging: rabbit:// in production, fake:// in one process."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from importlib import import_module
from typing import TYPE_CHECKING, Any

import amqp
from oslo_config import cfg

from rpc_api import broker_url, concurrency, errors, faults, log_context
from rpc_api.bus.port import (
    BY_NAME,
    CALL_TIMEOUT,
    CHECK_TIMEOUT,
    DEFAULT_EXCHANGE,
    KNOWN_LEVEL,
    KNOWN_VERSION,
    PING,
    Answer,
    Client,
    answered,
    expected,
    invoke,
    level_answered,
    no_answer,
    version_answered,
)
from rpc_api.bus.server import Serving, server_class, watch_delivery
from rpc_api.objects.context import RequestContext
from rpc_api.serializer import RpcSerializer
from rpc_api.waiting import Outage

if TYPE_CHECKING:
    # Not before the concurrency mode is chosen.
    from oslo_messaging import TransportURL

LOG = logging.getLogger(__name__)

#: How often a cast is tried again on a broker that is away, before it is given up.
CAST_RETRIES = 2
CHECK_BROKER = "check the broker and the permissions of the user in transport_url"
#: For the connections of a bus to be closed.
CLOSE_SECONDS = 3.0


@contextlib.contextmanager
def usable_url() -> Iterator[None]:
    """Turn what oslo.messaging raises for a wrong transport URL into a UsageError."""
    from oslo_messaging import DriverLoadFailure, InvalidTransportURL

    try:
        yield
    except (broker_url.WrongURL, InvalidTransportURL) as wrong:
        found = str(wrong) if isinstance(wrong, broker_url.WrongURL) else "it has no form of a URL"
        raise errors.UsageError(f"the transport URL cannot be used: {found}; fix transport_url") from None
    except DriverLoadFailure as fault:
        raise errors.UsageError(f"the transport URL cannot be used ({_masked(fault)}); fix transport_url") from None
    except cfg.NoSuchOptError as fault:
        raise errors.UsageError(
            f"the transport URL cannot be used: it has the option {fault.opt_name!r}, wanted "
            "options of [oslo_messaging_rabbit]; fix transport_url"
        ) from None
    except ValueError:
        raise errors.UsageError(
            "the transport URL cannot be used: an option in it has a wrong value, wanted "
            "one as in [oslo_messaging_rabbit]; fix transport_url"
        ) from None


class MessagingBus:
    """RPC through oslo.messaging; ``url`` None means ``conf.transport_url``, ``exchange`` None ``control_exchange``."""

    def __init__(
        self, conf: cfg.ConfigOpts, url: str | None = None, exchange: str | None = None, threads: int = 16
    ) -> None:
        import oslo_messaging

        self._messaging = oslo_messaging
        self._transport_faults = _transport_faults(oslo_messaging)
        oslo_messaging.set_transport_defaults(DEFAULT_EXCHANGE)
        _register_all(conf)
        with usable_url():
            self._url = self._parsed(conf, url)
            # No module is allowed for remote errors: they come as a RemoteError, and BY_NAME makes them what they were.
            self._transport = oslo_messaging.get_rpc_transport(conf, url=self._url, allowed_remote_exmods=[])
        if self._url.transport in ("rabbit", "kombu"):
            _share_lock_path(conf)
        self._conf = conf
        self._exchange = exchange or conf.control_exchange
        self._serializer = RpcSerializer()
        self._pool = concurrency.DaemonPool(threads, "rpc call")

    def _parsed(self, conf: cfg.ConfigOpts, url: str | None) -> TransportURL:
        self._messaging.TransportURL(conf)  # registers transport_url
        return broker_url.parse(url or conf.transport_url, conf)

    def check(self, timeout: float = CHECK_TIMEOUT) -> None:
        """Raise LogUnavailable unless a server of the broker lets us in: oslo.messaging itself would try for ever."""
        if self._url.transport not in ("rabbit", "kombu"):
            return
        from rpc_api.bus.broker_check import check_broker

        check_broker(self._url, self._conf, timeout)

    def serve(self, topic: str, server: str, endpoints: Sequence[object], version: str) -> Serving:
        """Answer calls to a topic; returns an object with ``stop(timeout)``, which waits for what is being answered.

        Raises LogUnavailable when the broker cannot, and LogRefused when it does not let us.
        """
        target = self._messaging.Target(exchange=self._exchange, topic=topic, server=server)
        answering = _Answering(endpoints, self._messaging, version, self._serializer)
        rpc_server = self._messaging.get_rpc_server(
            self._transport,
            target,
            [answering],
            access_policy=self._messaging.DefaultRPCAccessPolicy,
            server_cls=server_class(self._messaging),
        )
        rpc_server.at_once = frozenset((PING, KNOWN_LEVEL, KNOWN_VERSION, *getattr(endpoints[0], "RPC_AT_ONCE", ())))
        try:
            rpc_server.start()
        except self._transport_faults as fault:
            kind = errors.LogUnavailable if faults.may_pass(fault) else errors.LogRefused
            raise kind(f"the topic {topic} cannot be answered: {_masked(fault)}; {CHECK_BROKER}") from None
        return Serving(rpc_server)

    def client(self, topic: str, version: str) -> Client:
        """A client of the servers of a topic."""
        target = self._messaging.Target(exchange=self._exchange, topic=topic, version=version)
        client = self._messaging.get_rpc_client(self._transport, target, serializer=self._serializer)
        return _MessagingClient(
            client, topic, self._messaging, self._transport_faults, self._pool, self._conf.rpc_response_timeout
        )

    def close(self) -> None:
        """Give back the connections. Those of a broker that does not answer are left to the end of the process."""
        self._pool.close()
        closing = threading.Thread(target=self._transport.cleanup, name="close the RPC connections", daemon=True)
        if concurrency.start_or_report(closing):
            closing.join(CLOSE_SECONDS)


def _transport_faults(messaging: Any) -> tuple[type[Exception], ...]:
    """What is raised when the broker cannot be used: by oslo.messaging on a connection that was there, by kombu and
    amqp while there never was one."""
    # kombu may only be imported once the concurrency mode is chosen.
    from kombu.exceptions import OperationalError

    return messaging.MessageDeliveryFailure, OperationalError, amqp.AMQPError, OSError


def _register_all(conf: cfg.ConfigOpts) -> None:
    """Register what oslo.messaging registers on the shared configuration alone,
    and reads from the one that it was given."""
    for name in ("metrics", "tracing"):
        with contextlib.suppress(ImportError):  # which of them there are depends on its version
            client = import_module(f"oslo_messaging._{name}.client")
            conf.register_opts(getattr(client, f"oslo_messaging_{name}"), f"oslo_messaging_{name}")


def _share_lock_path(conf: cfg.ConfigOpts) -> None:
    """Let the locks of oslo.messaging use the directory that ``conf`` names. UsageError if a lock has none.

    oslo.messaging takes a lock when it gives out the names of queues, and reads ``[oslo_concurrency] lock_path`` from
    the shared configuration alone."""
    from oslo_concurrency import lockutils, opts

    for group, options in opts.list_opts():
        conf.register_opts(options, group)
    if conf.oslo_concurrency.lock_path:
        lockutils.set_defaults(conf.oslo_concurrency.lock_path)
    elif conf.oslo_messaging_rabbit.use_queue_manager:
        raise errors.UsageError(
            "[oslo_messaging_rabbit] use_queue_manager is set, and [oslo_concurrency] lock_path is not; set it to a "
            "directory in which the service may write"
        )


def _masked(fault: Exception) -> str:
    from rpc_api.log.checks import mask_password

    return mask_password(str(fault))


class _Answering:
    """Endpoints as oslo.messaging wants them. They wait for Futures, and what is raised is an answer."""

    def __init__(self, endpoints: Sequence[object], messaging: Any, version: str, serializer: RpcSerializer) -> None:
        self._endpoints = endpoints
        self._messaging = messaging
        self._serializer = serializer
        self.target = messaging.Target(version=version)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith(("_", "oslo_")):
            raise AttributeError(method)

        def answer(ctxt: Any, **arguments: Any) -> Any:
            # A context stays set in its thread, whose next call is another caller's.
            with log_context.of(None):
                try:
                    context, unread = self._context(ctxt)
                    result = invoke(self._endpoints, self._serializer, context, method, arguments, unread)
                    answer = result
                    result = answer.result() if isinstance(answer, futures.Future) else answer
                    if isinstance(answer, Answer):
                        watch_delivery(answer.on_not_delivered)
                    return self._serializer.serialize_entity(None, result)
                except Exception as fault:
                    refusal = self._refusal(expected(fault))
                raise refusal

        return answer

    def _context(self, ctxt: Any) -> tuple[RequestContext | None, errors.InvalidEvent | None]:
        """The context of a message, or None and why it cannot be read."""
        try:
            return self._serializer.deserialize_context(ctxt), None
        except errors.InvalidEvent as fault:
            return None, fault

    def _refusal(self, fault: Exception) -> Any:
        """The fault in the form in which oslo.messaging answers with it and logs nothing; without its traceback."""
        fault.__cause__, fault.__suppress_context__ = None, True
        refusal = self._messaging.ExpectedException()
        refusal.exc_info = (type(fault), fault.with_traceback(None), None)
        return refusal


class _MessagingClient:
    def __init__(
        self,
        client: Any,
        topic: str,
        messaging: Any,
        transport_faults: tuple[type[Exception], ...],
        pool: concurrency.DaemonPool,
        silence_max: float,
    ) -> None:
        self._client, self._topic, self._messaging, self._pool = client, topic, messaging, pool
        self._transport_faults = transport_faults
        self._silence_max = silence_max
        self._outage = Outage(f"casts to {topic} cannot be sent, and are given up", log=LOG)
        self._outage_lock = threading.Lock()
        # The broker says so at once when there is no queue that a call could go to.
        self._options = messaging.TransportOptions(at_least_once=True)

    def call(
        self,
        ctxt: object,
        method: str,
        server: str | None = None,
        timeout: float = CALL_TIMEOUT,
        monitored: bool = False,
        **arguments: Any,
    ) -> Any:
        """Call, and wait for the answer; NoAnswer when it does not come in time, NoSuchServer when no server is there.

        A ``monitored`` call is also given up if no server sent a heartbeat for it during ``[DEFAULT]
        rpc_response_timeout``: else a server that went down with a broker would be waited for until ``timeout``. Only
        for calls that do not wait long for their turn, as a server sends none before that.
        """
        prepared = self._client.prepare(
            server=server,
            timeout=timeout,
            transport_options=self._options,
            call_monitor_timeout=self._silence_max if monitored else None,
        )
        return self._call(prepared, ctxt, method, server, timeout, **arguments)

    def _call(
        self, prepared: Any, ctxt: object, method: str, server: str | None, timeout: float, **arguments: Any
    ) -> Any:
        messaging, asked_at = self._messaging, time.monotonic()
        try:
            return prepared.call(ctxt, method, **arguments)
        except messaging.MessagingTimeout:
            in_full = time.monotonic() - asked_at >= timeout
            raise no_answer(self._topic, server, method, timeout if in_full else self._silence_max) from None
        except messaging.MessageUndeliverable:
            raise errors.NoSuchServer(
                f"no server{f' {server}' if server else ''} answers the topic {self._topic}; start that service"
            ) from None
        except (messaging.RemoteError, messaging.RPCDispatcherError) as fault:
            raise _local(fault) from None
        except self._transport_faults as fault:
            raise errors.NoAnswer(
                f"{method} could not be sent to {self._topic} ({_masked(fault)}); check the broker"
            ) from None

    def call_async(
        self,
        ctxt: object,
        method: str,
        server: str | None = None,
        timeout: float = CALL_TIMEOUT,
        monitored: bool = False,
        **arguments: Any,
    ) -> futures.Future[Any]:
        """Call, and return a Future of the answer (from a pool: the order of arrival is not kept)."""
        return self._pool.submit(self.call, ctxt, method, server, timeout, monitored, **arguments)

    def ping(self, timeout: float) -> None:
        """Return when a server of the topic answers; NoAnswer or NoSuchServer when none does.

        In the caller's thread: the pool may be taken up by calls that last.
        """
        answered(
            lambda: self._call(
                self._client.prepare(timeout=timeout, retry=CAST_RETRIES, transport_options=self._options),
                {},
                PING,
                None,
                timeout,
            )
        )

    def known_level(self, server: str | None, timeout: float) -> int:
        """The newest level that a server knows; NoAnswer or NoSuchServer when it does not answer."""
        return level_answered(lambda: self.call({}, KNOWN_LEVEL, server, timeout))

    def known_version(self, server: str | None, timeout: float) -> str | None:
        """The installed version of a server; None of one that does not know the question."""
        return version_answered(lambda: self.call({}, KNOWN_VERSION, server, timeout))

    def cast(
        self, ctxt: object, method: str, server: str | None = None, fanout: bool = False, **arguments: Any
    ) -> None:
        """Call without an answer. A cast that cannot be sent now is given up, and that is logged, rarely; LogRefused
        if a person must change something before casts can be sent."""
        try:
            self._client.prepare(server=server, fanout=fanout or None, retry=CAST_RETRIES).cast(
                ctxt, method, **arguments
            )
        except self._transport_faults as fault:
            if not faults.may_pass(fault):
                raise errors.LogRefused(
                    f"{method} cannot be sent to {self._topic}: {_masked(fault)}; {CHECK_BROKER}"
                ) from None
            LOG.debug("cast %s to %s could not be sent: %s", method, self._topic, fault)
            with self._outage_lock:
                self._outage.met(fault)
        else:
            if self._outage.lasts:
                with self._outage_lock:
                    self._outage.over(f"casts to {self._topic} can be sent again")


def _local(fault: Exception) -> Exception:
    """The error of this project, or of nova, that an error of the other side was."""
    name = getattr(fault, "exc_type", type(fault).__name__)
    text = str(getattr(fault, "value", fault))
    if name in BY_NAME:
        return BY_NAME[name](text)
    if name in ("NoSuchMethod", "UnsupportedVersion", "RPCDispatcherError"):
        return errors.UsageError(f"the other side does not know this call ({text}); use a client of the same version")
    return errors.NovaSchedError(f"the other side failed: {name}: {text}")
