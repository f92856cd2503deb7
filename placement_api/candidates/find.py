"""The candidates of a query, one after the other, in an order that is the same each time.

They come in the order of the rows of their anchors, or in turns: the first one of each anchor, then the second ones.
Claims in flight do not count: a worker of the API has none.

Other requests and the fold need the lock of the table, too. So the trees that may have candidates are found at once, by
columns, and then each tree is read at one moment, and searched without the lock: that may take minutes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, NamedTuple, cast

import numpy as np

from nova_sched.fit.providers import Assignment, assignments
from nova_sched.fit.serving import ALL_TREES, Reach
from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import SHARES, providers_for
from placement_api.candidates.anchors import anchors_of
from placement_api.config import BREADTH_FIRST, DEPTH_FIRST
from placement_api.consumers import given_back
from placement_api.handlers.common import is_class, is_trait
from placement_api.http_errors import BadRequest

#: The uuid of a root: all of the only group is on this provider, which is alone in its tree. Or an Assignment.
Candidate = str | Assignment

#: Assignments of one query, if [placement_api] max_allocation_candidates sets no limit: all of them are in memory at
#: once, about 2 kB each.
MOST_ASSIGNMENTS = 100_000


class Rules(NamedTuple):
    """How many candidates are made, and in which order.

    ``most`` is the greatest number that is made, -1 for no limit. Without ``may_nest``, as before microversion 1.29,
    those that take several providers of a tree are made and left out. ``limit`` is the greatest number of those that
    are left, None for no limit. ``closed`` are the cells of which nothing is offered. With a ``draw`` they are a
    sample of all.
    """

    strategy: str
    most: int
    may_nest: bool
    limit: int | None
    closed: tuple[str, ...] = ()
    draw: Random | None = None


class Found(NamedTuple):
    """``summaries`` are those of all trees of which a candidate takes something, as Summaries has them, and
    ``has_trees`` is whether a provider of the table has a parent."""

    candidates: list[Candidate]
    summaries: list[bytes]
    has_trees: bool


NOTHING = Found([], [], False)


def candidates_of(region: Any, query: Any, rules: Rules) -> Found:
    """The candidates, each once. Call it without the lock of the region. TooManySteps if the search of a tree takes too
    long, BadRequest if there are too many assignments."""
    # As in Placement, the tree of a group without resources does not count.
    query = query._replace(
        groups=tuple(group if group.resources else group._replace(in_tree=None) for group in query.groups)
    )
    table: HostTable = region.table
    # As in Placement, the limit is looked at when a candidate is there already.
    most = max(rules.most, 1) if rules.most >= 0 else None
    with region.lock:
        closed = [region.logs[cell].projection.cell_index for cell in rules.closed]
        anchors = anchors_of(table, query)
        if closed:
            anchors = anchors.where(~np.isin(table.cell[anchors.rows], closed))
        has_trees = bool(table.nested_rows)
        if anchors.are_alone.all():
            rows = _chosen(anchors.rows[:most].tolist(), rules)
            return Found([table.uuids[row] for row in rows], _summaries_of(region, rows), has_trees)
        searched = _Searched(region, query, closed)
        alone = anchors.rows[anchors.are_alone][:most]
        searched.know(alone[: rules.limit if rules.draw is None else None].tolist())
        roots = [table.uuids[row] for row in anchors.rows.tolist()]
    each = (
        iter((uuid,)) if is_alone else searched.candidates(uuid)
        for uuid, is_alone in zip(roots, anchors.are_alone.tolist(), strict=True)
    )
    found = _in_turns(each) if rules.strategy == BREADTH_FIRST else (one for of_anchor in each for one in of_anchor)
    found = searched.each_once(found)
    found = _not_too_many(found) if most is None else islice(found, most)
    if not rules.may_nest:
        found = (one for one in found if type(one) is str or not searched.nests(one))
    candidates = _chosen(list(islice(found, rules.limit if rules.draw is None else None)), rules)
    return Found(candidates, searched.summaries_for(candidates), has_trees)


def _summaries_of(region: Any, roots: Iterable[int]) -> list[bytes]:
    return cast("list[bytes]", region.summaries.of(roots, given_back(region)))


def _chosen(found: list[Any], rules: Rules) -> list[Any]:
    if rules.draw is None:
        return found[: rules.limit]
    return rules.draw.sample(found, len(found) if rules.limit is None else min(rules.limit, len(found)))


def _in_turns(iterators: Iterable[Iterator[Candidate]]) -> Iterator[Candidate]:
    """One of each iterator, then another one of each."""
    waiting: deque[Iterator[Candidate]] = deque()
    for iterator in iterators:
        for one in iterator:
            yield one
            waiting.append(iterator)
            break
    while waiting:
        iterator = waiting.popleft()
        for one in iterator:
            yield one
            waiting.append(iterator)
            break


def _not_too_many(found: Iterable[Candidate]) -> Iterator[Candidate]:
    number = 0
    for one in found:
        if type(one) is not str:
            number += 1
            if number > MOST_ASSIGNMENTS:
                raise BadRequest(
                    f"There are more than {MOST_ASSIGNMENTS} candidates, which is too many for one answer; ask for "
                    "fewer of them with limit."
                )
        yield one


class _Searched:
    """The trees that were searched, and what was copied of them: the row of a provider may be another one's by now."""

    def __init__(self, region: Any, query: Any, closed: list[int]):
        self._region, self._query, self._closed = region, query, closed
        self._reach = Reach(self._providers_for, ALL_TREES.members_of) if closed else ALL_TREES
        #: Provider -> root of its tree; root -> summary; providers that serve other trees, too. By uuids.
        self._roots: dict[str, str] = {}
        self._summaries: dict[str, bytes] = {}
        self._sharing: set[str] = set()

    def _providers_for(self, table: HostTable, root: int) -> tuple[int, ...]:
        """Without the providers of other trees that are in closed cells."""
        rows = providers_for(table, root)
        return tuple(row for row in rows if table.cell.item(table.root.item(row)) not in self._closed)

    def know(self, roots: list[int]) -> None:
        """Trees of one provider have a candidate. Call it under the lock."""
        uuids = [self._region.table.uuids[row] for row in roots]
        self._roots.update(zip(uuids, uuids, strict=True))
        self._summaries.update(zip(uuids, _summaries_of(self._region, roots), strict=True))

    def candidates(self, root_uuid: str) -> Iterator[Assignment]:
        """The candidates of the tree of a root as it is now; none if it is no root any longer."""
        region, table = self._region, self._region.table
        with region.lock:
            root = table.row_of_uuid.get(root_uuid)
            if root is None or table.root.item(root) != root:
                return iter(())
            found = assignments(table, root, self._query, self._reach)
            self._read(root, table.trees[root])
            # (The first one may have come since the search of the last tree.)
            if table.derived("has sharing", lambda: bool(table.has_trait(SHARES).any())):
                others = self._reach.providers_of(table, root)[len(table.trees[root]) :]
                for row in others:
                    self._read(table.root.item(row), (row,))
                rows = (*table.trees[root], *others)
                self._sharing.update(table.uuids[row] for row in rows if table.row_has_trait(SHARES, row))
        return found

    def _read(self, root: int, rows: Sequence[int]) -> None:
        """Copy what the answer needs of some providers of a tree."""
        uuids = self._region.table.uuids
        (self._summaries[uuids[root]],) = _summaries_of(self._region, (root,))
        self._roots.update(dict.fromkeys([uuids[row] for row in rows], uuids[root]))

    def each_once(self, found: Iterable[Candidate]) -> Iterator[Candidate]:
        """Without repetitions. Only a candidate whose providers all share is found for several anchors."""
        seen = set()
        for one in found:
            if self._sharing and type(one) is not str:
                serving = [uuid for uuids in one.mappings.values() for uuid in uuids]
                if self._sharing.issuperset(serving):
                    key = one.allocations, tuple(sorted((suffix, *uuids) for suffix, uuids in one.mappings.items()))
                    if key in seen:
                        continue
                    seen.add(key)
            yield one

    def nests(self, one: Assignment) -> bool:
        """Whether a candidate takes several providers of a tree."""
        taken = {allocation.provider_uuid for allocation in one.allocations}
        return len({self._roots[uuid] for uuid in taken}) < len(taken)

    def summaries_for(self, candidates: Iterable[Candidate]) -> list[bytes]:
        """The summaries of the trees of which candidates take something, each once."""
        roots: dict[str, None] = {}
        for one in candidates:
            taken = (one,) if type(one) is str else [allocation.provider_uuid for allocation in one.allocations]
            for uuid in taken:
                roots[self._roots[uuid]] = None
        return [self._summaries[uuid] for uuid in roots]


