"""Every enumeration: its values in Nova's order, and the other spellings that Nova takes."""

import pytest

from rpc_api.objects.fields import ENUM_FIELDS, SpelledEnum

VALUES = {
    "Architecture": (
        "alpha armv6 armv7l armv7b aarch64 cris i686 ia64 lm32 m68k microblaze microblazeel mips mipsel mips64 "
        "mips64el openrisc parisc parisc64 ppc ppcle ppc64 ppc64le ppcemb s390 s390x sh4 sh4eb sparc sparc64 "
        "unicore32 x86_64 xtensa xtensaeb"
    ),
    "BlockDeviceEncryptionFormatType": "plain luks luksv2",
    "BlockDeviceType": "cdrom disk floppy fs lun",
    "CPUAllocationPolicy": "dedicated shared mixed",
    "CPUEmulatorThreadsPolicy": "share isolate",
    "CPUThreadAllocationPolicy": "prefer isolate require",
    "ConfigDrivePolicy": "optional mandatory",
    "DiskBus": "fdc ide sata scsi usb virtio xen lxc uml",
    "FirmwareType": "uefi bios",
    "HVType": (
        "baremetal bhyve docker fake hyperv ironic kqemu kvm lxc lxd openvz parallels phyp qemu test uml vbox vz "
        "vmware xen zvm prsm"
    ),
    "ImageSignatureHashType": "SHA-224 SHA-256 SHA-384 SHA-512",
    "ImageSignatureKeyType": (
        "DSA ECC_SECP384R1 ECC_SECP521R1 ECC_SECT409K1 ECC_SECT409R1 ECC_SECT571K1 ECC_SECT571R1 RSA-PSS"
    ),
    "InputBus": "usb virtio",
    "MaxPhyAddrMode": "passthrough emulate",
    "MemEncryptionModel": "amd-sev amd-sev-es amd-sev-snp intel-tdx",
    "OSType": "linux windows",
    "PCINUMAAffinityPolicy": "required legacy preferred socket",
    "PointerModelType": "usbtablet",
    "RNGModel": "virtio",
    "SCSIModel": "buslogic ibmvscsi lsilogic lsisas1068 lsisas1078 virtio-scsi vmpvscsi",
    "SecureBoot": "required disabled optional",
    "SoundModelType": "sb16 es1370 pcspk ac97 ich6 ich9 usb virtio",
    "TPMModel": "tpm-tis tpm-crb",
    "TPMVersion": "1.2 2.0",
    "USBControllerModelType": "none nec-xhci qemu-xhci",
    "VIFModel": "virtio ne2k_pci pcnet rtl8139 e1000 e1000e netfront spapr-vlan lan9118 sriov vmxnet vmxnet3 igb",
    "VIOMMUModel": "intel smmuv3 virtio auto",
    "VMMode": "hvm xen uml exe",
    "VideoModel": "cirrus qxl vga vmvga xen virtio gop none bochs",
    "WatchdogAction": "none pause poweroff reset disabled",
}

SPELLINGS = [
    ("Architecture", "amd64", "x86_64"),
    ("Architecture", "AMD64", "x86_64"),
    ("Architecture", "X86_64", "x86_64"),
    ("Architecture", "i386", "i686"),
    ("Architecture", "i486", "i686"),
    ("Architecture", "i586", "i686"),
    ("Architecture", "x86_32", "i686"),
    ("Architecture", "x86_32p", "i686"),
    ("HVType", "KVM", "kvm"),
    ("HVType", "xapi", "xen"),
    ("VMMode", "HVM", "hvm"),
    ("VMMode", "pv", "xen"),
    ("VMMode", "hv", "hvm"),
    ("VMMode", "baremetal", "hvm"),
    ("OSType", "Linux", "linux"),
    ("SCSIModel", "lsiLogicsas", "lsisas1068"),
    ("SCSIModel", "paraVirtual", "vmpvscsi"),
    ("VIFModel", "VirtualE1000", "e1000"),
    ("VIFModel", "VirtualE1000e", "e1000e"),
    ("VIFModel", "VirtualPCNet32", "pcnet"),
    ("VIFModel", "VirtualSriovEthernetCard", "sriov"),
    ("VIFModel", "VirtualVmxnet", "vmxnet"),
    ("VIFModel", "VirtualVmxnet3", "vmxnet3"),
]


def coerce(name, value):
    return ENUM_FIELDS[name]().coerce(None, "the_field", value)


def test_every_enumeration_is_in_the_table():
    assert set(ENUM_FIELDS) == set(VALUES)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_in_order(name):
    assert list(ENUM_FIELDS[name]().valid_values) == VALUES[name].split()


@pytest.mark.parametrize("name", sorted(VALUES))
def test_each_value_is_itself(name):
    assert [coerce(name, value) for value in VALUES[name].split()] == VALUES[name].split()


@pytest.mark.parametrize("name, spelling, value", SPELLINGS)
def test_other_spelling(name, spelling, value):
    assert coerce(name, spelling) == value


@pytest.mark.parametrize("name", sorted(VALUES))
@pytest.mark.parametrize("value", ["", "nonsense", 7, None, "x86-64"])
def test_anything_else_is_refused(name, value):
    with pytest.raises(ValueError):
        coerce(name, value)


@pytest.mark.parametrize(
    "name", sorted(name for name in VALUES if not issubclass(type(ENUM_FIELDS[name]()._type), SpelledEnum))
)
def test_case_counts_where_nova_says_so(name):
    for value in VALUES[name].split():
        if value.swapcase() != value:
            with pytest.raises(ValueError):
                coerce(name, value.swapcase())
