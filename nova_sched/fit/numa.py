"""Which NUMA nodes, CPUs and pages of a host a guest gets: nova's rules and nova's choice, so that the compute host,
which chooses again by itself, comes to the same.

Nodes of the host are tried in an order (:func:`_order`), and the first arrangement that keeps every rule is taken.
Each pair of a guest's node and a host's node is judged by itself, from the request as it came: nova remembers verdicts
under names that it changes on the way, see docs/differences.
"""

from itertools import chain, islice
from typing import NamedTuple

from nova_sched.projection.reason import Reason
from rpc_api import events

#: Page sizes of a request that name no size.
SMALL, LARGE, ANY = -1, -2, -3
#: Places that are tried for one guest on one host, before it is given up; so many PCI pools are looked at in the time
#: of one.
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
    """``uses`` are NUMAUse records, one for each node of the guest; None where it does not fit, for ``reason``."""

    uses: tuple | None
    reason: Reason | None = None


def place(
    devices, request, cpu_ratio: float, ram_ratio: float, fits_pci=None, packed: bool = False, known=None
) -> Place:
    """Place the nodes of a NUMARequest on those of a host's HostDevices.

    The ratios are those of unpinned CPUs and of memory. ``fits_pci(cell ids)`` says whether the PCI requests of the
    guest can be served if its nodes are on these nodes of the host, in whatever order; None: it has no such requests.
    ``packed`` prefers the nodes with least left to those with most ([compute]
    packing_host_numa_cells_allocation_strategy). ``known`` is a dict for what is found out about nodes, to be shared by
    the hosts that are tried with one request and these ratios: what fits a node follows from its own use alone.
    """
    if not request.cells:
        return Place(())
    if len(devices.cells) < len(request.cells):
        return Place(None, NODES)
    return _Search(devices, request, cpu_ratio, ram_ratio, fits_pci, packed, known).run()


def fit(devices, request, cpu_ratio: float, ram_ratio: float, fits_pci=None, packed: bool = False) -> tuple | None:
    """The ``uses`` of :func:`place`."""
    return place(devices, request, cpu_ratio, ram_ratio, fits_pci, packed).uses


def _order(devices, request, with_pci, packed):
    """Numbers of the host's nodes in the order in which they are tried.

    Nodes with PCI devices come first for guests that ask for some and last for others; then counts how many CPUs of the
    guest's kind are left, then memory. Where the guest takes all nodes they stay as they are.
    """
    numbers = range(len(devices.cells))
    if len(devices.cells) == len(request.cells):
        return numbers
    sign, devices_on = -1 if packed else 1, {}
    for number, pool in enumerate(devices.pools):
        devices_on[pool.numa_node] = devices_on.get(pool.numa_node, 0) + max(devices.free_in_pool(number), 0)
    pinned = _is_pinned(request)

    def place_of(number):
        cell, used = devices.cells[number], devices.cell_uses[number]
        cpus = len(devices.capacity.nodes[number].dedicated - used.pinned) if pinned else -used.shared_cpus
        near = devices_on.get(cell.id, 0)
        return -near if with_pci else near, -sign * cpus, -sign * (cell.memory_mb - used.memory_mb)

    return sorted(numbers, key=place_of)


def _is_pinned(request):
    return request.cells[0].cpu_policy in ("dedicated", "mixed")


