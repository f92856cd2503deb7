"""Checks and texts that all back-ends share, so that all of them refuse the same input with the same text."""

import re
from collections.abc import Iterable, Sequence

from rpc_api import errors
from rpc_api.log.port import MAX_RECORD_BYTES, Bounds


def check_payloads(payloads: Sequence[bytes]) -> Sequence[bytes]:
    """Return ``payloads`` if each may be appended: bytes, not empty, at most ``MAX_RECORD_BYTES``.

    Raises TypeError, ValueError and :class:`~rpc_api.errors.TooLarge`.
    """
    if isinstance(payloads, (bytes, str)):
        raise TypeError(f"append takes a sequence of bytes, got one {type(payloads).__name__}")
    for index, payload in enumerate(payloads):
        if not isinstance(payload, bytes):
            raise TypeError(f"payload {index} is {type(payload).__name__}, wanted bytes")
        if not payload:
            raise ValueError(f"payload {index} is empty, wanted at least one byte")
        if len(payload) > MAX_RECORD_BYTES:
            raise errors.TooLarge(
                f"cannot append payload {index}: it has {len(payload)} bytes, wanted at most {MAX_RECORD_BYTES}; "
                "put fewer events into one record"
            )
    return payloads


def check_read(max_records: int, timeout: float, max_bytes: int) -> None:
    """Raise ValueError for wrong arguments of ``read``."""
    if max_records < 1:
        raise ValueError(f"max_records is {max_records}, wanted at least 1")
    if max_bytes < 1:
        raise ValueError(f"max_bytes is {max_bytes}, wanted at least 1")
    if not timeout >= 0:
        raise ValueError(f"timeout is {timeout} s, wanted at least 0")


def count_within(sizes: Iterable[int], max_bytes: int) -> int:
    """How many payloads of these sizes a read returns: up to the one with which they have ``max_bytes``."""
    total = count = 0
    for size in sizes:
        count += 1
        total += size
        if total >= max_bytes:
            break
    return count


def check_position(position: int, bounds: Bounds, url: str) -> None:
    """Raise PositionTruncated or PositionAhead unless a reader may start at ``position``."""
    if position < bounds.first:
        raise errors.PositionTruncated(
            f"cannot read the log {url} from position {position}: its first record is {bounds.first}; "
            "rebuild from a newer snapshot, or raise the log's retention"
        )
    if position > bounds.last + 1:
        raise errors.PositionAhead(
            f"cannot read the log {url} from position {position}: its last record is {bounds.last}, "
            "so it lost records or was re-created; rebuild from a snapshot that fits it"
        )


def closed(url: str) -> errors.LogClosed:
    """The error of a log or reader that is used after it was closed."""
    return errors.LogClosed(f"the log {url} was closed by this process; open it again to use it")


#: A URL in which each broker can be recognized: user:password@host:port, or host:port after the first.
_PLACE = r"(?:[^:@/,?#\[\]\s]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
_LOGIN = r"[^:@/,?#\[\]]*:[^@/,?#\[\]]*@"
_BROKERS = re.compile(rf"([^:@/]*://)({_LOGIN}{_PLACE}(?:,(?:{_LOGIN})?{_PLACE})*)([/?][^@#]*)?")


def mask_password(url: str) -> str:
    """Return ``url`` with ``***`` for the password of each broker.

    If it is not clear which text is a password (because it has a bare ``/``, ``,`` or ``@``), all text between the
    first ``:`` and the last ``@`` is masked: too much, never too little. The values of unknown options, and the text
    after a ``#``, are masked too.
    """
    brokers = _BROKERS.fullmatch(url)
    if brokers:
        url = brokers[1] + re.sub(r"(^|,)([^:@,]*):[^@,]*@", r"\1\2:***@", brokers[2]) + (brokers[3] or "")
    else:
        url = re.sub(r"^([^:@/]*://)?([^:@/]*):(?!//).*@", r"\1\2:***@", url, flags=re.DOTALL)
    url = re.sub(r"([?&](?!stream=|synchronous=|ssl=|ssl_)[^=&#]*=)[^&#]*", r"\1***", url)
    return re.sub(r"#.*", "#***", url, flags=re.DOTALL)
