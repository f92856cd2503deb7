"""Waiting for faults that may pass: which lines are logged, and how often."""

import logging

import pytest

from rpc_api import errors, waiting
from rpc_api.waiting import Outage, until_it_passes


class Clock:
    """A clock that its own pauses move."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def failing(times, fault):
    left = iter(range(times))

    def function():
        if next(left, None) is not None:
            raise fault
        return "done"

    return function


def test_what_passes_is_waited_for_and_said_once(clock, caplog):
    with caplog.at_level(logging.INFO):
        found = until_it_passes(
            "a test waits", failing(4, errors.LogUnavailable("away")), clock=clock, pause=clock.pause
        )
    assert found == "done"
    assert [record.getMessage() for record in caplog.records] == [
        "a test waits: away",
        "a test waits: no longer, after 3.0 s",
    ]
    assert clock.now == pytest.approx(0.2 + 0.4 + 0.8 + 1.6)


def test_pauses_grow_to_a_bound_and_the_line_is_repeated_rarely(clock, caplog):
    until_it_passes("a test waits", failing(100, errors.LogUnavailable("away")), clock=clock, pause=clock.pause)
    warned = [record for record in caplog.records if "away" in record.getMessage()]
    assert clock.now < 100 * waiting.LONGEST_PAUSE
    assert (
        len(warned) == 1 + clock.now // (waiting.REPEAT + waiting.LONGEST_PAUSE)
        or len(warned) == 1 + clock.now // waiting.REPEAT
    )


@pytest.mark.parametrize(
    "fault", [errors.LogRefused("no"), errors.LogForbidden("no"), errors.UsageError("no"), errors.NameTaken("no")]
)
def test_what_lasts_is_raised_at_once(clock, fault, caplog):
    with pytest.raises(type(fault)):
        until_it_passes("a test waits", failing(1, fault), clock=clock, pause=clock.pause)
    assert clock.now == 0 and not caplog.records


def test_a_bound(clock):
    with pytest.raises(errors.LogUnavailable):
        until_it_passes("a test waits", failing(1000, errors.LogUnavailable("away")), 10, clock, clock.pause)
    assert 10 <= clock.now <= 10 + waiting.LONGEST_PAUSE


def told(caplog, text):
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_a_stream_that_stays_stuck_has_its_remedy_said(clock, caplog):
    outage, stuck = Outage("a test", clock), errors.LogStuck("INTERNAL_ERROR", "restart it")
    for _ in range(int(waiting.REMEDY_AFTER)):
        outage.met(stuck)
        clock.pause(1)
    assert not told(caplog, "restart it"), "it may still pass"
    outage.met(stuck)
    assert told(caplog, "restart it") == [f"a test for {waiting.REMEDY_AFTER:.0f} s: restart it"]
    outage.met(stuck)
    assert len(told(caplog, "restart it")) == 1
    clock.pause(waiting.REPEAT)
    outage.met(stuck)
    assert len(told(caplog, "restart it")) == 2


def test_a_broker_that_is_away_meanwhile_is_not_stuck(clock, caplog):
    outage, stuck = Outage("a test", clock), errors.LogStuck("INTERNAL_ERROR", "restart it")
    for fault in (stuck, errors.LogUnavailable("away"), stuck):
        outage.met(fault)
        clock.pause(waiting.REMEDY_AFTER - 1)
    assert not told(caplog, "restart it")
