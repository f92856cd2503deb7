"""Nova's versioned objects as Nova sends them (``nova_object.*``, namespace ``nova``).

These are the objects that an unmodified nova-conductor sends with a request, and those that it expects back. The import
of the package fills the table of the classes by name (:data:`rpc_api.objects.base.CLASSES`).
"""

from rpc_api.objects.aggregate import Aggregate, AggregateList
from rpc_api.objects.cell_mapping import CellMapping
from rpc_api.objects.compute_node import ComputeNode, ComputeNodeList, HVSpec
from rpc_api.objects.destination import Destination
from rpc_api.objects.flavor import Flavor
from rpc_api.objects.image_meta import ImageMeta, ImageMetaProps
from rpc_api.objects.instance_group import InstanceGroup
from rpc_api.objects.network import NetworkMetadata, NetworkRequest, NetworkRequestList
from rpc_api.objects.numa import InstanceNUMACell, InstanceNUMATopology, NUMATopologyLimits, VirtCPUTopology
from rpc_api.objects.pci import InstancePCIRequest, InstancePCIRequests, PciDevicePool, PciDevicePoolList
from rpc_api.objects.request_group import RequestGroup, RequestLevelParams
from rpc_api.objects.request_spec import RequestSpec, SchedulerRetries
from rpc_api.objects.security_group import SecurityGroup, SecurityGroupList
from rpc_api.objects.selection import SchedulerLimits, Selection

__all__ = [
    "Aggregate",
    "AggregateList",
    "CellMapping",
    "ComputeNode",
    "ComputeNodeList",
    "Destination",
    "Flavor",
    "HVSpec",
    "ImageMeta",
    "ImageMetaProps",
    "InstanceGroup",
    "InstanceNUMACell",
    "InstanceNUMATopology",
    "InstancePCIRequest",
    "InstancePCIRequests",
    "NUMATopologyLimits",
    "NetworkMetadata",
    "NetworkRequest",
    "NetworkRequestList",
    "PciDevicePool",
    "PciDevicePoolList",
    "RequestGroup",
    "RequestLevelParams",
    "RequestSpec",
    "SchedulerLimits",
    "SchedulerRetries",
    "SecurityGroup",
    "SecurityGroupList",
    "Selection",
    "VirtCPUTopology",
]
