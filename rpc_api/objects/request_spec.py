"""RequestSpec: all facts of a scheduling request."""

from typing import Any

from rpc_api.objects import base, fields
from rpc_api.objects.flavor import Flavor
from rpc_api.objects.network import NetworkMetadata, NetworkRequestList
from rpc_api.objects.request_group import RequestGroup, RequestLevelParams
from rpc_api.objects.security_group import SecurityGroupList


@base.register
class SchedulerRetries(base.NovaObject):
    """The earlier attempts of the request: their number and their hosts."""

    VERSION = "1.1"
    fields = {"num_attempts": fields.IntegerField(), "hosts": fields.ObjectField("ComputeNodeList")}


@base.register
class RequestSpec(base.NovaObject):
    """One request for ``num_instances`` equal servers.

    The sender may leave out the fields in :attr:`LAZY`, which then read as empty; to read any other unset field is an
    error.
    """

    VERSION = "1.15"
    fields = {
        "id": fields.IntegerField(),
        "image": fields.ObjectField("ImageMeta", nullable=True),
        "numa_topology": fields.ObjectField("InstanceNUMATopology", nullable=True),
        "pci_requests": fields.ObjectField("InstancePCIRequests", nullable=True),
        "project_id": fields.StringField(nullable=True),
        "user_id": fields.StringField(nullable=True),
        "availability_zone": fields.StringField(nullable=True),
        "flavor": fields.ObjectField("Flavor"),
        "num_instances": fields.IntegerField(default=1),
        "ignore_hosts": fields.ListOfStringsField(nullable=True),
        "force_hosts": fields.ListOfStringsField(nullable=True),
        "force_nodes": fields.ListOfStringsField(nullable=True),
        "requested_destination": fields.ObjectField("Destination", nullable=True, default=None),
        "retry": fields.ObjectField("SchedulerRetries", nullable=True),
        "limits": fields.ObjectField("SchedulerLimits", nullable=True),
        "instance_group": fields.ObjectField("InstanceGroup", nullable=True),
        "scheduler_hints": fields.DictOfListOfStringsField(nullable=True),
        "instance_uuid": fields.UUIDField(),
        "security_groups": fields.ObjectField("SecurityGroupList"),
        "network_metadata": fields.ObjectField("NetworkMetadata"),
        "is_bfv": fields.BooleanField(),
        "requested_resources": fields.ListOfObjectsField("RequestGroup", nullable=True, default=None),
        "request_level_params": fields.ObjectField("RequestLevelParams"),
        "requested_networks": fields.ObjectField("NetworkRequestList"),
    }
    flavor: Flavor
    scheduler_hints: dict[str, list[str]] | None
    requested_resources: list[RequestGroup] | None
    request_level_params: RequestLevelParams
    security_groups: SecurityGroupList
    LAZY = {
        "requested_destination": lambda: None,
        "security_groups": lambda: SecurityGroupList(objects=[]),
        "network_metadata": lambda: NetworkMetadata(physnets=set(), tunneled=False),
        "requested_resources": lambda: None,
        "request_level_params": lambda: RequestLevelParams(),
        "requested_networks": lambda: NetworkRequestList(objects=[]),
    }
    ADDED_IN = {
        "requested_destination": (1, 6),
        "security_groups": (1, 8),
        "user_id": (1, 9),
        "network_metadata": (1, 10),
        "is_bfv": (1, 11),
        "requested_resources": (1, 12),
        "request_level_params": (1, 13),
        "requested_networks": (1, 14),
    }

    @property
    def vcpus(self) -> int:
        return self.flavor.vcpus

    @property
    def memory_mb(self) -> int:
        return self.flavor.memory_mb

    @property
    def root_gb(self) -> int:
        return self.flavor.root_gb

    @property
    def ephemeral_gb(self) -> int:
        return self.flavor.ephemeral_gb

    @property
    def swap(self) -> int:
        return self.flavor.swap

    @property
    def root_required(self) -> set[str]:
        return self.request_level_params.root_required

    @property
    def root_forbidden(self) -> set[str]:
        return self.request_level_params.root_forbidden

    @property
    def same_subtree(self) -> list[list[str]]:
        return self.request_level_params.same_subtree

    @property
    def maps_requested_resources(self) -> bool:
        """Whether the answer must name the provider of each group."""
        return bool(self.requested_resources)

    def get_scheduler_hint(self, hint_name: str, default: Any = None) -> Any:
        """The hint, or ``default``. A list of one item returns that item, because users rarely mean a list."""
        hints = self.scheduler_hints if "scheduler_hints" in self else None
        hint = (hints or {}).get(hint_name, default)
        return hint[0] if isinstance(hint, list) and len(hint) == 1 else hint

    def get_request_group_mapping(self) -> dict[str | None, list[str]] | None:
        """Providers of each group by its requester; None if the request has no requested groups."""
        if self.requested_resources is None:
            return None
        return {group.requester_id: group.provider_uuids for group in self.requested_resources}
