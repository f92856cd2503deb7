"""How long silence is normal: this follows from the intervals of the services alone."""

from typing import NamedTuple

from rpc_api.contracts import agent, conductor, scheduler

SECOND_NS = 10**9


class Intervals(NamedTuple):
    """The configured intervals of the services, in seconds (default: the defaults of the options). ``silent`` replaces
    the computed time that an agent may be silent."""

    confirm: float = agent.CONFIRM_INTERVAL
    down_time: float = conductor.SERVICE_DOWN_TIME
    cell_down_after: float = scheduler.CELL_DOWN_AFTER
    silent: float | None = None

    @property
    def silent_ns(self) -> int:
        """An agent is silent if it published nothing for longer. A fault is over if it did not happen again for longer.

        A host confirms every ``confirm`` seconds, but not while an instance starts: one confirmation may be missing.
        """
        seconds = 2 * self.confirm + self.down_time if self.silent is None else self.silent
        return int(seconds * SECOND_NS)

    @property
    def lag_ns(self) -> int:
        """A scheduler that is further behind the log should have closed the cell."""
        return int(self.cell_down_after * SECOND_NS)
