"""Whether a log grows faster than it is folded, and which producer is named for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_sched.process.backlog import SHARE_MIN, WINDOW, Backlog, Loudest, count_producers, loudest
from rpc_api.codec import DecodedRecord, SetAside
from tests.builders import Voice, deleted

AFTER = 5.0


def records(**counts):
    """A record for each producer, with so many events."""
    return [
        (
            0,
            DecodedRecord(
                "epoch",
                [Voice(f"compute_agent/{name}").say(deleted("i", name)) for _ in range(count)],
                f"account-{name}",
            ),
        )
        for name, count in counts.items()
    ]


@pytest.mark.parametrize(
    "batches, far",
    [
        ([], False),
        ([(0.0, False), (4.9, False)], False),
        ([(0.0, False), (5.0, False)], True),
        ([(0.0, True), (5.0, False), (9.9, False)], False),
        ([(0.0, False), (3.0, True), (6.0, False)], False),
        ([(0.0, False), (5.0, False), (5.1, True)], False),
        ([(0.0, False), (5.0, False), (60.0, False)], True),
    ],
    ids=["new", "shortly", "for long", "from the end on", "the end in between", "the end at last", "for very long"],
)
def test_a_log_is_far_behind_after_a_while_without_its_end(batches, far):
    backlog = Backlog(AFTER)
    states = [backlog.is_far]
    for now, at_end in batches:
        changed = backlog.folded(records(a=1), at_end, now)
        states.append(backlog.is_far)
        assert changed == (states[-1] != states[-2])
    assert backlog.is_far is far


@pytest.mark.parametrize(
    "counts, named",
    [
        ({}, None),
        ({("a", None): 100}, ("a", 100, 100)),
        ({("a", None): 97, ("b", None): 2, ("c", None): 1}, ("a", 97, 100)),
        ({("a", None): 50, ("b", None): 50}, None),
        ({(str(number), None): 10 for number in range(5)}, None),
        ({("a", None): 90, ("b", None): 10}, None),
        ({("a", None): 91, ("b", None): 9}, ("a", 91, 100)),
        ({("a", None): 20, **{(str(number), None): 1 for number in range(80)}}, None),
        ({("a", None): 21, **{(str(number), None): 1 for number in range(79)}}, ("a", 21, 100)),
    ],
)
def test_who_is_named(counts, named):
    found = loudest(counts)
    assert named is None if found is None else (found.producer, found.events, found.total) == named


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10**6), max_size=20))
def test_only_one_far_above_its_share_is_named(events):
    found = loudest({(name, None): count for name, count in events.items()})
    if found is not None:
        rest = [count for name, count in events.items() if name != found.producer]
        assert found.events > SHARE_MIN * sum(events.values()) and all(found.events >= count for count in rest)
        assert found.events * len(rest) >= 10 * sum(rest)


def test_what_cannot_be_read_counts_for_its_account():
    aside = SetAside("undecodable", "no", b"")
    assert count_producers([(0, DecodedRecord(None, [aside, aside], "mallory")), *records(h1=1)]) == {
        ("unreadable", "mallory"): 2,
        ("compute_agent/h1", "account-h1"): 1,
    }


def test_the_text():
    assert str(Loudest("compute_agent/h7", "compute_agent.h7", 970_000, 1_000_000)) == (
        "compute_agent/h7 (account compute_agent.h7) wrote 97 % of the last 1,000,000 events"
    )
    assert str(Loudest("compute_agent/h7", None, 1, 1)) == "compute_agent/h7 wrote 100 % of the last 1 event"


def test_the_last_two_windows_count():
    backlog = Backlog(AFTER)
    for now, name in ((0.0, "a"), (WINDOW, "b"), (2 * WINDOW, "c")):
        backlog.folded(records(**{name: 10}), False, now)
    why = backlog.why()
    assert backlog.is_far and "20 events of 2 producers" in why
    backlog.folded(records(c=190), False, 2 * WINDOW + 1)
    assert "compute_agent/c (account account-c) wrote 95 % of the last 210 events" in backlog.why()


def test_what_was_counted_before_a_beginning_does_not_hold():
    backlog = Backlog(AFTER)
    backlog.folded(records(a=10), False, 0.0)
    backlog.folded(records(a=10), False, AFTER)
    assert backlog.is_far
    backlog.begin()
    assert not backlog.is_far and not backlog.folded(records(a=10), False, AFTER + 1.0)
