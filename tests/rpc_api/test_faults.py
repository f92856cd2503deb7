"""What may pass and what lasts: a fault for each row of the table, and some that are made by the real thing."""

import errno
import socket
import sqlite3
import ssl

import amqp
import kombu.exceptions
import oslo_messaging
import pytest

from rpc_api import errors, faults
from rpc_api.faults import LASTS, PASSES, ROWS


def of_sqlite(code, text):
    fault = sqlite3.OperationalError(text)
    fault.sqlite_errorcode = code
    return fault


def of_tls(reason, kind=ssl.SSLError):
    fault = kind(1, f"[SSL: {reason}] failed")
    fault.reason = reason
    return fault


def made_of(fault, cause):
    fault.__cause__ = cause
    return fault


#: What happened, the fault, what is to be thought of it.
FAULTS = [
    ("the password is wrong", amqp.AccessRefused("Login was refused using authentication mechanism PLAIN"), LASTS),
    ("no rights", amqp.AccessRefused("access to queue 's' in vhost '/' refused for user 'u'"), LASTS),
    ("no such stream", amqp.NotFound("no queue 's' in vhost '/'"), LASTS),
    ("the stream is being recovered", amqp.NotFound("queue 's' in vhost '/' is down or inaccessible"), PASSES),
    (
        "the stream was declared a moment ago",
        amqp.PreconditionFailed("queue 'queue 's' in vhost '/'' does not have a replica on the local node"),
        PASSES,
    ),
    ("an acknowledgement timed out", amqp.PreconditionFailed("acknowledgement on channel 1 timed out"), PASSES),
    ("the queue is of another type", amqp.PreconditionFailed("inequivalent arg 'x-queue-type' for queue 's'"), LASTS),
    ("no such vhost", amqp.NotAllowed("vhost nowhere not found"), LASTS),
    ("no access to the vhost", amqp.NotAllowed("access to vhost '/' refused for user 'u'"), LASTS),
    ("the vhost starts", amqp.NotAllowed("vhost '/' is down"), PASSES),
    ("too many connections", amqp.NotAllowed("access to vhost '/' refused: connection limit (10) is reached"), PASSES),
    ("no streams in this broker", amqp.AMQPNotImplementedError("queue type"), LASTS),
    ("too large", amqp.exceptions.ContentTooLarge("body"), LASTS),
    ("the stream's writer is not there", amqp.InternalError("INTERNAL_ERROR"), PASSES),
    ("a resource of the broker is used up", amqp.ResourceError("no memory"), PASSES),
    ("an exclusive queue of a connection that is going", amqp.ResourceLocked("cannot obtain exclusive access"), PASSES),
    ("the broker is stopped", amqp.ConnectionForced("broker forced connection closure"), PASSES),
    ("nobody consumes", amqp.exceptions.NoConsumers("none"), PASSES),
    ("the broker ended the consumer", amqp.exceptions.ConsumerCancelled(), PASSES),
    ("a frame that makes no sense", amqp.exceptions.UnexpectedFrame("frame"), PASSES),
    ("the connection is lost", amqp.RecoverableConnectionError("closed"), PASSES),
    (
        "the broker's certificate belongs to another name",
        of_tls("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError),
        LASTS,
    ),
    ("the clock is not set yet", ssl.SSLCertVerificationError(1, "certificate is not yet valid"), PASSES),
    ("no TLS on that port", of_tls("WRONG_VERSION_NUMBER"), LASTS),
    ("a certificate of ours is wanted", of_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), LASTS),
    ("our key file is damaged", ssl.SSLError(9, "[SSL] PEM lib (_ssl.c:3900)"), LASTS),
    ("TLS ends in the middle", ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), PASSES),
    ("a damaged TLS record", of_tls("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), PASSES),
    ("the name server does not answer", socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), PASSES),
    ("no such name yet", socket.gaierror(socket.EAI_NONAME, "Name or service not known"), PASSES),
    ("a port that is not a number", socket.gaierror(socket.EAI_SERVICE, "Servname not supported"), LASTS),
    ("nothing listens there", ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), PASSES),
    ("the connection is reset", ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), PASSES),
    ("no way to the host", OSError(errno.EHOSTUNREACH, "No route to host"), PASSES),
    ("no network yet", OSError(errno.ENETUNREACH, "Network is unreachable"), PASSES),
    ("no answer in time", TimeoutError("timed out"), PASSES),
    ("too many files are open", OSError(errno.EMFILE, "Too many open files"), PASSES),
    ("a full disk", OSError(errno.ENOSPC, "No space left on device"), PASSES),
    ("an I/O error", OSError(errno.EIO, "Input/output error"), PASSES),
    ("a file that may not be read", PermissionError(errno.EACCES, "Permission denied"), LASTS),
    ("a file that is not there", FileNotFoundError(errno.ENOENT, "No such file"), LASTS),
    ("a proxy closes the connection before an option is set", OSError(errno.EINVAL, "Invalid argument"), PASSES),
    ("the log is locked", of_sqlite(sqlite3.SQLITE_BUSY, "database is locked"), PASSES),
    ("the log is busy in another thread", of_sqlite(sqlite3.SQLITE_LOCKED, "database table is locked"), PASSES),
    ("the log is being recovered", of_sqlite(sqlite3.SQLITE_BUSY_RECOVERY, "database is locked"), PASSES),
    ("the disk of the log is full", of_sqlite(sqlite3.SQLITE_FULL, "database or disk is full"), PASSES),
    ("the disk of the log fails", of_sqlite(sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"), PASSES),
    ("the log may only be read", of_sqlite(sqlite3.SQLITE_READONLY, "attempt to write a readonly database"), LASTS),
    ("the log cannot be opened", of_sqlite(sqlite3.SQLITE_CANTOPEN, "unable to open database file"), LASTS),
    ("the log is damaged", of_sqlite(sqlite3.SQLITE_CORRUPT, "database disk image is malformed"), LASTS),
    ("the log is of another kind", of_sqlite(sqlite3.SQLITE_NOTADB, "file is not a database"), LASTS),
    ("an error of SQLite without a code", sqlite3.ProgrammingError("Cannot operate on a closed database."), LASTS),
    (
        "kombu, nothing listens",
        made_of(kombu.exceptions.OperationalError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "x")),
        PASSES,
    ),
    ("kombu, the password", made_of(kombu.exceptions.OperationalError("x"), amqp.AccessRefused("Login")), LASTS),
    ("oslo.messaging, no rights", made_of(oslo_messaging.MessageDeliveryFailure("x"), amqp.AccessRefused("no")), LASTS),
    (
        "oslo.messaging, the broker is away",
        made_of(oslo_messaging.MessageDeliveryFailure("x"), OSError(errno.ECONNREFUSED, "x")),
        PASSES,
    ),
    ("ours: the log is away", errors.LogUnavailable("away"), PASSES),
    ("ours: the stream does not work", errors.LogStuck("stuck", "restart it"), PASSES),
    ("ours: the log was deleted, and is made again", errors.LogGone("gone"), PASSES),
    ("ours: a person must change something", errors.LogRefused("refused"), LASTS),
    ("ours: no rights", errors.LogForbidden("forbidden"), LASTS),
    ("ours: the log is closed", errors.LogClosed("closed"), LASTS),
    ("ours: nobody answers", errors.NoAnswer("silence"), PASSES),
    ("ours: a wrong option", errors.UsageError("wrong"), LASTS),
    ("ours: the name is taken", errors.NameTaken("taken"), LASTS),
    ("what nobody knows", ValueError("?"), PASSES),
]


@pytest.mark.parametrize("fault, verdict", [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_what_may_pass(fault, verdict):
    assert faults.may_pass(fault) is verdict


def test_each_row_of_the_table_has_a_fault():
    met = {id(faults.row_of(fault)) for _, fault, _ in FAULTS}
    assert [row for row in ROWS if id(row) not in met] == []


def test_a_locked_database(tmp_path):
    with sqlite3.connect(tmp_path / "a.db", isolation_level=None) as first:
        first.execute("CREATE TABLE a (b)")
        first.execute("BEGIN EXCLUSIVE")
        second = sqlite3.connect(tmp_path / "a.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError) as met:
            second.execute("INSERT INTO a VALUES (1)")
        second.close()
        first.execute("ROLLBACK")
    assert faults.may_pass(met.value)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(sqlite3.OperationalError) as met:
        sqlite3.connect(tmp_path / "nowhere" / "a.db")
    assert not faults.may_pass(met.value)


def test_a_port_that_nothing_listens_on():
    with pytest.raises(OSError) as met:
        socket.create_connection(("127.0.0.1", 1), 1)
    assert faults.may_pass(met.value)
