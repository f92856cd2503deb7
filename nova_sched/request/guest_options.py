"""The options of a guest that concern its host: dedicated CPUs, encryption, a TPM, persistent memory, devices.

An option is in the extra specs of the flavor (``hw:tpm_version``) or in the
properties of the image (``hw_tpm_version``). As in Nova it becomes an amount of
the unsuffixed group, a trait of that group, or a trait of the host itself.
"""

import re
from collections import Counter

from oslo_utils import strutils

from rpc_api import errors

_CPU_POLICIES = ("dedicated", "mixed", "shared")
_THREAD_TRAITS = {"prefer": None, "isolate": "forbidden", "require": "required"}
_EMULATOR_POLICIES = ("isolate", "share")
_ENCRYPTION_TRAITS = {
    "amd-sev": "HW_CPU_X86_AMD_SEV",
    "amd-sev-es": "HW_CPU_X86_AMD_SEV_ES",
    "amd-sev-snp": "HW_CPU_X86_AMD_SEV_SNP",
    "intel-tdx": "HW_CPU_X86_INTEL_TDX",
}
#: Models of memory encryption for which the firmware must keep no state.
_STATELESS = ("amd-sev-snp", "intel-tdx")
#: A guest with more CPUs has no mask of them.
MAX_MASKED_CPUS = 65_536
_TPM_VERSIONS = {"1.2": "COMPUTE_SECURITY_TPM_1_2", "2.0": "COMPUTE_SECURITY_TPM_2_0"}
_TPM_MODELS = {"tpm-tis": "COMPUTE_SECURITY_TPM_TIS", "tpm-crb": "COMPUTE_SECURITY_TPM_CRB"}
_TPM_SECRETS = {name: f"COMPUTE_SECURITY_TPM_SECRET_SECURITY_{name.upper()}" for name in ("user", "host", "deployment")}
_ADDRESS_MODES = {"passthrough": "COMPUTE_ADDRESS_SPACE_PASSTHROUGH", "emulate": "COMPUTE_ADDRESS_SPACE_EMULATED"}


class Wishes:
    """The result of the options: ``resources``, ``required`` and ``forbidden`` traits of the unsuffixed group, and
    ``root_required`` traits of the host. ``pinned``: all CPUs of the guest need dedicated host CPUs."""

    def __init__(self):
        self.resources = {}
        self.required, self.forbidden, self.root_required = [], [], []
        self.pinned = False


class _Options:
    """The options of one guest, by the common part of their names in flavor and image."""

    def __init__(self, flavor, extra_specs, properties):
        self.flavor = flavor
        self.extra_specs = extra_specs
        self.properties = properties

    def of_flavor(self, name, prefix="hw"):
        return self.extra_specs.get(f"{prefix}:{name}")

    def of_image(self, name, prefix="hw"):
        return self.properties.get(f"{prefix}_{name}") if self.properties is not None else None

    def one(self, name, known, prefix="hw"):
        """Return the value in the flavor or image, one of ``known``; UsageError if they contradict each other."""
        ours, images = self.of_flavor(name, prefix), self.of_image(name, prefix)
        if ours and images and ours != images:
            raise self.conflict(name, ours, images, prefix)
        value = ours or images
        if value and value not in known:
            raise errors.UsageError(
                f"{prefix}:{name} of the flavor {self.flavor.name} or {prefix}_{name} of the image "
                f"is {value!r}, wanted one of {', '.join(known)}; fix it"
            )
        return value

    def flag(self, name):
        """Return whether flavor or image turn an option on; UsageError if they contradict each other."""
        ours, images = self.of_flavor(name), self.of_image(name)
        ours = None if ours is None else strutils.bool_from_string(ours)
        if ours is not None and images is not None and ours != images:
            raise self.conflict(name, ours, images, "hw")
        return bool(ours or images)

    def conflict(self, name, ours, images, prefix="hw"):
        return errors.UsageError(
            f"{prefix}:{name} of the flavor {self.flavor.name} is {ours} and {prefix}_{name} of "
            f"the image is {images}, wanted no contradiction; use another image or flavor"
        )


def wishes_of(flavor, extra_specs, properties, pinning: bool = True) -> Wishes:
    """Return the :class:`Wishes` of a guest; UsageError if flavor and image contradict each other.

    Without ``pinning`` the options for CPUs have no effect: hosts without PCPU are asked for VCPU.
    """
    options, wishes = _Options(flavor, extra_specs, properties), Wishes()
    for add in (_cpus if pinning else _nothing, _encryption, _persistent_memory, _tpm, _firmware, _addresses, _devices):
        add(options, wishes)
    return wishes


def _nothing(options, wishes):
    pass


