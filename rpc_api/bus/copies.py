"""A bounded queue of our own on RabbitMQ that gets copies of what other programs publish to an exchange.

The broker delivers each message to the queue of its receiver and to this one. Nobody waits for this queue: it has a
limit in bytes and drops its oldest messages, and the broker removes it if nobody reads it for a while. The account
needs rights on the names of the queue and the right to read the exchange; it needs no right to publish there.

The broker sends each message that the queue drops to an exchange of ours, and from there to a queue of one message. So
a reader learns for certain that messages were lost, also while it was away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

import amqp
from amqp import Channel, Message
from kombu.compression import decompress

from rpc_api import errors
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_session import BROKEN, CONNECT_SECONDS, HEARTBEAT_SECONDS, Session

#: Suffix of the names of the exchange and of the queue for messages that were dropped.
DROPPED = ".dropped"
PREFETCH_MESSAGES = 500
#: Bytes after which no more messages are read at once.
READ_BYTES = 16 * 1024 * 1024
#: The longest wait for a frame, so that heartbeats are sent.
LOOK_SECONDS = 1.0
_IN_USE = "in exclusive use"
#: What reads -> the page that documents the rights of its account.
PAGES = {"tap": "wire-tap.md", "shadow": "shadow.md"}


class Copy(NamedTuple):
    """A message: its ``routing_key``, and its ``body`` (None if it cannot be unpacked)."""

    routing_key: str
    body: bytes | None


class QueueInUse(errors.ServiceUnavailable):
    """Another process reads the queue now."""


class CopyQueue:
    """The queue ``address.stream``, which gets what is published to ``exchange`` with ``routing_key``.

    It has at most ``max_bytes``, and the broker removes it after ``expires`` seconds without a reader. With ``durable``
    a broker keeps the queue over its restart, and stores the messages on its disk. Only one process can read. With
    ``starts_empty`` each start to read is with a new queue, for a reader to whom older messages are of no use. ``name``
    is what reads, and the section of its options.
    """

    def __init__(
        self,
        address: RabbitAddress,
        exchange: str,
        routing_key: str,
        max_bytes: int,
        expires: float,
        durable: bool = False,
        starts_empty: bool = False,
        name: str = "tap",
    ) -> None:
        self._address, self._exchange, self._routing_key = address, exchange, routing_key
        self._durable, self._starts_empty = durable, starts_empty
        self._name = name
        limits = {"x-expires": int(expires * 1000), "x-overflow": "drop-head"}
        self._arguments = {
            "x-max-length-bytes": max_bytes,
            "x-dead-letter-exchange": f"{address.stream}{DROPPED}",
            **limits,
        }
        self._arguments_dropped = {"x-max-length": 1, **limits}
        self._session: Session | None = None
        self._arrived: list[Copy] = []
        self._arrived_bytes = 0
        #: Delivery tags of the last message that arrived, was read and was acknowledged.
        self._arrived_tag = self._read_tag = self._acked_tag = 0
        self._dropped = False

    @property
    def url(self) -> str:
        """The URL of the broker, without its password, with the name of the queue."""
        return self._address.url

    def open(self) -> bool:
        """Connect and start to read; returns whether the queue was already there, so that nothing was lost before.

        Raises QueueInUse while another process reads, and ServiceUnavailable with what was found on each broker and
        what to do."""
        self.close()
        found = []
        for host, port in self._address.hosts:
            address, session = self._address.at((host, port)), None
            try:
                session = Session(address, host, port, self._name, HEARTBEAT_SECONDS, CONNECT_SECONDS)
                was_there = self._start(session)
            except QueueInUse:
                if session is not None:
                    session.drop()
                raise
            except BROKEN as fault:
                if session is not None:
                    session.drop()
                if isinstance(fault, amqp.AccessRefused) and _IN_USE in (fault.reply_text or ""):
                    raise QueueInUse(f"another process reads the queue {address.stream}") from None
                found.append(f"{host}:{port}: {self._explained(address, fault)}")
                continue
            self._session = session
            return was_there
        raise errors.ServiceUnavailable(f"cannot tap the exchange {self._exchange} of {self.url}: {'; '.join(found)}")

    def close(self) -> None:
        """End the connection. Messages that are not acknowledged come again to the next reader."""
        session, self._session = self._session, None
        self._arrived, self._arrived_bytes = [], 0
        self._arrived_tag = self._read_tag = self._acked_tag = 0
        if session is not None:
            with contextlib.suppress(*BROKEN):
                session.close()

    def read(self, timeout: float, most: int = PREFETCH_MESSAGES) -> list[Copy]:
        """The messages that have arrived, about ``most``; waits up to ``timeout`` seconds for the first one.
        ServiceUnavailable if the connection is lost."""
        session = self._opened()
        deadline = time.monotonic() + timeout
        try:
            while True:
                session.receive_pending(lambda: len(self._arrived) >= most or self._arrived_bytes >= READ_BYTES)
                session.beat()
                remaining = deadline - time.monotonic()
                if self._arrived or remaining <= 0:
                    break
                session.receive(min(remaining, LOOK_SECONDS))
        except BROKEN as fault:
            raise self._lost(fault) from None
        taken, self._arrived, self._arrived_bytes = self._arrived, [], 0
        self._read_tag = self._arrived_tag
        return taken

    def beat(self) -> None:
        """Send a heartbeat if it is time to: call it every few seconds while nothing is read."""
        try:
            self._opened().beat()
        except BROKEN as fault:
            raise self._lost(fault) from None

    def acknowledge(self) -> None:
        """All messages that were read are done. ServiceUnavailable if the connection is lost: they come again."""
        session = self._opened()
        if self._acked_tag < self._read_tag:
            self._acked_tag = self._read_tag
            try:
                session.channel.basic_ack(self._read_tag, multiple=True)
            except BROKEN as fault:
                raise self._lost(fault) from None

    def has_dropped(self) -> bool:
        """Whether the queue dropped messages since the last call."""
        dropped, self._dropped = self._dropped, False
        return dropped

    def _opened(self) -> Session:
        if self._session is None:
            raise errors.ServiceUnavailable(f"the queue {self._address.stream} is not open; open it")
        return self._session

    def _lost(self, fault: BaseException) -> errors.ServiceUnavailable:
        session, self._session = self._session, None
        if session is not None:
            session.drop()
        self.close()
        return errors.ServiceUnavailable(
            f"the queue {self._address.stream} of {self.url} is lost: {self._explained(self._address, fault)}"
        )

    # --- the names on the broker -------------------------------------------------------------------------------------

    def _start(self, session: Session) -> bool:
        """Declare what is missing, and start to read."""
        queue = self._address.stream
        if self._starts_empty:
            self._remove(session, queue)
        self._declare_dropped(session.channel, queue + DROPPED)
        was_there = self._is_there(session, queue)
        if was_there and not self._try(session, lambda channel: self._declare(channel, queue)):
            # It has other limits than those that are configured now.
            session.new_channel().queue_delete(queue)
            was_there = False
        channel = session.channel = session.new_channel()
        self._declare(channel, queue)
        channel.queue_bind(queue, self._exchange, self._routing_key)
        channel.basic_qos(0, PREFETCH_MESSAGES, False)
        _consume(channel, queue + DROPPED, self._on_dropped, no_ack=True)
        _consume(channel, queue, self._on_message, exclusive=True)
        return was_there

    def _remove(self, session: Session, queue: str) -> None:
        """Remove the queue, and what is known of messages that it dropped; QueueInUse while another process reads."""
        channel = session.new_channel()
        try:
            for name in (queue, queue + DROPPED):
                channel.queue_delete(name, if_unused=True)
        except amqp.PreconditionFailed:
            raise QueueInUse(f"another process reads the queue {queue}") from None
        session.channel = session.new_channel()

    def _declare_dropped(self, channel: Channel, name: str) -> None:
        channel.exchange_declare(name, "fanout", durable=self._durable, auto_delete=True)
        channel.queue_declare(name, durable=self._durable, auto_delete=False, arguments=self._arguments_dropped)
        channel.queue_bind(name, name)

    def _declare(self, channel: Channel, queue: str) -> None:
        channel.queue_declare(queue, durable=self._durable, auto_delete=False, arguments=self._arguments)

    def _is_there(self, session: Session, queue: str) -> bool:
        return self._try(session, lambda channel: channel.queue_declare(queue, passive=True))

    @staticmethod
    def _try(session: Session, action: Callable[[Channel], object]) -> bool:
        """Whether an action works, on a channel of its own: the broker closes the channel if not."""
        channel = session.new_channel()
        try:
            action(channel)
        except (amqp.NotFound, amqp.PreconditionFailed):
            return False
        channel.close()
        return True

    def _on_message(self, message: Message) -> None:
        """Called while frames are received, so it must not wait and must not raise."""
        self._arrived_tag = message.delivery_tag
        self._arrived_bytes += len(message.body or b"")
        self._arrived.append(Copy(message.delivery_info["routing_key"], _unpacked(message)))

    def _on_dropped(self, message: Message) -> None:
        self._dropped = True

    def _explained(self, address: RabbitAddress, fault: BaseException) -> str:
        """What was found, and what to do."""
        text = getattr(fault, "reply_text", None) or str(fault) or type(fault).__name__
        if isinstance(fault, amqp.AccessRefused) and "login" in text.lower():
            return f"the broker refuses the user {address.user!r} or its password; fix them in [{self._name}] url"
        if isinstance(fault, amqp.AccessRefused):
            return (
                f"{text}; give the user {address.user!r} the rights of the {self._name} (rabbitmqctl set_permissions, "
                f"see docs/operating/{PAGES[self._name]})"
            )
        if isinstance(fault, amqp.NotAllowed):
            return f"{text}; check the vhost in [{self._name}] url, and the user's permissions in it"
        if isinstance(fault, amqp.NotFound):
            return f"{text}; start Nova's services there, which declare the exchange, or fix [{self._name}] exchange"
        return f"{text}; check the broker, and the host and the port in [{self._name}] url"


def _consume(channel: Channel, queue: str, callback: Callable[[Message], object], **options: bool) -> None:
    """Start a consumer. Its callback is set first, because the broker may deliver before it answers, and py-amqp
    rejects a delivery without a callback."""
    channel.callbacks[queue] = callback
    channel.basic_consume(queue, consumer_tag=queue, callback=callback, **options)


def _unpacked(message: Message) -> bytes | None:
    """The body of a message, which oslo.messaging may have compressed ([oslo_messaging_rabbit] kombu_compression)."""
    body = message.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    compression = (message.headers or {}).get("compression")
    if compression is None:
        return body
    try:
        unpacked = decompress(body, compression)
    except Exception:
        # Each library has errors of its own.
        return None
    return unpacked if isinstance(unpacked, bytes) else str(unpacked).encode()
