"""Requests for tests."""

from rpc_api.objects.context import RequestContext
from rpc_api.objects.flavor import Flavor
from rpc_api.objects.request_spec import RequestSpec

CONTEXT = RequestContext.from_dict(
    {"request_id": "req-11111111-aaaa-4aaa-8aaa-000000000001", "project_id": "p", "user_id": "u", "is_admin": True}
)


def spec(instance_uuid: str, vcpus: int = 2, memory_mb: int = 512, disk_gb: int = 1) -> RequestSpec:
    """A request for one instance of this size."""
    flavor = Flavor(
        id=1,
        flavorid="t",
        name="t",
        vcpus=vcpus,
        memory_mb=memory_mb,
        root_gb=disk_gb,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
    )
    return RequestSpec(
        instance_uuid=instance_uuid,
        project_id="p",
        user_id="u",
        flavor=flavor,
        image=None,
        num_instances=1,
        availability_zone=None,
        numa_topology=None,
        pci_requests=None,
        ignore_hosts=None,
        force_hosts=None,
        force_nodes=None,
        retry=None,
        limits=None,
        scheduler_hints=None,
        is_bfv=False,
        instance_group=None,
    )
