"""Read a stream from a position and follow it, over lost connections, without skipping a record."""

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import amqp
from amqp import Message

from rpc_api import errors, faults
from rpc_api.log import checks
from rpc_api.log.last_read import LastRead
from rpc_api.log.port import READ_BYTES, Bounds, LogReader, Record
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_bounds import OFFSET_HEADER, bounds_by_node, consume, find_bounds
from rpc_api.log.rabbit_elsewhere import Elsewhere
from rpc_api.log.rabbit_session import (
    BROKEN,
    CONNECT_SECONDS,
    HEARTBEAT_SECONDS,
    ReplicaBehind,
    Session,
    is_gone,
    open_session,
    unavailable,
)

PREFETCH_MESSAGES = 1000
#: An acknowledgement only gives credit here; one for so many messages doubles the rate.
ACK_EVERY_MESSAGES = 100
BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.1, 2.0
CONNECT_SECONDS_MIN = 1.0
#: After a reconnect, the new node may be a moment behind the node that delivered the last record.
AHEAD_GRACE_SECONDS = 0.5
AHEAD_POLL_SECONDS = 0.05
#: A reader that received nothing for so long checks whether there are records: a consumer may end silently, as when its
#: node's replica is deleted, a connection may be dead, and a node may be cut off from the others.
SILENCE_SECONDS = 10.0
#: The same after an append of this process, because that record must arrive.
UNREAD_SECONDS = 2.0
#: The longest wait for a frame; then it may be time for such a check, or for a heartbeat.
LOOK_SECONDS = 1.0
#: For existing records to arrive, after such a check.
DELIVERY_SECONDS = 1.0


