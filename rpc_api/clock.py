"""The clock of a service. These rules hold for the whole project, and tests/test_layers.py checks them:

- Only this module reads the wall clock.
- The pure packages and the engines read no clock: their owner gives them a Clock or the time.
- Services and commands take a Clock; :data:`SYSTEM` is its default.
- A wait for input or output (a log's back-end, the bus, the end of a process) may read ``time.monotonic`` itself, for
  its timeout only.
"""

import time


class Clock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Wall clock in nanoseconds since 1970: for people and for producer epochs, never for decisions."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, for durations and deadlines."""
        return time.monotonic()


SYSTEM = Clock()


def spelled(seconds: float) -> str:
    """A duration for people, in two units at most: ``93 s``, ``25 min 10 s``, ``3 h 2 min``, ``2 d 5 h``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for size, unit, least, smaller, name in (
        (86400, "d", 172800, 3600, "h"),
        (3600, "h", 7200, 60, "min"),
        (60, "min", 120, 1, "s"),
    ):
        if whole >= least:
            more = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {more} {name}" if more else "")
    return f"{whole} s"
