"""What a notification says of a request: the payloads of nova-scheduler's notifications, versioned and unversioned.

Source: Nova's ``notifications/objects/request_spec.py`` and the payloads that it contains. Only fields that those name
are sent, so nothing secret of a request is.
"""

from collections.abc import Iterable
from typing import Any

from oslo_versionedobjects.base import VersionedObject

from rpc_api.objects.base import NAME, NovaObject
from rpc_api.objects.request_spec import RequestSpec

Primitive = dict[str, Any]

_REQUEST = (
    "ignore_hosts",
    "instance_uuid",
    "project_id",
    "user_id",
    "availability_zone",
    "num_instances",
    "scheduler_hints",
)
_FLAVOR = (
    "flavorid",
    "memory_mb",
    "vcpus",
    "root_gb",
    "ephemeral_gb",
    "name",
    "swap",
    "rxtx_factor",
    "vcpu_weight",
    "disabled",
    "is_public",
    "extra_specs",
    "projects",
    "description",
)
_IMAGE = (
    "id",
    "name",
    "status",
    "visibility",
    "protected",
    "checksum",
    "owner",
    "size",
    "virtual_size",
    "container_format",
    "disk_format",
    "created_at",
    "updated_at",
    "tags",
    "direct_url",
    "min_ram",
    "min_disk",
)
#: A property of images that is a secret's name.
_NOT_SENT = "hw_ephemeral_encryption_secret_uuid"
_GROUP = ("uuid", "name", "user_id", "project_id", "policies", "members", "hosts", "policy")
_NUMA_CELL = (
    "id",
    "cpuset",
    "pcpuset",
    "cpuset_reserved",
    "memory",
    "pagesize",
    "cpu_pinning_raw",
    "cpu_policy",
    "cpu_thread_policy",
)
_PCI_REQUEST = ("count", "spec", "alias_name", "request_id", "numa_policy")
#: Fields of an instance, and of its flavor, in the unversioned form.
_INSTANCE = ("numa_topology", "pci_requests", "project_id", "user_id", "availability_zone", "instance_uuid")
_SIZES = ("root_gb", "ephemeral_gb", "memory_mb", "vcpus")


def versioned(spec: RequestSpec) -> Primitive:
    """The payload of a versioned notification: a RequestSpecPayload 1.1."""
    data = _fields(spec, _REQUEST)
    image, numa, pci = (_value(spec, name) for name in ("image", "numa_topology", "pci_requests"))
    destination, retry, group = (_value(spec, name) for name in ("requested_destination", "retry", "instance_group"))
    data |= {
        "num_instances": _value(spec, "num_instances", 1),
        "flavor": _payload("FlavorPayload", "1.4", _fields(spec.flavor, _FLAVOR)) if "flavor" in spec else None,
        "image": image and _image(image),
        "numa_topology": numa and _numa(numa, _value(spec, "instance_uuid")),
        "pci_requests": pci and _pci(pci, _value(spec, "instance_uuid")),
        "requested_destination": destination and _destination(destination),
        "retry": retry and _retries(retry),
        "security_groups": [_name_of(found) for found in spec.security_groups.objects],
        "instance_group": group and _group(group),
        "force_hosts": next(iter(_value(spec, "force_hosts") or ()), None),
        "force_nodes": next(iter(_value(spec, "force_nodes") or ()), None),
    }
    return _payload("RequestSpecPayload", "1.1", data)


def unversioned(spec: RequestSpec) -> Primitive:
    """The payload of an unversioned notification. An object in it is a map of its fields."""
    instance = {name: plain(getattr(spec, name)) for name in _INSTANCE if name in spec}
    if "instance_uuid" in instance:
        instance["uuid"] = instance.pop("instance_uuid")
    flavor = {}
    if "flavor" in spec:
        flavor = plain(spec.flavor)
        instance |= {name: getattr(spec.flavor, name) for name in _SIZES}
    return {
        "request_spec": {
            "num_instances": _value(spec, "num_instances", 1),
            "image": plain(_value(spec, "image")) or {},
            "instance_properties": instance,
            "instance_type": flavor,
        }
    }


