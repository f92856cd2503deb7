"""Choose the PCI devices of a host for an instance: the pools that fit each of its requests, in Nova's order.

Requests from a flavor's alias and from a port look the same here: nova-api turns ``[pci] alias`` into specs, and ports
into specs with a physical network, before it calls the scheduler. With ``[filter_scheduler] pci_in_placement`` nova-api
and the conductor also add a resource group for each device of an alias, with the suffix ``<request_id>-<number>``. The
scheduler treats these like any requested group, and this module follows the assignment: the devices must come from the
providers that serve the groups of the request.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from oslo_utils import strutils

from nova_sched.projection.devices import HostDevices
from rpc_api import events
from rpc_api.events import PCIPool, PCIRequest

#: Suffix of a group -> the providers that serve it.
Mappings = Mapping[str, Sequence[str]]

#: Keys of a spec that Placement has checked, or that are not a property of a device.
_IGNORED = frozenset({"resource_class", "traits", "rp_uuids", "rp_uuid"})
#: The mappings of an assignment that binds no PCI request to a provider.
UNBOUND: Mappings = {"": ()}
_FIELDS = ("vendor_id", "product_id", "numa_node", "count")


def place(
    devices: HostDevices | None,
    requests: Sequence[PCIRequest],
    cells: Iterable[int] | None = None,
    mappings: Mappings | None = None,
) -> tuple[events.PCIUse, ...] | None:
    """PCIUse records that serve all PCIRequest records of an instance on a host, None if they do not fit.

    ``devices`` are the HostDevices (None: the host has none), ``cells`` the ids of the guest's NUMA nodes on the host
    (none: it has no NUMA topology), ``mappings`` group suffix -> provider uuids of the assignment. Each request takes
    from what the earlier ones left.
    """
    return place_or_name(devices, requests, cells, mappings)[0]


def supports(
    devices: HostDevices | None,
    requests: Sequence[PCIRequest],
    cells: Iterable[int] | None = None,
    mappings: Mappings | None = None,
) -> bool:
    """Whether :func:`place` finds devices for all requests."""
    return place(devices, requests, cells, mappings) is not None


def place_or_name(
    devices: HostDevices | None,
    requests: Sequence[PCIRequest],
    cells: Iterable[int] | None = None,
    mappings: Mappings | None = None,
) -> tuple[tuple[events.PCIUse, ...] | None, PCIRequest | None]:
    """(uses, None) as :func:`place`, or (None, the first PCIRequest for which there are too few devices)."""
    if not requests:
        return (), None
    if devices is None:
        return None, requests[0]
    names, free = tuple(devices.capacity.keys), list(map(devices.free_in_pool, range(len(devices.pools))))
    uses, order = [], in_order(devices.pools)
    for request in requests:
        taken = _take(devices, order, free, request, cells, _providers(request, mappings))
        if taken is None:
            return None, request
        uses += [events.PCIUse(names[number], count, request.request_id) for number, count in taken]
    return tuple(uses), None


def serving(devices: HostDevices | None, requests: Sequence[PCIRequest]) -> Callable[[str, str], bool] | None:
    """``serves(suffix, provider uuid)`` for :func:`nova_sched.fit.providers.allocate`: whether a provider has free
    devices for the PCI request that a group belongs to; always true for other groups. None without PCI requests."""
    if not requests:
        return None
    uuids = {
        request.request_id: _uuids_for(devices, request)
        for request in requests
        if _of_alias(request) and request.request_id
    }

    def serves(suffix: str, uuid: str) -> bool:
        return all(uuid in of for request_id, of in uuids.items() if suffix.startswith(request_id))

    return serves


def _uuids_for(devices: HostDevices | None, request: PCIRequest) -> set[str | None]:
    if devices is None:
        return set()
    chooses = choosing(request)
    return {
        pool.tags.get("rp_uuid")
        for number, pool in enumerate(devices.pools)
        if devices.free_in_pool(number) > 0 and chooses(pool)
    }


def name_of(request: PCIRequest) -> str:
    """The name of a PCIRequest for people: its alias, else vendor:product, else its physical network."""
    spec = request.spec[0] if request.spec else {}
    if request.alias_name:
        return request.alias_name
    if spec.get("vendor_id") and spec.get("product_id"):
        return f"{spec['vendor_id']}:{spec['product_id']}"
    return spec.get("physical_network") or "device"


def is_assigned(request: PCIRequest, suffixes: Iterable[str]) -> bool:
    """Whether groups with some of these suffixes ask Placement for the devices of a PCIRequest."""
    request_id = request.request_id
    return bool(_of_alias(request) and request_id and any(suffix.startswith(request_id) for suffix in suffixes))


def choosing(request: PCIRequest) -> Callable[[PCIPool], bool]:
    """A predicate on pools: whether a PCIRequest can use their devices, on any NUMA node."""
    fits, usable = _fits(request), _usable(request)
    return lambda pool: fits(pool) and usable(pool)


def in_order(pools: Sequence[PCIPool]) -> list[int]:
    """Numbers of pools in Nova's order: pools with few tags come first."""
    return sorted(range(len(pools)), key=lambda number: len(pools[number].tags))


def _fits(request: PCIRequest) -> Callable[[PCIPool], bool]:
    """A predicate on pools: whether their devices have all properties of one of the specs. Ignores upper and lower
    case."""
    specs = [
        [(name, _lower(wanted), name in _FIELDS) for name, wanted in spec.items() if name not in _IGNORED]
        for spec in request.spec
    ]

    def fits(pool: PCIPool) -> bool:
        for spec in specs:
            for name, wanted, is_field in spec:
                # A number of a pool never equals the text of a spec, so a spec cannot ask for a NUMA node, as in Nova.
                if _lower(getattr(pool, name) if is_field else pool.tags.get(name)) != wanted:
                    break
            else:
                return True
        return False

    return fits


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _of_alias(request: PCIRequest) -> bool:
    return request.alias_name is not None and bool(request.request_id)


