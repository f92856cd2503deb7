"""Checkpoints in a log: a reader starts at the newest one that is complete and of its log, and at no other."""

import logging
from functools import partial

import pytest

from nova_sched.process import checkpoints
from nova_sched.process.cell_log import find_beginning
from nova_sched.process.checkpoints import Checkpoints, may_keep, newest_in, reason_against
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.received import Received
from rpc_api import errors, events
from rpc_api.clock import SYSTEM
from rpc_api.proof import RECORDS, Trail
from tests.builders import EPOCH, Voice, claim, record_of, report, uuid_of
from tests.nova_sched.process.checkpoint_logs import KeptLog, digest_from


@pytest.fixture
def kept():
    kept = KeptLog()
    kept.hosts(*(f"host-{number}" for number in range(5)))
    kept.written("pool")
    kept.claims("host-1", "vm-1", "vm-2")
    return kept


def found_in(kept, whole=False, **options):
    return newest_in(kept.log, kept.cell, EPOCH, whole, **options)


# --- a reader that starts ----------------------------------------------------------------------------------------


def test_the_state_from_a_checkpoint_is_that_of_the_whole_log(kept):
    kept.keep(between=("host-6", "host-7"))
    kept.claims("host-2", "vm-3")
    found = found_in(kept)
    assert digest_from(kept, found.packed) == state_digest(kept.folded())
    assert kept.folded().holds_writes


def test_a_checkpoint_changes_no_state(kept):
    before = kept.folded()
    kept.keep()
    after = kept.folded()
    assert after.producers.pop("conductor/c")
    assert state_digest(after) == state_digest(before)


def test_a_reader_without_the_beginning_of_the_log_starts_with_the_checkpoint(kept):
    whole = kept.keep()
    kept.log.truncate_before(whole.position - 2)
    kept.hosts("host-9")
    epoch, beginning, position = find_beginning(kept.log, "cell1", "scheduler/s", SYSTEM, None)
    assert (epoch, beginning.whole, position) == (EPOCH, True, whole.position + 1)
    assert beginning.found.checkpoint == whole


def test_a_log_without_its_beginning_and_without_a_checkpoint_is_not_whole(kept):
    kept.log.truncate_before(4)
    _, beginning, position = find_beginning(kept.log, "cell1", "scheduler/s", SYSTEM, None)
    assert (beginning.whole, beginning.snapshot, position) == (False, None, 4)


class Store:
    """A snapshot store with one snapshot."""

    def __init__(self, packed):
        self.packed = packed

    def load_all(self, cell):
        yield self.packed


@pytest.mark.parametrize("later", ["the snapshot", "the checkpoint"])
def test_the_later_one_of_snapshot_and_checkpoint_wins(kept, later):
    early = snapshot.dump(kept.folded())
    kept.hosts("host-8")
    late = kept.folded()
    if later == "the snapshot":
        kept.keep(state=snapshot.load(early))
        packed = snapshot.dump(kept.folded())
    else:
        kept.keep(state=late)
        packed = early
    _, beginning, _ = find_beginning(kept.log, "cell1", "scheduler/s", SYSTEM, Store(packed))
    assert (beginning.found.checkpoint is None) == (later == "the snapshot")
    assert digest_from(kept, beginning.snapshot) == state_digest(kept.folded())


def test_a_checkpoint_far_back_is_found_by_its_name(kept):
    checkpoint = kept.keep()
    kept.hosts(*(f"host-{number}" for number in range(10, 10 + 2 * checkpoints.FIRST_LOOK)))
    kept.name(checkpoint)
    reads = count_reads(kept)
    assert found_in(kept, whole=True).checkpoint.uuid == checkpoint.uuid
    assert min(reads) >= checkpoint.first - RECORDS - 1 and len(reads) == 3, "one look, the parts, the proof"


