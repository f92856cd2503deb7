"""The search for assignments of groups to providers, by backtracking in a fixed order."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from nova_sched.fit.serving import GroupsRequest, Reach, allowed, has_traits, room_for_all, room_for_sum
from nova_sched.projection.table import HostTable
from rpc_api import errors, events
from rpc_api.events import ResourceGroup


class Assignment(NamedTuple):
    """``allocations`` are Allocation records; ``mappings`` say which providers serve each group, by its suffix."""

    allocations: tuple[events.Allocation, ...]
    mappings: dict[str, list[str]]


#: Whether a provider (its uuid) may serve the group with a suffix.
Serves = Callable[[str, str], bool]
#: (class index, amount) of each resource.
Amounts = list[tuple[int, int]]


class _Slot(NamedTuple):
    """A part of the request that one provider serves: a suffixed group, or one class of the unsuffixed group.

    ``resources`` are (class index, amount), ``options`` the rows with room for it alone, ``twin`` the number of an
    earlier slot with the same request, with which this one is not exchanged (-1: none).
    """

    suffix: str
    resources: Amounts
    options: list[int]
    twin: int


class TooManySteps(errors.UsageError):
    """The search for all assignments takes too long."""


class Search:
    """The group with the fewest possible providers is placed first, and of these the provider with the least room is
    tried first, so that the rest stays in large pieces.

    Without ``kind_of`` it finds all assignments. With it, it leaves out those that only exchange the providers of
    groups of one kind. It ends when it has no ``steps_left``, which are ``most_steps`` at the beginning.
    """

    def __init__(
        self,
        table: HostTable,
        root: int,
        request: GroupsRequest,
        reach: Reach,
        serves: Serves | None = None,
        kind_of: Callable[[ResourceGroup], object] | None = None,
        *,
        most_steps: int,
    ) -> None:
        self.table = table
        self.root = root
        self.request = request
        self.reach = reach
        self.serves = serves
        self.kind_of = kind_of
        self.steps_left = most_steps
        self.tree = reach.providers_of(table, root)
        self.isolate = request.group_policy == "isolate"
        self.slots: list[_Slot] = []
        #: The row of each slot that is placed, and its place among the slot's options.
        self.rows: list[int] = []
        self.places: list[int] = []
        #: (row, class index) -> amount.
        self.taken: dict[tuple[int, int], int] = {}

    def assignments(self) -> Iterator[Assignment]:
        """Yield the assignments. Each turn places the next slot, or else goes back to the slot before."""
        if not self._make_slots() or not self._have_enough():
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

    # --- the slots, and their options --------------------------------------------------------------------------------

    def _make_slots(self) -> bool:
        """Fill ``slots``; False where one of them has no option."""
        suffixed: list[tuple[ResourceGroup, Amounts, list[int]]] = []
        spread: list[_Slot] = []
        for group in self.request.groups:
            rows = [row for row in self.tree if allowed(self.table, row, self.root, group, self.reach)]
            if group.suffix:
                if self.serves is not None:
                    rows = [row for row in rows if self.serves(group.suffix, self.table.uuids[row])]
                suffixed.append((group, *self._options(group.resources, rows)))
            elif group.resources:
                spread += [_Slot("", *self._options((item,), rows), -1) for item in group.resources]
            elif self.root not in rows:
                return False
        suffixed.sort(key=lambda made: len(made[2]))
        last: dict[object, int] = {}
        for number, (group, resources, options) in enumerate(suffixed):
            kind = self.kind_of(group) if self.kind_of is not None and len(suffixed) > 1 else number
            self.slots.append(_Slot(group.suffix, resources, options, last.get(kind, -1)))
            last[kind] = number
        self.slots += spread
        return all(slot.options for slot in self.slots)

    def _options(self, resources: Iterable[events.ResourceAmount], rows: list[int]) -> tuple[Amounts, list[int]]:
        """Class indices with amounts, and the rows with room for them; the row with the least room of the first class
        is the first."""
        table = self.table
        indexed: Amounts = []
        for resource_class, amount in resources:
            index = table.classes.get(resource_class)
            rows = [row for row in rows if table.row_has_room(row, index, amount)] if index >= 0 else []
            indexed.append((index, amount))
        if indexed and len(rows) > 1:
            rows = sorted(rows, key=table.free[indexed[0][0]].__getitem__)
        return indexed, rows

    def _have_enough(self) -> bool:
        """Whether the options of all slots together have what these want of each class: says at once that many equal
        groups cannot fit."""
        wanted: dict[int, list[int]] = {}
        options: dict[int, set[int]] = {}
        for slot in self.slots:
            for index, amount in slot.resources:
                wanted.setdefault(index, []).append(amount)
                options.setdefault(index, set()).update(slot.options)
        return all(
            len(amounts) == 1 or sum(amounts) <= sum(room_for_all(self.table, row, index) for row in options[index])
            for index, amounts in wanted.items()
        )

    # --- the search --------------------------------------------------------------------------------------------------

    def _first_place(self, number: int) -> int:
        """The first option to try for a slot."""
        if number == len(self.slots) or self.slots[number].twin < 0:
            return 0
        return self.places[self.slots[number].twin]

    def _place(self, slot: _Slot, first: int) -> bool:
        """Place a slot on the first of its options that will do, from the place ``first`` on."""
        for place in range(first, len(slot.options)):
            row = slot.options[place]
            if not self.steps_left:
                return False
            self.steps_left -= 1
            if self.isolate and slot.suffix and self._serves_a_group(row):
                continue
            if self._take(row, slot.resources):
                self.rows.append(row)
                self.places.append(place)
                if self._same_subtrees(slot.suffix):
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
        table, taken = self.table, self.taken
        for index, amount in resources:
            before = taken.get((row, index), 0)
            # Alone it fits, because the row is one of its options.
            if before and not room_for_sum(table, row, index, before + amount):
                return False
        for index, amount in resources:
            taken[row, index] = taken.get((row, index), 0) + amount
        return True

    def _traits_together(self) -> bool:
        """Providers that serve the unsuffixed group must together have its traits."""
        return all(
            group.suffix or has_traits(self.table, self._rows_of({""}) or (self.root,), group)
            for group in self.request.groups
        )

    def _rows_of(self, suffixes: Collection[str]) -> list[int]:
        """Rows that serve some groups, as far as these are placed."""
        return [row for slot, row in zip(self.slots, self.rows, strict=False) if slot.suffix in suffixes]

    def _same_subtrees(self, placed: str) -> bool:
        """Each set of groups must be under one of its own providers; checked when all groups of the set are placed."""
        for suffixes in self.request.same_subtree:
            if placed in suffixes:
                rows = self._rows_of(suffixes)
                if len(rows) == len(suffixes) and not any(all(self._under(row, top) for row in rows) for top in rows):
                    return False
        return True

    def _under(self, row: int, top: int) -> bool:
        while row >= 0:
            if row == top:
                return True
            row = int(self.table.parent[row])
        return False

    def _answer(self) -> Assignment:
        uuids, classes = self.table.uuids, self.table.classes.values
        allocations = tuple(
            sorted(
                events.Allocation(uuids[row], classes[index], amount)
                for (row, index), amount in self.taken.items()
                if amount
            )
        )
        serving: dict[str, set[str]] = {}
        for slot, row in zip(self.slots, self.rows, strict=True):
            serving.setdefault(slot.suffix, set()).add(uuids[row])
        return Assignment(allocations, {suffix: sorted(of) for suffix, of in serving.items()})
