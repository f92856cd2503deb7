"""What the options of a guest ask of its host: CPUs of its own, encryption, a TPM, persistent memory, devices.

An option stands among the extra specs of the flavor (``hw:tpm_version``) or
the properties of the image (``hw_tpm_version``). Each becomes an amount of
the unsuffixed group, a trait of it, or a trait of the host itself, as in nova.
"""

import re
from collections import Counter

from oslo_utils import strutils

from rpc_api import errors

_CPU_POLICIES = ("dedicated", "mixed", "shared")
_THREAD_TRAITS = {"prefer": None, "isolate": "forbidden", "require": "required"}
_ENCRYPTION_TRAITS = {
    "amd-sev": "HW_CPU_X86_AMD_SEV", "amd-sev-es": "HW_CPU_X86_AMD_SEV_ES", "amd-sev-snp": "HW_CPU_X86_AMD_SEV_SNP",
    "intel-tdx": "HW_CPU_X86_INTEL_TDX",
}
_TPM_VERSIONS = {"1.2": "COMPUTE_SECURITY_TPM_1_2", "2.0": "COMPUTE_SECURITY_TPM_2_0"}
_TPM_MODELS = {"tpm-tis": "COMPUTE_SECURITY_TPM_TIS", "tpm-crb": "COMPUTE_SECURITY_TPM_CRB"}
_TPM_SECRETS = {name: f"COMPUTE_SECURITY_TPM_SECRET_SECURITY_{name.upper()}" for name in ("user", "host", "deployment")}
_ADDRESS_MODES = {"passthrough": "COMPUTE_ADDRESS_SPACE_PASSTHROUGH", "emulate": "COMPUTE_ADDRESS_SPACE_EMULATED"}


class Wishes:
    """What comes of the options: ``resources``, ``required`` and ``forbidden`` traits of the unsuffixed group, and
    ``root_required`` traits of the host."""

    def __init__(self):
        self.resources = {}
        self.required, self.forbidden, self.root_required = [], [], []


class _Options:
    """The options of one guest, by the part of their name that flavor and image share."""

    def __init__(self, flavor, extra_specs, properties):
        self.flavor = flavor
        self.extra_specs = extra_specs
        self.properties = properties

    def of_flavor(self, name, prefix="hw"):
        return self.extra_specs.get(f"{prefix}:{name}")

    def of_image(self, name, prefix="hw"):
        return self.properties.get(f"{prefix}_{name}") if self.properties is not None else None

    def one(self, name, known, prefix="hw"):
        """The value that flavor or image give, one of ``known``; they must not contradict each other."""
        ours, images = self.of_flavor(name, prefix), self.of_image(name, prefix)
        if ours and images and ours != images:
            raise self.conflict(name, ours, images, prefix)
        value = ours or images
        if value and value not in known:
            raise errors.UsageError(f"{prefix}:{name} of the flavor {self.flavor.name} or {prefix}_{name} of the image "
                                    f"is {value!r}, wanted one of {', '.join(known)}; mend it")
        return value

    def flag(self, name):
        """Whether flavor or image ask for something that is on or off; they must not contradict each other."""
        ours, images = self.of_flavor(name), self.of_image(name)
        ours = None if ours is None else strutils.bool_from_string(ours)
        if ours is not None and images is not None and ours != images:
            raise self.conflict(name, ours, images, "hw")
        return bool(ours or images)

    def conflict(self, name, ours, images, prefix="hw"):
        return errors.UsageError(f"{prefix}:{name} of the flavor {self.flavor.name} is {ours} and {prefix}_{name} of "
                                 f"the image is {images}, wanted no contradiction; use another image or flavor")


def wishes_of(flavor, extra_specs, properties) -> Wishes:
    """Return the :class:`Wishes` of a guest; UsageError where flavor and image contradict each other."""
    options, wishes = _Options(flavor, extra_specs, properties), Wishes()
    for add in (_cpus, _encryption, _persistent_memory, _tpm, _firmware, _addresses, _devices):
        add(options, wishes)
    return wishes


def _cpus(options, wishes):
    policy = _cpu_policy(options)
    if policy in ("dedicated", "mixed"):
        vcpus = options.flavor.vcpus
        pinned = vcpus if policy == "dedicated" else len(_dedicated_cpus(options))
        if policy == "mixed":
            wishes.resources["VCPU"] = vcpus - pinned
        if options.of_flavor("emulator_threads_policy") == "isolate":
            pinned += 1
        wishes.resources["PCPU"] = pinned
    thread_policy = _thread_policy(options)
    if thread_policy is not None:
        getattr(wishes, thread_policy).append("HW_CPU_HYPERTHREADING")


