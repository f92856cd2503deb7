"""Where a request may go at all: named hosts, zones, aggregates and cells."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.projection.table import NONE


class DestinationFilter(Filter):
    """Refuses hosts that the request names to be left out, or that are not among those it asks for. Names of hosts
    are compared without regard to case."""

    name = "DestinationFilter"
    static = False
    on_rebuild = True

    def refusals(self, hosts, request, policy, scope):
        table = hosts.table
        if request.ignore_hosts:
            yield Refusal("ignored", hosts.in_rows(_rows_of(table, request.ignore_hosts)))
        for names in (request.force_hosts, (request.target_host,) if request.target_host else ()):
            if names:
                yield Refusal("not the requested host", ~hosts.in_rows(_rows_of(table, names)))
        for nodes in (request.force_nodes, (request.target_node,) if request.target_node else ()):
            if nodes:
                yield Refusal("not the requested node", ~hosts.in_rows(
                    row for row in hosts.rows if table.node_names[row] in nodes))


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
    on_rebuild = True

    def seen(self, request):
        return request.target_cell

    def refusals(self, hosts, request, policy, scope):
        if request.target_cell:
            yield Refusal("other cell", hosts.column("cell") != hosts.table.cells.get(request.target_cell))


class AvailabilityZoneFilter(Filter):
    """Refuses hosts of other availability zones than the one that a request names.

    It is asked of every request, as nova's request filter for zones is; naming it in ``enabled_filters``, as older
    configurations do, changes nothing. Options: ``default_availability_zone`` (of hosts that no aggregate gives one).
    Reasons: ``availability zone``.
    """

    name = "AvailabilityZoneFilter"

    def seen(self, request):
        return request.availability_zone

    def refusals(self, hosts, request, policy, scope):
        if request.availability_zone:
            default = policy.default_availability_zone
            column, numbers = hosts.table.derived(("zone column", default), lambda: _zone_column(hosts.table, default))
            yield Refusal("availability zone", column[hosts.index] != numbers.get(request.availability_zone, NONE))


def _zone_column(table, default):
    """The number of each row's zone (int32, shape [rows]; -2: no host), and the numbers of the names."""
    numbers, column = {}, np.full(table.count, NONE - 1, np.int32)
    for row, name in table.zone_names(default).items():
        column[row] = numbers.setdefault(name, len(numbers))
    return column, numbers
