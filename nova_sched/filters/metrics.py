"""MetricsFilter: refuses hosts that do not report what the MetricsWeigher weighs."""

import math

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason

NO_METRIC = "no metric {name}"
#: The MetricsWeigher has it too.
WEIGHTS = Option(
    "weight_setting",
    Kind.WEIGHTS,
    (),
    "Weights of metrics: name=weight.",
    section="metrics",
    policy_name="metrics_weight_setting",
)


class MetricsFilter(Filter):
    """A host must report each of the metrics that ``[metrics] weight_setting`` names, for the host or for its NUMA
    nodes; a metric whose value is not a number is not reported.
    """

    name = "MetricsFilter"
    options = (WEIGHTS,)
    reasons = {NO_METRIC: "the host does not report this metric of [metrics] weight_setting"}
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        for name, _ in policy.metrics_weight_setting:
            yield Refusal(Reason(NO_METRIC, (name,)), hosts.lacks_metric(name))

    def explain(self, look, reason):
        names = [name for name, _ in look.policy.metrics_weight_setting]
        has = {name: reported(look.table, name, look.row) for name in names}
        return Finding(
            ", ".join(f"{name} {shown(value)}" for name, value in has.items()),
            {"metrics": has},
            lambda traces: traces.reported(),
        )


def reported(table, name, row):
    """The value of a metric of a host; NUMA node -> value if it is reported for each node; None if it is not
    reported."""
    value = float(table.metric(name)[row])
    return table.metrics.of_nodes(row).get(name) if math.isnan(value) else value


def shown(value) -> str:
    """What :func:`reported` returned, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{number} on NUMA node {node}" for node, number in sorted(value.items()))
    return "not reported" if value is None else f"{value:g}"
