"""The first and last position of a stream, which AMQP 0.9.1 has no method for.

The ``message_count`` of a passive declare does not help: the broker counts only every five seconds (measured on 3.10.8:
0 after 900 confirmed messages). So two consumers are started, one at the first record and one at the last chunk.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from amqp import Channel, Message

from rpc_api import errors
from rpc_api.log.port import Bounds
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_session import ANSWER_SECONDS, Session, has_no_replica, open_session

#: How long to wait whether a stream that looks empty is not.
EMPTY_GRACE_SECONDS = 0.1
OFFSET_HEADER = "x-stream-offset"


def consume(channel: Channel, stream: str, start: int | str, callback: Callable[[Message], object]) -> str:
    """Start a consumer at an offset or at first, last, next, and return its tag.

    The callback is set first, because the broker may deliver before it answers the consume. py-amqp would reject a
    delivery without a callback, and then the broker would close the connection (a stream knows no reject).
    """
    tag = f"from {start}"
    channel.callbacks[tag] = callback
    channel.basic_consume(stream, consumer_tag=tag, callback=callback, arguments={OFFSET_HEADER: start})
    return tag


def _stop(channel: Channel, tag: str) -> None:
    channel.basic_cancel(tag)
    channel.callbacks[tag] = lambda message: None  # as above, for pending deliveries


def find_bounds(session: Session) -> Bounds:
    """Return the bounds of the session's stream now; raises errors of ``BROKEN``.

    If nothing is appended the answer is exact; else it was exact a moment ago. In the broker one process per channel
    asks for deliveries and handles one event at a time, so the answer to a synchronous method comes after all
    deliveries of the event before it. The first delivery of a consumer brings its whole chunk. The stream's writer
    process registers consumers one after the other. That is why there is a third consumer, which reads nothing, and a
    ``basic_qos`` at the end.
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
        _wait(session, offsets, ANSWER_SECONDS)  # not empty, so the other one will arrive
    # Read now, because later records reach only those consumers that are not stopped yet.
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
    """Wait until the first and the last record have arrived, for ``seconds`` at most."""
    deadline = time.monotonic() + seconds
    while not (offsets["first"] and offsets["last"]) and time.monotonic() < deadline:
        if session.receive(max(0.0, deadline - time.monotonic())) and (offsets["first"] or offsets["last"]):
            deadline = max(deadline, time.monotonic() + ANSWER_SECONDS)


def newest_bounds(address: RabbitAddress, doing: str) -> Bounds:
    """Return the bounds of the stream on that host of the address which has the longest replica.

    A node knows only its own replica. A node that is new, or comes back, is behind for some time; a node without a
    replica knows nothing. Raises LogUnavailable if no host answers.
    """
    return max(bounds_by_node(address, doing)[0], key=lambda bounds: bounds.last)


def bounds_by_node(address: RabbitAddress, doing: str) -> tuple[list[Bounds], int]:
    """Return the bounds of the stream on each host of the address that has a replica, and how many hosts answered, with
    or without a replica. Raises LogUnavailable if no host has one."""
    found: list[Bounds] = []
    answered = 0
    fault: errors.LogUnavailable = errors.LogUnavailable(f"the log {address.url} names no host; fix the log URL")

    def look(session: Session) -> None:
        found.append(find_bounds(session))

    for host in address.hosts:
        try:
            open_session(replace(address, hosts=(host,)), "bounds", doing, look).close()
            answered += 1
        except errors.LogUnavailable as exc:
            answered += has_no_replica(exc.__cause__)
            # A missing permission is the same on all nodes, so it counts more than an unreachable node.
            fault = fault if isinstance(fault, errors.LogForbidden) else exc
    if not found:
        raise fault
    return found, answered


def _synchronize(channel: Channel) -> None:
    """Return after the broker has sent all pending deliveries of this channel; sets the credit to one chunk."""
    channel.basic_qos(0, 1, False)
