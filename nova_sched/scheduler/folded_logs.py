"""The logs that an engine folds: one state of all cells, and which of them are known well enough to decide on.

The engines of a scheduler and of a shadow both own one.
"""

from nova_sched.process.account_rule import AccountRule
from nova_sched.projection.beginning import projection_of
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from nova_sched.projection.world import World
from nova_sched.scheduler.cell_states import CellStates


class FoldedLogs:
    """``cells`` are the names of the cells, without cell0. ``cell_down_after`` and ``require_accounts`` are as for an
    Engine."""

    def __init__(self, cells, clock, cell_down_after, require_accounts):
        self.world = World.empty(dict.fromkeys((CELL0, *cells), True))
        self.states = CellStates(self.world.table, clock, {CELL0}, cell_down_after)
        self.account_rule = AccountRule(require_accounts)

    def begin(self, cell, beginning) -> None:
        """Start reading a log, from its first record or from a snapshot (see Beginning); drop its earlier state.

        Raises a NovaSchedError for a snapshot that cannot be used."""
        world = self.world
        before = world.projections[cell]
        hosts = [name for name, host in before.hosts.items() if not host.lost]
        before.forget()
        # So that nothing of the earlier state is left if the snapshot cannot be used.
        world.projections[cell] = Projection(cell, world.table, False)
        world.projections[cell] = projection_of(cell, beginning, world.table, bool(self.account_rule.wanted))
        world.in_flight.count_again()
        self.states.begin(cell, beginning, hosts)

    def fold(self, cell, records):
        """Fold records of a log; returns the outcomes of claims and the notes, as a Projection does."""
        topology = self.world.table.topology_version
        outcomes, noted = self.world.projections[cell].fold(records)
        if self.world.table.topology_version != topology:
            # Claims in flight count on the rows that they had.
            self.world.in_flight.count_again()
        return outcomes, noted

    def is_at_its_end(self, cell) -> bool:
        """Open a cell if its log is folded up to the position that was its end when reading started; whether that is
        so now for the first time."""
        return self.states.folded(cell, self.world.projections[cell])
