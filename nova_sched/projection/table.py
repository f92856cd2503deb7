"""The columns and rows of all hosts: one row for each resource provider, one column for each fact.

Rows of one host form a tree; its root, the compute node, is the row that filters and weighers look at (``is_host``).
A tree whose root is no host has what no host reports: shared storage, network segments, accelerators.
Amounts are ``int64`` arrays of shape ``[resource classes, rows]``, so that one class of all hosts is one contiguous
vector. Several cells share one table: a projection writes only the rows of its own cell, and a decision looks at all
of them at once.

The table does not know events. Its writers are:

- the fold: :mod:`~nova_sched.projection.inventory` and :mod:`~nova_sched.projection.provider_columns` (rows and what
  hosts report), :mod:`~nova_sched.projection.holding` (what entries use), :mod:`~nova_sched.projection.fold`
  (aggregates);
- a snapshot that is loaded: :mod:`~nova_sched.projection.table_rows`;
- :class:`~nova_sched.projection.in_flight.InFlight`: ``held``, ``held_claims`` and ``held_guests``;
- the process that owns the table: ``cell_closed`` and ``cell_uuids``, which no log has.

What follows from aggregates and zones is in :mod:`nova_sched.projection.topology`, which rows changed is in
:mod:`nova_sched.projection.touched`.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from nova_sched.projection.devices import Capacity, HostDevices, capacity_key
from nova_sched.projection.host_metrics import HostMetrics
from nova_sched.projection.touched import TouchedRows
from nova_sched.projection.uuid_index import RowsByUuid
from rpc_api.events import AggregateUpdated, Guest, HostNUMACell, PCIPool

FIRST_ROWS = 64
FIRST_CLASSES = 4
MAX_CAPACITY = 2**53
NONE = -1
ALL_BITS = 2**64 - 1

#: Columns of shape [classes, rows], in the order in which they are in ``HostTable.amounts``. :data:`FOR_ROOM` and
#: :data:`FROM_LOG` are slices of it.
AMOUNTS = ("total", "reserved", "capacity", "used", "min_unit", "max_unit", "step_size", "free", "held")
#: Those from which follows whether an amount has room.
FOR_ROOM = slice(2, 7)
#: All but ``held``: what follows from the log.
FROM_LOG = slice(0, 8)
#: Columns of the same shape that are set on root rows only.
TREE_SUMS = ("tree_base", "tree_scaled", "tree_taken")
#: Columns of shape [rows] with their types and the value of an unused row.
FACTS: dict[str, tuple[type, int]] = {
    "is_host": (bool, False),
    "reported": (bool, False),
    "generation": (np.int64, 0),
    "written_ns": (np.int64, 0),
    "root": (np.int32, NONE),
    "parent": (np.int32, NONE),
    "cell": (np.int16, NONE),
    "disabled": (bool, False),
    "down": (bool, False),
    "profile": (np.int32, NONE),
    "zone": (np.int32, NONE),
    "num_io_ops": (np.int32, 0),
    "failed_builds": (np.int32, 0),
    "num_instances": (np.int32, 0),
    "children": (np.int32, 0),
    "hypervisor_version": (np.int64, 0),
    "pci_free": (np.int32, 0),
    "held_claims": (np.int32, 0),
}

Amounts = npt.NDArray[np.int64]
#: Rows of the table, or places of hosts among its root rows.
RowNumbers = npt.NDArray[np.signedinteger[Any]]
Flags = npt.NDArray[np.bool_]

Value = TypeVar("Value")


class Profile(NamedTuple):
    """What a host reports about its hypervisor; hosts of the same kind share one profile."""

    hypervisor_type: str
    hypervisor_version: int
    cpu_info: str
    stats: tuple[tuple[str, str], ...]
    supported_instances: tuple[tuple[str, ...], ...]


class Interned(Generic[Value]):
    """Small ints for values that many rows share; ``values[i]`` is the value of the int ``i``."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._ids: dict[Value, int] = {}

    def id_of(self, value: Value) -> int:
        """The int of ``value``, which is added if it is new."""
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self.values)
            self.values.append(value)
        return found

    def get(self, value: Value) -> int:
        """The int of ``value``, or -1 if it was never added."""
        return self._ids.get(value, NONE)


