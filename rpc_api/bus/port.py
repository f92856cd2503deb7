"""What both buses share: their interface, the faults that are sent, how an endpoint is called, and the errors of
calls."""

import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib import metadata
from typing import Any, Protocol

from rpc_api import errors, log_context, nova_exception
from rpc_api.levels import LEVEL
from rpc_api.nova_exception import NovaException
from rpc_api.objects.serializer import NovaSerializer

LOG = logging.getLogger(__name__)

CALL_TIMEOUT = 60
#: Seconds that :meth:`MessagingBus.check` gives each server of the broker.
CHECK_TIMEOUT = 5.0
DEFAULT_EXCHANGE = "nova"
#: A method that does nothing: its caller learns whether a server answers the topic.
PING = "ping"
#: A method that answers with the newest level (:mod:`rpc_api.levels`) that a service knows.
KNOWN_LEVEL = "known_level"
#: A method that answers with the installed version of a service.
KNOWN_VERSION = "known_version"
#: Errors that an endpoint may answer with: the project's, and those that a nova-conductor knows.
EXPECTED = (errors.NovaSchedError, NovaException)


class Answer(Future[Any]):
    """The Future of an endpoint that wants to learn if its answer is not delivered: its caller is gone.
    ``on_not_delivered()`` is then called, from any thread. The endpoint sets it before the result."""

    def __init__(self) -> None:
        super().__init__()
        self.on_not_delivered: Callable[[], object] | None = None


class Client(Protocol):
    """Calls the servers of one topic. ``ctxt`` is the caller's request context; times are in seconds."""

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

    def call_async(
        self,
        ctxt: object,
        method: str,
        server: str | None = None,
        timeout: float = CALL_TIMEOUT,
        monitored: bool = False,
        **arguments: Any,
    ) -> Future[Any]:
        """Call, and return a Future of the answer."""

    def cast(
        self, ctxt: object, method: str, server: str | None = None, fanout: bool = False, **arguments: Any
    ) -> None:
        """Call one server, or all with ``fanout``, without an answer."""

    def ping(self, timeout: float) -> None:
        """Return when a server of the topic answers; NoAnswer or NoSuchServer when none does."""

    def known_level(self, server: str | None, timeout: float) -> int:
        """The newest level that a server (None: any one) knows; NoAnswer or NoSuchServer when it does not answer."""

    def known_version(self, server: str | None, timeout: float) -> str | None:
        """The installed version of a server, None of an older one that does not know the question; raises as
        :meth:`known_level`."""


class Served(Protocol):
    """A server of a topic."""

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more calls, and wait for the accepted ones; True if they are answered."""


class Bus(Protocol):
    """RPC between services."""

    def client(self, topic: str, version: str) -> Client:
        """A client of the servers of a topic."""

    def serve(self, topic: str, server: str, endpoints: Sequence[object], version: str) -> Served:
        """Answer calls to a topic."""

    def check(self, timeout: float = CHECK_TIMEOUT) -> None:
        """Raise LogUnavailable unless the broker accepts the login."""

    def close(self) -> None:
        """Close the connections."""


def _classes_by_name() -> dict[str, type[Exception]]:
    """Nova's classes come last: if both have a name (ServiceUnavailable), endpoints answer with Nova's class only."""
    found: dict[str, type[Exception]] = {}
    for base in EXPECTED:
        waiting: list[type[Exception]] = [base]
        while waiting:
            error = waiting.pop()
            if error.__module__ in (errors.__name__, nova_exception.MODULE):
                found[error.__name__] = error
                waiting.extend(error.__subclasses__())
    return found


#: The errors whose class is sent, by its name.
BY_NAME = _classes_by_name()


def expected(fault: BaseException) -> Exception:
    """The answer for a fault: the fault if it is EXPECTED, else a NovaSchedError (the traceback is logged for
    debugging)."""
    if isinstance(fault, EXPECTED):
        return fault
    LOG.error("an RPC endpoint failed: %r", fault)
    LOG.debug("the fault of the RPC endpoint", exc_info=fault)
    return errors.NovaSchedError(f"the service failed ({fault!r}); see its log")


def invoke(
    endpoints: Sequence[object],
    serializer: NovaSerializer,
    ctxt: object,
    method: str,
    arguments: dict[str, Any],
    fault: errors.NovaSchedError | None = None,
) -> Any:
    """Call the first endpoint that has the method; ``arguments`` are in the form in which they are sent. UsageError if
    no endpoint has the method.

    An unreadable call is never lost silently: an endpoint with ``unreadable(ctxt, method, arguments, fault)`` answers
    in its own way, for other endpoints the error is logged and raised. ``fault`` is why the context cannot be read.
    """
    if method == PING:
        return None
    if method == KNOWN_LEVEL:
        return LEVEL
    if method == KNOWN_VERSION:
        return metadata.version("nova_sched")
    for endpoint in endpoints:
        allowed = getattr(endpoint, "RPC_METHODS", None)
        target = getattr(endpoint, method, None)
        if target is None or method.startswith("_") or (allowed is not None and method not in allowed):
            continue
        if not getattr(endpoint, "TAKES_PRIMITIVES", False):
            # An endpoint that forwards calls to another process takes the arguments in the form in which they are sent.
            try:
                arguments = _read(serializer, target, method, arguments, fault)
            except errors.NovaSchedError as unread:
                if not hasattr(endpoint, "unreadable"):
                    LOG.warning("a call of %s is not executed: %s", method, unread)
                    raise
                with log_context.of(ctxt):
                    return endpoint.unreadable(ctxt, method, arguments, unread)
        elif fault is not None:
            raise fault
        with log_context.of(ctxt):
            return target(ctxt, **arguments)
    raise errors.UsageError(f"no endpoint has the method {method}; use a client of the same version")


def _read(
    serializer: NovaSerializer,
    target: Callable[..., Any],
    method: str,
    arguments: dict[str, Any],
    fault: errors.NovaSchedError | None,
) -> dict[str, Any]:
    """The arguments of a call in the form that its method takes; NovaSchedError if they cannot be read."""
    if fault is not None:
        raise fault
    try:
        arguments = {name: serializer.deserialize_entity(None, value) for name, value in arguments.items()}
        inspect.signature(target).bind(None, **arguments)
    except errors.NovaSchedError:
        raise
    except Exception as wrong:
        raise errors.UsageError(
            f"the arguments of {method} cannot be read ({wrong!s:.200}); use a client of the same version"
        ) from None
    return arguments


def answered(call: Callable[[], object]) -> None:
    """Make a call to learn only whether a server answers. A service of an older version does not know the method PING,
    and answers with an error, which is an answer, too."""
    try:
        call()
    except (errors.NoAnswer, errors.NoSuchServer):
        raise
    except errors.NovaSchedError:
        return


def level_answered(call: Callable[[], object]) -> int:
    """Make a call of KNOWN_LEVEL. A service of level 1 does not know the method."""
    try:
        level = call()
    except errors.UsageError:
        return 1
    return level if type(level) is int else 1


def version_answered(call: Callable[[], object]) -> str | None:
    """Make a call of KNOWN_VERSION. A service of an earlier release does not know the method."""
    try:
        version = call()
    except errors.UsageError:
        return None
    return version if type(version) is str else None


def no_answer(topic: str, server: str | None, method: str, timeout: float) -> errors.NoAnswer:
    """The error of a call that was not answered in time."""
    return errors.NoAnswer(
        f"{method} was not answered by {server or 'any server'} of the topic {topic} within "
        f"{timeout} s; check that service and the broker"
    )
