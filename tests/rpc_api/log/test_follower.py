"""What a follower hands on: bounded batches, whether the end of the log was reached, and rests when its owner wants
them."""

import itertools
import queue
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_api import codec, events
from rpc_api.feed.follower import BATCH_EVENTS, LONG_RUN, MAX_AHEAD, READ_BYTES, Follower
from rpc_api.log import open_log
from tests.builders import EPOCH, HandClock, Voice, deleted

PATIENCE = 60.0
_NUMBERS = itertools.count()


@pytest.fixture
def log():
    with open_log(f"memory://follower-{next(_NUMBERS)}") as log:
        yield log
        log.delete()


def append(log, *counts):
    """Append a record of so many events for each count; all of one producer."""
    voice = log.voice = getattr(log, "voice", None) or Voice("compute_agent/h1")
    log.append([codec.encode_record(EPOCH, [voice.say(deleted("i", "h1")) for _ in range(count)]) for count in counts])


class Owner:
    """Follows a log; takes a batch when the test wants one."""

    def __init__(self, log, stop=None):
        self.batches = queue.SimpleQueue()
        self.follower = Follower(lambda: (log, 0), self.batches.put, lambda fault: None, "cell1", HandClock())
        self.follower._stop = stop or self.follower._stop
        self.follower.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.follower.stop()

    def take(self, took=0.0, share=1.0):
        batch = self.batches.get(timeout=PATIENCE)
        self.follower.taken(took, share)
        return batch

    def take_to(self, position):
        """Take batches up to the one with a position."""
        found = []
        while not found or not found[-1].records or found[-1].records[-1][0] < position:
            found.append(self.take())
        return found


def events_of(batch):
    return [len(record.events) for _, record in batch.records]


@pytest.mark.parametrize(
    "counts, batches",
    [
        ([1], [[1]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([499, 1, 1], [[499, 1], [1]]),
        ([499, 499, 499], [[499, 499], [499]]),
        ([500, 500], [[500], [500]]),
        ([3000, 1], [[3000], [1]]),
    ],
)
def test_batches_are_bounded_by_events(log, counts, batches):
    append(log, *counts)
    with Owner(log) as owner:
        assert [events_of(batch) for batch in owner.take_to(len(counts) - 1)] == batches


def test_reads_are_bounded_by_bytes(log):
    """Large events: far fewer than a batch may have."""
    voice = Voice("scheduler/s")
    large = [
        codec.encode_record(EPOCH, [voice.say(events.PolicyAdopted(f"digest {number}", "x" * 60_000))])
        for number in range(9)
    ]
    log.append(large)
    with Owner(log) as owner:
        sizes = [sum(len(record.payload) for _, record in batch.records) for batch in owner.take_to(8)]
    assert len(sizes) == 2 and max(sizes) < READ_BYTES + len(large[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_every_record_comes_once_and_no_batch_is_larger_than_it_must_be(counts):
    with open_log(f"memory://follower-{next(_NUMBERS)}") as log:
        append(log, *counts)
        with Owner(log) as owner:
            batches = owner.take_to(len(counts) - 1)
        log.delete()
    records = [record for batch in batches for record in batch.records]
    assert [position for position, _ in records] == list(range(len(counts)))
    assert [len(record.events) for _, record in records] == counts
    for batch in batches:
        assert sum(events_of(batch)[:-1]) < BATCH_EVENTS


class NotedSemaphore(threading.Semaphore):
    """Counts in ``blocked`` how often somebody has to wait for it."""

    def __init__(self, value):
        super().__init__(value)
        self.blocked = threading.Semaphore(0)

    def acquire(self, *arguments, **named):
        if super().acquire(blocking=False):
            return True
        self.blocked.release()
        return super().acquire(*arguments, **named)


def test_no_more_than_a_few_batches_wait(log):
    append(log, *[BATCH_EVENTS] * 10)
    batches, room = queue.SimpleQueue(), NotedSemaphore(MAX_AHEAD)
    follower = Follower(lambda: (log, 0), batches.put, lambda fault: None, "cell1")
    follower._ahead = room
    follower.start()
    for _ in range(10 - MAX_AHEAD):
        assert room.blocked.acquire(timeout=PATIENCE)
        assert batches.qsize() == MAX_AHEAD
        batches.get()
        follower.taken()
    follower.stop()


def test_the_end_of_the_log_is_known(log):
    append(log, *[BATCH_EVENTS] * 3)
    with Owner(log) as owner:
        assert [batch.at_end for batch in owner.take_to(2)] == [True, False, False]
        append(log, 1)
        # Whether the follower looked for more before the append or not, the end was reached before this record, or not.
        assert events_of(owner.take_to(3)[-1]) == [1]


def test_after_a_long_run_the_end_comes_at_once(log):
    append(log, *[BATCH_EVENTS] * LONG_RUN)
    with Owner(log) as owner:
        batches = owner.take_to(LONG_RUN - 1)
        assert [batch.at_end for batch in batches] == [True] + [False] * (LONG_RUN - 1)
        assert owner.take() == ([], True)
        append(log, 1)
        assert owner.take().at_end


class NotedWaits(threading.Event):
    """Notes for how long somebody wants to wait for it, and lets nobody wait."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return self.is_set()


@pytest.mark.parametrize("took, share, rest", [(0.01, 1.0, []), (0.01, 0.2, [0.04]), (0.3, 0.5, [0.3])])
def test_a_follower_rests_for_its_share_of_the_time(log, took, share, rest):
    append(log, *[BATCH_EVENTS] * (MAX_AHEAD + 1))
    stop = NotedWaits()
    with Owner(log, stop) as owner:
        owner.take(took, share)
        while owner.take().records[-1][0] < MAX_AHEAD:
            pass
    assert [wait for wait in stop.waits if wait] == pytest.approx(rest)


def test_batches_that_were_read_are_dropped_when_the_log_is_read_again(log):
    append(log, *[BATCH_EVENTS] * 5)
    with Owner(log) as owner:
        assert owner.take().records[0][0] == 0
        owner.follower.begin_anew()
        found = [owner.take().records[0][0] for _ in range(4)]
        # What was handed on before is there still; then it starts at the beginning.
        start = found.index(0)
        assert found[:start] == list(range(1, 1 + start)) and found[start:] == list(range(4 - start))
