"""Percentiles of any number of values in bounded memory."""

import math

#: Buckets for each factor of 2: a percentile is right to within 3 %.
FINENESS = 24


class Histogram:
    """Counts of values of 0 or more in buckets of a width that grows with the value."""

    def __init__(self):
        self.count = 0
        self.total = 0
        self.max = 0
        self._buckets = {}

    def add(self, value) -> None:
        """Count a value; what is below 0 (the clocks of two producers differ) counts as 0."""
        value = max(value, 0)
        bucket = -1 if value < 1 else int(math.log2(value) * FINENESS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        self.max = max(self.max, value)

    def merge(self, other: "Histogram") -> None:
        """Count all that another one has."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> float | None:
        """The value below which so many of 100 are; None where there are none."""
        if not self.count:
            return None
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return 0 if bucket < 0 else min(2 ** ((bucket + 0.5) / FINENESS), self.max)
        return self.max

    def facts(self, scale: float = 1) -> dict:
        """count, p50, p95, p99 and max, the values divided by ``scale``; None for each where there are none."""
        return {
            "count": self.count,
            **{f"p{percent}": _scaled(self.percentile(percent), scale) for percent in (50, 95, 99)},
            "max": _scaled(self.max if self.count else None, scale),
        }


def _scaled(value, scale):
    return None if value is None else round(value) if scale == 1 else round(value / scale, 3)