class Columns:
    """The columns of :data:`AMOUNTS` and :data:`FACTS`, which are set by name. ``amounts`` are all of the first."""

    amounts: Amounts
    total: Amounts
    reserved: Amounts
    min_unit: Amounts
    max_unit: Amounts
    step_size: Amounts
    capacity: Amounts
    used: Amounts
    held: Amounts
    free: Amounts
    is_host: Flags
    reported: Flags
    generation: npt.NDArray[np.int64]
    written_ns: npt.NDArray[np.int64]
    root: npt.NDArray[np.int32]
    parent: npt.NDArray[np.int32]
    cell: npt.NDArray[np.int16]
    disabled: Flags
    down: Flags
    profile: npt.NDArray[np.int32]
    zone: npt.NDArray[np.int32]
    num_io_ops: npt.NDArray[np.int32]
    failed_builds: npt.NDArray[np.int32]
    num_instances: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    hypervisor_version: npt.NDArray[np.int64]
    pci_free: npt.NDArray[np.int32]
    held_claims: npt.NDArray[np.int32]

    def _set_amounts(self, amounts: Amounts) -> None:
        """Take an array of shape [AMOUNTS, classes, rows]; each column is a view of it."""
        self.amounts = amounts
        for name, column in zip(AMOUNTS, amounts, strict=True):
            setattr(self, name, column)


