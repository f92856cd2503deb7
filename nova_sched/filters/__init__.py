"""The filters, in the order in which they run. Filters of deployers come by entry point or class path."""

from collections.abc import Callable

from nova_sched.filters.aggregate_extra_specs import AggregateInstanceExtraSpecsFilter
from nova_sched.filters.aggregate_flavors import AggregateTypeAffinityFilter
from nova_sched.filters.aggregate_image_properties import AggregateImagePropertiesIsolation
from nova_sched.filters.aggregate_tenants import AggregateMultiTenancyIsolation
from nova_sched.filters.all_hosts import AllHostsFilter
from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.cidr import SimpleCIDRAffinityFilter
from nova_sched.filters.compute import ComputeFilter, ComputeStatusFilter
from nova_sched.filters.compute_capabilities import ComputeCapabilitiesFilter
from nova_sched.filters.destination import AvailabilityZoneFilter, CellFilter, DestinationFilter
from nova_sched.filters.image_properties import ImagePropertiesFilter
from nova_sched.filters.instance_hosts import DifferentHostFilter, SameHostFilter
from nova_sched.filters.isolated_hosts import IsolatedHostsFilter
from nova_sched.filters.json_hint import JsonFilter
from nova_sched.filters.load import AggregateIoOpsFilter, AggregateNumInstancesFilter, IoOpsFilter, NumInstancesFilter
from nova_sched.filters.metrics import MetricsFilter
from nova_sched.filters.numa_topology import NUMATopologyFilter
from nova_sched.filters.pci_passthrough import PciPassthroughFilter
from nova_sched.filters.resources import ResourceFilter, refusal_of_host
from nova_sched.filters.room import CoreFilter, DiskFilter, RamFilter
from nova_sched.filters.server_group import (
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
    ServerGroupFaultDomainFilter,
)
from nova_sched.hosts.view import HostView
from nova_sched.projection.reason import Reason
from nova_sched.projection.table import HostTable
from rpc_api.events import SchedulingRequest

#: They run for every request, as Placement and Nova's request filters do.
ALWAYS = (
    DestinationFilter(),
    CellFilter(),
    AvailabilityZoneFilter(),
    ComputeStatusFilter(),
    ResourceFilter(),
    ServerGroupFaultDomainFilter(),
)

#: Names of those that also run if they are not enabled, unless hosts are named by force: the log of one cell alone
#: cannot keep the policy of a group that has members in several.
OF_GROUPS = ("ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter")

#: They run if ``[filter_scheduler] enabled_filters`` names them. It may also name a filter that always runs.
BUILT_IN = {
    each.name: each
    for each in (
        ALWAYS[2],
        ComputeFilter(),
        ComputeCapabilitiesFilter(),
        ImagePropertiesFilter(),
        ServerGroupAntiAffinityFilter(),
        ServerGroupAffinityFilter(),
        AggregateImagePropertiesIsolation(),
        AggregateInstanceExtraSpecsFilter(),
        AggregateIoOpsFilter(),
        AggregateMultiTenancyIsolation(),
        AggregateNumInstancesFilter(),
        AggregateTypeAffinityFilter(),
        AllHostsFilter(),
        CoreFilter(),
        DifferentHostFilter(),
        DiskFilter(),
        IoOpsFilter(),
        IsolatedHostsFilter(),
        JsonFilter(),
        MetricsFilter(),
        NumInstancesFilter(),
        RamFilter(),
        SameHostFilter(),
        SimpleCIDRAffinityFilter(),
        NUMATopologyFilter(),
        PciPassthroughFilter(),
    )
}

#: Filters that have a second form, for a single host: the class, and a function of (table, root row, request) that
#: gives the first Reason to refuse it, or None. A class that is made of one of these is not asked this way.
OF_ONE_HOST: dict[type[Filter], Callable[[HostTable, int, SchedulingRequest], Reason | None]] = {
    ResourceFilter: refusal_of_host
}

__all__ = ["ALWAYS", "BUILT_IN", "OF_GROUPS", "OF_ONE_HOST", "Filter", "HostView", "Reason", "Refusal"]
