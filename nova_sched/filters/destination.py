"""Where a request may go at all: named hosts, zones, aggregates and cells."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal


class DestinationFilter(Filter):
    """Refuses hosts that the request names to be left out, or that are not among those it asks for."""

    name = "DestinationFilter"
    static = False

    def refusals(self, hosts, request, policy, scope):
        table = hosts.table
        if request.ignore_hosts:
            yield Refusal("ignored", hosts.in_rows(_rows_of(table, request.ignore_hosts)))
        wanted_hosts = set(request.force_hosts) | ({request.target_host} - {None})
        if wanted_hosts:
            yield Refusal("not the requested host", ~hosts.in_rows(_rows_of(table, wanted_hosts)))
        wanted_nodes = set(request.force_nodes) | ({request.target_node} - {None})
        if wanted_nodes:
            yield Refusal("not the requested node", ~hosts.in_rows(
                row for row in hosts.rows if table.node_names[row] in wanted_nodes))


def _rows_of(table, names):
    return [table.row_of_host[name] for name in names if name in table.row_of_host]


class CellFilter(Filter):
    """Refuses hosts of other cells where the request stays in one."""

    name = "CellFilter"

    def refusals(self, hosts, request, policy, scope):
        if request.target_cell:
            yield Refusal("other cell", hosts.column("cell") != hosts.table.cells.get(request.target_cell))


class AvailabilityZoneFilter(Filter):
    """Refuses hosts of other availability zones."""

    name = "AvailabilityZoneFilter"

    def refusals(self, hosts, request, policy, scope):
        if request.availability_zone:
            zones = hosts.table.zone_names(policy.default_availability_zone)
            yield Refusal("availability zone", np.array(
                [zones[int(row)] != request.availability_zone for row in hosts.rows], bool))
