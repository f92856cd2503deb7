"""Logs that are opened again after a fault: the file of a log may have been replaced, and an open one stays the old
one."""

from rpc_api import errors
from rpc_api.log import open_log

#: Schemes of logs that stay with what they have opened, and whose URL is all that opens them. (A log on a broker
#: connects again by itself, and its URL here has no password.)
SCHEMES = ("sqlite", "memory")


class Reopening:
    """Opens the logs of a Source again, in their place in ``source.logs``."""

    def __init__(self, source):
        self._source = source
        #: Cell -> the log that was opened here.
        self._opened = {}

    def open_again(self) -> None:
        """Open all logs again. Raise NovaSchedError for the first one that cannot be opened, which stays as it is."""
        fault = None
        for cell, log in sorted(self._source.logs.items()):
            if log.url.partition("://")[0].lower() not in SCHEMES:
                continue
            try:
                self._replace(cell, log)
            except errors.NovaSchedError as found:
                fault = fault or found
        if fault is not None:
            raise fault

    def _replace(self, cell, log):
        open_log(log.url, create=False).close()
        # Before the new one is opened: to close a file later would drop the locks that SQLite has by then on the files
        # beside the log.
        log.close()
        self._source.logs[cell] = self._opened[cell] = open_log(log.url, create=False)

    def close(self) -> None:
        """Close the logs that were opened here."""
        for log in self._opened.values():
            log.close()
