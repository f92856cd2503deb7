"""Reading a whole log, or a part of it, once: for tools that do not follow it."""

from rpc_api import codec, errors
from rpc_api.log import open_log

BATCH = 1000
TIMEOUT = 10.0


def decoded_records(log, first: int | None = None, last: int | None = None):
    """Yield (position, DecodedRecord) from ``first`` to ``last``, both included; by default all that is there now."""
    bounds = log.bounds()
    position = bounds.first if first is None else first
    end = bounds.last if last is None else min(last, bounds.last)
    if position > end:
        return
    with log.read_from(position) as reader:
        while position <= end:
            records = reader.read(min(BATCH, end - position + 1), TIMEOUT)
            if not records:
                raise errors.LogUnavailable(f"the record {position} of {log.url} did not come within {TIMEOUT:.0f} s, "
                                            f"wanted all up to {end}; see to its broker")
            for record in records:
                yield record.position, codec.decode_record(record.payload, record.account)
            position = records[-1].position + 1


def records_of(url: str):
    """Yield (position, DecodedRecord) of all records of the log at a URL; it must be there."""
    with open_log(url, create=False) as log:
        yield from decoded_records(log)
