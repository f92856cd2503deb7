"""Threads that the system does not give, and threads that die: nothing that was asked for is forgotten."""

import threading
from concurrent.futures import Future

import pytest

from rpc_api import concurrency
from rpc_api.concurrency import DaemonPool, or_fail, settle, side_by_side, vital_thread

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def nothing_dies_outside():
    concurrency.forget_deaths()
    yield
    concurrency.forget_deaths()


@pytest.fixture
def no_threads(monkeypatch):
    """The system gives no thread from now on."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_pool_works_with_the_threads_that_it_has(monkeypatch):
    pool = DaemonPool(8, "test")
    gate = threading.Event()
    first = pool.submit(gate.wait, PATIENCE)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        others = [pool.submit(int, number) for number in range(20)]
    assert "cannot start a thread" in concurrency.death()
    gate.set()
    assert first.result(PATIENCE) and [one.result(PATIENCE) for one in others] == list(range(20))
    assert pool.wait(PATIENCE)
    pool.close()


def test_a_pool_without_one_thread_is_not_made(no_threads):
    with pytest.raises(RuntimeError, match="can't start new thread"):
        DaemonPool(8, "test")


def test_a_pool_uses_as_many_threads_as_it_may():
    pool, barrier = DaemonPool(4, "test"), threading.Barrier(4)
    for one in [pool.submit(barrier.wait, PATIENCE) for _ in range(4)]:
        one.result(PATIENCE)
    assert pool.shutdown(timeout=PATIENCE)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(int)


def test_a_pool_that_is_shut_down_does_what_was_submitted():
    pool, gate = DaemonPool(1, "test"), threading.Event()
    asked = [pool.submit(gate.wait, PATIENCE), pool.submit(int, 7)]
    assert pool.shutdown(timeout=0.0) is False
    gate.set()
    assert asked[1].result(PATIENCE) == 7 and pool.wait(PATIENCE)


@pytest.mark.parametrize(
    "fault", [RuntimeError("of its own"), MemoryError(), SystemExit()], ids=["an error", "no memory", "an exit"]
)
def test_a_vital_thread_that_dies_is_the_death_of_the_process(fault):
    def run():
        raise fault

    thread = vital_thread(run, "heart")
    thread.start()
    thread.join(PATIENCE)
    assert "the thread heart failed" in concurrency.death()


def test_a_vital_thread_that_returns_is_none():
    thread = vital_thread(lambda: None, "heart")
    thread.start()
    thread.join(PATIENCE)
    assert concurrency.death() is None


def test_side_by_side_goes_on_without_threads(no_threads):
    assert side_by_side([lambda: 1, lambda: 2]) == [1, 2]


def test_side_by_side_waits_for_all():
    barrier = threading.Barrier(3)
    assert sorted(side_by_side([lambda: barrier.wait(PATIENCE)] * 3)) == [0, 1, 2]


def test_what_a_callback_raises_is_the_answer():
    first, second = Future(), Future()
    settle(first, lambda: 1 / 0)
    or_fail(second, lambda: 1 / 0)
    assert isinstance(first.exception(0), ZeroDivisionError) and isinstance(second.exception(0), ZeroDivisionError)
    answered = Future()
    or_fail(answered, answered.set_result, 3)
    assert answered.result(0) == 3


@pytest.mark.parametrize("has_room", [True, False])
def test_the_reserve_is_given_back_once(monkeypatch, has_room):
    met = []
    if not has_room:
        monkeypatch.setattr(concurrency, "RESERVE_BYTES", 1 << 62)
    concurrency.be_ready_for_death(lambda: met.append(len(concurrency._reserves)))
    try:
        assert len(concurrency._reserves) == has_room
        for _ in range(2):
            concurrency.report_death("no thread")
    finally:
        concurrency.be_ready_no_more()
    assert met == [0]
