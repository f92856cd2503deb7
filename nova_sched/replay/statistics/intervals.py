"""Intervals of time, for statistics with one row per interval."""

from rpc_api import errors

MAX_ROWS = 100_000


def starts_between(known, interval_ns: int) -> range:
    """Return the starts of all intervals from the earliest to the latest of ``known`` starts, in ns; UsageError for
    more than ``MAX_ROWS`` intervals."""
    if not known:
        return range(0)
    begin, end = min(known), max(known)
    if (end - begin) // interval_ns >= MAX_ROWS:
        raise errors.UsageError(
            f"there are more than {MAX_ROWS} intervals; name a longer --interval, or a shorter range"
        )
    return range(begin, end + 1, interval_ns)
