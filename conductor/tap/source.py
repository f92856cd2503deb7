"""The queue of a cell's tap, as configured."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

from oslo_config import cfg

from rpc_api import errors
from rpc_api.bus.copies import CopyQueue
from rpc_api.config import Cell
from rpc_api.log.rabbit_address import DEFAULT_PORTS, RabbitAddress, parse_address

PREFIX = "nova_sched.tap."
MIB = 2**20
_TLS = ("ssl", "ssl_version", "ssl_ca_file", "ssl_cert_file", "ssl_key_file")


def source_of(conf: cfg.ConfigOpts, cell: Cell) -> CopyQueue | None:
    """The queue that the tap of a cell reads; None if no tap is enabled. UsageError for options that cannot be used."""
    options = conf.tap
    if not options.enabled:
        return None
    return CopyQueue(
        address_of(conf, cell),
        options.exchange,
        options.topic,
        options.queue_mb * MIB,
        options.queue_expires,
        options.durable,
    )


def address_of(conf: cfg.ConfigOpts, cell: Cell) -> RabbitAddress:
    """The broker and the name of the queue. TLS is as in the URL, or else as in [oslo_messaging_rabbit]."""
    url = conf.tap.url or cell.transport_url or conf.transport_url or ""
    base, _, query = url.partition("?")
    scheme, found, rest = base.partition("://")
    scheme = "rabbit" if scheme == "kombu" else scheme
    if not found or scheme not in DEFAULT_PORTS:
        raise errors.UsageError(
            f"[tap] enabled is set, and the transport URL has the scheme {scheme[:20] or '(none)'!r}, wanted rabbit; "
            "set [tap] url"
        )
    tls = {name: value for name, value in parse_qsl(query) if name in _TLS}
    if not tls and "oslo_messaging_rabbit" in conf and conf.oslo_messaging_rabbit.ssl:
        named = {name: getattr(conf.oslo_messaging_rabbit, name) for name in _TLS}
        tls = {"ssl": "1"} | {name: value for name, value in named.items() if name != "ssl" and value}
    stream = conf.tap.queue or PREFIX + cell.name
    return parse_address(f"{scheme}://{rest}?{urlencode({'stream': stream} | tls, quote_via=quote)}")
