"""ComputeNode and its supported guests: the retry list of a request names hosts in this form.

In a request only ``host`` and ``hypervisor_hostname`` are set; the other fields are a part of the object's schema.
"""

from typing import Any

from rpc_api.objects import base, fields


@base.register
class HVSpec(base.NovaObject):
    """One kind of guest that a host can run: architecture, virtualization type, mode."""

    VERSION = "1.2"
    fields = {"arch": fields.ArchitectureField(), "hv_type": fields.HVTypeField(), "vm_mode": fields.VMModeField()}

    def obj_make_compatible(self, primitive: dict[str, Any], target_version: str) -> None:
        super().obj_make_compatible(primitive, target_version)
        # Virtuozzo was called Parallels before it had a value of its own.
        if base.known_version(target_version) < (1, 1) and primitive.get("hv_type") == "vz":
            primitive["hv_type"] = "parallels"


@base.register
class ComputeNode(base.PersistentObject, base.NovaObject):
    """A hypervisor: its resources and their use."""

    VERSION = "1.19"
    fields = {
        "id": fields.IntegerField(read_only=True),
        "uuid": fields.UUIDField(read_only=True),
        "service_id": fields.IntegerField(nullable=True),
        "host": fields.StringField(nullable=True),
        "vcpus": fields.IntegerField(),
        "memory_mb": fields.IntegerField(),
        "local_gb": fields.IntegerField(),
        "vcpus_used": fields.IntegerField(),
        "memory_mb_used": fields.IntegerField(),
        "local_gb_used": fields.IntegerField(),
        "hypervisor_type": fields.StringField(),
        "hypervisor_version": fields.IntegerField(),
        "hypervisor_hostname": fields.StringField(nullable=True),
        "free_ram_mb": fields.IntegerField(nullable=True),
        "free_disk_gb": fields.IntegerField(nullable=True),
        "current_workload": fields.IntegerField(nullable=True),
        "running_vms": fields.IntegerField(nullable=True),
        "cpu_info": fields.StringField(nullable=True),
        "disk_available_least": fields.IntegerField(nullable=True),
        "metrics": fields.StringField(nullable=True),
        "stats": fields.DictOfNullableStringsField(nullable=True),
        "host_ip": fields.IPAddressField(nullable=True),
        # A NUMATopology, but as a JSON text.
        "numa_topology": fields.StringField(nullable=True),
        "supported_hv_specs": fields.ListOfObjectsField("HVSpec"),
        "pci_device_pools": fields.ObjectField("PciDevicePoolList", nullable=True),
        "cpu_allocation_ratio": fields.FloatField(),
        "ram_allocation_ratio": fields.FloatField(),
        "disk_allocation_ratio": fields.FloatField(),
        "mapped": fields.IntegerField(),
    }
    ADDED_IN = {
        "stats": (1, 3),
        "host_ip": (1, 4),
        "numa_topology": (1, 5),
        "supported_hv_specs": (1, 6),
        "host": (1, 7),
        "pci_device_pools": (1, 9),
        "cpu_allocation_ratio": (1, 14),
        "ram_allocation_ratio": (1, 14),
        "uuid": (1, 15),
        "disk_allocation_ratio": (1, 16),
        "mapped": (1, 17),
    }


@base.register
class ComputeNodeList(base.ObjectListBase, base.NovaObject):
    """The hosts that were tried."""

    VERSION = "1.17"
    fields = {"objects": fields.ListOfObjectsField("ComputeNode")}
