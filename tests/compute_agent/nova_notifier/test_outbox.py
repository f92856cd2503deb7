"""What waits to be published, in tables: calls, and what a tap gets of them."""

import pytest

from compute_agent.nova_notifier.outbox import REPEAT, Outbox
from compute_agent.nova_notifier.records import Lost, merged, record_of


def record(name, method="save", changed=(), **fields):
    return record_of(name, "1.0", method, fields, changed)


def put(outbox, key, method="save", now=0.0, changed=(), **fields):
    """Put an object whose key is "name" or "name/number"."""
    outbox.put(key, record(key.split("/")[0], method, changed, **fields), now)


def taken(outbox):
    """All that waits, published one by one: "lost NUMBER", or "key method fields"."""
    found = []
    while (item := outbox.first(0)) is not None:
        key, thing = item
        if isinstance(thing, Lost):
            found.append(f"lost {thing.dropped}")
        else:
            found.append(" ".join([key, thing.method, *(f"{name}={value}" for name, value in thing.fields.items())]))
        outbox.done(item)
    return found


@pytest.fixture
def outbox():
    """One whose tap knows that nova-compute has started."""
    outbox = Outbox("host1", objects_max=3, bytes_max=200)
    put(outbox, "Service")
    assert taken(outbox) == ["lost 0", "Service save"]
    return outbox


@pytest.mark.parametrize(
    "calls, wanted",
    [
        ("", []),
        ("Instance/1:save:a=1", ["Instance/1 save a=1"]),
        ("Instance/1:save:a=1 Instance/2:save:a=1", ["Instance/1 save a=1", "Instance/2 save a=1"]),
        # The later one counts, in its own place, with what only the earlier one has.
        ("Instance/1:save:a=1 Service:save Instance/1:save:b=2", ["Service save", "Instance/1 save a=1 b=2"]),
        ("Instance/1:save:a=1 Instance/1:save:a=2", ["Instance/1 save a=2"]),
        ("Instance/1:create Instance/1:save:a=1", ["Instance/1 create a=1"]),
        ("Instance/1:save Instance/1:destroy", ["Instance/1 destroy"]),
        ("Instance/1:create Instance/1:destroy", ["Instance/1 destroy"]),
        ("Instance/1:destroy Instance/1:create", ["Instance/1 create"]),
    ],
)
def test_a_later_call_takes_the_place_of_an_earlier_one(outbox, calls, wanted):
    for call in calls.split():
        key, method, fields = [*call.split(":"), ""][:3]
        put(outbox, key, method, **dict(pair.split("=") for pair in fields.split(",") if pair))
    assert taken(outbox) == wanted


def test_what_both_calls_changed_is_named():
    made = merged(record("Service", changed=["disabled"], disabled=True), record("Service", changed=["report_count"]))
    assert made.changed == {"disabled", "report_count"} and made.fields == {"disabled": True}
    assert made.size == len('{"disabled": true}')


@pytest.mark.parametrize(
    "count, size, wanted",
    [
        (3, 0, ["Instance/0", "Instance/1", "Instance/2"]),
        (5, 0, ["lost 2", "Instance/2", "Instance/3", "Instance/4"]),
        (3, 80, ["lost 1", "Instance/1", "Instance/2"]),
        (1, 500, ["lost 1"]),
    ],
    ids=["full", "too many", "too large together", "too large alone"],
)
def test_the_oldest_are_dropped_and_the_tap_gets_their_number_first(outbox, count, size, wanted):
    for number in range(count):
        put(outbox, f"Instance/{number}", a="x" * size)
    if count == 1:
        assert taken(outbox) == [], "nothing waits, so nothing is published yet"
        put(outbox, "Service")
        wanted = [*wanted, "Service"]
    assert [line.split(" save")[0] for line in taken(outbox)] == wanted


def test_memory_is_given_back(outbox):
    for _ in range(100):
        put(outbox, "Instance/1", a="x" * 150)
        put(outbox, "Instance/1", "destroy")
        assert len(taken(outbox)) == 1
    put(outbox, "Instance/1", a="x" * 150)
    assert len(taken(outbox)) == 1


def test_what_comes_while_a_message_is_published_stays(outbox):
    put(outbox, "Instance/1", a=1)
    item = outbox.first(0)
    put(outbox, "Instance/1", b=2)
    outbox.done(item)
    assert taken(outbox) == ["Instance/1 save a=1 b=2"]


def test_what_is_dropped_while_the_number_is_published_makes_a_second_number(outbox):
    for number in range(4):
        put(outbox, f"Instance/{number}")
    item = outbox.first(0)
    assert item[1] == Lost("host1", 1)
    put(outbox, "Instance/4")
    outbox.done(item)
    assert taken(outbox)[0] == "lost 2"


def test_a_compute_node_is_published_again_with_a_later_heartbeat(outbox):
    put(outbox, "ComputeNode/1", "create", now=0.0, changed=["a"], a=1)
    put(outbox, "ComputeNode/1", now=10.0, b=2)
    taken(outbox)
    put(outbox, "Service", now=10.0 + REPEAT - 1)
    assert taken(outbox) == ["Service save"]
    put(outbox, "Service", now=10.0 + REPEAT)
    item = outbox.first(0)
    outbox.done(item)
    assert outbox.first(0)[1].changed == frozenset()
    assert taken(outbox) == ["ComputeNode/1 save a=1 b=2"]
    put(outbox, "Service", now=10.0 + REPEAT + 1)
    assert taken(outbox) == ["Service save"]
    put(outbox, "ComputeNode/1", "destroy", now=200.0)
    put(outbox, "Service", now=1000.0)
    assert taken(outbox) == ["ComputeNode/1 destroy", "Service save"]


def test_compute_nodes_are_published_again_after_an_outage(outbox):
    put(outbox, "ComputeNode/1", a=1)
    put(outbox, "ComputeNode/2", a=2)
    taken(outbox)
    outbox.put_nodes_again(5.0)
    assert taken(outbox) == ["ComputeNode/1 save a=1", "ComputeNode/2 save a=2"]
