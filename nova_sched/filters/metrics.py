"""MetricsFilter: refuses hosts that do not report what the MetricsWeigher weighs."""

import math

import numpy as np

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
    """A host must report each of the metrics that ``[metrics] weight_setting`` names; a metric whose value is
    not a number is not reported.
    """

    name = "MetricsFilter"
    options = (WEIGHTS,)
    reasons = {NO_METRIC: "the host does not report this metric of [metrics] weight_setting"}
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        for name, _ in policy.metrics_weight_setting:
            yield Refusal(Reason(NO_METRIC, (name,)), np.isnan(hosts.metric(name)))

    def explain(self, look, reason):
        names = [name for name, _ in look.policy.metrics_weight_setting]
        has = {name: float(look.table.metric(name)[look.row]) for name in names}
        return Finding(
            ", ".join(f"{name} {'not reported' if math.isnan(value) else f'{value:g}'}" for name, value in has.items()),
            {"metrics": {name: None if math.isnan(value) else value for name, value in has.items()}},
            lambda traces: traces.reported(),
        )
