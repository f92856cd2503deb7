"""The trees that can have candidates for a query, found with columns: the anchors, by their root rows.

Sharing providers serve trees of others, so that a tree is an anchor also for what they have.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np

from nova_sched.fit.serving import ALL_TREES
from nova_sched.projection.table import Flags, HostTable, RowNumbers
from nova_sched.projection.topology import SHARES, shared_with
from rpc_api.events import ResourceGroup


class Anchors(NamedTuple):
    """``rows`` are the root rows in ascending order (shape [anchors]). Where ``are_alone`` (bool, same shape), the tree
    is one provider that no other one serves, and it has exactly one candidate: all of the group is on it."""

    rows: RowNumbers
    are_alone: Flags

    def where(self, wanted: Flags) -> "Anchors":
        """Some of them (``wanted``: bool, shape [anchors])."""
        return Anchors(self.rows[wanted], self.are_alone[wanted])


class _Topology(NamedTuple):
    """The rows of all roots; which rows are trees of their own, to which and from which nothing is shared; and for each
    sharing provider and each tree of others that it serves, the two rows."""

    roots: RowNumbers
    alone: Flags
    sharing: RowNumbers
    served: RowNumbers


def anchors_of(table: HostTable, query) -> Anchors:
    """The trees that may have candidates. Those that are not alone may turn out to have none."""
    topology = table.derived("anchors", lambda: _topology(table))
    roots = topology.roots
    possible = np.ones(len(roots), bool)
    for trait in query.root_required:
        possible &= table.has_trait(trait, roots)
    for trait in query.root_forbidden:
        possible &= ~table.has_trait(trait, roots)
    for group in query.groups:
        for resource_class, amount in group.resources:
            possible &= _with_room(table, topology, resource_class, amount)[roots]
    alone = topology.alone[roots]
    if len(query.groups) != 1 or not alone.any():
        return Anchors(roots[possible], np.zeros(np.count_nonzero(possible), bool))
    possible &= ~alone | _usable(table, query.groups[0], roots)
    return Anchors(roots[possible], alone[possible])


def _topology(table: HostTable) -> _Topology:
    served_by = shared_with(table)
    roots = np.flatnonzero(table.root[: table.count] == np.arange(table.count))
    alone = np.zeros(table.count, bool)
    alone[roots] = table.children[roots] == 0
    alone &= ~table.has_trait(SHARES)
    alone[list(served_by)] = False
    pairs = [(row, root) for root, rows in served_by.items() for row in rows]
    sharing, served = np.array(pairs, np.int64).reshape(-1, 2).T
    return _Topology(roots, alone, sharing, served)


def _with_room(table: HostTable, topology: _Topology, resource_class: str, amount: int) -> Flags:
    """Which rows are roots of trees that a provider with room for an amount serves (bool, shape [rows])."""
    found = np.zeros(table.count, bool)
    index = table.classes.get(resource_class)
    if index < 0:
        return found
    room = table.room(index, amount)
    if not table.nested_rows and not len(topology.sharing):
        return room
    found[table.root[: table.count][room]] = True
    found[topology.served[room[topology.sharing]]] = True
    return found


def _usable(table: HostTable, group: ResourceGroup, roots: RowNumbers) -> Flags:
    """Which of some roots a group may use, its room left aside: :func:`nova_sched.fit.serving.allowed` on columns."""
    usable = np.ones(len(roots), bool)
    for names in (*zip(group.required_traits), *group.any_traits):
        usable &= reduce(np.logical_or, [table.has_trait(name, roots) for name in names])
    for trait in group.forbidden_traits:
        usable &= ~table.has_trait(trait, roots)
    for uuids in group.member_of:
        usable &= reduce(np.logical_or, [ALL_TREES.members_of(table, uuid)[roots] for uuid in uuids])
    for uuid in group.forbidden_aggregates:
        usable &= ~ALL_TREES.members_of(table, uuid)[roots]
    if group.in_tree:
        row = table.row_of_uuid.get(group.in_tree)
        usable &= roots == (-1 if row is None else table.root.item(row))
    return usable