def _cpus(options, wishes):
    policy = _cpu_policy(options)
    thread_policy = _thread_policy(options)
    emulator_policy = options.of_flavor("emulator_threads_policy")
    if emulator_policy and emulator_policy not in _EMULATOR_POLICIES:
        raise errors.UsageError(
            f"hw:emulator_threads_policy of the flavor {options.flavor.name} is "
            f"{emulator_policy!r}, wanted one of {', '.join(_EMULATOR_POLICIES)}; fix the flavor"
        )
    if policy in ("dedicated", "mixed"):
        vcpus = options.flavor.vcpus
        pinned = vcpus if policy == "dedicated" else _dedicated_cpus(options, emulator_policy)
        if policy == "mixed":
            wishes.resources["VCPU"] = vcpus - pinned
        if emulator_policy == "isolate":
            pinned += 1
        wishes.resources["PCPU"] = pinned
        wishes.pinned = policy == "dedicated"
    if thread_policy is not None:
        getattr(wishes, thread_policy).append("HW_CPU_HYPERTHREADING")


def _cpu_policy(options):
    ours, images = options.of_flavor("cpu_policy"), options.of_image("cpu_policy")
    if ours and ours not in _CPU_POLICIES:
        raise errors.UsageError(
            f"hw:cpu_policy of the flavor {options.flavor.name} is {ours!r}, "
            f"wanted one of {', '.join(_CPU_POLICIES)}; fix the flavor"
        )
    # An image may pin less than its flavor, never more.
    if ours and images and _CPU_POLICIES.index(images) < _CPU_POLICIES.index(ours):
        raise options.conflict("cpu_policy", ours, images)
    return ours or images


def _thread_policy(options):
    """Return the list of traits for the hyperthreading trait, if any."""
    ours, images = options.of_flavor("cpu_thread_policy"), options.of_image("cpu_thread_policy")
    if ours and ours not in _THREAD_TRAITS:
        raise errors.UsageError(
            f"hw:cpu_thread_policy of the flavor {options.flavor.name} is {ours!r}, "
            f"wanted one of {', '.join(_THREAD_TRAITS)}; fix the flavor"
        )
    if ours not in (None, "prefer") and images and images != ours:
        raise options.conflict("cpu_thread_policy", ours, images)
    return _THREAD_TRAITS.get(ours or images)


def _dedicated_cpus(options, emulator_policy):
    """Return how many guest CPUs of a mixed policy get dedicated host CPUs."""
    vcpus = options.flavor.vcpus
    mask = options.of_flavor("cpu_dedicated_mask")
    dedicated = len(cpus_of(mask, options.flavor)) if mask else 0
    if mask and not 0 < dedicated < vcpus:
        raise errors.UsageError(
            f"hw:cpu_dedicated_mask of the flavor {options.flavor.name} is {mask!r}, wanted some "
            f"of its {vcpus} CPUs and not all; fix the flavor"
        )
    realtime = _realtime_cpus(options, emulator_policy)
    return dedicated or realtime


def _realtime_cpus(options, emulator_policy):
    """Return how many guest CPUs run in real time."""
    if not strutils.bool_from_string(options.of_flavor("cpu_realtime")):
        return 0
    vcpus = options.flavor.vcpus
    mask = options.of_image("cpu_realtime_mask") or options.of_flavor("cpu_realtime_mask")
    realtime = len(cpus_of(mask, options.flavor)) if mask else vcpus
    if not realtime or (realtime == vcpus and not emulator_policy):
        raise errors.UsageError(
            f"the flavor {options.flavor.name} or its image has the cpu_realtime_mask {mask!r}, wanted some of {vcpus} "
            "CPUs and not all without a hw:emulator_threads_policy; fix it"
        )
    return realtime


def cpus_of(mask: str, flavor) -> set[int]:
    """Parse a mask such as ``1-4,^3``. A mask that begins with an exclusion starts with all CPUs of the flavor."""
    if mask.strip().startswith("^"):
        mask = f"0-{flavor.vcpus - 1},{mask}"
    cpus, excluded = set(), set()
    for rule in filter(None, map(str.strip, mask.split(","))):
        match = re.fullmatch(r"(\^?)\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?", rule, re.ASCII)
        first, last = (int(match[2]), int(match[3] or match[2])) if match else (0, -1)
        if not first <= last < MAX_MASKED_CPUS:
            raise _wrong_mask(mask, rule, flavor)
        (excluded if match[1] else cpus).update(range(first, last + 1))
    cpus -= excluded
    if cpus and max(cpus) >= flavor.vcpus:
        raise _wrong_mask(mask, max(cpus), flavor)
    return cpus


