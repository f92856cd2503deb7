"""The results of a what-if beside each other, as plain values."""

#: What happened, the same requests decided again with the recorded policies, and with the changes.
COLUMNS = ("recorded", "re-run", "what-if")


def facts_of(tallies, columns=COLUMNS) -> dict:
    """Return column -> the facts of a Tally. The first column is what happened, the second one is compared with it, and
    each further one with the second."""
    others = [tallies[0], tallies[0], *[tallies[1]] * (len(tallies) - 2)]
    return {
        name: {
            "asked": tally.asked,
            "placed": len(tally.placed),
            "built": len(tally.built),
            "refused": sum(tally.refused.values()),
            "refused_for": dict(sorted(tally.refused.items(), key=lambda item: (-item[1], item[0]))),
            "hosts_used": tally.hosts_used,
            "conflicts": tally.conflicts,
            "vcpus_used_at_end": tally.vcpus_used,
            "vcpu_capacity_at_end": tally.vcpu_capacity,
            "vcpu_fill_at_end": round(tally.vcpus_used / tally.vcpu_capacity, 4) if tally.vcpu_capacity else 0.0,
            "stranded": tally.stranded,
            "placed_elsewhere": _elsewhere(tally, other),
        }
        for name, tally, other in zip(columns, tallies, others, strict=True)
    }


def _elsewhere(tally, other):
    """Count the instances that both placed, but on different hosts."""
    return sum(host != other.placed[uuid] for uuid, host in tally.placed.items() if uuid in other.placed)
