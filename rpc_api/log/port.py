"""The port of the event log: the interface of every back-end.

A log is an append-only sequence of records. A record is a byte string (the
codec puts a batch of events into one) and has a position: an integer that
grows from record to record, and the order of positions is the order that every
reader sees. Positions are consecutive in memory and SQLite; a RabbitMQ stream leaves out a position at the start of
each segment, so count records, not positions, and continue at ``reader.position``. The log does not look into the
bytes.

Old records may be removed from the front of a log, but never the last one: only a log that never had a record is empty.

Back-ends: ``memory`` (one process), ``sqlite`` (one machine), ``rabbit``
(a RabbitMQ stream). All of them pass ``tests/rpc_api/log/contract.py``.
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple, Self

MAX_RECORD_BYTES = 1 << 20
#: Bytes of payload at which a read returns, so that a thousand large records do not fill the memory.
READ_BYTES = 32 << 20
#: The first bytes of a fence, a record without events that a back-end may append for :meth:`EventLog.fence`. (No
#: msgpack value begins with the first of them.)
FENCE = b"\xc1fence"


class Record(NamedTuple):
    """One record as a reader gets it: ``position`` in the log, ``payload`` bytes as appended, and the ``account`` that
    it was appended with, if the back-end knows it for certain (see :mod:`rpc_api.accounts`)."""

    position: int
    payload: bytes
    account: str | None = None


class Bounds(NamedTuple):
    """Positions of the first and the last record of the log.

    An empty log has ``last == first - 1``; ``first`` is then the position
    that the next record will get.
    """

    first: int
    last: int

    @property
    def count(self) -> int:  # type: ignore[override]  # hides a method of tuple that nobody calls on bounds
        """The number of records, or a little more (a stream leaves out positions)."""
        return self.last - self.first + 1


class LogReader(abc.ABC):
    """Reads records in order from a position, and then follows the log.

    A reader belongs to one thread. It resumes at its own position after a
    lost connection; it raises :class:`~rpc_api.errors.LogGap` (or a subclass)
    instead of skipping a record, and :class:`~rpc_api.errors.LogUnavailable`
    when the log cannot be read now (reading again later goes on where it was).
    """

    #: Position of the next record that :meth:`read` returns.
    position: int

    @abc.abstractmethod
    def read(self, max_records: int = 1000, timeout: float = 0.0, max_bytes: int = READ_BYTES) -> list[Record]:
        """Return the next records: at most ``max_records``, and none after those that have ``max_bytes`` together. So
        the payloads have less than ``max_bytes`` and one more record, which may have ``MAX_RECORD_BYTES``.

        Waits up to ``timeout`` seconds for the first record, and returns all available records as soon as there is one;
        an empty list after the timeout.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the resources of the reader; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class EventLog(abc.ABC):
    """One log. Its methods may be called from several threads at once."""

    #: The URL that the log was opened with, without its password.
    url: str
    #: Whether a server removes old records by a policy of its own, whatever they contain.
    is_cut_by_policy = False

    @abc.abstractmethod
    def append(self, payloads: Sequence[bytes]) -> None:
        """Append ``payloads`` as one record each, in this order.

        Returns when all are durable (as durable as the back-end makes them).
        Raises :class:`~rpc_api.errors.LogUnavailable` when that is not
        certain: any of them may be in the log then, so append the same bytes
        again (readers recognise duplicates by producer, epoch and sequence).
        Raises :class:`~rpc_api.errors.TooLarge` for a payload of more than
        ``MAX_RECORD_BYTES`` and :class:`ValueError` for an empty one, before anything is appended.
        """

    @abc.abstractmethod
    def bounds(self) -> Bounds:
        """Return the positions of the first and the last record now in the log."""

    @abc.abstractmethod
    def fence(self) -> int:
        """Return a position such that every append that was acknowledged to anybody before this call is at or before
        it; -1 for a log that never had a record. A reader that has folded the record there has all of them.

        May append a record that begins with :data:`FENCE`, which has no events. Raises
        :class:`~rpc_api.errors.LogUnavailable` if the log cannot be read or appended to.
        """

    @abc.abstractmethod
    def read_from(self, position: int) -> LogReader:
        """Open a reader whose first record is the one at ``position``.

        ``position`` may be one past the last record: the reader then waits for the next record. Raises
        :class:`~rpc_api.errors.PositionTruncated` before the first and :class:`~rpc_api.errors.PositionAhead` further
        past the end.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the log and its readers; a blocked ``read`` returns or raises LogClosed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
