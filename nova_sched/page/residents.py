"""Who was on which host at any position: the consumers of each host, as they came and went.

One thread writes; others read at the same time.
"""

from typing import NamedTuple

from nova_sched.replay.state.hosts import amounts_of

#: Visits of a host from which on old ones are dropped, and how many of them for each that is there now.
LEAST_KEPT, KEPT_PER_RESIDENT = 32, 4


class Resident(NamedTuple):
    """A consumer on a host: ``position`` is that of the record that put it there."""

    instance: str
    project: str | None
    state: str
    position: int
    allocations: tuple

    @property
    def resources(self) -> dict[str, int]:
        """Resource class -> amount."""
        return amounts_of(self.allocations)


class _Visits:
    """The consumers of one host: (position, consumer uuid, Resident or None for one that left), in order; and those
    that are there now."""

    __slots__ = ("log", "now")

    def __init__(self):
        self.log = []
        self.now = {}


class Residents:
    """The consumers of the hosts of one cell, by the numbers of the hosts."""

    def __init__(self):
        self._of = {}

    def note(self, number: int, position: int, entries, first: int) -> None:
        """A host has these entries (consumer uuid -> Entry) after the record at a position. What was before the
        position ``first`` may be forgotten."""
        visits = self._of.get(number)
        if visits is None:
            if not entries:
                return
            visits = self._of[number] = _Visits()
        now, log = visits.now, visits.log
        for uuid, entry in entries.items():
            known = now.get(uuid)
            if (
                known is None
                or known.state != entry.state
                or known.position != entry.position
                or known.allocations is not entry.allocations
            ):
                now[uuid] = Resident(
                    entry.instance_uuid, entry.project_id, entry.state, entry.position, entry.allocations
                )
                log.append((position, uuid, now[uuid]))
        if len(now) > len(entries):
            for uuid in [uuid for uuid in now if uuid not in entries]:
                del now[uuid]
                log.append((position, uuid, None))
        if len(log) > max(LEAST_KEPT, KEPT_PER_RESIDENT * len(now)) and log[len(log) // 2][0] <= first:
            # Replaced as a whole, because somebody may be reading it.
            visits.log = _shortened(log, first)

    def at(self, number: int, position: int) -> list[Resident]:
        """Return who was on a host after the record at a position."""
        visits = self._of.get(number)
        found = {}
        for at, uuid, resident in () if visits is None else list(visits.log):
            if at > position:
                break
            if resident is None:
                found.pop(uuid, None)
            else:
                found[uuid] = resident
        return sorted(found.values(), key=lambda resident: (resident.position, resident.instance))


def _shortened(log, first):
    """The same visits from a position on; those that were there then come first."""
    there = {}
    for at, uuid, resident in log:
        if at > first:
            break
        there.pop(uuid, None)
        if resident is not None:
            there[uuid] = (at, uuid, resident)
    return [*there.values(), *(visit for visit in log if visit[0] > first)]
