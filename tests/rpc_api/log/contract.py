"""What every event log promises: one class of tests, three lines for each back-end.

A back-end's test class inherits :class:`EventLogContract` and has a fixture
``url`` that names a log of its own that is not there yet. One that can drop
old records sets ``can_truncate``: its log then has ``truncate_before(position)``.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rpc_api import errors
from rpc_api.log import MAX_RECORD_BYTES, Bounds, open_log
from rpc_api.log.port import FENCE

#: Far more than anything here takes: a test that waits so long has found an error.
PATIENCE_SECONDS = 60


def payloads(count: int, start: int = 0) -> list[bytes]:
    return [f"record {number}".encode() for number in range(start, start + count)]


def read_all(reader, count: int, max_records: int = 1000, max_bytes: int = 32 << 20) -> list:
    """Read until ``count`` records came, or nothing does any more."""
    records = []
    while len(records) < count:
        more = reader.read(max_records, PATIENCE_SECONDS, max_bytes)
        assert more, f"got {len(records)} of {count} records"
        records += more
    return records


def bare(records) -> list:
    """Records as (position, payload): without the account, which not every back-end knows."""
    return [(record.position, record.payload) for record in records]


def assert_hidden(exc: BaseException, *secrets: str) -> None:
    """No secret in the error's text; in its causes neither, since they are logged too."""
    while exc is not None:
        for secret in secrets:
            assert secret not in f"{exc} {exc!r}"
        exc = exc.__cause__


