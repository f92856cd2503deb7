"""PciPassthroughFilter: refuses hosts that lack the PCI devices of a request."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding, last_guest
from nova_sched.fit import pci
from nova_sched.hosts.device_groups import told
from nova_sched.projection.reason import Reason

NO_DEVICES = Reason("no PCI devices")
NO_DEVICE = "PCI {device}"
#: What a host lacks, besides the number of a request.
NONE, NO_POOLS = -1, -2


class PciPassthroughFilter(Filter):
    """A host must have enough free devices for each PCI request of an alias or a port, after those of the requests
    before it. The NUMATopologyFilter looks at NUMA nodes.

    If Placement assigns devices (``[filter_scheduler] pci_in_placement`` of nova-api and conductor), each
    request must find enough by itself here; which providers they come from is looked at with the assignment, when a
    host is chosen.
    """

    name = "PciPassthroughFilter"
    reasons = {
        NO_DEVICES.code: "the host reports no PCI devices",
        NO_DEVICE: "too few devices of this alias or port are free, after those of the requests before it",
    }
    costly = True

    def seen(self, request):
        return tuple(
            (device.count, device.alias_name, tuple(tuple(sorted(spec.items())) for spec in device.spec), assigned)
            for device, assigned in zip(request.pci, _assigned(request), strict=True)
        )

    def refusals(self, hosts, request, policy, scope):
        if not request.pci:
            return
        states, numbers = hosts.device_states()
        missing = told(states.verdicts((self.name, self.seen(request)), numbers, _Asked(request).missing), numbers)
        yield Refusal(NO_DEVICES, missing == NO_POOLS)
        for number, device in enumerate(request.pci):
            yield Refusal(lacking(device), missing == number)

    def explain(self, look, reason):
        has = look.table.devices(look.row)
        asked = [{"name": pci.name_of(device), "count": device.count} for device in look.request.pci]
        wanted = ", ".join(f"{device['count']} {device['name']}" for device in asked)
        if has is None or not has.pools:
            return Finding(
                f"the host reports no PCI devices, asked {wanted}",
                {"pools": [], "asked": asked},
                lambda traces: traces.reported(),
            )
        pools = [
            {
                "vendor_id": pool.vendor_id,
                "product_id": pool.product_id,
                "numa_node": pool.numa_node,
                "free": has.free_in_pool(number),
                "count": pool.count,
            }
            for number, pool in enumerate(has.pools)
        ]
        left = ", ".join(
            f"{pool['free']} of {pool['count']} {pool['vendor_id']}:{pool['product_id']} free" for pool in pools
        )
        return Finding(
            f"{left}; asked {wanted}",
            {"pools": pools, "asked": asked},
            last_guest(look, "pci"),
            sum(pool["free"] for pool in pools),
        )


def lacking(device) -> Reason:
    """Why a host is refused that has not enough for a PCI request."""
    return Reason(NO_DEVICE, (pci.name_of(device),))


def _assigned(request):
    """Of which PCI requests Placement assigns the devices."""
    suffixes = [group.suffix for group in request.groups if group.suffix]
    return [pci.is_assigned(device, suffixes) for device in request.pci]


class _Asked:
    """The PCI requests of one instance, and which pools could serve each, looked up once for hosts of one make."""

    def __init__(self, request):
        self.requests = request.pci
        self.assigned = _assigned(request)
        # A request for no device at all still wants to find one.
        self.total = sum(max(device.count, 1) for device in request.pci)
        self._chooses = [pci.choosing(device) for device in request.pci]
        self._pools = {}
        self._missing = {}

    def missing(self, devices) -> int:
        """The number of the first request that a host cannot serve, :data:`NONE` if it can serve all."""
        if devices is None or not devices.pools:
            return NO_POOLS
        key = devices.capacity.key, devices.pool_uses
        if key not in self._missing:
            self._missing[key] = self._found_missing(devices)
        return self._missing[key]

    def _found_missing(self, devices):
        pools_of, plenty = self._pools_of(devices.capacity)
        for number, (request, pools) in enumerate(zip(self.requests, pools_of, strict=True)):
            left = [free for free in map(devices.free_in_pool, pools) if free > 0]
            if not left or sum(left) < request.count:
                return number
            plenty &= sum(left) >= self.total
        if plenty or any(self.assigned):
            return NONE
        lacking = pci.place_or_name(devices, self.requests, None, pci.UNBOUND)[1]
        return NONE if lacking is None else self.requests.index(lacking)

    def _pools_of(self, capacity):
        """For each request, the numbers of the pools that could serve it; and whether what one of them gives takes
        nothing from another."""
        found = self._pools.get(capacity.key)
        if found is None:
            pools = [
                [
                    number
                    for number, pool in enumerate(capacity.pools)
                    if chooses(pool) and (not assigned or pool.tags.get("rp_uuid") is not None)
                ]
                for chooses, assigned in zip(self._chooses, self.assigned, strict=True)
            ]
            every = {number for numbers in pools for number in numbers}
            found = pools, all(every.isdisjoint(capacity.rivals[number]) for number in every)
            self._pools[capacity.key] = found
        return found