def test_a_checkpoint_that_is_not_named_is_found_by_its_parts(kept):
    checkpoint = kept.keep()
    kept.hosts(*(f"host-{number}" for number in range(10, 10 + 2 * checkpoints.FIRST_LOOK)))
    assert found_in(kept).checkpoint == checkpoint


def test_a_whole_log_is_not_searched_to_its_beginning(kept, monkeypatch):
    monkeypatch.setattr(checkpoints, "LONGEST_LOOK", checkpoints.FIRST_LOOK)
    kept.keep()
    kept.hosts(*(f"host-{number}" for number in range(10, 20 + checkpoints.FIRST_LOOK)))
    assert found_in(kept, whole=True).checkpoint is None
    assert found_in(kept, whole=False).checkpoint is not None


def test_a_log_below_level_3_is_not_searched():
    kept = KeptLog(level=2)
    kept.hosts(*(f"host-{number}" for number in range(checkpoints.FIRST_LOOK + 50)))
    reads = count_reads(kept)
    assert found_in(kept, whole=True).checkpoint is None
    assert reads == [kept.log.bounds().last + 1 - checkpoints.FIRST_LOOK]


def count_reads(kept):
    """The positions from which the log is read from now on."""
    reads, read_from = [], kept.log.read_from

    def noted(position):
        reads.append(position)
        return read_from(position)

    kept.log.read_from = noted
    return reads


# --- checkpoints that do not count -------------------------------------------------------------------------------


def torn_end(kept):
    """The conductor ended after a part."""
    for part in kept.parts(snapshot.dump(kept.folded()))[:-1]:
        kept.say("conductor/c", part)


def lost_part(kept):
    """A part in the middle was lost."""
    for part in (parts := kept.parts(snapshot.dump(kept.folded())))[:1] + parts[2:]:
        kept.say("conductor/c", part)


