"""The filters of ``GET /resource_providers``."""

from functools import reduce

import numpy as np

from nova_sched.projection.table import HostTable, RowNumbers
from nova_sched.projection.topology import rows_in_aggregate
from placement_api.candidates.params import (
    NO_AGGREGATES,
    NO_TRAITS,
    Aggregates,
    Traits,
    aggregates_of,
    resources_of,
    traits_of,
)
from placement_api.handlers.common import is_class, is_trait
from placement_api.http_errors import BadRequest
from placement_api.request import uuid_of

NO_ROWS: RowNumbers = np.zeros(0, np.int64)


class _Nothing(Exception):
    """No provider at all has what a parameter wants. As in Placement, the later ones are not looked at then."""


def providers_matching(request) -> list[int]:
    """The rows of the providers that a query wants, ascending; BadRequest for a value that makes no sense, and for a
    class or trait that does not exist. Call it under the lock."""
    query, region = request.GET, request.region
    aggregates = aggregates_of(request) if "member_of" in query else NO_AGGREGATES
    traits = traits_of(request) if "required" in query else NO_TRAITS
    resources = resources_of(query["resources"]) if "resources" in query else {}
    try:
        rows = _named(region, query.get("name"), query.get("uuid"), query.get("in_tree"))
        rows = _with_traits(region, traits, rows)
        rows = _in_aggregates(region.table, aggregates, rows)
    except _Nothing:
        return []
    for resource_class, amount in resources.items():
        rows = _with_room(region, resource_class, amount, rows)
    found: list[int] = rows.tolist()
    return found


def _named(region, name: str | None, uuid: str | None, in_tree: str | None) -> RowNumbers:
    """The rows of a name, of a uuid and of a tree, each from its index; all rows if none of them is given."""
    table, tree = region.table, None
    if in_tree:
        tree = region.tree_of(uuid_of(in_tree))
        if tree is None:
            raise _Nothing
    if name:
        named = [found.provider_names[name] for found in region.projections() if name in found.provider_names]
        rows = [region.row_of(one) for one in named if not uuid or one == uuid_of(uuid)]
    elif uuid:
        row = region.row_of(uuid_of(uuid))
        rows = [] if row is None else [row]
    elif tree is not None:
        return np.array(sorted(tree.rows.values()), np.int64)
    else:
        return np.flatnonzero(table.root[: table.count] >= 0)
    return np.array([row for row in rows if tree is None or table.root.item(row) == tree.root], np.int64)


def _with_traits(region, traits: Traits, rows: RowNumbers) -> RowNumbers:
    table = region.table
    alternatives = (*zip(traits.required), *traits.any_of)
    _check_traits(region, [name for names in alternatives for name in names])
    if alternatives:
        has = [reduce(np.logical_or, map(table.has_trait, names)) for names in alternatives]
        having = reduce(np.logical_and, has)
        if not having.any():
            raise _Nothing
        rows = rows[having[rows]]
    _check_traits(region, traits.forbidden)
    for name in traits.forbidden:
        rows = rows[~table.has_trait(name, rows)]
    return rows


def _check_traits(region, names) -> None:
    for name in names:
        if not is_trait(region, name):
            raise BadRequest(f'Invalid trait(s) in "required" parameter: No such trait(s): {name}.', of_state=True)


def _in_aggregates(table: HostTable, aggregates: Aggregates, rows: RowNumbers) -> RowNumbers:
    if aggregates.member_of:
        members = reduce(np.intersect1d, [_members(table, uuids) for uuids in aggregates.member_of])
        if not len(members):
            raise _Nothing
        rows = np.intersect1d(rows, members)
    return np.setdiff1d(rows, _members(table, aggregates.forbidden)) if aggregates.forbidden else rows


def _members(table: HostTable, uuids) -> RowNumbers:
    """The rows of the providers in one of some aggregates, from the index of these."""
    return np.array(sorted({row for uuid in uuids for row in rows_in_aggregate(table, uuid)}), np.int64)


def _with_room(region, resource_class: str, amount: int, rows: RowNumbers) -> RowNumbers:
    if not is_class(region, resource_class):
        raise BadRequest(
            f"Invalid resource class in resources parameter: No such resource class {resource_class}.", of_state=True
        )
    index = region.table.classes.get(resource_class)
    return NO_ROWS if index < 0 else rows[region.table.room(index, amount, rows)]
