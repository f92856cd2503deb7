"""Which faults may pass by themselves, and which last until a person changes something: one table for all of them.

A service tries again what may pass, with growing pauses, and ends for what lasts. The first row of ``ROWS`` that fits a
fault counts. A fault that no row names may pass: to try once too often costs less than to end.
"""

import errno
import socket
import sqlite3
import ssl
from typing import NamedTuple

import amqp

from rpc_api import errors

PASSES, LASTS = True, False


class Row(NamedTuple):
    """``codes`` are errno of an OSError, the reason of an SSLError, the primary result code of a sqlite3.Error;
    ``texts`` are parts of the text. One of each that is given must fit."""

    kind: type | tuple[type, ...]
    verdict: bool
    codes: tuple[int | str, ...] = ()
    texts: tuple[str, ...] = ()


ROWS = (
    # Our own errors say it by their class.
    Row((errors.LogRefused, errors.LogClosed), LASTS),
    Row((errors.LogUnavailable, errors.NoAnswer, errors.NoSuchServer, errors.ServiceUnavailable), PASSES),
    Row(errors.NovaSchedError, LASTS),
    # AMQP. 403: the password, or rights.
    Row(amqp.AccessRefused, LASTS),
    # 404: a broker that starts, or a cluster that elects a leader, says it of a stream that is there.
    Row(amqp.NotFound, PASSES, texts=("down or inaccessible",)),
    Row(amqp.NotFound, LASTS),
    # 406: said of a stream that was declared a moment ago, and while replicas move.
    Row(amqp.PreconditionFailed, PASSES, texts=("on the local node", "timed out")),
    Row(amqp.PreconditionFailed, LASTS),
    # 530: no such vhost, or no access to it; but a vhost that starts, or too many connections, pass.
    Row(amqp.NotAllowed, PASSES, texts=("is down", "limit")),
    Row(amqp.NotAllowed, LASTS),
    # 540: a broker without streams.
    Row((amqp.AMQPNotImplementedError, amqp.exceptions.ContentTooLarge), LASTS),
    # 541, 506, 405, 320, 313, 50x, and what the network does to frames.
    Row(amqp.AMQPError, PASSES),
    # TLS. "Not yet valid" is what a clock says that is not set yet, as early at boot.
    Row(ssl.SSLCertVerificationError, PASSES, texts=("not yet valid",)),
    Row(ssl.SSLCertVerificationError, LASTS),
    Row(
        ssl.SSLError,
        LASTS,
        codes=(
            "WRONG_VERSION_NUMBER",
            "UNSUPPORTED_PROTOCOL",
            "NO_PROTOCOLS_AVAILABLE",
            "NO_SHARED_CIPHER",
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "TLSV1_ALERT_UNKNOWN_CA",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "SSLV3_ALERT_CERTIFICATE_EXPIRED",
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "NO_CERTIFICATE_OR_CRL_FOUND",
            "KEY_VALUES_MISMATCH",
            "EE_KEY_TOO_SMALL",
        ),
    ),
    Row(ssl.SSLError, LASTS, texts=("PEM lib",)),
    Row(ssl.SSLError, PASSES),
    # DNS. Names of containers are known only while those run, so an unknown name may pass too.
    Row(
        socket.gaierror, LASTS, codes=(socket.EAI_SERVICE, socket.EAI_SOCKTYPE, socket.EAI_FAMILY, socket.EAI_BADFLAGS)
    ),
    Row(socket.gaierror, PASSES),
    # The network and the file system.
    Row(
        OSError,
        LASTS,
        codes=(
            errno.EACCES,
            errno.EPERM,
            errno.ENOENT,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EROFS,
            errno.ELOOP,
            errno.ENAMETOOLONG,
            errno.EINVAL,
            errno.EAFNOSUPPORT,
        ),
    ),
    Row(OSError, PASSES),
    # SQLite: locked, busy, a full disk and I/O errors pass.
    Row(
        sqlite3.Error,
        PASSES,
        codes=(
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_NOMEM,
            sqlite3.SQLITE_INTERRUPT,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_PROTOCOL,
            sqlite3.SQLITE_SCHEMA,
        ),
    ),
    Row(sqlite3.Error, LASTS),
)


def may_pass(fault: BaseException) -> bool:
    """Whether ``fault`` may pass by itself. A fault of kombu or oslo.messaging is judged by what it was made of."""
    row = row_of(fault)
    if row is not None:
        return row.verdict
    cause = fault.__cause__ or fault.__context__
    return True if cause is None else may_pass(cause)


def row_of(fault: BaseException) -> Row | None:
    """The row that counts for ``fault``; None where none fits."""
    code, text = _code(fault), _text(fault)
    return next(
        (
            row
            for row in ROWS
            if isinstance(fault, row.kind)
            and (not row.codes or code in row.codes)
            and (not row.texts or any(part in text for part in row.texts))
        ),
        None,
    )


def _code(fault: BaseException) -> int | str | None:
    if isinstance(fault, ssl.SSLError):
        return getattr(fault, "reason", None)
    if isinstance(fault, sqlite3.Error):
        code = getattr(fault, "sqlite_errorcode", None)
        return None if code is None else code & 0xFF  # the rest of it says more of the same
    return getattr(fault, "errno", None)


def _text(fault: BaseException) -> str:
    return f"{getattr(fault, 'reply_text', None) or ''} {fault}"
