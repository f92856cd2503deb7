"""DestinationFilter, CellFilter, AvailabilityZoneFilter: where a request may go at all."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import NAMED, Finding
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason
from nova_sched.projection.topology import in_zone, zone_names

IGNORED = Reason("ignored")
OTHER_HOST = Reason("not the requested host")
OTHER_NODE = Reason("not the requested node")
OTHER_CELL = Reason("other cell")
OTHER_ZONE = Reason("availability zone")
DEFAULT_ZONE = Option(
    "default_availability_zone",
    Kind.TEXT,
    "nova",
    "Availability zone of hosts that no aggregate gives one.",
    section="DEFAULT",
)


class DestinationFilter(Filter):
    """Refuses hosts that the request names to be left out, or that are not among those it asks for. Names of hosts to
    leave out, and of those named by force, are compared without regard to case; the name of a destination is not."""

    name = "DestinationFilter"
    reasons = {
        IGNORED.code: "the request leaves this host out, as after a failed build or for a move away",
        OTHER_HOST.code: "the request names other hosts",
        OTHER_NODE.code: "the request names other hypervisor nodes",
    }
    static = False
    on_rebuild = True

    def refusals(self, hosts, request, policy, scope):
        table = hosts.table
        if request.ignore_hosts:
            yield Refusal(IGNORED, hosts.in_rows(_rows_of(table, request.ignore_hosts)))
        if request.force_hosts:
            yield Refusal(OTHER_HOST, ~hosts.in_rows(_rows_of(table, request.force_hosts)))
        if request.target_host:
            row = table.row_of_host.get(request.target_host)
            yield Refusal(OTHER_HOST, ~hosts.in_rows([] if row is None else [row]))
        for nodes in (request.force_nodes, (request.target_node,) if request.target_node else ()):
            if nodes:
                yield Refusal(OTHER_NODE, ~hosts.in_rows(row for row in hosts.rows if table.node_names[row] in nodes))

    def explain(self, look, reason):
        request = look.request
        values = {
            "ignore_hosts": list(request.ignore_hosts),
            "force_hosts": list(request.force_hosts),
            "force_nodes": list(request.force_nodes),
            "target_host": request.target_host,
            "target_node": request.target_node,
        }
        if reason is None:
            return Finding("nothing in the request excludes it", values)
        if reason == IGNORED:
            return Finding("the request leaves it out", values)
        wanted = [*request.force_hosts, *request.force_nodes, *filter(None, (request.target_host, request.target_node))]
        return Finding(f"the request wants {', '.join(wanted[:NAMED])}", values)


def _rows_of(table, names):
    rows = table.derived("hosts without case", lambda: _rows_without_case(table))
    return [row for name in names for row in rows.get(name.lower(), ())]


def _rows_without_case(table):
    rows = {}
    for name, row in table.row_of_host.items():
        rows.setdefault(name.lower(), []).append(row)
    return rows


class CellFilter(Filter):
    """Refuses hosts of other cells if the request must stay in one."""

    name = "CellFilter"
    reasons = {OTHER_CELL.code: "the request stays in one cell, and the host is in another"}
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return request.target_cell

    def refusals(self, hosts, request, policy, scope):
        if request.target_cell:
            yield Refusal(OTHER_CELL, hosts.column("cell") != hosts.table.cells.get(request.target_cell))

    def explain(self, look, reason):
        return Finding(
            f"the host is in {look.cell}, the request stays in {look.request.target_cell}",
            {"cell": look.cell, "wanted": look.request.target_cell},
        )


class AvailabilityZoneFilter(Filter):
    """Refuses hosts of other availability zones than the one that a request names.

    Those are hosts that no aggregate of the zone has; and of hosts in no zone's aggregate, those that report another
    zone (or none, if the request's is not the default one). It is asked of every request, as Nova's request filter
    for zones is; naming it in ``enabled_filters``, as older configurations do, changes nothing.
    """

    name = "AvailabilityZoneFilter"
    options = (DEFAULT_ZONE,)
    reasons = {OTHER_ZONE.code: "the host is in another availability zone than the request names"}
    follows_use = False

    def seen(self, request):
        return request.availability_zone

    def refusals(self, hosts, request, policy, scope):
        if request.availability_zone:
            yield Refusal(
                OTHER_ZONE,
                ~in_zone(hosts.table, request.availability_zone, policy.default_availability_zone)[hosts.index],
            )

    def explain(self, look, reason):
        has = zone_names(look.table, look.policy.default_availability_zone).get(look.row)
        uuids = [each.uuid for each in look.aggregates if "availability_zone" in each.metadata]
        return Finding(
            f"the host is in {has}, {look.request.availability_zone} asked",
            {"zone": has, "asked": look.request.availability_zone},
            lambda traces: traces.aggregate_event(uuids) or traces.reported(),
        )
