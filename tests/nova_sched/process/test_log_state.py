"""What a service knows about one log beside its projection."""

import math

import pytest

from nova_sched.process.log_state import APPEND, READ, LogState
from nova_sched.projection.beginning import Beginning
from nova_sched.projection.projection import Projection


def begun(catch_up=10, first=3):
    state = LogState()
    state.expect()
    state.begin(Beginning(None, first, catch_up, True, False))
    return state


def folded_to(position, whole=True):
    projection = Projection("cell1", whole=whole)
    projection.position = position
    return projection


def test_a_new_state_is_neither_behind_nor_down():
    state = LogState()
    assert not state.is_behind and not state.is_down() and not state.is_headless
    assert not state.folded(folded_to(5))


@pytest.mark.parametrize(
    "position, whole, ends, behind, headless",
    [
        (9, True, False, True, False),
        (10, True, True, False, False),
        (11, True, True, False, False),
        (9, False, False, True, False),
        (10, False, False, True, True),
    ],
)
def test_how_far_it_is_folded(position, whole, ends, behind, headless):
    state = begun()
    assert state.folded(folded_to(position, whole), 1.0) == ends
    assert (state.is_behind, state.is_headless) == (behind, headless)


def test_it_catches_up_once_for_each_beginning():
    state = begun()
    assert [state.folded(folded_to(10)), state.folded(folded_to(11))] == [True, False]
    state.expect()
    assert state.is_behind and not state.folded(folded_to(99))
    state.begin(Beginning(None, 0, 20, True, False))
    assert not state.folded(folded_to(19)) and state.folded(folded_to(20))


def test_a_rebase_is_due_after_a_while_and_again():
    state = begun()
    assert not state.is_rebase_due(99.0, 0.0, 0.0)
    state.folded(folded_to(10, whole=False), 100.0)
    assert [state.is_rebase_due(now, 5.0, 20.0) for now in (104.0, 105.0, 105.0)] == [False, True, True]
    state.rebase_asked(105.0)
    assert [state.is_rebase_due(now, 5.0, 20.0) for now in (110.0, 124.0, 125.0)] == [False, False, True]
    state.folded(folded_to(12), 126.0)
    assert not state.is_headless and not state.is_rebase_due(999.0, 5.0, 20.0)


def test_a_rebase_that_is_asked_for_once_each_time_the_log_is_read():
    state = begun()
    for _ in range(2):
        assert not state.is_rebase_due(7.0, 0.0, math.inf)
        state.folded(folded_to(10, whole=False))
        assert state.is_rebase_due(7.0, 0.0, math.inf)
        state.rebase_asked(7.0)
        assert not state.is_rebase_due(1e9, 0.0, math.inf)
        state.begin(Beginning(None, 3, 10, False, False))


def test_how_long_it_is_down():
    state = LogState()
    assert (state.fault(OSError("away"), READ, 10.0), state.fault(OSError("full"), APPEND, 12.0)) == (None, None)
    state.fault(OSError("still away"), READ, 14.0)
    assert (state.down_for(15.0), state.why) == (5.0, "still away")
    assert state.is_down() and state.is_down(READ) and state.is_down(APPEND)
    assert (state.fault(None, READ, 16.0), state.fault(None, READ, 17.0)) == (6.0, None)
    assert (state.is_down(READ), state.is_down(), state.down_for(17.0)) == (False, True, 5.0)
    state.fault(None, APPEND, 18.0)
    assert not state.is_down() and state.down_for(18.0) == 0.0


@pytest.mark.parametrize("fault_at, since", [(None, 20.0), (11.0, 11.0)])
def test_it_is_closed_since_it_is_down(fault_at, since):
    state = LogState()
    if fault_at is not None:
        state.fault(OSError("away"), READ, fault_at)
    assert [state.close(20.0), state.close(21.0)] == [True, False]
    assert [state.open(30.0), state.open(31.0)] == [30.0 - since, None]
