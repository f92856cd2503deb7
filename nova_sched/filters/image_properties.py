"""ImagePropertiesFilter: refuses hosts whose hypervisor cannot run the image."""

import json

from oslo_utils import versionutils

from nova_sched.filters.base import Filter, Refusal
from rpc_api import errors

_SEEN = ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")


class ImagePropertiesFilter(Filter):
    """Architecture, hypervisor type and VM mode that the image names must stand together among the host's supported
    instances. Where one of them is named, the version predicate ``img_hv_requested_version`` must hold for the host's
    hypervisor, and the host must have the physical address bits of ``hw_maxphysaddr_bits``; a host that does not say
    what version or how many bits it has passes.

    Images that name no architecture have ``image_properties_default_architecture``.
    """

    name = "ImagePropertiesFilter"
    options = ("image_properties_default_architecture",)
    reasons = ("image properties",)
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return tuple(map(request.image_properties.get, _SEEN))

    def refusals(self, hosts, request, policy, scope):
        architecture, hypervisor, mode, version, bits = self.seen(request)
        named = [
            value for value in (architecture or policy.image_properties_default_architecture, hypervisor, mode) if value
        ]
        if named:
            profiles, predicate = hosts.table.profiles.values, _predicate(version)
            yield Refusal(
                "image properties",
                hosts.by_value(
                    "profile",
                    lambda number: (
                        not (
                            _supports(profiles[number], named)
                            and _version_fits(profiles[number], predicate)
                            and _bits_fit(profiles[number], bits)
                        )
                    ),
                ),
            )


def _predicate(version):
    try:
        return versionutils.VersionPredicate(version) if version else None
    except ValueError:
        raise errors.UsageError(
            f"img_hv_requested_version of the image is {version[:80]!r}, wanted conditions as in "
            "'>=8.0,<9.0'; mend the image"
        ) from None


def _supports(profile, named):
    return any(all(value in supported for value in named) for supported in profile.supported_instances)


def _version_fits(profile, predicate):
    if not profile.hypervisor_version or predicate is None:
        return True
    return predicate.satisfied_by(versionutils.convert_version_to_str(profile.hypervisor_version))


def _bits_fit(profile, required):
    if not required:
        return True
    try:
        bits = json.loads(profile.cpu_info or "{}").get("maxphysaddr", {}).get("bits")
    except (ValueError, AttributeError, RecursionError):
        return True
    return not isinstance(bits, (int, float)) or not bits or bits >= int(required)
