"""Moments and ranges: the names of times and positions, and their positions in each log.

A moment is a position of one log (``1200``, ``cell1:1200``, ``first``, ``last``) or a time (``2026-11-21T12:03:05Z``,
``12:03:05``, ``-15m``, ``yesterday``, ``now``, ``@1763726585``). Times without a zone are UTC. The time of a record
is that of its first readable event, by its producer's clock. Clocks of producers may differ a little, so a position
that is found by time is only that exact.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rpc_api import codec, errors

SECOND_NS = 10**9
#: The greatest difference between clocks of producers. A range of times is read from this much before to this much
#: after.
SLACK_NS = 300 * SECOND_NS
READ_TIMEOUT = 10.0

#: The first time in ns that does not fit into 64 bits.
END_NS = 2**63
_UNITS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"-((?:\d+(?:\.\d+)?(?:ms|[smhdw]))+)")
_AGO_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_POSITION = re.compile(r"(?:([^:@/\s]+):)?(\d{1,18}|first|last)")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?")
WANTED = (
    "wanted a position (1200, cell1:1200, first, last) or a time (2026-11-21T12:03:05Z, 12:03, "
    "-15m, yesterday, now, @1763726585)"
)


class Moment(NamedTuple):
    """A moment: a ``position`` (int, "first" or "last") of one ``cell`` (None: the only one), or a time ``at_ns``;
    ``is_future`` if that time is not yet."""

    text: str
    cell: str | None = None
    position: int | str | None = None
    at_ns: int | None = None
    is_future: bool = False


def moment_at(text: str, at_ns: int, now_ns: int) -> Moment:
    """Return the moment of a time; UsageError if it is not from 1970 to 2262. A difference between clocks makes no
    future."""
    if not 0 <= at_ns < END_NS:
        raise errors.UsageError(f"the moment {text!r} is not a time from 1970 to 2262; name another one")
    return Moment(text, at_ns=at_ns, is_future=at_ns > now_ns + SLACK_NS)


def parse_moment(text: str, now_ns: int) -> Moment:
    """Parse a moment; UsageError for any other text."""
    at_ns = _time_of(text, now_ns)
    if at_ns is not None:
        return moment_at(text, at_ns, now_ns)
    found = _POSITION.fullmatch(text)
    if not found:
        raise errors.UsageError(f"{text!r} is not a moment, {WANTED}")
    cell, position = found.groups()
    return Moment(text, cell, int(position) if position.isdigit() else position)


def parse_time(text: str, now_ns: int) -> int:
    """Parse a time, in nanoseconds since 1970; UsageError for any other text."""
    at_ns = _time_of(text, now_ns)
    if at_ns is None:
        raise errors.UsageError(
            f"{text!r} is not a time, wanted one like 2026-11-21T12:03:05Z, 12:03, -15m, yesterday, now or @1763726585"
        )
    return at_ns


def _time_of(text, now_ns):
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ns - int(sum(float(number) * _UNITS[unit] for number, unit in _AGO_PARTS.findall(ago[1])) * 1e9)
    if text == "now":
        return now_ns
    if text in ("today", "yesterday"):
        return _ns_of(midnight - timedelta(days=text == "yesterday"))
    if re.fullmatch(r"@\d{1,12}(\.\d{1,9})?", text):
        seconds, _, part = text[1:].partition(".")
        return int(seconds) * SECOND_NS + int(part.ljust(9, "0") or 0)
    if re.fullmatch(r"@-.+", text):
        return _time_of(text[1:], now_ns)
    if _CLOCK.fullmatch(text):
        text = f"{midnight:%Y-%m-%d}T{text.zfill(len(text) + (text.index(':') == 1))}"
    elif not re.match(r"\d{4}-\d{2}", text):
        return None
    try:
        at = datetime.fromisoformat(text)
        return _ns_of(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _ns_of(at):
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def parse_range(text: str, now_ns: int) -> tuple[Moment | None, Moment | None]:
    """Parse ``A:B``, ``A:`` or ``:B``: positions of one log (``100:200``, ``cell1:100:200``), or times after an @
    (``@-2h:-1h``, ``@12:00:00..13:00:00``; use ``..`` for times with colons). A single position is that record alone.
    UsageError for any other text."""
    times = text.startswith("@")
    parts = _range_parts(text[1:] if times else text, times, now_ns)
    if parts is None:
        raise errors.UsageError(
            f"{text!r} is not a range, wanted positions such as 100:200, 100:, :200 or cell1:100:200, "
            "or times such as @-2h:-1h or @12:00..13:00"
        )
    first, last = parts
    if first and last and (_both(first.at_ns, last.at_ns) or _both(first.position, last.position)):
        raise errors.UsageError(f"the range {text} ends before it begins; fix it")
    return parts


def _both(first, last):
    return type(first) is type(last) is int and first > last


def _range_parts(text, times, now_ns):
    if not times:
        found = re.fullmatch(
            r"(?:((?!first:|last:)[^:@/\s\d][^:@/\s]*):)?(\d{1,18}|first|last)?(:(\d{1,18}|first|last)?)?", text
        )
        if not found or not (found[2] or found[4]):
            return None
        first, last = (found[2], found[4] if found[3] else found[2])
        return tuple(end and Moment(text, found[1], int(end) if end.isdigit() else end) for end in (first, last))
    for first, last in [text.split("..", 1)] if ".." in text else _halves(text):
        # (A bare number is seconds since 1970 only if it cannot be an hour.)
        parsed = [
            _time_of(f"@{end}" if re.fullmatch(r"\d{9,12}(\.\d+)?", end) else end, now_ns) for end in (first, last)
        ]
        if (first or last) and all(at is not None or not end for at, end in zip(parsed, (first, last), strict=True)):
            return tuple(at if at is None else moment_at(text, at, now_ns) for at in parsed)
    return None


def _halves(text):
    """Give all ways to cut a text at a colon, and the whole text as a beginning."""
    yield from ((text[:place], text[place + 1 :]) for place, character in enumerate(text) if character == ":")
    yield text, ""


def stamp(at_ns: int | None) -> str:
    """Return a time (nanoseconds since 1970) as UTC text, to the millisecond."""
    if at_ns is None:
        return "-"
    at = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ns // 1_000_000 % 1000:03}Z"


def time_of(events) -> int | None:
    """Return the time of the first readable event, in nanoseconds since 1970; None if there is none."""
    return next((event.at_ns for event in events if isinstance(event, codec.Event)), None)


def position_at(log, at_ns: int) -> int:
    """Return the last position with a time up to ``at_ns``; the position before the first record if there is none."""
    bounds = log.bounds()
    low, high = bounds.first, bounds.last + 1
    while low < high:
        middle = (low + high) // 2
        position, found_ns = next_time(log, middle, high)
        if found_ns is None or found_ns > at_ns:
            high = middle
        else:
            low = position + 1
    return low - 1


def next_time(log, position, end):
    """Return (position, time) of the first record with a time, from ``position`` on and before ``end``; (end, None) if
    there is none."""
    with log.read_from(position) as reader:
        while reader.position < end:
            records = reader.read(1, READ_TIMEOUT)
            if not records:
                raise errors.LogUnavailable(
                    f"the record {reader.position} of {log.url} did not arrive within "
                    f"{READ_TIMEOUT:.0f} s; check its broker"
                )
            found_ns = time_of(codec.decode_record(records[0].payload, records[0].account).events)
            if found_ns is not None:
                return records[0].position, found_ns
    return end, None


def resolve(moment: Moment, source, is_end: bool = False) -> dict[str, int]:
    """Return the last position of each cell's log up to a moment.

    If the moment is a position of one log, the other logs use the time of its record. Raise UsageError if the cell is
    not clear, or for a time that is not yet (except for the end of a range, ``is_end``); PositionTruncated or
    PositionAhead for a position that the log does not have.
    """
    if moment.at_ns is not None:
        if not is_end:
            _refuse_future(moment, source.logs.values())
        return {cell: position_at(log, moment.at_ns) for cell, log in source.logs.items()}
    if moment.cell is None and moment.position in ("first", "last"):
        return {cell: _position_in(cell, log, moment) for cell, log in source.logs.items()}
    cell, log = source.one(moment.cell, f"the position {moment.text}")
    position = _position_in(cell, log, moment)
    at_ns = next_time(log, position, log.bounds().last + 1)[1]
    return {
        other: position if other == cell else log.bounds().last if at_ns is None else position_at(log, at_ns)
        for other, log in source.logs.items()
    }


def _refuse_future(moment, logs):
    """Raise UsageError for a time that is not yet. (The log of a simulation may have later times.)"""
    if moment is None or not moment.is_future:
        return
    if all(position_at(log, moment.at_ns) == log.bounds().last for log in logs):
        raise errors.UsageError(
            f"{moment.text} is {stamp(moment.at_ns)}, which is not yet; write another day with its date, as in "
            "2026-11-21T12:03, or leave it out for the end of the log"
        )


class Span(NamedTuple):
    """A range in one cell's log: positions ``first`` to ``last``, both included and both in the log (empty if
    last < first)."""

    first: int
    last: int


def spans(ends, source) -> tuple[dict[str, Span], list[errors.LogGap]]:
    """Return a range of :func:`parse_range` as cell -> :class:`Span`, and the gaps: parts of it that the logs lack.
    Raise UsageError if it begins at a time that is not yet.

    A position other than ``first`` and ``last`` belongs to one log, and only that log is in the answer. A range of
    times is widened by ``SLACK_NS`` on both sides, so the caller also compares the times of the events.
    """
    first, last = ends
    named = next(
        (
            end
            for end in ends
            if end is not None and end.at_ns is None and (end.cell is not None or end.position not in ("first", "last"))
        ),
        None,
    )
    logs = source.logs if named is None else dict([source.one(named.cell, f"the range {named.text}")])
    _refuse_future(first, logs.values())
    found, gaps = {}, []
    for cell, log in logs.items():
        bounds = log.bounds()
        begin, end = _begin_of(log, bounds, first), _end_of(log, bounds, last)
        asked = [end.position for end in ends if end is not None and type(end.position) is int]
        for wrong, text in (
            (asked and min(asked) < bounds.first, f"begins at position {bounds.first}, got {min(asked, default=0)}"),
            (asked and max(asked) > bounds.last, f"ends at position {bounds.last}, got {max(asked, default=0)}"),
        ):
            if wrong:
                gaps.append(errors.LogGap(f"the log of {cell} {text}; the part of the range that it has is shown"))
        found[cell] = Span(max(begin, bounds.first), min(end, bounds.last))
    return found, gaps


def _begin_of(log, bounds, moment):
    if moment is None or moment.position == "first":
        return bounds.first
    if moment.position == "last":
        return max(bounds.last, bounds.first)
    return position_at(log, moment.at_ns - SLACK_NS) + 1 if moment.at_ns is not None else moment.position


def _end_of(log, bounds, moment):
    if moment is None or moment.position == "last":
        return bounds.last
    if moment.position == "first":
        return min(bounds.first, bounds.last)
    return position_at(log, moment.at_ns + SLACK_NS) if moment.at_ns is not None else moment.position


def _position_in(cell, log, moment):
    bounds = log.bounds()
    if moment.position == "first":
        return bounds.first
    if moment.position == "last":
        return bounds.last
    if moment.position < bounds.first:
        raise errors.PositionTruncated(
            f"the log of {cell} begins at position {bounds.first}, got {moment.position}; "
            "name a later position, or a log that still has it"
        )
    if moment.position > bounds.last:
        raise errors.PositionAhead(
            f"the log of {cell} ends at position {bounds.last}, got {moment.position}; "
            "name an earlier position, or check whether the log was recreated"
        )
    return moment.position
