"""One connection to RabbitMQ with one channel, and what its errors mean to a user.

kombu opens and closes the connection. Frames are read and written with the methods of py-amqp, because kombu has no
window for confirms, and needs a system call for the timeout of each delivery.
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import amqp
from amqp import Channel, spec
from kombu import Connection

from rpc_api import errors, faults
from rpc_api.log.rabbit_address import RabbitAddress

CONNECT_SECONDS = 4.0
#: For an answer to a synchronous method, and for a write that the broker does not accept.
ANSWER_SECONDS = 10.0
CLOSE_SECONDS = 2.0
#: For readers. The broker drops a reader after two intervals without a heartbeat; a dead broker is noticed as late.
HEARTBEAT_SECONDS = 20
READ_AHEAD_BYTES = 8192


class NotTaken(Exception):
    """The broker answered, and did not accept a message; the text says why."""


class NotConfirmed(NotTaken):
    """The broker accepted a message, has not blocked publishers, and does not confirm the message."""


class StreamGone(NotTaken):
    """The broker has no stream for a message."""


class MayNotCreate(StreamGone):
    """The stream does not exist, and our user has no permission to create it; the text is the broker's refusal."""


class ReplicaBehind(Exception):
    """The node's replica does not have the next record yet; other nodes have it."""


#: Errors after which a connection or channel cannot be used any more.
BROKEN = (amqp.AMQPError, OSError, NotTaken, ReplicaBehind)

#: Text of the 404 for an existing stream while a broker starts, or a cluster elects a leader.
_RECOVERING = "down or inaccessible"
#: Text of a node that can append to a stream and cannot read it.
_NO_REPLICA = "on the local node"
#: What to do if a stream does not work but its broker does (RabbitMQ 3.10 has no command for a single stream).
REMEDY = (
    "the broker answers and the stream {stream} does not work. Its writer may have died, as it does on a full "
    "disk: free space on the broker's disk, then type on the broker's node (in a cluster, on each in turn): "
    "rabbitmqctl stop_app && rabbitmqctl start_app; see docs/operating/services.md"
)


def unavailable(doing: str, address: RabbitAddress, exc: BaseException) -> errors.LogUnavailable:
    """Return the LogUnavailable for ``exc``: what was done, what was found, what to do."""
    found, remedy = _explain(address, exc)
    return _error(address, exc, f"cannot {doing} the log {address.url}: {found}; {remedy}")


def _error(address: RabbitAddress, exc: BaseException, text: str) -> errors.LogUnavailable:
    """The error for ``exc``, of a class that says whether it may pass."""
    if isinstance(exc, (amqp.InternalError, NotConfirmed)):
        return errors.LogStuck(text, REMEDY.format(stream=address.stream))
    if is_gone(exc):
        return errors.LogGone(text)
    if isinstance(exc, amqp.AccessRefused) and not _is_login(exc):
        return errors.LogForbidden(text)
    return errors.LogUnavailable(text) if faults.may_pass(exc) else errors.LogRefused(text)


def is_gone(exc: BaseException | None) -> bool:
    """Whether the broker answers that the stream does not exist."""
    return isinstance(exc, StreamGone) or (isinstance(exc, amqp.NotFound) and not faults.may_pass(exc))


def has_no_replica(exc: BaseException | None) -> bool:
    """Whether a node answers that it has no running replica of the stream."""
    return isinstance(exc, amqp.PreconditionFailed) and _NO_REPLICA in (exc.reply_text or "")


def _is_login(exc: amqp.AccessRefused) -> bool:
    """Whether the broker refuses the login, and not only a permission."""
    text = exc.reply_text or ""
    return "Login was refused" in text or "authentication" in text.lower()


