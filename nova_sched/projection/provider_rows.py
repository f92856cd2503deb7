"""The trees of providers in the table: providers come, move and go, and get inventories, traits and aggregates.

Nothing here checks whether a write is allowed, and nothing counts use: see
:mod:`~nova_sched.projection.provider_writes` and :mod:`~nova_sched.projection.holding`.
"""

from collections.abc import Iterable

from nova_sched.projection.ledger import Host, PlainTree
from nova_sched.projection.provider_columns import set_inventory, set_traits, sum_tree, touch_tree, unset_inventory
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from rpc_api.events import Inventory


def add_provider(projection: State, uuid: str, name: str, parent_uuid: str | None) -> int:
    """Add a provider that no host reports: the root of a tree, or a child of a known provider. Returns its row."""
    table = projection.table
    if parent_uuid is None:
        row = table.add_row(uuid, name, None, -1)
        table.cell[row] = projection.cell_index
        tree: Host | PlainTree = PlainTree()
        projection.trees[uuid] = tree
        tree.root = row
        table.trees[row] = (row,)
    else:
        tree = projection.trees[parent_uuid]
        row = table.add_row(uuid, name, tree.root, tree.rows[parent_uuid])
        projection.trees[uuid] = tree
        _set_order(table, (*table.trees[tree.root], row))
    tree.rows[uuid] = row
    projection.provider_names[name] = uuid
    return row


def drop_provider(projection: State, uuid: str) -> None:
    """Remove a provider without children, of which nobody holds anything. If it is the root of a host, the host waits
    for its root again."""
    table, tree = projection.table, projection.trees.pop(uuid)
    row = tree.rows.pop(uuid)
    forget_name(projection, row)
    if row != tree.root:
        _set_order(table, tuple(other for other in table.trees[tree.root] if other != row))
        sum_tree(table, tree.root)
    else:
        if type(tree) is Host:
            no_host(projection, tree)
            del projection.hosts[tree.name]
            projection.waiting[uuid] = tree
        del table.trees[row]
        tree.root = -1
    table.drop_rows([row])


def erase(projection: State, tree: Host | PlainTree) -> None:
    """Drop all rows of a tree."""
    if type(tree) is Host:
        no_host(projection, tree)
    del projection.table.trees[tree.root]
    for uuid, row in tree.rows.items():
        forget_name(projection, row)
        del projection.trees[uuid]
    projection.table.drop_rows(list(tree.rows.values()))
    tree.rows = {}
    tree.root = -1


def erase_all(projection: State) -> None:
    """Drop all rows of a log."""
    rows: list[int] = []
    for tree in dict.fromkeys(projection.trees.values()):
        if type(tree) is Host:
            no_host(projection, tree)
        del projection.table.trees[tree.root]
        rows += tree.rows.values()
        tree.rows, tree.root = {}, -1
    projection.table.drop_rows(rows)
    projection.trees, projection.provider_names = {}, {}


def no_host(projection: State, host: Host) -> None:
    """The root row of a host is that of no host any more."""
    table = projection.table
    if table.row_of_host.get(host.name) == host.root:
        del table.row_of_host[host.name]
    table.is_host[host.root] = False
    table.host_names[host.root] = None  # type: ignore[call-overload]  # as in all lists of rows
    table.topology_version += 1


def rename_provider(projection: State, uuid: str, name: str) -> None:
    """Give a provider another name."""
    row = projection.trees[uuid].rows[uuid]
    forget_name(projection, row)
    projection.table.provider_names[row] = name
    projection.provider_names[name] = uuid


def forget_name(projection: State, row: int) -> None:
    """The provider of a row has its name no more."""
    table = projection.table
    if projection.provider_names.get(table.provider_names[row]) == table.uuids[row]:
        del projection.provider_names[table.provider_names[row]]


# --- trees -----------------------------------------------------------------------------------------------------------


def parent_of(table: HostTable, row: int) -> str | None:
    """The uuid of the parent of a provider; None for a root."""
    parent = table.parent.item(row)
    return None if parent < 0 else table.uuids[parent]


