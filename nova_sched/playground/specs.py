"""RequestSpecs for the requests of a workload, as nova-conductor sends them."""

from nova_sched.playground.workload import PROJECT
from rpc_api.objects.context import RequestContext
from rpc_api.objects.flavor import Flavor
from rpc_api.objects.instance_group import InstanceGroup
from rpc_api.objects.request_spec import RequestSpec


def context_of(request) -> RequestContext:
    """Return the context of a request, with its request id."""
    return RequestContext.from_dict(
        {"request_id": request_id_of(request), "project_id": PROJECT, "user_id": PROJECT, "is_admin": True}
    )


def request_id_of(request) -> str:
    """Return the request id. It follows from the instance, so two plays with one seed draw the same hosts."""
    return f"req-{request.instance_uuid}"


def spec_of(request, members=()) -> RequestSpec:
    """Return the RequestSpec of a request; ``members`` are the present instances of its group."""
    vcpus = sum(share[0] for share in request.shares)
    memory_mb = sum(share[1] for share in request.shares)
    extra_specs = {}
    if request.numa:
        extra_specs = {"resources:VCPU": "0", "resources:MEMORY_MB": "0", "group_policy": "isolate"}
        for number, (share_vcpus, share_mb) in enumerate(request.shares):
            extra_specs[f"resources_NUMA{number}:VCPU"] = str(share_vcpus)
            extra_specs[f"resources_NUMA{number}:MEMORY_MB"] = str(share_mb)
    flavor = flavor_of(f"play-{vcpus}-{memory_mb}", vcpus, memory_mb, extra_specs=extra_specs)
    hints = {}
    if request.group:
        hints["group"] = [request.group]
    if request.partition is not None:
        hints["fault_domain"] = [request.partition]
    return bare_spec(request.instance_uuid, PROJECT, flavor, hints or None, _group(request, members))


def flavor_of(name: str, vcpus: int, memory_mb: int, root_gb: int = 0, extra_specs: dict | None = None) -> Flavor:
    """Return a flavor with some amounts and extra specs."""
    return Flavor(
        id=1,
        flavorid=name,
        name=name,
        vcpus=vcpus,
        memory_mb=memory_mb,
        root_gb=root_gb,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs=extra_specs or {},
    )


def bare_spec(instance_uuid: str, project: str, flavor: Flavor, hints=None, group=None) -> RequestSpec:
    """Return the RequestSpec of one instance of a flavor, with scheduler hints and a server group or without."""
    return RequestSpec(
        instance_uuid=instance_uuid,
        project_id=project,
        user_id=project,
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
        scheduler_hints=hints,
        is_bfv=False,
        instance_group=group,
    )


def _group(request, members):
    if not request.group:
        return None
    return InstanceGroup(
        id=1,
        uuid=request.group,
        name=request.group,
        project_id=PROJECT,
        user_id=PROJECT,
        policy=request.policy,
        policies=[request.policy],
        members=list(members),
        hosts=[],
        _rules={"domain": "rack"} if request.policy == "fault-domain" else {},
    )