def _cpu_policy(options):
    ours, images = options.of_flavor("cpu_policy"), options.of_image("cpu_policy")
    if ours and ours not in _CPU_POLICIES:
        raise errors.UsageError(f"hw:cpu_policy of the flavor {options.flavor.name} is {ours!r}, "
                                f"wanted one of {', '.join(_CPU_POLICIES)}; mend the flavor")
    # An image may pin less than its flavor, never more.
    if ours and images and _CPU_POLICIES.index(images) < _CPU_POLICIES.index(ours):
        raise options.conflict("cpu_policy", ours, images)
    return ours or images


def _thread_policy(options):
    """Which list of traits hyperthreading goes to, if any."""
    ours, images = options.of_flavor("cpu_thread_policy"), options.of_image("cpu_thread_policy")
    if ours and ours not in _THREAD_TRAITS:
        raise errors.UsageError(f"hw:cpu_thread_policy of the flavor {options.flavor.name} is {ours!r}, "
                                f"wanted one of {', '.join(_THREAD_TRAITS)}; mend the flavor")
    if ours not in (None, "", "prefer") and images and images != ours:
        raise options.conflict("cpu_thread_policy", ours, images)
    return _THREAD_TRAITS.get(ours or images)


def _dedicated_cpus(options):
    """Guest CPUs of a mixed policy that get host CPUs of their own."""
    mask = options.of_flavor("cpu_dedicated_mask")
    if not mask and strutils.bool_from_string(options.of_flavor("cpu_realtime")):
        mask = options.of_image("cpu_realtime_mask") or options.of_flavor("cpu_realtime_mask")
        if not mask:
            return set(range(options.flavor.vcpus))
    return cpus_of(mask, options.flavor) if mask else set()


def cpus_of(mask: str, flavor) -> set[int]:
    """CPUs of a mask such as ``1-4,^3``; one that begins with an exclusion excludes from all of the flavor's."""
    if mask.strip().startswith("^"):
        mask = f"0-{flavor.vcpus - 1},{mask}"
    cpus, excluded = set(), set()
    for rule in filter(None, map(str.strip, mask.split(","))):
        match = re.fullmatch(r"(\^?)(\d{1,9})(?:\s*-\s*(\d{1,9}))?", rule, re.ASCII)
        last = int(match[3] or match[2]) if match else -1
        if last >= flavor.vcpus or not match or int(match[2]) > last:
            raise errors.UsageError(f"the CPU mask {mask!r} of the flavor {flavor.name} or its image names {rule!r}, "
                                    f"wanted CPUs of 0 to {flavor.vcpus - 1}; mend it")
        (excluded if match[1] else cpus).update(range(int(match[2]), last + 1))
    return cpus - excluded


def _encryption(options, wishes):
    if options.flag("mem_encryption"):
        model = options.one("mem_encryption_model", _ENCRYPTION_TRAITS) or "amd-sev"
        wishes.resources["MEM_ENCRYPTION_CONTEXT"] = 1
        wishes.required.append(_ENCRYPTION_TRAITS[model])
    if options.flag("ephemeral_encryption"):
        wishes.root_required.append("COMPUTE_EPHEMERAL_ENCRYPTION")
        form = options.one("ephemeral_encryption_format", ("plain", "luks", "luksv2"))
        if form:
            wishes.root_required.append(f"COMPUTE_EPHEMERAL_ENCRYPTION_{form.upper()}")


def _persistent_memory(options, wishes):
    labels = filter(None, map(str.strip, (options.of_flavor("pmem") or "").split(",")))
    wishes.resources.update(Counter(
        "CUSTOM_PMEM_NAMESPACE_" + re.sub("[^A-Z0-9]+", "_", label.upper()) for label in labels))


def _tpm(options, wishes):
    version = options.one("tpm_version", _TPM_VERSIONS)
    if not version:
        return
    model = options.one("tpm_model", _TPM_MODELS) or "tpm-tis"
    security = options.of_flavor("tpm_secret_security") or "user"
    if security not in _TPM_SECRETS:
        raise errors.UsageError(f"hw:tpm_secret_security of the flavor {options.flavor.name} is {security!r}, "
                                f"wanted one of {', '.join(_TPM_SECRETS)}; mend the flavor")
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
