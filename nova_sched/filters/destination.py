"""Where a request may go at all: named hosts, zones, aggregates and cells."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.projection.topology import in_zone


class DestinationFilter(Filter):
    """Refuses hosts that the request names to be left out, or that are not among those it asks for. Names of hosts to
    leave out, and of those named by force, are compared without regard to case; that of a destination is not."""

    name = "DestinationFilter"
    reasons = ("ignored", "not the requested host", "not the requested node")
    static = False
    on_rebuild = True

    def refusals(self, hosts, request, policy, scope):
        table = hosts.table
        if request.ignore_hosts:
            yield Refusal("ignored", hosts.in_rows(_rows_of(table, request.ignore_hosts)))
        if request.force_hosts:
            yield Refusal("not the requested host", ~hosts.in_rows(_rows_of(table, request.force_hosts)))
        if request.target_host:
            row = table.row_of_host.get(request.target_host)
            yield Refusal("not the requested host", ~hosts.in_rows([] if row is None else [row]))
        for nodes in (request.force_nodes, (request.target_node,) if request.target_node else ()):
            if nodes:
                yield Refusal(
                    "not the requested node",
                    ~hosts.in_rows(row for row in hosts.rows if table.node_names[row] in nodes),
                )


def _rows_of(table, names):
    rows = table.derived("hosts without case", lambda: _rows_without_case(table))
    return [row for name in names for row in rows.get(name.lower(), ())]


def _rows_without_case(table):
    rows = {}
    for name, row in table.row_of_host.items():
        rows.setdefault(name.lower(), []).append(row)
    return rows


class CellFilter(Filter):
    """Refuses hosts of other cells where the request stays in one."""

    name = "CellFilter"
    reasons = ("other cell",)
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return request.target_cell

    def refusals(self, hosts, request, policy, scope):
        if request.target_cell:
            yield Refusal("other cell", hosts.column("cell") != hosts.table.cells.get(request.target_cell))


class AvailabilityZoneFilter(Filter):
    """Refuses hosts of other availability zones than the one that a request names.

    Those are hosts that no aggregate of the zone has; and of hosts in no zone's aggregate, those that report another
    zone (or none, where the request's is not the default one). It is asked of every request, as nova's request filter
    for zones is; naming it in ``enabled_filters``, as older configurations do, changes nothing.
    """

    name = "AvailabilityZoneFilter"
    options = ("[DEFAULT] default_availability_zone",)
    reasons = ("availability zone",)
    follows_use = False

    def seen(self, request):
        return request.availability_zone

    def refusals(self, hosts, request, policy, scope):
        if request.availability_zone:
            yield Refusal(
                "availability zone",
                ~in_zone(hosts.table, request.availability_zone, policy.default_availability_zone)[hosts.index],
            )
