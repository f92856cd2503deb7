"""What the groups of a request may use of one tree, as copies: a search needs nothing else of the table."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from nova_sched.fit.serving import GroupsRequest, Reach, allowed, room_for_all
from nova_sched.projection.table import HostTable
from rpc_api import events
from rpc_api.events import ResourceGroup

#: Whether a provider (its uuid) may serve the group with a suffix.
Serves = Callable[[str, str], bool]
#: (class index, amount) of each resource.
Amounts = list[tuple[int, int]]


class Slot(NamedTuple):
    """A part of the request that one provider serves: a suffixed group, or one class of the unsuffixed group.

    ``resources`` are (class index, amount), ``rows`` those with room for it alone, in the order in which to try them.
    """

    suffix: str
    group: ResourceGroup
    resources: Amounts
    rows: list[int]


class TreeOptions:
    """The options of a request in the tree of ``root``. The table is read here and not later."""

    def __init__(
        self, table: HostTable, root: int, request: GroupsRequest, reach: Reach, serves: Serves | None = None
    ) -> None:
        self.request = request
        self.root = root
        #: The group with the fewest possible providers first, and the classes of the unsuffixed group last.
        self.slots: list[Slot] = []
        #: (row, class index) -> how much one consumer can have of it, of each class that several slots want.
        self.room: dict[tuple[int, int], int] = {}
        #: Row -> uuid of the provider, and class index -> name.
        self.uuids: dict[int, str] = {}
        self.classes: dict[int, str] = {}
        #: Row -> row of its parent, -1 for a root; empty if no groups must be under one provider.
        self.parents: dict[int, int] = {}
        #: The rows that have each of the traits which the providers of the unsuffixed group must have together.
        self.having: list[frozenset[int]] = []
        #: False if no assignment is possible.
        self.are_enough = self._make_slots(table, reach, serves) and self._have_enough(table)
        if self.are_enough:
            self._copy(table)

    def _make_slots(self, table: HostTable, reach: Reach, serves: Serves | None) -> bool:
        """Fill ``slots``; False where one of them has no option."""
        spread: list[Slot] = []
        tree = reach.providers_of(table, self.root)
        for group in self.request.groups:
            rows = [row for row in tree if allowed(table, row, self.root, group, reach)]
            if group.suffix:
                if serves is not None:
                    rows = [row for row in rows if serves(group.suffix, table.uuids[row])]
                self.slots.append(Slot(group.suffix, group, *_with_room(table, group.resources, rows)))
            elif group.resources:
                spread += [Slot("", group, *_with_room(table, (item,), rows)) for item in group.resources]
            elif self.root not in rows:
                return False
        self.slots.sort(key=lambda slot: len(slot.rows))
        self.slots += spread
        return all(slot.rows for slot in self.slots)

    def _have_enough(self, table: HostTable) -> bool:
        """Whether the options of all slots together have what these want of each class: says at once that many equal
        groups cannot fit."""
        wanted: dict[int, list[int]] = {}
        options: dict[int, set[int]] = {}
        for slot in self.slots:
            for index, amount in slot.resources:
                wanted.setdefault(index, []).append(amount)
                options.setdefault(index, set()).update(slot.rows)
        for index, amounts in wanted.items():
            if len(amounts) > 1:
                room = {(row, index): room_for_all(table, row, index) for row in options[index]}
                if sum(amounts) > sum(room.values()):
                    return False
                self.room |= room
        return True

    def _copy(self, table: HostTable) -> None:
        uuids, names = table.uuids, table.classes.values
        for slot in self.slots:
            for index, _ in slot.resources:
                self.classes[index] = names[index]
            for row in slot.rows:
                self.uuids[row] = uuids[row]
        if self.request.same_subtree:
            for row in self.uuids:
                while row >= 0 and row not in self.parents:
                    parent = self.parents[row] = table.parent.item(row)
                    row = parent
        for group in self.request.groups:
            if not group.suffix and (group.required_traits or group.any_traits):
                rows = {row for slot in self.slots if slot.group is group for row in slot.rows} or {self.root}
                self.having = [
                    frozenset(row for row in rows if any(table.row_has_trait(trait, row) for trait in traits))
                    for traits in (*zip(group.required_traits), *group.any_traits)
                ]


def _with_room(
    table: HostTable, resources: Iterable[events.ResourceAmount], rows: list[int]
) -> tuple[Amounts, list[int]]:
    """Class indices with amounts, and the rows with room for them; the row with the least room of the first class is
    the first."""
    indexed: Amounts = []
    for resource_class, amount in resources:
        index = table.classes.get(resource_class)
        rows = [row for row in rows if table.row_has_room(row, index, amount)] if index >= 0 else []
        indexed.append((index, amount))
    if indexed and len(rows) > 1:
        rows = sorted(rows, key=table.free[indexed[0][0]].__getitem__)
    return indexed, rows
