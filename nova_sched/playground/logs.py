"""The logs of a cloud: one per cell and one for the API level, with names that follow from one URL."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from rpc_api import errors
from rpc_api.log import SCHEMES
from rpc_api.log.checks import mask_password

SHARED = ("sqlite", "rabbit", "rabbits")


def cell_log_url(base: str, cell: str) -> str:
    """Return the URL of a cell's log: the base URL with the cell's name in the file's, stream's or log's name."""
    parts = urlsplit(base)
    if parts.scheme == "memory":
        return f"{base}.{cell}"
    if parts.scheme == "sqlite":
        stem = (
            parts.path[:-3]
            if parts.path.endswith(".db")
            else parts.path.rstrip("/") + ("/log" if parts.path.endswith("/") else "")
        )
        query = f"?{parts.query}" if parts.query else ""
        return f"sqlite://{parts.netloc}{stem}.{cell}.db{query}"
    if parts.scheme in ("rabbit", "rabbits"):
        query = {**dict(parse_qsl(parts.query)), "stream": f"{stream_of(base)}.{cell}"}
        return f"{base.partition('?')[0]}?{urlencode(query)}"
    raise errors.UsageError(
        f"the log URL {base!r} has the scheme {parts.scheme!r}, wanted one of "
        f"{', '.join(scheme + '://' for scheme in SCHEMES)}; fix --log"
    )


def stream_of(url: str) -> str:
    """Return the stream of a RabbitMQ URL, or the default one."""
    return dict(parse_qsl(urlsplit(url).query)).get("stream", "nova_sched")


def masked(url: str) -> str:
    """Return a URL that may be shown and kept: its password is three stars."""
    return mask_password(url)


def is_shared(url: str) -> bool:
    """Return whether processes can share the log."""
    return urlsplit(url).scheme in SHARED


def transport_url(url: str) -> str | None:
    """Return the RPC transport on the broker of a log; None if the log has no broker."""
    parts = urlsplit(url)
    if parts.scheme not in ("rabbit", "rabbits"):
        return None
    query = {name: value for name, value in parse_qsl(parts.query) if name != "stream"}
    if parts.scheme == "rabbits":
        query["ssl"] = "1"
    return urlunsplit(parts._replace(scheme="rabbit", query=urlencode(query)))
