"""Whether a loop of a process still goes round."""

from rpc_api.clock import SYSTEM

#: Seconds after which a loop that did not go round is stuck. The load of a large snapshot may take some of them.
STUCK_SECONDS = 60.0


class Pulse:
    """The loop ``name`` calls :meth:`beat` each time that it goes round; ``every`` is its usual pause in seconds."""

    def __init__(self, name: str, clock=SYSTEM, every: float = 1.0):
        self.name = name
        self._clock = clock
        self._limit = max(STUCK_SECONDS, 3 * every)
        #: How often it went round.
        self.beats = 0
        self._at = clock.monotonic()

    def beat(self) -> None:
        """The loop goes round."""
        self.beats += 1
        self._at = self._clock.monotonic()

    def age(self) -> float:
        """Seconds since it last went round."""
        return self._clock.monotonic() - self._at

    def why_stuck(self) -> str | None:
        """A sentence if it does not go round any more; else None."""
        age = self.age()
        return f"the loop {self.name} has not gone round for {age:.0f} s" if age > self._limit else None
