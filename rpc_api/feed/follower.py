"""Follow a log: a thread that decodes its records and hands them on, and reports when the log cannot be read.

However fast the log grows, what waits for its owner is bounded: the follower decodes a batch only when the batch before
the last one was folded. The owner can also limit the share of the time that its log takes.
"""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple, Self

from rpc_api import codec, concurrency, errors, faults
from rpc_api.clock import SYSTEM, Clock
from rpc_api.log.port import EventLog, LogReader, Record
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)

#: A batch has no more records after so many events, and a read none after so many bytes.
BATCH_EVENTS = 500
READ_BYTES = 256 * 1024
#: Batches that were handed on and not taken yet, at most: then the follower waits for its owner.
MAX_AHEAD = 2
#: Seconds to wait for a record.
READ_SECONDS = 0.5
#: After so many batches in a row, the end of the log is worth a batch of its own. (After a few, the next records show
#: it soon enough.)
LONG_RUN = 10
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 1.0


class Batch(NamedTuple):
    """Records of a log as they are handed on: ``records`` are (position, record). ``at_end`` says whether the end of
    the log was reached before they came; then there may be none."""

    records: list[tuple[int, codec.DecodedRecord]]
    at_end: bool


class Follower:
    """Follows a log in a thread of its own.

    * ``begin()`` returns (EventLog, position to read from). It is called first, and again whenever the log does not
      continue at the reader's position (a gap, a truncated or recreated log). If it raises a NovaSchedError it is
      called again.
    * ``on_batch(batch)``: a Batch; call :meth:`taken` for each call.
    * ``on_fault(error)``: the log cannot be read now (LogUnavailable), or does not continue at the reader's position
      (LogGap, or another error). The follower tries again without end. ``on_fault(None)``: the log can be read again.
      If the reader was too slow for the log's retention (PositionTruncated), only ``begin()`` is called again.
    """

    def __init__(
        self,
        begin: Callable[[], tuple[EventLog, int]],
        on_batch: Callable[[Batch], object],
        on_fault: Callable[[errors.NovaSchedError | None], object],
        name: str = "",
        clock: Clock = SYSTEM,
    ) -> None:
        self._begin = begin
        self._on_batch = on_batch
        self._on_fault = on_fault
        self._name = name
        self._clock = clock
        self._ahead = threading.Semaphore(MAX_AHEAD)
        self._stop = threading.Event()
        self._again = threading.Event()
        self._reader: LogReader | None = None
        self._down = False
        #: Number of batches since the end of the log was reached.
        self._run_length = 0
        #: Seconds that decoding took since the last batch was taken, and (seconds that folding took, share) of each
        #: batch that was taken since.
        self._busy = 0.0
        self._taken: SimpleQueue[tuple[float, float]] = SimpleQueue()
        self._outage = Outage("", log=LOG)
        #: Whether the log could be read once: before that, the owner ends for a lasting fault, and reports it.
        self._begun = False
        self._thread = concurrency.vital_thread(self._run, f"follow {name}")

    def start(self) -> Self:
        """Start to follow."""
        self._thread.start()
        return self

    def taken(self, took: float = 0.0, share: float = 1.0) -> None:
        """One batch that was handed on has been folded, which took ``took`` seconds. With a ``share`` below 1, the
        follower then rests, so that decoding and folding take no more than that share of the time."""
        self._taken.put((took, share))
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
            self._run_length = 0
            self._begun = True
        if self._run_length:
            records = self._reader.read(BATCH_EVENTS, 0.0, READ_BYTES)
            if records:
                return records
            if self._run_length >= LONG_RUN and self._has_room():
                self._on_batch(Batch([], True))
            self._run_length = 0
        return self._reader.read(BATCH_EVENTS, READ_SECONDS, READ_BYTES)

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
        batch: list[tuple[int, codec.DecodedRecord]] = []
        count, began = 0, 0.0
        for left, record in zip(range(len(records) - 1, -1, -1), records, strict=True):
            if not batch:
                if not self._has_room():
                    return
                began = self._clock.monotonic()
            decoded = codec.decode_record(record.payload, record.account)
            batch.append((record.position, decoded))
            count += len(decoded.events)
            if count >= BATCH_EVENTS or not left:
                self._busy += self._clock.monotonic() - began
                self._on_batch(Batch(batch, not self._run_length))
                self._run_length += 1
                batch, count = [], 0

    def _has_room(self) -> bool:
        """Wait until a batch may be handed on; False if none is wanted any more."""
        self._ahead.acquire()
        rest = 0.0
        while not self._taken.empty():
            took, share = self._taken.get()
            rest += (took + self._busy) * (1.0 / share - 1.0)
            self._busy = 0.0
        if rest:
            self._stop.wait(rest)
        if self._again.is_set():
            self._ahead.release()
            return False
        return not self._stop.is_set()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