def plain(value: Any) -> Any:
    """A value whose objects are maps of the fields that are set."""
    if isinstance(value, VersionedObject):
        return {name: plain(getattr(value, name)) for name in value.fields if value.obj_attr_is_set(name)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value))
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


# --- the parts of a request ------------------------------------------------------------------------------------------


def _image(image: Any) -> Primitive:
    properties = image.properties
    known = [name for name in properties.fields if name != _NOT_SENT and properties.obj_attr_is_set(name)]
    data = _fields(image, _IMAGE)
    data["properties"] = _payload("ImageMetaPropsPayload", "1.20", _fields(properties, known))
    return _payload("ImageMetaPayload", "1.0", data)


def _numa(topology: Any, instance_uuid: str) -> Primitive:
    data = _fields(topology, ("instance_uuid", "emulator_threads_policy"))
    data["instance_uuid"] = data["instance_uuid"] or instance_uuid
    data["cells"] = [_numa_cell(cell) for cell in topology.cells]
    return _payload("InstanceNUMATopologyPayload", "1.0", data)


def _numa_cell(cell: Any) -> Primitive:
    data = _fields(cell, _NUMA_CELL)
    topology = _value(cell, "cpu_topology")
    parts = ("sockets", "cores", "threads")
    data["cpu_topology"] = topology and _payload("VirtCPUTopologyPayload", "1.0", _fields(topology, parts))
    return _payload("InstanceNUMACellPayload", "1.2", data)


def _pci(requests: Any, instance_uuid: str) -> Primitive:
    data = {
        "instance_uuid": _value(requests, "instance_uuid") or instance_uuid,
        "requests": [
            _payload("InstancePCIRequestPayload", "1.1", _fields(request, _PCI_REQUEST))
            for request in requests.requests
        ],
    }
    return _payload("InstancePCIRequestsPayload", "1.0", data)


def _destination(destination: Any) -> Primitive:
    data = {name: value for name in ("host", "node") if (value := _value(destination, name)) is not None} | _fields(
        destination, ("aggregates",)
    )
    cell = _value(destination, "cell")
    if cell is not None:
        data["cell"] = _payload("CellMappingPayload", "2.0", _fields(cell, ("uuid", "name", "disabled")))
    return _payload("DestinationPayload", "1.0", data)


def _retries(retry: Any) -> Primitive:
    hosts = [node.hypervisor_hostname for node in retry.hosts.objects]
    return _payload("SchedulerRetriesPayload", "1.0", {"num_attempts": _value(retry, "num_attempts"), "hosts": hosts})


def _group(group: Any) -> Primitive:
    data = _fields(group, _GROUP)
    data["rules"] = {name: str(value) for name, value in group.rules.items()}
    return _payload("ServerGroupPayload", "1.1", data)


def _name_of(group: NovaObject) -> str | None:
    """A security group of Neutron has a uuid only."""
    name = _value(group, "uuid") or _value(group, "name")
    return None if name is None else str(name)


# --- fields ----------------------------------------------------------------------------------------------------------


def _payload(name: str, version: str, data: Primitive) -> Primitive:
    return {NAME: name, "nova_object.namespace": "nova", "nova_object.version": version, "nova_object.data": data}


def _value(owner: NovaObject, name: str, default: Any = None) -> Any:
    return getattr(owner, name) if owner.obj_attr_is_set(name) else default


def _fields(owner: NovaObject, names: Iterable[str]) -> Primitive:
    """Fields as they are sent; None for one that is not set."""
    return {
        name: owner.fields[name].to_primitive(owner, name, getattr(owner, name))
        if owner.obj_attr_is_set(name)
        else None
        for name in names
    }
