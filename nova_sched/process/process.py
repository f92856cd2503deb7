"""What every service process does: options, log, signals, one ready line, and its end.

oslo.service's launcher is not used. Its threading back-end runs a service in a
forked child that it starts again whenever it ends, and drops the child's exit
code; here a wrong option, a log that is away and a gap each end the process
with a code of their own, and what starts it again is systemd's business. Its
options are used where they fit (``graceful_shutdown_timeout``).

Signals: SIGTERM and SIGINT drain and end (a second SIGINT ends at once),
SIGHUP reloads what may change, SIGUSR2 prints a Guru Meditation Report.
"""

import abc
import contextlib
import io
import logging
import os
import queue
import re
import signal
import sys
import threading
import time

from nova_sched.process.version import PROJECT, version
from rpc_api import concurrency, errors, noise

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the service's own fault.
LOOK_PAUSE = 0.5
#: Seconds that a drain may take beyond graceful_shutdown_timeout, for what is only closing.
CLOSING = 5.0
#: Seconds between two looks whether the system still gives us threads.
THREAD_LOOK_PAUSE = 5.0
OWN_FAULT = "it met a fault of its own ({fault}); run it with --debug and see its log"


class Remaining:
    """What is left of some seconds, for things that are done one after the other."""

    def __init__(self, seconds: float):
        self._ends_at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self._ends_at - time.monotonic())


class Service(abc.ABC):
    """A service as a process runs it."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start and return when it serves; raises NovaSchedError when it cannot."""

    @abc.abstractmethod
    def serves(self) -> str:
        """What it serves, for the line that says it is ready."""

    @abc.abstractmethod
    def drain(self, timeout: float) -> bool:
        """Take no more calls, finish what is in flight, append what is waiting, in about ``timeout`` seconds; True
        when nothing was left. Also called for a start that came to nothing."""

    @abc.abstractmethod
    def report(self) -> dict:
        """What a person wants to know of it now (may be slow, may raise)."""

    def reload(self) -> None:
        """Take over options that were changed; raises NovaSchedError and stays as it was when they are wrong."""

    @property
    def fault(self) -> errors.NovaSchedError | None:
        """Why it cannot go on; the process then ends."""
        return None


def main(program: str, argv, load) -> int:
    """Run a service process and return its exit code.

    ``load()`` imports and returns what has ``register(conf)`` and ``service(conf)``: it is called when the
    concurrency mode is chosen, before which nothing of oslo may be imported.
    """
    try:
        concurrency.setup()
        return _run(program, sys.argv[1:] if argv is None else argv, load())
    except errors.NovaSchedError as fault:
        return _say(program, str(fault), fault.exit_code)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (RuntimeError, MemoryError) as fault:
        LOG.debug("the fault of %s", program, exc_info=True)
        own = concurrency.NO_THREAD if concurrency.is_out_of_threads(fault) else OWN_FAULT
        return _say(program, own.format(fault=repr(fault)), errors.EXIT_NEGATIVE)
    except Exception as fault:
        LOG.debug("the fault of %s", program, exc_info=True)
        return _say(program, OWN_FAULT.format(fault=repr(fault)), errors.EXIT_NEGATIVE)


def _say(program, text, code):
    print(f"{program}: {text}", file=sys.stderr)
    return code


def _run(program, argv, app):
    from oslo_config import cfg

    from nova_sched.process import completion, unread_options

    conf = cfg.ConfigOpts()
    _register(conf, app)
    if completion.asked(argv):
        print(completion.of_options(conf, program, project=PROJECT, version=version()), end="")
        return errors.EXIT_OK
    parse(conf, program, argv)
    share(conf)
    _set_up_log(conf, program)
    service = fault = None
    try:
        service = app.service(conf)
    except errors.NovaSchedError as met:
        fault = met
    # After the classes of deployers, which have options of their own; and for a service that cannot be made too, as a
    # mistyped section may be the reason.
    unread_options.warn(conf)
    if fault is not None:
        raise fault
    return Process(program, conf, service).run()


# --- configuration -----------------------------------------------------------------------------------------------


def _register(conf, app):
    from oslo_log import log
    from oslo_reports import opts as report_opts
    from oslo_service import opts as service_opts

    log.register_options(conf)
    service_opts.register_service_opts(conf)
    report_opts.set_defaults(conf)
    app.register(conf)