def _explain(address: RabbitAddress, exc: BaseException) -> tuple[str, str]:
    """Return (what was found, what to do)."""
    text = getattr(exc, "reply_text", None) or str(exc) or type(exc).__name__
    if isinstance(exc, amqp.AccessRefused):
        if _is_login(exc):
            return f"the broker refuses the user {address.user!r} or its password", "fix them in the log URL"
        return text, f"give the user {address.user!r} that permission (rabbitmqctl set_permissions)"
    if isinstance(exc, amqp.NotAllowed):
        return text, "check the vhost in the log URL, and the user's permissions in it"
    if isinstance(exc, MayNotCreate):
        return (
            f"the stream {address.stream!r} does not exist, and the user {address.user!r} may not create it ({text})",
            "create the log with a user that may (nova-sched create-log), or fix the name in its URL",
        )
    if isinstance(exc, amqp.NotFound):
        if _RECOVERING in text:
            return text, "the broker is recovering it or a node is down, so try again"
        return (
            f"the stream {address.stream!r} or its exchange does not exist ({text})",
            "create the log (nova-sched create-log), or fix the name in its URL",
        )
    if isinstance(exc, amqp.PreconditionFailed) and _NO_REPLICA in text:
        return text, "add one (rabbitmq-streams add_replica), or name nodes that have one in the log URL"
    if isinstance(exc, ReplicaBehind):
        return str(exc), "it is catching up, so try again"
    if isinstance(exc, amqp.PreconditionFailed):
        return text, "declare the stream without arguments and leave retention to a policy, or choose another name"
    if isinstance(exc, amqp.exceptions.ConsumerCancelled):
        return f"the broker ended the reading of the stream {address.stream!r}", "check that the stream still exists"
    if isinstance(exc, NotTaken):
        return text, "append the same bytes again"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed ({text})", "check the certificates and ssl_ca_file in the log URL"
    if isinstance(exc, TimeoutError):
        return "the broker did not answer in time", "check the broker and the network, then try again"
    if isinstance(exc, OSError):
        return text, "check that the broker runs, and host and port in the log URL"
    return text, "read the broker's log, then try again"


class Session:
    """A connection and its channel. After an error of ``BROKEN`` it is dropped and never used again."""

    def __init__(
        self, address: RabbitAddress, host: str, port: int, role: str, heartbeat_seconds: int, connect_seconds: float
    ) -> None:
        self.address = address
        #: Its host and port.
        self.place = (host, port)
        self._connection = Connection(
            hostname=host,
            port=port,
            userid=address.user,
            password=address.password,
            virtual_host=address.vhost,
            transport="pyamqp",
            ssl=address.ssl_for(host),
            connect_timeout=connect_seconds,
            heartbeat=heartbeat_seconds,
            transport_options={
                "client_properties": {"connection_name": f"nova_sched log {role} {address.stream}"},
                "on_blocked": self._on_blocked,
                "on_unblocked": self._on_unblocked,
            },
        )
        self.blocked = False
        try:
            # Not connect(): that sleeps 2 s and tries a second time.
            self._connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            self._amqp = self._connection.connection
            self._socket = self._amqp.transport.sock
            self._socket.settimeout(ANSWER_SECONDS)
            _read_ahead(self._amqp.transport)
            self.channel = self.new_channel()
        except BaseException:
            self.drop()
            raise
        self._beat_at = time.monotonic()

    @property
    def server_properties(self) -> dict[str, Any]:
        """The facts that the broker sent when it accepted the connection."""
        properties: dict[str, Any] = self._amqp.server_properties
        return properties

    def new_channel(self) -> Channel:
        channel = self._connection.channel()
        channel.auto_decode = False  # bodies are bytes, even with the content encoding of another program
        return channel

    def publish(self, exchange: str, bodies: Sequence[bytes]) -> None:
        """Send persistent, mandatory messages at once, with the name of our user, which the broker checks. The confirms
        come with :meth:`receive`.

        Like ``basic_publish``, but without the check for incoming frames at each message, which takes half of the CPU.
        Corked, because each segment would wake the broker: three times the rate (7,000/s to 22,000/s).
        """
        cork = len(bodies) > 1 and hasattr(socket, "TCP_CORK")
        if cork:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for body in bodies:
            message = amqp.Message(body, delivery_mode=2, user_id=self.address.user)
            self.channel.send_method(spec.Basic.Publish, "Bssbb", (0, exchange, "", True, False), message)
        if cork:  # after an error above the session is dropped, with its cork
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def receive(self, timeout: float) -> bool:
        """Receive one frame, waiting up to ``timeout`` seconds for it; False if none arrived."""
        try:
            self._amqp.blocking_read(timeout)
        except TimeoutError:
            return False
        return True

    def receive_pending(self, enough: Callable[[], bool]) -> None:
        """Receive the frames that have arrived, without waiting, until ``enough()``."""
        self._socket.settimeout(0)
        try:
            while not enough():
                self._amqp.blocking_read(None)
        except TimeoutError:
            pass  # no more frames; after any other error the session is not used again
        self._socket.settimeout(ANSWER_SECONDS)

    def beat(self) -> None:
        """Send and check heartbeats if it is time to; call it after receiving, at least every few seconds."""
        now = time.monotonic()
        if now - self._beat_at >= HEARTBEAT_SECONDS / 8:
            self._beat_at = now
            self._connection.heartbeat_check()

    def interrupt(self) -> None:
        """End a wait of another thread in this session with an error; the session is broken by that."""
        try:
            # The method of the plain socket: that of an SSL socket would remove the state that the waiting thread uses.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            pass  # without a connection no thread waits for it

    def close(self) -> None:
        """Close the connection with the broker's knowledge, within ``CLOSE_SECONDS``."""
        try:
            self._socket.settimeout(CLOSE_SECONDS)
        except OSError:
            self.drop()
        self._connection.release()

    def drop(self) -> None:
        """Drop the connection without telling the broker, after an error."""
        self._connection.collect()

    def _on_blocked(self, _reason: object) -> None:
        self.blocked = True

    def _on_unblocked(self) -> None:
        self.blocked = False


