"""Write what a host reports about its providers into the columns of a HostTable, and sum up its tree.

The caller notes the touch (see :mod:`nova_sched.projection.touched`) and a change of the topology.
"""

from collections.abc import Collection, Iterable

import numpy as np

from nova_sched.projection.table import ALL_BITS, FROM_LOG, MAX_CAPACITY, HostTable
from nova_sched.projection.topology import SHARES
from rpc_api.events import Inventory


def touch_tree(table: HostTable, root: int, use_only: bool = False) -> None:
    """Note that a tree changed, a host's or another one; or only :data:`~nova_sched.projection.touched.USE` of it."""
    if not table.is_host.item(root):
        table.plain_touched.touch_use(root)
    elif use_only:
        table.touched.touch_use(root)
    else:
        table.touched.touch(root)


def clear_provider(table: HostTable, row: int) -> None:
    """Remove inventories and use of a row. Its place in the tree, its traits and the claims in flight stay."""
    table.amounts[FROM_LOG, :, row] = 0
    table.free[:, row] = -table.held[:, row]
    table.ratio[:, row] = 0


def clear_use(table: HostTable, row: int) -> None:
    """Remove only the use of a row."""
    table.used[:, row] = 0
    table.free[:, row] = table.capacity[:, row] - table.held[:, row]


def set_inventory(table: HostTable, row: int, inventory: Inventory) -> None:
    """Write one Inventory record of a provider; the use of the row stays as it is."""
    index = table.class_index(inventory.resource_class)
    table.total[index, row] = inventory.total
    table.reserved[index, row] = inventory.reserved
    table.min_unit[index, row] = inventory.min_unit
    table.max_unit[index, row] = inventory.max_unit
    table.step_size[index, row] = inventory.step_size
    table.ratio[index, row] = inventory.allocation_ratio
    if inventory.min_unit > table.largest_min_unit.item(index):
        table.largest_min_unit[index] = inventory.min_unit
    if inventory.step_size > table.largest_step_size.item(index):
        table.largest_step_size[index] = inventory.step_size
    # used + amount <= capacity holds for integers exactly when it holds for the whole part of the capacity.
    exact = (inventory.total - inventory.reserved) * inventory.allocation_ratio
    table.capacity[index, row] = capacity = int(min(max(exact, 0.0), float(MAX_CAPACITY)))
    table.free[index, row] = capacity - table.used.item(index, row) - table.held.item(index, row)


def unset_inventory(table: HostTable, row: int, index: int) -> None:
    """Remove the inventory of one class of a provider; its use stays as it is."""
    for name in ("total", "reserved", "min_unit", "max_unit", "step_size", "capacity"):
        getattr(table, name)[index, row] = 0
    table.ratio[index, row] = 0
    table.free[index, row] = -table.used[index, row] - table.held[index, row]


def set_traits(table: HostTable, row: int, traits: Iterable[str]) -> None:
    """Write the traits of a provider as bits. Which providers share, and which traits these have, is topology."""
    bits = 0
    for trait in traits:
        bits |= 1 << table.traits.id_of(trait)
    table.widen_traits()
    before = table.trait_words[:, row].tolist()
    now = [bits >> 64 * word & ALL_BITS for word in range(len(before))]
    if now != before:
        shared = table.row_has_trait(SHARES, row)
        table.trait_words[:, row] = np.array(now, np.uint64)
        if shared or table.row_has_trait(SHARES, row):
            table.topology_version += 1


def sum_tree(table: HostTable, root: int) -> None:
    """Compute the sums over the tree of ``root`` from its rows."""
    classes = len(table.classes.values)
    tree = table.trees[root]
    if len(tree) == 1:
        # A view takes a tenth of the time of a copy, and most trees have one provider.
        total, reserved, ratio, used, held = (
            column[:classes, root] for column in (table.total, table.reserved, table.ratio, table.used, table.held)
        )
        table.tree_base[:classes, root] = total - reserved
        table.tree_scaled[:classes, root] = total * ratio - reserved
        table.tree_taken[:classes, root] = used + held
        return
    rows = list(tree)
    total, reserved = table.total[:classes, rows], table.reserved[:classes, rows]
    table.tree_base[:classes, root] = (total - reserved).sum(axis=1)
    table.tree_scaled[:classes, root] = (total * table.ratio[:classes, rows] - reserved).sum(axis=1)
    table.tree_taken[:classes, root] = (table.used[:classes, rows] + table.held[:classes, rows]).sum(axis=1)


def sum_trees(table: HostTable, trees: Collection[tuple[int, ...]]) -> None:
    """As :func:`sum_tree` for many trees (tuples of rows, the root first), faster."""
    alone = np.array([tree[0] for tree in trees if len(tree) == 1], np.int64)
    for index in range(len(table.classes.values)):
        total, reserved = table.total[index, alone], table.reserved[index, alone]
        table.tree_base[index, alone] = total - reserved
        table.tree_scaled[index, alone] = total * table.ratio[index, alone] - reserved
        table.tree_taken[index, alone] = table.used[index, alone] + table.held[index, alone]
    for tree in trees:
        if len(tree) > 1:
            sum_tree(table, tree[0])
