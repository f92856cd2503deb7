"""An RPC server over oslo.messaging that leaves no call unanswered and stops in time.

oslo.messaging (18.3) loses calls, and hangs, in these ways:

* It gives each call to an executor that starts threads when they are needed. If the system gives no more threads, the
  call, which is acknowledged already, is dropped, and the caller waits for the whole timeout. A pool of our own calls
  the endpoint instead.
* An answer may need a connection, and a connection a thread. Without a thread the answer is dropped. It is sent again
  here, because other answers release their connections meanwhile.
* An answer to a caller that is gone counts as sent: see delivery.py.
* While its broker is unreachable, the thread that polls only connects again and again, so ``stop`` would wait for it
  for ever. Here ``stop`` waits for the running calls, and a little longer.

It uses private attributes of oslo.messaging, which has no public way; tests/rpc_api/test_bus.py fails if it does not
work with the installed version.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from rpc_api import concurrency
from rpc_api.bus.delivery import Deliveries, ReplyQueues
from rpc_api.stop_consuming import cancel_consumers

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for an idle server to stop; with an unreachable broker it takes longer.
STOP_SECONDS = 5.0
#: Threads for methods that must not wait for long calls.
QUICK_THREADS = 8
REPLY_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: ``message`` is the message whose call this thread answers.
_answering = threading.local()


def watch_delivery(on_not_delivered: Callable[[], object] | None) -> None:
    """Call a function if the answer to the call that this thread answers is not delivered."""
    _answering.message.reply.on_not_delivered = on_not_delivered


def server_class(messaging: Any) -> type[Any]:
    """Make the class of the server. This is a function because oslo.messaging may only be imported after the
    concurrency mode is chosen."""
    from oslo_messaging.rpc.server import RPCServer

    class AnsweringServer(RPCServer):  # type: ignore[misc]  # oslo.messaging has no types
        def __init__(self, transport: Any, target: Any, dispatcher: Any, executor: Any = None) -> None:
            super().__init__(transport, target, _Dispatcher(dispatcher), executor)
            #: Methods that must not wait for long calls.
            self.at_once: frozenset[str] = frozenset()
            # RuntimeError if there is not even one thread: then the service does not start.
            self.pool: _Pools | None = None
            self._executor_cls = self._make_pool
            self.reply_queues: ReplyQueues | None = None
            self.deliveries = Deliveries(self._has_reader)

        def _make_pool(self, max_workers: int) -> _Pools:
            self.pool = pool = _Pools(max_workers, f"answer {self._target.topic}", self.at_once)
            return pool

        def _process_incoming(self, incoming: list[Any]) -> None:
            message = incoming[0]
            message.reply = _Reply(message, self.deliveries)
            if self.reply_queues is None and hasattr(message, "reply_q"):
                self.reply_queues = ReplyQueues(message.listener.driver)
            super()._process_incoming(incoming)

        def _has_reader(self, queue: str) -> bool | None:
            return self.reply_queues.has_reader(queue) if self.reply_queues is not None else None

        def close_deliveries(self) -> None:
            """Give up the answers that wait for their callers."""
            self.deliveries.close()
            if self.reply_queues is not None:
                self.reply_queues.close()

    return AnsweringServer


class _Pools:
    """The threads that answer. Long calls, such as builds, may occupy most of them; if a beat waited for these, its
    hosts would count as lost, and if a ping did, its service would count as silent."""

    def __init__(self, threads: int, name: str, at_once: frozenset[str]) -> None:
        self._at_once = at_once
        self._calls = concurrency.DaemonPool(threads, name)
        self._quick = concurrency.DaemonPool(min(threads, QUICK_THREADS), f"{name} at once")

    def submit(self, function: Callable[[list[Any]], T], incoming: list[Any]) -> Future[T]:
        quick = incoming[0].message.get("method") in self._at_once
        return (self._quick if quick else self._calls).submit(function, incoming)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all calls are answered; False if they are not in time."""
        return self._calls.wait(timeout) and self._quick.wait(timeout)

    def shutdown(self, wait: bool = True) -> None:
        """Accept no more calls."""
        self._quick.shutdown(wait)
        self._calls.shutdown(wait)


class _Dispatcher:
    """A dispatcher of oslo.messaging. If it cannot start a thread, that is the answer of the call, and is reported: the
    process cannot work."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dispatcher, name)

    def dispatch(self, incoming: Any) -> Any:
        _answering.message = incoming
        try:
            return self._dispatcher.dispatch(incoming)
        except (RuntimeError, MemoryError) as fault:
            concurrency.report_if_out_of_threads(fault)
            raise


class _Reply:
    """``reply`` of a message, tried again if there is no thread for a new connection. With an ``on_not_delivered``, it
    is a delivery (see delivery.py)."""

    def __init__(self, message: Any, deliveries: Deliveries) -> None:
        self._message = message
        self._reply = message.reply
        self._deliveries = deliveries
        self.on_not_delivered: Callable[[], object] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        queue = getattr(self._message, "reply_q", None)
        if self.on_not_delivered is None or not queue:
            self._send(*args, **kwargs)
            return

        def send() -> bool:
            self._send(*args, **kwargs)
            # Here oslo.messaging notes the queues that it did not find for a minute.
            return queue not in self._message._obsolete_reply_queues._cache

        self._deliveries.deliver(queue, send, self.on_not_delivered)

    def _send(self, *args: Any, **kwargs: Any) -> Any:
        for pause in (*REPLY_PAUSES, None):
            try:
                return self._reply(*args, **kwargs)
            except (RuntimeError, MemoryError) as fault:
                if not concurrency.is_out_of_threads(fault):
                    raise
                concurrency.report_if_out_of_threads(fault)
                if pause is None:
                    raise
            time.sleep(pause)


class Serving:
    """A server that was started."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more calls, and wait for at most ``timeout`` seconds until the accepted calls are answered; True if
        they are."""
        deadline = None if timeout is None else time.monotonic() + timeout
        stopping = threading.Thread(target=self._stop, name="stop answering", daemon=True)
        if not concurrency.start_or_report(stopping):
            return bool(self._server.pool.wait(timeout))
        while stopping.is_alive():
            answered = self._server.pool.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            stopping.join(
                STOP_SECONDS if deadline is None else min(STOP_SECONDS, max(0.0, deadline - time.monotonic()))
            )
            if stopping.is_alive() and not answered:
                LOG.warning("calls of the topic %s are not answered within %.1f s", self._server._target.topic, timeout)
                return False
            if stopping.is_alive() and self._server.pool.wait(0):
                # The broker is unreachable: it delivers unacknowledged calls to other servers without our help.
                LOG.info(
                    "the topic %s is given up without telling its broker, which does not answer",
                    self._server._target.topic,
                )
                return True
        return True

    def _stop(self) -> None:
        self._server.stop()
        cancel_consumers(self._server)
        self._server.wait()
        self._server.close_deliveries()
