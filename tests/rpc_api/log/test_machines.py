"""Each back-end against a list."""

import itertools
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from rpc_api.log.memory import MemoryLog
from tests.rpc_api.log.machine import LogMachine

_NUMBERS = itertools.count()


def run(machine, examples, steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_memory():
    class Memory(LogMachine):
        new_url = staticmethod(lambda: f"memory://machine-{next(_NUMBERS)}")

    run(Memory, 100, 40)


def test_sqlite():
    directory = tempfile.mkdtemp()

    class Sqlite(LogMachine):
        new_url = staticmethod(lambda: f"sqlite:///{directory}/{next(_NUMBERS)}.db?synchronous=normal")

    try:
        run(Sqlite, 20, 30)
    finally:
        shutil.rmtree(directory)


@pytest.mark.rabbit
def test_rabbit(rabbit_server):
    class Rabbit(LogMachine):
        can_truncate = False
        new_url = staticmethod(lambda: rabbit_server.url(f"machine-{next(_NUMBERS)}"))

    run(Rabbit, 4, 10)


def test_a_log_that_forgets_is_found(monkeypatch):
    """The machine can fail: of a batch the last record is lost."""

    class Memory(LogMachine):
        new_url = staticmethod(lambda: f"memory://machine-{next(_NUMBERS)}")

    append = MemoryLog.append
    monkeypatch.setattr(MemoryLog, "append", lambda self, payloads: append(self, payloads[:-1]))
    machine = Memory()
    machine.append([b"a", b"b"])
    with pytest.raises(AssertionError):
        machine.bounds_are_the_models()
