"""Look closely at one host: which of its providers serve which group of the request.

:func:`allocate` finds an assignment of groups to providers by backtracking in a fixed order: the group with the fewest
possible providers first, and of these the provider with the least room first, so that the rest stays in large pieces.
In-flight claims count as taken. A caller with further conditions (PCI devices, NUMA nodes) accepts an assignment, or
lets the search continue.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import aggregate_rows, providers_of
from rpc_api import events
from rpc_api.events import ResourceGroup, SchedulingRequest

MAX_STEPS = 10_000


class Assignment(NamedTuple):
    """``allocations`` are Allocation records; ``mappings`` say which providers serve each group, by its suffix."""

    allocations: tuple[events.Allocation, ...]
    mappings: dict[str, list[str]]


#: Whether an assignment will do; whether a provider may serve the group with a suffix.
Accept = Callable[[Assignment], bool]
Serves = Callable[[str, str], bool]
#: (class index, amount) of each resource.
Amounts = list[tuple[int, int]]


class _Slot(NamedTuple):
    """A part of the request that one provider serves: a suffixed group, or one class of the unsuffixed group.

    ``resources`` are (class index, amount), ``options`` the rows with room for it alone, ``twin`` the number of an
    earlier slot with the same request (-1: none).
    """

    suffix: str
    resources: Amounts
    options: list[int]
    twin: int


def allocate(
    table: HostTable, root: int, request: SchedulingRequest, accept: Accept | None = None, serves: Serves | None = None
) -> Assignment | None:
    """Assign all groups of a request to providers of the tree of ``root``, or else its fallback groups; None if neither
    fit together.

    ``accept(assignment)`` returns whether an assignment is good; the first good one is returned. It must treat groups
    as equal that request the same and have the same text before the last "-" of their suffix, such as ``<request>-0``
    and ``<request>-1``. ``serves(suffix, provider uuid)`` may exclude a provider for a suffixed group beforehand. The
    search ends after MAX_STEPS.
    """
    if len(providers_of(table, root)) == 1:
        found = _allocate_on(table, root, request)
        found = found if found is None or accept is None or accept(found) else None
    elif accept is None and _is_plain(request):
        found = _allocate_class_by_class(table, root, request.groups[0])
    else:
        found = _Search(table, root, request, accept, serves).run()
    if found is None and request.fallback_groups:
        return allocate(
            table, root, request._replace(groups=request.fallback_groups, fallback_groups=()), accept, serves
        )
    return found


def _allocate_on(table: HostTable, row: int, request: SchedulingRequest) -> Assignment | None:
    """Like :func:`allocate`, for a tree of one provider, which needs no search."""
    sums: dict[str, int] = {}
    mappings: dict[str, list[str]] = {}
    for group in request.groups:
        if not allowed(table, row, row, group) or (not group.suffix and not _has_traits(table, (row,), group)):
            return None
        for resource_class, amount in group.resources:
            index, before = table.classes.get(resource_class), sums.get(resource_class, 0)
            if (
                index < 0
                or not table.row_has_room(row, index, amount)
                or (before and not _room_for_sum(table, row, index, before + amount))
            ):
                return None
            sums[resource_class] = before + amount
        if group.suffix or group.resources:
            mappings[group.suffix] = [table.uuids[row]]
    if request.group_policy == "isolate" and len(mappings) - ("" in mappings) > 1:
        return None
    uuid = table.uuids[row]
    return Assignment(tuple(events.Allocation(uuid, name, amount) for name, amount in sorted(sums.items())), mappings)


def _is_plain(request: SchedulingRequest) -> bool:
    """Whether each class of a request can be served without a look at the others: it has one group without a suffix
    and without traits that its providers must have together."""
    groups = request.groups
    return (
        len(groups) == 1
        and not (groups[0].suffix or groups[0].required_traits or groups[0].any_traits or request.same_subtree)
        and bool(groups[0].resources)
    )


def _allocate_class_by_class(table: HostTable, root: int, group: ResourceGroup) -> Assignment | None:
    """Like :func:`allocate`, for a request that needs no search: what the search would find first."""
    rows: Sequence[int] = providers_of(table, root)
    if keeps_out(group):
        rows = [row for row in rows if allowed(table, row, root, group)]
    allocations, serving = [], set()
    for resource_class, amount in group.resources:
        index = table.classes.get(resource_class)
        options = [row for row in rows if table.row_has_room(row, index, amount)] if index >= 0 else []
        if not options:
            return None
        row = options[0] if len(options) == 1 else min(options, key=table.free[index].__getitem__)
        if amount:
            allocations.append(events.Allocation(table.uuids[row], resource_class, amount))
        serving.add(table.uuids[row])
    return Assignment(tuple(sorted(allocations)), {"": sorted(serving)})


def _room_for_sum(table: HostTable, row: int, index: int, amount: int) -> bool:
    """Whether amounts that fit one by one also fit as one allocation."""
    return bool(amount <= table.free[index, row] and amount <= table.max_unit[index, row])


def _has_traits(table: HostTable, rows: Sequence[int], group: ResourceGroup) -> bool:
    """Whether some providers together have the required traits of a group."""
    return all(
        any(table.row_has_trait(trait, row) for row in rows for trait in traits)
        for traits in (*zip(group.required_traits), *group.any_traits)
    )


def keeps_out(group: ResourceGroup) -> bool:
    """Whether a group without a suffix may not use some providers at all."""
    return bool(group.forbidden_traits or group.member_of or group.forbidden_aggregates or group.in_tree)


def allowed(table: HostTable, row: int, root: int, group: ResourceGroup) -> bool:
    """Whether a group may use a provider of a host at all, also a pool: its aggregates, tree and traits (required ones
    of suffixed groups)."""
    has, single, in_tree = table.row_has_trait, group.suffix != "", table.root.item(row) == root
    for trait in group.forbidden_traits:
        if has(trait, row):
            return False
    if single and not _has_traits(table, (row,), group):
        return False
    if group.member_of and not (
        _in_all(table, row, group.member_of) or (not single and in_tree and _in_all(table, root, group.member_of))
    ):
        return False
    for uuid in group.forbidden_aggregates:
        members = aggregate_rows(table, uuid)
        if members[row] or (not single and members[root]):
            return False
    return not group.in_tree or (in_tree and table.row_of_uuid.get(group.in_tree) in table.trees[root])


def _in_all(table: HostTable, row: int, member_of: Iterable[Sequence[str]]) -> bool:
    """Whether one provider is in an aggregate of each list."""
    return all(any(aggregate_rows(table, uuid)[row] for uuid in uuids) for uuids in member_of)


class _Search:
    def __init__(
        self,
        table: HostTable,
        root: int,
        request: SchedulingRequest,
        accept: Accept | None = None,
        serves: Serves | None = None,
    ) -> None:
        self.table = table
        self.root = root
        self.request = request
        self.accept = accept
        self.serves = serves
        self.accepted: Assignment | None = None
        self.tree = providers_of(table, root)
        self.isolate = request.group_policy == "isolate"
        self.slots: list[_Slot] = []
        #: The row of each slot that is placed, and its place among the slot's options.
        self.rows: list[int] = []
        self.places: list[int] = []
        #: (row, class index) -> amount.
        self.taken: dict[tuple[int, int], int] = {}
        self.steps = 0

    def run(self) -> Assignment | None:
        if not self._make_slots() or not self._place(0):
            return None
        return self.accepted

    # --- the slots, and their options --------------------------------------------------------------------------------

    def _make_slots(self) -> bool:
        """Fill ``slots``; False where one of them has no option."""
        suffixed: list[tuple[ResourceGroup, Amounts, list[int]]] = []
        spread: list[_Slot] = []
        for group in self.request.groups:
            rows = [row for row in self.tree if allowed(self.table, row, self.root, group)]
            if group.suffix:
                if self.serves is not None:
                    rows = [row for row in rows if self.serves(group.suffix, self.table.uuids[row])]
                suffixed.append((group, *self._options(group.resources, rows)))
            elif group.resources:
                spread += [_Slot("", *self._options((item,), rows), -1) for item in group.resources]
            elif self.root not in rows:
                return False
        suffixed.sort(key=lambda made: len(made[2]))
        last: dict[tuple[object, ...] | None, int] = {}
        for number, (group, resources, options) in enumerate(suffixed):
            kind = self._kind(group) if len(suffixed) > 1 else None
            self.slots.append(_Slot(group.suffix, resources, options, last.get(kind, -1)))
            last[kind] = number
        self.slots += spread
        return all(slot.options for slot in self.slots)

    def _kind(self, group: ResourceGroup) -> tuple[object, ...]:
        """The kind of a group: groups of one kind can be exchanged."""
        whose = group.suffix.rpartition("-")[0] if self.accept is not None else ""
        return (
            group._replace(suffix=""),
            whose,
            tuple(group.suffix in suffixes for suffixes in self.request.same_subtree),
        )

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

    # --- the search: each level places one slot and then tries the next ----------------------------------------------

    def _place(self, number: int) -> bool:
        if number == len(self.slots):
            return self._traits_together() and self._accepted()
        slot = self.slots[number]
        first = self.places[slot.twin] if slot.twin >= 0 else 0
        for place in range(first, len(slot.options)):
            row = slot.options[place]
            self.steps += 1
            if self.steps > MAX_STEPS:
                return False
            if self.isolate and slot.suffix and self._serves_a_group(row):
                continue
            if self._take(row, slot.resources):
                self.rows.append(row)
                self.places.append(place)
                if self._same_subtrees(slot.suffix) and self._place(number + 1):
                    return True
                self.rows.pop()
                self.places.pop()
                self._give_back(row, slot.resources)
        return False

    def _serves_a_group(self, row: int) -> bool:
        return any(other == row and slot.suffix for slot, other in zip(self.slots, self.rows, strict=False))

    def _take(self, row: int, resources: Amounts) -> bool:
        """Count amounts on a row; False (and nothing is counted) if they do not fit with the counted amounts."""
        table, taken = self.table, self.taken
        for index, amount in resources:
            before = taken.get((row, index), 0)
            # Alone it fits, because the row is one of its options.
            if before and not _room_for_sum(table, row, index, before + amount):
                return False
        for index, amount in resources:
            taken[row, index] = taken.get((row, index), 0) + amount
        return True

    def _give_back(self, row: int, resources: Amounts) -> None:
        for index, amount in resources:
            self.taken[row, index] -= amount

    def _traits_together(self) -> bool:
        """Providers that serve the unsuffixed group must together have its traits."""
        return all(
            group.suffix or _has_traits(self.table, self._rows_of({""}) or (self.root,), group)
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

    def _accepted(self) -> bool:
        assignment = self._answer()
        if self.accept is not None and not self.accept(assignment):
            return False
        self.accepted = assignment
        return True

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
