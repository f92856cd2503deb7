"""Which row of the table an allocation is counted on, and the strays: use of what its host does not report."""

from collections.abc import Iterable

from nova_sched.projection.devices import Capacity
from nova_sched.projection.ledger import Host
from nova_sched.projection.noted import Noted
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from rpc_api.events import Allocation, Guest

#: The number of strays that a sentence names.
NAMED = 3


def count_use(projection: State, host: Host, allocations: Iterable[Allocation], sign: int) -> None:
    """Count allocations on the providers of a host, or stop to count them (``sign`` -1).

    An allocation of a provider or class that the host does not report is one of ``host.strays``. If use is never
    dropped, the host's first provider that has the class holds it, or none until a report brings the class.
    """
    table, rows = projection.table, host.rows
    for provider_uuid, resource_class, amount in allocations:
        row = rows.get(provider_uuid)
        index = table.classes.get(resource_class)
        if row is None or index < 0 or not table.step_size.item(index, row):
            _count_stray(host, (provider_uuid, resource_class), sign * amount)
            row = _first_row(table, host, index) if projection.rules.use_is_never_dropped else None
            if row is None:
                continue
        table.take(row, index, sign * amount)


def _first_row(table: HostTable, host: Host, index: int) -> int | None:
    """The first row of a host, the root first, that has a class; None if no row has it."""
    if index < 0:
        return None
    return next((row for row in table.trees[host.root] if table.step_size[index, row]), None)


def find_strays(table: HostTable, host: Host, allocations: Iterable[Allocation]) -> None:
    """Add the strays among allocations that are counted already (in a snapshot) to those of a host."""
    for provider_uuid, resource_class, amount in allocations:
        row = host.rows.get(provider_uuid)
        index = table.classes.get(resource_class)
        if row is None or index < 0 or not table.step_size.item(index, row):
            _count_stray(host, (provider_uuid, resource_class), amount)


def _count_stray(host: Host, key: tuple[str, str], amount: int) -> None:
    amount += host.strays.pop(key, 0)
    if amount:
        host.strays[key] = amount


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
