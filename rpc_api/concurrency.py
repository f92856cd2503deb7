"""Native threads or eventlet: chosen once, before oslo.service and oslo.messaging are imported.

Every console script calls :func:`setup` first. ``threading`` is the default;
``eventlet`` is a legacy mode that goes away when oslo drops it.
"""

import contextlib
import logging
import mmap
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from rpc_api import errors, streams

LOG = logging.getLogger(__name__)

T = TypeVar("T")

MODES = ("threading", "eventlet")
VARIABLE = "NOVA_SCHED_CONCURRENCY"


def setup(mode: str | None = None) -> str:
    """Choose the mode: the argument, else the environment's ``NOVA_SCHED_CONCURRENCY``, else threading.

    Standard streams that are closed are opened first. Raises UsageError for another mode.
    """
    streams.open_closed()
    mode = mode or os.environ.get(VARIABLE) or "threading"
    if mode not in MODES:
        raise errors.UsageError(f"the concurrency mode is {mode!r}, wanted one of {', '.join(MODES)}; fix {VARIABLE}")
    if mode == "eventlet":
        import eventlet

        eventlet.monkey_patch()
    elif "eventlet" not in sys.modules:
        sys.meta_path.insert(0, _NoEventlet())
    from oslo_service import backend

    wanted = backend.BackendType.EVENTLET if mode == "eventlet" else backend.BackendType.THREADING
    try:
        backend.init_backend(wanted)
    except backend.exceptions.BackendAlreadySelected:
        # This process has chosen already; another choice than the first one is an error in the program.
        if backend.get_backend_type() != wanted:
            raise
    return mode


