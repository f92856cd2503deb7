"""What is published of Nova's objects, as messages that :mod:`conductor.tap.decode` reads."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

#: Name of an object -> its fields that a tap reads, as in the tables of conductor/tap/objects.py. Others are not
#: published: the user data or the password of an instance must not leave Nova.
FIELDS = {
    "ComputeNode": (
        "id",
        "uuid",
        "host",
        "hypervisor_hostname",
        "hypervisor_type",
        "hypervisor_version",
        "cpu_info",
        "host_ip",
        "stats",
        "metrics",
        "supported_hv_specs",
        "numa_topology",
        "pci_device_pools",
        "running_vms",
    ),
    "Service": ("host", "binary", "disabled", "disabled_reason", "forced_down", "version"),
    "Instance": ("uuid", "host", "vm_state", "system_metadata"),
    "PciDevice": (
        "compute_node_id",
        "address",
        "vendor_id",
        "product_id",
        "dev_type",
        "status",
        "numa_node",
        "parent_addr",
    ),
}
NODE, SERVICE = "ComputeNode", "Service"
METHODS = ("create", "save", "destroy")
#: The one field of which only a part is published, and the start of the names of that part.
METADATA, IMAGE_PREFIX = "system_metadata", "image_"
#: Method of the message that says that others are missing.
LOST = "nova_sched_messages_lost"


class Record(NamedTuple):
    """``method`` of an object of Nova. ``fields`` are primitives, ``changed`` names what the call changed; ``size`` is
    that of the fields as JSON, in bytes."""

    name: str
    version: str
    method: str
    fields: Mapping[str, Any]
    changed: frozenset[str]
    size: int

    def message(self) -> tuple[str, dict[str, Any]]:
        """The method of the RPC message and its arguments."""
        primitive = {
            "nova_object.name": self.name,
            "nova_object.namespace": "nova",
            "nova_object.version": self.version,
            "nova_object.data": self.fields,
            "nova_object.changes": sorted(self.changed),
        }
        return "object_action", {"objinst": primitive, "objmethod": self.method, "args": [], "kwargs": {}}


class Lost(NamedTuple):
    """A host whose messages may be missing. ``dropped`` is the number of those that are certainly missing: it is 0 when
    a nova-compute starts, as an earlier process may have ended with messages that it had not published."""

    host: str
    dropped: int

    def message(self) -> tuple[str, dict[str, Any]]:
        """The method of the RPC message and its arguments."""
        return LOST, {"host": self.host, "dropped": self.dropped}


def record_of(name, version, method, fields, changed) -> Record:
    """A record with its size."""
    return Record(name, version, method, fields, frozenset(changed), len(json.dumps(fields)))


def taken_from(thing, method: str, changed) -> Record:
    """The record of an object of Nova (a VersionedObject) after a call."""
    name = thing.obj_name()
    fields = {
        field: thing.fields[field].to_primitive(thing, field, getattr(thing, field))
        for field in FIELDS[name]
        if field in thing.fields and thing.obj_attr_is_set(field)
    }
    if fields.get(METADATA):
        fields[METADATA] = {key: value for key, value in fields[METADATA].items() if key.startswith(IMAGE_PREFIX)}
    return record_of(name, thing.VERSION, method, fields, changed)


def merged(earlier: Record, later: Record) -> Record:
    """Two records of one object as one, which leaves a tap with the same knowledge. The later one counts; it may lack
    fields that the earlier one has, because Nova loads them only if it needs them."""
    method = "create" if (earlier.method, later.method) == ("create", "save") else later.method
    return record_of(
        later.name, later.version, method, {**earlier.fields, **later.fields}, earlier.changed | later.changed
    )