def _read_ahead(transport: Any) -> None:
    """Let py-amqp's transport read 8 KiB at a time from the socket, not each field of each frame.

    The transport keeps unused bytes in its buffer anyway. Nine system calls per message become a fraction of one: 32 us
    of CPU per message instead of 49. The attribute is private to py-amqp; without it the transport stays as it is.
    """
    receive = getattr(transport, "_quick_recv", None)
    if receive is not None:
        transport._quick_recv = lambda size: receive(max(size, READ_AHEAD_BYTES))


def open_session(
    address: RabbitAddress,
    role: str,
    doing: str,
    setup: Callable[[Session], None],
    heartbeat_seconds: int = 0,
    connect_seconds: float | None = None,
) -> Session:
    """Return a session, after ``setup`` ran on it, on the first host of the address that accepts one.

    The setup is a part of the attempt, because a node of a cluster may be up and have no replica of the stream. Raises
    LogUnavailable with the failure of each host (its cause is the one that counts), and what ``setup`` raises.
    """
    failures, met = [], []
    for host, port in address.hosts:
        session = None
        try:
            session = Session(
                address.at((host, port)), host, port, role, heartbeat_seconds, connect_seconds or CONNECT_SECONDS
            )
            setup(session)
            return session
        except BROKEN as exc:
            met.append(exc)
            failures.append((f"{host}:{port}", *_explain(address.at((host, port)), exc)))
        except BaseException:
            if session is not None:
                session.close()
            raise
        if session is not None:
            session.drop()
    found = ", ".join(f"{place}: {found}" for place, found, _ in failures)
    # All nodes know which streams exist. Otherwise a fault that may pass on one host counts more than lasting faults on
    # others.
    counts = next(filter(is_gone, met), None) or next(filter(faults.may_pass, met), met[-1])
    remedy = failures[met.index(counts)][2]
    raise _error(address, counts, f"cannot {doing} the log {address.url}: {found}; {remedy}") from counts
