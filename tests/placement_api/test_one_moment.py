"""Answers over several logs while a write over them is under way: a reader that is late in one of them shows no half.

The reader's worker gets the records of one log late, from one step of the write on: all of it happens after the fence
of the request.
"""

import contextlib
import threading
import uuid

import pytest

from placement_api import waits
from tests.placement_api.client import client_of
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.servers import wait_until

P1, P2, CONSUMER = map(uuid_of, ("p1", "p2", "consumer"))
WAIT, GIVE_UP = 20, 40
#: The home log is that of cell1. (From which log to which one it moves, late log, the first step that is late.)
MOVES = [
    (P1, P2, "cell2", "WriteCommitted"),
    (P2, P1, "cell2", "WriteCommitted"),
    (P1, P2, "cell1", "WriteCommitted"),
    (P2, P1, "cell1", "WriteCommitted"),
    (P1, P2, "cell1", "AllocationsPrepared"),
    (P2, P1, "cell1", "AllocationsPrepared"),
    (P2, P1, "cell2", "AllocationsPrepared"),
]
NAMES = [f"to {'cell2' if to == P2 else 'cell1'}, {cell} late from {step}" for _, to, cell, step in MOVES]


@pytest.fixture
def two():
    urls = {cell: f"memory://{cell}-{uuid.uuid4()}" for cell in ("cell1", "cell2")}
    for cell, url in urls.items():
        prepare(url, cell)
    with workers(urls, has_neighbours=True) as found:
        for cell, provider in (("cell2", P2), ("cell1", P1)):
            found[0].new_roots = found[0].logs[cell]
            client_of(found[0]).provider(cell, provider, VCPU=8)
        found[1].fence()
        yield found


@contextlib.contextmanager
def moved(two, to, cell, step, fences=1, opens=True):
    """After so many fences of the second worker the first one moves the consumer. From a step on the second one gets
    the records of one log only when it waits for another fence, if ever."""
    one, other = two
    client, gate = client_of(one), threading.Event()
    log, generation = other.logs[cell], client.generation(CONSUMER)
    take, fence, left = log._on_records, other.fence, [None] * fences

    def records(batch):
        if any(event.name == step for _, record in batch.records for event in record.events):
            gate.wait(GIVE_UP)
        take(batch)

    def move():
        log._on_records = records
        assert client.put(CONSUMER, generation, {to: {"VCPU": 3}}).status == 204
        for name, log_of_one in one.logs.items():
            if name != cell:
                folded, last = other.logs[name].projection, log_of_one.projection.position
                wait_until(lambda: folded.position >= last, WAIT, "the rest is folded")

    def fencing():
        if opens and not left:
            gate.set()
        found = fence()
        if left:
            left.pop()
            if not left:
                move()
        return found

    other.fence = fencing
    try:
        if not left:
            move()
        yield
    finally:
        gate.set()
        other.fence, log._on_records = fence, take


@pytest.mark.parametrize(("before", "to", "cell", "step"), MOVES, ids=NAMES)
def test_a_consumer_that_moves_is_in_one_place(two, before, to, cell, step):
    assert client_of(two[0]).put(CONSUMER, None, {before: {"VCPU": 3}}).status == 204
    with moved(two, to, cell, step):
        shown = client_of(two[1]).ask("GET", f"/allocations/{CONSUMER}")
        assert (shown.status, list(shown.body["allocations"])) == (200, [to])
        assert shown.body["consumer_generation"] == client_of(two[0]).generation(CONSUMER)


@pytest.mark.parametrize(("before", "to", "cell", "step"), MOVES, ids=NAMES)
def test_a_project_uses_it_once(two, before, to, cell, step):
    client = client_of(two[0])
    assert client.put(CONSUMER, None, {before: {"VCPU": 3}}).status == 204
    two[1].fence()
    with moved(two, to, cell, step, fences=0):
        shown = client_of(two[1]).do("GET", "/usages?project_id=project&consumer_type=all")["usages"]
        assert shown == {"all": {"VCPU": 3, "consumer_count": 1}}


def test_a_half_is_not_shown_if_the_rest_does_not_come(two, monkeypatch):
    monkeypatch.setattr(waits, "STUCK_SECONDS", 0.3)
    for log in two[1].logs.values():
        log.waits._stuck_seconds = 0.3
    assert client_of(two[0]).put(CONSUMER, None, {P1: {"VCPU": 3}}).status == 204
    with moved(two, P2, "cell2", "WriteCommitted", opens=False):
        shown = client_of(two[1]).ask("GET", f"/allocations/{CONSUMER}")
        assert (shown.status, shown.headers["Nova-Sched-Stale"]) == (503, "cell2")
