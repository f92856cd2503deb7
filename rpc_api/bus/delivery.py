"""Whether an answer reaches its caller.

oslo.messaging (18.3) sends an answer to the reply queue of the caller. If that queue does not exist, it tries for 60 s
in the thread of the call, and then returns as if it had succeeded. And the queue of a process that was killed exists
for another 30 min: answers are routed to it, and nobody reads them. So before an answer is sent whose endpoint wants to
learn of its delivery, the broker is asked whether the queue has a reader. While it has none the answer waits here,
because a client that lost its connection comes back and reads on.

It uses private attributes of oslo.messaging, which has no public way; tests/rpc_api/test_bus.py fails if it does not
work with the installed version.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import amqp

from rpc_api import concurrency, faults
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: Seconds for a caller to come back, as long as oslo.messaging waits for it.
PATIENCE_SECONDS = 60.0
#: Seconds between two looks at the queues that answers wait for.
LOOK_SECONDS = 0.5
#: Seconds for which it is remembered whether a queue has a reader.
KNOWN_SECONDS = 1.0
#: Seconds for the broker to answer a look.
BROKER_SECONDS = 5.0
KNOWN_MAX = 1000


class ReplyQueues:
    """Asks the broker of a driver of oslo.messaging, over a connection of its own: a look at a queue that is missing
    closes its channel."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._connection: Any = None
        self._channel: Any = None
        #: Name -> (whether it has a reader, when the broker said so).
        self._known: dict[str, tuple[bool | None, float]] = {}

    def has_reader(self, name: str) -> bool | None:
        """Whether a queue exists and has a consumer; None if the broker does not answer."""
        with self._lock:
            found, at = self._known.get(name, (None, float("-inf")))
            if time.monotonic() - at < KNOWN_SECONDS:
                return found
            found = self._look(name)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[name] = found, time.monotonic()
            return found

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _look(self, name: str) -> bool | None:
        # The broker closes a connection that was idle for long, which the first look notices.
        for _ in range(2):
            was_open = self._connection is not None
            try:
                return bool(self._open_channel().queue_declare(name, passive=True).consumer_count)
            except amqp.NotFound:
                self._channel = None  # it was closed by that
                return False
            except Exception as fault:
                LOG.debug("the reader of the queue %s is not known: %r", name, fault)
                self._drop()
                if not was_open:
                    break
        return None

    def _open_channel(self) -> Any:
        if self._connection is None:
            from oslo_messaging._drivers.common import PURPOSE_SEND

            with self._driver._get_connection(PURPOSE_SEND) as pooled:
                of_pool = pooled.connection.connection
            timeouts = {"read_timeout": BROKER_SECONDS, "write_timeout": BROKER_SECONDS}
            # No thread would send heartbeats.
            self._connection = of_pool.clone(heartbeat=0, transport_options={**of_pool.transport_options, **timeouts})
            self._connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
        if self._channel is None:
            self._channel = self._connection.channel()
        return self._channel

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except Exception as fault:
                LOG.debug("the connection could not be closed: %r", fault)


class Delivery(NamedTuple):
    """An answer: ``send()`` sends it to ``queue`` and returns whether the queue was there; ``on_not_delivered()`` is
    called if it was not delivered until ``deadline`` (monotonic)."""

    queue: str
    send: Callable[[], bool]
    on_not_delivered: Callable[[], object]
    deadline: float


class Deliveries:
    """Sends answers whose endpoints want to learn if they are not delivered; ``has_reader`` is as in ReplyQueues."""

    def __init__(self, has_reader: Callable[[str], bool | None]) -> None:
        self._has_reader = has_reader
        self._lock = threading.Lock()
        self._waiting: list[Delivery] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def deliver(self, queue: str, send: Callable[[], bool], on_not_delivered: Callable[[], object]) -> None:
        """Send an answer now, or when its queue has a reader. An answer that was sent to an existing queue counts as
        delivered; if the broker does not say whether there is a reader, it is sent. If that fails and the fault may
        pass, it is tried again until it has waited too long."""
        delivery = Delivery(queue, send, on_not_delivered, time.monotonic() + PATIENCE_SECONDS)
        if self._reader_of(queue) is not False:
            self._send(delivery)
        else:
            self._wait(delivery)

    def close(self) -> None:
        """Give up what waits: it is not known whether these callers come back, so nothing is called for them."""
        self._stop.set()

    def _wait(self, delivery: Delivery) -> None:
        with self._lock:
            self._waiting.append(delivery)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="answers that wait", daemon=True)
                concurrency.start_or_report(self._thread)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look(time.monotonic())

    def _reader_of(self, queue: str) -> bool | None:
        try:
            return self._has_reader(queue)
        except Exception as fault:
            LOG.warning("whether the reply queue %s has a reader is not known: %r", queue, fault)
            return None

    def look(self, now: float) -> None:
        """Send the answers whose queues have a reader by now, and drop those that waited too long."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        readers = {queue: self._reader_of(queue) for queue in {delivery.queue for delivery in waiting}}
        left, dropped = [], []
        for delivery in waiting:
            if readers[delivery.queue]:
                self._send(delivery)
            elif now < delivery.deadline:
                left.append(delivery)
            elif readers[delivery.queue] is None:
                self._send(delivery)  # a broker that does not answer proves nothing
            else:
                dropped.append(delivery)
        with self._lock:
            self._waiting += left
        self._drop(dropped)

    def _send(self, delivery: Delivery) -> None:
        try:
            is_there = delivery.send()
        except Exception as fault:
            if faults.may_pass(fault) and time.monotonic() < delivery.deadline:
                LOG.debug("an answer cannot be sent, and is tried again, reply queue %s: %r", delivery.queue, fault)
                self._wait(delivery)
            else:
                self._drop([delivery], f"sending failed ({fault!r})")
            return
        if not is_there:
            self._drop([delivery])

    def _drop(self, dropped: list[Delivery], why: str = "their caller is gone") -> None:
        for queue in dict.fromkeys(delivery.queue for delivery in dropped):
            count = sum(delivery.queue == queue for delivery in dropped)
            answers = number_of(count, "answer is", "answers are")
            LOG.warning("%s not delivered: %s, reply queue %s", answers, why, queue)
        for delivery in dropped:
            try:
                delivery.on_not_delivered()
            except Exception as fault:
                LOG.error("an answer that is not delivered cannot be taken back: %r", fault)
