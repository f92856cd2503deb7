"""Nova's request filters: what options and aggregates add to a request before hosts are filtered.

A request is recorded as it came; what is added here follows from the policy and from the aggregates of the log, so a
replay adds it again. What follows from the RequestSpec alone is added when the request arrives
(:mod:`nova_sched.request.from_spec`), and Neutron is asked then (:mod:`nova_sched.request.networks`). Two of
Nova's request filters are filters of ours, because they need no more of a host than a column: AvailabilityZoneFilter
(map_az_to_placement_aggregate) and ComputeStatusFilter (compute_status_filter).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason
from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import aggregates_with, least_service_version
from rpc_api import events
from rpc_api.events import AggregateUpdated, ResourceGroup, SchedulingRequest

#: The policy cannot be imported: its module imports this one, and makes a field of each of the OPTIONS.
Policy = Any

NO_AGGREGATE_OF_PROJECT = Reason("no aggregate of the project")
NO_AGGREGATE_OF_SEGMENT = "no aggregate of the network segment {segment}"
#: Each code of the reasons for which a request is refused, and what it means.
REASONS = {
    NO_AGGREGATE_OF_PROJECT.code: "no host aggregate names the project of the request in filter_tenant_id, and "
    "[scheduler] placement_aggregate_required_for_tenants wants one",
    NO_AGGREGATE_OF_SEGMENT: "the network of the request has this segment, and no host aggregate and no provider is "
    "known for it",
}


def _flag(name: str, help_: str, section: str = "scheduler") -> Option:
    return Option(name, Kind.FLAG, False, help_, section=section)


OPTIONS = (
    _flag(
        "query_placement_for_routed_network_aggregates",
        "Ask Neutron for the segments of the request's networks, and only go to hosts of them.",
    ),
    _flag(
        "limit_tenants_to_placement_aggregate",
        "Only go to aggregates whose filter_tenant_id names the project, where there is one.",
    ),
    _flag(
        "placement_aggregate_required_for_tenants",
        "Refuse projects that no aggregate names, with limit_tenants_to_placement_aggregate.",
    ),
    _flag(
        "query_placement_for_image_type_support",
        "Only go to hosts that say that they can use the disk format of the image.",
    ),
    _flag(
        "enable_isolated_aggregate_filtering",
        "Only go to aggregates with required traits where the request asks for all of these.",
    ),
    _flag(
        "image_metadata_prefilter", "Only go to hosts whose traits say that they have the device models of the image."
    ),
    _flag(
        "disable_fallback_pcpu_query",
        "Do not look for VCPU where a guest with pinned CPUs finds no PCPU.",
        section="workarounds",
    ),
)

TENANT_KEY = "filter_tenant_id"
TRAIT_KEY = "trait:"
SEGMENT_KEY = "segment_id"
#: How the names of the host aggregates begin that Neutron makes, one per segment.
SEGMENT_NAME = "Neutron segment id "
OWNER_TRAIT = "OWNER_NOVA"
#: Version of nova-compute from which on it marks its providers with OWNER_TRAIT.
OWNER_VERSION = 73
#: Disk formats of images, and properties of images with their values, that traits are there for; a property's traits
#: begin with the text before its values (None: a trait for each value that the property can have).
DISK_FORMATS = ("aki", "ami", "ari", "iso", "ploop", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk")
DEVICE_TRAITS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "hw_cdrom_bus": ("COMPUTE_STORAGE_BUS_", None),
    "hw_disk_bus": ("COMPUTE_STORAGE_BUS_", None),
    "hw_video_model": ("COMPUTE_GRAPHICS_MODEL_", None),
    "hw_vif_model": ("COMPUTE_NET_VIF_MODEL_", None),
    "hw_architecture": (
        "HW_ARCH_",
        (
            "aarch64",
            "alpha",
            "armv6",
            "armv7b",
            "cris",
            "i686",
            "ia64",
            "lm32",
            "m68k",
            "microblaze",
            "microblazeel",
            "mips",
            "mips64",
            "mips64el",
            "mipsel",
            "openrisc",
            "parisc",
            "parisc64",
            "ppc",
            "ppc64",
            "ppc64le",
            "ppcemb",
            "ppcle",
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
        ),
    ),
    "hw_emulation_architecture": ("COMPUTE_ARCH_", ("aarch64", "mipsel", "ppc64le", "s390x", "x86_64")),
    "hw_viommu_model": ("COMPUTE_VIOMMU_MODEL_", None),
}


class Refused(NamedTuple):
    """A request that no host can ever take: the request filter that refused it, and the reason."""

    filter: str
    reason: Reason


class _Added:
    """What is added to one request."""

    def __init__(self) -> None:
        self.root_required: list[str] = []
        self.member_of: list[tuple[str, ...]] = []
        self.forbidden_aggregates: list[str] = []


def prefiltered(request: SchedulingRequest, table: HostTable, policy: Policy) -> SchedulingRequest | Refused:
    """The request with all that the policy and the aggregates add to it, the same object if they add nothing; or a
    :class:`Refused`. A rebuild stays on its host, so nothing is added to it."""
    if request.check_only:
        return request
    if request.fallback_groups and policy.disable_fallback_pcpu_query:
        request = request._replace(fallback_groups=())
    added = _Added()
    for request_filter in _REQUEST_FILTERS:
        refused = request_filter(request, table, policy, added)
        if refused is not None:
            return refused
    return _with(request, added)


def _with(request: SchedulingRequest, added: _Added) -> SchedulingRequest:
    changed: dict[str, Any] = {}
    if added.root_required:
        changed["root_required"] = tuple(sorted({*request.root_required, *added.root_required}))
    if added.member_of or added.forbidden_aggregates:
        changed["groups"] = _with_aggregates(request.groups, added)
        if request.fallback_groups:
            changed["fallback_groups"] = _with_aggregates(request.fallback_groups, added)
    if OWNER_TRAIT in added.root_required:
        changed |= _owned(request, changed)
    return request._replace(**changed) if changed else request


def _with_aggregates(groups: tuple[ResourceGroup, ...], added: _Added) -> tuple[ResourceGroup, ...]:
    """Groups whose unsuffixed one must be in more aggregates, and in none of some others."""
    unsuffixed, *rest = groups if groups and not groups[0].suffix else (_NOTHING, *groups)
    return (
        unsuffixed._replace(
            member_of=(*unsuffixed.member_of, *added.member_of),
            forbidden_aggregates=tuple(sorted({*unsuffixed.forbidden_aggregates, *added.forbidden_aggregates})),
        ),
        *rest,
    )


_NOTHING = events.ResourceGroup("", (), (), (), (), (), (), None)


def _owned(request: SchedulingRequest, changed: dict[str, Any]) -> dict[str, tuple[ResourceGroup, ...]]:
    """The groups of PCI devices that the flavor asks for by an alias must be served by providers of Nova, too."""
    of_aliases = {device.request_id for device in request.pci if device.alias_name and device.request_id}
    if not of_aliases:
        return {}
    return {
        name: tuple(_owned_group(group, of_aliases) for group in changed.get(name, getattr(request, name)))
        for name in ("groups", "fallback_groups")
    }


def _owned_group(group: ResourceGroup, request_ids: set[str]) -> ResourceGroup:
    # Of a request for several devices each has a group, REQUEST-NUMBER.
    if group.suffix.rsplit("-", 1)[0] not in request_ids:
        return group
    return group._replace(required_traits=tuple(sorted({*group.required_traits, OWNER_TRAIT})))


# --- one function per request filter of Nova -------------------------------------------------------------------------


def _require_tenant_aggregate(
    request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added
) -> Refused | None:
    """If aggregates name a project, its instances only go to them."""
    if not policy.limit_tenants_to_placement_aggregate:
        return None
    of_projects: dict[str | None, tuple[str, ...]] = aggregates_with(table, "project", _projects)
    uuids = of_projects.get(request.project_id)
    if uuids:
        added.member_of.append(uuids)
    elif policy.placement_aggregate_required_for_tenants:
        return Refused("require_tenant_aggregate", NO_AGGREGATE_OF_PROJECT)
    return None


def _projects(aggregate: AggregateUpdated) -> list[str]:
    return [value for key, value in aggregate.metadata.items() if key.startswith(TENANT_KEY)]


def _require_image_type_support(request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added) -> None:
    """A host must be able to use the disk format of the image that it boots from."""
    if policy.query_placement_for_image_type_support and not request.is_bfv:
        disk_format = (request.disk_format or "").lower()
        if disk_format in DISK_FORMATS:
            added.root_required.append(f"COMPUTE_IMAGE_TYPE_{disk_format.upper()}")


def _isolate_aggregates(request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added) -> None:
    """An aggregate with required traits takes no request that does not ask for all of them."""
    if policy.enable_isolated_aggregate_filtering:
        asked = {trait for group in request.groups for trait in group.required_traits}
        for trait, uuids in aggregates_with(table, "trait", _required_traits).items():
            if trait not in asked:
                added.forbidden_aggregates.extend(uuids)


def _required_traits(aggregate: AggregateUpdated) -> list[str]:
    return [
        key[len(TRAIT_KEY) :]
        for key, value in aggregate.metadata.items()
        if key.startswith(TRAIT_KEY) and value == "required"
    ]


def _transform_image_metadata(request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added) -> None:
    """A host must have the device models of the image."""
    if policy.image_metadata_prefilter:
        for name, (prefix, known) in DEVICE_TRAITS.items():
            value = request.image_properties.get(name)
            if value and (known is None or value in known):
                added.root_required.append(prefix + value.replace("-", "_").upper())


def _routed_networks(request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added) -> Refused | None:
    """A host must be on a segment of each network."""
    if not policy.query_placement_for_routed_network_aggregates:
        return None
    for segments in request.segments:
        uuids: list[str] = []
        for segment in segments:
            found = aggregates_of_segment(table, segment)
            if not found:
                return Refused("routed_networks_filter", Reason(NO_AGGREGATE_OF_SEGMENT, (segment,)))
            uuids.extend(found)
        added.member_of.append(tuple(dict.fromkeys(uuids)))
    return None


def aggregates_of_segment(table: HostTable, segment: str) -> tuple[str, ...]:
    """Uuids of the aggregates of a segment of a routed network: those of the provider with its uuid, as Nova
    finds them in Placement, and host aggregates that have its uuid, or name it by their name or metadata."""
    row = table.row_of_uuid.get(segment)
    of_provider = table.row_aggregates[row] if row is not None else ()
    return (*of_provider, *aggregates_with(table, "segment", _segments).get(segment, ()))


def _segments(aggregate: AggregateUpdated) -> list[str]:
    named = aggregate.name[len(SEGMENT_NAME) :] if aggregate.name.startswith(SEGMENT_NAME) else None
    return [name for name in (aggregate.uuid, named, aggregate.metadata.get(SEGMENT_KEY)) if name]


def _owner_nova(request: SchedulingRequest, table: HostTable, policy: Policy, added: _Added) -> None:
    """A host must be Nova's own, once all hosts report whether they are."""
    if OWNER_TRAIT not in request.root_required and least_service_version(table) >= OWNER_VERSION:
        added.root_required.append(OWNER_TRAIT)


_REQUEST_FILTERS: tuple[Callable[[SchedulingRequest, HostTable, Policy, _Added], Refused | None], ...] = (
    _require_tenant_aggregate,
    _require_image_type_support,
    _isolate_aggregates,
    _transform_image_metadata,
    _routed_networks,
    _owner_nova,
)
