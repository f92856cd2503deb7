"""How long what is quiet is not wrong yet: follows from the intervals of the services, and from nothing else."""

from typing import NamedTuple

from rpc_api.contracts import agent, conductor, scheduler

SECOND_NS = 10**9


class Intervals(NamedTuple):
    """What the services are configured with, in seconds; by default their own defaults. ``silent`` is how long an agent
    may publish nothing, where that was named."""

    confirm: float = agent.CONFIRM_INTERVAL
    down_time: float = conductor.SERVICE_DOWN_TIME
    cell_down_after: float = scheduler.CELL_DOWN_AFTER
    silent: float | None = None

    @property
    def silent_ns(self) -> int:
        """An agent that published nothing for longer is silent; what was wrong for longer ago than this, and did not
        happen again, is over.

        A host confirms every ``confirm`` seconds, but not while an instance starts: one confirmation may be left out.
        """
        seconds = 2 * self.confirm + self.down_time if self.silent is None else self.silent
        return int(seconds * SECOND_NS)

    @property
    def lag_ns(self) -> int:
        """A scheduler that is further behind a log than this should have closed the cell."""
        return int(self.cell_down_after * SECOND_NS)
