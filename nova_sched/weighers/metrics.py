"""MetricsWeigher: the metrics that hosts report, each with a weight of its own."""

import numpy as np

from nova_sched.filters.metrics import WEIGHTS, reported
from nova_sched.filters.options import Kind, Option
from nova_sched.weighers.base import Weigher, multipliers

REQUIRED = Option(
    "required",
    Kind.FLAG,
    True,
    "Whether a host without one of these metrics is a fault; otherwise it gets weight_of_unavailable.",
    section="metrics",
    policy_name="metrics_required",
)
UNAVAILABLE = Option(
    "weight_of_unavailable",
    Kind.NUMBER,
    -10000.0,
    "Weight of a host that does not report one of the metrics.",
    section="metrics",
    policy_name="metrics_weight_of_unavailable",
)

#: Products beyond it count as it: sums of them stay numbers.
MOST = 1e300


class MetricsWeigher(Weigher):
    """The sum of the host's metrics times their weights, of ``[metrics] weight_setting``: more is better.

    If a host does not report one of them, the request ends if ``[metrics] required`` is true. Otherwise the raw value
    of the host is ``[metrics] weight_of_unavailable``. A metric is skipped if its weight or the multiplier is 0. A
    metric with a value per NUMA node has no value for the host: it counts as not reported.
    """

    name = "MetricsWeigher"
    group = "metrics"
    option = "weight_multiplier"
    key = "metrics_weight_multiplier"
    options = (WEIGHTS, REQUIRED, UNAVAILABLE)
    static = True
    follows_use = False

    def raw(self, table, rows, request, policy, scope):
        if not policy.metrics_weight_setting:
            return None
        values, unavailable = np.zeros(len(rows)), np.zeros(len(rows), bool)
        with np.errstate(over="ignore", invalid="ignore"):
            for metric, weight in policy.metrics_weight_setting:
                reported = table.metric(metric).take(rows)
                missing = np.isnan(reported)
                values += np.where(
                    missing, np.nan if policy.metrics_required else 0.0, np.clip(reported * weight, -MOST, MOST)
                )
                if weight:
                    unavailable |= missing
        if not policy.metrics_required and unavailable.any():
            factor = multipliers(self, table, rows, dict(policy.weighers)[self.name])
            values[unavailable & (factor != 0)] = policy.metrics_weight_of_unavailable
        return values

    def missing(self, table, row, policy):
        metric = next(metric for metric, _ in policy.metrics_weight_setting if np.isnan(table.metric(metric)[row]))
        found = reported(table, metric, row)
        how = "not reported" if found is None else "reported per NUMA node, wanted one value for the host"
        return f"metric {metric} of {table.host_names[row]} is {how}"