def parse(conf, program: str, argv) -> None:
    """Read command line and files; UsageError in one sentence for whatever is wrong with them."""
    from oslo_config import cfg

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            conf(list(argv), project=PROJECT, prog=program, version=version())
        values_of(conf)
    except SystemExit as end:
        if not end.code:
            raise
        text = (said.getvalue().strip().splitlines() or ["it cannot be read"])[-1]
        text = text.partition("error: ")[2] or text
        raise errors.UsageError(f"the command line is wrong: {text}; see {program} --help") from None
    except cfg.Error as fault:
        raise errors.UsageError(_one_line(fault)) from None
    except OSError as fault:
        raise errors.UsageError(
            f"the configuration file {fault.filename} cannot be read ({fault.strerror}); fix --config-file"
        ) from None


def share(conf) -> None:
    """Let the configuration that libraries and the classes of deployers share read the same files.

    Ours is one of its own: nova's modules register options of the same names in the shared one.
    """
    from oslo_config import cfg

    cfg.CONF(
        [],
        project=PROJECT,
        default_config_files=list(conf.config_file or ()),
        default_config_dirs=list(conf.config_dir or ()),
    )


def values_of(conf) -> dict:
    """(Group or None, option) -> value of every option. One of a wrong type is only found when it is looked at,
    as here: cfg.Error."""
    from oslo_config import cfg

    values = {}
    for name in conf:
        value = conf[name]
        if isinstance(value, cfg.ConfigOpts.GroupAttr):
            values.update({(name, option): value[option] for option in value})
        else:
            values[None, name] = value
    return values


def _one_line(fault):
    text = re.sub(r"LocationInfo\(.*?detail='(.*?)'\)", r"\1", " ".join(str(fault).split()))
    return f"the configuration is wrong: {text.rstrip('.')}; fix it"


def _set_up_log(conf, program):
    from oslo_log import formatters, log

    if not (conf.log_file or conf.log_dir or conf.use_journal):
        # oslo.log would take stdout, which is for data.
        conf.set_default("use_stderr", True)
    try:
        log.setup(conf, program, version())
    except (log.LogConfigError, OSError) as fault:
        raise errors.UsageError(f"the log cannot be opened ({fault}); fix the log options") from None
    for handler in logging.getLogger(None).handlers:
        handler.addFilter(_for_people(conf))
        if isinstance(handler.formatter, formatters.ContextFormatter):
            handler.setFormatter(_SaidOnce(handler.formatter))
    threading.excepthook = _thread_ended
    if conf.log_options:
        conf.log_opt_values(LOG, logging.DEBUG)


def _for_people(conf):
    """A log filter: no noise, and tracebacks only with debug."""

    def keep(record):
        if record.exc_info and record.levelno > logging.DEBUG and not conf.debug:
            record.exc_info = record.exc_text = None
        return noise.is_wanted(record)

    return keep


class _SaidOnce(logging.Formatter):
    """A formatter of oslo.log's without what that puts behind a warning or an error that is logged where an exception
    is handled: the exception's text, which what we log says already."""

    def __init__(self, formatter):
        super().__init__()
        self._formatter = formatter

    def format(self, record):
        text = self._formatter.format(record)
        summary = getattr(record, "error_summary", "")
        said = summary.partition(": ")[2]
        return text.removesuffix(f": {summary}") if said and said in record.getMessage() else text


def _others_run() -> bool:
    """Whether the interpreter would wait for other threads, as for those of libraries that wait for a broker."""
    return any(thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate())


def _thread_ended(met):
    concurrency.report_if_out_of_threads(met.exc_value)
    LOG.error("the thread %s met a fault of its own: %r", met.thread.name if met.thread else "?", met.exc_value)
    LOG.debug("the fault of the thread", exc_info=(met.exc_type, met.exc_value, met.exc_traceback))


# --- the process -------------------------------------------------------------------------------------------------


class _Stopped(BaseException):
    """A signal asked for the end before the service was ready."""