class EventLogContract:
    can_truncate = False

    @pytest.fixture
    def log(self, url):
        with open_log(url) as log:
            yield log

    # Appending and bounds

    def test_a_new_log_is_empty(self, log):
        assert log.bounds() == Bounds(0, -1)
        assert log.bounds().count == 0

    def test_bounds_follow_each_append(self, log):
        for count in (1, 2, 300):
            before = log.bounds()
            log.append(payloads(count))
            assert log.bounds() == Bounds(0, before.last + count)

    def test_records_have_consecutive_positions_in_the_order_of_appends(self, log):
        log.append(payloads(3))
        log.append(payloads(1, start=3))
        log.append(payloads(2500, start=4))
        with log.read_from(0) as reader:
            records = read_all(reader, 2504)
        assert bare(records) == list(enumerate(payloads(2504)))

    def test_payloads_come_back_byte_for_byte(self, log):
        sent = [bytes(range(256)), b"\0", b"\xff" * 70_000, b"text", b"x" * MAX_RECORD_BYTES]
        log.append(sent)
        with log.read_from(0) as reader:
            assert [record.payload for record in read_all(reader, len(sent))] == sent

    def test_the_same_bytes_may_be_appended_again(self, log):
        log.append([b"same", b"same"])
        log.append([b"same"])
        with log.read_from(0) as reader:
            assert bare(read_all(reader, 3)) == [(0, b"same"), (1, b"same"), (2, b"same")]

    def test_appending_nothing_does_nothing(self, log):
        log.append([])
        assert log.bounds() == Bounds(0, -1)

    @pytest.mark.parametrize(
        "wrong, error",
        [(b"x" * (MAX_RECORD_BYTES + 1), errors.TooLarge), (b"", ValueError), ("text", TypeError), (None, TypeError)],
        ids=["too large", "empty", "text", "none"],
    )
    def test_a_wrong_payload_keeps_its_whole_batch_out(self, log, wrong, error):
        with pytest.raises(error):
            log.append([b"right", wrong])
        assert log.bounds() == Bounds(0, -1)

    def test_one_bytes_object_is_no_batch(self, log):
        with pytest.raises(TypeError):
            log.append(b"not a list")

    def test_a_second_handle_is_the_same_log(self, log, url):
        log.append([b"by the first"])
        with open_log(url, create=False) as other:
            other.append([b"by the second"])
            assert other.bounds() == Bounds(0, 1)
        with log.read_from(0) as reader:
            assert bare(read_all(reader, 2)) == [(0, b"by the first"), (1, b"by the second")]

    def test_opening_again_keeps_what_is_there(self, url):
        with open_log(url) as log:
            log.append(payloads(5))
        with open_log(url) as log:
            assert log.bounds() == Bounds(0, 4)

    # Reading

    def test_read_from_every_position(self, log):
        log.append(payloads(4))
        log.append(payloads(6, start=4))
        for position in range(11):
            with log.read_from(position) as reader:
                assert reader.position == position
                expected = list(enumerate(payloads(10)))[position:]
                assert bare(read_all(reader, len(expected)) if expected else reader.read()) == expected
                assert reader.position == 10

    def test_max_records_bounds_each_read(self, log):
        log.append(payloads(7))
        with log.read_from(0) as reader:
            assert len(reader.read(1, timeout=PATIENCE_SECONDS)) == 1
            sizes = []
            while reader.position < 7:
                sizes.append(len(reader.read(3, timeout=PATIENCE_SECONDS)))
        assert sum(sizes) == 6 and max(sizes) <= 3 and min(sizes) > 0

    @pytest.mark.parametrize(
        "max_bytes, sizes", [(1, [1, 1, 1, 1]), (3, [3, 1]), (4, [4]), (5, [4]), (10**6, [4])], ids=str
    )
    def test_max_bytes_bounds_each_read(self, log, max_bytes, sizes):
        """A read returns no record after those that have so many bytes; it always returns one."""
        log.append([b"x"] * 4)
        with log.read_from(0) as reader:
            assert read_all(reader, 4, max_bytes=10**6)
        with log.read_from(0) as reader:
            found = []
            while reader.position < 4:
                found.append(len(reader.read(1000, PATIENCE_SECONDS, max_bytes)))
        # A stream may bring its records one after the other.
        assert sum(found) == 4 and max(found) <= max(sizes)

    def test_a_record_larger_than_max_bytes_comes_alone(self, log):
        log.append([b"x" * 1000] * 3)
        with log.read_from(0) as reader:
            assert [len(reader.read(1000, PATIENCE_SECONDS, 999)) for _ in range(3)] == [1, 1, 1]

    @pytest.mark.parametrize(
        "arguments", [(0, 0.0), (-1, 0.0), (1, -1.0), (1, float("nan")), (1, 0.0, 0), (1, 0.0, -1)]
    )
    def test_wrong_arguments_of_read(self, log, arguments):
        with log.read_from(0) as reader, pytest.raises(ValueError):
            reader.read(*arguments)

    def test_nothing_new_gives_an_empty_list(self, log):
        log.append(payloads(1))
        with log.read_from(0) as reader:
            assert read_all(reader, 1)
            assert reader.read() == []
            assert reader.read(timeout=0.05) == []
            assert reader.position == 1

    def test_a_waiting_read_is_woken_by_an_append(self, log):
        with log.read_from(0) as reader, ThreadPoolExecutor(1) as pool:
            for number in range(5):
                waiting = pool.submit(reader.read, 10, 2 * PATIENCE_SECONDS)
                log.append([b"%d" % number])
                assert bare(waiting.result(PATIENCE_SECONDS / 2)) == [(number, b"%d" % number)]

    def test_two_readers_do_not_disturb_each_other(self, log):
        log.append(payloads(20))
        with log.read_from(0) as one, log.read_from(15) as other:
            assert bare(read_all(other, 5)) == list(enumerate(payloads(20)))[15:]
            log.append(payloads(1, start=20))
            assert bare(read_all(one, 21)) == list(enumerate(payloads(21)))
            assert bare(read_all(other, 1)) == [(20, b"record 20")]

    def test_writers_and_readers_in_threads_agree_on_one_order(self, log):
        writers, readers, batches, batch = 3, 3, 10, 5
        total = writers * batches * batch

        def write(writer):
            for number in range(batches):
                log.append([b"%d %d" % (writer, number * batch + index) for index in range(batch)])

        def read(_):
            with log.read_from(0) as reader:
                return read_all(reader, total, max_records=7)

        with ThreadPoolExecutor(writers + readers) as pool:
            reading = [pool.submit(read, number) for number in range(readers)]
            list(pool.map(write, range(writers)))
            seen = [future.result(PATIENCE_SECONDS * 3) for future in reading]
        assert seen[0] == seen[1] == seen[2]
        assert [record.position for record in seen[0]] == list(range(total))
        for writer in range(writers):
            own = [record.payload for record in seen[0] if record.payload.startswith(b"%d " % writer)]
            assert own == [b"%d %d" % (writer, number) for number in range(batches * batch)]

    # Fences

    def test_the_fence_of_an_empty_log_appends_nothing(self, log):
        assert log.fence() == -1
        assert log.bounds() == Bounds(0, -1)

    def test_a_fence_is_at_or_after_what_was_appended_and_within_the_log(self, log, url):
        log.append(payloads(3))
        assert 2 <= log.fence() <= log.bounds().last
        with open_log(url, create=False) as other:
            other.append(payloads(2, start=3))
            appended = other.bounds().last
            assert appended <= log.fence() <= log.bounds().last
            assert appended <= other.fence()

    def test_fences_are_no_records_of_ours(self, log):
        """Readers see at most records without events in their place, and all others at rising positions."""
        for number in range(3):
            log.append([b"record %d" % number])
            log.fence()
        with log.read_from(0) as reader:
            records = read_all(reader, log.bounds().count)
        assert [record.payload for record in records if not record.payload.startswith(FENCE)] == payloads(3)
        fences = [record.payload for record in records if record.payload.startswith(FENCE)]
        assert len(set(fences)) == len(fences), "equal ones would prove nothing of the log that has them"

    def test_a_fence_covers_every_acknowledged_append_of_other_threads(self, url):
        """Several callers at once, while others append."""
        with open_log(url) as log, open_log(url) as other:
            log.append([b"first"])
            stop, appended = threading.Event(), []

            def append():
                number = 0
                while not stop.is_set():
                    payload = b"appended %d" % number
                    other.append([payload])
                    appended.append(payload)
                    number += 1

            def fence(_):
                known = list(appended)
                return known, log.fence()

            with ThreadPoolExecutor(5) as pool:
                appending = pool.submit(append)
                found = list(pool.map(fence, range(40)))
                stop.set()
                appending.result(PATIENCE_SECONDS)
            with log.read_from(0) as reader:
                place = {record.payload: record.position for record in read_all(reader, log.bounds().count)}
        for known, position in found:
            assert all(place[payload] <= position for payload in known)

    # Positions that are not there

    def test_a_position_past_the_end_is_refused(self, log):
        log.append(payloads(3))
        for position in (4, 5, 1000):
            with pytest.raises(errors.PositionAhead, match=f"position {position}: its last record is 2"):
                log.read_from(position)

    def test_a_position_before_the_first_is_refused(self, log):
        with pytest.raises(errors.PositionTruncated, match="position -1: its first record is 0"):
            log.read_from(-1)

    def test_truncation_moves_the_first_position(self, log):
        self._needs_truncation()
        log.append(payloads(10))
        log.truncate_before(4)
        assert log.bounds() == Bounds(4, 9)
        with log.read_from(4) as reader:
            assert bare(read_all(reader, 6)) == list(enumerate(payloads(10)))[4:]
        with pytest.raises(errors.PositionTruncated, match="position 3: its first record is 4"):
            log.read_from(3)

    def test_the_last_record_is_never_truncated(self, log, url):
        self._needs_truncation()
        log.truncate_before(100)
        log.append(payloads(3))
        log.truncate_before(100)
        assert log.bounds() == Bounds(2, 2)
        with open_log(url) as again:
            assert again.bounds() == Bounds(2, 2)
            with again.read_from(2) as reader:
                log.append([b"next"])
                assert bare(read_all(reader, 2)) == [(2, payloads(3)[2]), (3, b"next")]

    def test_truncation_under_a_reader_is_a_gap(self, log):
        self._needs_truncation()
        log.append(payloads(10))
        with log.read_from(0) as reader:
            assert bare(reader.read(2)) == list(enumerate(payloads(2)))
            log.truncate_before(5)
            for _ in range(2):
                with pytest.raises(errors.LogGap):
                    reader.read()
                assert reader.position == 2

    def _needs_truncation(self):
        if not self.can_truncate:
            pytest.skip("this back-end truncates by a policy of its server")

    # Opening and closing

    def test_a_missing_log_is_not_made_without_create(self, url):
        for _ in range(2):
            with pytest.raises(errors.LogUnavailable, match="cannot open the log"):
                open_log(url, create=False)

    def test_a_closed_log_says_so(self, url):
        log = open_log(url)
        reader = log.read_from(0)
        log.close()
        log.close()
        for use in (lambda: log.append([b"x"]), log.bounds, log.fence, lambda: log.read_from(0), reader.read):
            with pytest.raises(errors.LogClosed, match="was closed by this process"):
                use()
        reader.close()

    def test_a_closed_reader_says_so_and_the_log_goes_on(self, log):
        reader = log.read_from(0)
        reader.close()
        reader.close()
        with pytest.raises(errors.LogClosed):
            reader.read()
        log.append([b"x"])
        assert log.bounds() == Bounds(0, 0)

    @pytest.mark.parametrize("whose", ["the log's", "the reader's"])
    def test_a_close_ends_a_waiting_read(self, url, whose):
        log = open_log(url)
        reader = log.read_from(0)
        ended = []

        def wait():
            try:
                ended.append(reader.read(timeout=3 * PATIENCE_SECONDS))
            except errors.LogClosed as exc:
                ended.append(exc)

        thread = threading.Thread(target=wait)
        thread.start()
        (log if whose == "the log's" else reader).close()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        assert ended == [[]] or isinstance(ended[0], errors.LogClosed)
        log.close()

    def test_url_and_repr_name_the_log(self, log):
        assert log.url.split("?")[0] in repr(log)