class HostTable(Columns):
    """The columns, and the rows of hosts and providers by name.

    ``free`` is kept as ``capacity - used - held``: ``used`` is from the log, ``held`` are the claims of this process
    that it has not read back yet (always zero outside a scheduler). Root rows also hold sums over their tree:
    ``tree_base`` (total - reserved), ``tree_scaled`` (total * ratio - reserved) and ``tree_taken`` (used + held),
    from which weighers compute the free resources of a host. ``trees[root]`` are the rows of a tree, the root first.
    """

    def __init__(self) -> None:
        self.classes: Interned[str] = Interned()
        self.traits: Interned[str] = Interned()
        self.profiles: Interned[Profile] = Interned()
        self.zones: Interned[str | None] = Interned()
        self.cells: Interned[str] = Interned()
        self.count = 0
        self.nested_rows = 0
        self.row_of_host: dict[str, int] = {}
        self.row_of_uuid = RowsByUuid()
        self.host_names: list[str] = []
        self.node_names: list[str] = []
        self.uuids: list[str] = []
        self.provider_names: list[str] = []
        self.row_aggregates: list[tuple[str, ...]] = []
        self.host_ips: list[str | None] = []
        #: HostDevices of root rows, as the log has them; None for a host without NUMA nodes and PCI pools.
        self.row_devices: list[HostDevices | None] = []
        #: Root row -> claim uuid -> Guest of the claims of this process that are not read back yet.
        self.held_guests: dict[int, dict[str | None, Guest]] = {}
        self._capacities: WeakValueDictionary[bytes, Capacity] = WeakValueDictionary()
        #: ImageCounts (nova_sched.hosts.images), made when a weigher needs them; None before.
        self.image_counts: object = None
        self.metrics = HostMetrics(FIRST_ROWS)
        self.trees: dict[int, tuple[int, ...]] = {}
        self.aggregates: dict[str, AggregateUpdated] = {}
        #: Index of a cell -> level of its log: see LevelPinned.
        self.levels: dict[int, int] = {}
        self.cell_closed: dict[str, bool] = {}
        #: Cell -> uuid of its CellMapping, as far as this process knows it: no log has them.
        self.cell_uuids: dict[str, str] = {}
        #: Rises with every change of the set of providers, of aggregates, of zones and of closed cells.
        self.topology_version = 0
        self._derived: dict[Hashable, Any] = {}
        self._derived_version = -1
        #: Which hosts changed; each writer notes it.
        self.touched = TouchedRows(FIRST_ROWS)
        #: Which other trees changed; and which trees of any kind got their first or last row.
        self.plain_touched = TouchedRows(FIRST_ROWS)
        self._unused: list[int] = []
        self._rows = FIRST_ROWS
        self._set_amounts(np.zeros((len(AMOUNTS), FIRST_CLASSES, FIRST_ROWS), np.int64))
        self.ratio = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.float64)
        self.tree_base = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.int64)
        self.tree_taken = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.int64)
        self.tree_scaled = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.float64)
        self.trait_words = np.zeros((1, FIRST_ROWS), np.uint64)
        #: Largest min_unit and step_size of any provider ever, by class: if they are 1, no unit must be compared.
        self.largest_min_unit = np.ones(FIRST_CLASSES, np.int64)
        self.largest_step_size = np.ones(FIRST_CLASSES, np.int64)
        for name, (kind, unused) in FACTS.items():
            setattr(self, name, np.full(FIRST_ROWS, unused, kind))

    # --- rows ------------------------------------------------------------------------------------------------

    def add_row(self, uuid: str, name: str, root: int | None, parent: int) -> int:
        """Take an unused row for a provider; ``root`` None makes it a root. Returns the row."""
        if self._unused:
            row = heapq.heappop(self._unused)
        else:
            row = self.count
            self.count += 1
            if row == self._rows:
                self._grow_rows()
            for names in self._lists():
                names.append(None)
        self.uuids[row] = uuid
        self.provider_names[row] = name
        self.row_aggregates[row] = ()
        self.row_of_uuid[uuid] = row
        self.root[row] = row if root is None else root
        self.parent[row] = parent
        self.nested_rows += root is not None
        _trees_changed(self, [self.root.item(row)])
        return row

    def take_rows(self, count: int) -> Amounts:
        """Take unused rows for ``count`` providers (int64, shape [count]); the caller writes all their columns."""
        rows = [heapq.heappop(self._unused) for _ in range(min(count, len(self._unused)))]
        fresh = count - len(rows)
        rows += range(self.count, self.count + fresh)
        self.count += fresh
        while self.count > self._rows:
            self._grow_rows()
        for names in self._lists():
            names.extend([None] * fresh)
        _trees_changed(self, rows)
        return np.array(rows, np.int64)

    def drop_rows(self, rows: list[int]) -> None:
        """Free the rows of some providers and clear all their columns."""
        roots = self.root[rows].tolist()
        self.nested_rows -= sum(root != row for root, row in zip(roots, rows, strict=True))
        _trees_changed(self, roots)
        self.amounts[:, :, rows] = 0
        for name in (*TREE_SUMS, "ratio", "trait_words"):
            getattr(self, name)[:, rows] = 0
        for name, (_, unused) in FACTS.items():
            getattr(self, name)[rows] = unused
        for row in rows:
            self.row_of_uuid.drop(self.uuids[row], row)
            self.metrics.drop(row)
            for names in self._lists():
                names[row] = None
            heapq.heappush(self._unused, row)

    def _lists(self) -> tuple[list[Any], ...]:
        """The lists with one value for each row, None for an unused row."""
        return (
            self.host_names,
            self.node_names,
            self.uuids,
            self.provider_names,
            self.row_aggregates,
            self.host_ips,
            self.row_devices,
        )

    def _grow_rows(self) -> None:
        self._rows *= 2
        self.metrics.grow(self._rows)
        self.touched.grow(self._rows)
        self.plain_touched.grow(self._rows)
        self._set_amounts(_grown(self.amounts, (len(AMOUNTS), len(self.used), self._rows)))
        for name in (*TREE_SUMS, "ratio", "trait_words"):
            old = getattr(self, name)
            setattr(self, name, _grown(old, (len(old), self._rows)))
        for name, (kind, unused) in FACTS.items():
            old = getattr(self, name)
            new: npt.NDArray[Any] = np.full(self._rows, unused, kind)
            new[: len(old)] = old
            setattr(self, name, new)

    def class_index(self, resource_class: str) -> int:
        """The index of a resource class, which is added if it is new."""
        index = self.classes.id_of(resource_class)
        while index >= len(self.used):
            room = 2 * len(self.used), self._rows
            self._set_amounts(_grown(self.amounts, (len(AMOUNTS), *room)))
            for name in (*TREE_SUMS, "ratio"):
                setattr(self, name, _grown(getattr(self, name), room))
            self.largest_min_unit = np.concatenate([self.largest_min_unit, np.ones_like(self.largest_min_unit)])
            self.largest_step_size = np.concatenate([self.largest_step_size, np.ones_like(self.largest_step_size)])
        return index

    # --- traits and room ------------------------------------------------------------------------------

    def widen_traits(self) -> None:
        """Make room for all known traits."""
        while len(self.traits.values) > 64 * len(self.trait_words):
            self.trait_words = np.concatenate([self.trait_words, np.zeros_like(self.trait_words)])

    def has_trait(self, trait: str, rows: slice | RowNumbers = slice(None)) -> Flags:
        """Boolean vector: which of ``rows`` have a trait."""
        index = self.traits.get(trait)
        if index < 0:
            return np.zeros(self.count, bool)[rows]
        word, bit = divmod(index, 64)
        has: Flags = (self.trait_words[word, : self.count][rows] >> np.uint64(bit)) & np.uint64(1) != 0
        return has

    def row_has_trait(self, trait: str, row: int) -> bool:
        """As :meth:`has_trait` for one row, in a fraction of the time."""
        index = self.traits.get(trait)
        return index >= 0 and bool(self.trait_words.item(index >> 6, row) >> (index & 63) & 1)

    def room(self, index: int, amount: int, rows: slice | RowNumbers = slice(None)) -> Flags:
        """Boolean vector over ``rows``: which providers have room for ``amount`` of class ``index``, in-flight claims
        counted, and allow this amount by their units."""
        fits = self.free[index, : self.count][rows] >= amount
        fits &= self.max_unit[index, : self.count][rows] >= amount
        if self.largest_min_unit[index] > 1:
            fits &= self.min_unit[index, : self.count][rows] <= amount
        if self.largest_step_size[index] > 1:
            fits &= amount % np.maximum(self.step_size[index, : self.count][rows], 1) == 0
        return fits

    def row_has_room(self, row: int, index: int, amount: int) -> bool:
        """As :meth:`room` for one row, in a fraction of the time."""
        return (
            amount <= self.free.item(index, row)
            and amount <= self.max_unit.item(index, row)
            and (self.largest_min_unit.item(index) <= 1 or self.min_unit.item(index, row) <= amount)
            and (self.largest_step_size.item(index) <= 1 or amount % (self.step_size.item(index, row) or 1) == 0)
        )

    # --- metrics and devices ---------------------------------------------------------------------------------

    def metric(self, name: str) -> npt.NDArray[np.float64]:
        """A metric of all rows (float64, NaN for hosts that do not report it, or only for each NUMA node)."""
        return self.metrics.column(name).values[: self.count]

    def lacks_metric(self, name: str) -> Flags:
        """Which rows report a metric neither for the host nor for its NUMA nodes (bool, shape [rows])."""
        return self.metrics.column(name).lacking[: self.count]

    def capacity_of(
        self, cells: tuple[HostNUMACell, ...], pools: tuple[PCIPool, ...], card_is_one_device: bool
    ) -> Capacity:
        """The Capacity that all hosts with the same NUMA nodes, PCI pools and rule for cards share."""
        key = capacity_key(cells, pools, card_is_one_device)
        known = self._capacities.get(key)
        if known is None:
            known = self._capacities[key] = Capacity(cells, pools, card_is_one_device)
        return known

    def set_devices(self, root: int, devices: HostDevices | None) -> None:
        """Write the HostDevices of a host, as the log has them; None if it has none."""
        self.row_devices[root] = devices
        self.pci_free[root] = 0 if devices is None else _pci_free(devices)

    def free_devices(self, rows: RowNumbers) -> npt.NDArray[np.int32]:
        """How many PCI devices of some hosts are free; claims in flight count as taken (int32, shape [hosts])."""
        free = self.pci_free.take(rows)
        for root in self.held_guests:
            place = int(np.searchsorted(rows, root))
            if place < len(rows) and rows[place] == root and (devices := self.devices(root)) is not None:
                free[place] = _pci_free(devices)
        return free

    def devices(self, root: int) -> HostDevices | None:
        """The HostDevices of a host with the claims of this process in flight; None if it has none."""
        devices, held = self.row_devices[root], self.held_guests.get(root)
        return devices.with_guests(held.values()) if held and devices is not None else devices

    def ratio_of(self, root: int, resource_class: str) -> float:
        """The allocation ratio of a class on the first provider of a host's tree that has it; 1.0 if none has it."""
        index = self.classes.get(resource_class)
        if index >= 0:
            for row in self.trees[root]:
                if self.total[index, row]:
                    return float(self.ratio[index, row])
        return 1.0

    # --- use -------------------------------------------------------------------------------------------------

    def take(self, row: int, index: int, amount: int) -> None:
        """Count ``amount`` (negative: give back) of class ``index`` as used on ``row``."""
        self.used[index, row] = self.used.item(index, row) + amount
        self._taken(row, index, amount)

    def hold(self, row: int, index: int, amount: int) -> None:
        """Count ``amount`` (negative: give back) as claimed by this process and not read back yet."""
        self.held[index, row] = self.held.item(index, row) + amount
        self._taken(row, index, amount)

    def _taken(self, row: int, index: int, amount: int) -> None:
        # (Twice as fast as ``+=``, which makes numbers of NumPy.)
        root, taken = self.root.item(row), self.tree_taken
        self.free[index, row] = self.free.item(index, row) - amount
        taken[index, root] = taken.item(index, root) + amount

    # --- levels ----------------------------------------------------------------------------------------------

    def set_level(self, cell_index: int, level: int) -> None:
        """The log of a cell has a level from now on; what was computed by the rules before is void."""
        if self.levels.get(cell_index, 1) != level:
            self.topology_version += 1
        self.levels[cell_index] = level

    # --- results that are kept until the topology changes ---------------------------------

    def derived(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """``compute()``, kept under ``key`` until the topology changes."""
        if self._derived_version != self.topology_version:
            self._derived.clear()
            self._derived_version = self.topology_version
        if key not in self._derived:
            self._derived[key] = compute()
        found: Value = self._derived[key]
        return found

    def roots(self) -> RowNumbers:
        """The root rows of hosts in ascending order, as decisions number them (int64, shape [hosts])."""
        return self.derived("roots", lambda: np.flatnonzero(self.is_host[: self.count]))


def _trees_changed(table: HostTable, roots: Iterable[int]) -> None:
    """Note that trees get rows, or lose them."""
    table.topology_version += 1
    for root in roots:
        table.plain_touched.touch_use(root)


def _grown(old: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A larger array that begins with an old one; the rest is 0."""
    return np.pad(old, [(0, size - before) for size, before in zip(shape, old.shape, strict=True)])


def _pci_free(devices: HostDevices) -> int:
    free = sum(max(0, devices.free_in_pool(number)) for number in range(len(devices.pools)))
    return min(free, 2**31 - 1)
