"""The weighers of what is going on at a host: instances, builds, builds that failed.

Claims of this scheduler that are on their way count as instances and as builds.
"""

from nova_sched.weighers.base import Weigher


class NumInstancesWeigher(Weigher):
    """Instances on the host: more is better with a positive multiplier, which packs; a negative one spreads."""

    name = "NumInstancesWeigher"
    option = "num_instances_weight_multiplier"
    default_multiplier = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return (table.num_instances.take(rows) + table.held_claims.take(rows)).astype(float)


class IoOpsWeigher(Weigher):
    """Builds, resizes, snapshots and the like under way on the host: fewer is better, as its multiplier is negative."""

    name = "IoOpsWeigher"
    option = "io_ops_weight_multiplier"
    default_multiplier = -1.0
    floor = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return (table.num_io_ops.take(rows) + table.held_claims.take(rows)).astype(float)


class BuildFailureWeigher(Weigher):
    """Builds that failed on the host one after the other: fewer is better (a positive multiplier counts against it)."""

    name = "BuildFailureWeigher"
    option = "build_failure_weight_multiplier"
    default_multiplier = 1_000_000.0
    direction = -1.0
    static = True
    follows_use = False

    def raw(self, table, rows, request, policy, scope):
        return table.failed_builds.take(rows).astype(float)
