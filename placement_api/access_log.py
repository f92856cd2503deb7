"""The handler of the access log.

The formatter of oslo.log looks up the context of each line. Each line of the access log has its request and user in its
text, and for a short request that look-up would be a third of the work.
"""

import logging

from oslo_log import formatters

#: Lines of these forms are for programs.
_STRUCTURED = formatters.JSONFormatter, formatters.FluentFormatter


class AccessHandler(logging.Handler):
    """Writes lines to the streams and files to which all others go, without a context. A handler of another kind, such
    as one for JSON or syslog, gets the record itself."""

    def __init__(self) -> None:
        super().__init__()
        line = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s %(message)s"
        self.setFormatter(logging.Formatter(line, "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        text = None
        for target in logging.root.handlers:
            if getattr(target, "stream", None) is None or isinstance(target.formatter, _STRUCTURED):
                target.handle(record)
                continue
            text = text or f"{self.format(record)}\n"
            with target.lock or self.lock:
                try:
                    # (A file may have been moved away by logrotate.)
                    getattr(target, "reopenIfNeeded", lambda: None)()
                    target.stream.write(text)
                    target.flush()
                except Exception:
                    # As with every handler: a log that cannot be written does not stop a request.
                    target.handleError(record)


def set_up() -> logging.Logger:
    """The logger of the access log, with its handler."""
    logger = logging.getLogger("placement_api.access")
    if not any(type(handler) is AccessHandler for handler in logger.handlers):
        logger.addHandler(AccessHandler())
        logger.propagate = False
    return logger