class _Search:
    """One guest on one host."""

    def __init__(self, devices, request, cpu_ratio, ram_ratio, fits_pci, packed, known=None):
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
        self.pairs = {}
        #: The same of all hosts that were tried: (guest node, Capacity's key, host node, its CellUse).
        self.known = {} if known is None else known
        #: Set of host nodes -> why a guest cannot be on just these, None where it can.
        self.sets = {}
        self.rejected = set()
        self.careful = False
        self.steps = MAX_STEPS

    def run(self):
        chosen = self._extend(())
        if chosen is None:
            return Place(None, self._reason())
        return Place(tuple(self._pair(*pair) for pair in enumerate(chosen)))

    # --- arrangements ----------------------------------------------------------------------------------------

    def _extend(self, chosen):
        """The first whole arrangement that begins with the host nodes ``chosen``; None where there is none."""
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
        # Most guests are placed at once: only where one was not is it worthwhile to look ahead.
        self.careful = True
        return None

    def _can_be_completed(self, chosen):
        """Whether the rest of the guest finds nodes, and may find those of its networks."""
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

    def _is_allowed(self, chosen):
        nodes = frozenset(chosen)
        if nodes not in self.sets:
            if self.fits_pci is not None:
                self.steps -= len(self.devices.pools) // POOLS_A_STEP
            self.sets[nodes] = self._fault_of(chosen)
        if self.sets[nodes] is None:
            return True
        self.rejected.add(self.sets[nodes])
        return False

    def _fault_of(self, chosen):
        if self.fits_pci is not None and not self.fits_pci(tuple(self.devices.cells[number].id for number in chosen)):
            return PCI_DEVICES
        return NETWORKS if any(nodes.isdisjoint(chosen) for nodes in self.networks) else None

    def _reason(self):
        """Why nothing was found: one rule, if it is the same everywhere."""
        for guest in range(len(self.guests)):
            reasons = {self._pair(guest, number) for number in self.order if not self._fits(guest, number)}
            if len(reasons) == 1 and not any(self._fits(guest, number) for number in self.order):
                return reasons.pop()
        return self.rejected.pop() if len(self.rejected) == 1 and self.steps >= 0 else TOPOLOGY

    # --- one node of the guest on one of the host ------------------------------------------------------------

    def _fits(self, guest, number):
        return type(self._pair(guest, number)) is not Reason

    def _pair(self, guest, number):
        found = self.pairs.get((guest, number))
        if found is None:
            key = guest, self.devices.capacity.key, number, self.devices.cell_uses[number]
            found = self.known.get(key)
            if found is None:
                found = self.known[key] = self._judge(self.guests[guest], number, self._reserved(guest))
            self.pairs[guest, number] = found
        return found

    def _reserved(self, guest):
        """Host CPUs that the emulator gets for itself: one, beside the first node of the guest."""
        return int(guest == 0 and self.request.emulator_threads_policy == "isolate")

    def _judge(self, guest, number, reserved):
        """The NUMAUse of a guest's node on a host's, or the reason why it does not fit."""
        cell, used = self.devices.cells[number], self.devices.cell_uses[number]
        shared = len(guest.shared_cpus) if self.shared else 0
        page_kb = self._page_size(guest, cell, used, self.devices.capacity.nodes[number])
        if page_kb is None:
            return MEMORY if not guest.page_kb else _PAGES.get(guest.page_kb) or Reason(PAGES_OF_SIZE, (guest.page_kb,))
        pins, own = (), ()
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
            # No guest may over-commit a node by itself.
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

    def _page_size(self, guest, cell, used, node):
        """The size of the pages that a guest's node gets of those it asked for, 0 where it asked for none; None where
        there is not enough memory of that kind."""
        if guest.page_kb:
            sizes = {SMALL: node.pages[-1:], LARGE: node.pages[:-1], ANY: node.pages}.get(guest.page_kb)
            if sizes is None:
                sizes = [one for one in node.pages if one[0] == guest.page_kb]
            return next(
                (size for size, number in sizes if _in_pages(guest, size, _free_pages(cell, used, number))), None
            )
        if node.pages:
            size, number = node.pages[-1]
            left = _free_pages(cell, used, number) if self.pinned else cell.pages[number].total
            return 0 if _in_pages(guest, size, left) else None
        return 0 if guest.memory_mb <= cell.memory_mb - (used.memory_mb if self.pinned else 0) else None


def _free_pages(cell, used, number):
    return cell.pages[number].total - cell.pages[number].reserved - used.pages[number]


def _in_pages(guest, size_kb, pages):
    """Whether the memory of a guest's node is whole pages of a size, and not too many."""
    return guest.memory_mb * 1024 <= pages * size_kb and not guest.memory_mb * 1024 % size_kb


def _networks(cells, request):
    """For each network of a request that is near to some of a host's nodes, these nodes, by number."""
    near = [{number for number, cell in enumerate(cells) if physnet in cell.physnets} for physnet in request.physnets]
    if request.tunneled:
        near.append({number for number, cell in enumerate(cells) if cell.tunneled})
    return [nodes for nodes in near if nodes]


def _match(options):
    """Whether each of some guest nodes can have another one of the host nodes that it has options on."""
    taken = {}

    def settle(guest, seen):
        for number in options[guest]:
            if number not in seen:
                seen.add(number)
                if number not in taken or settle(taken[number], seen):
                    taken[number] = guest
                    return True
        return False

    return all(settle(guest, set()) for guest in range(len(options)))


# --- which CPUs ----------------------------------------------------------------------------------------------------


def _pin(node, free, guest, reserved):
    """Host CPUs for the pinned CPUs of a guest's node, in their order, and then for its emulator; None where the thread
    policy cannot be kept."""
    wanted = len(guest.dedicated_cpus)
    if guest.thread_policy == "isolate":
        return _pin_cores(node, free, wanted, reserved)
    cores = node.pinnable
    if len(free) < len(node.dedicated):
        cores = [core if free.issuperset(core) else [cpu for cpu in core if cpu in free] for core in cores]
    return _pin_threads(cores, wanted, reserved, guest.thread_policy == "require")


def _pin_cores(node, free, wanted, reserved):
    """One thread of each of some whole cores, whose other threads stay idle: only where these are not shared CPUs."""
    if not wanted or (node.threads > 1 and not node.legacy):
        return None
    whole = [core for core in node.cores if core and free.issuperset(core)]
    cores = [core for core in whole if len(core) == node.threads][:wanted]
    rest = [core[0] for core in whole if core not in cores][:reserved] if reserved else []
    return [core[0] for core in cores] + rest if len(cores) == wanted and len(rest) == reserved else None


def _pin_threads(cores, wanted, reserved, require):
    """As many threads of each core as there can be, the same number of all, at least two with ``require``; without it
    single threads if need be."""
    most = max(map(len, cores), default=0)
    if not wanted:
        # A node of a mixed guest may have no pinned CPUs; nova then still wants a free core for "require".
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
