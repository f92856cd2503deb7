"""Moments and ranges as operators name them, and what they are in logs."""

from datetime import UTC, datetime

import pytest

from nova_sched.replay.logs.moments import Moment, parse_moment, parse_range, parse_time, position_at, resolve, spans
from rpc_api import codec, errors, events
from rpc_api.log import open_log
from tests.builders import Voice

NOW = int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp()) * 10**9
SECOND = 10**9


def at(*parts):
    return int(datetime(2026, 11, *parts, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    "text, at_ns",
    [
        ("now", NOW),
        ("-15m", NOW - 900 * SECOND),
        ("-1h30m", NOW - 5400 * SECOND),
        ("-2d", NOW - 172800 * SECOND),
        ("-0.5s", NOW - SECOND // 2),
        ("@-2h", NOW - 7200 * SECOND),
        ("yesterday", at(20)),
        ("today", at(21)),
        ("2026-11-21", at(21)),
        ("2026-11-21T12:03", at(21, 12, 3)),
        ("2026-11-21 12:03:05", at(21, 12, 3, 5)),
        ("2026-11-21T12:03:05Z", at(21, 12, 3, 5)),
        ("2026-11-21T13:03:05+01:00", at(21, 12, 3, 5)),
        ("2026-11-21T12:03:05.123Z", at(21, 12, 3, 5) + 123 * 10**6),
        ("12:03", at(21, 12, 3)),
        ("9:03:05", at(21, 9, 3, 5)),
        ("@1763726585", 1763726585 * SECOND),
        ("@1763726585.25", 1763726585 * SECOND + SECOND // 4),
    ],
)
def test_a_time_as_it_may_be_written(text, at_ns):
    assert parse_time(text, NOW) == at_ns
    assert parse_moment(text, NOW).at_ns == at_ns


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "2026-13-01", "-15", "-15x", "1200", "@x", "2026-11-21T", "--", "12:3"]
)
def test_what_is_no_time_is_said_to_be_none(text):
    with pytest.raises(errors.UsageError, match="is not a time, wanted one like"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    "text, cell, position",
    [
        ("0", None, 0),
        ("1200", None, 1200),
        ("first", None, "first"),
        ("last", None, "last"),
        ("cell1:7", "cell1", 7),
        ("cell1:last", "cell1", "last"),
    ],
)
def test_a_position_as_it_may_be_written(text, cell, position):
    assert parse_moment(text, NOW) == Moment(text, cell, position)


@pytest.mark.parametrize("text", ["", "abc", "cell1:", ":5", "1.5", "cell1:x", "1e3", "10000000000000000000"])
def test_what_is_no_moment_is_said_to_be_none(text):
    with pytest.raises(errors.UsageError, match="is not a moment, wanted a position"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text, first, last",
    [
        ("100:200", (None, 100), (None, 200)),
        ("100:", (None, 100), None),
        (":200", None, (None, 200)),
        ("7", (None, 7), (None, 7)),
        ("cell1:100:200", ("cell1", 100), ("cell1", 200)),
        ("cell1:5:", ("cell1", 5), None),
        ("first:10", (None, "first"), (None, 10)),
    ],
)
def test_a_range_of_positions(text, first, last):
    def plain(moment):
        return moment and (moment.cell, moment.position)

    assert tuple(map(plain, parse_range(text, NOW))) == (first, last)


@pytest.mark.parametrize(
    "text, first_ns, last_ns",
    [
        ("@-2h:-1h", NOW - 7200 * SECOND, NOW - 3600 * SECOND),
        ("@-2h:", NOW - 7200 * SECOND, None),
        ("@-2h", NOW - 7200 * SECOND, None),
        ("@:-1h", None, NOW - 3600 * SECOND),
        ("@12:00:12:15", at(21, 12), at(21, 12, 15)),
        ("@12:00..12:15", at(21, 12), at(21, 12, 15)),
        ("@1763726585:1763726590", 1763726585 * SECOND, 1763726590 * SECOND),
        ("@2026-11-21T12:00:00Z..now", at(21, 12), NOW),
    ],
)
def test_a_range_of_times(text, first_ns, last_ns):
    def plain(moment):
        return moment and moment.at_ns

    assert tuple(map(plain, parse_range(text, NOW))) == (first_ns, last_ns)


@pytest.mark.parametrize("text", ["", ":", "@", "a:b", "5:x", "@soon:now", "1:2:3"])
def test_what_is_no_range_is_said_to_be_none(text):
    with pytest.raises(errors.UsageError, match="is not a range, wanted positions such as 100:200"):
        parse_range(text, NOW)


class Logs:
    """As a source: memory logs whose records are ``steps`` seconds apart."""

    def __init__(self, name, **steps):
        self.logs = {}
        for cell, seconds in steps.items():
            log = self.logs[cell] = open_log(f"memory://{name}-{cell}")
            voice = Voice("operator/me")
            for second in seconds:
                event = voice.say(events.AccountsRequired(False))._replace(at_ns=second * SECOND)
                log.append([codec.encode_record("epoch", [event]) if second else b"garbage"])

    def one(self, cell, what):
        cell = cell or next(iter(self.logs))
        return cell, self.logs[cell]


def test_a_time_is_the_last_record_of_that_time_or_before():
    log = Logs("times", cell1=[10, 20, 20, 30]).logs["cell1"]
    assert [position_at(log, second * SECOND) for second in (9, 10, 15, 20, 25, 30, 99)] == [-1, 0, 0, 2, 2, 3, 3]


def test_records_without_a_time_belong_to_what_follows_them():
    log = Logs("garbage", cell1=[10, 0, 0, 30, 0]).logs["cell1"]
    assert [position_at(log, second * SECOND) for second in (9, 10, 29, 30)] == [-1, 0, 0, 3]


def test_a_position_of_one_log_is_a_time_in_the_others():
    source = Logs("both", cell1=[10, 20, 30], cell2=[5, 15, 25, 35])
    assert resolve(parse_moment("cell1:1", NOW), source) == {"cell1": 1, "cell2": 1}
    assert resolve(parse_moment("last", NOW), source) == {"cell1": 2, "cell2": 3}
    assert resolve(parse_moment("@20", NOW), source) == {"cell1": 1, "cell2": 1}
    with pytest.raises(errors.PositionAhead, match="the log of cell1 ends at position 2, got 3"):
        resolve(parse_moment("cell1:3", NOW), source)


def test_a_time_that_is_not_yet_is_no_moment_of_a_log():
    source = Logs("future", cell1=[10, 20])
    for text in ("@40", "-0s", "now"):
        assert resolve(parse_moment(text, 30 * SECOND), source) == {"cell1": 1}
    # Clocks differ, and the log of a simulation may be ahead of all of them.
    assert resolve(parse_moment("@330", 30 * SECOND), source) == {"cell1": 1}
    assert resolve(parse_moment("@19", -900 * SECOND), source) == {"cell1": 0}
    with pytest.raises(errors.UsageError, match="@331 is 1970-01-01T00:05:31.000Z, which is not yet"):
        resolve(parse_moment("@331", 30 * SECOND), source)
    first, last = parse_range("@@331..@999", 30 * SECOND)
    with pytest.raises(errors.UsageError, match="which is not yet"):
        spans((first, last), source)
    assert spans((None, last), source)[0]["cell1"] == (0, 1)
    assert resolve(last, source, is_end=True) == {"cell1": 1}
    with pytest.raises(errors.UsageError, match="is not a time from 1970 to 2262"):
        parse_moment("@999999999999", NOW)


@pytest.mark.parametrize("text", ["200:100", "cell1:9:3", "@-1h:-2h", "@12:15..12:00"])
def test_a_range_does_not_end_before_it_begins(text):
    with pytest.raises(errors.UsageError, match=f"the range {text} ends before it begins"):
        parse_range(text, NOW)
