"""ImagePropertiesFilter: refuses hosts whose hypervisor cannot run the image."""

import json

from oslo_utils import versionutils

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import NAMED, Finding
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason
from rpc_api import errors
from rpc_api.objects.fields import ArchitectureField

IMAGE_PROPERTIES = Reason("image properties")
DEFAULT_ARCHITECTURE = Option(
    "image_properties_default_architecture",
    Kind.TEXT,
    None,
    "Architecture of images that name none, for the ImagePropertiesFilter.",
    choices=tuple(ArchitectureField().valid_values),
)
_SEEN = ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")


class ImagePropertiesFilter(Filter):
    """Architecture, hypervisor type and VM mode that the image names must be together in one of the host's supported
    instances. If one of them is named, the version predicate ``img_hv_requested_version`` must hold for the host's
    hypervisor, and the host must have the physical address bits of ``hw_maxphysaddr_bits``; a host that does not report
    its version or how many bits it has passes.

    Images that name no architecture have ``image_properties_default_architecture``.
    """

    name = "ImagePropertiesFilter"
    options = (DEFAULT_ARCHITECTURE,)
    reasons = {IMAGE_PROPERTIES.code: "the hypervisor of the host cannot run an image with these properties"}
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
                IMAGE_PROPERTIES,
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

    def explain(self, look, reason):
        return of_hypervisor(look)


def of_hypervisor(look) -> Finding:
    """What the host reports of its hypervisor, and what flavor and image ask of it."""
    has = look.table.profiles.values[look.table.profile[look.row]]
    wanted = {
        **{key: value for key, value in look.request.image_properties.items() if key in _SEEN},
        **{
            key: value
            for key, value in look.request.extra_specs.items()
            if ":" not in key or key.startswith(("capabilities:", "hw:maxphysaddr"))
        },
    }
    supported = [" ".join(instance) for instance in has.supported_instances]
    return Finding(
        f"the host is {has.hypervisor_type} {has.hypervisor_version}, supports "
        f"{', '.join(supported[:NAMED]) or 'nothing named'}; "
        f"asked {', '.join(f'{key} {value}' for key, value in sorted(wanted.items())) or 'nothing'}",
        {
            "hypervisor_type": has.hypervisor_type,
            "hypervisor_version": has.hypervisor_version,
            "supported": supported,
            "asked": wanted,
        },
        lambda traces: traces.reported(),
    )


def _predicate(version):
    try:
        return versionutils.VersionPredicate(version) if version else None
    except ValueError:
        raise errors.UsageError(
            f"img_hv_requested_version of the image is {version[:80]!r}, wanted conditions as in "
            "'>=8.0,<9.0'; fix the image"
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
