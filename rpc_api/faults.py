"""Which faults may pass without help, and which last until a person changes something: one table for all faults.

After a fault that may pass a service tries again, with growing pauses; it ends for a fault that lasts. The first row of
``ROWS`` that fits a fault counts. A fault without a row may pass: an attempt too many costs less than a service that
ends.
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
    ``texts`` are parts of the text. At least one of the codes, if there are any, and one of the texts, if there are
    any, must fit."""

    kind: type | tuple[type, ...]
    verdict: bool
    codes: tuple[int | str, ...] = ()
    texts: tuple[str, ...] = ()


ROWS = (
    # For our own errors the class decides.
    Row((errors.LogRefused, errors.LogClosed), LASTS),
    Row((errors.LogUnavailable, errors.NoAnswer, errors.NoSuchServer, errors.ServiceUnavailable), PASSES),
    Row(errors.NovaSchedError, LASTS),
    # AMQP. 403: the password, or rights.
    Row(amqp.AccessRefused, LASTS),
    # 404: also the answer for an existing stream while a broker starts or a cluster elects a leader.
    Row(amqp.NotFound, PASSES, texts=("down or inaccessible",)),
    Row(amqp.NotFound, LASTS),
    # 406: also the answer for a stream that was just declared, and while replicas move.
    Row(amqp.PreconditionFailed, PASSES, texts=("on the local node", "timed out")),
    Row(amqp.PreconditionFailed, LASTS),
    # 530: no such vhost, or no access to it. A vhost that starts, or too many connections, may pass.
    Row(amqp.NotAllowed, PASSES, texts=("is down", "limit")),
    Row(amqp.NotAllowed, LASTS),
    # 540: a broker without streams.
    Row((amqp.AMQPNotImplementedError, amqp.exceptions.ContentTooLarge), LASTS),
    # 541, 506, 405, 320, 313, 50x, and frames that the network damages.
    Row(amqp.AMQPError, PASSES),
    # TLS. "Not yet valid" passes when the clock is set, which may be late in the boot.
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
    # DNS. The name of a container is known only while it runs, so an unknown name may pass too.
    Row(
        socket.gaierror, LASTS, codes=(socket.EAI_SERVICE, socket.EAI_SOCKTYPE, socket.EAI_FAMILY, socket.EAI_BADFLAGS)
    ),
    Row(socket.gaierror, PASSES),
    # The network and the file system. (EINVAL is no row: Linux gives it for an option of a socket that its peer has
    # closed, as a proxy without a broker behind it does.)
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
    """Whether ``fault`` may pass without help. For a fault of kombu or oslo.messaging its cause decides."""
    row = row_of(fault)
    if row is not None:
        return row.verdict
    cause = fault.__cause__ or fault.__context__
    return True if cause is None else may_pass(cause)


def row_of(fault: BaseException) -> Row | None:
    """The row that counts for ``fault``; None if no row fits."""
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
        return None if code is None else code & 0xFF  # without the extended code
    return getattr(fault, "errno", None)


def _text(fault: BaseException) -> str:
    return f"{getattr(fault, 'reply_text', None) or ''} {fault}"
