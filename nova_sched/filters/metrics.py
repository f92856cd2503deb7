"""MetricsFilter: refuses hosts that do not report what the MetricsWeigher weighs."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal


class MetricsFilter(Filter):
    """A host must report each of the metrics that ``[metrics] weight_setting`` names; one whose value is no number
    is not reported.
    """

    name = "MetricsFilter"
    options = ("[metrics] weight_setting",)
    reasons = ("no metric {name}",)
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        for name, _ in policy.metrics_weight_setting:
            yield Refusal(f"no metric {name}", np.isnan(hosts.metric(name)))
