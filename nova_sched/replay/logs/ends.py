"""What time it is at the end of a log, by clocks of which some may be wrong."""

#: An event that is so much later than what was appended after it is of a clock that is ahead.
SKEW_NS = 2 * 10**9
#: Producers that must have appended something earlier after an event before its time is not believed.
WITNESSES = 2


class LastHeard:
    """The last event of each producer of a log: ``of`` is producer -> (number in the order of the log, its time)."""

    def __init__(self):
        self.of = {}
        self._count = 0

    def see(self, producer: str, at_ns: int) -> None:
        """Take in the next event."""
        self._count += 1
        self.of[producer] = self._count, at_ns

    def at(self, producer: str) -> int | None:
        """The time of a producer's last event, None where there is none."""
        found = self.of.get(producer)
        return None if found is None else found[1]

    def end_ns(self) -> int | None:
        """The time of the last event whose clock nothing speaks against; None where there is no event."""
        newest = sorted(self.of.values(), key=lambda end: end[1], reverse=True)
        for number, at_ns in newest:
            witnesses = sum(other > number and time < at_ns - SKEW_NS for other, time in newest)
            if witnesses < WITNESSES:
                return at_ns
        return None
