"""Choose the NUMA nodes, CPUs and pages of a host for a guest. Rules and choice are Nova's, because the compute host
chooses again by itself and must get the same result.

Nodes of the host are tried in an order (:func:`_order`), and the first arrangement that keeps every rule is used. Each
pair of a guest node and a host node is checked alone, against the unchanged request. (Nova caches results by keys that
it changes meanwhile, see docs/differences.)
"""

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import NamedTuple

from nova_sched.projection.devices import CellUse, HostDevices, Node
from nova_sched.projection.reason import Reason
from rpc_api import events

#: Says whether the PCI requests of a guest can be served if its nodes are on these nodes of the host.
FitsPCI = Callable[[tuple[int, ...]], bool]
#: (guest node, Capacity's key, host node, its CellUse) -> the NUMAUse, or the reason why it does not fit.
Known = dict[tuple[int, bytes, int, CellUse], events.NUMAUse | Reason]

#: Page sizes of a request that name no size.
SMALL, LARGE, ANY = -1, -2, -3
#: Steps of the search for one guest on one host, at most; so many PCI pools are checked in the time of one step.
MAX_STEPS = 20_000
POOLS_A_STEP = 8

TOPOLOGY = Reason("NUMA topology")
NODES = Reason("NUMA nodes")
PINNED_CPUS = Reason("NUMA pinned CPUs")
CPU_THREADS = Reason("NUMA CPU threads")
SHARED_CPUS = Reason("NUMA shared CPUs")
MEMORY = Reason("NUMA memory")
NETWORKS = Reason("NUMA networks")
PCI_DEVICES = Reason("NUMA PCI devices")
_PAGES = {SMALL: Reason("NUMA small pages"), LARGE: Reason("NUMA large pages"), ANY: Reason("NUMA pages")}
PAGES_OF_SIZE = "NUMA pages {size} KiB"
#: Each code of the reasons that :func:`place` gives, and what it means.
REASONS = {
    TOPOLOGY.code: "the guest's NUMA nodes fit one by one, but not together, or for several reasons",
    NODES.code: "the host has fewer NUMA nodes than the guest",
    PINNED_CPUS.code: "no NUMA node has enough free dedicated CPUs",
    CPU_THREADS.code: "no NUMA node has free CPUs that keep the CPU thread policy",
    SHARED_CPUS.code: "no NUMA node has enough shared CPUs left within the CPU allocation ratio",
    MEMORY.code: "no NUMA node has enough memory left",
    _PAGES[SMALL].code: "no NUMA node has enough free small pages",
    _PAGES[LARGE].code: "no NUMA node has enough free large pages",
    _PAGES[ANY].code: "no NUMA node has enough free pages of any size",
    PAGES_OF_SIZE: "no NUMA node has enough free pages of this size",
    NETWORKS.code: "the NUMA nodes with room are not near to the networks of the guest",
    PCI_DEVICES.code: "the NUMA nodes with room are not near enough to the PCI devices of the guest",
}


class Place(NamedTuple):
    """``uses`` are NUMAUse records, one for each node of the guest; None if it does not fit, because of ``reason``."""

    uses: tuple[events.NUMAUse, ...] | None
    reason: Reason | None = None


def place(
    devices: HostDevices,
    request: events.NUMARequest,
    cpu_ratio: float,
    ram_ratio: float,
    fits_pci: FitsPCI | None = None,
    packed: bool = False,
    known: Known | None = None,
) -> Place:
    """Place the nodes of a NUMARequest on those of a host's HostDevices.

    The ratios are those of unpinned CPUs and of memory. ``fits_pci(cell ids)`` returns whether the PCI requests of the
    guest can be served if its nodes are on these nodes of the host, in any order; None without such requests.
    ``packed`` prefers nodes with little room left ([compute] packing_host_numa_cells_allocation_strategy). ``known`` is
    a cache of results, which all hosts that are tried with one request and these ratios may share: what fits a node
    depends only on its own use.
    """
    if not request.cells:
        return Place(())
    if len(devices.cells) < len(request.cells):
        return Place(None, NODES)
    return _Search(devices, request, cpu_ratio, ram_ratio, fits_pci, packed, known).run()