def subtree(table: HostTable, row: int) -> list[int]:
    """The rows of a provider and of all under it, in the order of their tree: each after its parent."""
    found = [row]
    for other in table.trees[table.root.item(row)]:
        if table.parent.item(other) in found:
            found.append(other)
    return found


def move_subtree(projection: State, uuid: str, parent_uuid: str | None) -> None:
    """Give a provider another parent, or none. What is held of the providers that move must not be counted now."""
    table, source = projection.table, projection.trees[uuid]
    rows = subtree(table, source.rows[uuid])
    moving = set(rows)
    left = tuple(row for row in table.trees[source.root] if row not in moving)
    if left:
        _set_order(table, left)
    else:
        del table.trees[source.root]
    uuids = [table.uuids[row] for row in rows]
    for one in uuids:
        del source.rows[one]
    if parent_uuid is None:
        target: Host | PlainTree = PlainTree()
        target.root = rows[0]
        table.cell[rows[0]] = projection.cell_index
        order: tuple[int, ...] = tuple(rows)
    else:
        target = projection.trees[parent_uuid]
        order = (*table.trees[target.root], *rows)
    table.parent[rows[0]] = -1 if parent_uuid is None else target.rows[parent_uuid]
    table.nested_rows += (parent_uuid is not None) - (table.root.item(rows[0]) != rows[0])
    for row, one in zip(rows, uuids, strict=True):
        table.root[row] = target.root
        target.rows[one] = row
        projection.trees[one] = target
    _set_order(table, order)
    for tree in (source, target):
        if tree.rows:
            sum_tree(table, tree.root)
            touch_tree(table, tree.root)
    table.topology_version += 1


def _set_order(table: HostTable, rows: tuple[int, ...]) -> None:
    """Write the rows of a tree, the root first and each after its parent."""
    table.trees[rows[0]] = rows
    table.children[rows[0]] = len(rows) - 1


# --- what a provider has ---------------------------------------------------------------------------------------------


def inventories_of(table: HostTable, row: int) -> dict[str, Inventory]:
    """The inventories of a provider by their class, in the order of the names."""
    names = table.classes.values
    return {
        name: Inventory(
            name,
            table.total.item(index, row),
            table.reserved.item(index, row),
            table.min_unit.item(index, row),
            table.max_unit.item(index, row),
            table.step_size.item(index, row),
            table.ratio.item(index, row),
        )
        for name, index in sorted((names[index], index) for index in table.step_size[: len(names), row].nonzero()[0])
    }


def traits_of(table: HostTable, row: int) -> tuple[str, ...]:
    """The traits of a provider, sorted."""
    bits = sum(int(word) << 64 * place for place, word in enumerate(table.trait_words[:, row]))
    return tuple(sorted(name for index, name in enumerate(table.traits.values) if bits >> index & 1))


def put_inventories(projection: State, row: int, inventories: Iterable[Inventory], gone: Iterable[str]) -> None:
    """Write inventories of a provider, and remove those of the classes that are gone."""
    table = projection.table
    for name in gone:
        unset_inventory(table, row, table.classes.get(name))
    for inventory in inventories:
        set_inventory(table, row, inventory)
    sum_tree(table, table.root.item(row))
    touch_tree(table, table.root.item(row))


def put_traits(projection: State, row: int, traits: Iterable[str]) -> None:
    """Write the traits of a provider."""
    table = projection.table
    set_traits(table, row, traits)
    touch_tree(table, table.root.item(row))


def put_aggregates(projection: State, row: int, aggregates: tuple[str, ...]) -> None:
    """Write the aggregates of a provider."""
    table = projection.table
    if table.row_aggregates[row] != aggregates:
        table.row_aggregates[row] = aggregates
        table.topology_version += 1


def mark_written(table: HostTable, row: int, at_ns: int, by: int = 1) -> None:
    """Raise the generation of a provider, as something of it was written."""
    table.generation[row] = table.generation.item(row) + by
    table.written_ns[row] = at_ns
