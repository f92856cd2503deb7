"""Looking for some records of a log: by bytes that stand in them (names and uuids stand there as they are), also backwards."""

from nova_sched.replay.reading import BATCH, TIMEOUT
from rpc_api import codec, errors


def raw_records(log, first: int | None = None, last: int | None = None):
    """Yield the records from ``first`` to ``last``, both included, undecoded; by default all that are there now."""
    bounds = log.bounds()
    position = bounds.first if first is None else max(first, bounds.first)
    end = bounds.last if last is None else min(last, bounds.last)
    if position > end:
        return
    with log.read_from(position) as reader:
        while position <= end:
            records = reader.read(min(BATCH, end - position + 1), TIMEOUT)
            if not records:
                raise errors.LogUnavailable(f"the record {position} of {log.url} did not come within {TIMEOUT:.0f} s, wanted all "
                                            f"up to {end}; see to its broker")
            for record in records:
                if record.position <= end:
                    yield record
            position = records[-1].position + 1


def decoded(record):
    """(Position, DecodedRecord) of a record."""
    return record.position, codec.decode_record(record.payload, record.account)


def holding(log, words, first: int | None = None, last: int | None = None):
    """Yield (position, DecodedRecord) of the records in which one of some byte strings stands."""
    for record in raw_records(log, first, last):
        if any(word in record.payload for word in words):
            yield decoded(record)


def backwards(log, words, last: int):
    """Yield (position, DecodedRecord) of the records from ``last`` back to the first in which all of some byte strings stand."""
    first, size = log.bounds().first, BATCH
    while last >= first:
        begin = max(first, last - size + 1)
        found = [record for record in raw_records(log, begin, last) if all(word in record.payload for word in words)]
        yield from map(decoded, reversed(found))
        last, size = begin - 1, min(2 * size, 16 * BATCH)
