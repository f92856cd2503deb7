"""The first and last position of a stream, which AMQP 0.9.1 has no method for.

The ``message_count`` of a passive declare is no help: the broker counts every
five seconds (measured on 3.10.8: 0 after 900 confirmed messages). So two
consumers are asked, one at the first record and one at the last chunk.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from amqp import Channel, Message

from rpc_api import errors
from rpc_api.log.port import Bounds
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_session import ANSWER_SECONDS, Session, has_no_replica, open_session

#: How long an empty stream is given to turn out not to be one.
EMPTY_GRACE_SECONDS = 0.1
OFFSET_HEADER = "x-stream-offset"


def consume(channel: Channel, stream: str, start: int | str, callback: Callable[[Message], object]) -> str:
    """Start a consumer at an offset or at first, last, next, and return its tag.

    The broker may deliver before it answers the consume, and py-amqp rejects what it has no callback for, upon which
    the broker closes the connection (a stream knows no reject): so the callback is there first.
    """
    tag = f"from {start}"
    channel.callbacks[tag] = callback
    channel.basic_consume(stream, consumer_tag=tag, callback=callback, arguments={OFFSET_HEADER: start})
    return tag


def _stop(channel: Channel, tag: str) -> None:
    channel.basic_cancel(tag)
    channel.callbacks[tag] = lambda message: None  # as above, for what was on its way


def find_bounds(session: Session) -> Bounds:
    """Return the bounds of the session's stream now; raises errors of ``BROKEN``.

    When nobody appends the answer is exact; else it was exact a moment ago. Deliveries are asked for by the
    channel's process in the broker, which handles one thing at a time: the answer to a synchronous method
    comes after all that the event before it delivered. A consumer's first delivery brings its whole chunk, and the
    registration of a consumer goes through the stream's writer process after that of the consumer before it: hence
    the third consumer, which reads nothing, and the closing ``basic_qos``.
    """
    stream = session.address.stream
    channel = session.new_channel()
    count = channel.queue_declare(stream, passive=True).message_count
    offsets: dict[str, list[int]] = {"first": [], "last": [], "next": []}

    def collect(place: str) -> Callable[[Message], None]:
        return lambda message: offsets[place].append(message.headers[OFFSET_HEADER])

    _synchronize(channel)
    tags = [consume(channel, stream, place, collect(place)) for place in offsets]
    _wait(session, offsets, ANSWER_SECONDS if count else EMPTY_GRACE_SECONDS)
    _synchronize(channel)
    if offsets["first"] or offsets["last"]:
        _wait(session, offsets, ANSWER_SECONDS)  # not empty, whenever that showed: the other one will come
    # As they are now: what comes while the consumers are stopped one by one comes to some of them only.
    first, last = offsets["first"][:1], offsets["last"][-1:]
    for tag in tags:
        _stop(channel, tag)
    channel.close()
    if first and last:
        return Bounds(first[0], last[0])
    if count or first or last:
        raise TimeoutError(f"the stream has records and delivered none within {ANSWER_SECONDS} s")
    return Bounds(0, -1)


def _wait(session: Session, offsets: dict[str, list[int]], seconds: float) -> None:
    """Wait until the first and the last record have come, for so long at most."""
    deadline = time.monotonic() + seconds
    while not (offsets["first"] and offsets["last"]) and time.monotonic() < deadline:
        if session.receive(max(0.0, deadline - time.monotonic())) and (offsets["first"] or offsets["last"]):
            deadline = max(deadline, time.monotonic() + ANSWER_SECONDS)


def newest_bounds(address: RabbitAddress, doing: str) -> Bounds:
    """Return the bounds of the stream by that one of the address's hosts which has most of it.

    A node knows what its own replica has. One that is added, or comes back, catches up from behind, and one without a
    replica knows nothing. Raises LogUnavailable when no host answers.
    """
    return max(bounds_by_node(address, doing)[0], key=lambda bounds: bounds.last)


def bounds_by_node(address: RabbitAddress, doing: str) -> tuple[list[Bounds], int]:
    """Return the bounds of the stream by each host of the address that has a replica, and how many hosts answered, with
    a replica or without. Raises LogUnavailable when none has one."""
    found: list[Bounds] = []
    answered = 0
    fault: errors.LogUnavailable = errors.LogUnavailable(f"the log {address.url} names no host; mend the log URL")

    def look(session: Session) -> None:
        found.append(find_bounds(session))

    for host in address.hosts:
        try:
            open_session(replace(address, hosts=(host,)), "bounds", doing, look).close()
            answered += 1
        except errors.LogUnavailable as exc:
            answered += has_no_replica(exc.__cause__)
            # That our account may not is no matter of the node; whether another one is away is.
            fault = fault if isinstance(fault, errors.LogForbidden) else exc
    if not found:
        raise fault
    return found, answered


def _synchronize(channel: Channel) -> None:
    """Come back when the broker has sent whatever it sent on this channel before; sets the credit to one chunk."""
    channel.basic_qos(0, 1, False)