def damaged_part(kept):
    packed = bytearray(snapshot.dump(kept.folded()))
    packed[len(packed) // 2] ^= 1
    kept.say("conductor/c", *kept.parts(bytes(packed)))


def not_a_state(kept):
    kept.say("conductor/c", *kept.parts(b"x" * 10_000, position=3))


def of_a_scheduler(kept):
    kept.keep(by="scheduler/s")


def of_an_agent(kept):
    kept.keep(by="compute_agent/host-1")


def of_another_cell(kept):
    other = KeptLog("cell2")
    other.hosts("host-1")
    kept.say("conductor/c", *kept.parts(snapshot.dump(other.folded())))


def of_another_incarnation(kept):
    state = kept.folded()
    state.epoch = uuid_of("another")
    kept.say("conductor/c", *kept.parts(snapshot.dump(state)))


def of_a_lost_history(kept):
    """It has records that the log lost, and the log has grown again over their positions."""
    state = kept.folded()
    state.trail = Trail()
    for position, record in enumerate(kept.records()):
        state.trail.add((position, record.payload if position < 5 else b"lost"))
    kept.say("conductor/c", *kept.parts(snapshot.dump(state)))


def of_the_future(kept):
    state = kept.folded()
    state.position = 10_000
    kept.say("conductor/c", *kept.parts(snapshot.dump(state)))


def of_another_position(kept):
    kept.say("conductor/c", *kept.parts(snapshot.dump(kept.folded()), position=2))


def named_and_not_there(kept):
    kept.say("conductor/c", events.CheckpointNamed(uuid_of("nowhere"), 7, 8, 9))


def named_at_odd_places(kept):
    kept.say(
        "conductor/c",
        events.CheckpointNamed(uuid_of("odd"), 9, 8, 9),
        events.CheckpointNamed(uuid_of("odd"), 2**50, 2**50 + 1, 2**50 + 2),
        events.CheckpointNamed(uuid_of("odd"), 2, 9, 8),
    )


def many_parts_of_nothing(kept):
    for number in range(50):
        kept.say("conductor/c", events.StateKept(uuid_of(f"c{number}"), 0, 0, 2**40, b""))
        kept.say("conductor/c", events.StateKept(uuid_of(f"c{number}"), 0, 0, 0, b""))
        kept.say("conductor/c", events.StateKept(uuid_of(f"d{number}"), 0, 0, 2, b""))


BAD = [
    torn_end,
    lost_part,
    damaged_part,
    not_a_state,
    of_a_scheduler,
    of_an_agent,
    of_another_cell,
    of_another_incarnation,
    of_a_lost_history,
    of_the_future,
    of_another_position,
    named_and_not_there,
    named_at_odd_places,
    many_parts_of_nothing,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_one_that_does_not_count_is_skipped_and_the_one_before_it_is_used(kept, bad, caplog):
    good = kept.keep()
    kept.hosts("host-8")
    bad(kept)
    kept.hosts("host-9")
    with caplog.at_level(logging.WARNING):
        found = found_in(kept)
    assert found.checkpoint == good
    assert digest_from(kept, found.packed) == state_digest(kept.folded())


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_alone_it_leaves_a_log_without_its_beginning_closed(kept, bad):
    bad(kept)
    kept.log.truncate_before(4)
    assert found_in(kept).checkpoint is None


def test_one_that_is_skipped_is_logged_with_its_reason(kept, caplog):
    of_a_lost_history(kept)
    found_in(kept)
    assert "is skipped" in caplog.text and "lost records and grew again" in caplog.text


def test_a_refused_one_is_not_used_again(kept):
    early = kept.keep()
    late = kept.keep()
    assert found_in(kept).checkpoint == late
    found = found_in(kept, refused={late.uuid})
    assert found.checkpoint == early
    assert found.tried == {late.uuid, early.uuid}


def test_parts_that_were_appended_twice_count_once(kept):
    parts = kept.parts(snapshot.dump(kept.folded()))
    voice = Voice("conductor/c")
    for part in parts:
        kept.log.append([record_of(voice.say(part), level=3)] * 2)
    assert found_in(kept).checkpoint.position == 9


def test_two_conductors_write_at_once(kept):
    """Also two processes with one name: their checkpoints have other uuids."""
    packed = snapshot.dump(kept.folded())
    for one, other, third in zip(*(kept.parts(packed) for _ in range(3)), strict=True):
        kept.say("conductor/c", one)
        kept.say("conductor/d", other)
        kept.log.append([record_of(Voice("conductor/c").say(third), level=3)])
    assert len(kept.seen().candidates()) == 3
    assert digest_from(kept, found_in(kept).packed) == state_digest(kept.folded())


@pytest.mark.parametrize("removed", range(-3, 2))
def test_what_retention_may_remove(kept, removed):
    """All before the last record of the state of the checkpoint, which proves that it is of this log."""
    checkpoint = kept.keep()
    kept.log.truncate_before(checkpoint.position + removed)
    assert (found_in(kept).checkpoint is not None) == (removed <= 0)


def test_a_checkpoint_of_a_lost_tail_counts_for_no_running_service(kept, caplog):
    """The broker lost the records that it was made of, and its parts came into the log that grew again."""
    good = kept.keep()
    kept.claims("host-1", "lost-1", "lost-2", "lost-3")
    wrong = uuid_of("wrong")
    parts = kept.parts(snapshot.dump(kept.folded()), checkpoint=wrong)
    made_of = kept.log.bounds().last
    kept.log.lose_tail(3)
    for number in range(4):
        kept.say("scheduler/other", claim(f"other-{number}", "host-2"))
    first = kept.log.bounds().last + 1
    kept.say("conductor/c", *parts)
    why_not_of = partial(reason_against, kept.log, "cell1", EPOCH, False)
    followed = Checkpoints("cell1", EPOCH, why_not_of=why_not_of)
    followed.see_all(_decoded(kept))
    assert followed.newest.position == good.position and "so the log lost records and grew again" in followed.why_not
    # Another service may name it, which it should not.
    kept.say("conductor/d", events.CheckpointNamed(wrong, made_of, first, kept.log.bounds().last))
    followed.see_all(_decoded(kept)[-1:])
    late = Checkpoints("cell1", EPOCH, why_not_of=why_not_of)
    late.see_all(_decoded(kept)[-1:])
    assert followed.newest.position == good.position and late.newest is None
    late.see(kept.log.bounds().last + 1, _decoded(kept)[-1][1])
    assert caplog.text.count(f"the checkpoint {wrong} of cell1") == 1, "it is read once"


def test_a_checkpoint_of_a_lost_tail_is_not_passed_over_as_the_newest_one(kept):
    """A service that starts with a later snapshot counts the newest one before it."""
    good = kept.keep()
    kept.claims("host-1", "lost-1", "lost-2", "lost-3")
    parts = kept.parts(snapshot.dump(kept.folded()))
    kept.log.lose_tail(3)
    for number in range(4):
        kept.say("scheduler/other", claim(f"other-{number}", "host-2"))
    kept.say("conductor/c", *parts)
    found = found_in(kept, after=kept.log.bounds().last)
    assert found.checkpoint is None and found.passed.uuid == good.uuid


def test_a_checkpoint_counts_when_it_is_named_if_the_log_was_away(kept):
    away = [True]

    def why_not_of(checkpoint, proof):
        if away:
            away.pop()
            raise errors.LogUnavailable("away")

    seen = Checkpoints("cell1", EPOCH, why_not_of=why_not_of)
    checkpoint = kept.keep()
    seen.see_all(_decoded(kept))
    assert seen.newest is None and not seen.under_way()
    kept.name(checkpoint)
    seen.see_all(_decoded(kept)[-1:])
    assert seen.newest.uuid == checkpoint.uuid and seen.named_at == kept.log.bounds().last


def test_a_checkpoint_that_is_appended_again_counts_and_is_named(kept):
    wrong = kept.parts(snapshot.dump(kept.folded()), checkpoint=uuid_of("again"))
    kept.say("conductor/c", wrong[0])
    kept.say("conductor/c", wrong[-1]._replace(of=9))
    kept.say("conductor/c", *wrong)
    (whole,) = kept.seen().candidates()
    kept.name(whole)
    assert kept.seen().named_at == kept.log.bounds().last


# --- accounts ----------------------------------------------------------------------------------------------------

ACCOUNTS = [
    # cell, producer, account, configured, counts
    ("cell1", "conductor/c", None, False, True),
    ("cell1", "conductor/c", None, True, False),
    ("cell1", "conductor/c", "conductor.c", True, True),
    ("cell1", "conductor/c", "conductor", True, True),
    ("cell1", "conductor/c", "conductor.d", False, False),
    ("cell1", "conductor/c", "compute_agent.host-1", False, False),
    ("cell1", "conductor/c", "nova", False, True),
    ("cell1", "conductor/c", "nova", True, False),
    ("cell1", "operator/o", None, False, True),
    ("cell1", "scheduler/s", "scheduler.s", False, False),
    ("cell0", "scheduler/s", "scheduler.s", False, True),
    ("cell0", "conductor/c", "conductor.c", False, False),
    ("cell1", "compute_agent/h", "compute_agent.h", False, False),
    ("cell1", "placement/p", None, False, False),
    ("cell1", "", None, False, False),
]


@pytest.mark.parametrize("cell, producer, account, configured, counts", ACCOUNTS)
def test_who_may_keep_the_state_of_a_log(cell, producer, account, configured, counts):
    assert may_keep(cell, producer, account, configured) == counts


# --- following ---------------------------------------------------------------------------------------------------


def test_what_a_follower_knows(kept):
    checkpoint = kept.keep(between=("host-6",))
    seen = kept.seen()
    assert (seen.newest, seen.records_since_named) == (checkpoint, 0)
    assert seen.records == checkpoint.last - checkpoint.first + 1
    assert seen.bytes == sum(len(record.payload) for record in kept.records() if record.position >= checkpoint.first)
    kept.hosts("host-8", "host-9")
    assert (kept.seen().records_since_named, kept.seen().newest) == (2, checkpoint)
    kept.name(checkpoint)
    assert kept.seen().records_since_named == 0


def test_a_follower_that_began_after_the_parts_learns_it_by_its_name(kept):
    checkpoint = kept.keep()
    kept.name(checkpoint)
    seen = Checkpoints("cell1", EPOCH)
    position, record = list(_decoded(kept))[-1]
    seen.see(position, record)
    assert seen.newest._replace(at_ns=0) == checkpoint._replace(at_ns=0, size=None)


def test_an_earlier_state_does_not_replace_a_later_one(kept):
    early = kept.folded()
    kept.hosts("host-8")
    late = kept.keep()
    kept.keep(state=early, by="conductor/d")
    assert kept.seen().newest == late


def test_a_checkpoint_of_many_parts(kept):
    packed = snapshot.dump(kept.folded())
    kept.say("conductor/c", *kept.parts(packed, size=7))
    assert kept.seen().newest is not None
    assert found_in(kept).packed == packed


def _decoded(kept):
    from rpc_api import codec

    return [(record.position, codec.decode_record(record.payload)) for record in kept.records()]


@pytest.mark.parametrize("size", [1, 100, 4095, 4096, 5000, 10**6])
def test_a_snapshot_that_is_received_in_parts_is_checked_like_a_whole_one(kept, size):
    kept.hosts(*(f"host-{number}" for number in range(20, 60)))
    packed = snapshot.dump(kept.folded())
    damaged = packed[:-40] + bytes([packed[-40] ^ 1]) + packed[-39:]

    def received(content):
        received = Received()
        for start in range(0, len(content), size):
            received.add(content[start : start + size])
        return received.head()

    assert received(packed) == snapshot.head_of(packed) and received(packed).proof
    with pytest.raises(errors.SnapshotMismatch, match="is damaged"):
        received(damaged)
    with pytest.raises(errors.SnapshotMismatch, match="is damaged"):
        received(packed[:-1])
    for junk in (b"", b"\x93\x01", b"x" * 9000):
        with pytest.raises(errors.UnknownSchema):
            received(junk)


def test_a_report_changes_nothing_here(kept):
    seen = kept.seen()
    kept.say("compute_agent/host-1", report("host-1"))
    assert kept.seen().newest == seen.newest is None


def test_the_last_record_of_the_state_must_be_there(kept):
    """A checkpoint is made while the log goes on: its parts may be there, and records before them gone."""
    state = kept.folded()
    kept.hosts("host-6", "host-7", "host-8")
    checkpoint = kept.keep(state=state)
    kept.log.truncate_before(checkpoint.position)
    assert found_in(kept).checkpoint == checkpoint
    kept.log.truncate_before(checkpoint.position + 1)
    assert found_in(kept).checkpoint is None


def test_a_damaged_one_that_is_named_is_skipped(kept, caplog):
    """A reader that meets only its name reads the parts, and compares the checksum."""
    good = kept.keep()
    damaged_part(kept)
    last = kept.log.bounds().last
    kept.hosts(*(f"host-{number}" for number in range(10, 20 + checkpoints.FIRST_LOOK)))
    parts = [record for record in kept.records() if good.last < record.position <= last]
    found = next(uuid for uuid in _uuids(parts) if uuid != good.uuid)
    kept.say("conductor/c", events.CheckpointNamed(found, good.last, good.last + 1, last))
    assert found_in(kept).checkpoint == good
    assert "is damaged" in caplog.text or "is the state of" in caplog.text


def _uuids(records):
    from rpc_api import codec

    return [event.data.checkpoint_uuid for record in records for event in codec.decode_record(record.payload).events]
