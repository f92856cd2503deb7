"""The broker of a queue of copies, from a transport URL of Nova."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

from oslo_config import cfg

from rpc_api import errors
from rpc_api.log.rabbit_address import DEFAULT_PORTS, RabbitAddress, parse_address

MIB = 2**20
_TLS = ("ssl", "ssl_version", "ssl_ca_file", "ssl_cert_file", "ssl_key_file")


def address_of(conf: cfg.ConfigOpts, section: str, url: str | None, queue: str) -> RabbitAddress:
    """The broker of a transport URL, with the name of a queue. TLS is as in the URL, or else as in
    [oslo_messaging_rabbit]. UsageError for a URL that is not of RabbitMQ; ``section`` has its options."""
    base, _, query = (url or "").partition("?")
    scheme, found, rest = base.partition("://")
    scheme = "rabbit" if scheme == "kombu" else scheme
    if not found or scheme not in DEFAULT_PORTS:
        raise errors.UsageError(
            f"[{section}] needs RabbitMQ, and the transport URL has the scheme {scheme[:20] or '(none)'!r}, wanted "
            f"rabbit; set [{section}] url"
        )
    tls = {name: value for name, value in parse_qsl(query) if name in _TLS}
    if not tls and "oslo_messaging_rabbit" in conf and conf.oslo_messaging_rabbit.ssl:
        named = {name: getattr(conf.oslo_messaging_rabbit, name) for name in _TLS}
        tls = {"ssl": "1"} | {name: value for name, value in named.items() if name != "ssl" and value}
    return parse_address(f"{scheme}://{rest}?{urlencode({'stream': queue} | tls, quote_via=quote)}")
