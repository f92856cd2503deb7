"""Field types of Nova's objects: the plain ones of oslo, and Nova's enumerations.

The *names* of the type classes and the order of the values are a part of an object's fingerprint
(``oslo_versionedobjects.fixture.ObjectVersionChecker`` hashes ``repr(field)``), so neither may change: the tests
compare them with Nova's.

If Nova accepts more than one spelling of a value (``amd64`` for ``x86_64``, any case), :func:`enum_field` gets a table
of the other spellings.
"""

import re
from collections.abc import Mapping
from typing import Any

from oslo_versionedobjects import fields as ovo
from oslo_versionedobjects.base import VersionedObject
from oslo_versionedobjects.fields import (
    BaseEnumField,
    BooleanField,
    DateTimeField,
    DictOfIntegersField,
    DictOfListOfStringsField,
    DictOfNullableStringsField,
    DictOfStringsField,
    FlexibleBooleanField,
    FloatField,
    IntegerField,
    IPAddressField,
    ListOfDictOfNullableStringsField,
    ListOfIntegersField,
    ListOfListsOfStringsField,
    ListOfObjectsField,
    ListOfStringsField,
    ObjectField,
    StringField,
    VersionPredicateField,
)

__all__ = [
    "ENUM_FIELDS",
    "ArchitectureField",
    "BlockDeviceEncryptionFormatTypeField",
    "BlockDeviceTypeField",
    "BooleanField",
    "CPUAllocationPolicyField",
    "CPUEmulatorThreadsPolicyField",
    "CPUThreadAllocationPolicyField",
    "ConfigDrivePolicyField",
    "DateTimeField",
    "DictOfIntegersField",
    "DictOfListOfStringsField",
    "DictOfNullableStringsField",
    "DictOfStringsField",
    "DiskBusField",
    "FirmwareTypeField",
    "FlexibleBooleanField",
    "FloatField",
    "HVTypeField",
    "IPAddressField",
    "ImageSignatureHashTypeField",
    "ImageSignatureKeyTypeField",
    "InputBusField",
    "IntegerField",
    "ListOfDictOfNullableStringsField",
    "ListOfIntegersField",
    "ListOfListsOfStringsField",
    "ListOfObjectsField",
    "ListOfSetsOfIntegersField",
    "ListOfStringsField",
    "ListOfUUIDField",
    "MaxPhysAddrModeField",
    "MemEncryptionModelField",
    "OSTypeField",
    "ObjectField",
    "PCINUMAAffinityPolicyField",
    "PointerModelField",
    "RNGModelField",
    "SCSIModelField",
    "SecureBootField",
    "SetOfIntegersField",
    "SetOfStringsField",
    "SoundModelField",
    "StringField",
    "TPMModelField",
    "TPMVersionField",
    "USBControllerModelField",
    "UUIDField",
    "VIFModelField",
    "VIOMMUModelField",
    "VMModeField",
    "VersionPredicateField",
    "VideoModelField",
    "WatchdogActionField",
    "enum_field",
]

#: The form in which every OpenStack service writes a UUID.
CANONICAL_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


class UUID(ovo.UUID):
    """Like oslo's type, but without its change of the process-wide warning filters for each value, which is slow, and a
    race between threads."""

    def coerce(self, obj: VersionedObject | None, attr: str, value: Any) -> str:
        if type(value) is str and CANONICAL_UUID.fullmatch(value):
            return value
        return super().coerce(obj, attr, value)


class Set(ovo.Set[Any]):
    """Like oslo's type, but written in sorted order: equal objects have equal bytes under every PYTHONHASHSEED."""

    def to_primitive(self, obj: VersionedObject, attr: str, value: set[Any]) -> tuple[Any, ...]:
        return tuple(sorted(super().to_primitive(obj, attr, value)))


class UUIDField(ovo.AutoTypedField[str]):
    AUTO_TYPE = UUID()


class ListOfUUIDField(ovo.AutoTypedField[list[str]]):
    AUTO_TYPE = ovo.List(UUID())


class SetOfStringsField(ovo.AutoTypedField[set[str]]):
    AUTO_TYPE = Set(ovo.String())


class SetOfIntegersField(ovo.AutoTypedField[set[int]]):
    AUTO_TYPE = Set(ovo.Integer())


class ListOfSetsOfIntegersField(ovo.AutoTypedField[list[set[int]]]):
    AUTO_TYPE = ovo.List(Set(ovo.Integer()))


