"""The verdicts on claims and API writes: a log contains the proposals, and only a fold shows which were accepted."""

from typing import NamedTuple

from nova_sched.projection.world import World
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from nova_sched.replay.logs.reading import decoded
from nova_sched.replay.state.steps import steps
from rpc_api import errors
from rpc_api.codec import SetAside

ACCEPTED, REFUSED, NOT_KNOWN, NO_EFFECT = "accepted", "refused", "not known", "no effect"
#: The events that have an outcome.
HAVE_OUTCOMES = frozenset({"ClaimProposed", *WRITE_HANDLERS})
#: Number of records after the wanted one that are folded at once.
AHEAD = 2000


class ClaimOutcome(NamedTuple):
    """What a claim came to: a ``verdict`` (accepted, refused, not known, no effect), and why."""

    verdict: str
    reason: str | None = None

    def __str__(self):
        return self.verdict + (f": {self.reason}" if self.reason else "")


class WriteOutcome(NamedTuple):
    """What a write of Placement's API came to: a ``verdict``, why, and the ``generations`` after it of the providers
    and consumers that it writes, by uuid (None: there is none any more)."""

    verdict: str
    reason: str | None = None
    generations: dict = {}

    def __str__(self):
        if self.reason:
            return f"{self.verdict}: {self.reason}"
        known = ["gone" if generation is None else str(generation) for generation in self.generations.values()]
        if not known:
            return self.verdict
        if known == ["gone"]:
            return f"{self.verdict}, gone"
        return f"{self.verdict}, generation{'' if len(known) == 1 else 's'} {', '.join(known)}"


def write_outcome(projection, event, written) -> WriteOutcome:
    """The outcome of a write that was folded a moment ago; ``written`` is the fold's, None if the event did not
    count."""
    if written is None:
        return _WRITE_WITHOUT_EFFECT
    if type(written.reason) is SetAside:
        return WriteOutcome(NO_EFFECT, written.reason.reason)
    if written.reason is not None:
        return WriteOutcome(REFUSED, str(written.reason))
    return WriteOutcome(ACCEPTED, None, dict(_generations(projection, event.data)))


def _generations(projection, data):
    """Give (uuid, generation) of what a write writes."""
    providers = [getattr(data, "provider_uuid", None), *(one.provider_uuid for one in _parts(data, "inventories"))]
    consumers = [getattr(data, "consumer_uuid", None), *(one.consumer_uuid for one in _parts(data, "consumers"))]
    for uuid in filter(None, providers):
        yield uuid, provider_generation(projection, uuid)
    for uuid in filter(None, consumers):
        holder = projection.holders.get(uuid)
        yield uuid, None if holder is None else holder.generation


def _parts(data, name):
    """The parts of a write that each name a provider or a consumer."""
    return [part for part in getattr(data, name, ()) if not hasattr(part, "resource_class")]


def provider_generation(projection, uuid: str) -> int | None:
    """The generation of a provider; None if the log does not have it."""
    tree = projection.trees.get(uuid)
    return None if tree is None else projection.table.generation.item(tree.rows[uuid])


_ACCEPTED, _NOT_KNOWN = ClaimOutcome(ACCEPTED), ClaimOutcome(NOT_KNOWN)
_NO_EFFECT = ClaimOutcome(NO_EFFECT, "it was in the log before, or was set aside")
_WRITE_WITHOUT_EFFECT, _WRITE_NOT_KNOWN = WriteOutcome(*_NO_EFFECT), WriteOutcome(NOT_KNOWN)


class Outcomes:
    """The outcomes of claims and writes in the logs of a History.

    Claims are best asked about in the order of each log: the logs are folded as far as they are asked about, from the
    nearest state that is kept. ``unknown``: cell -> why the outcomes of some claims there are not known.
    """

    def __init__(self, history):
        self._history = history
        self._worlds = {}
        #: Cell -> position -> {claim uuid: reason, mark of a write: outcome}, None while the state is not known, of
        #: the last records folded.
        self._found = {}
        #: Cell -> a position from which on its log cannot be folded.
        self._damaged = {}
        self.unknown = {}

    def of(self, cell: str, position: int, claim_uuid: str) -> ClaimOutcome:
        """The outcome of a claim that stands at a position of a cell's log."""
        found = self._at(cell, position)
        if found is None:
            return _NOT_KNOWN
        if claim_uuid not in found:
            return _NO_EFFECT
        return _ACCEPTED if found[claim_uuid] is None else ClaimOutcome(REFUSED, str(found[claim_uuid]))

    def of_write(self, cell: str, position: int, event) -> WriteOutcome:
        """The outcome of a write of Placement's API that stands at a position of a cell's log."""
        found = self._at(cell, position)
        return _WRITE_NOT_KNOWN if found is None else found.get(_mark(event), _WRITE_WITHOUT_EFFECT)

    def _at(self, cell, position):
        """What was found of a record; None while the state is not known."""
        if position not in self._found.get(cell, ()) and position < self._damaged.get(cell, position + 1):
            try:
                self._fold(cell, position)
            except errors.LogGap as gap:
                self._worlds.pop(cell, None)
                self._damaged[cell] = position
                self.unknown.setdefault(cell, gap)
        return self._found.get(cell, {}).get(position)

    def follow(self, cell: str, records) -> None:
        """Fold records that come next in a cell's log, so that their outcomes are known at once."""
        world = self._worlds.get(cell)
        if world is None or world.projections[cell].position + 1 != records[0].position:
            self.of(cell, records[-1].position, "")
            return
        projection, self._found[cell] = world.projections[cell], {}
        for record in records:
            position, content = decoded(record)
            for effect in steps(projection, position, content):
                self._note(cell, position, effect)
        self._history.folded(projection)

    def _fold(self, cell, position):
        world = self._worlds.get(cell)
        if world is None or world.projections[cell].position >= position:
            world = self._worlds[cell] = self._before(cell, position)
        self._found[cell] = {}

        def step(at, effect):
            if at >= position:
                self._note(cell, at, effect)

        self._history.forward(world, cell, position + AHEAD, step=step)

    def _note(self, cell, position, effect):
        projection, of_record = self._worlds[cell].projections[cell], self._found[cell]
        if not projection.whole:
            of_record[position] = None
            return
        found = of_record.get(position)
        if found is None:
            found = of_record[position] = {}
        if effect.outcome is not None:
            found[effect.outcome.claim_uuid] = effect.outcome.reason
        if effect.written is not None:
            found[_mark(effect.event)] = write_outcome(projection, effect.event, effect.written)

    def _before(self, cell, position):
        """The state before a position. If it is not known, it stays so until a record states where the log starts
        again."""
        try:
            return self._history.world_at({cell: position - 1})
        except errors.LogGap as gap:
            self.unknown.setdefault(cell, gap)
            return World.empty({cell: False})


def _mark(event):
    return event.producer, event.producer_epoch, event.sequence
