"""The weighing of the survivors: each weigher's column is normalized, multiplied and added up.

The scores that do not depend on one request are kept with its shape (see
:mod:`nova_sched.selection.chain`); only hosts that were touched are weighed
again, unless they move the greatest or the least value of a column.
"""

from typing import NamedTuple

import numpy as np

from nova_sched.weighers.base import bounds, normalized

#: Up to how many hosts are weighed again one by one, which is as exact and faster than column by column.
FEW = 16


class Part(NamedTuple):
    """What one weigher gave: ``raw`` values and what they added to the scores (float64, shape [hosts])."""

    name: str
    raw: np.ndarray
    weighed: np.ndarray


def weigh(table, rows, request, scope, policy):
    """Scores of the survivors (float64, shape [hosts]) and a :class:`Part` for each weigher that applied."""
    scores, parts = np.zeros(len(rows)), []
    if len(rows) < 2:
        return scores, parts
    for weigher, multiplier in policy.weighing:
        factor = weigher.multipliers(table, rows, multiplier, request, scope)
        raw = weigher.raw(table, rows, request, scope) if np.any(factor) else None
        if raw is not None:
            weighed = factor * weigher.normalized(raw)
            parts.append(Part(weigher.name, raw, weighed))
            scores += weighed
    return scores, parts


class KeptScores:
    """Scores of the survivors of one shape by the weighers that see only the table, kept up to date.

    ``rows`` are the survivors; they, the topology and the policy stay what they are for as long as this is kept.
    """

    def __init__(self, table, rows, request, policy):
        self.table = table
        self.rows = rows
        self.request = request
        self.columns = []
        if len(rows) >= 2:
            for weigher, multiplier in policy.weighing:
                factor = weigher.multipliers(table, rows, multiplier, request, None) if weigher.static else 0.0
                if np.any(factor):
                    raw = weigher.raw(table, rows, request, None)
                    if raw is not None:
                        self.columns.append(_Column(weigher.name, weigher, factor, raw))
        self.parts = [column.part for column in self.columns]
        self.scores = self._sum()
        self._stale = set()

    def touch(self, rows) -> None:
        """Note that something of some of the survivors changed."""
        self._stale.update(rows)

    def renewed(self):
        """As :func:`weigh`, with the hosts that were touched looked at again. Do not write into the result."""
        if self._stale:
            rows = np.array(sorted(self._stale), np.int64)
            self._stale.clear()
            places = np.searchsorted(self.rows, rows)
            moved = False
            for column in self.columns:
                moved |= column.renew(column.weigher.raw(self.table, rows, self.request, None), places)
            if moved:
                self.scores = self._sum()
            else:
                for place in places.tolist():
                    self.scores[place] = sum(column.part.weighed.item(place) for column in self.columns)
        return self.scores, self.parts

    def _sum(self):
        """The sum over the weighers, in their order: floating point adds up differently in another one."""
        scores = np.zeros(len(self.rows))
        for column in self.columns:
            scores += column.part.weighed
        return scores


class _Column:
    """What one weigher gave, and the bounds of its values that this holds for."""

    def __init__(self, name, weigher, factor, raw):
        self.weigher = weigher
        self.factor = factor
        self.bounds = bounds(raw, weigher.floor)
        self.part = Part(name, raw, factor * normalized(raw, *self.bounds))

    def renew(self, values, places) -> bool:
        """Take new raw values of some hosts; True where that moved the bounds and so the scores of all hosts."""
        raw, weighed, (low, high) = self.part.raw, self.part.weighed, self.bounds
        if len(places) > FEW:
            raw[places] = values
            self.bounds = bounds(raw, self.weigher.floor)
            np.multiply(self.factor, normalized(raw, *self.bounds), out=weighed)
            return True
        within = True
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            within &= raw.item(place) < high and value <= high
            within &= self.weigher.floor is not None or (raw.item(place) > low and value >= low)
            raw[place] = value
            factor = self.factor if np.ndim(self.factor) == 0 else self.factor.item(place)
            weighed[place] = factor * ((max(value, low) - low) / (high - low)) if low != high else 0.0
        if within:
            return False
        # What made a bound may be gone, or there may be a new one.
        self.bounds = bounds(raw, self.weigher.floor)
        if self.bounds == (low, high):
            return False
        np.multiply(self.factor, normalized(raw, *self.bounds), out=weighed)
        return True
