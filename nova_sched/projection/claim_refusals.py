"""Why the fold refuses a claim: every code, and what it means."""

import enum

from nova_sched.projection.reason import Reason


class ClaimRefused(enum.StrEnum):
    """The codes of the reasons for which a claim has no effect; ``meaning`` is a sentence for the operator,
    and ``kind`` are the words without the facts, for refusals that are counted together."""

    meaning: str
    kind: str

    def __new__(cls, code: str, meaning: str, kind: str = "") -> "ClaimRefused":
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.kind = kind or code
        return member

    UNKNOWN_HOST = (
        "unknown host {host}",
        "The log does not know the host: it was removed, or it never reported.",
        "unknown host",
    )
    DOWN = "down", "The host was reported as lost or forced down before the claim was read."
    DISABLED = "disabled", "The compute service of the host was disabled before the claim was read."
    OLDER_LEVEL = (
        "older level",
        "The log was pinned to a higher level before the claim was read. A scheduler that knows the level decides "
        "again; an older one must be upgraded.",
    )
    HOLDS_ALREADY = (
        "the consumer holds resources already",
        "The instance has a claim or runs already: another request for it came first.",
    )
    CONSUMER_CHANGED = (
        "the consumer has changed",
        "What the instance holds was written after the scheduler read it. It decides again.",
    )
    LOCKED = (
        "a write over several logs names the consumer",
        "What the instance holds is being written in several cells. The scheduler decides again.",
    )
    MALFORMED_ALLOCATIONS = (
        "malformed allocations",
        "An amount is below 1, has no resource class, or is named twice: a fault of the scheduler that claimed.",
    )
    UNKNOWN_PROVIDER = (
        "unknown provider {provider}",
        "The log does not have it, or it is another host's.",
        "unknown provider",
    )
    NO_ROOM = (
        "{resource class}",
        "Less of the resource class is free on the provider than was claimed: another claim came first, or the host "
        "reported less.",
        "no room",
    )
    MALFORMED_GUEST = (
        "malformed guest",
        "The NUMA nodes and PCI devices of the claim cannot be read: a fault of the scheduler that claimed.",
    )
    NO_DEVICES = "no NUMA nodes or PCI pools", "The host reports neither any more."
    UNKNOWN_NODE = "unknown NUMA node {node}", "The host reports this NUMA node no more.", "unknown NUMA node"
    NOT_DEDICATED = (
        "no dedicated CPUs of NUMA node {node}",
        "CPUs that were claimed for pinning are not among the dedicated CPUs of the node.",
        "no dedicated CPUs of the NUMA node",
    )
    CPUS = "CPUs of NUMA node {node}", "Another guest has some of the claimed CPUs.", "CPUs of the NUMA node"
    SHARED_CPUS = (
        "shared CPUs of NUMA node {node}",
        "The node has fewer shared CPUs than were claimed, or the CPU allocation ratio allows no more.",
        "shared CPUs of the NUMA node",
    )
    NO_PAGES = (
        "no pages of {size} KiB on NUMA node {node}",
        "The node has no memory pages of this size.",
        "no pages of the size on the NUMA node",
    )
    PAGES = (
        "pages of {size} KiB on NUMA node {node}",
        "Fewer memory pages of this size are free than were claimed.",
        "pages of the NUMA node",
    )
    MEMORY = "memory of NUMA node {node}", "The node has less memory left than was claimed.", "memory of the NUMA node"
    UNKNOWN_POOL = "unknown PCI pool {pool}", "The host reports this pool of PCI devices no more.", "unknown PCI pool"
    PCI_DEVICE = "PCI {device}", "Fewer devices of the pool are free than were claimed.", "PCI device"
    MALFORMED_RULE = (
        "malformed rule",
        "The claim names a policy of its server group that is not known: a fault of the scheduler that claimed.",
    )
    GROUP_MOVED = (
        "affinity: the group was moved to another cell",
        "The affinity group has a new host in another cell, and nothing of it may be claimed here.",
    )
    GROUP_ELSEWHERE = (
        "affinity: the group is on {host}",
        "Another member of the affinity group was claimed on another host first.",
        "affinity: the group is on another host",
    )
    GROUP_FULL = (
        "anti-affinity: {count} of the group in {domain}, limit {limit}",
        "Other members of the group came to this host or domain first, as many as the rule allows.",
        "anti-affinity: the group has reached its limit",
    )


#: With these, no other host can help: the consumer itself is wrong.
HOLDS_ALREADY = Reason(ClaimRefused.HOLDS_ALREADY)
#: With this, the same host may do: only the form of the claim was older.
OLDER_LEVEL = Reason(ClaimRefused.OLDER_LEVEL)
_MALFORMED = frozenset({ClaimRefused.MALFORMED_ALLOCATIONS, ClaimRefused.MALFORMED_GUEST, ClaimRefused.MALFORMED_RULE})
#: The reasons that depend on the members of a server group.
OF_GROUP = frozenset({ClaimRefused.GROUP_MOVED, ClaimRefused.GROUP_ELSEWHERE, ClaimRefused.GROUP_FULL})
#: The reasons that depend on what the consumer itself holds.
OF_CONSUMER = frozenset({ClaimRefused.HOLDS_ALREADY, ClaimRefused.CONSUMER_CHANGED, ClaimRefused.LOCKED})
#: The reasons that depend on what is left on the host.
OF_ROOM = frozenset(
    {
        ClaimRefused.NO_ROOM,
        ClaimRefused.CPUS,
        ClaimRefused.SHARED_CPUS,
        ClaimRefused.PAGES,
        ClaimRefused.MEMORY,
        ClaimRefused.PCI_DEVICE,
    }
)


def is_conflict(reason: Reason) -> bool:
    """Whether a claim was refused because another claim or write may have come first. The other refusals are about the
    host, the log or the claim alone: no other order of the records would help."""
    return reason.code in OF_ROOM or reason.code in OF_GROUP or reason.code in OF_CONSUMER


def is_malformed(reason: Reason) -> bool:
    """Whether a claim was refused because its scheduler wrote something that is never allowed."""
    return reason.code in _MALFORMED
