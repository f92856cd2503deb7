"""What a service knows of its log beside its state, and whether API writes may be taken into it."""

from nova_sched.process.checkpoint_duty import Limits, LogFacts, refusal_of_writes
from rpc_api import errors
from rpc_api.clock import SYSTEM

#: Seconds after which the bounds of the log are read again, to know how far its checkpoints are from its beginning.
BOUNDS_SECONDS = 10.0


class WriteGate:
    """``log`` is a CellLog, and ``state()`` returns (why the log is not used, or None if it is; its level; the position
    up to which it is folded), without waiting."""

    def __init__(self, log, state, clock=SYSTEM, limits: Limits = Limits()):
        self._log, self._state = log, state
        self._clock = clock
        self._limits = limits
        self._bounds, self._looked_at = None, float("-inf")
        #: Why the bounds of the log could not be read the last time, as a sentence; None if they could.
        self.fault: str | None = None

    @property
    def level(self) -> int:
        """The level of the log."""
        return self._state()[1]

    def facts(self, may_read: bool = True) -> LogFacts | None:
        """The LogFacts, with bounds that may be some seconds old; None until the log was there once. Unless it
        ``may_read``, it uses the bounds that are known: a log that is away lets its readers wait."""
        why_closed, level, position = self._state()
        now = self._clock.monotonic()
        # (While the log is not used, its bounds change nothing. When it is used again, an old fault is over at once.)
        is_due = self.fault is not None or now - self._looked_at >= BOUNDS_SECONDS
        if may_read and (self._bounds is None or (why_closed is None and is_due)):
            self._looked_at = now
            try:
                self._bounds, self.fault = self._log.bounds(), None
            except errors.NovaSchedError as fault:
                self.fault = str(fault)
                why_closed = why_closed or self.fault
        if self._bounds is None:
            return None
        first, last = self._bounds
        return LogFacts(why_closed, level, position, first, max(last, position), self._log.is_cut_by_policy)

    def refusal(self, may_read: bool = True) -> str | None:
        """Why no API write may be taken into the log now, in a sentence; None if it may. ``may_read`` as in
        :meth:`facts`."""
        facts = self.facts(may_read)
        if facts is None:
            return (
                f"the log of {self._log.cell} takes no API writes: it was not there since this service started; "
                "create it (nova-sched create-log), or check its broker"
            )
        return refusal_of_writes(self._log.cell, facts, self._log.checkpoints, self._limits)
