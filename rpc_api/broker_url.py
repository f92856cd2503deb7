"""URLs of RabbitMQ brokers: one parser, oslo.messaging's, for ``transport_url`` and for the logs.

oslo.messaging accepts some wrong URLs: a bare ``/`` or ``#`` in a password ends the list of brokers, and a bare ``,``
starts another broker. This module refuses them. A broker without a user gets the user of the first broker.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from oslo_config import cfg, types

if TYPE_CHECKING:
    # Not before the concurrency mode is chosen.
    from oslo_messaging import TransportHost, TransportURL

FORM = "rabbit://user:password@host:port[,user:password@host:port…]/vhost"
ENCODED = "these percent-encoded"
_PLACE = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*)(:[0-9]+)?")
_PORT_MAX = 65535
_NO_PLACE = ("it has a wrong host or port, or its user or password has a bare , : / ? [ or ]", f"{FORM} with {ENCODED}")


class WrongURL(Exception):
    """A URL that names no broker. The texts never quote the URL, because a part of it may be a part of the password."""

    def __init__(self, found: str, wanted: str = FORM) -> None:
        super().__init__(f"{found}, wanted {wanted}")
        self.found, self.wanted = found, wanted


def parse(url: str, conf: cfg.ConfigOpts | None = None) -> TransportURL:
    """Return oslo.messaging's TransportURL for ``url``, each of its hosts with a user; raises WrongURL.

    ``conf``: the configuration that the TransportURL is made for; its values are not read.
    """
    from oslo_messaging import TransportURL

    conf = cfg.ConfigOpts() if conf is None else conf
    scheme, found, rest = url.partition("://")
    if not found:
        raise WrongURL("it has no scheme")
    places = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(places) :]
    if "@" in tail or "#" in tail:
        raise WrongURL("it has a bare @, / or # in the user, the password or the vhost", ENCODED)
    # Each broker is parsed alone: newer versions of Python refuse a list of brokers that has an IPv6 address in it.
    parsed = [
        _parse_one(conf, scheme, place.strip().removesuffix(":"), tail) for place in places.split(",") if place
    ] or [_parse_one(conf, scheme, "", tail)]
    hosts = [host for url_of_broker in parsed for host in url_of_broker.hosts]
    _share_login(hosts)
    return TransportURL(conf, parsed[0].transport, parsed[0].virtual_host, hosts, parsed[0].query)


def uses_tls(url: TransportURL) -> bool:
    """Whether the option ``ssl`` of a TransportURL asks for TLS; raises WrongURL for a value that is not a boolean."""
    try:
        return types.Boolean()(url.query.get("ssl", "0"))
    except ValueError:
        raise WrongURL("its option 'ssl' is neither true nor false", "ssl=1 or ssl=0") from None


def _parse_one(conf: cfg.ConfigOpts, scheme: str, place: str, tail: str) -> TransportURL:
    from oslo_messaging import InvalidTransportURL, TransportURL

    try:
        parsed = TransportURL.parse(conf, f"{scheme}://{place}{tail}")
    except InvalidTransportURL:
        raise WrongURL("it has no scheme") from None
    except ValueError:
        # The text of the error quotes a part of the URL.
        raise WrongURL(*_NO_PLACE) from None
    if place:
        _check_place(place.rpartition("@")[2], parsed.hosts[0].port)
    return parsed


def _check_place(text: str, port: int | None) -> None:
    """Raise WrongURL unless ``text`` is a host, host:port, [IPv6]:port or an IPv6 address."""
    known = _PLACE.fullmatch(text)
    bracketed = known and text.startswith("[") and text[1:].partition("]")[0]
    if bracketed or not known:
        try:
            ipaddress.IPv6Address(bracketed or text)
        except ValueError:
            raise WrongURL(*_NO_PLACE) from None
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise WrongURL("it has a wrong port", f"1 to {_PORT_MAX}")


def _share_login(hosts: list[TransportHost]) -> None:
    """Give the user of the first host to the hosts without one."""
    if not hosts:
        return
    first = hosts[0]
    for host in hosts[1:]:
        if host.username or host.password:
            if not first.username:
                raise WrongURL(
                    "its first broker has no user and another has one, or the password has a bare ,",
                    f"a user for the first broker or for each, and {ENCODED}",
                )
        else:
            host.username, host.password = first.username, first.password
