"""Exported files: the reading half of the log's contract, holes, damage of every kind, and what comes back
out of them."""

import itertools
import random
import struct
import tracemalloc
import zlib
from types import SimpleNamespace

import msgpack
import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.replay.archive import frames as archive_file
from nova_sched.replay.archive.export import export, import_log
from nova_sched.replay.archive.frames import Damaged, Header, Range, Writer
from nova_sched.replay.archive.log import is_archive, open_archive
from nova_sched.replay.logs.moments import Span
from nova_sched.replay.logs.reading import decoded_records, readable_records, records_between
from nova_sched.replay.logs.source import Source
from nova_sched.replay.state.history import History
from rpc_api import errors, events
from rpc_api.log import Bounds, EventLog, Record, open_log
from tests.builders import EPOCH, Voice, claim, record_of, report, uuid_of
from tests.rpc_api.log.contract import EventLogContract

_names = itertools.count()


def written(path, records, cell="cell1", last=None):
    """A file of (position, payload[, account]) records of one cell; returns its path."""
    with open(path, "wb") as file:
        ends = (records[0][0], records[-1][0]) if records else (0, -1)
        writer = Writer(
            file, Header(False, 1, "test", (Range(cell, EPOCH, ends[0], ends[1] if last is None else last),))
        )
        for record in records:
            writer.add(cell, Record(*record), 1, 0)
        writer.end()
    return path


def only(path):
    ((_, log),) = open_archive(path)
    return log


class _Archived(EventLog):
    """A log whose appends make a new file each time, for the tests of reading."""

    def __init__(self, path):
        self.path = path
        self.payloads = []
        self.url = f"{path}"
        self._log = only(written(path, []))

    def append(self, payloads):
        self.payloads += payloads
        self._log.close()
        self._log = only(written(self.path, list(enumerate(self.payloads))))

    def bounds(self):
        return self._log.bounds()

    def fence(self):
        return self._log.fence()

    def read_from(self, position):
        return self._log.read_from(position)

    def close(self):
        self._log.close()

    def __repr__(self):
        return repr(self._log)


class TestReading(EventLogContract):
    """What the contract promises to readers. Files are not appended to, so what follows appends is left out."""

    test_a_second_handle_is_the_same_log = test_opening_again_keeps_what_is_there = None
    test_a_waiting_read_is_woken_by_an_append = test_two_readers_do_not_disturb_each_other = None
    test_writers_and_readers_in_threads_agree_on_one_order = test_a_missing_log_is_not_made_without_create = None
    test_a_closed_log_says_so = test_a_closed_reader_says_so_and_the_log_goes_on = test_a_close_ends_a_waiting_read = (
        None
    )
    test_a_wrong_payload_keeps_its_whole_batch_out = None
    test_a_fence_is_at_or_after_what_was_appended_and_within_the_log = None
    test_a_fence_covers_every_acknowledged_append_of_other_threads = None

    @pytest.fixture
    def url(self, tmp_path):
        return str(tmp_path / "file")

    @pytest.fixture
    def log(self, url):
        with _Archived(url) as log:
            yield log


def test_a_file_cannot_be_appended_to(tmp_path):
    log = only(written(tmp_path / "file", [(0, b"a")]))
    with pytest.raises(errors.LogForbidden, match="an exported file is read-only"):
        log.append([b"b"])
    reader = log.read_from(0)
    log.close()
    log.close()
    for use in (log.bounds, reader.read, lambda: log.read_from(0)):
        with pytest.raises(errors.LogClosed):
            use()


HOLES = [(7, b"seven", "scheduler.one"), (8, b"eight", None), (20, b"twenty", None), (21, b"more", None)]


def test_holes_and_accounts_are_kept(tmp_path):
    log = only(written(tmp_path / "file", HOLES))
    assert log.bounds() == Bounds(7, 21)
    assert [tuple(one) for one in records_between(log)] == HOLES
    assert [one.position for one in records_between(log, 9, 20)] == [20]
    with pytest.raises(errors.PositionTruncated):
        log.read_from(6)
    with pytest.raises(errors.PositionAhead):
        log.read_from(23)


@pytest.mark.parametrize("first", range(7, 23))
def test_holes_come_back_into_sqlite(tmp_path, first):
    log = only(written(tmp_path / "file", HOLES))
    url = f"sqlite:///{tmp_path}/again.db"
    with open_log(url) as target:
        assert import_log(log, target) == 4
    with open_log(url, create=False) as target:
        assert target.bounds() == Bounds(7, 21)
        with target.read_from(first) as reader:
            found = reader.read()
        assert [one[:2] for one in found] == [hole[:2] for hole in HOLES if hole[0] >= first]
        target.append([b"next"])
        assert target.bounds() == Bounds(7, 22)
        with pytest.raises(errors.UsageError, match="has records already"):
            import_log(log, target)


