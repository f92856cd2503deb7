"""The weighing of the survivors: each weigher's column is normalized, multiplied and added up.

The scores by static weighers are kept with the request's shape (see
:mod:`nova_sched.selection.chain`); only hosts that were touched are weighed
again, unless they move the greatest or the least value of a column. If filters
that depend on the single request refuse some of these hosts, the other hosts
keep their scores, unless a refused host had a greatest or least value. The
scores by the other weighers are added for each request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nova_sched.projection.table import HostTable
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from nova_sched.weighers.base import Weigher
from rpc_api.events import SchedulingRequest

#: Up to this many hosts are weighed again one by one, which is as exact and faster than column by column.
FEW = 16
#: The hosts whose scores changed after a change of some hosts.
NOTHING, THESE, ALL = range(3)

#: One value per host; places of hosts, or their rows; a multiplier, or one per host.
Values = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Factor = float | Values


class Part(NamedTuple):
    """What one weigher gave: ``raw`` values and what they added to the scores (float64, shape [hosts])."""

    name: str
    raw: Values
    weighed: Values

    def at(self, index: int) -> tuple[float, float]:
        """Both of one host."""
        return self.raw.item(index), self.weighed.item(index)


class PartOf:
    """Some hosts of a :class:`Part`, by their places in it, read only when they are needed."""

    def __init__(self, part: Part, places: Places) -> None:
        self.name = part.name
        self._part = part
        self._places = places

    raw = property(lambda self: self._part.raw.take(self._places))
    weighed = property(lambda self: self._part.weighed.take(self._places))

    def at(self, index: int) -> tuple[float, float]:
        """As :meth:`Part.at`."""
        return self._part.at(self._places.item(index))


def weigh(
    table: HostTable,
    rows: Places,
    request: SchedulingRequest,
    scope: Scope,
    policy: Policy,
    kept: KeptScores | SelectedScores | None = None,
) -> tuple[Values, Sequence[Part | PartOf]]:
    """Scores of the survivors (float64, shape [hosts]) and a :class:`Part` for each weigher with different values:
    first the static ones, in the order of the policy, then the others. Do not write into the result.

    ``kept`` are the KeptScores of exactly these survivors, or a selection from KeptScores, if there are any.
    """
    kept = kept or KeptScores(table, rows, request, policy, scope)
    scores, parts = kept.renewed(scope)
    for weigher, factor in kept.others:
        raw = weigher.raw(table, rows, request, policy, scope)
        if raw is not None and weigher.costly and not isinstance(factor, np.ndarray):
            factor = weigher.multipliers(table, rows, factor, request, scope)
        column = raw if raw is None else _Column(weigher, factor, raw)
        if column is not None and not column.level:
            scores, parts = scores + column.part.weighed, [*parts, column.part]
    return scores, parts


class KeptScores:
    """Scores of the survivors of one shape by the static weighers, kept up to date.

    ``rows`` are the survivors; they, the topology and the policy do not change while this is kept.
    ``others`` are the weighers that look at more, each with its multiplier.
    """

    def __init__(
        self, table: HostTable, rows: Places, request: SchedulingRequest, policy: Policy, scope: Scope
    ) -> None:
        self.table = table
        self.rows = rows
        self.request = request
        self.policy = policy
        self.columns: list[_Column] = []
        self.others: list[tuple[Weigher, Factor]] = []
        if len(rows) >= 2:
            for weigher, multiplier in policy.weighing:
                self._take(weigher, multiplier, scope)
        #: Survivors to weigh again, and those of them to weigh again also by weighers that do not follow their use.
        self._stale: set[int] = set()
        self._said: set[int] = set()
        self._pools_changed = False
        self._add_up()

    def _take(self, weigher: Weigher, multiplier: float, scope: Scope) -> None:
        if weigher.costly:
            self.others.append((weigher, multiplier))
            return
        factor = weigher.multipliers(self.table, self.rows, multiplier, self.request, scope)
        if not _weighs(factor):
            return
        if not weigher.static:
            self.others.append((weigher, factor))
            return
        raw = weigher.raw(self.table, self.rows, self.request, self.policy, scope)
        if raw is not None:
            self.columns.append(_Column(weigher, factor, raw))

    def touch(self, rows: Iterable[int], said: Iterable[int]) -> None:
        """Note that some of the survivors changed. Of those that are also in ``said`` more than the use changed."""
        self._stale.update(rows)
        self._said.update(said)

    def touch_pools(self) -> None:
        """Note that the use of pools changed, and with it what weighers see of each host that they serve."""
        self._pools_changed = True

    def renewed(self, scope: Scope) -> tuple[Values, list[Part]]:
        """Scores and parts, after the touched hosts were weighed again. Do not write into the result."""
        change, weighed = NOTHING, self._weigh_pools(scope) if self._pools_changed else {}
        self._pools_changed = False
        if any(weighed.values()):
            change = ALL
        if self._stale:
            stale, said = [
                (rows, self.rows.searchsorted(rows))
                for rows in (np.array(sorted(touched), np.int64) for touched in (self._stale, self._said))
            ]
            self._stale.clear()
            self._said.clear()
            for column in self.columns:
                if column in weighed:
                    continue
                rows, places = stale if column.weigher.follows_use else said
                if len(rows):
                    values = column.weigher.raw(self.table, rows, self.request, self.policy, scope)
                    if values is not None:
                        change = max(change, column.renew(values, places))
            if change == THESE:
                for place in stale[1].tolist():
                    # One by one, as whole columns are: sum() rounds in its own way from Python 3.12 on.
                    score = 0.0
                    for part in self.parts:
                        score += part.weighed.item(place)
                    self.scores[place] = score
        if change == ALL:
            self._add_up()
        return self.scores, self.parts

    def _weigh_pools(self, scope: Scope) -> dict[_Column, bool]:
        """Weigh all hosts again in the columns that follow pools. Returns which of these columns changed the scores."""
        weighed = {}
        for column in self.columns:
            if column.weigher.follows_pools(self.table):
                raw = column.weigher.raw(self.table, self.rows, self.request, self.policy, scope)
                weighed[column] = raw is not None and column.renew_all(raw)
        return weighed

    def selected(self, passes: npt.NDArray[np.bool_]) -> SelectedScores:
        """The same for two or more of the hosts (bool, shape [hosts])."""
        return SelectedScores(self, passes)

    def _add_up(self) -> None:
        self.parts = [column.part for column in self.columns if not column.level]
        self.scores = _sum_of(self.parts, len(self.rows))


class SelectedScores:
    """Some hosts of :class:`KeptScores`, equal to what would be kept of them alone: ``places`` are the places that they
    have in it, ``refused`` those of the others."""

    def __init__(self, kept: KeptScores, passes: npt.NDArray[np.bool_]) -> None:
        self.kept = kept
        self.refused = (~passes).nonzero()[0]
        self.places = places = self.of(np.arange(len(passes)))
        self.others = [
            (weigher, factor)
            for weigher, factor in (
                (weigher, factor if isinstance(factor, float) else factor.take(places))
                for weigher, factor in kept.others
            )
            if weigher.costly or _weighs(factor)
        ]

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Some column without the values of the hosts that were refused."""
        refused = self.refused
        if len(refused) > FEW:
            return np.delete(values, refused)
        # Pieces are copied in a quarter of the time that it takes to look at each value.
        starts, ends = [0, *(refused + 1).tolist()], [*refused.tolist(), len(values)]
        return np.concatenate([values[start:end] for start, end in zip(starts, ends, strict=True)])

    def renewed(self, scope: Scope) -> tuple[Values, list[PartOf]]:
        """As :meth:`KeptScores.renewed`."""
        kept, places = self.kept, self.places
        scores, parts = kept.renewed(scope)
        selected = [column.selected(places, self.refused) for column in kept.columns if not column.level]
        if any(part is not known for part, known in zip(selected, parts, strict=True)):
            parts = [part for part in selected if part is not None]
            scores = _sum_of(parts, len(scores))
        return self.of(scores), [PartOf(part, places) for part in parts]


