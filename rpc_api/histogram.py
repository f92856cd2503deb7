"""Durations counted by size, cheaply enough for the path of a decision: one search and two additions."""

from bisect import bisect_left

#: Upper bounds of the buckets, in seconds. A last bucket has what is longer.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """One thread at a time adds; any thread may read, and then sees all durations but perhaps the last one."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        #: Number of durations in each bucket, each up to its bound of :data:`BOUNDS`; the last one has the rest.
        self.counts = [0] * (len(BOUNDS) + 1)
        #: Sum of all durations, in seconds.
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total_s += seconds

    def include(self, other: "Histogram") -> None:
        """Add all durations of another one."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total_s += other.total_s
