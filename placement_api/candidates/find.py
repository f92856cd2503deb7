"""The candidates of a query, one after the other, in an order that is the same each time.

They come in the order of the rows of their anchors, or in turns: the first one of each anchor, then the second ones.
Claims in flight do not count: a worker of the API has none.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from nova_sched.fit.providers import Assignment, assignments
from nova_sched.fit.serving import ALL_TREES
from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import SHARES, shared_with
from placement_api.candidates.anchors import anchors_of
from placement_api.config import BREADTH_FIRST, DEPTH_FIRST
from placement_api.handlers.common import is_class, is_trait
from placement_api.http_errors import BadRequest

#: A root row: all of the only group is on this provider, which is alone in its tree. Or an Assignment.
Candidate = int | Assignment


class Rules(NamedTuple):
    """How many candidates are made, and in which order.

    ``most`` is the greatest number that is made, -1 for no limit. Without ``may_nest``, as before microversion 1.29,
    those that take several providers of a tree are made and left out. ``limit`` is the greatest number of those that
    are left, None for no limit. ``closed`` are the numbers of cells (HostTable.cells) of which nothing is offered.
    """

    strategy: str
    most: int
    may_nest: bool
    limit: int | None
    closed: tuple[int, ...] = ()


def candidates_of(table: HostTable, query, rules: Rules) -> list[Candidate]:
    """The candidates, each once."""
    # As in Placement, the tree of a group without resources does not count.
    query = query._replace(
        groups=tuple(group if group.resources else group._replace(in_tree=None) for group in query.groups)
    )
    anchors = anchors_of(table, query)
    if rules.closed:
        anchors = anchors.where(~np.isin(table.cell[anchors.rows], rules.closed))
    # As in Placement, the limit is looked at when a candidate is there already.
    most = max(rules.most, 1) if rules.most >= 0 else None
    if anchors.are_alone.all():
        rows: list[Candidate] = anchors.rows[:most][: rules.limit].tolist()
        return rows
    each = (
        iter((row,)) if is_alone else assignments(table, row, query, ALL_TREES)
        for row, is_alone in zip(anchors.rows.tolist(), anchors.are_alone.tolist(), strict=True)
    )
    found = _in_turns(each) if rules.strategy == BREADTH_FIRST else (one for of_anchor in each for one in of_anchor)
    if rules.closed:
        found = (one for one in found if type(one) is int or not _is_in(table, one, rules.closed))
    if shared_with(table):
        found = _each_once(table, found)
    found = islice(found, most)
    if table.nested_rows and not rules.may_nest:
        found = (one for one in found if type(one) is int or not _nests(table, one))
    return list(islice(found, rules.limit))


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


def _each_once(table: HostTable, found: Iterable[Candidate]) -> Iterator[Candidate]:
    """Without repetitions. Only a candidate whose providers all share is found for several anchors."""
    shares = table.has_trait(SHARES)
    seen = set()
    for one in found:
        if type(one) is not int:
            serving = [uuid for uuids in one.mappings.values() for uuid in uuids]
            if all(shares.item(table.row_of_uuid[uuid]) for uuid in serving):
                key = one.allocations, tuple(sorted((suffix, *uuids) for suffix, uuids in one.mappings.items()))
                if key in seen:
                    continue
                seen.add(key)
        yield one


def _is_in(table: HostTable, one: Assignment, cells: tuple[int, ...]) -> bool:
    """Whether a provider of a candidate is in some cells."""
    serving = {table.row_of_uuid[uuid] for uuids in one.mappings.values() for uuid in uuids}
    return any(table.cell.item(table.root.item(row)) in cells for row in serving)


def _nests(table: HostTable, one: Assignment) -> bool:
    """Whether a candidate takes several providers of a tree."""
    taken = {table.row_of_uuid[allocation.provider_uuid] for allocation in one.allocations}
    return len({table.root.item(row) for row in taken}) < len(taken)


# --- names -----------------------------------------------------------------------------------------------------------


def look_up(region, query) -> bool:
    """Look up the classes, traits and trees that a query names. Returns False if one of its groups cannot be served by
    anything; BadRequest for a class or trait that does not exist.

    As in Placement, a group is only looked at if each of those before it can be served.
    """
    table = region.table
    if query.root_required or query.root_forbidden:
        _check_traits(region, (*query.root_required, *query.root_forbidden))
        if not len(anchors_of(table, query._replace(groups=())).rows):
            return False
    for number, group in enumerate(query.groups):
        fault = _fault_of(region, group)
        if fault is not None:
            before = [query._replace(groups=(other,), same_subtree=()) for other in query.groups[:number]]
            if all(_is_served(table, alone) for alone in before):
                raise fault
            return False
        if not _may_be_served(table, group):
            return False
    return True


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


def _is_served(table: HostTable, query) -> bool:
    """Whether a query of one group has a candidate."""
    return bool(candidates_of(table, query, Rules(DEPTH_FIRST, -1, may_nest=True, limit=1)))
