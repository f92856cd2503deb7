"""The access log: one line for each answer.

The formatter of oslo.log looks up the context of each line, and logging looks up who called it. Each line of the access
log has its request and user in its text, and for a short request these look-ups would be a third of the work.
"""

import logging
import logging.handlers
import os
from datetime import datetime
from functools import lru_cache

from oslo_log import formatters

from rpc_api.clock import SYSTEM, Clock

#: Lines of these forms are for programs.
_STRUCTURED = formatters.JSONFormatter, formatters.FluentFormatter
_MS_NS = 10**6


class AccessLog:
    """Writes lines to the streams and files to which all other lines go, without a context. A handler of another kind,
    such as one for JSON or syslog, or one that rotates its file, gets a record. ``logger`` says whether there is an
    access log."""

    def __init__(self, logger: logging.Logger, clock: Clock = SYSTEM) -> None:
        self._logger = logger
        self._clock = clock

    def write(self, text: str) -> None:
        """Write one line."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        line = None
        for target in logging.root.handlers:
            if target.level > logging.INFO:
                continue
            if _wants_record(target):
                target.handle(self._logger.makeRecord(self._logger.name, logging.INFO, __file__, 0, text, (), None))
                continue
            line = line or self._line(text)
            target.acquire()
            try:
                # (A file may have been moved away by logrotate.)
                getattr(target, "reopenIfNeeded", _nothing)()
                target.stream.write(line)  # type: ignore[attr-defined]  # it has a stream
                target.flush()
            except Exception:
                # As with every handler: a log that cannot be written does not stop a request.
                target.handleError(logging.makeLogRecord({"msg": text}))
            finally:
                target.release()

    def _line(self, text: str) -> str:
        seconds, ms = divmod(self._clock.now_ns() // _MS_NS, 1000)
        return f"{_date(seconds)}.{ms:03} {os.getpid()} INFO {self._logger.name} {text}\n"


def _wants_record(target: logging.Handler) -> bool:
    """Whether a handler gets a record. One that rotates its file itself looks at each record whether it must."""
    return (
        getattr(target, "stream", None) is None
        or isinstance(target, logging.handlers.BaseRotatingHandler)
        or isinstance(target.formatter, _STRUCTURED)
    )


def _nothing() -> None:
    pass


@lru_cache(4)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def set_up() -> AccessLog:
    """The access log of this process. ``default_log_levels`` can switch off its logger."""
    logger = logging.getLogger("placement_api.access")
    logger.propagate = False
    return AccessLog(logger)
