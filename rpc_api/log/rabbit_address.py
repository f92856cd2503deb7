"""The URL of a log on RabbitMQ: hosts, user, vhost, stream and TLS files, checked before anything is connected."""

import os
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from rpc_api import errors
from rpc_api.log import checks

DEFAULT_PORTS = {"rabbit": 5672, "rabbits": 5671}
TLS_OPTIONS = {"ssl_ca_file": "ca_certs", "ssl_cert_file": "certfile", "ssl_key_file": "keyfile"}
FORM = "rabbit://user:password@host:port[,host:port…]/vhost?stream=NAME"
NAME_BYTES_MAX = 255


@dataclass(frozen=True)
class RabbitAddress:
    """Where a log is. ``url`` is without the password, which no text or repr shows."""

    url: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    stream: str
    tls: tuple[tuple[str, str], ...] | None

    def after(self, place: tuple[str, int]) -> "RabbitAddress":
        """The address with this host and port as the last one that is tried: it has just failed, in whatever way."""
        cut = self.hosts.index(place) + 1
        return replace(self, hosts=self.hosts[cut:] + self.hosts[:cut])

    def ssl_for(self, host: str) -> dict | bool:
        """The ``ssl`` argument of kombu for ``host``: False without TLS; the broker's certificate is verified."""
        if self.tls is None:
            return False
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host, **dict(self.tls)}


def parse_address(url: str) -> RabbitAddress:
    """Return the address that ``url`` names; raises UsageError with the password masked."""
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise _wrong(url, f"it is no URL ({exc})", FORM) from exc
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    if "@" in parts.path or "@" in parts.query or parts.fragment:
        raise _wrong(url, "it has a bare @, / or # in the user or password", "these percent-encoded")
    options = _options(url, parts.scheme, parts.query)
    return RabbitAddress(
        url=checks.mask_password(url),
        hosts=tuple(_host(url, host, DEFAULT_PORTS[parts.scheme]) for host in hosts.split(",")),
        # As with every AMQP client: without a user it is the one that a new broker knows, on loopback only.
        user=unquote(user) or "guest",
        password=unquote(password) if credentials else "guest",
        vhost=unquote(parts.path[1:]) or "/",
        stream=_stream(url, options),
        tls=_tls(url, options) if parts.scheme == "rabbits" else None,
    )


def _wrong(url: str, found: str, wanted: str) -> errors.UsageError:
    return errors.UsageError(
        f"cannot open the log {checks.mask_password(url)!r}: {found}, wanted {wanted}; mend the log URL")


def _options(url: str, scheme: str, query: str) -> dict[str, str]:
    """Return the query options, each known to the scheme, given once and not empty."""
    known = ("stream", *TLS_OPTIONS) if scheme == "rabbits" else ("stream",)
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise _wrong(url, f"it has the option {name!r}", f"only {', '.join(known)}")
        if name in options or not value:
            raise _wrong(url, f"the option {name!r} is {'there twice' if name in options else 'empty'}", "it once")
        options[name] = value
    return options


def _host(url: str, text: str, default_port: int) -> tuple[str, int]:
    """Return (host, port) of ``host``, ``host:port`` or ``[v6]:port``."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        # Not quoted: in a URL that is cut wrongly this may be a piece of the password.
        raise _wrong(url, "a host or port in it is not one", FORM)
    return (f"[{host}]" if ":" in host else host), port or default_port


def _stream(url: str, options: dict[str, str]) -> str:
    name = options.get("stream", "")
    if not name:
        raise _wrong(url, "it names no stream", FORM)
    if len(name.encode()) > NAME_BYTES_MAX or name.startswith("amq."):
        raise _wrong(url, "the name of the stream is too long or starts with amq.",
                     f"at most {NAME_BYTES_MAX} bytes and another start")
    return name


def _tls(url: str, options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return kombu's names and the paths of the TLS files, each of them readable."""
    for name in TLS_OPTIONS:
        path = options.get(name)
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise _wrong(url, f"{name} is {path!r}, which is no readable file", "the path of a PEM file")
    if ("ssl_key_file" in options) and ("ssl_cert_file" not in options):
        raise _wrong(url, "it has ssl_key_file without ssl_cert_file", "both or ssl_cert_file alone")
    return tuple((TLS_OPTIONS[name], path) for name, path in options.items() if name in TLS_OPTIONS)
