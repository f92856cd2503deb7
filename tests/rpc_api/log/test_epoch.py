"""How a log begins: only its very first record says that nothing is missing."""

import itertools

import pytest

from rpc_api import codec, errors, events
from rpc_api.feed.epoch import ensure_open, open_at_level, opening_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.log.port import FENCE
from tests.builders import EPOCH, Voice, record_of, report

_NUMBERS = itertools.count()
OPENED, REBASED = events.LogOpened("cell1", EPOCH), events.LogRebased("cell1", 3)
RESTORED = events.LogRestored("cell1", EPOCH, EPOCH, 7)

BEGINNINGS = [
    # (producer, event) of the first records, how many are removed, whether the log is whole, the cell that it names
    ([("conductor/c", OPENED)], 0, True, "cell1"),
    ([("conductor/c", OPENED), ("compute_agent/h", report("h"))], 1, False, None),
    ([("conductor/c", OPENED), ("compute_agent/h", OPENED)], 1, False, None),
    ([("conductor/c", OPENED), ("conductor/d", REBASED)], 1, False, None),
    ([("compute_agent/h", report("h"))], 0, False, None),
    ([("operator/o", RESTORED)], 0, False, "cell1"),
    ([("conductor/c", OPENED), ("operator/o", RESTORED)], 1, False, None),
]


@pytest.fixture
def log():
    with open_log(f"memory://epoch-{next(_NUMBERS)}") as log:
        yield log


@pytest.mark.parametrize("said, removed, whole, cell", BEGINNINGS)
def test_how_a_log_begins(log, said, removed, whole, cell):
    log.append([record_of(Voice(by).say(data), level=data.schema.LEVEL) for by, data in said])
    log.truncate_before(removed)
    assert opening_of(log) == (EPOCH, whole, cell)


def test_fences_before_the_first_record_are_passed_over(log):
    """A fence of a handle that did not notice that its log was recreated."""
    log.append([FENCE + b"1", FENCE + b"2", record_of(Voice("conductor/c").say(OPENED))])
    assert opening_of(log) == (EPOCH, True, "cell1")
    log.truncate_before(1)
    assert opening_of(log) == (EPOCH, False, None)


def test_garbage_that_comes_to_stand_in_front_is_passed_over(log):
    log.append(
        [record_of(Voice("conductor/c").say(OPENED)), b"garbage", record_of(Voice("compute_agent/h").say(report("h")))]
    )
    log.truncate_before(1)
    assert opening_of(log) == (EPOCH, False, None)


def test_a_log_that_begins_with_garbage_is_not_ours(log):
    log.append([b"garbage", record_of(Voice("conductor/c").say(OPENED))])
    with pytest.raises(errors.UnknownSchema, match="does not begin with a record of nova_sched"):
        opening_of(log)


def test_a_log_of_another_cell_is_not_taken(log):
    ensure_open(log, "cell1", "conductor/c")
    with pytest.raises(errors.UsageError, match="is the log of cell1, wanted that of cell2"):
        ensure_open(log, "cell2", "conductor/c")


def test_the_first_event_of_who_began_a_log_is_not_taken_for_its_beginning(log):
    class Stopped:
        def now_ns(self):
            return 5

    ensure_open(log, "cell1", "conductor/c", Stopped())
    from nova_sched.replay.logs.reading import decoded_records

    ((_, record),) = decoded_records(log)
    assert record.events[0].producer_epoch < 5


@pytest.mark.parametrize(
    ("level", "pins"), [(None, [LEVEL]), (1, []), *[(level, [level]) for level in range(2, LEVEL + 1)]]
)
def test_a_log_that_an_operator_creates_is_at_the_newest_level_unless_one_is_named(log, level, pins):
    named = () if level is None else (level,)
    assert open_at_level(log, "cell1", "operator/one", *named)[1]
    # A log that exists stays as it is.
    assert not open_at_level(log, "cell1", "operator/two")[1]
    with log.read_from(0) as reader:
        said = [event for record in reader.read(100) for event in codec.decode_record(record.payload).events]
    assert [event.name for event in said[:1]] == ["LogOpened"]
    assert [event.data for event in said[1:]] == [events.LevelPinned(pin) for pin in pins]
