"""A cloud of folded cells that can be asked for a decision, without engines or logs."""

from nova_sched.filters import HostView
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import decide
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from tests.builders import Cell, uuid_of


def texts_of(refusals):
    """Refusals of a chain or a decision, each with the text of its reason."""
    return [(name, str(reason), hosts) for name, reason, hosts in refusals]


class Asked:
    """Cells over one table, and what decides on them; ``cells`` map a cell's name to the events of its log."""

    def __init__(self, *published, cells=None, policy=None):
        self.table = HostTable()
        self.cells = {
            name: Cell(*data, cell=name, table=self.table) for name, data in (cells or {"cell1": published}).items()
        }
        self.policy = policy or Policy()
        self.in_flight = InFlight(self.table)
        self.chain = FilterChain(self.table, self.policy)
        self.projections = {name: cell.projection for name, cell in self.cells.items()}

    @property
    def cell(self):
        return next(iter(self.cells.values()))

    def scope(self, asked, instance="vm-new"):
        return Scope(self.table, list(self.projections.values()), self.in_flight, asked, uuid_of(instance))

    def names(self, rows):
        return sorted(self.table.host_names[row] for row in rows)

    def refused_by(self, one, asked, instance="vm-new", policy=None):
        """Reason -> hosts that one filter refuses for it."""
        hosts = HostView(self.table, self.table.roots())
        found = {}
        for refusal in one.refusals(hosts, asked, policy or self.policy, self.scope(asked, instance)):
            assert refusal.hosts.shape == (len(hosts),) and refusal.hosts.dtype == bool
            if refusal.hosts.any():
                found.setdefault(str(refusal.reason), []).extend(self.names(hosts.rows[refusal.hosts]))
        return {reason: sorted(set(names)) for reason, names in found.items()}

    def run(self, asked, instance="vm-new"):
        """The Filtered of the whole chain; counts and survivors add up."""
        filtered = self.chain.run(asked, self.scope(asked, instance))
        assert sum(count for _, _, count in filtered.refusals) + len(filtered.rows) == filtered.total
        return filtered

    def refusals(self, asked, instance="vm-new"):
        """(filter, text of the reason, hosts) of the whole chain."""
        return texts_of(self.run(asked, instance).refusals)

    def survivors(self, asked, instance="vm-new"):
        return self.names(self.run(asked, instance).rows)

    def decide(self, asked, instance="vm-new", seed=1, attempt=0, alternates=0, policy=None):
        world = World(self.table, self.projections, self.in_flight)
        return decide(world, self.chain, asked, uuid_of(instance), policy or self.policy, seed, attempt, alternates)
