"""Percentiles of any number of values in bounded memory."""

import math

#: Buckets per factor of 2: the error of a percentile is at most 3 %.
FINENESS = 24


class Histogram:
    """Counts of values from 0 on, in buckets whose width grows with the value."""

    def __init__(self):
        self.count = 0
        self.total = 0
        self.max = 0
        self._buckets = {}

    def add(self, value) -> None:
        """Count a value. A value below 0 (the clocks of two producers differ) counts as 0."""
        value = max(value, 0)
        bucket = -1 if value < 1 else int(math.log2(value) * FINENESS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        self.max = max(self.max, value)

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> float | None:
        """Return the value of a percentile; None without values."""
        if not self.count:
            return None
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return 0 if bucket < 0 else min(2 ** ((bucket + 0.5) / FINENESS), self.max)
        return self.max

    def facts(self, scale: float = 1) -> dict:
        """Return count, p50, p95, p99 and max, divided by ``scale``; None for each without values."""
        return {
            "count": self.count,
            **{f"p{percent}": _scaled(self.percentile(percent), scale) for percent in (50, 95, 99)},
            "max": _scaled(self.max if self.count else None, scale),
        }


def _scaled(value, scale):
    return None if value is None else round(value) if scale == 1 else round(value / scale, 3)
