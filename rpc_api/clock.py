"""The one place where the project reads a clock. Whatever needs time is given one of these."""

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
