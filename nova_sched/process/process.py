"""The common part of all service processes: options, log, signals, the "is ready" line, and the end.

oslo.service's launcher is not used. Its threading back-end runs a service in a
forked child, starts the child again whenever it ends, and drops its exit code.
Here a wrong option, a log that cannot be reached and a gap each end the process
with a different exit code, and systemd starts it again. The options of
oslo.service are used where they fit (``graceful_shutdown_timeout``).

Signals: SIGTERM and SIGINT drain and end (a second SIGINT ends at once),
SIGHUP reloads the options that may change, SIGUSR2 prints a Guru Meditation
Report.
"""

import contextlib
import faulthandler
import io
import logging
import os
import queue
import re
import signal
import sys
import threading
import time

from nova_sched.process import log_setup
from nova_sched.process.notify import Notifier
from nova_sched.process.service import Service
from nova_sched.process.text import marked_place
from nova_sched.process.version import PROJECT, version
from rpc_api import concurrency, errors

LOG = logging.getLogger(__name__)

#: Seconds between two checks of the service's fault.
LOOK_PAUSE = 0.5
#: Seconds that a drain may take beyond graceful_shutdown_timeout, to close connections.
CLOSING = 5.0
#: Seconds for the rest of the end of a process that cannot go on.
END_SECONDS = 10
#: Seconds between two checks that the system still gives us threads.
THREAD_LOOK_PAUSE = 5.0
#: The end of the --help of each service.
HELP_END = (
    "Without --config-file it reads ~/.nova_sched/nova_sched.conf, /etc/nova_sched/nova_sched.conf and the like; all "
    "options of the files are in etc/nova_sched/nova_sched.conf.sample. Signals: SIGTERM ends it when calls in flight "
    "are answered, SIGUSR2 prints a report. Exit codes: 0 ok, 1 calls were not answered or events not appended, "
    "2 wrong usage or configuration, 3 broker or log unreachable, 4 gap or partial data, 5 data of a newer version."
)
OWN_FAULT = "a fault in nova_sched itself ({fault}); run it with --debug and see its log"


