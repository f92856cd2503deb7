"""When a checkpoint is written and named, and when API writes are taken: tables."""

import pytest

from nova_sched.process.checkpoint_duty import (
    ANOTHER_WITHIN,
    NAME_RECORDS,
    NAME_SECONDS,
    RETRY_AFTER,
    SPREAD,
    CheckpointDuty,
    Limits,
    LogFacts,
    margin,
    refusal_of_writes,
)
from nova_sched.process.checkpoints import Checkpoint

LIMITS = Limits(every_s=3600, every_records=1000, every_bytes=1 << 20, floor_bytes=1 << 16)
NOW, NOW_NS = 5000.0, 10**18
HOUR_NS = 3600 * 10**9


class Seen:
    """What the records of a log showed of its checkpoints."""

    def __init__(self, position=None, age_ns=0, records=0, size=0, others=None, named=None, since=0, part=None):
        self.newest = (
            None
            if position is None
            else Checkpoint("u", "conductor/c", position, position + 1, position + 2, NOW_NS - age_ns)
        )
        self.records, self.bytes, self.others = records, size, records if others is None else others
        self.named_at, self.records_since_named = named, since
        self.last_part = part


def facts(why=None, level=3, first=0, last=10_000, cut=False):
    return LogFacts(why, level, last, first, last, cut)


DUE = {
    # (what was seen, the log): why one is due
    "there is none": (Seen(), facts(), "the log has none"),
    "there is none and the log is at level 2": (Seen(), facts(level=2), None),
    "there is none and the log is not folded": (Seen(), facts("it is being read"), None),
    "it is new": (Seen(9000), facts(), None),
    "it is an hour old": (Seen(9000, HOUR_NS, records=3), facts(), "the last one is 60 min old"),
    "it is an hour old and nothing came": (Seen(9000, HOUR_NS, records=3, others=0), facts(), None),
    "it is nearly an hour old": (Seen(9000, HOUR_NS - 10**9, records=3), facts(), None),
    "many records": (Seen(9000, records=1000), facts(), "1000 records came since the last one"),
    "many bytes": (Seen(9000, records=5, size=1 << 20), facts(), "1048576 bytes came since the last one"),
    "it is in the older half of a log that is cut": (
        Seen(4000, records=5, size=1 << 16),
        facts(cut=True),
        "the last one is of the oldest 40% of the log",
    ),
    "the same in a log that is not cut": (Seen(4000, records=5, size=1 << 16), facts(), None),
    "the same while the log is small": (Seen(4000, records=5, size=100), facts(cut=True), None),
    "it is in the newer half": (Seen(6000, records=5, size=1 << 16), facts(cut=True), None),
    "its records are gone": (
        Seen(100, records=5, size=1 << 16),
        facts(first=500, cut=True),
        "the last one is of the oldest 0% of the log",
    ),
}


@pytest.mark.parametrize("name", DUE)
def test_when_a_checkpoint_is_due(name):
    seen, log, why = DUE[name]
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    duty.due(NOW, NOW_NS, seen, log)
    assert duty.due(NOW + SPREAD, NOW_NS, seen, log) == why


def test_processes_begin_at_different_times_so_that_one_is_first():
    began = set()
    for name in range(5):
        duty = CheckpointDuty("cell1", f"conductor/{name}", LIMITS)
        times = [NOW + step / 100 for step in range(int(SPREAD * 100) + 1)]
        began.add(next(now for now in times if duty.due(now, NOW_NS, Seen(), facts())))
    assert len(began) == 5 and max(began) <= NOW + SPREAD


def test_one_that_another_process_writes_is_waited_for_and_not_for_ever():
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    due = [
        duty.due(NOW + at, NOW_NS, Seen(part=part), facts())
        for at, part in [
            (0, None),
            (SPREAD, ("conductor/d", 7, 1, 3)),
            (SPREAD + ANOTHER_WITHIN - 1, ("conductor/d", 7, 1, 3)),
            (SPREAD + ANOTHER_WITHIN - 1, ("conductor/d", 9, 2, 3)),
            (2 * ANOTHER_WITHIN, ("conductor/d", 9, 2, 3)),
            (3 * ANOTHER_WITHIN, ("conductor/d", 9, 2, 3)),
            (4 * ANOTHER_WITHIN, ("conductor/d", 9, 2, 3)),
        ]
    ]
    assert due == [None, None, None, None, None, None, "the log has none"]


