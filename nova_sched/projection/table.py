"""The columnar host table: one row a resource provider, one column a fact.

Rows of one host form a tree; its root, the compute node, is the row that
filters and weighers look at (``is_root``). Amounts are ``int64`` arrays of
shape ``[resource classes, rows]``, so that one class of all hosts is one
contiguous vector. Several cells share one table: a projection writes only the
rows of its own cell, and a decision looks at all of them at once.

Nothing here knows events; :mod:`nova_sched.projection.fold` is the only writer.
"""

import heapq
import math
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from nova_sched.projection.devices import Capacity, capacity_key

FIRST_ROWS = 64
FIRST_CLASSES = 4
MAX_CAPACITY = 2**53
NONE = -1
ALL_BITS = 2**64 - 1

#: Columns of shape [classes, rows].
AMOUNTS = ("total", "reserved", "min_unit", "max_unit", "step_size", "capacity", "used", "held", "free")
#: Columns of the same shape that are set on root rows only.
TREE_SUMS = ("tree_base", "tree_scaled", "tree_taken")
#: Columns of shape [rows] with their types and the value of an unused row.
FACTS = {
    "is_root": (bool, False),
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
#: What changes with the instances and claims on a host, and with nothing else unless the host reports.
USE = frozenset(
    {
        "used",
        "held",
        "free",
        "tree_taken",
        "num_instances",
        "held_claims",
        "pci_free",
        "row_devices",
        "held_guests",
        "image_counts",
    }
)
#: Numbers of aggregates that are beyond it count as none: what is reckoned with them stays a number.
GREATEST = 1e300

Amounts = npt.NDArray[np.int64]


class Profile(NamedTuple):
    """What a host says of its hypervisor; hosts of one make share one profile."""

    hypervisor_type: str
    hypervisor_version: int
    cpu_info: str
    stats: tuple
    supported_instances: tuple


def service_version(profile: Profile) -> int:
    """The version of nova's compute service that a host of this make reports among its ``stats``;
    0 where it does not."""
    version = dict(profile.stats).get("service_version", "")
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


class Interned:
    """Small ints for values that many rows share; ``values[i]`` is the value of the int ``i``."""

    def __init__(self):
        self.values = []
        self._ids = {}

    def id_of(self, value) -> int:
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self.values)
            self.values.append(value)
        return found

    def get(self, value) -> int:
        """The int of ``value``, or -1 when no row ever had it."""
        return self._ids.get(value, NONE)


