"""Whether a broker lets us in, asked once and answered soon.

oslo.messaging connects again and again, for ever and in silence. A service
that starts wants to end with one sentence instead.
"""

import socket

from rpc_api import errors
from rpc_api.broker_url import uses_tls

DEFAULT_PORT = 5672


def check_broker(url, conf, timeout: float) -> None:
    """Raise LogUnavailable unless a host of a ``rabbit://`` TransportURL lets us in within ``timeout`` seconds each.

    With TLS, only that a host takes connections is looked at.
    """
    tls = uses_tls(url) if "ssl" in url.query else conf.oslo_messaging_rabbit.ssl
    faults = []
    for host in url.hosts or ():
        name, port = host.hostname or "localhost", host.port or DEFAULT_PORT
        try:
            if tls:
                socket.create_connection((name, port), timeout).close()
            else:
                _log_in(name, port, host.username, host.password, url.virtual_host or "/", timeout)
            return
        except OSError as fault:
            faults.append(f"{name}:{port}: {fault.strerror or fault}")
        except Refused as fault:
            faults.append(f"{name}:{port}: {fault}")
    if not url.hosts:
        raise errors.UsageError("the transport URL names no host; mend transport_url")
    raise errors.LogUnavailable(f"the RPC broker cannot be used ({'; '.join(faults)}); start it, or mend transport_url")


class Refused(Exception):
    """The broker answers, and does not let us in."""


def _log_in(host, port, user, password, vhost, timeout):
    import amqp
    try:
        with amqp.Connection(f"{host}:{port}", user or "guest", password or "guest", virtual_host=vhost,
                             connect_timeout=timeout, read_timeout=timeout, write_timeout=timeout):
            return
    except amqp.AMQPError as fault:
        raise Refused(f"{type(fault).__name__}: {getattr(fault, 'reply_text', '') or fault}") from None
