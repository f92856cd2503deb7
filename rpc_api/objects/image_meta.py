"""ImageMeta: the image of a server and its properties, which say much about the host that it needs.

``hw_`` properties are about the virtual machine, ``img_`` about how a compute
host handles the image, ``os_`` about the guest.
"""

from collections.abc import Mapping
from typing import Any

from rpc_api.objects import base, fields


@base.register
class ImageMeta(base.NovaObject):
    """An image as Glance describes it."""

    VERSION = "1.8"
    fields = {
        "id": fields.UUIDField(),
        "name": fields.StringField(),
        "status": fields.StringField(),
        "visibility": fields.StringField(),
        "protected": fields.FlexibleBooleanField(),
        "checksum": fields.StringField(),
        "owner": fields.StringField(),
        "size": fields.IntegerField(),
        "virtual_size": fields.IntegerField(),
        "container_format": fields.StringField(),
        "disk_format": fields.StringField(),
        "created_at": fields.DateTimeField(nullable=True),
        "updated_at": fields.DateTimeField(nullable=True),
        "tags": fields.ListOfStringsField(),
        "direct_url": fields.StringField(),
        "min_ram": fields.IntegerField(),
        "min_disk": fields.IntegerField(),
        "properties": fields.ObjectField("ImageMetaProps"),
    }