class SpelledEnum(ovo.Enum):
    """An enumeration that ignores case and knows other spellings; ``aliases`` maps them to the valid values."""

    aliases: Mapping[str, str] = {}

    def coerce(self, obj: VersionedObject | None, attr: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{type(self).__name__} in field {attr} must be a string, not a {type(value).__name__}")
        folded = value.lower()
        return super().coerce(obj, attr, self.aliases.get(folded, folded))


#: Every enumeration field by the name of its type.
ENUM_FIELDS: dict[str, type[BaseEnumField]] = {}


def enum_field(name: str, *values: str, aliases: Mapping[str, str] | None = None) -> type[BaseEnumField]:
    """Make the field class for the enumeration ``name`` with ``values`` in Nova's order.

    With ``aliases`` (which may be empty) values are changed to lower case first and then looked up there.
    """
    if aliases is None:
        enum_type = type(name, (ovo.Enum,), {"__doc__": f"Nova's enumeration {name}."})
    else:
        enum_type = type(name, (SpelledEnum,), {"__doc__": f"Nova's enumeration {name}.", "aliases": dict(aliases)})
    field = type(f"{name}Field", (BaseEnumField,), {"AUTO_TYPE": enum_type(valid_values=values)})
    field.__module__ = enum_type.__module__ = __name__
    ENUM_FIELDS[name] = field
    return field


ArchitectureField = enum_field(
    "Architecture",
    "alpha",
    "armv6",
    "armv7l",
    "armv7b",
    "aarch64",
    "cris",
    "i686",
    "ia64",
    "lm32",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mipsel",
    "mips64",
    "mips64el",
    "openrisc",
    "parisc",
    "parisc64",
    "ppc",
    "ppcle",
    "ppc64",
    "ppc64le",
    "ppcemb",
    "s390",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "unicore32",
    "x86_64",
    "xtensa",
    "xtensaeb",
    aliases={"i386": "i686", "i486": "i686", "i586": "i686", "x86_32": "i686", "x86_32p": "i686", "amd64": "x86_64"},
)
BlockDeviceEncryptionFormatTypeField = enum_field("BlockDeviceEncryptionFormatType", "plain", "luks", "luksv2")
BlockDeviceTypeField = enum_field("BlockDeviceType", "cdrom", "disk", "floppy", "fs", "lun")
ConfigDrivePolicyField = enum_field("ConfigDrivePolicy", "optional", "mandatory")
CPUAllocationPolicyField = enum_field("CPUAllocationPolicy", "dedicated", "shared", "mixed")
CPUEmulatorThreadsPolicyField = enum_field("CPUEmulatorThreadsPolicy", "share", "isolate")
CPUThreadAllocationPolicyField = enum_field("CPUThreadAllocationPolicy", "prefer", "isolate", "require")
DiskBusField = enum_field("DiskBus", "fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")
FirmwareTypeField = enum_field("FirmwareType", "uefi", "bios")
HVTypeField = enum_field(
    "HVType",
    "baremetal",
    "bhyve",
    "docker",
    "fake",
    "hyperv",
    "ironic",
    "kqemu",
    "kvm",
    "lxc",
    "lxd",
    "openvz",
    "parallels",
    "phyp",
    "qemu",
    "test",
    "uml",
    "vbox",
    "vz",
    "vmware",
    "xen",
    "zvm",
    "prsm",
    aliases={"xapi": "xen"},
)
ImageSignatureHashTypeField = enum_field("ImageSignatureHashType", "SHA-224", "SHA-256", "SHA-384", "SHA-512")
ImageSignatureKeyTypeField = enum_field(
    "ImageSignatureKeyType",
    "DSA",
    "ECC_SECP384R1",
    "ECC_SECP521R1",
    "ECC_SECT409K1",
    "ECC_SECT409R1",
    "ECC_SECT571K1",
    "ECC_SECT571R1",
    "RSA-PSS",
)
InputBusField = enum_field("InputBus", "usb", "virtio")
MaxPhysAddrModeField = enum_field("MaxPhyAddrMode", "passthrough", "emulate")
MemEncryptionModelField = enum_field("MemEncryptionModel", "amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx")
OSTypeField = enum_field("OSType", "linux", "windows", aliases={})
PCINUMAAffinityPolicyField = enum_field("PCINUMAAffinityPolicy", "required", "legacy", "preferred", "socket")
PointerModelField = enum_field("PointerModelType", "usbtablet")
RNGModelField = enum_field("RNGModel", "virtio")
SCSIModelField = enum_field(
    "SCSIModel",
    "buslogic",
    "ibmvscsi",
    "lsilogic",
    "lsisas1068",
    "lsisas1078",
    "virtio-scsi",
    "vmpvscsi",
    aliases={"lsilogicsas": "lsisas1068", "paravirtual": "vmpvscsi"},
)
SecureBootField = enum_field("SecureBoot", "required", "disabled", "optional")
SoundModelField = enum_field("SoundModelType", "sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio")
TPMModelField = enum_field("TPMModel", "tpm-tis", "tpm-crb")
TPMVersionField = enum_field("TPMVersion", "1.2", "2.0")
USBControllerModelField = enum_field("USBControllerModelType", "none", "nec-xhci", "qemu-xhci")
VideoModelField = enum_field("VideoModel", "cirrus", "qxl", "vga", "vmvga", "xen", "virtio", "gop", "none", "bochs")
VIFModelField = enum_field(
    "VIFModel",
    "virtio",
    "ne2k_pci",
    "pcnet",
    "rtl8139",
    "e1000",
    "e1000e",
    "netfront",
    "spapr-vlan",
    "lan9118",
    "sriov",
    "vmxnet",
    "vmxnet3",
    "igb",
    aliases={
        "virtuale1000": "e1000",
        "virtuale1000e": "e1000e",
        "virtualpcnet32": "pcnet",
        "virtualsriovethernetcard": "sriov",
        "virtualvmxnet": "vmxnet",
        "virtualvmxnet3": "vmxnet3",
    },
)
VIOMMUModelField = enum_field("VIOMMUModel", "intel", "smmuv3", "virtio", "auto")
VMModeField = enum_field("VMMode", "hvm", "xen", "uml", "exe", aliases={"pv": "xen", "hv": "hvm", "baremetal": "hvm"})
WatchdogActionField = enum_field("WatchdogAction", "none", "pause", "poweroff", "reset", "disabled")