def test_records_that_went_missing_in_sqlite_are_still_a_gap(tmp_path):
    log = only(written(tmp_path / "file", HOLES))
    with open_log(f"sqlite:///{tmp_path}/again.db") as target:
        import_log(log, target)
        target._connection.execute("DELETE FROM records WHERE position IN (8, 20)")
        for position in (8, 9):
            with target.read_from(position) as reader, pytest.raises(errors.LogGap, match="records were removed"):
                reader.read()


def test_a_log_that_gives_its_own_positions_takes_no_holes(tmp_path):
    with open_log(f"memory://import-{next(_names)}") as target:
        with pytest.raises(errors.UsageError, match="import it into sqlite:///FILE"):
            import_log(only(written(tmp_path / "file", HOLES)), target)
        assert target.bounds().count == 0
        assert import_log(only(written(tmp_path / "whole", [(0, b"a"), (1, b"b")])), target) == 2
        target.delete()


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path, monkeypatch):
    """(Path, records) of a file with twelve chunks or more."""
    monkeypatch.setattr(archive_file, "CHUNK_BYTES", 1000)
    rng = random.Random(3)
    records = [(number, rng.randbytes(rng.randrange(50, 400)), None) for number in range(60)]
    return written(tmp_path / "file", records), records


def readable(log):
    gaps = []
    found = [tuple(record) for record in readable_records(log, None, log.bounds().last, gaps.append)]
    return found, gaps