def _weighs(factor: Factor) -> bool:
    """Whether a multiplier, or one of several, is not 0."""
    return factor != 0.0 if isinstance(factor, float) else bool(factor.any())


def _sum_of(parts: Iterable[Part], count: int) -> Values:
    """Add up weighers, in their order: floating point adds up differently in another one."""
    scores = np.zeros(count)
    for part in parts:
        scores += part.weighed
    return scores


class _Column:
    """The result of one weigher, and the bounds of its values for which it holds. ``level`` if all hosts are alike, so
    that it adds nothing. The hosts at each bound are counted when the number is first needed."""

    def __init__(
        self, weigher: Weigher, factor: Factor, raw: Values, within: tuple[float, float] | None = None
    ) -> None:
        self.weigher = weigher
        self.factor = factor
        self._weigh(raw, weigher.bounds(raw) if within is None else within)

    def _weigh(self, raw: Values, within: tuple[float, float]) -> None:
        self.bounds = low, high = within
        self.level = low == high
        self._at_bounds: list[int] | None = None
        weighed = self.weigher.normalized(raw, low, high)
        weighed *= self.factor
        self.part = Part(self.weigher.name, raw, weighed)

    def renew_all(self, raw: Values) -> bool:
        """Take new raw values of all hosts; returns whether the scores change."""
        was_level = self.level
        self._weigh(raw, self.weigher.bounds(raw))
        return not (was_level and self.level)

    def renew(self, values: Values, places: Places) -> int:
        """Take new raw values of some hosts. Returns the hosts whose scores changed: :data:`NOTHING`, :data:`THESE`, or
        :data:`ALL` where the bounds moved."""
        raw, weighed, (low, high) = self.part.raw, self.part.weighed, self.bounds
        if len(places) > FEW:
            raw[places] = values
            self._weigh(raw, self.weigher.bounds(raw))
            return ALL
        # Below a floor all values count as the floor.
        least, span = low if self.weigher.floor is None else -np.inf, high - low
        factor, counts, within, left, change = self.factor, self._at_bounds, True, False, NOTHING
        factors = None if isinstance(factor, float) else factor
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            before = raw.item(place)
            if value == before:
                continue
            change = THESE
            if not least <= value <= high:
                within = False
            if not least < before < high:
                left = True
            raw[place] = value
            if factors is not None:
                factor = factors.item(place)
            weighed[place] = factor * ((max(value, low) - low) / span) if span else 0.0
            if counts is not None:
                counts[0] += (value == low) - (before == low)
                counts[1] += (value == high) - (before == high)
        if within and (not left or (counts is not None and self._stands(*counts))):
            return change
        # The value at a bound may be gone, or a new one may be beyond it.
        found = self.weigher.bounds(raw)
        if found == (low, high):
            self._at_bounds = self._counted()
            return THESE
        self._weigh(raw, found)
        return ALL

    def _stands(self, at_low: int, at_high: int) -> bool:
        """Whether the bounds stay the same with so many hosts at them."""
        return at_high > 0 and (self.weigher.floor is not None or at_low > 0)

    def _counted(self) -> list[int]:
        return [int(np.count_nonzero(self.part.raw == bound)) for bound in self.bounds]

    def selected(self, places: Places, refused: Places) -> Part | None:
        """The part without the ``refused`` hosts: if they changed its bounds, it is computed again without them. None
        if the other hosts are all alike."""
        if not isinstance(self.factor, float) and not self.factor.take(places).any():
            return None
        gone, (low, high) = self.part.raw.take(refused), self.bounds
        if len(gone) <= FEW:
            gone = gone.tolist()
            at_low, at_high = gone.count(low), gone.count(high)
        else:
            at_low, at_high = np.count_nonzero(gone == low), np.count_nonzero(gone == high)
        # A bound that is NaN is like none.
        if not (at_low or at_high) and high == high:
            return self.part
        if self._at_bounds is None:
            self._at_bounds = self._counted()
        if self._stands(self._at_bounds[0] - at_low, self._at_bounds[1] - at_high):
            return self.part
        # All hosts at a bound were refused.
        column = _Column(self.weigher, self.factor, self.part.raw, self.weigher.bounds(self.part.raw.take(places)))
        return None if column.level else column.part
