"""Whether a broker accepts our login, with an answer after a short time.

oslo.messaging connects again and again without a log line, even with a wrong password. A service that starts must log
what it waits for, and must end with one sentence if a person has to change something.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import amqp
from oslo_config import cfg

if TYPE_CHECKING:
    # Not before the concurrency mode is chosen.
    from oslo_messaging import TransportURL

from rpc_api import errors, faults
from rpc_api.broker_url import uses_tls

DEFAULT_PORT = 5672


def check_broker(url: TransportURL, conf: cfg.ConfigOpts, timeout: float) -> None:
    """Raise LogUnavailable (LogRefused if a person must change something) unless a host of a ``rabbit://`` TransportURL
    accepts the login; ``timeout`` seconds for each host.

    With TLS, this checks only that a host accepts connections.
    """
    tls = uses_tls(url) if "ssl" in url.query else conf.oslo_messaging_rabbit.ssl
    found, passing = [], False
    for host in url.hosts or ():
        name, port = host.hostname or "localhost", host.port or DEFAULT_PORT
        try:
            if tls:
                socket.create_connection((name, port), timeout).close()
            else:
                _log_in(name, port, host.username, host.password, url.virtual_host or "/", timeout)
            return
        except (OSError, amqp.AMQPError) as fault:
            found.append(f"{name}:{port}: {_text(fault)}")
            passing = passing or faults.may_pass(fault)
    if not url.hosts:
        raise errors.UsageError("the transport URL names no host; fix transport_url")
    kind = errors.LogUnavailable if passing else errors.LogRefused
    remedy = "start it, or fix transport_url" if passing else "fix transport_url, or the account's rights on the broker"
    raise kind(f"the RPC broker cannot be used ({'; '.join(found)}); {remedy}")


def _log_in(host: str, port: int, user: str | None, password: str | None, vhost: str, timeout: float) -> None:
    with amqp.Connection(
        f"{host}:{port}",
        user or "guest",
        password or "guest",
        virtual_host=vhost,
        connect_timeout=timeout,
        read_timeout=timeout,
        write_timeout=timeout,
    ):
        return


def _text(fault: Exception) -> str:
    if isinstance(fault, amqp.AMQPError):
        return f"{type(fault).__name__}: {fault.reply_text or fault}".rstrip(".")
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
