"""Fences of a stream: a record without events is published and read back, and its offset is the position of the fence.

A stream has its records in the order in which its leader got them. So a record that was confirmed to anybody before the
fence was published has an earlier offset.
"""

import threading
import time
import uuid

import amqp
from amqp import Message

from rpc_api import errors
from rpc_api.log import checks
from rpc_api.log.port import FENCE
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_bounds import OFFSET_HEADER, consume, find_bounds
from rpc_api.log.rabbit_session import (
    ANSWER_SECONDS,
    BROKEN,
    NotConfirmed,
    NotTaken,
    Session,
    StreamGone,
    open_session,
    unavailable,
)

PREFETCH_MESSAGES = 1000
ACK_EVERY_MESSAGES = 100
#: After so long without a fence, or after a fence that took so long, the consumer starts again at the end of the stream
#: (which takes some milliseconds): so it need not read all records that came since, and does not fall behind a stream
#: that grows faster than it reads.
IDLE_SECONDS, SLOW_SECONDS = 0.5, 0.02
DOING = "put a fence into"


class _NoRecords(Exception):
    """The stream is empty. A fence must not be its first record."""


class RabbitFences:
    """The fences of one log, from any thread. One at a time is under way, on a connection of its own; callers that come
    meanwhile share the next one."""

    def __init__(self, address: RabbitAddress) -> None:
        self._address = address
        self._changed = threading.Condition()
        self._begun = self._done = 0
        self._is_under_way = False
        self._outcome: int | errors.NovaSchedError = -1
        self._closed = False
        self._session: Session | None = None
        self._tag: str | None = None
        self._used_at = 0.0
        self._is_late = False
        #: The fence that is waited for, and its position when it came.
        self._body = b""
        self._position: int | None = None
        self._unacked = self._last_tag = 0
        self._fault: NotTaken | None = None

    def fence(self) -> int:
        """See :meth:`~rpc_api.log.port.EventLog.fence`."""
        with self._changed:
            # One that is under way was perhaps published before the append that the caller knows of.
            wanted = self._begun + 1
            self._changed.wait_for(lambda: self._done >= wanted or not self._is_under_way)
            if self._done >= wanted:
                return self._result()
            self._begun += 1
            number, self._is_under_way = self._begun, True
        outcome: int | errors.NovaSchedError = errors.LogUnavailable(
            f"the fence in {self._address.url} was interrupted"
        )
        try:
            outcome = self._pass()
        except errors.NovaSchedError as fault:
            outcome = fault
        finally:
            with self._changed:
                self._done, self._outcome, self._is_under_way = number, outcome, False
                self._changed.notify_all()
        if isinstance(outcome, errors.NovaSchedError):
            raise outcome
        return outcome

    def close(self) -> None:
        """End a fence that is under way, and the connection."""
        self._closed = True
        with self._changed:
            session = self._session
            if self._is_under_way:
                if session is not None:
                    session.interrupt()
                return
            self._session = None
        if session is not None:
            session.close()

    def _result(self) -> int:
        if isinstance(self._outcome, errors.NovaSchedError):
            raise type(self._outcome)(str(self._outcome))
        return self._outcome

    def _pass(self) -> int:
        try:
            session = self._ready()
            began = time.monotonic()
            self._body, self._position = FENCE + uuid.uuid4().bytes, None
            session.publish(self._address.stream, [self._body])
            position = self._read_back(session)
            self._used_at = time.monotonic()
            self._is_late = self._used_at - began > SLOW_SECONDS
            return position
        except _NoRecords:
            self._drop()
            return -1
        except BROKEN as exc:
            self._drop()
            raise checks.closed(self._address.url) if self._closed else unavailable(DOING, self._address, exc) from exc
        except BaseException:
            self._drop()
            raise

    def _ready(self) -> Session:
        """The session, with a consumer at the end of the stream."""
        if self._closed:
            raise checks.closed(self._address.url)
        session = self._session
        if session is None:
            return self._connect()
        try:
            if self._is_late or time.monotonic() - self._used_at > IDLE_SECONDS:
                self._start_again(session)
            self._receive_pending(session)
            return session
        except BROKEN:
            self._drop()  # lost while idle
            return self._connect()

    def _connect(self) -> Session:
        self._unacked, self._fault, self._tag = 0, None, None
        self._session = session = open_session(self._address, "fence", DOING, self._prepare)
        if self._closed:  # closed meanwhile, before there was a session to interrupt
            session.interrupt()
        return session

    def _prepare(self, session: Session) -> None:
        if not find_bounds(session).count:
            session.close()
            raise _NoRecords
        session.channel.events["basic_return"].add(self._on_return)
        session.channel.basic_qos(0, PREFETCH_MESSAGES, False)
        self._start_again(session)

    def _start_again(self, session: Session) -> None:
        """Consume from the end of the stream. The broker has started the consumer before it takes what the same channel
        publishes next."""
        if self._tag is not None:
            session.channel.basic_cancel(self._tag)
        self._unacked = 0
        self._tag = consume(session.channel, self._address.stream, "next", self._on_message)

    def _receive_pending(self, session: Session) -> None:
        while True:
            session.receive_pending(lambda: self._unacked >= ACK_EVERY_MESSAGES or self._fault is not None)
            if self._fault is not None:
                raise self._fault
            if self._unacked < ACK_EVERY_MESSAGES:
                return
            self._acknowledge(session)

    def _read_back(self, session: Session) -> int:
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._position is None:
            if self._fault is not None:
                raise self._fault
            if self._unacked >= ACK_EVERY_MESSAGES:
                self._acknowledge(session)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                silent = f"the broker did not deliver a record within {ANSWER_SECONDS:.0f} s"
                raise (
                    NotTaken(f"{silent} and has blocked publishers (memory or disk alarm)")
                    if session.blocked
                    else NotConfirmed(silent)
                )
            if self._tag not in session.channel.callbacks:
                raise amqp.exceptions.ConsumerCancelled()
            session.receive(remaining)
        return self._position

    def _acknowledge(self, session: Session) -> None:
        session.channel.basic_ack(self._last_tag, multiple=True)
        self._unacked = 0

    def _on_message(self, message: Message) -> None:
        self._last_tag = message.delivery_tag
        self._unacked += 1
        if message.body == self._body:
            self._position = message.headers[OFFSET_HEADER]

    def _on_return(self, exc: amqp.AMQPError, exchange: str, routing_key: str, message: Message) -> None:
        self._fault = StreamGone(
            f"the exchange {exchange!r} has no stream bound to it ({exc.reply_text}): "
            "the stream was deleted, so create the log again"
        )

    def _drop(self) -> None:
        with self._changed:
            session, self._session = self._session, None
        if session is not None:
            self._address = self._address.after(session.place)
            session.drop()