def _providers(request: PCIRequest, mappings: Mappings | None) -> Counter[str]:
    """Provider uuid -> the number of devices of a request that must come from it; {} if any provider may serve it."""
    if request.alias_name is None:
        return Counter()
    if not mappings:
        uuids = request.spec[0].get("rp_uuids") if request.spec else None
        return Counter(uuids.split(",") if uuids else ())
    return Counter(uuids[0] for suffix, uuids in mappings.items() if is_assigned(request, (suffix,)))


def _take(
    devices: HostDevices,
    order: list[int],
    free: list[int],
    request: PCIRequest,
    cells: Iterable[int] | None,
    providers: Counter[str],
) -> list[tuple[int, int]] | None:
    """[(pool number, count), ...] that serve one request, which are taken from ``free``; None if there are too few
    devices."""
    pools = devices.pools
    fits = _fits(request)
    fitting = [number for number in order if free[number] > 0 and fits(pools[number])]
    if cells:
        fitting = _near(devices, free, fitting, request, cells)
    usable = _usable(request)
    fitting = [number for number in fitting if usable(pools[number])]
    if providers:
        assigned = _assigned(pools, free, fitting, request, providers)
        if assigned is None:
            return None
        taken = [(number, _take_from(devices, free, number, count)) for number, count in assigned]
        return taken if taken == assigned else None
    wanted, taken = request.count, []
    for number in fitting:
        count = _take_from(devices, free, number, wanted)
        wanted -= count
        if count:
            taken.append((number, count))
    return None if wanted or not fitting else taken


def _take_from(devices: HostDevices, free: list[int], number: int, wanted: int) -> int:
    """Take at most ``wanted`` devices of a pool from ``free``, and nothing is free in its rivals; returns how many."""
    count = min(free[number], wanted)
    if count:
        free[number] -= count
        for rival in devices.capacity.rivals[number]:
            free[rival] = min(free[rival], 0)
    return count


def _assigned(
    pools: Sequence[PCIPool], free: list[int], fitting: list[int], request: PCIRequest, providers: Counter[str]
) -> list[tuple[int, int]] | None:
    """The number of devices from each provider that its groups require; a provider is one pool."""
    known = [
        pool.tags["rp_uuid"]
        for pool, left in zip(pools, free, strict=True)
        if left > 0 and pool.tags.get("rp_uuid") is not None
    ]
    if len(set(known)) < len(known):
        return None
    of = {pools[number].tags.get("rp_uuid"): number for number in fitting}
    taken = [(of[uuid], count) for uuid, count in providers.items() if uuid in of and free[of[uuid]] >= count]
    if len(taken) < len(providers) or sum(free[number] for number, _ in taken) < request.count:
        return None
    return sorted(taken)


# --- near the guest --------------------------------------------------------------------------------------------------


def _near(
    devices: HostDevices, free: list[int], fitting: list[int], request: PCIRequest, cells: Iterable[int]
) -> list[int]:
    """Pools by the NUMA policy of a request: the nearest pools with enough devices, as far away as the policy
    allows."""
    policy = request.numa_policy or "legacy"
    wanted = request.count
    nodes: set[int | None] = set(cells)
    near = _on(devices.pools, fitting, nodes)
    if policy == "required" or sum(free[number] for number in near) >= wanted:
        return near
    if policy == "socket":
        return _on(devices.pools, fitting, _nodes_of_sockets(devices.cells, nodes))
    # Devices without a NUMA node may be near.
    nodes.add(None)
    near = _on(devices.pools, fitting, nodes)
    if policy == "legacy" or sum(free[number] for number in near) >= wanted:
        return near
    return near + [number for number in fitting if devices.pools[number].numa_node not in nodes]


def _on(pools: Sequence[PCIPool], numbers: Iterable[int], nodes: Collection[int | None]) -> list[int]:
    return [number for number in numbers if pools[number].numa_node in nodes]


def _nodes_of_sockets(host_cells: Sequence[events.HostNUMACell], nodes: Collection[int | None]) -> set[int | None]:
    """All nodes of the sockets that some nodes belong to; none if the host does not report its sockets."""
    if any(cell.socket is None for cell in host_cells):
        return set()
    sockets = {cell.socket for cell in host_cells if cell.id in nodes}
    return {cell.id for cell in host_cells if cell.socket in sockets}


# --- devices that serve only requests that ask for them --------------------------------------------------------------


def _usable(request: PCIRequest) -> Callable[[PCIPool], bool]:
    """A predicate on pools: physical functions, VDPA and remote managed devices serve only requests that ask for them,
    and a request may require devices that can, or cannot, be migrated live."""
    kinds = {spec.get("dev_type") for spec in request.spec}
    unwanted = {kind for kind in ("type-PF", "vdpa") if kind not in kinds}
    remote = any(map(_is_remote, request.spec))
    movable = {spec.get("live_migratable") for spec in request.spec}
    wanted = next(iter(movable)) if movable in ({"true"}, {"false"}) else None

    def usable(pool: PCIPool) -> bool:
        tags = pool.tags
        return (
            tags.get("dev_type") not in unwanted
            and (remote or not _is_remote(tags))
            and (wanted is None or tags.get("live_migratable") == wanted)
        )

    return usable


def _is_remote(tags: Mapping[str, str | None]) -> bool:
    value = tags.get("remote_managed")
    return value is not None and strutils.bool_from_string(value)
