"""Services that the system gives no more threads, or one of whose threads dies: no call stays unanswered, and the
process says so and ends."""

import os
import resource
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from oslo_config import cfg

from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import concurrency, errors
from rpc_api.bus import MessagingBus
from rpc_api.feed.follower import Batch
from tests.end_to_end.test_main import ALL, NAMES, started
from tests.servers import wait_until

PATIENCE = 60.0
CONTEXT = {"request_id": "req-1", "project_id": "p", "user_id": "u"}


@pytest.fixture(autouse=True)
def nothing_dies_outside():
    concurrency.forget_deaths()
    yield
    concurrency.forget_deaths()


class Slow:
    """Answers when it is let."""

    RPC_METHODS = ("answer",)

    def __init__(self):
        self.gate = threading.Event()

    def answer(self, context, number):
        self.gate.wait(PATIENCE)
        return number


@pytest.fixture
def bus():
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, "fake://", "test")
    yield bus
    bus.close()


def refuse_threads(patch, names):
    """Let no thread start whose name begins as one of ``names``."""
    start = threading.Thread.start

    def refused(thread):
        if thread.name.startswith(names):
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refused)


def test_each_call_is_answered_where_a_server_gets_no_more_threads(bus, monkeypatch):
    endpoint, topic = Slow(), f"test-{uuid.uuid4().hex}"
    server = bus.serve(topic, "one", [endpoint], "1.0")
    client = bus.client(topic, "1.0")
    refuse_threads(monkeypatch, ("answer ",))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.call, CONTEXT, "answer", timeout=PATIENCE, number=number) for number in range(8)]
        # Not before: one thread could answer calls that come one after the other.
        wait_until(concurrency.death, PATIENCE, "no thread was refused")
        endpoint.gate.set()
        assert sorted(one.result(PATIENCE) for one in asked) == list(range(8))
    assert "cannot start a thread" in concurrency.death()
    server.stop(PATIENCE)


def test_a_server_without_one_thread_does_not_start(bus, monkeypatch):
    refuse_threads(monkeypatch, ("answer ",))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        bus.serve(f"test-{uuid.uuid4().hex}", "one", [Slow()], "1.0")


@pytest.fixture
def scheduler(tmp_path):
    cells = [Cell("cell1", str(uuid.uuid4()), f"sqlite:///{tmp_path}/cell1.db")]
    scheduler = Scheduler("test", cell0_of(f"sqlite:///{tmp_path}/cell0.db"), cells, Policy())
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


@pytest.mark.parametrize("fault", [RuntimeError("of its own"), MemoryError(), RuntimeError("can't start new thread")])
def test_a_scheduler_that_gives_up_answers_all_that_was_asked(scheduler, monkeypatch, fault):
    """Its thread meets a fault while requests and calls wait behind it in the same batch."""

    def fail(self, cell, records):
        raise fault

    gate = threading.Event()
    scheduler.call(lambda engine: gate.wait(PATIENCE))
    monkeypatch.setitem(scheduler._run.__func__.__globals__["_FROM_LOGS"], "records", fail)
    asked = Future()
    scheduler._inbox.put("call", lambda engine: None, asked)
    scheduler._inbox.put("records", "cell1", Batch([], True))
    waiting = [scheduler.call(lambda engine: None) for _ in range(5)]
    gate.set()
    done, left = wait([asked, *waiting], PATIENCE)
    assert not left and all(one.exception() is not None for one in done)
    assert scheduler.fault is not None


def test_what_is_asked_of_a_scheduler_that_stops_is_answered(scheduler):
    gate = threading.Event()
    scheduler.call(lambda engine: gate.wait(PATIENCE))
    scheduler._inbox.put("stop", None, None)
    behind = [scheduler.call(lambda engine: None) for _ in range(3)]
    gate.set()
    for one in behind:
        assert isinstance(one.exception(PATIENCE), errors.LogClosed)


@pytest.mark.parametrize("service, args", ALL, ids=NAMES)
def test_a_process_that_gets_no_more_threads_ends(tmp_path, service, args):
    with started(tmp_path, service, *args) as process:
        process.wait_ready()
        size = int(Path("/proc", str(process.process.pid), "statm").read_text().split()[0])
        limit = size * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(process.process.pid, resource.RLIMIT_AS, (limit, limit))
        assert process.process.wait(60) == 1, process.stderr
        assert "cannot start a thread" in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
