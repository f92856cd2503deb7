"""The weighers; those of deployers come by entry point or class path."""

from nova_sched.weighers.affinity_room import AffinityRoomWeigher
from nova_sched.weighers.base import Weigher
from nova_sched.weighers.cross_cell import CrossCellWeigher
from nova_sched.weighers.hypervisor import HypervisorVersionWeigher
from nova_sched.weighers.image_properties import ImagePropertiesWeigher
from nova_sched.weighers.load import BuildFailureWeigher, IoOpsWeigher, NumInstancesWeigher
from nova_sched.weighers.metrics import MetricsWeigher
from nova_sched.weighers.pci import PCIWeigher
from nova_sched.weighers.resources import CPUWeigher, DiskWeigher, RAMWeigher
from nova_sched.weighers.soft_affinity import ServerGroupSoftAffinityWeigher, ServerGroupSoftAntiAffinityWeigher

#: All of Nova's, then ours.
BUILT_IN = {
    each.name: each
    for each in (
        RAMWeigher(),
        CPUWeigher(),
        DiskWeigher(),
        HypervisorVersionWeigher(),
        NumInstancesWeigher(),
        IoOpsWeigher(),
        ImagePropertiesWeigher(),
        PCIWeigher(),
        ServerGroupSoftAffinityWeigher(),
        ServerGroupSoftAntiAffinityWeigher(),
        BuildFailureWeigher(),
        CrossCellWeigher(),
        MetricsWeigher(),
        AffinityRoomWeigher(),
    )
}

__all__ = ["BUILT_IN", "Weigher"]
