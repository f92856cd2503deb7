"""The state of several logs at once: what decisions, histories and what-if runs look at."""

from typing import NamedTuple

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable


class World(NamedTuple):
    """One ``table`` of all hosts, the ``projections`` of the logs (cell -> Projection) that write its rows, and the
    claims ``in_flight`` of the process that decides (none in a world of the past, until some are added)."""

    table: HostTable
    projections: dict[str, Projection]
    in_flight: InFlight

    @classmethod
    def empty(cls, whole: dict[str, bool]) -> "World":
        """A world into which nothing is folded yet; ``whole`` (cell -> bool) says of which logs nothing was removed."""
        table = HostTable()
        return cls(
            table, {cell: Projection(cell, table, is_whole) for cell, is_whole in whole.items()}, InFlight(table)
        )
