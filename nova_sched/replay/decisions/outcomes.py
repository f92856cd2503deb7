"""The verdicts on claims: a log contains the proposals, and only a fold shows which of them were accepted."""

from typing import NamedTuple

from nova_sched.projection.world import World
from nova_sched.replay.logs.reading import decoded
from rpc_api import errors

ACCEPTED, REFUSED, NOT_KNOWN, NO_EFFECT = "accepted", "refused", "not known", "no effect"
#: Number of records after the wanted one that are folded at once.
AHEAD = 2000


class ClaimOutcome(NamedTuple):
    """What a claim came to: a ``verdict`` (accepted, refused, not known, no effect), and why."""

    verdict: str
    reason: str | None = None

    def __str__(self):
        return self.verdict + (f": {self.reason}" if self.reason else "")


_ACCEPTED, _NOT_KNOWN = ClaimOutcome(ACCEPTED), ClaimOutcome(NOT_KNOWN)
_NO_EFFECT = ClaimOutcome(NO_EFFECT, "it was in the log before, or was set aside")


class Outcomes:
    """The outcomes of claims in the logs of a History.

    Claims are best asked about in the order of each log: the logs are folded as far as they are asked about, from the
    nearest state that is kept. ``unknown``: cell -> why the outcomes of some claims there are not known.
    """

    def __init__(self, history):
        self._history = history
        self._worlds = {}
        #: Cell -> position -> {claim uuid: reason}, None while the state is not known, of the last records folded.
        self._found = {}
        #: Cell -> a position from which on its log cannot be folded.
        self._damaged = {}
        self.unknown = {}

    def of(self, cell: str, position: int, claim_uuid: str) -> ClaimOutcome:
        """The outcome of a claim that stands at a position of a cell's log."""
        if position not in self._found.get(cell, ()) and position < self._damaged.get(cell, position + 1):
            try:
                self._fold(cell, position)
            except errors.LogGap as gap:
                self._worlds.pop(cell, None)
                self._damaged[cell] = position
                self.unknown.setdefault(cell, gap)
        found = self._found.get(cell, {}).get(position)
        if found is None:
            return _NOT_KNOWN
        if claim_uuid not in found:
            return _NO_EFFECT
        return _ACCEPTED if found[claim_uuid] is None else ClaimOutcome(REFUSED, str(found[claim_uuid]))

    def follow(self, cell: str, records) -> None:
        """Fold records that come next in a cell's log, so that their outcomes are known at once."""
        world = self._worlds.get(cell)
        if world is None or world.projections[cell].position + 1 != records[0].position:
            self.of(cell, records[-1].position, "")
            return
        projection, self._found[cell] = world.projections[cell], {}
        for record in records:
            position, content = decoded(record)
            self._note(cell, position, projection.fold([(position, content)])[0])
        self._history.folded(projection)

    def _fold(self, cell, position):
        world = self._worlds.get(cell)
        if world is None or world.projections[cell].position >= position:
            world = self._worlds[cell] = self._before(cell, position)
        self._found[cell] = {}

        def watch(at, record, outcomes, noted):
            if at >= position:
                self._note(cell, at, outcomes)

        self._history.forward(world, cell, position + AHEAD, watch)

    def _note(self, cell, position, outcomes):
        known = self._worlds[cell].projections[cell].whole
        self._found[cell][position] = {outcome.claim_uuid: outcome.reason for outcome in outcomes} if known else None

    def _before(self, cell, position):
        """The state before a position. If it is not known, it stays so until a record states where the log starts
        again."""
        try:
            return self._history.world_at({cell: position - 1})
        except errors.LogGap as gap:
            self.unknown.setdefault(cell, gap)
            return World.empty({cell: False})
