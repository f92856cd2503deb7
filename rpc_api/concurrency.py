"""Native threads or eventlet: chosen once, before anything that oslo.service or oslo.messaging bring is imported.

Every console script calls :func:`setup` first. ``threading`` is the default;
``eventlet`` is a legacy mode that goes away when oslo drops it.
"""

import os
import queue
import sys
import threading
from concurrent.futures import Future

from rpc_api import errors

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

    def find_spec(self, name, path=None, target=None):
        if name == "eventlet" or name.startswith("eventlet."):
            raise ImportError("eventlet is not used in the concurrency mode 'threading'")
        return None


class DaemonPool:
    """A pool of up to ``threads`` threads that do not hold up the end of the process, whatever they wait for."""

    def __init__(self, threads: int, name: str):
        self._threads_max = threads
        self._name = name
        self._waiting = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, function, *args, **kwargs) -> Future:
        """Call ``function`` in a thread of the pool; returns a Future. RuntimeError after :meth:`close`."""
        done = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the pool {self._name} is closed")
            self._waiting.put((done, function, args, kwargs))
            if self._idle:
                self._idle -= 1
            elif self._threads < self._threads_max:
                self._threads += 1
                threading.Thread(target=self._run, name=f"{self._name} {self._threads}", daemon=True).start()
        return done

    def close(self) -> None:
        """Start nothing more; what waits is cancelled, what runs goes on."""
        with self._lock:
            self._closed = True
            threads = self._threads
        while True:
            try:
                self._waiting.get_nowait()[0].cancel()
            except queue.Empty:
                break
        for _ in range(threads):
            self._waiting.put((Future(), None, (), {}))

    def _run(self):
        while True:
            done, function, args, kwargs = self._waiting.get()
            if function is None:
                return
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(function(*args, **kwargs))
                except BaseException as fault:
                    done.set_exception(fault)
            with self._lock:
                self._idle += 1
