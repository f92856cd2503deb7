"""What both buses share: which faults travel, how an endpoint is called, and the errors of calls."""

import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from rpc_api import errors, log_context, nova_exception
from rpc_api.nova_exception import NovaException
from rpc_api.objects.serializer import NovaSerializer

LOG = logging.getLogger(__name__)

CALL_TIMEOUT = 60
#: Seconds that :meth:`MessagingBus.check` gives each server of the broker.
CHECK_TIMEOUT = 5.0
DEFAULT_EXCHANGE = "nova"
#: Method that does nothing: whoever calls it learns whether anybody answers a topic.
PING = "ping"
#: What an endpoint may answer with: the project's errors, and those that a nova-conductor knows.
EXPECTED = (errors.NovaSchedError, NovaException)


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
        """Call, and wait for the answer; NoAnswer when it does not come in time, NoSuchServer when nobody is there."""

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


class Served(Protocol):
    """A topic that is answered."""

    def stop(self, timeout: float | None = None) -> bool:
        """Take no more calls, and wait for those that were taken; True when they are answered."""


class Bus(Protocol):
    """RPC between services."""

    def client(self, topic: str, version: str) -> Client:
        """A client of the servers of a topic."""

    def serve(self, topic: str, server: str, endpoints: Sequence[object], version: str) -> Served:
        """Answer calls to a topic."""

    def check(self, timeout: float = CHECK_TIMEOUT) -> None:
        """Raise LogUnavailable unless the broker lets us in."""

    def close(self) -> None:
        """Give back the connections."""


def _classes_by_name() -> dict[str, type[Exception]]:
    """Nova's classes come last: of a name that both sides have (ServiceUnavailable), only Nova's is answered with."""
    found: dict[str, type[Exception]] = {}
    for base in EXPECTED:
        waiting: list[type[Exception]] = [base]
        while waiting:
            error = waiting.pop()
            if error.__module__ in (errors.__name__, nova_exception.MODULE):
                found[error.__name__] = error
                waiting.extend(error.__subclasses__())
    return found


#: The errors that keep their class on the way, by its name.
BY_NAME = _classes_by_name()


def expected(fault: BaseException) -> Exception:
    """What is answered in place of a fault: itself if it is EXPECTED, else a NovaSchedError (its traceback is logged
    for debugging)."""
    if isinstance(fault, EXPECTED):
        return fault
    LOG.error("an RPC endpoint met a fault of its own: %r", fault)
    LOG.debug("the fault of the RPC endpoint", exc_info=fault)
    return errors.NovaSchedError(f"the service met a fault of its own ({fault!r}); see its log")


def invoke(
    endpoints: Sequence[object],
    serializer: NovaSerializer,
    ctxt: object,
    method: str,
    arguments: dict[str, Any],
    fault: errors.NovaSchedError | None = None,
) -> Any:
    """Call the first endpoint that has the method; ``arguments`` are as they travel. UsageError when none has it.

    What cannot be read is never lost without a word: an endpoint that has ``unreadable(ctxt, method, arguments,
    fault)`` answers in its own way, for others it is logged and raised. ``fault`` says why the context cannot be read.
    """
    if method == PING:
        return None
    for endpoint in endpoints:
        allowed = getattr(endpoint, "RPC_METHODS", None)
        target = getattr(endpoint, method, None)
        if target is None or method.startswith("_") or (allowed is not None and method not in allowed):
            continue
        if not getattr(endpoint, "TAKES_PRIMITIVES", False):
            # An endpoint that hands calls on to another process wants them as they travel.
            try:
                arguments = _read(serializer, target, method, arguments, fault)
            except errors.NovaSchedError as unread:
                if not hasattr(endpoint, "unreadable"):
                    LOG.warning("a call of %s is not done: %s", method, unread)
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
    """The arguments of a call as its method takes them; a NovaSchedError says what cannot be read of them."""
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
    """Make a call of which only matters whether somebody answers. A service that does not know the method PING, as
    those of the version before do not, answers that it does not."""
    try:
        call()
    except (errors.NoAnswer, errors.NoSuchServer):
        raise
    except errors.NovaSchedError:
        return


def no_answer(topic: str, server: str | None, method: str, timeout: float) -> errors.NoAnswer:
    """The error of a call that was not answered in time."""
    return errors.NoAnswer(
        f"{method} was not answered by {server or 'any server'} of the topic {topic} within "
        f"{timeout} s; see to that service and to the broker"
    )