class RabbitReader(LogReader):
    """A consumer of the stream with its own connection; ``close`` alone may be called from another thread."""

    def __init__(self, address: RabbitAddress, position: int, appended_at: Callable[[], float] = lambda: 0.0) -> None:
        self.position = position
        #: When this process last had an append confirmed, monotonic.
        self._appended_at = appended_at
        self._elsewhere = Elsewhere()
        self._address = address
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._arrived: deque[Record] = deque()
        self._arrived_bytes = 0
        self._beyond: deque[Record] = deque()  # deliveries after a hole, until its cause is known
        self._expected = position
        self._last_read = LastRead(address.url)
        self._verified = True
        self._unacked = 0
        self._last_tag = 0
        self._fault: errors.NovaSchedError | None = None
        self._session: Session | None = None
        self._outage: errors.LogUnavailable | None = None
        self._connected_at = self._retry_at = self._heard_at = self._looked_at = 0.0
        self._backoff_seconds = BACKOFF_SECONDS_MIN
        self._connect("read", CONNECT_SECONDS)

    def read(self, max_records: int = 1000, timeout: float = 0.0, max_bytes: int = READ_BYTES) -> list[Record]:
        checks.check_read(max_records, timeout, max_bytes)
        deadline = time.monotonic() + timeout
        try:
            with self._lock:
                return self._read(max_records, deadline, max_bytes)
        finally:
            self._release_if_closed()

    def _read(self, max_records: int, deadline: float, max_bytes: int) -> list[Record]:
        while True:
            if self._closed.is_set():
                raise checks.closed(self._address.url)
            if not self._arrived and self._fault is not None:
                raise type(self._fault)(str(self._fault))
            session = self._session
            if session is not None:
                try:
                    self._pull(session, max_records, deadline, max_bytes)
                except BROKEN as exc:
                    self._lose(session, unavailable("read", self._address, exc))
            if self._arrived:
                return self._take(max_records, max_bytes)
            if self._session is None and not self._closed.is_set():
                self._reconnect(deadline)
            elif self._fault is None and time.monotonic() >= deadline:
                return []

    def _take(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return the records that have arrived, within both limits, and move the position past them."""
        sizes = (len(record.payload) for record in islice(self._arrived, max_records))
        count = checks.count_within(sizes, max_bytes)
        records = [self._arrived.popleft() for _ in range(count)]
        self._arrived_bytes -= sum(len(record.payload) for record in records)
        self.position = records[-1].position + 1
        return records

    # Receiving

    def _pull(self, session: Session, max_records: int, deadline: float, max_bytes: int) -> None:
        """Receive until a record has arrived or the time is up; then take all available records, up to
        both limits."""
        while True:
            self._drain(session, max_records, max_bytes)
            self._settle_holes(session)
            if self._arrived or self._fault is not None:
                return
            self._acknowledge(session)
            session.beat()
            self._look_after_silence(session)
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._closed.is_set():
                return
            session.receive(min(remaining, LOOK_SECONDS))

    def _look_after_silence(self, session: Session) -> None:
        """Raise ReplicaBehind or ConsumerCancelled if nothing arrived for long although there are records."""
        now, elsewhere = time.monotonic(), self._elsewhere
        if elsewhere.last >= self._expected and self._heard_at < elsewhere.found_at <= now - DELIVERY_SECONDS:
            raise ReplicaBehind(f"its replica does not go on at {self._expected}, others have {elsewhere.last}")
        patience = UNREAD_SECONDS if self._appended_at() > self._heard_at else SILENCE_SECONDS
        if now - max(self._heard_at, self._looked_at) < patience:
            return
        self._looked_at = now
        if elsewhere.look(self._address, session.place):
            return
        last = find_bounds(session).last
        deadline = time.monotonic() + DELIVERY_SECONDS
        while self._expected <= last and not self._ended_or_holding():
            if time.monotonic() >= deadline:
                raise amqp.exceptions.ConsumerCancelled()
            session.receive(max(0.0, deadline - time.monotonic()))

    def _drain(self, session: Session, max_records: int, max_bytes: int) -> None:
        """Take the frames that the socket has, in rounds, so that the broker gets credit while we still read."""

        def enough() -> bool:
            return (
                self._unacked >= ACK_EVERY_MESSAGES
                or len(self._arrived) >= max_records
                or self._arrived_bytes >= max_bytes
                or self._ended_or_holding()
            )

        while True:
            session.receive_pending(enough)
            if self._unacked < ACK_EVERY_MESSAGES or self._ended_or_holding():
                return
            self._acknowledge(session)

    def _ended_or_holding(self) -> bool:
        return self._fault is not None or bool(self._beyond)

    def _acknowledge(self, session: Session) -> None:
        if self._unacked:
            session.channel.basic_ack(self._last_tag, multiple=True)
            self._unacked = 0

    def _on_message(self, message: Message) -> None:
        """Take one delivery. Called while frames are received, so it must not wait and must not raise."""
        self._heard_at = time.monotonic()
        self._last_tag = message.delivery_tag
        self._unacked += 1
        # The body of an empty message is a str in py-amqp.
        record = Record(message.headers[OFFSET_HEADER], message.body or b"", message.properties.get("user_id"))
        if self._beyond:
            self._beyond.append(record)
        elif self._fault is None:
            self._accept(record)

    def _accept(self, record: Record) -> None:
        """Queue the expected record; hold a later one; check or ignore an earlier one."""
        if record.position >= self._expected and not self._verified and not self._last_read.awaits_some:
            self._verified = True  # the broker took the position before it for itself
        if record.position > self._expected:
            self._beyond.append(record)
        elif record.position == self._expected and self._verified:
            self._arrived.append(record)
            self._arrived_bytes += len(record.payload)
            self._expected += 1
            self._last_read.add(record.position, record.payload)
        elif record.position < self._expected and not self._verified:
            try:
                self._last_read.see(record.position, record.payload)
                self._verified = record.position == self._expected - 1 and not self._last_read.awaits_some
            except errors.LogGap as gap:
                self._fault = gap

    def _settle_holes(self, session: Session) -> None:
        """Skip an offset that the broker took for itself; end this reader if records were removed.

        The broker starts each segment of a stream except the first with a chunk of its own, which takes an offset. A
        stream loses records only at its front, so no record is missing while its first record is not later than the
        expected one.
        """
        while self._beyond and self._fault is None:
            bounds = find_bounds(session)
            if not self._verified or bounds.first > self._expected:
                self._fault = errors.PositionTruncated(
                    str(
                        self._gap(
                            f"the broker went on at {self._beyond[0].position}, and its first record is {bounds.first}"
                        )
                    )
                )
                return
            self._expected = self._beyond[0].position
            held, self._beyond = self._beyond, deque()
            for record in held:
                if self._beyond:
                    self._beyond.append(record)
                else:
                    self._accept(record)

    def _gap(self, found: str) -> errors.LogGap:
        return errors.LogGap(
            f"cannot read the log {self._address.url} on from position {self._expected}: {found}; "
            "rebuild from a snapshot that fits it"
        )

    # Connecting

    def _connect(self, doing: str, connect_seconds: float) -> None:
        """Open a session that consumes from ``_expected``; raises LogUnavailable and LogGap."""
        self._session = open_session(self._address, "reader", doing, self._consume, HEARTBEAT_SECONDS, connect_seconds)
        self._connected_at = self._heard_at = time.monotonic()
        if self._closed.is_set():  # closed meanwhile, before there was a session to interrupt
            self._session.interrupt()

    def _consume(self, session: Session) -> None:
        """Check that the stream still has the next record, then start a consumer there.

        It starts some records earlier, to remember them, and after a lost connection to check that they are still the
        same: a stream that was recreated, or lost its last records, and has grown past our position, has bounds that
        look right.
        """
        bounds = find_bounds(session)
        grace_ends = time.monotonic() + AHEAD_GRACE_SECONDS
        while self._expected > bounds.last + 1 and time.monotonic() < grace_ends:
            if self._closed.wait(AHEAD_POLL_SECONDS):
                raise checks.closed(self._address.url)
            bounds = find_bounds(session)
        self._check_position(bounds)
        self._verified = self._expected <= bounds.first
        if self._verified and not self._last_read.is_empty:
            raise errors.PositionTruncated(
                f"cannot read the log {self._address.url} on from position {self._expected}: its first record is "
                f"{bounds.first}, and the one before it, which would show that the log is the same, was removed; "
                "rebuild from a snapshot that fits it"
            )
        self._unacked = 0
        self._beyond.clear()
        start = max(bounds.first, self._last_read.from_position(self._expected))
        self._last_read.expect(start)
        if self._verified:
            start = self._expected
        session.channel.basic_qos(0, PREFETCH_MESSAGES, False)
        consume(session.channel, self._address.stream, start, self._on_message)

    def _check_position(self, bounds: Bounds) -> None:
        """Raise LogGap unless the next record is within ``bounds``, or ReplicaBehind if only this node lacks it, or if
        that is not known: most nodes have every confirmed record, so a node that is cut off from them does not prove a
        loss."""
        try:
            checks.check_position(self._expected, bounds, self._address.url)
        except errors.PositionAhead:
            nodes = len(self._address.hosts)
            found, answered = bounds_by_node(self._address, "read") if nodes > 1 else ([bounds], 1)
            behind = f"its replica ends at {bounds.last}, wanted {self._expected - 1}"
            if max(of_node.last for of_node in found) + 1 >= self._expected:
                raise ReplicaBehind(behind) from None
            if 2 * answered < nodes:
                raise ReplicaBehind(f"{behind}, and {answered} of {nodes} nodes answer") from None
            raise

    def _lose(self, session: Session, outage: errors.LogUnavailable) -> None:
        self._address = self._address.after(session.place)
        session.drop()
        self._session = None
        self._outage = outage
        if time.monotonic() - self._connected_at < BACKOFF_SECONDS_MAX:
            self._back_off()  # so that a broker that accepts us and closes at once is not flooded
        else:
            self._retry_at = 0.0
            self._backoff_seconds = BACKOFF_SECONDS_MIN

    def _back_off(self) -> None:
        self._retry_at = time.monotonic() + self._backoff_seconds
        self._backoff_seconds = min(2 * self._backoff_seconds, BACKOFF_SECONDS_MAX)

    def _reconnect(self, deadline: float) -> None:
        """Try once, when it is time to; raises LogUnavailable if that is after ``deadline``, or if another attempt
        would fail too."""
        now = time.monotonic()
        if self._retry_at > now:
            self._closed.wait(min(self._retry_at, max(deadline, now)) - now)
            if self._closed.is_set():
                return
            if time.monotonic() < self._retry_at:
                raise errors.LogUnavailable(str(self._outage))
        try:
            self._connect("read", min(CONNECT_SECONDS, max(CONNECT_SECONDS_MIN, deadline - time.monotonic())))
        except errors.LogUnavailable as exc:
            self._outage = exc
            self._back_off()
            if is_gone(exc.__cause__):
                self._fault = self._gap("the stream was deleted")
                return
            if not faults.may_pass(exc) or time.monotonic() >= deadline:
                raise
        except errors.NovaSchedError as exc:
            self._fault = exc

    # Closing

    def close(self) -> None:
        self._closed.set()
        session = self._session
        if session is not None and self._lock.locked():
            session.interrupt()
        self._release_if_closed()

    def _release_if_closed(self) -> None:
        """Close the session unless a read uses it: then that read closes it when it ends."""
        if self._closed.is_set() and self._lock.acquire(blocking=False):
            try:
                if self._session is not None:
                    self._session.close()
                    self._session = None
            finally:
                self._lock.release()