class HostTable:
    """The columns, and the ways from names to rows.

    ``free`` is kept as ``capacity - used - held``: ``used`` follows from the log, ``held`` is what this process has
    claimed and not read back yet (always zero outside a scheduler). Root rows also hold sums over their tree:
    ``tree_base`` (total - reserved), ``tree_scaled`` (total * ratio - reserved) and ``tree_taken`` (used + held),
    from which weighers get what is left of a host. ``trees[root]`` are the rows of a tree, the root first.
    """

    def __init__(self):
        self.classes = Interned()
        self.traits = Interned()
        self.profiles = Interned()
        self.zones = Interned()
        self.cells = Interned()
        self.count = 0
        self.nested_rows = 0
        self.row_of_host = {}
        self.row_of_uuid = {}
        self.host_names = []
        self.node_names = []
        self.uuids = []
        self.provider_names = []
        self.row_aggregates = []
        self.host_ips = []
        #: HostDevices of root rows, as the log has them; None where a host has neither NUMA nodes nor PCI pools.
        self.row_devices = []
        #: Root row -> claim uuid -> Guest of what this process has claimed there and not read back yet.
        self.held_guests = {}
        self._capacities = WeakValueDictionary()
        #: ImageCounts, once someone asked for them.
        self.image_counts = None
        #: Metric -> its column (float64, NaN where a host does not report it).
        self.metrics = {}
        self.trees = {}
        self.aggregates = {}
        self.cell_closed = {}
        #: Cell -> uuid of its CellMapping, as far as this process was told: no log has them.
        self.cell_uuids = {}
        #: Rises with every change of which providers, aggregates or zones there are.
        self.topology_version = 0
        self._derived = {}
        self._derived_version = -1
        self._touched = []
        self._touched_base = 0
        #: The version at which anything but its use was last touched, by root row.
        self._said_at = np.zeros(FIRST_ROWS, np.int64)
        self._unused = []
        self._rows = FIRST_ROWS
        for name in AMOUNTS:
            setattr(self, name, np.zeros((FIRST_CLASSES, FIRST_ROWS), np.int64))
        self.ratio = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.float64)
        self.tree_base = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.int64)
        self.tree_taken = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.int64)
        self.tree_scaled = np.zeros((FIRST_CLASSES, FIRST_ROWS), np.float64)
        self.trait_words = np.zeros((1, FIRST_ROWS), np.uint64)
        #: Largest min_unit and step_size that any provider ever had, by class: where they are 1, nobody need compare.
        self.largest_min_unit = np.ones(FIRST_CLASSES, np.int64)
        self.largest_step_size = np.ones(FIRST_CLASSES, np.int64)
        for name, (kind, unused) in FACTS.items():
            setattr(self, name, np.full(FIRST_ROWS, unused, kind))

    # The columns of AMOUNTS and FACTS, which are set by name.
    total: Amounts
    reserved: Amounts
    min_unit: Amounts
    max_unit: Amounts
    step_size: Amounts
    capacity: Amounts
    used: Amounts
    held: Amounts
    free: Amounts
    is_root: npt.NDArray[np.bool_]
    root: npt.NDArray[np.int32]
    parent: npt.NDArray[np.int32]
    cell: npt.NDArray[np.int16]
    disabled: npt.NDArray[np.bool_]
    down: npt.NDArray[np.bool_]
    profile: npt.NDArray[np.int32]
    zone: npt.NDArray[np.int32]
    num_io_ops: npt.NDArray[np.int32]
    failed_builds: npt.NDArray[np.int32]
    num_instances: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    hypervisor_version: npt.NDArray[np.int64]
    pci_free: npt.NDArray[np.int32]
    held_claims: npt.NDArray[np.int32]

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
        self.is_root[row] = root is None
        self.nested_rows += root is not None
        self.topology_version += 1
        return row

    def take_rows(self, count: int) -> np.ndarray:
        """Take unused rows for ``count`` providers (int64, shape [count]); the caller writes all that is in them."""
        rows = [heapq.heappop(self._unused) for _ in range(min(count, len(self._unused)))]
        fresh = count - len(rows)
        rows += range(self.count, self.count + fresh)
        self.count += fresh
        while self.count > self._rows:
            self._grow_rows()
        for names in self._lists():
            names.extend([None] * fresh)
        self.topology_version += 1
        return np.array(rows, np.int64)

    def drop_row(self, row: int) -> None:
        """Give a provider's row back, all its columns cleared."""
        # Another cell may have reported the same uuid: then the later one is found by it.
        if self.row_of_uuid.get(self.uuids[row]) == row:
            del self.row_of_uuid[self.uuids[row]]
        self.nested_rows -= not self.is_root[row]
        for name in (*AMOUNTS, *TREE_SUMS, "ratio"):
            getattr(self, name)[:, row] = 0
        self.trait_words[:, row] = 0
        for name, (_, unused) in FACTS.items():
            getattr(self, name)[row] = unused
        for names in self._lists():
            names[row] = None
        for column in self.metrics.values():
            column[row] = np.nan
        heapq.heappush(self._unused, row)
        self.topology_version += 1

    def _lists(self):
        """What is kept in lists of one value a row, None where the row is unused."""
        return (
            self.host_names,
            self.node_names,
            self.uuids,
            self.provider_names,
            self.row_aggregates,
            self.host_ips,
            self.row_devices,
        )

    def _grow_rows(self):
        self._rows *= 2
        for name, old in self.metrics.items():
            self.metrics[name] = np.concatenate([old, np.full(self._rows - len(old), np.nan)])
        self._said_at = np.concatenate([self._said_at, np.zeros(self._rows - len(self._said_at), np.int64)])
        for name in (*AMOUNTS, *TREE_SUMS, "ratio", "trait_words"):
            old = getattr(self, name)
            new = np.zeros((old.shape[0], self._rows), old.dtype)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)
        for name, (kind, unused) in FACTS.items():
            old = getattr(self, name)
            new = np.full(self._rows, unused, kind)
            new[: len(old)] = old
            setattr(self, name, new)

    def class_index(self, resource_class: str) -> int:
        """The index of a resource class, made when it is new."""
        index = self.classes.id_of(resource_class)
        while index >= len(self.used):
            for name in (*AMOUNTS, *TREE_SUMS, "ratio"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
            self.largest_min_unit = np.concatenate([self.largest_min_unit, np.ones_like(self.largest_min_unit)])
            self.largest_step_size = np.concatenate([self.largest_step_size, np.ones_like(self.largest_step_size)])
        return index

    # --- inventories and traits ------------------------------------------------------------------------------

    def set_inventory(self, row: int, inventory) -> None:
        """Write one Inventory record of a provider; use of the row is left as it is."""
        index = self.class_index(inventory.resource_class)
        self.total[index, row] = inventory.total
        self.reserved[index, row] = inventory.reserved
        self.min_unit[index, row] = inventory.min_unit
        self.max_unit[index, row] = inventory.max_unit
        self.step_size[index, row] = inventory.step_size
        self.ratio[index, row] = inventory.allocation_ratio
        self.largest_min_unit[index] = max(self.largest_min_unit[index], inventory.min_unit)
        self.largest_step_size[index] = max(self.largest_step_size[index], inventory.step_size)
        capacity = (inventory.total - inventory.reserved) * inventory.allocation_ratio
        # used + amount <= capacity holds for integers exactly when it holds for the whole part of the capacity.
        self.capacity[index, row] = int(min(max(capacity, 0.0), float(MAX_CAPACITY)))
        self.free[index, row] = self.capacity[index, row] - self.used[index, row] - self.held[index, row]

    def clear_provider(self, row: int) -> None:
        """Forget inventories, use and traits of a row (its place in the tree stays)."""
        for name in AMOUNTS:
            if name != "held":
                getattr(self, name)[:, row] = 0
        self.free[:, row] = -self.held[:, row]
        self.ratio[:, row] = 0
        self.trait_words[:, row] = 0

    def set_traits(self, row: int, traits) -> None:
        """Write the traits of a provider as bits."""
        bits = 0
        for trait in traits:
            bits |= 1 << self.traits.id_of(trait)
        self.widen_traits()
        for word in range(len(self.trait_words)):
            self.trait_words[word, row] = bits >> 64 * word & ALL_BITS

    def widen_traits(self) -> None:
        """Make room for all traits that are known."""
        while len(self.traits.values) > 64 * len(self.trait_words):
            self.trait_words = np.concatenate([self.trait_words, np.zeros_like(self.trait_words)])

    def has_trait(self, trait: str, rows=slice(None)) -> np.ndarray:
        """Boolean vector: which of ``rows`` have a trait."""
        index = self.traits.get(trait)
        if index < 0:
            return np.zeros(self.count, bool)[rows]
        word, bit = divmod(index, 64)
        return (self.trait_words[word, : self.count][rows] >> np.uint64(bit)) & np.uint64(1) != 0

    def row_has_trait(self, trait: str, row: int) -> bool:
        """As :meth:`has_trait` for one row, in a fraction of the time."""
        index = self.traits.get(trait)
        return index >= 0 and bool(self.trait_words.item(index >> 6, row) >> (index & 63) & 1)

    def sum_tree(self, root: int) -> None:
        """Recompute the sums over the tree of ``root``."""
        classes = len(self.classes.values)
        rows = self.trees[root]
        if len(rows) == 1:
            # A view is taken in a tenth of the time of a copy, and most trees are of one provider.
            total, reserved, ratio, used, held = (
                column[:classes, root] for column in (self.total, self.reserved, self.ratio, self.used, self.held)
            )
            self.tree_base[:classes, root] = total - reserved
            self.tree_scaled[:classes, root] = total * ratio - reserved
            self.tree_taken[:classes, root] = used + held
            return
        rows = list(rows)
        total, reserved = self.total[:classes, rows], self.reserved[:classes, rows]
        self.tree_base[:classes, root] = (total - reserved).sum(axis=1)
        self.tree_scaled[:classes, root] = (total * self.ratio[:classes, rows] - reserved).sum(axis=1)
        self.tree_taken[:classes, root] = (self.used[:classes, rows] + self.held[:classes, rows]).sum(axis=1)

    def sum_trees(self, trees) -> None:
        """As :meth:`sum_tree` for many trees (tuples of rows, the root first)."""
        alone = np.array([tree[0] for tree in trees if len(tree) == 1], np.int64)
        classes = len(self.classes.values)
        for index in range(classes):
            total, reserved = self.total[index, alone], self.reserved[index, alone]
            self.tree_base[index, alone] = total - reserved
            self.tree_scaled[index, alone] = total * self.ratio[index, alone] - reserved
            self.tree_taken[index, alone] = self.used[index, alone] + self.held[index, alone]
        for tree in trees:
            if len(tree) > 1:
                self.sum_tree(tree[0])

    def room(self, index: int, amount: int, rows=slice(None)) -> np.ndarray:
        """Boolean vector over ``rows``: which providers have room for ``amount`` of class ``index``, in-flight claims
        counted, in a size that they hand out."""
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

    def set_metrics(self, root: int, metrics) -> None:
        """Write the metrics of a host: those that it does not name (any more), or that are no finite numbers,
        are NaN."""
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        for name, column in self.metrics.items():
            column[root] = metrics.get(name, np.nan)
        for name in metrics.keys() - self.metrics.keys():
            self.metrics[name] = np.full(self._rows, np.nan)
            self.metrics[name][root] = metrics[name]

    def metric(self, name: str) -> np.ndarray:
        """A metric of all rows (float64, NaN where it is not reported)."""
        column = self.metrics.get(name)
        return np.full(self.count, np.nan) if column is None else column[: self.count]

    def capacity_of(self, cells, pools) -> Capacity:
        """The one Capacity of all hosts with the same NUMA nodes and PCI pools."""
        key = capacity_key(cells, pools)
        known = self._capacities.get(key)
        if known is None:
            known = self._capacities[key] = Capacity(cells, pools)
        return known

    def set_devices(self, root: int, devices) -> None:
        """Write the HostDevices of a host, as the log has them; None where it has none."""
        self.row_devices[root] = devices
        self.pci_free[root] = 0 if devices is None else _pci_free(devices)

    def free_devices(self, rows: np.ndarray) -> np.ndarray:
        """How many PCI devices of some hosts nobody has, those in flight counted as taken (int32, shape [hosts])."""
        free = self.pci_free.take(rows)
        for root in self.held_guests:
            place = int(np.searchsorted(rows, root))
            if place < len(rows) and rows[place] == root and self.row_devices[root] is not None:
                free[place] = _pci_free(self.devices(root))
        return free

    def devices(self, root: int):
        """The HostDevices of a host with the claims of this process in flight; None where it has none."""
        devices, held = self.row_devices[root], self.held_guests.get(root)
        return devices.with_guests(held.values()) if held and devices is not None else devices

    def ratio_of(self, root: int, resource_class: str) -> float:
        """The allocation ratio of a class on the first provider of a host's tree that has it; 1.0 where none has."""
        index = self.classes.get(resource_class)
        if index >= 0:
            for row in self.trees[root]:
                if self.total[index, row]:
                    return float(self.ratio[index, row])
        return 1.0

    def total_of(self, root: int, index: int) -> int:
        """How much of class ``index`` a host has, used or not."""
        return sum([self.total.item(index, row) for row in self.trees[root]])

    # --- use -------------------------------------------------------------------------------------------------

    def take(self, row: int, index: int, amount: int) -> None:
        """Count ``amount`` (negative: give back) of class ``index`` as used on ``row``."""
        self.used[index, row] += amount
        self._taken(row, index, amount)

    def hold(self, row: int, index: int, amount: int) -> None:
        """Count ``amount`` (negative: give back) as claimed by this process and not read back yet."""
        self.held[index, row] += amount
        self._taken(row, index, amount)

    def _taken(self, row, index, amount):
        self.free[index, row] -= amount
        self.tree_taken[index, self.root[row]] += amount

    # --- what was touched ------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Rises with every touch of a host; see :meth:`touched_since`."""
        return self._touched_base + len(self._touched)

    def touch(self, root: int) -> None:
        """Note that something of a host changed, whatever it is."""
        self.touch_use(root)
        self._said_at[root] = self.version

    def touch_use(self, root: int) -> None:
        """Note that nothing of a host changed but :data:`USE`: what instances and claims have of it."""
        self._touched.append(root)
        if len(self._touched) > 4 * max(self.count, 1024):
            cut = len(self._touched) // 2
            del self._touched[:cut]
            self._touched_base += cut

    def touched_since(self, version: int) -> set[int] | None:
        """Root rows touched since :attr:`version` was ``version``; None when that is too long ago to tell."""
        if version < self._touched_base:
            return None
        return set(self._touched[version - self._touched_base :])

    def said_since(self, version: int, roots: np.ndarray) -> np.ndarray:
        """Of which hosts more than :data:`USE` was touched since :attr:`version` was ``version`` (bool, shape
        [roots])."""
        return self._said_at.take(roots) > version

    # --- what follows from the topology, computed once for each version of it ---------------------------------

    def derived(self, key, compute):
        """``compute()``, kept under ``key`` until the topology changes."""
        if self._derived_version != self.topology_version:
            self._derived.clear()
            self._derived_version = self.topology_version
        if key not in self._derived:
            self._derived[key] = compute()
        return self._derived[key]

    def roots(self) -> np.ndarray:
        """Root rows in ascending order: the hosts, as decisions number them (int64, shape [hosts])."""
        return self.derived("roots", lambda: np.flatnonzero(self.is_root[: self.count]))

    def aggregate_rows(self, uuid: str) -> np.ndarray:
        """Boolean vector over all rows: providers in an aggregate, by their own report or their host's name."""
        return self.derived(("aggregate", uuid), lambda: self._aggregate_rows(uuid))

    def _aggregate_rows(self, uuid):
        rows = np.zeros(self.count, bool)
        for row in self.derived("aggregate rows", self._rows_by_aggregate).get(uuid, ()):
            rows[row] = True
        return rows

    def _rows_by_aggregate(self):
        by_aggregate = {}
        for row in range(self.count):
            for uuid in self.row_aggregates[row] or ():
                by_aggregate.setdefault(uuid, []).append(row)
        for uuid, aggregate in self.aggregates.items():
            by_aggregate.setdefault(uuid, []).extend(
                self.row_of_host[host] for host in aggregate.hosts if host in self.row_of_host
            )
        return by_aggregate

    def domains(self, kind: str) -> dict[int, str]:
        """Root row -> uuid of the aggregate whose metadata key ``domain`` is ``kind`` (the least uuid of several)."""
        return self.derived(("domains", kind), lambda: self._domains(kind))

    def _domains(self, kind):
        by_row, rows = {}, self.derived("aggregate rows", self._rows_by_aggregate)
        for uuid in sorted(self.aggregates, reverse=True):
            if self.aggregates[uuid].metadata.get("domain") == kind:
                by_row.update((int(self.root[row]), uuid) for row in rows.get(uuid, ()))
        return by_row

    def in_zone(self, zone: str, default: str) -> np.ndarray:
        """Boolean vector over all rows: hosts of an availability zone. Of one that aggregates put in several, it is any
        of them; one that they put in none is where it reports to be, else in ``default``."""
        return self.derived(("in zone", zone, default), lambda: self._in_zone(zone, default))

    def _in_zone(self, zone, default):
        found, placed = np.zeros(self.count, bool), np.zeros(self.count, bool)
        rows = self.derived("aggregate rows", self._rows_by_aggregate)
        for uuid, aggregate in self.aggregates.items():
            of_aggregate = aggregate.metadata.get("availability_zone")
            if of_aggregate:
                roots = [self.root[row] for row in rows.get(uuid, ())]
                placed[roots] = True
                if of_aggregate == zone:
                    found[roots] = True
        for row in np.flatnonzero(self.is_root[: self.count] & ~placed).tolist():
            reported = self.zones.values[self.zone[row]] if self.zone[row] >= 0 else None
            found[row] = (reported or default) == zone
        return found

    def zone_names(self, default: str) -> dict[int, str]:
        """Root row -> availability zone: of an aggregate, else as the host reports it, else ``default``."""
        return self.derived(("zones", default), lambda: self._zone_names(default))

    def _zone_names(self, default):
        by_row = {}
        for row in self.roots():
            reported = self.zones.values[self.zone[row]] if self.zone[row] >= 0 else None
            by_row[int(row)] = reported or default
        rows = self.derived("aggregate rows", self._rows_by_aggregate)
        for uuid in sorted(self.aggregates, reverse=True):
            zone = self.aggregates[uuid].metadata.get("availability_zone")
            if zone:
                by_row.update((int(self.root[row]), zone) for row in rows.get(uuid, ()))
        return by_row

    def aggregates_with(self, kind: str, pairs):
        """What the metadata of aggregates say, by what is looked for: key -> uuids of aggregates, ascending.

        ``pairs(aggregate)`` yields the keys of one aggregate; ``kind`` names it.
        """
        return self.derived(("aggregates", kind), lambda: self._aggregates_with(pairs))

    def _aggregates_with(self, pairs):
        found = {}
        for uuid in sorted(self.aggregates):
            for key in pairs(self.aggregates[uuid]):
                uuids = found.setdefault(key, [])
                if uuid not in uuids:
                    uuids.append(uuid)
        return {key: tuple(uuids) for key, uuids in found.items()}

    def least_service_version(self) -> int:
        """The least version of nova-compute that a host reports; 0 while one reports none,
        and where there is no host."""
        return self.derived(
            "service version",
            lambda: min(
                (service_version(self.profiles.values[profile]) for profile in np.unique(self.profile[self.roots()])),
                default=0,
            ),
        )

    def aggregate_numbers(self, key: str) -> dict[int, float]:
        """Root row -> least number that an aggregate of the host has in its metadata under ``key``; hosts of which
        an aggregate has something else there are left out."""
        return self.derived(("numbers", key), lambda: self._aggregate_numbers(key))

    def _aggregate_numbers(self, key):
        by_row, unreadable = {}, set()
        for aggregate in self.aggregates.values():
            if key not in aggregate.metadata:
                continue
            # As in nova, where what providers say of themselves (Placement's aggregates) does not count here.
            roots = {self.row_of_host[host] for host in aggregate.hosts if host in self.row_of_host}
            try:
                number = float(aggregate.metadata[key])
            except ValueError:
                number = math.nan
            if not abs(number) <= GREATEST:
                unreadable |= roots
            for root in roots:
                by_row[root] = min(number, by_row.get(root, number))
        return {root: number for root, number in by_row.items() if root not in unreadable}


def _pci_free(devices):
    free = sum(max(0, devices.free_in_pool(number)) for number in range(len(devices.pools)))
    return min(free, 2**31 - 1)
