"""NUMA nodes and PCI pools of one host, and their use by its guests.

Use is always counted again from all guests of a host. Reports may contradict each other, and a CPU that two guests
have must not become free when one of them is deleted.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgpack

from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import Reason
from rpc_api import errors, events
from rpc_api.digest import pool_key
from rpc_api.events import Guest, HostInventory, HostNUMACell, NUMAUse, PCIPool

MAX_CELLS = 64
MAX_POOLS = 1024
#: Fields of a pool that cannot be tags.
_NO_TAGS = frozenset({"vendor_id", "product_id", "numa_node", "count"})
_KINDS_OF_CARDS = frozenset({"type-PF", "type-VF", "vdpa"})


def capacity_key(cells: tuple[HostNUMACell, ...], pools: tuple[PCIPool, ...], card_is_one_device: bool) -> bytes:
    """A digest of NUMA nodes and PCI pools, and of the rule for cards: hosts with the same ones have the same key."""
    return blake2b(msgpack.packb((cells, pools, card_is_one_device)), digest_size=16).digest()


class CellUse(NamedTuple):
    """The use of a NUMA node by guests: how many CPUs run unpinned, the host CPUs that are taken, memory,
    and the pages of each size (in the order of the node's ``pages``)."""

    shared_cpus: int
    pinned: frozenset[int]
    memory_mb: int
    pages: tuple[int, ...]


class Node:
    """A HostNUMACell as fits need it: its ``dedicated`` CPUs, the CPUs of each of its ``cores`` and which of these are
    dedicated (``pinnable``; both ascending), how many ``threads`` the largest core has, whether the same CPUs are for
    pinned and unpinned guests (``legacy``), all of its ``cpus``, and ``pages``: (size_kb, number among the cell's
    pages), the largest first."""

    __slots__ = ("cores", "cpus", "dedicated", "legacy", "pages", "pinnable", "threads")

    def __init__(self, cell: HostNUMACell) -> None:
        self.dedicated = frozenset(cell.dedicated_cpus)
        self.cores = tuple(tuple(sorted(core)) for core in cell.siblings)
        self.pinnable = tuple(tuple(cpu for cpu in core if cpu in self.dedicated) for core in self.cores)
        self.threads = max(map(len, self.cores), default=1) or 1
        self.legacy = self.dedicated == frozenset(cell.shared_cpus)
        self.cpus = self.dedicated.union(cell.shared_cpus, *cell.siblings)
        self.pages = tuple(sorted(((pages.size_kb, number) for number, pages in enumerate(cell.pages)), reverse=True))


class Capacity:
    """NUMA nodes (HostNUMACell records) and PCI pools (PCIPool records) of a host; hosts with the same share one.

    ``card_is_one_device`` is the rule of this name: see :class:`~nova_sched.projection.rules.Rules`.
    """

    __slots__ = ("__weakref__", "_nodes", "cells", "key", "keys", "pools", "rivals")

    def __init__(
        self, cells: tuple[HostNUMACell, ...], pools: tuple[PCIPool, ...], card_is_one_device: bool = False
    ) -> None:
        self.cells = cells
        self.pools = pools
        #: For each pool the numbers of the pools that have nothing to give while one of its devices is used.
        self.rivals = _rivals(pools) if card_is_one_device else ((),) * len(pools)
        #: Pool key -> its number.
        self.keys = {pool_key(pool): number for number, pool in enumerate(pools)}
        self.key = capacity_key(cells, pools, card_is_one_device)
        self._nodes: tuple[Node, ...] | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """A :class:`Node` for each NUMA cell, made when it is first asked for."""
        if self._nodes is None:
            self._nodes = tuple(map(Node, self.cells))
        return self._nodes

    def free(self, number: int, uses: Sequence[int]) -> int:
        """How many devices of a pool are free if ``uses`` are the counts of all pools (below 0 if reports contradict
        each other)."""
        free = self.pools[number].count - uses[number]
        rivals = self.rivals[number]
        return min(free, 0) if rivals and any(uses[rival] for rival in rivals) else free


def _rivals(pools: Sequence[PCIPool]) -> tuple[tuple[int, ...], ...]:
    """For each pool the numbers of the other pools of its card that it excludes.

    Pools with the same tag ``address`` are a card. As in Nova, its physical function (type-PF) excludes its virtual
    functions (type-VF, vdpa), and any of these excludes the physical function.
    """
    whole: dict[str, list[int]] = {}
    parts: dict[str, list[int]] = {}
    sides: list[tuple[int, ...] | list[int]] = []
    for number, pool in enumerate(pools):
        address, kind = pool.tags.get("address"), pool.tags.get("dev_type")
        if not address or kind not in _KINDS_OF_CARDS:
            sides.append(())
            continue
        own, others = (whole, parts) if kind == "type-PF" else (parts, whole)
        own.setdefault(address, []).append(number)
        sides.append(others.setdefault(address, []))
    return tuple(map(tuple, sides))


class HostDevices:
    """A :class:`Capacity` and its use: ``cell_uses`` has a CellUse for each node, ``pool_uses`` a count for
    each pool. It never changes; ``key`` is the same for equal ones, so that verdicts can be kept by it."""

    __slots__ = ("_key", "capacity", "cell_uses", "pool_uses")

    def __init__(
        self, capacity: Capacity, cell_uses: tuple[CellUse, ...] | None = None, pool_uses: tuple[int, ...] | None = None
    ) -> None:
        self.capacity = capacity
        self.cell_uses = (
            cell_uses
            if cell_uses is not None
            else tuple(CellUse(0, frozenset(), 0, (0,) * len(cell.pages)) for cell in capacity.cells)
        )
        self.pool_uses = pool_uses if pool_uses is not None else (0,) * len(capacity.pools)
        self._key: bytes | None = None

    @property
    def key(self) -> bytes:
        """Equal for equal states of equal hosts."""
        if self._key is None:
            self._key = msgpack.packb(
                (
                    self.capacity.key,
                    [(use.shared_cpus, sorted(use.pinned), use.memory_mb, use.pages) for use in self.cell_uses],
                    self.pool_uses,
                )
            )
        return self._key

    @property
    def cells(self) -> tuple[HostNUMACell, ...]:
        """HostNUMACell records, in their order."""
        return self.capacity.cells

    @property
    def pools(self) -> tuple[PCIPool, ...]:
        """PCIPool records, in their order."""
        return self.capacity.pools

    def free_in_pool(self, number: int) -> int:
        """How many devices of a pool are free (below 0 if reports contradict each other)."""
        return self.capacity.free(number, self.pool_uses)

    def with_guests(self, guests: Iterable[Guest]) -> "HostDevices":
        """The same host with the use of some Guest records counted; nodes and pools that the host does not have are
        skipped.

        CPUs of a guest are counted on the nodes that they are on now: a host may have come back with other nodes.
        """
        cells, pools = list(self.cell_uses), list(self.pool_uses)
        numbers = {cell.id: number for number, cell in enumerate(self.capacity.cells)}
        for guest in guests:
            for use in guest.numa:
                number = numbers.get(use.cell)
                if number is not None:
                    cells[number] = _used_more(self.capacity.cells[number], cells[number], use)
                if use.pins or use.reserved_cpus:
                    self._pin_elsewhere(cells, use, number)
            for taken in guest.pci:
                number = self.capacity.keys.get(taken.pool)
                if number is not None:
                    pools[number] += taken.count
        return HostDevices(self.capacity, tuple(cells), tuple(pools))

    def _pin_elsewhere(self, cells: list[CellUse], use: NUMAUse, named: int | None) -> None:
        """Count the CPUs of a NUMAUse that are on other nodes than the one that it names."""
        own = _own_cpus(use)
        for number, node in enumerate(self.capacity.nodes):
            if number != named and not node.cpus.isdisjoint(own):
                taken = node.cpus & taken_cpus(self.capacity.cells[number], use)
                cells[number] = cells[number]._replace(pinned=cells[number].pinned | taken)

    def breach(self, guest: Guest, cpu_ratio: float, ram_ratio: float) -> Reason | None:
        """Why a Guest does not fit into the rest, None if it does;
        the ratios are those of unpinned CPUs and memory."""
        numbers = {cell.id: number for number, cell in enumerate(self.capacity.cells)}
        uses = list(self.cell_uses)
        # As in Nova, these depend on the CPU policy of the whole guest, also for a node with no CPU of that kind.
        pinned = any(use.pins or use.reserved_cpus for use in guest.numa)
        shared = not pinned or any(use.shared_cpus for use in guest.numa)
        for use in guest.numa:
            number = numbers.get(use.cell)
            if number is None:
                return Reason(ClaimRefused.UNKNOWN_NODE, (use.cell,))
            cell = self.capacity.cells[number]
            reason = _cell_breach(cell, uses[number], use, pinned) or (
                shared and _over_ratio(cell, uses[number], use, cpu_ratio, ram_ratio)
            )
            if reason:
                return reason
            uses[number] = _used_more(cell, uses[number], use)
        pool_uses = list(self.pool_uses)
        for taken in guest.pci:
            number = self.capacity.keys.get(taken.pool)
            if number is None:
                return Reason(ClaimRefused.UNKNOWN_POOL, (taken.pool[:16],))
            if taken.count > self.capacity.free(number, pool_uses):
                pool = self.capacity.pools[number]
                return Reason(ClaimRefused.PCI_DEVICE, (f"{pool.vendor_id}:{pool.product_id}",))
            pool_uses[number] += taken.count
        return None


def taken_cpus(cell: HostNUMACell, use: NUMAUse) -> frozenset[int]:
    """Host CPUs that a NUMAUse takes of its node, with the idle threads beside them if it is isolated."""
    cpus = _own_cpus(use)
    if use.isolated:
        cpus = cpus.union(*(core for core in cell.siblings if not cpus.isdisjoint(core)))
    return cpus


def _own_cpus(use: NUMAUse) -> frozenset[int]:
    return frozenset(host for _, host in use.pins) | frozenset(use.reserved_cpus)


def pages_of(cell: HostNUMACell, use: NUMAUse) -> tuple[int, int] | None:
    """(number among the node's page sizes, pages) that a NUMAUse takes; None if the node has no such size."""
    if not cell.pages:
        return None
    if use.page_kb:
        number = next((number for number, pages in enumerate(cell.pages) if pages.size_kb == use.page_kb), None)
        if number is None:
            return None
    else:
        number = min(range(len(cell.pages)), key=lambda index: cell.pages[index].size_kb)
    return number, -(-use.memory_mb * 1024 // max(cell.pages[number].size_kb, 1))


def _used_more(cell: HostNUMACell, used: CellUse, use: NUMAUse) -> CellUse:
    pages = list(used.pages)
    taken = pages_of(cell, use)
    if taken is not None:
        pages[taken[0]] += taken[1]
    return CellUse(
        used.shared_cpus + use.shared_cpus,
        used.pinned | taken_cpus(cell, use),
        used.memory_mb + use.memory_mb,
        tuple(pages),
    )


def _cell_breach(cell: HostNUMACell, used: CellUse, use: NUMAUse, pinned: bool) -> Reason | None:
    """Nova's own conditions on one node for resources that are never shared: pinned CPUs, pages of a requested size,
    and all memory of a guest with pinned CPUs. No guest may have more than the node has."""
    taken = taken_cpus(cell, use)
    own = [host for _, host in use.pins] + list(use.reserved_cpus)
    if len(set(own)) < len(own) or not set(own) <= set(cell.dedicated_cpus):
        return Reason(ClaimRefused.NOT_DEDICATED, (cell.id,))
    if not used.pinned.isdisjoint(taken):
        return Reason(ClaimRefused.CPUS, (cell.id,))
    if use.shared_cpus > len(cell.shared_cpus):
        return Reason(ClaimRefused.SHARED_CPUS, (cell.id,))
    pages = pages_of(cell, use)
    if pages is None and use.page_kb:
        return Reason(ClaimRefused.NO_PAGES, (use.page_kb, cell.id))
    if pages is not None:
        size, left = cell.pages[pages[0]], cell.pages[pages[0]].total
        if use.page_kb or pinned:
            left -= size.reserved + used.pages[pages[0]]
        if pages[1] > left or use.memory_mb * 1024 % size.size_kb:
            return Reason(ClaimRefused.PAGES, (size.size_kb, cell.id))
    elif use.memory_mb > cell.memory_mb - (used.memory_mb if pinned else 0):
        return Reason(ClaimRefused.MEMORY, (cell.id,))
    return None


def _over_ratio(cell: HostNUMACell, used: CellUse, use: NUMAUse, cpu_ratio: float, ram_ratio: float) -> Reason | None:
    """The same for resources that guests share: unpinned CPUs, and the memory of guests with unpinned CPUs."""
    if used.shared_cpus + use.shared_cpus > len(cell.shared_cpus) * cpu_ratio:
        return Reason(ClaimRefused.SHARED_CPUS, (cell.id,))
    if used.memory_mb + use.memory_mb > cell.memory_mb * ram_ratio:
        return Reason(ClaimRefused.MEMORY, (cell.id,))
    return None


@lru_cache(8192)
def guest_of(packed: bytes) -> Guest:
    """The Guest from its bytes; InvalidEvent if they are not a Guest. Most guests of one image are alike."""
    return events.thaw("Guest", packed)


def fault_of(inventory: HostInventory) -> str | None:
    """Check the nodes and pools of a HostInventory beyond the schema: the first fault, or None."""
    cells, pools = inventory.numa_cells, inventory.pci_pools
    if len(cells) > MAX_CELLS or len(pools) > MAX_POOLS:
        return f"{len(cells)} NUMA nodes and {len(pools)} PCI pools, wanted at most {MAX_CELLS} and {MAX_POOLS}"
    if len({cell.id for cell in cells}) < len(cells) or len({pool_key(pool) for pool in pools}) < len(pools):
        return "two NUMA nodes have one id, or two PCI pools differ in their count only"
    if not all(_NO_TAGS.isdisjoint(pool.tags) for pool in pools):
        return f"a PCI pool has a tag with the name of one of its fields ({', '.join(sorted(_NO_TAGS))})"
    for cell in cells:
        sizes = [pages.size_kb for pages in cell.pages]
        if len(set(sizes)) < len(sizes) or min(sizes, default=1) < 1:
            return f"NUMA node {cell.id} names a size of pages twice, or one below 1 KiB"
    return _cpu_fault(cells)


def _cpu_fault(cells: Iterable[HostNUMACell]) -> str | None:
    """A CPU must be on one node, in one core and once in a list: otherwise it could be given away twice."""
    node_of: dict[int, int] = {}
    for cell in cells:
        for cpus in (cell.shared_cpus, cell.dedicated_cpus, [cpu for core in cell.siblings for cpu in core]):
            if len(set(cpus)) < len(cpus) or min(cpus, default=0) < 0:
                return f"NUMA node {cell.id} names a CPU twice in one list, or one below 0"
            for cpu in cpus:
                if node_of.setdefault(cpu, cell.id) != cell.id:
                    return f"CPU {cpu} is on the NUMA nodes {node_of[cpu]} and {cell.id}"
    return None


def checked_guest(packed: bytes | None, whose: str) -> None:
    """Raise InvalidEvent unless the bytes are None or those of a Guest."""
    if packed is not None:
        try:
            guest_of(packed)
        except errors.InvalidEvent as broken:
            raise errors.InvalidEvent(f"what {whose} reports about a guest cannot be read ({broken}); fix it") from None
