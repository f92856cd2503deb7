"""Logs that are opened again after a fault: the file of a log may have been replaced, and an open one stays the old
one. A log that cannot be opened is left out until it can: the others are shown meanwhile."""

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
        open_log(log.url, create=False).close()
        # Before the new one is opened: to close a file later would drop the locks that SQLite has by then on the files
        # beside the log.
        log.close()
        self.take({cell: open_log(log.url, create=False)})

    def try_again(self) -> dict:
        """Return cell -> log for those that are left out and can be opened now. Any thread may call it."""
        opened = {}
        for cell, url in self._source.left_out.copy().items():
            try:
                opened[cell] = open_log(url, create=False)
            except errors.NovaSchedError:
                continue
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