def fit(
    devices: HostDevices,
    request: events.NUMARequest,
    cpu_ratio: float,
    ram_ratio: float,
    fits_pci: FitsPCI | None = None,
    packed: bool = False,
) -> tuple[events.NUMAUse, ...] | None:
    """The ``uses`` of :func:`place`."""
    return place(devices, request, cpu_ratio, ram_ratio, fits_pci, packed).uses


def _order(devices: HostDevices, request: events.NUMARequest, with_pci: bool, packed: bool) -> Sequence[int]:
    """Numbers of the host's nodes in the order in which they are tried.

    Nodes with PCI devices come first for guests that ask for devices and last for other guests. Then the number of free
    CPUs of the guest's kind decides, then memory. If the guest uses all nodes they stay in the order of the host.
    """
    numbers = range(len(devices.cells))
    if len(devices.cells) == len(request.cells):
        return numbers
    sign = -1 if packed else 1
    devices_on: dict[int | None, int] = {}
    for number, pool in enumerate(devices.pools):
        devices_on[pool.numa_node] = devices_on.get(pool.numa_node, 0) + max(devices.free_in_pool(number), 0)
    pinned = _is_pinned(request)

    def place_of(number: int) -> tuple[int, int, int]:
        cell, used = devices.cells[number], devices.cell_uses[number]
        cpus = len(devices.capacity.nodes[number].dedicated - used.pinned) if pinned else -used.shared_cpus
        near = devices_on.get(cell.id, 0)
        return -near if with_pci else near, -sign * cpus, -sign * (cell.memory_mb - used.memory_mb)

    return sorted(numbers, key=place_of)


def _is_pinned(request: events.NUMARequest) -> bool:
    return request.cells[0].cpu_policy in ("dedicated", "mixed")


