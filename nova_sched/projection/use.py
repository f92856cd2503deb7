"""Which row of the table an allocation is counted on, and the strays: use of what its host does not report."""

from collections.abc import Iterable

from nova_sched.projection.devices import Capacity
from nova_sched.projection.ledger import Entry, Host, PlainTree
from nova_sched.projection.noted import Noted
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from rpc_api.events import Guest

#: The number of strays that a sentence names.
NAMED = 3


def count_use(projection: State, host: Host, entry: Entry, sign: int) -> None:
    """Count what an entry uses on the providers of its host and of other trees, or stop to count it (``sign`` -1)."""
    if not count_on_host(projection, host, entry, sign):
        count_elsewhere(projection, entry, sign)


def count_on_host(projection: State, host: Host, entry: Entry, sign: int) -> bool:
    """As :func:`count_use`, on the providers of the host only. Returns whether that is all that the entry uses.

    An allocation of a provider or class that the host does not report is one of ``host.strays``. If use is never
    dropped, the host's first provider that has the class holds it, or none until a report brings the class.
    """
    table, rows, is_all = projection.table, host.rows, True
    for provider_uuid, resource_class, amount in entry.allocations:
        row = rows.get(provider_uuid)
        if row is None and plain_tree(projection, provider_uuid) is not None:
            is_all = False
            continue
        index = table.classes.get(resource_class)
        if row is None or index < 0 or not table.step_size.item(index, row):
            _count_stray(projection, host, (provider_uuid, resource_class), sign * amount)
            row = _first_row(table, host, index) if projection.rules.use_is_never_dropped else None
            if row is None:
                continue
        table.take(row, index, sign * amount)
    return is_all


def count_elsewhere(projection: State, entry: Entry, sign: int) -> None:
    """Count what an entry uses of trees that are no host's, or stop to count it."""
    table = projection.table
    for provider_uuid, resource_class, amount in entry.allocations:
        tree = plain_tree(projection, provider_uuid)
        if tree is not None:
            # (The class may be new: an instance that is running may use what is not there yet.)
            _count_plain(table, tree, provider_uuid, entry, table.class_index(resource_class), sign * amount)


def plain_tree(projection: State, provider_uuid: str) -> PlainTree | None:
    """The tree of a provider, if it is no host's."""
    tree = projection.trees.get(provider_uuid)
    return tree if type(tree) is PlainTree else None


def _count_plain(table: HostTable, tree: PlainTree, provider_uuid: str, entry: Entry, index: int, amount: int) -> None:
    table.take(tree.rows[provider_uuid], index, amount)
    table.plain_touched.touch_use(tree.root)
    key = entry.consumer_uuid, entry.host
    if amount > 0:
        tree.users[key] = entry
    else:
        tree.users.pop(key, None)


def _first_row(table: HostTable, host: Host, index: int) -> int | None:
    """The first row of a host, the root first, that has a class; None if no row has it."""
    if index < 0:
        return None
    return next((row for row in table.trees[host.root] if table.step_size[index, row]), None)


def find_strays(projection: State, host: Host, entry: Entry) -> None:
    """Add what an entry that is counted already (in a snapshot) uses beside its host's rows to the strays of the host
    and to the users of other trees."""
    table = projection.table
    for provider_uuid, resource_class, amount in entry.allocations:
        row = host.rows.get(provider_uuid)
        index = table.classes.get(resource_class)
        if row is None and (tree := plain_tree(projection, provider_uuid)) is not None:
            tree.users[entry.consumer_uuid, entry.host] = entry
        elif row is None or index < 0 or not table.step_size.item(index, row):
            _count_stray(projection, host, (provider_uuid, resource_class), amount)


def note_user(projection: State, entry: Entry) -> None:
    """Add an entry without a host, that is counted already (in a snapshot), to the users of its trees."""
    for provider_uuid, _, _ in entry.allocations:
        tree = plain_tree(projection, provider_uuid)
        if tree is not None:
            tree.users[entry.consumer_uuid, entry.host] = entry


def _count_stray(projection: State, host: Host, key: tuple[str, str], amount: int) -> None:
    amount += host.strays.pop(key, 0)
    if amount:
        host.strays[key] = amount
        projection.stray_hosts.add(host.name)
    elif not host.strays:
        projection.stray_hosts.discard(host.name)


def find_stray_devices(host: Host, capacity: Capacity | None, guests: Iterable[Guest]) -> None:
    """Find the PCI devices and NUMA nodes of guests that the host does not report, because the tags of a pool changed
    or a card was pulled. ``capacity`` is None for a host that reports none."""
    nodes = frozenset(cell.id for cell in capacity.cells) if capacity is not None else frozenset()
    pools = capacity.keys if capacity is not None else {}
    found: dict[tuple[str, str], int] = {}
    for guest in guests:
        for use in guest.numa:
            if use.cell not in nodes:
                key = f"NUMA node {use.cell}", "guest nodes"
                found[key] = found.get(key, 0) + 1
        for taken in guest.pci:
            if taken.pool not in pools:
                key = f"PCI pool {taken.pool}", "PCI devices"
                found[key] = found.get(key, 0) + taken.count
    host.stray_devices = found


def strays_text(host: Host) -> str:
    """The use of a host that it does not report, in words: ``8 VCPU of the provider 7c2b…``."""
    shown = [
        f"{amount} {name} of {place if place.startswith(('NUMA', 'PCI')) else f'the provider {place}'}"
        for (place, name), amount in sorted(host.unreported.items())
    ]
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")


def note_strays(host: Host, position: int, noted: list[Noted]) -> None:
    """Note the strays of a host, if it has some."""
    if host.strays or host.stray_devices:
        noted.append(
            Noted(
                position, "stray-use", host.name, f"instances use {strays_text(host)}, which the host does not report"
            )
        )
