"""Read a whole log, or a part of it, once: for tools that do not follow it."""

from rpc_api import codec, errors
from rpc_api.log import open_log

BATCH = 1000
TIMEOUT = 10.0


def records_between(log, first: int | None = None, last: int | None = None):
    """Yield the records from position ``first`` to ``last``, both included; by default all present records."""
    bounds = log.bounds()
    position = bounds.first if first is None else first
    end = bounds.last if last is None else min(last, bounds.last)
    if position > end:
        return
    with log.read_from(position) as reader:
        while position <= end:
            records = reader.read(min(BATCH, end - position + 1), TIMEOUT)
            if not records:
                raise errors.LogUnavailable(
                    f"the record {position} of {log.url} did not arrive within {TIMEOUT:.0f} s, "
                    f"wanted all up to {end}; check its broker"
                )
            for record in records:
                # (If positions were left out, the last records read may be after the end.)
                if record.position > end:
                    return
                yield record
            position = records[-1].position + 1


def readable_records(log, first, last, on_gap):
    """Yield as :func:`records_between`. Damaged parts of an exported file are reported by ``on_gap(LogGap)`` and left
    out."""
    while first is None or first <= last:
        try:
            yield from records_between(log, first, last)
            return
        except errors.LogGap as gap:
            if getattr(gap, "resume_at", None) is None:
                raise
            on_gap(gap)
            first = gap.resume_at


def decoded_records(log, first: int | None = None, last: int | None = None):
    """Yield (position, DecodedRecord) from ``first`` to ``last``, both included; by default all present records."""
    yield from map(decoded, records_between(log, first, last))


def records_of(url: str):
    """Yield (position, DecodedRecord) of all records of the log at a URL, which must exist."""
    with open_log(url, create=False) as log:
        yield from decoded_records(log)


def decoded(record):
    """Return (position, DecodedRecord) of a record."""
    return record.position, codec.decode_record(record.payload, record.account)


def holding(log, words, first: int | None = None, last: int | None = None):
    """Yield (position, DecodedRecord) of the records that contain one of some byte strings.

    Names and uuids are plain text in a record, so most records need no decoding. Positions before the log's first
    record are skipped."""
    first = None if first is None else max(first, log.bounds().first)
    for record in records_between(log, first, last):
        if any(word in record.payload for word in words):
            yield decoded(record)


def backwards(log, words, last: int):
    """Yield (position, DecodedRecord) of the records that contain all of some byte strings, from ``last`` back to the
    first."""
    for stretch in stretches_back(log, last):
        found = [record for record in stretch if all(word in record.payload for word in words)]
        yield from map(decoded, reversed(found))


def stretches_back(log, last: int, size: int = BATCH, most: int | None = None, read=records_between):
    """Yield the records up to ``last`` in stretches, the last one first, each in the order of the log: for all that
    searches a log from its end, and may find what it wants soon. The first stretch has ``size`` positions, the next
    ones more, all together ``most`` (None: all). ``read`` is a function such as :func:`records_between`."""
    bounds = log.bounds()
    end = min(last, bounds.last)
    first = bounds.first if most is None else max(bounds.first, end - most + 1)
    while end >= first:
        begin = max(first, end - size + 1)
        yield read(log, begin, end)
        end, size = begin - 1, min(2 * size, 16 * BATCH)