# --- names -----------------------------------------------------------------------------------------------------------


def look_up(region, query) -> bool:
    """Look up the classes, traits and trees that a query names. Returns False if one of its groups cannot be served by
    anything; BadRequest for a class or trait that does not exist. Call it without the lock of the region.

    As in Placement, a group is only looked at if each of those before it can be served.
    """
    before: list[Any] = []
    with region.lock:
        if query.root_required or query.root_forbidden:
            _check_traits(region, (*query.root_required, *query.root_forbidden))
            if not len(anchors_of(region.table, query._replace(groups=())).rows):
                return False
        for group in query.groups:
            fault = _fault_of(region, group)
            if fault is not None:
                break
            if not _may_be_served(region.table, group):
                return False
            before.append(query._replace(groups=(group,), same_subtree=()))
        else:
            return True
    if all(_is_served(region, alone) for alone in before):
        raise fault
    return False


def _fault_of(region, group) -> BadRequest | None:
    for resource_class, _ in group.resources:
        if not is_class(region, resource_class):
            return BadRequest(
                f"Invalid resource class in resources parameter: No such resource class {resource_class}.",
                of_state=True,
            )
    if group.member_of and not _members_of(region.table, group.member_of).any():
        return None
    try:
        names = (*group.required_traits, *(name for names in group.any_traits for name in names))
        _check_traits(region, (*names, *group.forbidden_traits))
    except BadRequest as fault:
        return fault
    return None


def _check_traits(region, names) -> None:
    for name in names:
        if not is_trait(region, name):
            raise BadRequest(f"No such trait(s): {name}.", of_state=True)


def _members_of(table: HostTable, member_of):
    """Which rows are in an aggregate of each list."""
    found = table.root[: table.count] >= 0
    for uuids in member_of:
        of_list = found & False
        for uuid in uuids:
            of_list |= ALL_TREES.members_of(table, uuid)
        found = found & of_list
    return found


def _may_be_served(table: HostTable, group) -> bool:
    if group.in_tree and group.in_tree not in table.row_of_uuid:
        return False
    # As in Placement, forbidden traits and aggregates alone are no request.
    return bool(group.resources or group.required_traits or group.any_traits or group.member_of)


def _is_served(region, query) -> bool:
    """Whether a query of one group has a candidate."""
    return bool(candidates_of(region, query, Rules(DEPTH_FIRST, -1, may_nest=True, limit=1)).candidates)
