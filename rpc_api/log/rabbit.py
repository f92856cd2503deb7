"""The log in a RabbitMQ stream: the back-end for production.

A log NAME is a stream queue NAME bound to a durable fanout exchange NAME.
Nothing but its type is declared of the stream: retention is left to a policy.
Records go in by the exchange, confirmed by the broker once a quorum of its
replicas has them (a broker does not sync to disk before it confirms); they
come out in stream order, and the offset of the stream is the position.

Positions have holes: the broker begins each segment of a stream (500 MB unless
a policy says else) with a chunk of its own, which takes one offset.

One connection writes (and looks for the bounds), under a lock; each reader has
one of its own. In a cluster each node reads its own replica, which may be behind
or missing: then the bounds are those of the node that has most.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple

import amqp

from rpc_api import errors
from rpc_api.log import checks
from rpc_api.log.port import Bounds, EventLog
from rpc_api.log.rabbit_address import RabbitAddress, parse_address
from rpc_api.log.rabbit_bounds import find_bounds, newest_bounds
from rpc_api.log.rabbit_reader import RabbitReader
from rpc_api.log.rabbit_session import BROKEN, Session, open_session, unavailable
from rpc_api.log.rabbit_writer import ConfirmWindow, publish_all


def declare(session: Session) -> None:
    """Declare exchange, stream and binding, where our user may; else they must be there.
    Raises errors of ``BROKEN``."""
    name, channel = session.address.stream, session.channel
    try:
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"})
        channel.queue_bind(name, name)
    except amqp.AccessRefused as refused:
        session.channel = session.new_channel()
        try:
            check_exists(session)
        except amqp.NotFound:
            raise refused from None


def check_exists(session: Session) -> None:
    """Raise amqp.NotFound unless the stream is there; declares nothing and needs no permission."""
    session.channel.queue_declare(session.address.stream, passive=True)


class BrokerFacts(NamedTuple):
    """A broker as a log met it; ``write_refusal`` is why it takes no record of ``user``, None where it does."""

    place: str
    product: str
    version: str
    cluster: str
    user: str
    write_refusal: str | None


def _write_refusal(session: Session) -> str | None:
    """Why the broker takes no record from our user; None where it does.

    A message is published in a transaction that is then rolled back: the broker looks at the permission at once, and
    at the message only when the transaction is committed.
    """
    channel, name = session.new_channel(), session.address.stream
    try:
        channel.tx_select()
        channel.basic_publish(amqp.Message(b"never appended", user_id=session.address.user), name)
        channel.tx_rollback()
    except (amqp.AccessRefused, amqp.NotFound) as refused:
        return str(refused.reply_text)
    channel.close()
    return None


class RabbitLog(EventLog):
    """A handle on a stream. Only :meth:`open` declares it: one that was deleted is not made again behind its users."""

    def __init__(self, address: RabbitAddress, create: bool) -> None:
        self.url = address.url
        self._address = address
        self._lock = threading.Lock()
        self._closed = False
        self._appended_at = 0.0
        self._session: Session | None = None
        self._window: ConfirmWindow | None = None
        self._readers: weakref.WeakSet[RabbitReader] = weakref.WeakSet()
        self._connect("open", declare if create else check_exists)

    @classmethod
    def open(cls, url: str, create: bool = True) -> "RabbitLog":
        """Connect to the stream that ``url`` names, declared first if ``create``.

        Raises UsageError for the URL and LogUnavailable for the rest. Declaring needs the permission to configure
        both names; where they are there already, reading needs only ``read`` on the stream and appending ``write`` on
        the exchange.
        """
        return cls(parse_address(url), create)

    def append(self, payloads: Sequence[bytes]) -> None:
        checks.check_payloads(payloads)
        with self._lock:
            session, window = self._ready_session("append to"), self._window
            assert window is not None  # made with the session
            try:
                publish_all(session, window, self._address, payloads)
                self._appended_at = time.monotonic()
            except BROKEN as exc:
                raise self._lost("append to", exc) from exc
            except BaseException:
                self._drop_session()  # interrupted: confirms of these messages would be taken for those of others
                raise

    def bounds(self) -> Bounds:
        doing = "read the bounds of"
        if len(self._address.hosts) > 1:
            if self._closed:
                raise checks.closed(self.url)
            return newest_bounds(self._address, doing)
        with self._lock:
            session = self._ready_session(doing)
            try:
                return find_bounds(session)
            except BROKEN as exc:
                raise self._lost(doing, exc) from exc
            except BaseException:
                self._drop_session()
                raise

    def read_from(self, position: int) -> RabbitReader:
        if self._closed:
            raise checks.closed(self.url)
        reader = RabbitReader(self._address, position, lambda: self._appended_at)
        self._readers.add(reader)
        if self._closed:
            reader.close()
            raise checks.closed(self.url)
        return reader

    def close(self) -> None:
        self._closed = True
        if not self._lock.acquire(blocking=False):
            session = self._session
            if session is not None:
                session.interrupt()  # an append waits for its confirms
            self._lock.acquire()
        try:
            if self._session is not None:
                self._session.close()
                self._session = self._window = None
        finally:
            self._lock.release()
        for reader in list(self._readers):
            reader.close()

    def broker(self) -> BrokerFacts:
        """What the broker says of itself, and whether it would take a record of ours. Nothing is
        appended or declared."""
        doing = "look at the broker of"
        with self._lock:
            session = self._ready_session(doing)
            try:
                facts = session.server_properties
                return BrokerFacts(
                    place="{}:{}".format(*session.place),
                    product=str(facts.get("product", "unknown")),
                    version=str(facts.get("version", "unknown")),
                    cluster=str(facts.get("cluster_name", "unknown")),
                    user=session.address.user,
                    write_refusal=_write_refusal(session),
                )
            except BROKEN as exc:
                raise self._lost(doing, exc) from exc

    def _connect(self, doing: str, setup: Callable[[Session], None]) -> Session:
        def prepare(session: Session) -> None:
            setup(session)
            self._window = ConfirmWindow(session)

        # No heartbeats: nobody would serve them between two appends. TCP keeps the connection alive, a lost one
        # is noticed at the next use, and an unanswered write fails it within a second (TCP_USER_TIMEOUT).
        self._session = session = open_session(self._address, "writer", doing, prepare)
        return session

    def _ready_session(self, doing: str) -> Session:
        """Return the session, connected anew if it was lost, or closed by the broker since the last use."""
        if self._closed:
            raise checks.closed(self.url)
        if self._session is not None:
            try:
                self._session.receive_pending(lambda: False)
            except BROKEN:
                self._drop_session()  # while it was idle: nothing of ours was on its way
        if self._session is None:
            return self._connect(doing, check_exists)
        return self._session

    def _lost(self, doing: str, exc: BaseException) -> errors.LogUnavailable:
        """Drop the session after ``exc`` and return what to raise."""
        self._drop_session()
        return checks.closed(self.url) if self._closed else unavailable(doing, self._address, exc)

    def _drop_session(self) -> None:
        if self._session is not None:
            # A node may take connections and confirm nothing, cut off from the others: the next one is tried first.
            self._address = self._address.after(self._session.place)
            self._session.drop()
            self._session = self._window = None

    def __repr__(self) -> str:
        return f"<RabbitLog {self.url}>"
