"""The weighing of the survivors: each weigher's column is normalized, multiplied and added up.

The scores by static weighers are kept with the request's shape (see
:mod:`nova_sched.selection.chain`); only hosts that were touched are weighed
again, unless they move the greatest or the least value of a column. Those of
the other weighers are added to them, request by request.
"""

from typing import NamedTuple

import numpy as np

#: Up to how many hosts are weighed again one by one, which is as exact and faster than column by column.
FEW = 16
#: Whose scores a change of some hosts changed.
NOTHING, THESE, ALL = range(3)


class Part(NamedTuple):
    """What one weigher gave: ``raw`` values and what they added to the scores (float64, shape [hosts])."""

    name: str
    raw: np.ndarray
    weighed: np.ndarray


def weigh(table, rows, request, scope, policy, kept=None):
    """Scores of the survivors (float64, shape [hosts]) and a :class:`Part` for each weigher that told hosts apart: first
    the static ones, in the order of the policy, then the others. Do not write into the result.

    ``kept`` are the KeptScores of these very survivors, where there are any.
    """
    kept = kept or KeptScores(table, rows, request, policy, scope)
    scores, parts = kept.renewed(scope)
    for weigher, factor in kept.others:
        raw = weigher.raw(table, rows, request, policy, scope)
        if raw is not None and weigher.costly:
            factor = weigher.multipliers(table, rows, factor, request, scope)
        column = raw if raw is None else _Column(weigher, factor, raw)
        if column is not None and not column.level:
            scores, parts = scores + column.part.weighed, [*parts, column.part]
    return scores, parts


class KeptScores:
    """Scores of the survivors of one shape by the static weighers, kept up to date.

    ``rows`` are the survivors; they, the topology and the policy stay what they are for as long as this is kept.
    ``others`` are the weighers that look at more, each with its multiplier.
    """

    def __init__(self, table, rows, request, policy, scope):
        self.table = table
        self.rows = rows
        self.request = request
        self.policy = policy
        self.columns = []
        self.others = []
        if len(rows) >= 2:
            for weigher, multiplier in policy.weighing:
                self._take(weigher, multiplier, scope)
        self._stale = set()
        self._add_up()

    def _take(self, weigher, multiplier, scope):
        if weigher.costly:
            self.others.append((weigher, multiplier))
            return
        factor = weigher.multipliers(self.table, self.rows, multiplier, self.request, scope)
        if not np.any(factor):
            return
        if not weigher.static:
            self.others.append((weigher, factor))
            return
        raw = weigher.raw(self.table, self.rows, self.request, self.policy, scope)
        if raw is not None:
            self.columns.append(_Column(weigher, factor, raw))

    def touch(self, rows) -> None:
        """Note that something of some of the survivors changed."""
        self._stale.update(rows)

    def renewed(self, scope):
        """Scores and parts with the hosts that were touched looked at again. Do not write into the result."""
        if self._stale:
            rows = np.array(sorted(self._stale), np.int64)
            self._stale.clear()
            places = np.searchsorted(self.rows, rows)
            change = NOTHING
            for column in self.columns:
                values = column.weigher.raw(self.table, rows, self.request, self.policy, scope)
                change = max(change, column.renew(values, places))
            if change == ALL:
                self._add_up()
            elif change == THESE:
                for place in places.tolist():
                    self.scores[place] = sum(part.weighed.item(place) for part in self.parts)
        return self.scores, self.parts

    def _add_up(self):
        """Add up the weighers, in their order: floating point adds up differently in another one."""
        self.parts = [column.part for column in self.columns if not column.level]
        self.scores = np.zeros(len(self.rows))
        for part in self.parts:
            self.scores += part.weighed


class SomeScores:
    """The scores of some of the survivors that :class:`KeptScores` has, by their ``places`` among these, as if they had
    been weighed alone."""

    def __init__(self, kept, places):
        self._kept = kept
        self._places = places
        self.others = [(weigher, some) for weigher, factor in kept.others
                       if np.any(some := _of(factor, places))] if len(places) >= 2 else []

    def renewed(self, scope):
        """As :meth:`KeptScores.renewed`."""
        self._kept.renewed(scope)
        scores, parts = np.zeros(len(self._places)), []
        for column in self._kept.columns if len(self._places) >= 2 else ():
            part = None if column.level else column.among(self._places)
            if part is not None:
                parts.append(part)
                scores += part.weighed
        return scores, parts


def _of(factor, places):
    return factor if isinstance(factor, float) else factor.take(places)


class _Column:
    """What one weigher gave, and the bounds of its values that this holds for. ``level`` where all hosts are alike, and
    so weigh nothing."""

    def __init__(self, weigher, factor, raw):
        self.weigher = weigher
        self.factor = factor
        self.part = Part(weigher.name, raw, np.empty(len(raw)))
        self._weigh(weigher.bounds(raw))

    def _weigh(self, within):
        self.bounds = low, high = within
        self.level = low == high
        np.multiply(self.factor, self.weigher.normalized(self.part.raw, low, high), out=self.part.weighed)

    def among(self, places):
        """The part of some hosts alone; None where it tells none of them apart."""
        raw, factor = self.part.raw.take(places), _of(self.factor, places)
        within = self.weigher.bounds(raw)
        if within == self.bounds:
            return Part(self.part.name, raw, self.part.weighed.take(places)) if np.any(factor) else None
        low, high = within
        return None if low == high or not np.any(factor) else Part(self.part.name, raw, factor * self.weigher.normalized(raw, low, high))

    def renew(self, values, places):
        """Take new raw values of some hosts. Returns whose scores that changed: :data:`NOTHING`, :data:`THESE`, or
        :data:`ALL` where the bounds moved."""
        raw, weighed, (low, high) = self.part.raw, self.part.weighed, self.bounds
        if len(places) > FEW:
            raw[places] = values
            self._weigh(self.weigher.bounds(raw))
            return ALL
        within, change = True, NOTHING
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            before = raw.item(place)
            if value == before:
                continue
            change = THESE
            within &= before < high and value <= high
            within &= self.weigher.floor is not None or (before > low and value >= low)
            raw[place] = value
            factor = self.factor if isinstance(self.factor, float) else self.factor.item(place)
            weighed[place] = factor * ((max(value, low) - low) / (high - low)) if low != high else 0.0
        if within:
            return change
        # What made a bound may be gone, or there may be a new one.
        found = self.weigher.bounds(raw)
        if found == (low, high):
            return THESE
        self._weigh(found)
        return ALL