class _Search:
    """One guest on one host."""

    def __init__(
        self,
        devices: HostDevices,
        request: events.NUMARequest,
        cpu_ratio: float,
        ram_ratio: float,
        fits_pci: FitsPCI | None,
        packed: bool,
        known: Known | None = None,
    ) -> None:
        self.devices = devices
        self.request = request
        self.guests = request.cells
        self.cpu_ratio = cpu_ratio
        self.ram_ratio = ram_ratio
        self.fits_pci = fits_pci
        self.pinned = _is_pinned(request)
        # All nodes of a guest have one policy.
        self.shared = request.cells[0].cpu_policy != "dedicated"
        self.order = _order(devices, request, fits_pci is not None, packed)
        self.networks = _networks(devices.cells, request)
        #: (guest node, host node), by number -> its NUMAUse, or the reason why not.
        self.pairs: dict[tuple[int, int], events.NUMAUse | Reason] = {}
        #: The same for all hosts that were tried: see Known.
        self.known: Known = {} if known is None else known
        #: Set of host nodes -> why a guest cannot be on exactly these nodes, None if it can.
        self.sets: dict[frozenset[int], Reason | None] = {}
        self.rejected: set[Reason] = set()
        self.careful = False
        self.steps = MAX_STEPS

    def run(self) -> Place:
        chosen = self._extend(())
        if chosen is None:
            return Place(None, self._reason())
        uses = [self._pair(*pair) for pair in enumerate(chosen)]
        return Place(tuple(use for use in uses if not isinstance(use, Reason)))

    # --- arrangements ----------------------------------------------------------------------------------------

    def _extend(self, chosen: tuple[int, ...]) -> tuple[int, ...] | None:
        """The first complete arrangement that begins with the host nodes ``chosen``; None if there is none."""
        guest = len(chosen)
        if guest == len(self.guests):
            return chosen if self._is_allowed(chosen) else None
        for number in self.order:
            if number in chosen or not self._fits(guest, number):
                continue
            self.steps -= 1
            if self.steps < 0:
                return None
            longer = (*chosen, number)
            if self.careful and not self._can_be_completed(longer):
                continue
            found = self._extend(longer)
            if found is not None:
                return found
        # Most guests are placed at once, so looking ahead pays only after a failed attempt.
        self.careful = True
        return None

    def _can_be_completed(self, chosen: tuple[int, ...]) -> bool:
        """Whether there are nodes for the rest of the guest, and perhaps those of its networks."""
        left = [number for number in self.order if number not in chosen]
        options = [
            [number for number in left if self._fits(guest, number)] for guest in range(len(chosen), len(self.guests))
        ]
        if not _match(options):
            return False
        near = set(chosen).union(*options)
        if any(nodes.isdisjoint(near) for nodes in self.networks):
            self.rejected.add(NETWORKS)
            return False
        return True

    def _is_allowed(self, chosen: tuple[int, ...]) -> bool:
        nodes = frozenset(chosen)
        if nodes not in self.sets:
            if self.fits_pci is not None:
                self.steps -= len(self.devices.pools) // POOLS_A_STEP
            self.sets[nodes] = self._fault_of(chosen)
        fault = self.sets[nodes]
        if fault is not None:
            self.rejected.add(fault)
        return fault is None

    def _fault_of(self, chosen: tuple[int, ...]) -> Reason | None:
        if self.fits_pci is not None and not self.fits_pci(tuple(self.devices.cells[number].id for number in chosen)):
            return PCI_DEVICES
        return NETWORKS if any(nodes.isdisjoint(chosen) for nodes in self.networks) else None

    def _reason(self) -> Reason:
        """Why nothing was found: one rule, if it is the same for all nodes."""
        for guest in range(len(self.guests)):
            pairs = [self._pair(guest, number) for number in self.order]
            reasons = {pair for pair in pairs if isinstance(pair, Reason)}
            if len(reasons) == 1 and all(isinstance(pair, Reason) for pair in pairs):
                return reasons.pop()
        return self.rejected.pop() if len(self.rejected) == 1 and self.steps >= 0 else TOPOLOGY

    # --- one node of the guest on one of the host ------------------------------------------------------------

    def _fits(self, guest: int, number: int) -> bool:
        return not isinstance(self._pair(guest, number), Reason)

    def _pair(self, guest: int, number: int) -> events.NUMAUse | Reason:
        found = self.pairs.get((guest, number))
        if found is None:
            key = guest, self.devices.capacity.key, number, self.devices.cell_uses[number]
            found = self.known.get(key)
            if found is None:
                found = self.known[key] = self._judge(self.guests[guest], number, self._reserved(guest))
            self.pairs[guest, number] = found
        return found

    def _reserved(self, guest: int) -> int:
        """The number of host CPUs for the emulator alone: one, with the first node of the guest."""
        return int(guest == 0 and self.request.emulator_threads_policy == "isolate")

    def _judge(self, guest: events.NUMACellRequest, number: int, reserved: int) -> events.NUMAUse | Reason:
        """The NUMAUse of a guest's node on a host's, or the reason why it does not fit."""
        cell, used = self.devices.cells[number], self.devices.cell_uses[number]
        shared = len(guest.shared_cpus) if self.shared else 0
        page_kb = self._page_size(guest, cell, used, self.devices.capacity.nodes[number])
        if page_kb is None:
            return MEMORY if not guest.page_kb else _PAGES.get(guest.page_kb) or Reason(PAGES_OF_SIZE, (guest.page_kb,))
        pins: tuple[tuple[int, ...], ...] = ()
        own: tuple[int, ...] = ()
        if self.pinned:
            node = self.devices.capacity.nodes[number]
            free = node.dedicated - used.pinned
            if len(guest.dedicated_cpus) + reserved > len(free):
                return PINNED_CPUS
            cpus = _pin(node, free, guest, reserved)
            if cpus is None:
                return CPU_THREADS if guest.thread_policy in ("isolate", "require") else PINNED_CPUS
            pins = tuple(zip(sorted(guest.dedicated_cpus), cpus, strict=False))
            own = tuple(cpus[len(pins) :])
        if self.shared:
            # A single guest must not over-commit a node.
            if shared > len(cell.shared_cpus) or used.shared_cpus + shared > len(cell.shared_cpus) * self.cpu_ratio:
                return SHARED_CPUS
            if used.memory_mb + guest.memory_mb > cell.memory_mb * self.ram_ratio:
                return MEMORY
        return events.NUMAUse(
            cell.id,
            guest.id,
            shared,
            pins,
            own,
            self.pinned and guest.thread_policy == "isolate",
            guest.memory_mb,
            page_kb,
        )

    def _page_size(
        self, guest: events.NUMACellRequest, cell: events.HostNUMACell, used: CellUse, node: Node
    ) -> int | None:
        """The size of the pages for a guest's node that asked for pages, 0 for one that did not; None if there is not
        enough memory of that kind."""
        if guest.page_kb:
            sizes = {SMALL: node.pages[-1:], LARGE: node.pages[:-1], ANY: node.pages}.get(guest.page_kb)
            if sizes is None:
                sizes = tuple(size for size in node.pages if size[0] == guest.page_kb)
            return next(
                (size for size, number in sizes if _in_pages(guest, size, _free_pages(cell, used, number))), None
            )
        if node.pages:
            size, number = node.pages[-1]
            left = _free_pages(cell, used, number) if self.pinned else cell.pages[number].total
            return 0 if _in_pages(guest, size, left) else None
        return 0 if guest.memory_mb <= cell.memory_mb - (used.memory_mb if self.pinned else 0) else None


