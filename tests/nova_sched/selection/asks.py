"""Short ways to say requests, and to ask a cloud of cells: what the tests of filters, weighers and selection share."""

from nova_sched.filters import HostView
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Cloud, decide
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from rpc_api import events
from tests.builders import Cell, uuid_of


def group(
    suffix="", required=(), forbidden=(), any_traits=(), member_of=(), not_member_of=(), in_tree=None, **resources
):
    """A request group; aggregates and the tree by the short names of their uuids."""
    return events.ResourceGroup(
        suffix,
        tuple(events.ResourceAmount(*item) for item in resources.items()),
        tuple(required),
        tuple(forbidden),
        tuple(any_traits),
        tuple(tuple(uuid_of(one) for one in names) for names in member_of),
        tuple(uuid_of(one) for one in not_member_of),
        in_tree and uuid_of(in_tree),
    )


def pci(count=1, alias="nic", request_id="r", numa_policy=None, **spec):
    """A PCIRequest with one spec, of a flavor's alias unless ``alias`` is None."""
    return events.PCIRequest(count, (spec,), alias, request_id and uuid_of(request_id), None, numa_policy)


def server_group(policy, limit=1, scope="host", partition=None, members=(), hosts=()):
    return events.ServerGroupRequest(
        uuid_of("group"), policy, limit, scope, partition, tuple(uuid_of(one) for one in members), tuple(hosts)
    )


def request(*groups, **facts):
    """A SchedulingRequest for 1 VCPU, unless groups are given; ``facts`` are its other fields."""
    values = {
        "request_id": "req-1",
        "project_id": "project",
        "flavor_name": "m1",
        "extra_specs": {},
        "image_properties": {},
        "groups": groups or (group(VCPU=1),),
        "group_policy": "",
        "same_subtree": (),
        "root_required": (),
        "root_forbidden": (),
        "availability_zone": None,
        "force_hosts": (),
        "force_nodes": (),
        "ignore_hosts": (),
        "target_host": None,
        "target_node": None,
        "target_cell": None,
        "server_group": None,
        "check_only": False,
    }
    return events.SchedulingRequest(**(values | facts))


def texts_of(refusals):
    """Refusals of a chain or a decision, each with the text of its reason."""
    return [(name, str(reason), hosts) for name, reason, hosts in refusals]


class Asked:
    """A cloud of cells over one table that can be asked; ``cells`` map a cell's name to what was said in it."""

    def __init__(self, *said, cells=None, policy=None):
        self.table = HostTable()
        self.cells = {
            name: Cell(*data, cell=name, table=self.table) for name, data in (cells or {"cell1": said}).items()
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
        cloud = Cloud(self.table, self.projections, self.in_flight, self.chain)
        return decide(cloud, asked, uuid_of(instance), policy or self.policy, seed, attempt, alternates)
