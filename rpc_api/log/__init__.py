"""The event log: its port and its back-ends; ``open_log`` opens the log of a URL."""

from urllib.parse import urlsplit

from rpc_api import errors
from rpc_api.log import checks
from rpc_api.log.port import MAX_RECORD_BYTES, Bounds, EventLog, LogReader, Record

__all__ = ["MAX_RECORD_BYTES", "Bounds", "EventLog", "LogReader", "Record", "open_log"]

SCHEMES = ("memory", "sqlite", "rabbit")


def open_log(url: str, create: bool = True) -> EventLog:
    """Open the log that ``url`` names.

    * ``memory://NAME``: this process only; the same name is the same log.
    * ``sqlite:///relative/path`` or ``sqlite:////absolute/path``, with
      ``?synchronous=normal`` for commits without fsync.
    * ``rabbit://user:password@host:port/vhost?stream=NAME``: oslo.messaging's form of ``transport_url``, with one or
      more brokers, and the stream (``rabbits://`` or ``?ssl=1`` with TLS).

    With ``create`` false, a missing log is an error, and nothing is created or declared. Read-only tools use this.

    Raises :class:`~rpc_api.errors.UsageError` for a URL of another form, :class:`~rpc_api.errors.LogGone` for a missing
    log, and another :class:`~rpc_api.errors.LogUnavailable` for an unreachable one.
    """
    head, found, _ = url.partition("://")
    scheme = head.lower() if found else ""
    if scheme in ("rabbit", "rabbits"):
        from rpc_api.log.rabbit import RabbitLog

        return RabbitLog.open(url, create)
    try:
        urlsplit(url)
    except ValueError:
        # The text of the error quotes the URL.
        raise errors.UsageError(
            f"cannot open the log {checks.mask_password(url)!r}: it is not a URL, wanted one whose "
            "user and password are percent-encoded; fix the log URL"
        ) from None
    if scheme == "memory":
        from rpc_api.log.memory import MemoryLog

        return MemoryLog.open(url, create)
    if scheme == "sqlite":
        from rpc_api.log.sqlite import SqliteLog

        return SqliteLog.open(url, create)
    raise errors.UsageError(
        f"cannot open the log {checks.mask_password(url)!r}: the scheme is {scheme!r}, "
        f"wanted one of {', '.join(s + '://' for s in SCHEMES)}; fix the log URL"
    )
