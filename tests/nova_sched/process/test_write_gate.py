"""When the bounds of a log are read, and how long a fault of that lasts."""

from types import SimpleNamespace

import pytest

from nova_sched.process.write_gate import BOUNDS_SECONDS, WriteGate
from rpc_api import errors
from rpc_api.log.port import Bounds
from tests.builders import HandClock

BEING_READ = "its records are being read"


class Bounded:
    """The broker of a log: its bounds, or the fault that it meets."""

    cell, is_cut_by_policy = "cell1", False

    def __init__(self):
        self.is_down, self.asked = False, 0

    def bounds(self):
        self.asked += 1
        if self.is_down:
            raise errors.LogUnavailable("the broker is away")
        return Bounds(0, 10)


@pytest.fixture
def gate():
    broker, clock, used = Bounded(), HandClock(), SimpleNamespace(why_not=None)
    made = WriteGate(broker, lambda: (used.why_not, 3, 10), clock)
    return SimpleNamespace(broker=broker, clock=clock, used=used, gate=made)


def test_bounds_are_read_now_and_then(gate):
    gate.gate.facts()
    gate.gate.facts()
    assert gate.broker.asked == 1
    gate.clock.seconds += BOUNDS_SECONDS
    gate.gate.facts(may_read=False)
    assert gate.broker.asked == 1
    gate.gate.facts()
    assert gate.broker.asked == 2


def test_a_log_that_is_not_used_is_not_asked(gate):
    gate.gate.facts()
    gate.used.why_not = BEING_READ
    gate.clock.seconds += BOUNDS_SECONDS
    assert gate.gate.facts().why_closed == BEING_READ and gate.broker.asked == 1


def test_a_log_of_which_nothing_is_known_is_asked(gate):
    gate.used.why_not = BEING_READ
    assert gate.gate.facts().why_closed == BEING_READ and gate.broker.asked == 1


def test_a_fault_is_over_as_soon_as_the_log_is_used_again(gate):
    gate.gate.facts()
    gate.broker.is_down = True
    gate.clock.seconds += BOUNDS_SECONDS
    gate.gate.facts()
    assert gate.gate.fault == "the broker is away"
    gate.used.why_not, gate.broker.is_down = "the broker is away", False
    gate.gate.facts()
    assert gate.gate.fault == "the broker is away"
    gate.used.why_not = None
    gate.gate.facts()
    assert gate.gate.fault is None
