"""The filters of hosts that are busy: how much they build at once, how many instances they run."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason

TOO_MANY_IO_OPS = Reason("too many I/O operations")
TOO_MANY_INSTANCES = Reason("too many instances")
MAX_IO_OPS = Option(
    "max_io_ops_per_host",
    Kind.WHOLE,
    8,
    "Number of builds, resizes and the like from which on the IoOpsFilter refuses a host.",
    least=0,
)
MAX_INSTANCES = Option(
    "max_instances_per_host",
    Kind.WHOLE,
    50,
    "Number of instances from which on the NumInstancesFilter refuses a host.",
    least=1,
)


class _LoadFilter(Filter):
    """Refuses hosts on which a count has reached a limit. Claims of this scheduler that the log has not given back yet
    count, so that many instances of one request keep the limit too."""

    reason = Reason("")
    count = ""
    counted = ""
    of_aggregates = False

    def refusals(self, hosts, request, policy, scope):
        (option,) = self.options
        limit = getattr(policy, option.field)
        if self.of_aggregates and option.name in hosts.aggregate_keys():
            limit = hosts.aggregate_limits(option.name, limit)
        yield Refusal(self.reason, hosts.column(self.count) + hosts.column("held_claims") >= limit)

    def explain(self, look, reason):
        (option,) = self.options
        count, held = int(getattr(look.table, self.count)[look.row]), int(look.table.held_claims[look.row])
        of_aggregates = [each.metadata[option.name] for each in look.aggregates if option.name in each.metadata]
        limit = getattr(look.policy, option.field)
        text = f"{count}{f' + {held} in flight' if held else ''} {self.counted}, limit {limit}"
        text += f" (of its aggregates: {', '.join(of_aggregates)})" if of_aggregates else ""
        return Finding(
            text,
            {"count": count, "in_flight": held, "limit": limit, "of_aggregates": of_aggregates},
            _last_came(look),
            (limit - count - held) / max(limit, 1),
        )


def _last_came(look):
    """A trace of the last instance that came to the host."""
    last = max(look.entries, key=lambda entry: entry.position, default=None)
    if last is None:
        return lambda traces: traces.reported()
    return lambda traces: traces.entry_event(last, f"instance {last.instance_uuid} came last")


class IoOpsFilter(_LoadFilter):
    """Refuses hosts that do as many builds, resizes, snapshots and migrations at once as they may."""

    name = "IoOpsFilter"
    options = (MAX_IO_OPS,)
    reason = TOO_MANY_IO_OPS
    reasons = {TOO_MANY_IO_OPS.code: "the host does as many builds, resizes and the like at once as it may"}
    count, counted = "num_io_ops", "I/O operations"


class AggregateIoOpsFilter(IoOpsFilter):
    """As the IoOpsFilter, with a limit of their own for hosts of aggregates that have ``max_io_ops_per_host`` in their
    metadata: the least of several; the option, if one of them is not a whole number.
    """

    name = "AggregateIoOpsFilter"
    of_aggregates = True


class NumInstancesFilter(_LoadFilter):
    """Refuses hosts that run as many instances as they may."""

    name = "NumInstancesFilter"
    options = (MAX_INSTANCES,)
    reason = TOO_MANY_INSTANCES
    reasons = {TOO_MANY_INSTANCES.code: "the host has as many instances as it may have"}
    count, counted = "num_instances", "instances"


class AggregateNumInstancesFilter(NumInstancesFilter):
    """As the NumInstancesFilter, with a limit of their own for hosts of aggregates that have
    ``max_instances_per_host`` in their metadata: the least of several; the option, if one of them is not a whole
    number.
    """

    name = "AggregateNumInstancesFilter"
    of_aggregates = True