@base.register
class ImageMetaProps(base.NovaObject):
    """The properties of an image. Nearly all of them are unset nearly always: read them with :meth:`get`."""

    VERSION = "1.44"
    fields = {
        "hw_architecture": fields.ArchitectureField(),
        "hw_emulation_architecture": fields.ArchitectureField(),
        "hw_auto_disk_config": fields.StringField(),
        "hw_boot_menu": fields.FlexibleBooleanField(),
        "hw_cdrom_bus": fields.DiskBusField(),
        "hw_cpu_cores": fields.IntegerField(),
        "hw_cpu_sockets": fields.IntegerField(),
        "hw_cpu_max_cores": fields.IntegerField(),
        "hw_cpu_max_sockets": fields.IntegerField(),
        "hw_cpu_max_threads": fields.IntegerField(),
        "hw_cpu_policy": fields.CPUAllocationPolicyField(),
        "hw_cpu_thread_policy": fields.CPUThreadAllocationPolicyField(),
        "hw_cpu_realtime_mask": fields.StringField(),
        "hw_cpu_threads": fields.IntegerField(),
        "hw_device_id": fields.IntegerField(),
        "hw_disk_bus": fields.DiskBusField(),
        "hw_disk_type": fields.StringField(),
        "hw_floppy_bus": fields.DiskBusField(),
        "hw_firmware_type": fields.FirmwareTypeField(),
        "hw_firmware_stateless": fields.FlexibleBooleanField(),
        "hw_input_bus": fields.InputBusField(),
        "hw_ipxe_boot": fields.FlexibleBooleanField(),
        "hw_locked_memory": fields.FlexibleBooleanField(),
        "hw_machine_type": fields.StringField(),
        "hw_mem_encryption": fields.FlexibleBooleanField(),
        "hw_mem_encryption_model": fields.MemEncryptionModelField(),
        "hw_mem_page_size": fields.StringField(),
        "hw_numa_nodes": fields.IntegerField(),
        "hw_numa_cpus": fields.ListOfSetsOfIntegersField(),
        "hw_numa_mem": fields.ListOfIntegersField(),
        "hw_pci_numa_affinity_policy": fields.PCINUMAAffinityPolicyField(),
        "hw_pointer_model": fields.PointerModelField(),
        "hw_pmu": fields.FlexibleBooleanField(),
        "hw_qemu_guest_agent": fields.FlexibleBooleanField(),
        "hw_rescue_bus": fields.DiskBusField(),
        "hw_rescue_device": fields.BlockDeviceTypeField(),
        "hw_rng_model": fields.RNGModelField(),
        "hw_time_hpet": fields.FlexibleBooleanField(),
        "hw_serial_port_count": fields.IntegerField(),
        "hw_scsi_model": fields.SCSIModelField(),
        "hw_video_model": fields.VideoModelField(),
        "hw_video_ram": fields.IntegerField(),
        "hw_vif_model": fields.VIFModelField(),
        "hw_viommu_model": fields.VIOMMUModelField(),
        "hw_vm_mode": fields.VMModeField(),
        "hw_watchdog_action": fields.WatchdogActionField(),
        "hw_vif_multiqueue_enabled": fields.FlexibleBooleanField(),
        "hw_tpm_model": fields.TPMModelField(),
        "hw_tpm_version": fields.TPMVersionField(),
        "hw_ephemeral_encryption": fields.FlexibleBooleanField(),
        "hw_ephemeral_encryption_format": fields.BlockDeviceEncryptionFormatTypeField(),
        "hw_ephemeral_encryption_secret_uuid": fields.UUIDField(),
        "hw_virtio_packed_ring": fields.FlexibleBooleanField(),
        "hw_maxphysaddr_mode": fields.MaxPhysAddrModeField(),
        "hw_maxphysaddr_bits": fields.IntegerField(),
        "hw_sound_model": fields.SoundModelField(),
        "hw_usb_model": fields.USBControllerModelField(),
        "hw_redirected_usb_ports": fields.IntegerField(),
        "img_bittorrent": fields.FlexibleBooleanField(),
        "img_bdm_v2": fields.FlexibleBooleanField(),
        "img_block_device_mapping": fields.ListOfDictOfNullableStringsField(),
        "img_cache_in_nova": fields.FlexibleBooleanField(),
        "img_compression_level": fields.IntegerField(),
        "img_hv_requested_version": fields.VersionPredicateField(),
        "img_hv_type": fields.HVTypeField(),
        "img_config_drive": fields.ConfigDrivePolicyField(),
        "img_linked_clone": fields.FlexibleBooleanField(),
        "img_mappings": fields.ListOfDictOfNullableStringsField(),
        "img_owner_id": fields.StringField(),
        "img_root_device_name": fields.StringField(),
        "img_use_agent": fields.FlexibleBooleanField(),
        "img_version": fields.IntegerField(),
        "img_signature": fields.StringField(),
        "img_signature_hash_method": fields.ImageSignatureHashTypeField(),
        "img_signature_certificate_uuid": fields.UUIDField(),
        "img_signature_key_type": fields.ImageSignatureKeyTypeField(),
        "img_hide_hypervisor_id": fields.FlexibleBooleanField(),
        "os_admin_user": fields.StringField(),
        "os_command_line": fields.StringField(),
        "os_distro": fields.StringField(),
        "os_require_quiesce": fields.FlexibleBooleanField(),
        "os_secure_boot": fields.SecureBootField(),
        "os_skip_agent_inject_files_at_boot": fields.FlexibleBooleanField(),
        "os_skip_agent_inject_ssh": fields.FlexibleBooleanField(),
        "os_type": fields.OSTypeField(),
        "traits_required": fields.ListOfStringsField(),
    }
    ADDED_IN = {
        "os_require_quiesce": (1, 1),
        "img_hv_type": (1, 2),
        "img_hv_requested_version": (1, 2),
        "hw_vif_multiqueue_enabled": (1, 4),
        "os_admin_user": (1, 5),
        "img_config_drive": (1, 7),
        "hw_cpu_thread_policy": (1, 9),
        "hw_cpu_realtime_mask": (1, 10),
        "hw_firmware_type": (1, 11),
        "os_secure_boot": (1, 13),
        "hw_pointer_model": (1, 14),
        "hw_rescue_bus": (1, 15),
        "hw_rescue_device": (1, 15),
        "img_hide_hypervisor_id": (1, 19),
        "traits_required": (1, 20),
        "hw_time_hpet": (1, 21),
        "hw_pmu": (1, 23),
        "hw_mem_encryption": (1, 24),
        "hw_pci_numa_affinity_policy": (1, 25),
        "hw_tpm_model": (1, 27),
        "hw_tpm_version": (1, 27),
        "hw_input_bus": (1, 29),
        "hw_emulation_architecture": (1, 31),
        "hw_ephemeral_encryption": (1, 32),
        "hw_ephemeral_encryption_format": (1, 32),
        "hw_locked_memory": (1, 33),
        "hw_viommu_model": (1, 34),
        "hw_virtio_packed_ring": (1, 35),
        "hw_maxphysaddr_mode": (1, 36),
        "hw_maxphysaddr_bits": (1, 36),
        "hw_ephemeral_encryption_secret_uuid": (1, 37),
        "hw_firmware_stateless": (1, 38),
        "hw_sound_model": (1, 40),
        "hw_usb_model": (1, 41),
        "hw_redirected_usb_ports": (1, 41),
        "hw_mem_encryption_model": (1, 42),
    }
    VALUES_ADDED_IN = {
        ("hw_disk_bus", (1, 6)): ("lxc", "uml"),
        ("hw_video_model", (1, 22)): ("gop", "virtio", "none"),
        ("hw_cpu_policy", (1, 26)): ("mixed",),
        ("hw_pci_numa_affinity_policy", (1, 28)): ("socket",),
        ("hw_video_model", (1, 30)): ("bochs",),
        ("hw_vif_model", (1, 39)): ("igb",),
        ("hw_mem_encryption_model", (1, 43)): ("amd-sev-snp",),
        ("hw_mem_encryption_model", (1, 44)): ("intel-tdx",),
    }

    def get(self, name: str, default: Any = None) -> Any:
        """The property, or ``default`` if the image does not have it; AttributeError if no image could."""
        return getattr(self, name) if self.obj_attr_is_set(name) else default

    def to_dict(self) -> dict[str, Any]:
        """The properties that the image has."""
        return {name: getattr(self, name) for name in self.fields if name in self}

    def obj_make_compatible(self, primitive: dict[str, Any], target_version: str) -> None:
        super().obj_make_compatible(primitive, target_version)
        # A missing property means that there is no watchdog.
        if base.known_version(target_version) < (1, 16) and primitive.get("hw_watchdog_action") == "disabled":
            del primitive["hw_watchdog_action"]


