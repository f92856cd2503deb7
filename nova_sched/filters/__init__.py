"""The filters, in the order in which they are asked; third parties come by entry point or class path."""

from nova_sched.filters.base import Filter, HostView, Refusal
from nova_sched.filters.compute import ComputeFilter
from nova_sched.filters.compute_capabilities import ComputeCapabilitiesFilter
from nova_sched.filters.destination import AvailabilityZoneFilter, CellFilter, DestinationFilter
from nova_sched.filters.image_properties import ImagePropertiesFilter
from nova_sched.filters.numa_topology import NUMATopologyFilter
from nova_sched.filters.pci_passthrough import PciPassthroughFilter
from nova_sched.filters.resources import ResourceFilter
from nova_sched.filters.server_group import (
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
    ServerGroupFaultDomainFilter,
)

#: Asked of every request: they stand for what nova leaves to Placement and to its request filters.
ALWAYS = (DestinationFilter(), CellFilter(), AvailabilityZoneFilter(), ResourceFilter(), ServerGroupFaultDomainFilter())

#: Asked where ``[filter_scheduler] enabled_filters`` names them.
BUILT_IN = {one.name: one for one in (
    ComputeFilter(), ComputeCapabilitiesFilter(), ImagePropertiesFilter(), ServerGroupAntiAffinityFilter(),
    ServerGroupAffinityFilter(),
    NUMATopologyFilter(),
    PciPassthroughFilter(),
)}

__all__ = ["ALWAYS", "BUILT_IN", "Filter", "HostView", "Refusal"]
