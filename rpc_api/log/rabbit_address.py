"""The URL of a log on RabbitMQ: hosts, user, vhost, stream and TLS files, checked before anything is connected."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from rpc_api import broker_url, errors
from rpc_api.log import checks

if TYPE_CHECKING:
    # Not before the concurrency mode is chosen.
    from oslo_messaging import TransportHost, TransportURL

DEFAULT_PORTS = {"rabbit": 5672, "rabbits": 5671}
TLS_OPTIONS = {"ssl_ca_file": "ca_certs", "ssl_cert_file": "certfile", "ssl_key_file": "keyfile"}
#: Name in the URL, as oslo.messaging has it -> version of the protocol.
TLS_VERSIONS = {
    name.removeprefix("PROTOCOL_").lower(): value
    for name, value in vars(ssl).items()
    if name.startswith("PROTOCOL_TLSv")
}
FORM = "rabbit://user:password@host:port[,user:password@host:port…]/vhost?stream=NAME"
NAME_BYTES_MAX = 255


@dataclass(frozen=True)
class RabbitAddress:
    """The address of a log. ``url`` has no passwords, and no text or repr shows them."""

    url: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    stream: str
    tls: tuple[tuple[str, object], ...] | None
    #: ((host, port), (user, password)) of each host.
    logins: tuple[tuple[tuple[str, int], tuple[str, str]], ...] = field(default=(), repr=False)

    @property
    def users(self) -> tuple[str, ...]:
        """The users of all hosts, each once."""
        return tuple(dict.fromkeys((self.user, *(user for _, (user, _) in self.logins))))

    def at(self, place: tuple[str, int]) -> RabbitAddress:
        """The address with the user and the password of one of its hosts."""
        user, password = dict(self.logins).get(place, (self.user, self.password))
        return replace(self, user=user, password=password)

    def after(self, place: tuple[str, int]) -> RabbitAddress:
        """The address with this host and port as the last one to try, because it has just failed."""
        cut = self.hosts.index(place) + 1
        return replace(self, hosts=self.hosts[cut:] + self.hosts[:cut])

    def ssl_for(self, host: str) -> dict[str, object] | Literal[False]:
        """The ``ssl`` argument of kombu for ``host``: False without TLS; the broker's certificate is verified."""
        if self.tls is None:
            return False
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host.strip("[]"), **dict(self.tls)}


def parse_address(url: str) -> RabbitAddress:
    """Return the address that ``url`` names, in the form of ``transport_url`` with ``stream`` in its options.

    Raises UsageError with the passwords masked.
    """
    try:
        found = broker_url.parse(url)
        secure = broker_url.uses_tls(found)
    except broker_url.WrongURL as wrong:
        raise _wrong(url, wrong.found, wrong.wanted) from None
    if found.transport not in DEFAULT_PORTS:
        raise _wrong(url, "it has an unknown scheme", " or ".join(f"{scheme}://" for scheme in DEFAULT_PORTS))
    if not all(host.hostname for host in found.hosts) or not found.hosts:
        raise _wrong(url, "it has a wrong host or port", FORM)
    if found.transport == "rabbits":
        if "ssl" in found.query and not secure:
            raise _wrong(url, "it has rabbits:// and ssl=0", "one of rabbits:// for TLS and rabbit:// without")
        secure = True
    options = _options(url, secure, found)
    logins = {_place(found, host): _login(host) for host in reversed(found.hosts)}
    places = tuple(dict.fromkeys(_place(found, host) for host in found.hosts))
    user, password = logins[places[0]]
    return RabbitAddress(
        url=checks.mask_password(url),
        hosts=places,
        user=user,
        password=password,
        vhost=found.virtual_host or "/",
        stream=_stream(url, options),
        tls=_tls(url, options) if secure else None,
        logins=tuple(logins.items()),
    )


def _place(found: TransportURL, host: TransportHost) -> tuple[str, int]:
    name = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
    return name, host.port or DEFAULT_PORTS[found.transport]


def _login(host: TransportHost) -> tuple[str, str]:
    """(User, password). Without a user it is guest, as in every AMQP client; a new broker accepts guest on loopback
    only."""
    if not host.username and host.password is None:
        return "guest", "guest"
    return host.username or "guest", host.password or ""


def _wrong(url: str, found: str, wanted: str) -> errors.UsageError:
    return errors.UsageError(
        f"cannot open the log {checks.mask_password(url)!r}: {found}, wanted {wanted}; fix the log URL"
    )


def _options(url: str, secure: bool, found: TransportURL) -> dict[str, str]:
    """Return the query options; each must be known, and must occur once and with a value.

    Skips options of TLS without a value, as oslo.messaging does.
    """
    tls = ("ssl_version", *TLS_OPTIONS)
    known = ("stream", "ssl", *tls) if secure else ("stream", "ssl")
    options: dict[str, str] = {}
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if not value and name in ("ssl", *tls):
            continue
        if name not in known:
            raise _wrong(url, f"it has the option {name!r}", f"only {', '.join(known)}")
        if name in options or not value:
            raise _wrong(
                url, f"the option {name!r} is {'repeated' if name in options else 'empty'}", "it once, with a value"
            )
        options[name] = value
    return options


def _stream(url: str, options: dict[str, str]) -> str:
    name = options.get("stream", "")
    if not name:
        raise _wrong(url, "it names no stream", FORM)
    if len(name.encode()) > NAME_BYTES_MAX or name.startswith("amq."):
        raise _wrong(
            url,
            "the name of the stream is too long or starts with amq.",
            f"at most {NAME_BYTES_MAX} bytes and another start",
        )
    return name


def _tls(url: str, options: dict[str, str]) -> tuple[tuple[str, object], ...]:
    """Return kombu's names and the values: the paths of the TLS files, which must be readable, and the version."""
    for name in TLS_OPTIONS:
        path = options.get(name)
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise _wrong(url, f"{name} is {path!r}, which is not a readable file", "the path of a PEM file")
    if ("ssl_key_file" in options) and ("ssl_cert_file" not in options):
        raise _wrong(url, "it has ssl_key_file without ssl_cert_file", "both or ssl_cert_file alone")
    made = [(TLS_OPTIONS[name], path) for name, path in options.items() if name in TLS_OPTIONS]
    if "ssl_version" in options:
        version = TLS_VERSIONS.get(options["ssl_version"].lower())
        if version is None:
            raise _wrong(url, f"ssl_version is {options['ssl_version']!r}", f"one of {', '.join(sorted(TLS_VERSIONS))}")
        made.append(("ssl_version", version))
    return tuple(made)
