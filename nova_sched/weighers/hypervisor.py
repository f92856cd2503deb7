"""HypervisorVersionWeigher: newer hypervisors first."""

from nova_sched.weighers.base import Weigher


class HypervisorVersionWeigher(Weigher):
    """The version of the hypervisor as its host reports it, a number: more is better."""

    name = "HypervisorVersionWeigher"
    option = "hypervisor_version_weight_multiplier"
    static = True
    follows_use = False

    def raw(self, table, rows, request, policy, scope):
        return table.hypervisor_version.take(rows).astype(float)
