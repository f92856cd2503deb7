"""Native threads or eventlet: chosen once, before anything that oslo.service or oslo.messaging bring is imported.

Every console script calls :func:`setup` first. ``threading`` is the default;
``eventlet`` is a legacy mode that goes away when oslo drops it.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from rpc_api import errors

LOG = logging.getLogger(__name__)

T = TypeVar("T")

MODES = ("threading", "eventlet")
VARIABLE = "NOVA_SCHED_CONCURRENCY"


def setup(mode: str | None = None) -> str:
    """Choose the mode: the argument, else the environment's ``NOVA_SCHED_CONCURRENCY``, else threading.

    Raises UsageError for another mode.
    """
    mode = mode or os.environ.get(VARIABLE) or "threading"
    if mode not in MODES:
        raise errors.UsageError(f"the concurrency mode is {mode!r}, wanted one of {', '.join(MODES)}; mend {VARIABLE}")
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
        # Said before in this process; another choice than the first one is an error of the program.
        if backend.get_backend_type() != wanted:
            raise
    return mode


class _NoEventlet:
    """Keeps eventlet out of a process of native threads: libraries that would use it find it is not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "eventlet" or name.startswith("eventlet."):
            raise ImportError("eventlet is not used in the concurrency mode 'threading'")
        return None


#: Why a thread that the service cannot do without has ended, or could not be started; what came first comes first.
_deaths: list[str] = []
NO_THREAD = (
    "this process cannot start a thread ({fault}); give it more memory or more threads (systemd: TasksMax, "
    "LimitAS, LimitNPROC, MemoryMax), and start it again"
)


def death() -> str | None:
    """Why this process cannot go on working: the first report of :func:`report_death`; None while it can."""
    return _deaths[0] if _deaths else None


def report_death(text: str) -> None:
    """This process cannot go on working; whoever runs it looks at :func:`death` and ends it."""
    LOG.error("%s", text)
    _deaths.append(text)


def forget_deaths() -> None:
    """Begin again, for tests and for processes that run several services one after the other."""
    _deaths.clear()


def is_out_of_threads(fault: BaseException) -> bool:
    """Whether ``fault`` says that the system gives us no more threads (or no memory for one)."""
    return isinstance(fault, MemoryError) or (isinstance(fault, RuntimeError) and "start new thread" in str(fault))


def report_if_out_of_threads(fault: BaseException) -> None:
    """Report ``fault`` as the death of the process if it says that there are no more threads."""
    if is_out_of_threads(fault):
        report_death(NO_THREAD.format(fault=fault or type(fault).__name__))


def vital_thread(function: Callable[[], object], name: str) -> threading.Thread:
    """A daemon thread, not started, that the process cannot do without: what ends it, but its own return, is reported
    as the death of the process."""

    def run() -> None:
        try:
            function()
        except BaseException as fault:
            LOG.debug("the fault of the thread %s", name, exc_info=True)
            report_death(f"the thread {name} met a fault of its own ({fault!r}); see the log of this service")

    return threading.Thread(target=run, name=name, daemon=True)


def start_or_report(thread: threading.Thread) -> bool:
    """Start a thread for something that can be left out; False when the system gives us none, which is reported."""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as fault:
        if not is_out_of_threads(fault):
            raise
        report_if_out_of_threads(fault)
        return False
    return True


def settle(answer: Future[Any], function: Callable[..., object], *args: object) -> None:
    """Set ``answer`` to what ``function(*args)`` returns or raises. Callbacks of a Future answer another one with it:
    what they raise is shown to nobody, and whoever waits for the other one would wait for ever."""
    try:
        result = function(*args)
    except Exception as fault:
        answer.set_exception(fault)
    else:
        answer.set_result(result)


def side_by_side(functions: Iterable[Callable[[], T]]) -> list[T]:
    """Call functions, each in a thread of its own where the system gives us one; returns what they return."""
    answers: list[Future[T]] = []
    for number, function in enumerate(functions):
        answer: Future[T] = Future()
        answers.append(answer)
        thread = threading.Thread(target=settle, args=(answer, function), name=f"side by side {number}", daemon=True)
        if not start_or_report(thread):
            settle(answer, function)
    return [answer.result() for answer in answers]


def or_fail(answer: Future[Any], function: Callable[..., object], *args: object) -> None:
    """Call ``function(*args)``, which is to settle ``answer``; what it raises becomes the answer."""
    try:
        function(*args)
    except Exception as fault:
        LOG.debug("the fault of a callback", exc_info=True)
        report_if_out_of_threads(fault)
        if not answer.done():
            answer.set_exception(fault)


class DaemonPool:
    """A pool of up to ``threads`` threads that do not hold up the end of the process, whatever they wait for.

    It has one thread from its beginning, so that what is submitted is always done, if slowly, where the system gives it
    no more of them. RuntimeError or MemoryError when there is not even one.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads_max = threads
        self._name = name
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any] | None, Any, Any]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._threads = 0
        #: Threads that wait for something to do, less what waits for one of them.
        self._idle = 0
        #: What was submitted and is not done.
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
                    # It is done by one of those that there are.
                    self._idle -= 1
                    report_if_out_of_threads(fault)
        return done

    def _start_thread(self) -> None:
        threading.Thread(target=self._run, name=f"{self._name} {self._threads + 1}", daemon=True).start()
        self._threads += 1

    def close(self) -> None:
        """Start nothing more; what waits is cancelled, what runs goes on."""
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
        """Wait until all that was submitted is done; False when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._undone <= 0, timeout)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> bool:
        """Take nothing more; what was submitted is done, and waited for if ``wait``. True when nothing was left."""
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
            del done, function, args, kwargs  # nothing of it is kept while this thread waits
            with self._changed:
                self._idle += 1
                self._undone -= 1
                self._changed.notify_all()
