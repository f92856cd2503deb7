"""Named chains of weighers."""

from nova_sched.selection.policy import DEFAULT_WEIGHERS

#: * ``nova``: Nova's default weighers: the emptiest host wins.
#: * ``growth``: as ``nova``, but an affinity group starts where it can grow.
#: * ``pack``: the fullest host that fits wins, so that large hosts stay free for large requests; an affinity group
#:   starts where it can grow.
CHAINS = {
    "nova": DEFAULT_WEIGHERS,
    "growth": (
        *((name, multiplier) for name, multiplier in DEFAULT_WEIGHERS if name != "AffinityRoomWeigher"),
        ("AffinityRoomWeigher", 10.0),
    ),
    "pack": (
        ("RAMWeigher", -1.0),
        ("CPUWeigher", -1.0),
        ("DiskWeigher", -1.0),
        ("ServerGroupSoftAffinityWeigher", 1.0),
        ("ServerGroupSoftAntiAffinityWeigher", 1.0),
        ("AffinityRoomWeigher", 10.0),
    ),
}