@pytest.mark.parametrize("part", [("conductor/d", 7, 3, 3), ("conductor/c", 7, 1, 3)])
def test_one_that_is_complete_or_our_own_is_not_waited_for(part):
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    assert not duty.is_anothers_under_way(NOW, Seen(part=part))


def test_a_failed_attempt_is_not_repeated_at_once():
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    duty.due(NOW, NOW_NS, Seen(), facts())
    duty.failed(NOW + SPREAD)
    assert duty.due(NOW + SPREAD + RETRY_AFTER - 1, NOW_NS, Seen(), facts()) is None
    assert duty.due(NOW + SPREAD + RETRY_AFTER, NOW_NS, Seen(), facts()) is not None


NAMED = {
    # (seconds since it was named, records since): whether it is named again
    "nothing came": (NAME_SECONDS * 9, 0, False),
    "a record, a moment ago": (NAME_SECONDS - 1, 1, False),
    "a record, a minute ago": (NAME_SECONDS, 1, True),
    "many records, a moment ago": (1.0, NAME_RECORDS, True),
    "many records, at once": (0.0, NAME_RECORDS, False),
}


@pytest.mark.parametrize("name", NAMED)
def test_when_it_is_named(name):
    seconds, since, is_due = NAMED[name]
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    seen = Seen(9000, named=9100, since=since)
    duty.is_naming_due(NOW, seen, facts())
    assert duty.is_naming_due(NOW + seconds, seen, facts()) == is_due
    duty.named(NOW + seconds)
    assert not duty.is_naming_due(NOW + seconds, seen, facts())


def test_one_that_another_process_names_is_not_named_again():
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    for at in range(20):
        assert not duty.is_naming_due(NOW + at * 50, Seen(9000, named=9000 + at, since=1), facts())


@pytest.mark.parametrize(
    "seen, log", [(Seen(), facts()), (Seen(1, since=9), facts("why")), (Seen(1, since=9), facts(level=2))]
)
def test_what_is_not_named(seen, log):
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    duty.is_naming_due(NOW, seen, log)
    assert not duty.is_naming_due(NOW + 1000, seen, log)


MARGINS = [
    (0, 99, 49, 0.5),
    (0, 99, 99, 1.0),
    (0, 99, 0, 0.01),
    (50, 149, 49, 0.0),
    (50, 149, 20, -0.29),
    (0, -1, -1, 0.0),
]


@pytest.mark.parametrize("first, last, position, share", MARGINS)
def test_the_margin_is_the_share_of_the_log_before_the_state(first, last, position, share):
    assert margin(facts(first=first, last=last), Checkpoint("u", "", position, 0, 0, 0)) == pytest.approx(share)


WRITES = {
    # (what was seen, the log): a word of why no API write is taken
    "there is a checkpoint": (Seen(9000), facts(), None),
    "there is none": (Seen(), facts(), "has no complete checkpoint yet"),
    "the log is closed": (Seen(9000), facts("its records are being read"), "its records are being read"),
    "the log is at level 2": (Seen(9000), facts(level=2), "nova-sched pin"),
    "the margin is small": (Seen(2000, size=1 << 16), facts(cut=True), "of the oldest 20% of its log"),
    "the margin is small and nobody cuts the log": (Seen(2000, size=1 << 16), facts(), None),
    "the margin is small in a small log": (Seen(2000, size=100), facts(cut=True), None),
    "the margin is large": (Seen(2600, size=1 << 16), facts(cut=True), None),
    "its records are gone, in a small log": (Seen(2000, size=9), facts(first=2500, cut=True), "of the oldest 0%"),
}


@pytest.mark.parametrize("name", WRITES)
def test_when_api_writes_are_taken(name):
    seen, log, why = WRITES[name]
    found = refusal_of_writes("cell1", log, seen, LIMITS)
    assert (found is None) == (why is None)
    assert why is None or (why in found and "cell1" in found)


def test_writes_are_refused_only_after_a_warning_and_after_the_next_checkpoint_was_begun():
    """The margins follow each other, so that nothing is refused while the conductors do their work."""
    assert LIMITS.renew > LIMITS.warn > LIMITS.refuse > 0


def test_a_margin_that_shrinks_is_warned_of_once():
    duty = CheckpointDuty("cell1", "conductor/c", LIMITS)
    warned = [
        bool(duty.warning(Seen(position, size=1 << 16), facts(cut=True)))
        for position in (6000, 3400, 3300, 2000, 6000, 3000)
    ]
    assert warned == [False, True, False, False, False, True]
    assert not duty.warning(Seen(3000, size=1 << 16), facts())
