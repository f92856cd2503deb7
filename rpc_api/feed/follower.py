"""Follow a log: a thread that decodes its records and hands them on, and reports when the log cannot be read."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from rpc_api import codec, concurrency, errors, faults
from rpc_api.log.port import EventLog, LogReader, Record
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)

MAX_RECORDS = 500
#: Batches that were handed on and not taken yet, at most: then the follower waits for its reader.
MAX_AHEAD = 8
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0

#: Records of a log as they are handed on: (position, record).
Batch = list[tuple[int, codec.DecodedRecord]]


class Follower:
    """Follows a log in a thread of its own.

    * ``begin()`` returns (EventLog, position to read from). It is called first, and again whenever the log does not
      continue at the reader's position (a gap, a truncated or recreated log). If it raises a NovaSchedError it is
      called again.
    * ``on_records(records)``: ``records`` is a list of (position, DecodedRecord); call :meth:`taken` for each call.
    * ``on_fault(error)``: the log cannot be read now (LogUnavailable), or does not continue at the reader's position
      (LogGap, or another error). The follower tries again without end. ``on_fault(None)``: the log can be read again.
      If the reader was too slow for the log's retention (PositionTruncated), only ``begin()`` is called again.
    """

    def __init__(
        self,
        begin: Callable[[], tuple[EventLog, int]],
        on_records: Callable[[Batch], object],
        on_fault: Callable[[errors.NovaSchedError | None], object],
        name: str = "",
    ) -> None:
        self._begin = begin
        self._on_records = on_records
        self._on_fault = on_fault
        self._name = name
        self._ahead = threading.Semaphore(MAX_AHEAD)
        self._stop = threading.Event()
        self._again = threading.Event()
        self._reader: LogReader | None = None
        self._down = False
        self._outage = Outage("", log=LOG)
        #: Whether the log could be read once: before that, the owner ends for a lasting fault, and reports it.
        self._begun = False
        self._thread = concurrency.vital_thread(self._run, f"follow {name}")

    def start(self) -> Self:
        """Start to follow."""
        self._thread.start()
        return self

    def taken(self) -> None:
        """One batch that was handed on has been folded."""
        self._ahead.release()

    def begin_anew(self) -> None:
        """The records that were handed on do not fit together: drop this reader, and call ``begin()`` again."""
        self._again.set()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, and wait for it for ``timeout`` seconds at most."""
        self._stop.set()
        self._ahead.release()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                records = self._read()
            except errors.PositionTruncated as fault:
                # begin() finds the present first position of the log.
                LOG.warning(
                    "the log of %s does not continue at our position, and is opened again: %s", self._name, fault
                )
                self._close_reader()
            except errors.LogUnavailable as fault:
                # The reader, if there is one, resumes at its own position.
                self._lose(fault, "cannot be read, and is tried again")
            except errors.NovaSchedError as fault:
                self._lose(fault, "does not continue at our position, and is opened again")
                self._close_reader()
            except Exception as fault:
                LOG.debug("the fault of the follower", exc_info=True)
                self._lose(
                    errors.NovaSchedError(
                        f"reading the log of {self._name} failed ({fault!r}); see the log of this service"
                    ),
                    "cannot be read, and is opened again",
                )
                self._close_reader()
            else:
                self._hand_on(records)
                pause = FIRST_PAUSE
                continue
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._close_reader()

    def _read(self) -> list[Record]:
        if self._again.is_set():
            self._again.clear()
            self._close_reader()
        if self._reader is None:
            log, position = self._begin()
            self._reader = log.read_from(position)
            self._begun = True
        return self._reader.read(MAX_RECORDS, timeout=0.5)

    def _lose(self, fault: errors.NovaSchedError, text: str) -> None:
        if self._stop.is_set():
            return
        if self._begun or faults.may_pass(fault):
            self._outage.what = f"the log of {self._name} {text}"
            self._outage.met(fault)
        self._down = True
        self._on_fault(fault)

    def _hand_on(self, records: list[Record]) -> None:
        if self._down:
            self._down = False
            self._outage.over(f"the log of {self._name} can be read again")
            self._on_fault(None)
        if records:
            decoded = [(record.position, codec.decode_record(record.payload, record.account)) for record in records]
            self._ahead.acquire()
            self._on_records(decoded)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
