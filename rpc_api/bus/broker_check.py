"""Whether a broker lets us in, asked once and answered soon.

oslo.messaging connects again and again, for ever and in silence, also with a
wrong password. A service that starts wants to say what it waits for, and to end
with one sentence for what a person must change.
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
    """Raise LogUnavailable (LogRefused for what a person must change) unless a host of a ``rabbit://`` TransportURL
    lets us in within ``timeout`` seconds each.

    With TLS, only that a host takes connections is looked at.
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
        raise errors.UsageError("the transport URL names no host; mend transport_url")
    kind = errors.LogUnavailable if passing else errors.LogRefused
    raise kind(f"the RPC broker cannot be used ({'; '.join(found)}); start it, or mend transport_url")


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
        return f"{type(fault).__name__}: {fault.reply_text or fault}"
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
