"""The common part of services: signals that come early, or twice."""

import logging
import os
import signal
import sys
import threading

import pytest
from oslo_config import cfg

from nova_sched.process import log_setup, process, unread_options
from nova_sched.process.service import Service
from nova_sched.scheduler import config
from rpc_api import concurrency, errors


class Idle(Service):
    """A service that does nothing."""

    drained = 0

    def start(self):
        pass

    def serves(self):
        return "it serves nothing"

    def drain(self, timeout):
        self.drained += 1
        return True

    def report(self):
        return {}


@pytest.fixture
def made(monkeypatch):
    """(A process, its service); what it does to signals and reports is undone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    monkeypatch.setattr("nova_sched.process.report.install", lambda *_: None)
    monkeypatch.setattr("nova_sched.process.tuning.prepare_memory", lambda: None)
    monkeypatch.setattr("nova_sched.process.tuning.settle_memory", lambda: None)
    monkeypatch.setattr(process, "_others_run", lambda: False)
    conf = cfg.ConfigOpts()
    process.register_options(conf, config)
    conf([])
    conf.set_override("enabled", False, "monitoring")
    service = Idle()
    yield process.Process("nova-sched-idle", conf, service), service
    for number, handler in before.items():
        signal.signal(number, handler)


MARK = "\ufeff"


@pytest.mark.parametrize(
    "text, line",
    [
        (f"{MARK}[DEFAULT]\ndebug = true\n", 1),
        (f"{MARK}# debug: more lines\n[DEFAULT]\n", 1),
        (f"{MARK}\n[DEFAULT]\n", 1),
        (f"[DEFAULT]\ndebug = true\n{MARK}[scheduler]\nname = a\n", 3),
    ],
    ids=["section", "comment", "empty line", "joined files"],
)
def test_a_byte_order_mark_in_a_configuration_file_is_named(tmp_path, text, line):
    """Nobody sees it, and oslo.config quotes it, or complains about the next line."""
    conf, path = cfg.ConfigOpts(), tmp_path / "scheduler.conf"
    process.register_options(conf, config)
    path.write_text(text)
    with pytest.raises(errors.UsageError) as told:
        process.parse(conf, "nova-sched-idle", ["--config-file", str(path)])
    assert str(told.value) == (
        f"the configuration is wrong: {path}:{line} begins with a byte order mark (BOM); save the file as UTF-8 "
        "without a byte order mark"
    )


def test_other_faults_of_a_configuration_file_are_told_as_oslo_config_does(tmp_path):
    conf, path = cfg.ConfigOpts(), tmp_path / "scheduler.conf"
    process.register_options(conf, config)
    path.write_text("[DEFAULT]\ndebug\n")
    with pytest.raises(errors.UsageError, match="scheduler.conf:2, No ':' or '=' found in assignment: 'debug'"):
        process.parse(conf, "nova-sched-idle", ["--config-file", str(path)])


def test_a_byte_order_mark_in_the_configuration_of_logging_is_named(tmp_path):
    conf, path = cfg.ConfigOpts(), tmp_path / "logging.conf"
    process.register_options(conf, config)
    path.write_text(f"{MARK}[loggers]\nkeys = root\n")
    process.parse(conf, "nova-sched-idle", ["--log-config-append", str(path)])
    with pytest.raises(errors.UsageError, match=r"logging.conf:1 begins with a byte order mark \(BOM\)"):
        log_setup.set_up(conf, "nova-sched-idle")


def test_an_option_behind_a_byte_order_mark_is_read_by_no_service(tmp_path):
    conf, path = cfg.ConfigOpts(), tmp_path / "scheduler.conf"
    process.register_options(conf, config)
    path.write_text(f"[DEFAULT]\n{MARK}debug = true\n")
    (told,) = unread_options.unread(conf, [str(path)])
    assert r"[DEFAULT] \ufeffdebug is read by no service, the nearest is [DEFAULT] debug" in told


def test_a_signal_that_comes_before_the_start_ends_it(made, monkeypatch):
    running, service = made
    taken = running._take_signals
    monkeypatch.setattr(running, "_take_signals", lambda: (taken(), os.kill(os.getpid(), signal.SIGTERM)))
    assert running.run() == 0 and service.drained == 1


def test_a_process_that_cannot_go_on_ends_at_once_and_by_force_if_it_hangs(made, monkeypatch, caplog):
    running, service = made
    alarms = []
    monkeypatch.setattr(process, "LOOK_PAUSE", 600.0)
    monkeypatch.setattr(signal, "alarm", alarms.append)

    def die():
        for _ in range(3):
            concurrency.report_if_out_of_threads(MemoryError())
        assert not concurrency._reserves, "the reserve is given back"

    service.start = lambda: threading.Thread(target=die, daemon=True).start()
    try:
        with pytest.raises(errors.NovaSchedError, match="cannot go on: this process cannot start a thread"):
            running.run()
    finally:
        concurrency.forget_deaths()
    assert service.drained == 1 and alarms[0] > 60 and alarms[-1] == 0
    said = [record for record in caplog.records if record.getMessage().startswith("this process cannot")]
    assert [record.levelname for record in said if record.levelno > logging.DEBUG] == ["ERROR"]


def test_an_end_with_calls_in_flight_is_one_sentence(made, monkeypatch, caplog):
    """oslo.log would add the exception that is being handled to the line."""
    running, service = made
    goes_on, handled, ended = threading.Event(), [], []
    monkeypatch.setattr(process, "CLOSING", 0.05 - running._conf.graceful_shutdown_timeout)
    monkeypatch.setattr(running, "_end_now", lambda fault, code: ended.append(code))
    service.start = lambda: os.kill(os.getpid(), signal.SIGTERM)
    service.drain = lambda timeout: goes_on.wait(60)
    caplog.handler.addFilter(lambda record: handled.append((record.getMessage(), sys.exc_info()[0])) or True)
    try:
        running.run()
    finally:
        goes_on.set()
    assert ended == [1] and [met for text, met in handled if "with calls still in flight" in text] == [None]


def test_a_second_signal_while_it_ends_changes_nothing(made):
    running, service = made
    service.start = lambda: os.kill(os.getpid(), signal.SIGTERM)
    service.drain = lambda timeout: (os.kill(os.getpid(), signal.SIGTERM), True)[1]
    assert running.run() == 0
