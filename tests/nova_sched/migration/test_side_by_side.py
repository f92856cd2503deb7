"""Many requests side by side: their order, and that a fault ends them."""

import threading

import pytest

from nova_sched.migration.side_by_side import each


def test_results_are_in_order():
    seen = []
    assert each(str, range(20), 4, "numbers", lambda *done: seen.append(done)) == [str(number) for number in range(20)]
    assert seen == [("numbers", number, 20) for number in range(1, 21)]


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_after_an_interruption_no_further_one_is_begun(kind):
    """Also if it is the caller that is interrupted, between two results."""
    begun, never = [], threading.Event()

    def ask(number):
        begun.append(number)
        never.wait(0.001)

    def interrupted(label, done, total):
        raise kind

    with pytest.raises(kind):
        each(ask, range(20_000), 2, "numbers", interrupted)
    assert len(begun) < 20_000
