"""The time at the end of a log, although some clocks may be wrong."""

#: A clock is ahead if its event is this much later than the events that were appended after it.
SKEW_NS = 2 * 10**9
#: Number of producers with earlier times after an event that make the event's time invalid.
WITNESSES = 2


class LastHeard:
    """The last event of each producer of a log: ``of`` is producer -> (number in the order of the log, its time)."""

    def __init__(self):
        self.of = {}
        self._count = 0

    def see(self, producer: str, at_ns: int) -> None:
        """Add the next event."""
        self._count += 1
        self.of[producer] = self._count, at_ns

    def at(self, producer: str) -> int | None:
        """Return the time of a producer's last event, None if there is none."""
        found = self.of.get(producer)
        return None if found is None else found[1]

    def end_ns(self) -> int | None:
        """The time of the last event with a valid clock; None if there is no event."""
        newest = sorted(self.of.values(), key=lambda end: end[1], reverse=True)
        for number, at_ns in newest:
            witnesses = sum(other > number and time < at_ns - SKEW_NS for other, time in newest)
            if witnesses < WITNESSES:
                return at_ns
        return None