class Process:
    """One service with the signals that reach it."""

    def __init__(self, program, conf, service: Service):
        self._program = program
        self._conf = conf
        self._service = service
        self._asked = queue.SimpleQueue()
        self._starting = True
        self._stopping = False
        self._ready = False
        #: (Group or None, option) -> value in force since the start or the last reload.
        self._in_force = {}

    def run(self) -> int:
        """Start, serve until a signal or a fault ends it, and drain. Raises the fault."""
        from nova_sched.process import report
        from nova_sched.process.tuning import prepare_memory, settle_memory

        self._take_signals()
        report.install(self._program, self._conf, self._service)
        prepare_memory()
        fault = None
        try:
            self._service.start()
            settle_memory()
            # Before it is said: whoever reads it may send a signal at once.
            self._starting, self._ready = False, True
            self._in_force = values_of(self._conf)
            LOG.info("%s %s is ready: %s", self._program, version(), self._service.serves())
            fault = self._watch()
        except _Stopped:
            LOG.info("%s is stopped before it was ready", self._program)
        except Exception as met:
            fault = met
        self._starting, self._stopping = False, True
        drained = self._drain()
        if fault is not None and not self._conf.use_stderr:
            LOG.error("%s ends: %s", self._program, fault)
        if drained is None or _others_run():
            self._end_now(fault, errors.EXIT_OK if drained else errors.EXIT_NEGATIVE)
        if fault is not None:
            raise fault
        return errors.EXIT_OK if drained else errors.EXIT_NEGATIVE

    def _end_now(self, fault, code):
        """Threads that hang must not hold up the process: it ends without waiting for them."""
        if fault is not None:
            code = getattr(fault, "exit_code", errors.EXIT_NEGATIVE)
            _say(self._program, str(fault), code)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)

    def _watch(self):
        looked_at = time.monotonic()
        while True:
            if time.monotonic() - looked_at >= THREAD_LOOK_PAUSE:
                looked_at = time.monotonic()
                concurrency.start_or_report(threading.Thread(target=int, name="is there a thread", daemon=True))
            try:
                asked = self._asked.get(timeout=LOOK_PAUSE)
            except queue.Empty:
                asked = None
            if asked == "stop":
                return None
            if asked == "reload":
                self._reload()
            if self._service.fault is not None:
                return self._service.fault
            if concurrency.death() is not None:
                return errors.NovaSchedError(f"{self._program} cannot go on: {concurrency.death()}")

    def _reload(self):
        try:
            self._read_again()
            self._service.reload()
        except (errors.NovaSchedError, TimeoutError) as fault:
            LOG.error("the configuration is not taken over: %s", fault if str(fault) else "it took too long; try again")
        else:
            before, self._in_force = self._in_force, values_of(self._conf)
            names = sorted(
                f"[{group or 'DEFAULT'}] {name}"
                for (group, name), value in self._in_force.items()
                if before.get((group, name), value) != value
            )
            LOG.info("the configuration was reloaded, changed: %s", ", ".join(names) or "nothing")
        from nova_sched.process import unread_options

        unread_options.warn(self._conf)

    def _read_again(self):
        """Read the configuration files again; UsageError for what is wrong with them."""
        from oslo_config import cfg

        try:
            self._conf.mutate_config_files()
            cfg.CONF.mutate_config_files()
            values_of(self._conf)
        except cfg.Error as fault:
            raise errors.UsageError(_one_line(fault)) from None

    def _drain(self):
        """Drain the service: True or False as it says, None when it does not come to an end."""
        timeout = self._conf.graceful_shutdown_timeout
        LOG.log(
            logging.INFO if self._ready else logging.DEBUG,
            "%s stops; what is in flight has %s",
            self._program,
            f"{timeout} s" if timeout else "all the time",
        )
        answers = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: answers.put(self._drained(timeout)), name="drain", daemon=True)
        if not concurrency.start_or_report(thread):
            answers.put(self._drained(timeout))
        try:
            drained = answers.get(timeout=timeout + CLOSING if timeout else None)
        except queue.Empty:
            LOG.warning("%s ends with work in flight after %s s", self._program, timeout)
            return None
        LOG.log(
            logging.INFO if self._ready else logging.DEBUG,
            "%s ends: %s",
            self._program,
            "nothing was left" if drained else "something was left, see above",
        )
        return drained

    def _drained(self, timeout):
        try:
            return bool(self._service.drain(timeout or threading.TIMEOUT_MAX))
        except Exception as fault:
            LOG.error("%s could not drain: %s", self._program, fault)
            LOG.debug("the fault of the drain", exc_info=True)
            return False

    # --- signals ---------------------------------------------------------------------------------------------

    def _take_signals(self):
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, lambda *_: self._asked.put("reload"))

    def _on_stop(self, number, frame):
        if self._stopping:
            if number == signal.SIGINT:
                os._exit(128 + number)
            return
        self._stopping = True
        if self._starting:
            raise _Stopped
        self._asked.put("stop")
