"""The close look at one host: which of its providers serve which group,
and which NUMA nodes and PCI devices the guest then gets."""

from typing import NamedTuple

from nova_sched.filters import pci_passthrough, resources
from nova_sched.fit import numa, pci
from nova_sched.fit.providers import Assignment, allocate
from nova_sched.projection.reason import Reason
from nova_sched.projection.table import HostTable
from nova_sched.selection.chain import filters_for
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.events import NUMAUse, PCIUse, SchedulingRequest
from rpc_api.packing import pack

TOGETHER = "ResourceFilter", resources.TOGETHER


class Fitted(NamedTuple):
    """What a request gets of a host: an Assignment and the packed Guest (None if it would be empty)."""

    assignment: Assignment
    guest: bytes | None = None


class Unfit(NamedTuple):
    """The request does not fit on the host: the (filter, Reason) that refused it."""

    refusal: tuple[str, Reason]


def fit_on(table: HostTable, row: int, request: SchedulingRequest, policy: Policy) -> Fitted | Unfit:
    """Fit a request on the host of the root ``row``.

    If no filter of the policy checks devices, requested devices are counted if they are available. If they are not,
    the host is not refused: the compute host tries by itself then.
    """
    if request.numa is None and not request.pci:
        assignment = allocate(table, row, request)
        if assignment is None:
            return Unfit(TOGETHER)
        return Fitted(assignment, _packed((), (), request))
    close = _Devices(table, row, request, policy)
    assignment = allocate(
        table, row, request, close.accept, pci.serving(close.devices, request.pci) if close.sees_pci else None
    )
    if assignment is None:
        return Unfit(close.refusal or TOGETHER)
    return Fitted(assignment, _packed(*close.found, request))


def _packed(numa_uses: tuple[NUMAUse, ...], pci_uses: tuple[PCIUse, ...], request: SchedulingRequest) -> bytes | None:
    if not (numa_uses or pci_uses or request.image_properties):
        return None
    return pack(events.Guest(numa_uses, pci_uses, request.image_properties))


class _Devices:
    """Searches NUMA nodes and PCI devices that fit an assignment."""

    def __init__(self, table: HostTable, row: int, request: SchedulingRequest, policy: Policy) -> None:
        self.request = request
        self.devices = table.devices(row)
        self.ratios = table.ratio_of(row, "VCPU"), table.ratio_of(row, "MEMORY_MB")
        self.packed = policy.packing_host_numa_cells_allocation_strategy
        names = {used.name for used in filters_for(policy, request)}
        self.sees_numa, self.sees_pci = "NUMATopologyFilter" in names, "PciPassthroughFilter" in names
        #: (NUMAUse records, PCIUse records) of the assignment that was accepted.
        self.found: tuple[tuple[NUMAUse, ...], tuple[PCIUse, ...]] = (), ()
        self.refusal: tuple[str, Reason] | None = None

    def accept(self, assignment: Assignment) -> bool:
        """Whether there are devices for all that the request asks for, given which providers serve its groups."""
        nodes = self._nodes(assignment.mappings)
        if nodes is None:
            return False
        taken, lacking = pci.place_or_name(
            self.devices, self.request.pci, [use.cell for use in nodes] or None, assignment.mappings
        )
        if lacking is not None and self.sees_pci:
            self.refusal = "PciPassthroughFilter", pci_passthrough.lacking(lacking)
            return False
        self.found = nodes, taken or ()
        return True

    def _nodes(self, mappings: pci.Mappings) -> tuple[NUMAUse, ...] | None:
        request, devices = self.request, self.devices
        if request.numa is None or devices is None or not devices.cells:
            return ()
        fits_pci = (lambda cells: pci.supports(devices, request.pci, cells, mappings)) if request.pci else None
        place = numa.place(devices, request.numa, *self.ratios, fits_pci, self.packed)
        if place.uses is None and self.sees_numa:
            self.refusal = "NUMATopologyFilter", place.reason or numa.TOPOLOGY
            return None
        return place.uses or ()
