"""A request in which every field of every object that a RequestSpec reaches is set, and ways to spoil it.

The primitive is what stands on the wire. :func:`paths` lists each field by its path, :func:`spoilt` gives a copy in
which one path holds something else.
"""

import copy
import json

from oslo_versionedobjects import fields as ovo

import rpc_api.objects  # noqa: F401 (fills the table of classes)
from rpc_api.objects import base
from tests.builders import uuid_of

#: In place of a value: the field is left out.
UNSET = object()
CELL = "cell1"
INSTANCE = uuid_of("instance")

#: Values of fields where one of the field's type would ask for what no host of the tests has.
SAID = {
    "RequestSpec": {
        "availability_zone": None,
        "num_instances": 1,
        "ignore_hosts": ["other"],
        "force_hosts": None,
        "force_nodes": None,
        "scheduler_hints": {"hint": ["value"]},
        "instance_uuid": INSTANCE,
        "is_bfv": False,
    },
    "Flavor": {
        "vcpus": 2,
        "memory_mb": 512,
        "root_gb": 1,
        "ephemeral_gb": 1,
        "swap": 512,
        "extra_specs": {"hw:cpu_policy": "dedicated", "group_policy": "none"},
    },
    "InstanceNUMACell": {
        "id": 0,
        "cpuset": [],
        "pcpuset": [0, 1],
        "memory": 512,
        "pagesize": None,
        "cpuset_reserved": None,
        "cpu_pinning_raw": None,
        "cpu_policy": "dedicated",
        "cpu_thread_policy": "prefer",
    },
    "InstanceNUMATopology": {"emulator_threads_policy": "share"},
    "InstancePCIRequest": {
        "count": 1,
        "spec": [{"vendor_id": "8086"}],
        "alias_name": "nic",
        "requester_id": None,
        "numa_policy": "preferred",
    },
    "InstanceGroup": {
        "policy": "anti-affinity",
        "policies": ["anti-affinity"],
        "members": [INSTANCE],
        "hosts": [],
        "_rules": {"max_server_per_host": "3"},
    },
    "Destination": {
        "host": "a",
        "node": "a",
        "aggregates": None,
        "forbidden_aggregates": None,
        "allow_cross_cell_move": False,
    },
    "CellMapping": {"uuid": uuid_of(CELL), "name": CELL},
    "RequestGroup": {
        "resources": {"CUSTOM_PORT": 1},
        "required_traits": [],
        "forbidden_traits": ["CUSTOM_NOT_THIS"],
        "aggregates": [],
        "forbidden_aggregates": [],
        "requester_id": "port",
        "in_tree": None,
        "provider_uuids": [],
    },
    "RequestLevelParams": {"root_required": [], "root_forbidden": ["CUSTOM_NOT_THAT"], "same_subtree": []},
    "NetworkRequest": {"port_id": None, "network_id": uuid_of("network")},
    "NetworkMetadata": {"physnets": [], "tunneled": False},
    "ImageMetaProps": {
        "hw_architecture": "x86_64",
        "img_hv_type": "kvm",
        "hw_vm_mode": "hvm",
        "hw_cpu_policy": "dedicated",
        "hw_cpu_thread_policy": "prefer",
        "hw_mem_encryption": False,
        "hw_mem_encryption_model": "amd-sev",
        "hw_tpm_model": "tpm-tis",
        "hw_tpm_version": UNSET,
        "hw_ephemeral_encryption": False,
        "os_secure_boot": "disabled",
        "hw_sound_model": "usb",
        "hw_firmware_stateless": False,
        "hw_virtio_packed_ring": False,
        "traits_required": [],
        "hw_maxphysaddr_mode": UNSET,
        "hw_pci_numa_affinity_policy": "preferred",
        "hw_viommu_model": "auto",
        "hw_cpu_realtime_mask": "0",
    },
}


def whole(name: str = "RequestSpec") -> dict:
    """The primitive of an object with all its fields."""
    cls = base.CLASSES[name]
    data = {field_name: SAID.get(name, {}).get(field_name, _value(field)) for field_name, field in cls.fields.items()}
    return {
        base.NAME: name,
        base.NAMESPACE: "nova",
        base.VERSION: cls.VERSION,
        base.CHANGES: sorted(data),
        base.DATA: {field_name: value for field_name, value in data.items() if value is not UNSET},
    }


def _value(field):
    kind = field._type
    if isinstance(kind, ovo.Object):
        return whole(kind._obj_name)
    if isinstance(kind, (ovo.List, ovo.Set)):
        return [_value(kind._element_type)]
    if isinstance(kind, ovo.Dict):
        return {"key": _value(kind._element_type)}
    if isinstance(kind, ovo.Enum):
        return kind.valid_values[0]
    return VALUES[type(kind).__name__]


VALUES = {
    "Boolean": False,
    "FlexibleBoolean": False,
    "DateTime": "2026-01-01T00:00:00Z",
    "Float": 1.0,
    "Integer": 1,
    "IPAddress": "192.0.2.1",
    "String": "text",
    "UUID": uuid_of("value"),
    "VersionPredicate": ">=2.6",
}


def paths(value=None, to=()) -> list[tuple]:
    """The paths of all fields of a primitive, and of its parts: what is an object, its data, a list, an element."""
    value = whole() if value is None else value
    found = [to] if to else []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        if key != base.CHANGES:
            found += paths(value[key], (*to, key)) if value[key] is not None else [(*to, key)]
    return found


def spoilt(primitive: dict, path: tuple, value) -> dict:
    """A copy of a primitive with another value in one place, or without it; the same where there is no such place."""
    made = copy.deepcopy(primitive)
    *way, last = path
    place = made
    for key in way:
        try:
            place = place[key]
        except (KeyError, IndexError, TypeError):
            return made
    if not isinstance(place, dict) and not (isinstance(place, list) and isinstance(last, int) and last < len(place)):
        return made
    if value is UNSET:
        place.pop(last, None) if isinstance(place, dict) else place.pop(last)
    else:
        place[last] = copy.deepcopy(value)
    return made


def older(name: str, minor: int) -> dict:
    """The whole request in which objects of the class ``name`` are as a sender of its version 1.``minor`` says them."""
    spec = base.NovaObject.obj_from_primitive(whole())
    versions = {**base.manifest("RequestSpec"), name: f"1.{minor}"}
    return json.loads(json.dumps(spec.obj_to_primitive(versions["RequestSpec"], versions)))


def older_forms() -> list[tuple[str, int]]:
    """Each class that a request reaches, with each version before the newest."""
    return [
        (name, minor)
        for name, version in sorted(base.manifest("RequestSpec").items())
        for minor in range(base.parse_version(version)[1])
    ]
