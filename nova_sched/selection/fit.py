"""The close look at one host: which of its providers take which group of the request.

:func:`allocate` finds an assignment of groups to providers by backtracking
in a fixed order, fullest provider first, so that what is left stays in large
pieces. In-flight claims count as taken.
"""

from typing import NamedTuple

from rpc_api import events

MAX_STEPS = 10_000


class Assignment(NamedTuple):
    """``allocations`` are Allocation records; ``mappings`` say which providers serve each group, by its suffix."""

    allocations: tuple
    mappings: dict


def allocate(table, root: int, request) -> Assignment | None:
    """Assign all groups of a request to providers of the tree of ``root``; None where they do not fit together."""
    return _Search(table, root, request).run()


class _Search:
    def __init__(self, table, root, request):
        self.table = table
        self.root = root
        self.request = request
        self.tree = table.trees[root]
        self.single = [group for group in request.groups if group.suffix != ""]
        self.spread = [group for group in request.groups if group.suffix == ""]
        self.taken = {}
        self.placed = {}
        self.steps = 0

    def run(self):
        if not self._single(0):
            return None
        return self._answer()

    # Each level of the search places one group (or one class of the unsuffixed group) and then tries the next.

    def _single(self, number):
        if number == len(self.single):
            return self._same_subtrees() and self._spread(0)
        group = self.single[number]
        isolate = self.request.group_policy == "isolate"
        for row in self._in_order(group):
            if isolate and group.resources and any(
                    row in rows for suffix, rows in self.placed.items() if self._has_resources(suffix)):
                continue
            self.steps += 1
            if self.steps > MAX_STEPS:
                return False
            if self._allowed(row, group, True) and self._take(row, group.resources):
                self.placed[group.suffix] = [row]
                if self._single(number + 1):
                    return True
                del self.placed[group.suffix]
                self._give_back(row, group.resources)
        return False

    def _spread(self, number):
        wanted = [(group, item) for group in self.spread for item in group.resources]
        if number == len(wanted):
            return all(self._traits_together(group) for group in self.spread)
        group, item = wanted[number]
        for row in self._in_order(group, item):
            self.steps += 1
            if self.steps > MAX_STEPS:
                return False
            if self._allowed(row, group, False) and self._take(row, (item,)):
                self.placed.setdefault("", []).append(row)
                if self._spread(number + 1):
                    return True
                self.placed[""].pop()
                self._give_back(row, (item,))
        return False

    def _in_order(self, group, item=None):
        """Rows of the tree, the one with least left of the group's first class first."""
        if len(self.tree) == 1 or not (item or group.resources):
            return self.tree
        index = self.table.classes.get((item or group.resources[0])[0])
        if index < 0:
            return ()
        free = self.table.free[index]
        return sorted(self.tree, key=lambda row: free[row] - self.taken.get((row, index), 0))

    def _allowed(self, row, group, single):
        table = self.table
        if any(table.has_trait(trait, row) for trait in group.forbidden_traits):
            return False
        if single and not (all(table.has_trait(trait, row) for trait in group.required_traits) and all(
                any(table.has_trait(trait, row) for trait in traits) for traits in group.any_traits)):
            return False
        rows = (row,) if single else (row, self.root)
        if not all(self._in_any(rows, uuids) for uuids in group.member_of):
            return False
        if group.forbidden_aggregates and self._in_any(rows, group.forbidden_aggregates):
            return False
        return not group.in_tree or table.row_of_uuid.get(group.in_tree) in self.tree

    def _in_any(self, rows, uuids):
        return any(self.table.aggregate_rows(uuid)[row] for uuid in uuids for row in rows)

    def _take(self, row, resources):
        for resource_class, amount in resources:
            index = self.table.classes.get(resource_class)
            # One allocation of a provider is the sum over the groups on it, and its units are checked on that sum.
            total = amount + self.taken.get((row, index), 0)
            if index < 0 or not self.table.room(index, total, row):
                return False
        for resource_class, amount in resources:
            index = self.table.classes.get(resource_class)
            self.taken[row, index] = self.taken.get((row, index), 0) + amount
        return True

    def _give_back(self, row, resources):
        for resource_class, amount in resources:
            self.taken[row, self.table.classes.get(resource_class)] -= amount

    def _has_resources(self, suffix):
        return any(group.suffix == suffix and group.resources for group in self.single)

    def _traits_together(self, group):
        """Providers that serve the unsuffixed group must have its traits between them."""
        rows = self.placed.get("", [])
        has = self.table.has_trait
        return (all(any(has(trait, row) for row in rows) for trait in group.required_traits)
                and all(any(has(trait, row) for row in rows for trait in traits) for traits in group.any_traits))

    def _same_subtrees(self):
        """Each set of groups must lie under one of its own providers."""
        for suffixes in self.request.same_subtree:
            rows = [row for suffix in suffixes for row in self.placed.get(suffix, ())]
            if rows and not any(all(self._under(row, top) for row in rows) for top in rows):
                return False
        return True

    def _under(self, row, top):
        while row >= 0:
            if row == top:
                return True
            row = int(self.table.parent[row])
        return False

    def _answer(self):
        uuids, classes = self.table.uuids, self.table.classes.values
        allocations = tuple(events.Allocation(uuids[row], classes[index], amount)
                            for (row, index), amount in sorted(self.taken.items()) if amount)
        return Assignment(allocations, {suffix: sorted({uuids[row] for row in rows})
                                        for suffix, rows in self.placed.items()})
