"""The thread that publishes what waits in the outbox, and tries again after growing pauses. Nova never waits for it."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import oslo_messaging

from compute_agent.nova_notifier import config
from compute_agent.nova_notifier.outbox import Item, Outbox
from rpc_api import errors
from rpc_api.clock import SYSTEM, Clock
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds for which the thread waits for a message before it looks whether it must end.
LOOK_SECONDS = 60.0


class Sender:
    """Publishes messages as RPC casts of oslo.messaging, with the settings of nova-compute's
    ``[oslo_messaging_rabbit]``."""

    def __init__(self, conf) -> None:
        self._conf = conf
        self._url = conf.nova_sched.url
        self._target = oslo_messaging.Target(exchange=conf.nova_sched.exchange, topic=config.TOPIC)
        # The messages must have a queue: what a tap that is not there cannot read stays in the outbox.
        self._options = oslo_messaging.TransportOptions(at_least_once=True)
        self._transport = None

    def __call__(self, method: str, arguments: dict[str, Any]) -> None:
        """Publish one message, and wait until the broker has it in a queue. ServiceUnavailable if it has not."""
        try:
            if self._transport is None:
                self._transport = oslo_messaging.get_rpc_transport(self._conf, self._url)
            client = oslo_messaging.get_rpc_client(
                self._transport, self._target, retry=0, transport_options=self._options
            )
            client.cast({}, method, **arguments)
        except oslo_messaging.MessageUndeliverable:
            self._drop()
            raise errors.ServiceUnavailable(
                f"the exchange {self._target.exchange} has no queue; start nova_sched's conductor of the cell with "
                f"[tap] exchange = {self._target.exchange}"
            ) from None
        except Exception as fault:
            self._drop()
            raise errors.ServiceUnavailable(f"{fault}; check the broker, and [nova_sched] url") from fault

    def _drop(self):
        """Close the connection: the broker's answer to a message that failed must not count for the next one."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cleanup()


class Publisher:
    """``send`` is called with the method and the arguments of each message, in a thread of its own."""

    def __init__(self, outbox: Outbox, send: Callable[[str, dict[str, Any]], object], clock: Clock = SYSTEM) -> None:
        self._outbox = outbox
        self._send = send
        self._clock = clock
        self._outage = Outage("nova_sched's tap does not get the objects of this nova-compute", clock, LOG)
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, key, record) -> None:
        """Publish a record soon. Does not wait, and starts the thread if it does not run."""
        self._outbox.put(key, record, self._clock.monotonic())
        if self._thread is None:
            with self._starting:
                self._start()

    def _start(self):
        # Not before: a thread would not survive a fork of the process that loads the driver.
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="nova_sched notifier", daemon=True)
            thread.start()
            self._thread = thread
            LOG.info("nova_sched's tap is to get the objects of this nova-compute")

    def stop(self) -> None:
        """Let the thread end after a message, or the pause, that is under way."""
        self._stopped.set()

    def _run(self):
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            item = self._outbox.first(LOOK_SECONDS)
            if item is None or self.publish(item):
                pause = FIRST_PAUSE
            else:
                self._stopped.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def publish(self, item: Item) -> bool:
        """Publish an item of the outbox; whether that worked. Never raises."""
        fault = None
        try:
            self._send(*item[1].message())
        except Exception as found:
            fault = found
        if fault is not None:
            # Not above: oslo.log adds an exception that is being handled to the line, which has it already.
            self._outage.met(fault)
            return False
        self._outbox.done(item)
        if self._outage.lasts:
            self._outage.over("nova_sched's tap gets the objects of this nova-compute again")
            self._outbox.put_nodes_again(self._clock.monotonic())
        return True
