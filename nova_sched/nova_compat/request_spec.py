"""The request of a decision under the names of Nova's RequestSpec, for the filters and weighers of deployers.

It is made from the recorded SchedulingRequest alone, and not from the other
data of the conductor, so that a replay gives the classes the same request.
"""

import ast
import re

from oslo_versionedobjects import fields

from nova_sched.nova_compat.read_only import Facts, ReadOnlyDict, ReadOnlyList
from rpc_api.objects.image_meta import ImageMetaProps

_COLLECTIONS = (fields.List, fields.Dict, fields.Set)


class SpecView(Facts):
    """A read-only RequestSpec. Fields that are not recorded are unset: ``num_instances``, ``retry``, ``limits``,
    ``security_groups``, ``requested_networks``, ``requested_resources``."""

    __slots__ = ()

    def get_scheduler_hint(self, hint_name: str, default=None):
        """Return a scheduler hint: the value if there is one, the list if there are several."""
        values = self.scheduler_hints.get(hint_name)
        return default if values is None else values[0] if len(values) == 1 else values


def spec_of(request, scope) -> SpecView:
    """Return the :class:`SpecView` of the request of one instance's decision."""
    amounts = {
        "vcpus": request.vcpus,
        "memory_mb": request.memory_mb,
        "root_gb": request.root_gb,
        "ephemeral_gb": request.ephemeral_gb,
        "swap": request.swap_mb,
    }
    demands = {
        "root_required": frozenset(request.root_required),
        "root_forbidden": frozenset(request.root_forbidden),
        "same_subtree": ReadOnlyList(map(frozenset, request.same_subtree)),
    }
    networks = {}
    if request.numa is not None and request.numa.networks:
        networks["network_metadata"] = Facts(
            "NetworkMetadata", physnets=frozenset(request.numa.physnets), tunneled=request.numa.tunneled
        )
    return SpecView(
        "RequestSpec",
        instance_uuid=scope.instance_uuid,
        project_id=request.project_id,
        user_id=request.user_id,
        availability_zone=request.availability_zone,
        is_bfv=request.is_bfv,
        flavor=Facts(
            "Flavor",
            name=request.flavor_name,
            flavorid=request.flavor_id,
            extra_specs=ReadOnlyDict(request.extra_specs),
            **amounts,
        ),
        image=_image(request),
        numa_topology=_numa_topology(request.numa),
        pci_requests=Facts(
            "InstancePCIRequests",
            instance_uuid=scope.instance_uuid,
            requests=ReadOnlyList(map(_pci_request, request.pci)),
        ),
        force_hosts=_names(request.force_hosts),
        force_nodes=_names(request.force_nodes),
        ignore_hosts=_names(request.ignore_hosts),
        requested_destination=_destination(request, scope),
        instance_group=_group(request.server_group, scope),
        scheduler_hints=ReadOnlyDict((name, ReadOnlyList(values)) for name, values in request.scheduler_hints.items()),
        request_level_params=Facts("RequestLevelParams", **demands),
        **amounts,
        **demands,
        **networks,
    )


def _names(names):
    return ReadOnlyList(names) if names else None


def _image(request):
    if not request.has_image:
        return None
    properties = {name: _typed(name, text) for name, text in request.image_properties.items()}
    image = {} if request.image_id is None else {"id": request.image_id}
    return Facts("ImageMeta", properties=Facts("ImageMetaProps", **properties), **image)


def _typed(name, text):
    """Return an image property in the type of its field; properties are recorded as text."""
    field = ImageMetaProps.fields.get(name)
    if field is None:
        return text
    try:
        if isinstance(field.AUTO_TYPE, _COLLECTIONS):
            # The text of oslo's set contains the name of its class.
            text = ast.literal_eval(re.sub(r"CoercedSet\(({[^}]*})?\)", lambda found: found[1] or "set()", text))
        return field.coerce(None, name, text)
    except (ValueError, TypeError, SyntaxError):
        return text


def _destination(request, scope):
    cell = request.preferred_cell or request.target_cell
    if cell is None and request.target_host is None and request.target_node is None:
        return None
    return Facts(
        "Destination",
        host=request.target_host,
        node=request.target_node,
        allow_cross_cell_move=request.preferred_cell is not None,
        cell=None if cell is None else Facts("CellMapping", name=cell, uuid=scope.table.cell_uuids.get(cell, cell)),
    )


def _group(group, scope):
    """Return the server group, with the members that the conductor knew and those that the log knows."""
    if group is None:
        return None
    by_row = scope.members_by_row()
    members = {*group.members, *(uuid for uuids in by_row.values() for uuid in uuids)}
    hosts = {*group.hosts, *(scope.table.host_names[row] for row in by_row)}
    return Facts(
        "InstanceGroup",
        uuid=group.uuid,
        policy=group.policy,
        policies=ReadOnlyList([group.policy]),
        rules=ReadOnlyDict(max_server_per_host=group.limit) if group.policy == "anti-affinity" else ReadOnlyDict(),
        members=ReadOnlyList(sorted(members)),
        hosts=ReadOnlyList(sorted(hosts)),
    )


def _numa_topology(numa):
    if numa is None:
        return None
    return Facts(
        "InstanceNUMATopology",
        emulator_threads_policy=numa.emulator_threads_policy,
        cells=ReadOnlyList(
            Facts(
                "InstanceNUMACell",
                id=cell.id,
                cpuset=frozenset(cell.shared_cpus),
                pcpuset=frozenset(cell.dedicated_cpus),
                memory=cell.memory_mb,
                pagesize=cell.page_kb,
                cpu_policy=cell.cpu_policy,
                cpu_thread_policy=cell.thread_policy,
            )
            for cell in numa.cells
        ),
    )


def _pci_request(asked):
    return Facts(
        "InstancePCIRequest",
        count=asked.count,
        spec=ReadOnlyList(map(ReadOnlyDict, asked.spec)),
        alias_name=asked.alias_name,
        request_id=asked.request_id,
        requester_id=asked.requester_id,
        numa_policy=asked.numa_policy,
    )
