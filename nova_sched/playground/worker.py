"""A scheduler in a process of its own.

If the cloud has a broker, the process serves the scheduler's RPC there. If not,
its parent sends it the calls through a pipe: the parent's end is an RPC endpoint
like any other (:class:`RemoteScheduler`).
"""

import contextlib
import multiprocessing
import pickle
import signal
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from rpc_api import errors
from rpc_api.nova_exception import NoValidHost

START_TIMEOUT = 120


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of a scheduler process; ``transport`` None means the pipe."""

    name: str
    cell0: object
    cells: tuple
    policy: object
    transport: str | None
    exchange: str
    topic: str
    claim_timeout: float = 60.0


def scheduler_process(packed_settings: bytes, pipe):
    """The main function of a scheduler process."""
    from rpc_api import concurrency

    concurrency.setup("threading")
    # Only now: what the settings hold imports oslo's libraries, and the concurrency mode must be chosen before them.
    settings = pickle.loads(packed_settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from nova_sched.process.tuning import prepare_memory, settle_memory
    from nova_sched.scheduler.endpoint import SchedulerEndpoint
    from nova_sched.scheduler.service import Scheduler

    prepare_memory()
    try:
        scheduler = Scheduler(
            settings.name, settings.cell0, settings.cells, settings.policy, claim_timeout=settings.claim_timeout
        ).start()
        scheduler.wait_ready(START_TIMEOUT)
        endpoint = SchedulerEndpoint(scheduler)
        server = _serve(settings, endpoint) if settings.transport else None
    except errors.NovaSchedError as fault:
        pipe.send(("fault", type(fault).__name__, str(fault)))
        return
    settle_memory()
    pipe.send(("ready",))
    _answer(pipe, endpoint, settings)
    if server is not None:
        server.stop()
    scheduler.stop()


def _serve(settings, endpoint):
    from oslo_config import cfg

    from rpc_api.bus import MessagingBus
    from rpc_api.contracts.scheduler import VERSION

    cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, settings.transport, settings.exchange)
    return bus.serve(settings.topic, settings.name, [endpoint], VERSION)


def _answer(pipe, endpoint, settings):
    """Answer calls from the pipe, in their order, until it closes."""
    from rpc_api.bus import LocalBus

    bus, lock = LocalBus(), threading.Lock()

    def send(number, done):
        fault = done.exception()
        if fault is not None:
            answer = (number, False, (type(fault).__name__, str(fault), getattr(fault, "summary", "")))
        else:
            answer = (number, True, bus.packed(done.result()))
        with lock:
            try:
                pipe.send_bytes(pickle.dumps(answer))
            except OSError:
                # The parent is gone; the loop below ends too.
                return

    while True:
        try:
            number, method, context, arguments = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        if method == "stop":
            return
        unpacked = {name: bus.unpacked(value) for name, value in arguments.items()}
        try:
            answer = getattr(endpoint, method)(bus.context(context), **unpacked)
        except Exception as fault:
            answer = Future()
            answer.set_exception(fault)
        if not isinstance(answer, Future):
            done = Future()
            done.set_result(answer)
            answer = done
        answer.add_done_callback(lambda done, number=number: send(number, done))


class RemoteScheduler:
    """The parent's end: an RPC endpoint whose scheduler is another process."""

    TAKES_PRIMITIVES = True

    def __init__(self, settings: WorkerSettings):
        spawn = multiprocessing.get_context("spawn")
        self.name = settings.name
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=scheduler_process, args=(pickle.dumps(settings), theirs), name=settings.name, daemon=True
        )
        self._process.start()
        theirs.close()
        self._lock = threading.Lock()
        self._waiting = {}
        self._number = 0
        self._thread = threading.Thread(target=self._receive, name=f"answers of {self.name}", daemon=True)

    @property
    def pid(self):
        """The process id, for benchmarks and tests."""
        return self._process.pid

    def wait_ready(self, timeout=START_TIMEOUT):
        """Wait until the process has folded its logs; raise the fault that it met."""
        try:
            said = self._pipe.recv() if self._pipe.poll(timeout) else ("silent",)
        except EOFError:
            said = ("ended",)
        if said[0] == "fault":
            raise getattr(errors, said[1], errors.NovaSchedError)(said[2])
        if said[0] != "ready":
            raise errors.LogUnavailable(
                f"the scheduler process {self.name} {said[0]} before it was ready; see its output"
            )
        self._thread.start()

    def select_destinations(self, context, **arguments):
        """Send a call to the process, and return a Future."""
        answered = Future()
        with self._lock:
            self._number += 1
            self._waiting[self._number] = answered
            message = pickle.dumps((self._number, "select_destinations", _context(context), arguments))
            try:
                self._pipe.send_bytes(message)
            except OSError:
                self._waiting.pop(self._number)
                answered.set_exception(
                    errors.LogUnavailable(f"the scheduler process {self.name} has ended; see its output")
                )
        return answered

    def _receive(self):
        while True:
            try:
                number, ok, content = pickle.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):
                break
            with self._lock:
                answered = self._waiting.pop(number)
            if ok:
                answered.set_result(content)
            else:
                answered.set_exception(_fault(*content))
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered.set_exception(
                errors.LogUnavailable(f"the scheduler process {self.name} has ended; see its output")
            )

    def ask_to_stop(self):
        """Ask the process to end, without waiting, so that several processes end in parallel."""
        with contextlib.suppress(OSError):
            # It may have ended already.
            self._pipe.send_bytes(pickle.dumps((0, "stop", None, {})))

    def stop(self):
        """End the process."""
        self.ask_to_stop()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()


def _context(context):
    return context if isinstance(context, dict) else context.to_dict()


def _fault(name, text, summary):
    if name == "NoValidHost":
        refusal = NoValidHost(text)
        refusal.summary = summary
        return refusal
    # Only now: it imports oslo's libraries, see scheduler_process.
    from rpc_api.bus import BY_NAME

    return BY_NAME.get(name, errors.NovaSchedError)(text)