class _NoEventlet:
    """Hides eventlet in a process of native threads, so that libraries do not use it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "eventlet" or name.startswith("eventlet."):
            raise ImportError("eventlet is not used in the concurrency mode 'threading'")
        return None


#: Why a thread that the service needs has ended, or could not be started; the first report comes first.
_deaths: list[str] = []
#: Address space that a process gives back when it cannot go on, so that it can still end in good order. It takes no
#: memory: nobody writes to it.
RESERVE_BYTES = 32 << 20
_reserves: list[mmap.mmap] = []
_on_death: list[Callable[[], object]] = []
NO_THREAD = (
    "this process cannot start a thread ({fault}); give it more memory or more threads (systemd: TasksMax, "
    "LimitAS, LimitNPROC, MemoryMax), and start it again"
)


def death() -> str | None:
    """Why this process cannot work any longer: the first report of :func:`report_death`; None while it can."""
    return _deaths[0] if _deaths else None


def be_ready_for_death(on_death: Callable[[], object]) -> None:
    """Keep a reserve for the end of the process, and call a function once when the first death is reported."""
    # (Without room for a reserve there is none; the process may have what it needs all the same.)
    with contextlib.suppress(OSError):
        _reserves.append(mmap.mmap(-1, RESERVE_BYTES))
    _on_death.append(on_death)


def report_death(text: str) -> None:
    """Report that this process cannot work any longer. The service looks at :func:`death`, and ends."""
    if text in _deaths:
        # Each call that finds no thread says the same.
        return
    _deaths.append(text)
    _give_back()
    LOG.error("%s", text)
    while _on_death:
        _on_death.pop()()


def be_ready_no_more() -> None:
    """Undo :func:`be_ready_for_death`."""
    _on_death.clear()
    _give_back()


def _give_back() -> None:
    while _reserves:
        _reserves.pop().close()


def forget_deaths() -> None:
    """Forget all reports, for tests and for processes that run several services one after the other."""
    _deaths.clear()


def is_out_of_threads(fault: BaseException) -> bool:
    """Whether ``fault`` means that the system gives this process no more threads (or no memory for a thread)."""
    return isinstance(fault, MemoryError) or (isinstance(fault, RuntimeError) and "start new thread" in str(fault))


def report_if_out_of_threads(fault: BaseException) -> None:
    """Report ``fault`` as the death of the process if it says that there are no more threads."""
    if is_out_of_threads(fault):
        report_death(NO_THREAD.format(fault=fault or type(fault).__name__))


def vital_thread(function: Callable[[], object], name: str) -> threading.Thread:
    """A daemon thread, not started, that the process needs. If it ends by an exception, this is reported as the death
    of the process."""

    def run() -> None:
        try:
            function()
        except BaseException as fault:
            LOG.debug("the fault of the thread %s", name, exc_info=True)
            report_death(f"the thread {name} failed ({fault!r}); see the log of this service")

    return threading.Thread(target=run, name=name, daemon=True)


def start_or_report(thread: threading.Thread) -> bool:
    """Start a thread for optional work; False if the system gives this process no thread, which is reported."""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as fault:
        if not is_out_of_threads(fault):
            raise
        report_if_out_of_threads(fault)
        return False
    return True


def settle(answer: Future[Any], function: Callable[..., object], *args: object) -> None:
    """Set ``answer`` to what ``function(*args)`` returns or raises. A callback of one Future sets another Future with
    it: an exception in a callback is lost, and the caller who waits for the other Future would wait for ever."""
    try:
        result = function(*args)
    except Exception as fault:
        answer.set_exception(fault)
    else:
        answer.set_result(result)


def side_by_side(functions: Iterable[Callable[[], T]]) -> list[T]:
    """Call functions, each in a thread of its own if the system gives one; returns their results."""
    answers: list[Future[T]] = []
    for number, function in enumerate(functions):
        answer: Future[T] = Future()
        answers.append(answer)
        thread = threading.Thread(target=settle, args=(answer, function), name=f"side by side {number}", daemon=True)
        if not start_or_report(thread):
            settle(answer, function)
    return [answer.result() for answer in answers]


def or_fail(answer: Future[Any], function: Callable[..., object], *args: object) -> None:
    """Call ``function(*args)``, which must settle ``answer``; an exception becomes the answer."""
    try:
        function(*args)
    except Exception as fault:
        LOG.debug("the fault of a callback", exc_info=True)
        report_if_out_of_threads(fault)
        if not answer.done():
            answer.set_exception(fault)


class DaemonPool:
    """A pool of up to ``threads`` threads that do not delay the end of the process, even if they wait for something.

    It starts one thread at once, so submitted calls are always done, if slowly, even if the system gives no more
    threads. RuntimeError or MemoryError if there is not even one thread.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads_max = threads
        self._name = name
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any] | None, Any, Any]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._threads = 0
        #: Idle threads minus waiting calls.
        self._idle = 0
        #: Calls that were submitted and are not done.
        self._undone = 0
        self._closed = False
        self._start_thread()
        self._idle = 1

    def submit(self, function: Callable[..., T], *args: object, **kwargs: object) -> Future[T]:
        """Call ``function`` in a thread of the pool; returns a Future. RuntimeError after :meth:`close`."""
        done: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the pool {self._name} is closed")
            self._undone += 1
            self._waiting.put((done, function, args, kwargs))
            if self._idle > 0 or self._threads >= self._threads_max:
                self._idle -= 1
            else:
                try:
                    self._start_thread()
                except (RuntimeError, MemoryError) as fault:
                    # One of the present threads will do it.
                    self._idle -= 1
                    report_if_out_of_threads(fault)
        return done

    def _start_thread(self) -> None:
        threading.Thread(target=self._run, name=f"{self._name} {self._threads + 1}", daemon=True).start()
        self._threads += 1

    def close(self) -> None:
        """Start no more calls: waiting calls are cancelled, running calls continue."""
        with self._changed:
            self._closed = True
            threads = self._threads
            while True:
                try:
                    self._waiting.get_nowait()[0].cancel()
                    self._undone -= 1
                except queue.Empty:
                    break
            self._changed.notify_all()
        for _ in range(threads):
            self._waiting.put((Future(), None, (), {}))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all submitted calls are done; False if they are not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._undone <= 0, timeout)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> bool:
        """Accept no more calls. Submitted calls are done, and waited for if ``wait``. True if all were done."""
        with self._changed:
            self._closed = True
        done = self.wait(timeout) if wait else False
        for _ in range(self._threads):
            self._waiting.put((Future(), None, (), {}))
        return done

    def _run(self) -> None:
        while True:
            done, function, args, kwargs = self._waiting.get()
            if function is None:
                return
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(function(*args, **kwargs))
                except BaseException as fault:
                    report_if_out_of_threads(fault)
                    done.set_exception(fault)
            del done, function, args, kwargs  # so that an idle thread keeps no call alive
            with self._changed:
                self._idle += 1
                self._undone -= 1
                self._changed.notify_all()
