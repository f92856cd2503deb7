"""The log of a process: oslo.log, for people. Each fault is one line, and tracebacks are only there with --debug."""

import logging
import threading

from nova_sched.process.text import marked_place
from nova_sched.process.version import version
from rpc_api import concurrency, errors, noise

LOG = logging.getLogger(__name__)

MARKED = "begins with a byte order mark (BOM); save the file as UTF-8 without a byte order mark"


def set_up(conf, program) -> None:
    """Set up oslo.log by the options of ``conf``; UsageError if its files cannot be used."""
    from oslo_log import formatters, log

    if not (conf.log_file or conf.log_dir or conf.use_journal):
        # oslo.log would write to stdout, which is for data.
        conf.set_default("use_stderr", True)
    try:
        log.setup(conf, program, version())
    except (log.LogConfigError, OSError) as fault:
        marked = conf.log_config_append and marked_place(conf.log_config_append)
        found = f"{marked} {MARKED}" if marked else f"the log cannot be opened ({fault}); fix the log options"
        raise errors.UsageError(" ".join(found.split())) from None
    for handler in logging.getLogger(None).handlers:
        handler.addFilter(_for_people(conf))
        if isinstance(handler.formatter, formatters.ContextFormatter):
            handler.setFormatter(_WithoutRepetition(handler.formatter))
    threading.excepthook = _thread_ended
    if conf.log_options:
        conf.log_opt_values(LOG, logging.DEBUG)


def _for_people(conf):
    """Return a log filter that drops noise, and keeps tracebacks only with debug."""

    def keep(record):
        if record.exc_info and record.levelno > logging.DEBUG and not conf.debug:
            record.exc_info = record.exc_text = None
        return noise.is_wanted(record)

    return keep


class _WithoutRepetition(logging.Formatter):
    """oslo.log's formatter without the text of a handled exception if the message contains that text already.

    oslo.log appends the text to each warning and error that is logged while an exception is handled."""

    def __init__(self, formatter):
        super().__init__()
        self._formatter = formatter

    def format(self, record):
        text = self._formatter.format(record)
        summary = getattr(record, "error_summary", "")
        exception_text = summary.partition(": ")[2]
        repeated = exception_text and exception_text in record.getMessage()
        return text.removesuffix(f": {summary}") if repeated else text


def _thread_ended(met):
    concurrency.report_if_out_of_threads(met.exc_value)
    LOG.error("the thread %s ended with a fault: %r", met.thread.name if met.thread else "?", met.exc_value)
    LOG.debug("the fault of the thread", exc_info=(met.exc_type, met.exc_value, met.exc_traceback))
