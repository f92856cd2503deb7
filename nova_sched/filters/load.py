"""The filters of hosts that are busy: how much they build at once, how many instances they run."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.hosts.aggregates import host_aggregates
from nova_sched.hosts.view import aggregate_limits


class _LoadFilter(Filter):
    """Refuses hosts on which a count has come to a limit. Claims of this scheduler that the log has not given back yet
    count, so that many instances of one request keep the limit too."""

    count = ""
    of_aggregates = False

    def refusals(self, hosts, request, policy, scope):
        (option,) = self.options
        limit = getattr(policy, option)
        if self.of_aggregates and option in hosts.aggregate_keys():
            limit = hosts.aggregate_limits(option, limit)
        yield Refusal(self.reasons[0], hosts.column(self.count) + hosts.column("held_claims") >= limit)

    def refusal_of(self, table, row, request, policy):
        (option,) = self.options
        limit = getattr(policy, option)
        if self.of_aggregates and option in host_aggregates(table).keys:
            limit = aggregate_limits(table, option, limit).item(row)
        count = getattr(table, self.count).item(row) + table.held_claims.item(row)
        return self.reasons[0] if count >= limit else None


class IoOpsFilter(_LoadFilter):
    """Refuses hosts that do as many builds, resizes, snapshots and migrations at once as they may."""

    name = "IoOpsFilter"
    count, options, reasons = "num_io_ops", ("max_io_ops_per_host",), ("too many I/O operations",)


class AggregateIoOpsFilter(IoOpsFilter):
    """As the IoOpsFilter, with a limit of their own for hosts of aggregates that have ``max_io_ops_per_host`` in their
    metadata: the least of several; the option where one of them is no whole number.
    """

    name = "AggregateIoOpsFilter"
    of_aggregates = True


class NumInstancesFilter(_LoadFilter):
    """Refuses hosts that run as many instances as they may."""

    name = "NumInstancesFilter"
    count, options, reasons = "num_instances", ("max_instances_per_host",), ("too many instances",)


class AggregateNumInstancesFilter(NumInstancesFilter):
    """As the NumInstancesFilter, with a limit of their own for hosts of aggregates that have
    ``max_instances_per_host`` in their metadata: the least of several; the option where one of them is
    no whole number.
    """

    name = "AggregateNumInstancesFilter"
    of_aggregates = True
