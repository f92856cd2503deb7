"""Logs that are opened again after a fault: the file of a log may have been replaced, and an open one stays the old
one. A log that cannot be opened, or that is another one than was shown, is left out until it is back: the others are
shown meanwhile."""

from collections import defaultdict

from nova_sched.process.read_before import KnownLog
from rpc_api import errors
from rpc_api.log import open_log

#: Schemes of logs that stay with what they have opened, and whose URL is all that opens them. (A log on a broker
#: connects again by itself, and its URL here has no password.)
SCHEMES = ("sqlite", "memory")


class OpenedAgain(Exception):
    """Logs that were left out can be opened now: ``logs`` is cell -> log."""

    def __init__(self, logs):
        super().__init__()
        self.logs = logs

    def close(self) -> None:
        """Close them: nobody wants them any more."""
        for log in self.logs.values():
            log.close()


class Reopening:
    """Opens the logs of a Source again, in their place in ``source.logs``; those that cannot be opened are in
    ``source.down`` meanwhile."""

    def __init__(self, source):
        self._source = source
        #: Cell -> the log that was opened here.
        self._opened = {}
        #: Cell -> its KnownLog.
        self._known = defaultdict(KnownLog)

    def look(self, cell) -> None:
        """Raise LogGone if the log of a cell is missing, or is another one than was shown and may not be (see
        :class:`~nova_sched.process.read_before.KnownLog`)."""
        self._known[cell].look(self._source.logs[cell], cell)

    def know(self, projection) -> None:
        """The state of a log is shown."""
        if projection.epoch is not None:
            self._known[projection.cell].begin(projection.epoch)
            self._known[projection.cell].see(projection.level)

    def open_again(self) -> None:
        """Open all logs again that do not connect again by themselves."""
        for cell, log in sorted(self._source.logs.items()):
            if log.url.partition("://")[0].lower() not in SCHEMES:
                continue
            try:
                self._replace(cell, log)
            except errors.NovaSchedError as fault:
                self._source.leave_out(cell, fault)

    def _replace(self, cell, log):
        self._known[cell].open(cell, log.url, create=False).close()
        # Before the new one is opened: to close a file later would drop the locks that SQLite has by then on the files
        # beside the log.
        log.close()
        self.take({cell: open_log(log.url, create=False)})

    def try_again(self) -> dict:
        """Return cell -> log for those that are left out and can be opened now. Any thread may call it."""
        opened = {}
        for cell, url in self._source.left_out.copy().items():
            known, log = self._known[cell], None
            try:
                log = known.open(cell, url, create=False)
                known.look(log, cell)
            except errors.NovaSchedError:
                if log is not None:
                    log.close()
                continue
            opened[cell] = log
        return opened

    def take(self, opened) -> None:
        """Put logs (cell -> log) into their place in the source."""
        for cell, log in opened.items():
            self._opened[cell] = log
            self._source.take_back(cell, log)

    def close(self) -> None:
        """Close the logs that were opened here."""
        for log in self._opened.values():
            log.close()