def _free_pages(cell: events.HostNUMACell, used: CellUse, number: int) -> int:
    return cell.pages[number].total - cell.pages[number].reserved - used.pages[number]


def _in_pages(guest: events.NUMACellRequest, size_kb: int, pages: int) -> bool:
    """Whether the memory of a guest's node is a whole number of pages of a size, and not too many."""
    return guest.memory_mb * 1024 <= pages * size_kb and not guest.memory_mb * 1024 % size_kb


def _networks(cells: Sequence[events.HostNUMACell], request: events.NUMARequest) -> list[set[int]]:
    """For each network of a request that is near to some nodes of a host, the numbers of these nodes."""
    near = [{number for number, cell in enumerate(cells) if physnet in cell.physnets} for physnet in request.physnets]
    if request.tunneled:
        near.append({number for number, cell in enumerate(cells) if cell.tunneled})
    return [nodes for nodes in near if nodes]


def _match(options: Sequence[Sequence[int]]) -> bool:
    """Whether each guest node can get a host node of its own among its options."""
    taken: dict[int, int] = {}

    def settle(guest: int, seen: set[int]) -> bool:
        for number in options[guest]:
            if number not in seen:
                seen.add(number)
                if number not in taken or settle(taken[number], seen):
                    taken[number] = guest
                    return True
        return False

    return all(settle(guest, set()) for guest in range(len(options)))


# --- which CPUs ----------------------------------------------------------------------------------------------------


def _pin(node: Node, free: frozenset[int], guest: events.NUMACellRequest, reserved: int) -> list[int] | None:
    """Host CPUs for the pinned CPUs of a guest's node, in their order, and then for its emulator; None if the thread
    policy cannot be kept."""
    wanted = len(guest.dedicated_cpus)
    if guest.thread_policy == "isolate":
        return _pin_cores(node, free, wanted, reserved)
    cores = node.pinnable
    if len(free) < len(node.dedicated):
        cores = tuple(core if free.issuperset(core) else tuple(cpu for cpu in core if cpu in free) for core in cores)
    return _pin_threads(cores, wanted, reserved, guest.thread_policy == "require")


def _pin_cores(node: Node, free: frozenset[int], wanted: int, reserved: int) -> list[int] | None:
    """One thread of each of some free cores, whose other threads stay idle; only if these are not shared CPUs."""
    if not wanted or (node.threads > 1 and not node.legacy):
        return None
    whole = [core for core in node.cores if core and free.issuperset(core)]
    cores = [core for core in whole if len(core) == node.threads][:wanted]
    rest = [core[0] for core in whole if core not in cores][:reserved] if reserved else []
    return [core[0] for core in cores] + rest if len(cores) == wanted and len(rest) == reserved else None


def _pin_threads(cores: Sequence[Sequence[int]], wanted: int, reserved: int, require: bool) -> list[int] | None:
    """The largest possible number of threads per core, the same on all cores, at least two with ``require``; without it
    also single threads."""
    most = max(map(len, cores), default=0)
    if not wanted:
        # A node of a mixed guest may have no pinned CPUs; Nova then still needs a free core for "require".
        return None if reserved or (require and most < 2) else []
    for threads in range(most, int(require), -1):
        usable = [core for core in cores if len(core) >= threads]
        if threads * len(usable) >= wanted:
            cpus = list(islice(chain.from_iterable(core[:threads] for core in usable), wanted))
            rest = [cpu for cpu in chain.from_iterable(cores) if cpu not in cpus][:reserved] if reserved else []
            if len(rest) == reserved:
                return cpus + rest
    cpus = list(chain.from_iterable(cores))[: wanted + reserved]
    return None if require or len(cpus) < wanted + reserved else cpus
