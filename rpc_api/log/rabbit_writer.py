"""Appending to a stream: publisher confirms with a window."""

import time
from collections.abc import Sequence

import amqp

from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_session import ANSWER_SECONDS, NotConfirmed, NotTaken, Session, StreamGone

#: Messages that may be unconfirmed at once.
WINDOW_MESSAGES_MAX = 1000
#: Messages that are sent at once: half a window, so that the other half is confirmed meanwhile.
BURST_MESSAGES = WINDOW_MESSAGES_MAX // 2


class ConfirmWindow:
    """Counts which messages of a session the broker has confirmed, nacked or returned."""

    def __init__(self, session: Session) -> None:
        self._published = 0
        self._confirmed_up_to = 0
        self._confirmed_beyond: set[int] = set()
        self.fault: NotTaken | None = None
        channel = session.channel
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.confirm_select()

    @property
    def in_flight(self) -> int:
        return self._published - self._confirmed_up_to - len(self._confirmed_beyond)

    def count_published(self, count: int) -> None:
        self._published += count

    def _on_ack(self, tag: int, multiple: bool) -> None:
        beyond = self._confirmed_beyond
        if multiple:
            self._confirmed_up_to = max(self._confirmed_up_to, tag)
            self._confirmed_beyond = beyond = {other for other in beyond if other > self._confirmed_up_to}
        else:
            beyond.add(tag)
        while self._confirmed_up_to + 1 in beyond:
            self._confirmed_up_to += 1
            beyond.remove(self._confirmed_up_to)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self.fault = NotTaken("the broker could not write a message to the stream (nack)")

    def _on_return(self, exc: amqp.AMQPError, exchange: str, routing_key: str, message: amqp.Message) -> None:
        self.fault = StreamGone(
            f"the exchange {exchange!r} has no stream bound to it ({exc.reply_text}): "
            "the stream was deleted, so create the log again"
        )


def publish_all(session: Session, window: ConfirmWindow, address: RabbitAddress, payloads: Sequence[bytes]) -> None:
    """Publish ``payloads`` in order and return when all are confirmed; raises errors of ``BROKEN``."""
    for start in range(0, len(payloads), BURST_MESSAGES):
        burst = payloads[start : start + BURST_MESSAGES]
        _drain(session, window, WINDOW_MESSAGES_MAX - len(burst))
        session.publish(address.stream, burst)
        window.count_published(len(burst))
    _drain(session, window, 0)


def _drain(session: Session, window: ConfirmWindow, in_flight_max: int) -> None:
    """Wait until at most ``in_flight_max`` messages are unconfirmed; each frame that arrives extends the time."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while window.in_flight > in_flight_max and window.fault is None:
        if session.receive(max(0.0, deadline - time.monotonic())):
            deadline = time.monotonic() + ANSWER_SECONDS
        elif time.monotonic() >= deadline:
            silent = f"the broker confirmed nothing within {ANSWER_SECONDS:.0f} s"
            raise (
                NotTaken(f"{silent} and has blocked publishers (memory or disk alarm)")
                if session.blocked
                else NotConfirmed(silent)
            )
    if window.fault is not None:
        raise window.fault
