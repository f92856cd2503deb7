"""Verification: make recorded decisions again from the logs alone, in one pass over the logs per scheduler and
policy."""

from typing import NamedTuple

from nova_sched.projection.table import HostTable
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import (
    Difference,
    Recorded,
    Scene,
    check_logs,
    check_positions,
    difference,
    set_closed,
)
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.history import History
from nova_sched.replay.verify.spool import Spool
from nova_sched.selection.catalogue import BUILT_IN
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.needed_members import MAX_NAMED, may_lack_members
from rpc_api import errors
from rpc_api.codec import Event


class Replayed(NamedTuple):
    """A decision that was made again (``again`` is None if that is not possible); ``difference`` is None if the result
    is the same. ``now`` is the Difference with which this release would decide where an older one decided; None if it
    would choose the same hosts, or if the decision is not of an older release."""

    recorded: Recorded
    again: object
    difference: Difference | None
    now: Difference | None = None

    @property
    def same(self):
        return self.difference is None


def spooled(logs, spool: Spool, policies: PolicyBook) -> None:
    """Write all decisions and claims of some logs to a spool; ``policies`` learns their policies."""
    policies.logs = logs
    for cell, log in sorted(logs.items()):
        for position, record in decoded_records(log):
            for event in record.events:
                if isinstance(event, Event):
                    spool.note(cell, position, event, record.level)
                    if event.name == "PolicyAdopted":
                        policies.adopt(event.data, cell, position)
    spool.sort()


def replay(logs, catalogue=BUILT_IN, only=None):
    """Make the decisions of some logs again (``only``: those for a set of instances). Yield a :class:`Replayed` for
    each."""
    with Spool() as spool:
        policies = PolicyBook(catalogue)
        spooled(logs, spool, policies)
        yield from again(
            History(logs), spool, policies, lambda recorded: not only or recorded.decision.instance_uuid in only
        )


def again(history, spool: Spool, policies: PolicyBook, wanted=lambda recorded: True):
    """Make the ``wanted`` decisions of a spool again, scheduler by scheduler. Yield a :class:`Replayed` for each."""
    for producer, digest in spool.voices():
        walk = Walk(history)
        chain = newer = None
        for recorded in spool.decisions(producer, digest):
            if not wanted(recorded):
                continue
            try:
                policy = policies.get(digest)
                check_logs(history.logs, recorded)
                if walk.go_to({cell: known.position for cell, known in recorded.known.items()}) or chain is None:
                    chain = FilterChain(walk.world.table, policy)
                    newer = FilterChain(walk.world.table, policy.of_this_release())
                set_closed(walk.world.table, recorded)
                check_positions(walk.world, recorded)
            except errors.LogGap as gap:
                code = "policy" if digest not in policies.policies else "position"
                yield Replayed(recorded, None, Difference(code, str(gap)))
                continue
            level = walk.world.projections[recorded.cell].level if recorded.cell in recorded.known else 1
            if recorded.level < level:
                text = f"{recorded.producer} decided without the level of the log, {level}, which it did not know"
                yield Replayed(recorded, None, Difference("level", f"{text}; upgrade it"))
                continue
            yield _made_again(spool, recorded, walk.world, chain, newer)


def _made_again(spool, recorded, world, chain, newer):
    held = [
        claim
        for position in recorded.evidence.positions
        if position.last_in_flight
        for claim in spool.in_flight(position.cell, recorded, position.first_in_flight, position.last_in_flight)
    ]
    for claim in held:
        world.in_flight.add(claim)
    try:
        made = Scene(recorded, world, chain.policy, chain, held).again()
        differs, now = difference(recorded, made), None
        if differs is None and newer.policy != chain.policy:
            now = difference(recorded, Scene(recorded, world, newer.policy, newer, held).again())
    except errors.PluginFault as fault:
        return Replayed(recorded, None, Difference("plugin", str(fault)))
    finally:
        for claim in held:
            world.in_flight.remove(claim.claim_uuid)
    if differs is not None and may_lack_members(recorded.evidence.request):
        text = f"evidence has at most {MAX_NAMED} members of a server group, and this one may have more; {differs.text}"
        return Replayed(recorded, None, Difference("members", text))
    return Replayed(recorded, made, differs, now if now is not None and now.code == "hosts" else None)


class Walk:
    """A world that moves from one set of positions to a later one, and reads each log once.

    ``world`` is None before the first move. To go back it starts again from the nearest snapshots.
    """

    def __init__(self, history):
        self.history = history
        self.world = None
        self._ahead = {}
        self._firsts = {}

    def go_to(self, positions: dict) -> bool:
        """Move the world to the positions (cell -> position). Return whether ``world`` is another object than before.

        Raise LogGap if the logs lack records that the state depends on.
        """
        fresh = (
            self.world is None
            or self.world.projections.keys() != positions.keys()
            or any(self.world.projections[cell].position > position for cell, position in positions.items())
        )
        if fresh:
            self.world, self._ahead = None, {}
            for cell, position in positions.items():
                if 0 <= position < self._first(cell):
                    raise errors.LogGap(
                        f"the log of {cell} begins after position {position}, up to which the decision "
                        "knew it; the log was truncated later"
                    )
            self.world = self.history.world_at(positions)
        for cell, position in positions.items():
            self._fold(cell, position)
        return fresh

    def _first(self, cell):
        """Return the first position of a log at which its state is known."""
        if cell not in self._firsts:
            self._firsts[cell] = 0 if self.history.is_whole(cell) else self._beginning(cell)
        return self._firsts[cell]

    def _beginning(self, cell):
        try:
            return self.history.beginning(cell, HostTable()).position
        except errors.LogGap:
            return float("inf")

    def _fold(self, cell, position):
        projection = self.world.projections[cell]
        if projection.position >= position:
            return
        if cell not in self._ahead:
            self._ahead[cell] = _Ahead(self.history.logs[cell], projection.position + 1)
        for record in self._ahead[cell].up_to(position):
            projection.fold([record])


class _Ahead:
    """The records of a log in order, read up to one position after the other."""

    def __init__(self, log, position):
        self._records = decoded_records(log, max(position, log.bounds().first))
        self._next = None

    def up_to(self, position):
        """Yield (position, DecodedRecord) of the next records up to a position."""
        while True:
            if self._next is None:
                self._next = next(self._records, None)
            if self._next is None or self._next[0] > position:
                return
            found, self._next = self._next, None
            yield found