def _wrong_mask(mask, what, flavor):
    return errors.UsageError(
        f"the CPU mask {mask!r:.200} of the flavor {flavor.name} or its image names "
        f"{what!s:.80}, wanted CPUs of 0 to {flavor.vcpus - 1}; fix it"
    )


def _encryption(options, wishes):
    if options.flag("mem_encryption"):
        model = options.one("mem_encryption_model", _ENCRYPTION_TRAITS) or "amd-sev"
        _check_firmware(options, model)
        wishes.resources["MEM_ENCRYPTION_CONTEXT"] = 1
        wishes.required.append(_ENCRYPTION_TRAITS[model])
    if options.flag("ephemeral_encryption"):
        wishes.root_required.append("COMPUTE_EPHEMERAL_ENCRYPTION")
        form = options.one("ephemeral_encryption_format", ("plain", "luks", "luksv2"))
        if form:
            wishes.root_required.append(f"COMPUTE_EPHEMERAL_ENCRYPTION_{form.upper()}")


def _check_firmware(options, model):
    """Check that the image has the firmware and machine type that memory encryption needs."""
    firmware, machine = options.of_image("firmware_type"), options.of_image("machine_type")
    if firmware != "uefi":
        raise errors.UsageError(
            f"memory encryption is asked for, and hw_firmware_type of the image is {firmware!r}, "
            "wanted 'uefi'; use another image or flavor"
        )
    if machine is not None and "q35" not in machine:
        raise errors.UsageError(
            f"memory encryption is asked for, and hw_machine_type of the image is {machine!r:.80}, "
            "wanted a q35; use another image or flavor"
        )
    if model in _STATELESS and not options.of_image("firmware_stateless"):
        raise errors.UsageError(
            f"memory encryption of the model {model} is asked for, and hw_firmware_stateless of "
            "the image is not true; use another image or flavor"
        )
    video = options.of_image("video_model")
    if model == "intel-tdx" and video != "none":
        raise errors.UsageError(
            f"memory encryption of the model {model} is asked for, and hw_video_model of the image "
            f"is {video!r}, wanted 'none'; use another image or flavor"
        )


def _persistent_memory(options, wishes):
    labels = filter(None, map(str.strip, (options.of_flavor("pmem") or "").split(",")))
    wishes.resources.update(
        Counter("CUSTOM_PMEM_NAMESPACE_" + re.sub("[^A-Za-z0-9]+", "_", label).upper() for label in labels)
    )


def _tpm(options, wishes):
    version = options.one("tpm_version", _TPM_VERSIONS)
    if not version:
        return
    model = options.one("tpm_model", _TPM_MODELS) or "tpm-tis"
    if (model, version) == ("tpm-crb", "1.2"):
        raise errors.UsageError(
            f"the flavor {options.flavor.name} or its image has the tpm_model 'tpm-crb' with the "
            "tpm_version '1.2', wanted version '2.0' for it; fix it"
        )
    security = options.of_flavor("tpm_secret_security") or "user"
    if security not in _TPM_SECRETS:
        raise errors.UsageError(
            f"hw:tpm_secret_security of the flavor {options.flavor.name} is {security!r}, "
            f"wanted one of {', '.join(_TPM_SECRETS)}; fix the flavor"
        )
    wishes.required += [_TPM_VERSIONS[version], _TPM_MODELS[model]]
    wishes.root_required.append(_TPM_SECRETS[security])


def _firmware(options, wishes):
    if options.one("secure_boot", ("required", "disabled", "optional"), prefix="os") == "required":
        wishes.required.append("COMPUTE_SECURITY_UEFI_SECURE_BOOT")
    if options.of_image("firmware_stateless") and options.of_image("firmware_type") == "uefi":
        wishes.required.append("COMPUTE_SECURITY_STATELESS_FIRMWARE")


def _addresses(options, wishes):
    mode = options.one("maxphysaddr_mode", _ADDRESS_MODES)
    if mode:
        wishes.required.append(_ADDRESS_MODES[mode])


def _devices(options, wishes):
    if options.one("pci_numa_affinity_policy", ("required", "legacy", "preferred", "socket")) == "socket":
        wishes.required.append("COMPUTE_SOCKET_PCI_NUMA_AFFINITY")
    if options.extra_specs.get("accel:device_profile"):
        wishes.root_required.append("COMPUTE_ACCELERATORS")
    if options.flag("virtio_packed_ring"):
        wishes.root_required.append("COMPUTE_NET_VIRTIO_PACKED")
    sound = options.one("sound_model", ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"))
    if sound == "virtio":
        wishes.root_required.append("COMPUTE_SOUND_MODEL_VIRTIO")
