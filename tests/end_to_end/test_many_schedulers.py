"""Several scheduler processes on one log of a real broker: whatever they race for, nothing is booked twice."""

import uuid

import pytest

from bench.schedulers import Case, run

pytestmark = pytest.mark.rabbit

#: 40 hosts of one place each: ten requests more than there are places.
FULL = {"hosts": 40, "requests": 48, "window": 8}


def check(rabbit_server, case, places):
    name = uuid.uuid4().hex
    found = run(case, {cell: rabbit_server.url(f"many.{name}.{cell}") for cell in ("cell0", "cell1")})
    assert (found["over_commitments"], found["double_bookings"], found["answers_not_in_the_log"]) == (0, 0, 0)
    assert found["faults"] == [] and found["unexplained"] == 0
    assert found["states"] == 1, "every scheduler has the state that a fresh fold of the log gives"
    assert found["placed"] == found["accepted"] == min(places, found["requests"])
    assert found["placed"] + found["refused"] == found["requests"]
    return found


def test_two_schedulers_fill_a_cloud(rabbit_server):
    check(rabbit_server, Case(2, **FULL), 40)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("same_draw", [False, True])
@pytest.mark.parametrize("chain", ["nova", "pack"])
@pytest.mark.parametrize("schedulers", [1, 2, 4, 8])
def test_many_schedulers(rabbit_server, schedulers, chain, same_draw):
    check(rabbit_server, Case(schedulers, chain, hosts=1000, requests=1200, same_draw=same_draw), 1000)
    found = check(
        rabbit_server, Case(schedulers, chain, hosts=1000, requests=1600, vcpus=16, same_draw=same_draw), 1600
    )
    assert schedulers > 1 or not found["conflicts"]
