"""The weighers; third parties come by entry point or class path."""

from nova_sched.weighers.affinity_room import AffinityRoomWeigher
from nova_sched.weighers.base import Weigher
from nova_sched.weighers.resources import CPUWeigher, DiskWeigher, RAMWeigher
from nova_sched.weighers.soft_affinity import ServerGroupSoftAffinityWeigher, ServerGroupSoftAntiAffinityWeigher

BUILT_IN = {one.name: one for one in (
    RAMWeigher(), CPUWeigher(), DiskWeigher(), ServerGroupSoftAffinityWeigher(), ServerGroupSoftAntiAffinityWeigher(),
    AffinityRoomWeigher(),
)}

__all__ = ["BUILT_IN", "Weigher"]