#: Names that properties had in Glance before they had their prefixes, with the names that they have now.
OLD_NAMES = {
    "architecture": "hw_architecture",
    "auto_disk_config": "hw_auto_disk_config",
    "bdm_v2": "img_bdm_v2",
    "bittorrent": "img_bittorrent",
    "block_device_mapping": "img_block_device_mapping",
    "cache_in_nova": "img_cache_in_nova",
    "hypervisor_type": "img_hv_type",
    "hypervisor_version_requires": "img_hv_requested_version",
    "ipxe_boot": "hw_ipxe_boot",
    "mappings": "img_mappings",
    "owner_id": "img_owner_id",
    "root_device_name": "img_root_device_name",
    "vm_mode": "hw_vm_mode",
    "vmware_disktype": "hw_disk_type",
    "vmware_image_version": "img_version",
    "vmware_linked_clone": "img_linked_clone",
    "vmware_ostype": "os_distro",
    "xenapi_device_id": "hw_device_id",
    "xenapi_image_compression_level": "img_compression_level",
    "xenapi_skip_agent_inject_files_at_boot": "os_skip_agent_inject_files_at_boot",
    "xenapi_skip_agent_inject_ssh": "os_skip_agent_inject_ssh",
    "xenapi_use_agent": "img_use_agent",
}


def with_current_names(said: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of an image as an instance keeps them, by the names that they have now; a current name counts more."""
    named = {OLD_NAMES[name]: value for name, value in said.items() if name in OLD_NAMES}
    adapter = said.get("vmware_adaptertype")
    if adapter:
        named |= {"hw_disk_bus": "ide"} if adapter == "ide" else {"hw_disk_bus": "scsi", "hw_scsi_model": adapter}
    return named | {name: value for name, value in said.items() if name not in OLD_NAMES}