def main(program: str, argv, load) -> int:
    """Run a service process and return its exit code.

    ``load()`` imports and returns the app of the service, which has ``register(conf)``, ``service(conf)`` and
    ``DESCRIPTION``. It is called when the concurrency mode is chosen, before which nothing of oslo may be imported.
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
        from oslo_config import cfg

        LOG.debug("the fault of %s", program, exc_info=True)
        if isinstance(fault, cfg.Error):  # an option that a library reads when it is first used
            return _say(program, _one_line(fault), errors.EXIT_USAGE)
        return _say(program, OWN_FAULT.format(fault=repr(fault)), errors.EXIT_NEGATIVE)


def _say(program, text, code):
    print(f"{program}: {text}", file=sys.stderr)
    return code


def _run(program, argv, app):
    from oslo_config import cfg

    from nova_sched.process import unread_options

    conf = cfg.ConfigOpts()
    register_options(conf, app)
    parse(conf, program, argv, app.DESCRIPTION)
    share(conf)
    log_setup.set_up(conf, program)
    service = fault = None
    try:
        service = app.service(conf)
    except errors.NovaSchedError as met:
        fault = met
    # After the classes of deployers are loaded, because they register options. Also if the service cannot be made: a
    # mistyped section may be the reason.
    unread_options.warn(conf)
    if fault is not None:
        raise fault
    if sys.__stderr__ is not None:
        # systemd's watchdog ends a service that is stuck with SIGABRT: then its log has the stacks of all threads.
        faulthandler.enable(sys.__stderr__)
    return Process(program, conf, service).run()


# --- configuration -----------------------------------------------------------------------------------------------


def register_options(conf, app):
    from oslo_log import log
    from oslo_reports import opts as report_opts
    from oslo_service import opts as service_opts

    log.register_options(conf)
    service_opts.register_service_opts(conf)
    report_opts.set_defaults(conf)
    app.register(conf)


def parse(
    conf,
    program: str,
    argv,
    description: str | None = None,
    epilog: str = HELP_END,
    commands: tuple = (),
    files_of: str | None = None,
) -> None:
    """Read command line and files; UsageError with one sentence if they are wrong. If the command line asks for the
    completion script, print that and raise SystemExit. ``description`` and ``epilog`` are for --help, ``commands`` are
    the words that a command line may begin with. Without ``--config-file`` the files of the program ``files_of`` are
    read, by default those of ``program``."""
    from oslo_config import cfg

    from nova_sched.process import completion

    if completion.asked(argv):
        print(completion.of_options(conf, program, commands, project=PROJECT, version=version()), end="")
        raise SystemExit(errors.EXIT_OK)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            conf(
                list(argv),
                project=PROJECT,
                prog=program,
                version=version(),
                description=description,
                epilog=epilog,
                default_config_files=cfg.find_config_files(PROJECT, files_of or program),
                default_config_dirs=cfg.find_config_dirs(PROJECT, files_of or program),
            )
        values_of(conf)
    except SystemExit as end:
        if not end.code:
            raise
        text = (complaint.getvalue().strip().splitlines() or ["it cannot be read"])[-1]
        text = text.partition("error: ")[2] or text
        text = re.sub(r"Invalid String\(choices=\[(.*)\]\) value: (.*)", r"the value is '\2', wanted one of \1", text)
        raise errors.UsageError(f"the command line is wrong: {text}; see {program} --help") from None
    except cfg.ConfigFilesNotFoundError as fault:
        raise errors.UsageError(
            f"there is no configuration file {', '.join(fault.config_files)}; create it, or fix --config-file"
        ) from None
    except cfg.Error as fault:
        raise errors.UsageError(_one_line(fault)) from None
    except UnicodeDecodeError:
        raise errors.UsageError(
            f"a configuration file is not a text in UTF-8, of {', '.join(argv) or 'those that services read'}; fix "
            "--config-file"
        ) from None
    except OSError as fault:
        raise errors.UsageError(
            f"the configuration file {fault.filename} cannot be read ({fault.strerror}); fix --config-file"
        ) from None


def share(conf) -> None:
    """Read the same files into ``cfg.CONF``, which libraries and classes of deployers share.

    Our own configuration is another object, because Nova's modules register options of the same names in ``cfg.CONF``.
    """
    from oslo_config import cfg

    cfg.CONF(
        [],
        project=PROJECT,
        default_config_files=list(conf.config_file or ()),
        default_config_dirs=list(conf.config_dir or ()),
    )


def values_of(conf) -> dict:
    """Return (group or None, option) -> value of every option; cfg.Error if a value has the wrong type.

    oslo.config checks the type of a value only when the value is read, as here."""
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
    # oslo.config quotes an invisible mark, or complains about the line after it.
    if (path := getattr(fault, "config_file", None)) and (marked := marked_place(path)):
        return f"the configuration is wrong: {marked} {log_setup.MARKED}"
    text = re.sub(r"LocationInfo\(.*?detail='(.*?)'\)", r"\1", " ".join(str(fault).split()))
    return f"the configuration is wrong: {text.rstrip('.')}; fix it"


def _others_run() -> bool:
    """Return whether the interpreter would wait for other threads, such as library threads that wait for a broker."""
    return any(thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate())


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
        self._notifier = Notifier()
        self._monitor = None
        #: (Group or None, option) -> value in force since the start or the last reload.
        self._in_force = {}

    def run(self) -> int:
        """Start, serve until a signal or a fault ends it, and drain. Raises the fault."""
        from nova_sched.process import report
        from nova_sched.process.tuning import prepare_memory

        report.install(self._program, self._conf, self._service)
        prepare_memory()
        concurrency.be_ready_for_death(self._on_death)
        try:
            return self._serve()
        finally:
            signal.alarm(0)
            concurrency.be_ready_no_more()

    def _serve(self):
        from nova_sched.process.monitoring.monitor import Monitor
        from nova_sched.process.tuning import settle_memory
        from rpc_api.levels import LEVEL

        self._monitor = Monitor(self._program, self._conf, self._service, lambda: self._service.fault)
        fault = None
        try:
            # (From here on a signal is answered with a drain; before, it just ends the process.)
            self._take_signals()
            if self._conf.monitoring.enabled:
                self._monitor.serve(self._service.monitoring_port(self._conf.monitoring.port))
            self._notifier.status("is starting, and reads its logs")
            self._service.start()
            settle_memory()
            # Set before the line is logged: its reader may send a signal at once.
            self._starting, self._ready, self._monitor.is_started = False, True, True
            self._in_force = values_of(self._conf)
            LOG.info("%s %s, level %d, is ready: %s", self._program, version(), LEVEL, self._service.serves())
            self._notifier.ready(self._service.serves())
            fault = self._watch()
        except _Stopped:
            LOG.info("%s was stopped before it was ready", self._program)
        except Exception as met:
            fault = met
        self._starting, self._stopping, self._monitor.is_started = False, True, False
        self._notifier.stopping("is ending" if fault is None else f"ends: {fault}")
        drained = self._drain()
        self._monitor.close()
        if fault is not None and not self._conf.use_stderr:
            LOG.error("%s ends: %s", self._program, fault)
        if drained is None or _others_run():
            self._end_now(fault, errors.EXIT_OK if drained else errors.EXIT_NEGATIVE)
        if fault is not None:
            raise fault
        return errors.EXIT_OK if drained else errors.EXIT_NEGATIVE

    def _on_death(self):
        """The process cannot go on. Without memory even its end may hang: then the system ends it."""
        signal.alarm(int(self._conf.graceful_shutdown_timeout or CLOSING) + int(CLOSING) + END_SECONDS)
        self._asked.put("look")

    def _end_now(self, fault, code):
        """End the process without waiting for threads that hang."""
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
                self._notifier.reloading()
                self._reload()
                self._notifier.ready(self._service.serves())
            self._notifier.alive(self._service.pulses())
            if self._notifier.is_status_due():
                self._notifier.status("; ".join(self._monitor.why_not_ready()) or self._service.serves())
            if self._service.fault is not None:
                return self._service.fault
            if concurrency.death() is not None:
                return errors.NovaSchedError(f"{self._program} cannot go on: {concurrency.death()}")

    def _reload(self):
        try:
            self._read_again()
            self._service.reload()
        except (errors.NovaSchedError, TimeoutError) as fault:
            LOG.error("the new configuration is not used: %s", fault if str(fault) else "it took too long; try again")
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
        """Read the configuration files again; UsageError if they are wrong."""
        from oslo_config import cfg

        try:
            self._conf.mutate_config_files()
            cfg.CONF.mutate_config_files()
            values_of(self._conf)
        except cfg.Error as fault:
            raise errors.UsageError(_one_line(fault)) from None

    def _drain(self):
        """Drain the service. Return its answer (True or False), None if it does not finish."""
        timeout = self._conf.graceful_shutdown_timeout
        LOG.log(
            logging.INFO if self._ready else logging.DEBUG,
            "%s stops; calls in flight have %s to finish",
            self._program,
            f"{timeout} s" if timeout else "unlimited time",
        )
        answers = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: answers.put(self._drained(timeout)), name="drain", daemon=True)
        if not concurrency.start_or_report(thread):
            answers.put(self._drained(timeout))
        try:
            drained = answers.get(timeout=timeout + CLOSING if timeout else None)
        except queue.Empty:
            drained = None
        # (Not above: oslo.log adds an exception that is being handled to a warning.)
        if drained is None:
            LOG.warning("%s ends after %s s with calls still in flight", self._program, timeout)
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
