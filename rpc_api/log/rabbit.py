"""The log in a RabbitMQ stream: the back-end for production.

A log NAME is a stream queue NAME bound to a durable fanout exchange NAME.
Only the type of the stream is declared; a policy of the broker sets the retention. Records are published to the
exchange, and the broker confirms them when a quorum of the replicas has them (without a sync to disk). They are read in
stream order, and the offset in the stream is the position.

Positions have holes: the broker starts each segment of a stream (500 MB, or as a policy sets it) with a chunk of its
own, which takes one offset.

One connection writes (and finds the bounds), under a lock; each reader has its own connection, and fences have one.
In a cluster each node reads its own replica, which may be behind or missing: then the bounds are those of the node with
the longest replica.
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
from rpc_api.log.rabbit_fence import RabbitFences
from rpc_api.log.rabbit_reader import RabbitReader
from rpc_api.log.rabbit_session import BROKEN, MayNotCreate, Session, is_gone, open_session, unavailable
from rpc_api.log.rabbit_writer import ConfirmWindow, publish_all


def declare(session: Session) -> None:
    """Declare exchange, stream and binding, if our user has the permission; else they must exist. Raises errors of
    ``BROKEN``."""
    name, channel = session.address.stream, session.channel
    try:
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"})
        channel.queue_bind(name, name)
    except amqp.AccessRefused as refused:
        session.channel = session.new_channel()
        try:
            check_exists(session)
        except amqp.NotFound as missing:
            # (A broker that starts refuses already, and has not recovered its streams yet.)
            raise MayNotCreate(refused.reply_text) if is_gone(missing) else missing from None


def check_exists(session: Session) -> None:
    """Raise amqp.NotFound unless the stream exists; declares nothing and needs no permission."""
    session.channel.queue_declare(session.address.stream, passive=True)


class BrokerFacts(NamedTuple):
    """What a log knows of its broker; ``write_refusal`` is why it accepts no record of ``user``, None if it does."""

    place: str
    product: str
    version: str
    cluster: str
    user: str
    write_refusal: str | None


def _write_refusal(session: Session) -> str | None:
    """Why the broker accepts no record from our user; None if it does.

    Publishes a message in a transaction and rolls it back: the broker checks the permission at once, and appends the
    message only at the commit.
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
    """A handle on a stream. Only :meth:`open` declares it: a stream that was deleted is not recreated without the
    knowledge of its users."""

    is_cut_by_policy = True

    def __init__(self, address: RabbitAddress, create: bool) -> None:
        self.url = address.url
        self._address = address
        self._lock = threading.Lock()
        self._closed = False
        self._appended_at = 0.0
        self._session: Session | None = None
        self._window: ConfirmWindow | None = None
        self._readers: weakref.WeakSet[RabbitReader] = weakref.WeakSet()
        self._fences = RabbitFences(address)
        self._connect("open", declare if create else check_exists)

    @classmethod
    def open(cls, url: str, create: bool = True) -> "RabbitLog":
        """Connect to the stream that ``url`` names, declared first if ``create``.

        Raises UsageError for a wrong URL and LogUnavailable for other faults. To declare needs the permission
        ``configure`` on both names. If both exist, reading needs only ``read`` on the stream, and appending only
        ``write`` on the exchange.
        """
        return cls(parse_address(url), create)

    def append(self, payloads: Sequence[bytes]) -> None:
        checks.check_payloads(payloads)
        with self._lock:
            session, window = self._ready_session("append to"), self._window
            assert window is not None  # it is made with the session
            try:
                publish_all(session, window, self._address, payloads)
                self._appended_at = time.monotonic()
            except BROKEN as exc:
                raise self._lost("append to", exc) from exc
            except BaseException:
                self._drop_session()  # interrupted: their confirms would be counted for other messages
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

    def fence(self) -> int:
        if self._closed:
            raise checks.closed(self.url)
        return self._fences.fence()

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
        self._fences.close()
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
        """The broker's own facts, and whether it would accept a record. Appends and declares nothing."""
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

        # No heartbeats, because no thread would send them between two appends. TCP keeps the connection alive, a lost
        # connection is noticed at the next use, and an unanswered write fails within a second (TCP_USER_TIMEOUT).
        self._session = session = open_session(self._address, "writer", doing, prepare)
        return session

    def _ready_session(self, doing: str) -> Session:
        """Return the session; connects again if the session was lost, or closed by the broker, since the last use."""
        if self._closed:
            raise checks.closed(self.url)
        if self._session is not None:
            try:
                self._session.receive_pending(lambda: False)
            except BROKEN:
                self._drop_session()  # lost while idle: no message was under way
        if self._session is None:
            return self._connect(doing, check_exists)
        return self._session

    def _lost(self, doing: str, exc: BaseException) -> errors.LogUnavailable:
        """Drop the session after ``exc`` and return what to raise."""
        self._drop_session()
        return checks.closed(self.url) if self._closed else unavailable(doing, self._address, exc)

    def _drop_session(self) -> None:
        if self._session is not None:
            # A node that is cut off from the others may accept connections and confirm nothing, so the next node is
            # tried first.
            self._address = self._address.after(self._session.place)
            self._session.drop()
            self._session = self._window = None

    def __repr__(self) -> str:
        return f"<RabbitLog {self.url}>"
