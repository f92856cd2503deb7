"""ImagePropertiesFilter: refuses hosts whose hypervisor cannot run the image."""

import json

from oslo_utils import versionutils

from nova_sched.filters.base import Filter, Refusal


_SEEN = ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")


class ImagePropertiesFilter(Filter):
    """Architecture, hypervisor type and VM mode of the image must be among the host's supported instances, its
    version predicate must hold for the hypervisor, and the host must have the address bits that it needs."""

    name = "ImagePropertiesFilter"
    on_rebuild = True

    def seen(self, request):
        return tuple(map(request.image_properties.get, _SEEN))

    def refusals(self, hosts, request, policy, scope):
        image = request.image_properties
        wanted = [value for value in (
            image.get("hw_architecture") or policy.image_properties_default_architecture,
            image.get("img_hv_type"), image.get("hw_vm_mode")) if value]
        if not wanted:
            return
        values = hosts.table.profiles.values
        yield Refusal("image properties", hosts.by_value(
            "profile", lambda profile: not _supports(values[profile], wanted, image)))


def _supports(profile, wanted, image):
    if not any(all(value in supported for value in wanted) for supported in profile.supported_instances):
        return False
    return _version_fits(profile, image) and _bits_fit(profile, image)


def _version_fits(profile, image):
    required = image.get("img_hv_requested_version")
    if not (profile.hypervisor_version and required):
        return True
    version = versionutils.convert_version_to_str(profile.hypervisor_version)
    return versionutils.VersionPredicate(required).satisfied_by(version)


def _bits_fit(profile, image):
    required = image.get("hw_maxphysaddr_bits")
    if not required:
        return True
    try:
        bits = json.loads(profile.cpu_info or "{}").get("maxphysaddr", {}).get("bits")
    except (ValueError, AttributeError):
        return True
    return not bits or bits >= int(required)
