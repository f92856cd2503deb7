"""The search for assignments of groups to providers, by backtracking in a fixed order."""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from nova_sched.fit.options import Amounts, Slot, TreeOptions
from rpc_api import errors, events
from rpc_api.events import ResourceGroup


class Assignment(NamedTuple):
    """``allocations`` are Allocation records; ``mappings`` say which providers serve each group, by its suffix."""

    allocations: tuple[events.Allocation, ...]
    mappings: dict[str, list[str]]


class TooManySteps(errors.UsageError):
    """The search for all assignments takes too long."""


class Search:
    """The group with the fewest possible providers is placed first, and of these the provider with the least room is
    tried first, so that the rest stays in large pieces.

    Without ``kind_of`` it finds all assignments. With it, it leaves out those that only exchange the providers of
    groups of one kind. It ends when it has no ``steps_left``, which are ``most_steps`` at the beginning.
    """

    def __init__(
        self, options: TreeOptions, kind_of: Callable[[ResourceGroup], object] | None = None, *, most_steps: int
    ) -> None:
        self.options = options
        self.slots = options.slots
        self.steps_left = most_steps
        self.isolate = options.request.group_policy == "isolate"
        #: For each slot the number of an earlier one of its kind, with which it is not exchanged (-1: none).
        self.twins = _twins_of(self.slots, kind_of)
        #: The row of each slot that is placed, and its place among the slot's options.
        self.rows: list[int] = []
        self.places: list[int] = []
        #: (row, class index) -> amount.
        self.taken: dict[tuple[int, int], int] = {}

    def assignments(self) -> Iterator[Assignment]:
        """Yield the assignments. Each turn places the next slot, or else goes back to the slot before."""
        if not self.options.are_enough:
            return
        slots, place = self.slots, 0
        while True:
            number = len(self.rows)
            if number < len(slots):
                if self._place(slots[number], place):
                    place = self._first_place(number + 1)
                    continue
                if not self.steps_left:
                    return
            elif self._traits_together():
                yield self._answer()
            if not self.rows:
                return
            place = self._take_back() + 1

    def _first_place(self, number: int) -> int:
        """The first option to try for a slot."""
        if number == len(self.slots) or self.twins[number] < 0:
            return 0
        return self.places[self.twins[number]]

    def _place(self, slot: Slot, first: int) -> bool:
        """Place a slot on the first of its options that will do, from the place ``first`` on."""
        for place in range(first, len(slot.rows)):
            row = slot.rows[place]
            if not self.steps_left:
                return False
            self.steps_left -= 1
            if self.isolate and slot.suffix and self._serves_a_group(row):
                continue
            if self._take(row, slot.resources):
                self.rows.append(row)
                self.places.append(place)
                if not self.options.request.same_subtree or self._same_subtrees(slot.suffix):
                    return True
                self._take_back()
        return False

    def _take_back(self) -> int:
        """Undo the last placement. Returns its place."""
        row, place = self.rows.pop(), self.places.pop()
        for index, amount in self.slots[len(self.rows)].resources:
            self.taken[row, index] -= amount
        return place

    def _serves_a_group(self, row: int) -> bool:
        return any(other == row and slot.suffix for slot, other in zip(self.slots, self.rows, strict=False))

    def _take(self, row: int, resources: Amounts) -> bool:
        """Count amounts on a row; False (and nothing is counted) if they do not fit with the counted amounts."""
        taken, room = self.taken, self.options.room
        for index, amount in resources:
            before = taken.get((row, index), 0)
            # Alone it fits, because the row is one of its options.
            if before and before + amount > room[row, index]:
                return False
        for index, amount in resources:
            taken[row, index] = taken.get((row, index), 0) + amount
        return True

    def _traits_together(self) -> bool:
        """Providers that serve the unsuffixed group must together have its traits."""
        if not self.options.having:
            return True
        rows = self._rows_of({""}) or (self.options.root,)
        return all(any(row in having for row in rows) for having in self.options.having)

    def _rows_of(self, suffixes: Collection[str]) -> list[int]:
        """Rows that serve some groups, as far as these are placed."""
        return [row for slot, row in zip(self.slots, self.rows, strict=False) if slot.suffix in suffixes]

    def _same_subtrees(self, placed: str) -> bool:
        """Each set of groups must be under one of its own providers; checked when all groups of the set are placed."""
        for suffixes in self.options.request.same_subtree:
            if placed in suffixes:
                rows = self._rows_of(suffixes)
                if len(rows) == len(suffixes) and not any(all(self._under(row, top) for row in rows) for top in rows):
                    return False
        return True

    def _under(self, row: int, top: int) -> bool:
        while row >= 0:
            if row == top:
                return True
            row = self.options.parents[row]
        return False

    def _answer(self) -> Assignment:
        uuids, classes = self.options.uuids, self.options.classes
        allocations = [
            events.Allocation(uuids[row], classes[index], amount)
            for (row, index), amount in self.taken.items()
            if amount
        ]
        allocations.sort()
        serving: dict[str, set[str]] = {}
        for slot, row in zip(self.slots, self.rows, strict=True):
            serving.setdefault(slot.suffix, set()).add(uuids[row])
        return Assignment(tuple(allocations), {suffix: sorted(of) for suffix, of in serving.items()})


def _twins_of(slots: list[Slot], kind_of: Callable[[ResourceGroup], object] | None) -> list[int]:
    twins = [-1] * len(slots)
    if kind_of is None:
        return twins
    suffixed = [number for number, slot in enumerate(slots) if slot.suffix]
    if len(suffixed) > 1:
        last: dict[object, int] = {}
        for number in suffixed:
            kind = kind_of(slots[number].group)
            twins[number] = last.get(kind, -1)
            last[kind] = number
    return twins