def test_a_tampered_chunk(many):
    path, records = many
    frames = [frame for frame in only(path)._shared.reader.frames if frame.kind == b"C"]
    broken = frames[4]
    data = bytearray(path.read_bytes())
    data[broken.offset + broken.length // 2] ^= 1
    path.write_bytes(data)
    log = only(path)
    found, (gap,) = readable(log)
    assert found == [record for record in records if not broken.head.first <= record[0] <= broken.head.last]
    assert f"the records {broken.head.first} to {broken.head.last} of cell1" in str(gap) and gap.exit_code == 4
    with pytest.raises(Damaged):
        list(records_between(log))
    assert log.faults == []
    assert [fault is None for _, fault in log.verify()].count(False) == 1


def test_a_file_that_was_cut_off_anywhere(many):
    path, records = many
    data = path.read_bytes()
    for end in [*range(10, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:end])
        try:
            log = only(path)
        except (errors.UsageError, Damaged):
            assert end < 300
            continue
        found, gaps = readable(log)
        assert found == records[: len(found)] and not gaps
        assert "has no index, or a damaged one" in str(log.faults[0])
    assert len(found) == 60


def test_any_byte_that_changes_is_found_out(many):
    """Wherever a byte was changed, nothing that is read differs from what was written, and the damage is reported."""
    path, records = many
    data, rng = path.read_bytes(), random.Random(11)
    for place in [*range(30), *(rng.randrange(len(data)) for _ in range(150))]:
        path.write_bytes(data[:place] + bytes([data[place] ^ rng.randrange(1, 256)]) + data[place + 1 :])
        try:
            log = only(path)
        except errors.NovaSchedError:
            continue
        found, gaps = readable(log)
        assert set(found) <= set(records)
        assert len(found) == 60 or log.faults or gaps
        missing = {record[0] for record in records} - {one[0] for one in found}
        assert not missing or gaps or log.faults
        log.close()


def test_a_chunk_that_was_cut_out(many):
    """Its place and the index too: what is missing is known by its neighbours."""
    path, records = many
    frames = [frame for frame in only(path)._shared.reader.frames if frame.kind == b"C"]
    gone, before = frames[5], frames[4]
    data = path.read_bytes()
    path.write_bytes(data[: before.offset + before.length] + data[gone.offset + gone.length : -100])
    found, (gap,) = readable(only(path))
    assert found == [record for record in records if not gone.head.first <= record[0] <= gone.head.last]
    assert f"the records {gone.head.first} to {gone.head.last} of cell1" in str(gap) and "missing" in str(gap)


def test_a_later_format(tmp_path):
    path = written(tmp_path / "file", HOLES)
    data = path.read_bytes()
    path.write_bytes(data[:8] + struct.pack(">H", 2) + data[10:])
    assert is_archive(path)
    with pytest.raises(errors.UnknownSchema, match="format 2, this process knows 1"):
        open_archive(path)


def test_random_bytes_behind_the_magic(tmp_path):
    rng, path = random.Random(5), tmp_path / "file"
    for size in (0, 1, 30, 5000):
        path.write_bytes(archive_file.MAGIC + struct.pack(">H", 1) + rng.randbytes(size))
        with pytest.raises(Damaged, match="no readable record"):
            open_archive(path)


# --- forged files, whose checksums are right ------------------------------------------------------------------------


def with_index(path, packed, cut=0):
    """A file of ten records with another index (its bytes before compression); ``cut``: how many megabytes
    of zeros follow."""
    with open(path, "wb") as file:
        writer = Writer(file, Header(False, 1, "test", (Range("cell1", EPOCH, 0, 9),)))
        for number in range(10):
            writer.add("cell1", Record(number, b"x", None), 1, 0)
        writer._flush("cell1")
        place, packer = writer._offset, zlib.compressobj()
        body = [packer.compress(packed), *(packer.compress(bytes(1 << 20)) for _ in range(cut)), packer.flush()]
        writer._frame(archive_file.INDEX, (), b"".join(body))
        writer._put(archive_file._END.pack(place, archive_file._sum(struct.pack(">Q", place)), archive_file._END_MAGIC))
    return path


CHUNK_OF_TEN = ("cell1", 0, 9, 10, 10, 0, 0, -1, b"x" * 16)


@pytest.mark.parametrize(
    "frame",
    [
        (b"C", CHUNK_OF_TEN, 2**63, 100),
        (b"C", CHUNK_OF_TEN, 0, 1 << 30),
        (b"C", ("cell1", 0, 2**63, *CHUNK_OF_TEN[3:]), 0, 1),
        (b"C", ("cell1", 9, 0, *CHUNK_OF_TEN[3:]), 0, 1),
        (b"S", ("cell1", -1, b"x" * 16), 0, 1),
    ],
)
def test_an_index_that_lies_is_not_followed(tmp_path, frame):
    log = only(with_index(tmp_path / "file", msgpack.packb([frame])))
    assert len(readable(log)[0]) == 10 and "has no index, or a damaged one" in str(log.faults[0])


def test_an_index_is_not_unpacked_beyond_the_size_of_its_file(tmp_path):
    path = with_index(tmp_path / "file", b"\xdd\x10\x00\x00\x00", cut=256)
    tracemalloc.start()
    try:
        log = only(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert len(readable(log)[0]) == 10 and "has no index, or a damaged one" in str(log.faults[0])


@pytest.mark.parametrize("first", [2**63, 2**64 - 10, -5])
def test_positions_that_no_log_has_are_no_records(tmp_path, first):
    with pytest.raises(Damaged, match="no readable record"):
        open_archive(written(tmp_path / "file", [(first + number, b"x") for number in range(10)]))


def test_a_chunk_over_another_is_not_passed_over_in_silence(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        writer = Writer(file, Header(False, 1, "test", (Range("cell1", EPOCH, 0, 19),)))
        for number in (*range(10), None, *range(5, 20)):
            writer._flush("cell1") if number is None else writer.add("cell1", Record(number, b"x", None), 1, 0)
        writer.end()
    found, (gap,) = readable(only(tmp_path / "file"))
    assert len(found) == 10 and "the records 10 to 19 of cell1" in str(gap)


# --- states ---------------------------------------------------------------------------------------------------------


def test_states_are_kept_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr("nova_sched.replay.archive.export.SNAPSHOT_EVERY", 50)
    voice, agent = Voice("scheduler/one"), Voice("compute_agent/a")
    with open_log(f"memory://states-{next(_names)}") as log:
        log.append(
            [
                record_of(Voice("conductor/c").say(events.LogOpened("cell1", EPOCH))),
                record_of(agent.say(report("a"))),
                *(record_of(voice.say(claim(f"vm-{number}", "a"))) for number in range(300)),
            ]
        )
        source = SimpleNamespace(logs={"cell1": log})
        path = tmp_path / "file"
        for redact, first in itertools.product((False, True), (0, 120)):
            with open(path, "wb") as file:
                export(source, {"cell1": Span(first, log.bounds().last)}, file, 1, redact)
            archive = only(path)
            kept = [frame.head.position for frame in archive._shared.reader.frames if frame.kind == b"S"]
            assert kept == ([49, 99, 149, 199, 249, 299] if first == 0 else [119, 169, 219, 269])
            folded = []
            history = History({"cell1": archive}, progress=lambda cell, done, total: folded.append(total))
            world = history.world_at({"cell1": 290})
            assert folded[-1] <= 50 and world.projections["cell1"].position == 290
            whole = Projection("cell1")
            whole.fold(decoded_records(log, last=290))
            assert (state_digest(whole) == state_digest(world.projections["cell1"])) is not redact
            archive.close()
        log.delete()


def test_several_cells_and_an_empty_one(tmp_path):
    logs = {cell: open_log(f"memory://{cell}-{next(_names)}") for cell in ("cell1", "cell2", "cell3")}
    for cell in ("cell1", "cell2"):
        logs[cell].append(
            [record_of(Voice("conductor/c").say(events.LogOpened(cell, uuid_of(cell))), epoch=uuid_of(cell))]
        )
    with open(tmp_path / "file", "wb") as file:
        export(SimpleNamespace(logs=logs), {cell: Span(*log.bounds()) for cell, log in logs.items()}, file, 1)
    with Source([str(tmp_path / "file")]) as source:
        assert {cell: log.bounds().count for cell, log in source.logs.items()} == {"cell1": 1, "cell2": 1, "cell3": 0}
        assert source.logs["cell1"].redacted and source.faults == []
    for log in logs.values():
        log.delete()
