"""A reader's way out of a log: a thread that decodes what comes and hands it on, and says when nothing can come."""

import logging
import threading

from rpc_api import codec, errors
from rpc_api.log.port import EventLog

LOG = logging.getLogger(__name__)

MAX_RECORDS = 500
#: Batches handed on and not taken yet: the follower waits when its reader is that far behind.
MAX_AHEAD = 8
PAUSE = 0.2


class Follower:
    """Follows a log from a position, in a thread of its own.

    * ``on_records(records)``: ``records`` is a list of (position, DecodedRecord); call :meth:`taken` for each call.
    * ``on_fault(error)``: the log cannot be read now (LogUnavailable; it goes on by itself), or holds a gap (LogGap:
      the follower has ended). ``on_fault(None)``: it can be read again.
    """

    def __init__(self, log: EventLog, position: int, on_records, on_fault, name: str = ""):
        self.log = log
        self.position = position
        self._on_records = on_records
        self._on_fault = on_fault
        self._ahead = threading.Semaphore(MAX_AHEAD)
        self._stop = threading.Event()
        self._down = False
        self._thread = threading.Thread(target=self._run, name=f"follow {name}", daemon=True)

    def start(self):
        """Begin to follow."""
        self._thread.start()
        return self

    def taken(self):
        """One batch that was handed on has been folded."""
        self._ahead.release()

    def stop(self):
        """End the thread."""
        self._stop.set()
        self._ahead.release()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self):
        reader = None
        while not self._stop.is_set():
            try:
                if reader is None:
                    reader = self.log.read_from(self.position)
                records = reader.read(MAX_RECORDS, timeout=0.5)
            except errors.LogGap as gap:
                self._on_fault(gap)
                break
            except errors.LogUnavailable as fault:
                if self._stop.is_set():
                    break
                if not self._down:
                    LOG.warning("the log cannot be read, and is tried again: %s", fault)
                    self._down = True
                self._on_fault(fault)
                self._stop.wait(PAUSE)
                continue
            if self._down:
                self._down = False
                LOG.info("the log %s can be read again", self.log.url)
                self._on_fault(None)
            if records:
                self.position = records[-1].position + 1
                decoded = [(record.position, codec.decode_record(record.payload)) for record in records]
                self._ahead.acquire()
                self._on_records(decoded)
        if reader is not None:
            reader.close()
