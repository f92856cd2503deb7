"""What requests wait for in one log: a record that was folded meanwhile, and writes that were settled."""

import threading

import pytest

from nova_sched.projection.projection import Projection
from nova_sched.projection.write_outcomes import Written
from placement_api import waits
from placement_api.under_way import UnderWay
from placement_api.waits import Waits
from rpc_api.clock import Clock


class HandClock(Clock):
    now = 100.0

    def monotonic(self):
        return self.now


class Log:
    """A log that is folded by itself: ``positions`` are those that one after the other finds, the last one for good."""

    cell, is_readable, why_down = "cell1", True, None
    under_way = UnderWay("cell1", "placement/test")

    def __init__(self, *positions):
        self.positions = list(positions)

    @property
    def projection(self):
        found = Projection("cell1")
        found.position = self.positions.pop(0) if len(self.positions) > 1 else self.positions[0]
        return found


@pytest.fixture
def made(monkeypatch):
    """(Waits, its log, its clock), for a log that is folded to some positions."""
    monkeypatch.setattr(waits, "STUCK_SECONDS", 0.01)
    ending = []

    def make(*positions):
        log, clock = Log(*positions), HandClock()
        found = Waits(log, threading.Condition(threading.RLock()), "test", clock)
        ending.append(found.close)
        return found, log, clock

    yield make
    for close in ending:
        close()


def test_a_record_that_is_folded_before_the_wait_begins_is_not_missing(made):
    found, _, clock = made(6, 7)
    assert found.until_folded(7)
    clock.now += 1000
    assert not found.is_stuck


def test_a_record_that_came_late_does_not_count_any_more(made):
    found, log, clock = made(6)
    assert not found.until_folded(7)
    clock.now += 1000
    assert found.is_stuck
    log.positions = [7]
    assert not found.is_stuck
    found.look()
    log.positions = [6]
    assert not found.is_stuck, "it is forgotten, and not only looked over"


class Appended:
    """A producer whose events are appended at once."""

    epoch, sequence = 1, 0

    def publish(self, event):
        self.sequence += 1


@pytest.mark.parametrize("end", ["settled", "read again", "given up"])
def test_a_write_that_has_ended_is_not_the_oldest(end):
    under_way, projection = UnderWay("cell1", "placement/test"), Projection("cell1")
    ((mark, outcome),) = under_way.publish(Appended(), [object()], 5.0).items()
    assert (under_way.oldest, under_way.is_among_first(mark, 1)) == (5.0, True)
    if end == "settled":
        projection.writes = [Written(3, "placement/test", *mark, None, None)]
        under_way.settle(projection)
    elif end == "read again":
        projection.producers["placement/test"] = mark
        under_way.settle(projection)
    else:
        under_way.give_up("the service is stopping")
    assert outcome.done()
    assert (under_way.oldest, len(under_way)) == (None, 0)
