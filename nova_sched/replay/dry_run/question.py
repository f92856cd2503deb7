"""The request of a dry run or a smoke test: a RequestSpec from what an operator types."""

from collections import Counter
from typing import NamedTuple

from nova_sched.replay.dry_run.guest_numa import topology_of
from rpc_api import errors
from rpc_api.objects.flavor import Flavor
from rpc_api.objects.image_meta import ImageMeta, ImageMetaProps
from rpc_api.objects.request_spec import RequestSpec

#: The classes that a flavor has fields for.
_OF_FLAVOR = ("VCPU", "MEMORY_MB", "DISK_GB")


class Asked(NamedTuple):
    """What an operator asks for: a flavor (its ``name``, sizes and ``extra_specs``), the properties of an image, hints
    (name -> values), a zone and a project."""

    name: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    flavor_id: str = ""
    extra_specs: dict = {}
    image_properties: dict = {}
    hints: dict = {}
    zone: str | None = None
    project: str | None = None


def asked_amounts(amounts: dict) -> Asked:
    """Return what asks for some amounts: resource class -> amount."""
    others = {f"resources:{name}": str(amount) for name, amount in amounts.items() if name not in _OF_FLAVOR}
    return Asked("", amounts.get("VCPU", 0), amounts.get("MEMORY_MB", 0), amounts.get("DISK_GB", 0), extra_specs=others)


def asked_like(request) -> Asked:
    """Return what asks for the flavor and the image of a SchedulingRequest. The oldest records of decisions have no
    sizes of the flavor, but what it asked of Placement."""
    sizes = request.vcpus, request.memory_mb, request.root_gb
    if not any(sizes):
        amounts = Counter()
        for group in request.groups:
            amounts.update({} if group.suffix else dict(group.resources))
        sizes = amounts["VCPU"] + amounts["PCPU"], amounts["MEMORY_MB"], amounts["DISK_GB"]
    return Asked(
        request.flavor_name,
        *sizes,
        request.ephemeral_gb,
        request.swap_mb,
        request.flavor_id or "",
        dict(request.extra_specs),
        dict(request.image_properties),
    )


def asked_of_nova(flavor: dict) -> Asked:
    """Return what asks for a flavor as Nova's API describes it."""
    return Asked(
        flavor["name"],
        flavor["vcpus"],
        flavor["ram"],
        flavor["disk"],
        flavor.get("OS-FLV-EXT-DATA:ephemeral") or 0,
        flavor.get("swap") or 0,
        flavor["id"],
        dict(flavor.get("extra_specs") or {}),
    )


def pairs_of(words, option: str) -> dict[str, str]:
    """Parse KEY=VALUE words, of which the last one of a key counts; UsageError for another form."""
    return dict(_pairs(words, option))


def lists_of(words, option: str) -> dict[str, tuple[str, ...]]:
    """Parse KEY=VALUE words into all values of each key; UsageError for another form."""
    found = {}
    for key, value in _pairs(words, option):
        found[key] = (*found.get(key, ()), value)
    return found


def _pairs(words, option):
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise errors.UsageError(f"{option} {word!r} is not KEY=VALUE; fix it")
        yield key, value


def spec_of(asked: Asked, instance_uuid: str) -> RequestSpec:
    """Return the RequestSpec of an operator's question, as nova-conductor would send it. UsageError for options that
    make no sense, or that only Nova's own configuration explains (the aliases of PCI devices)."""
    if "pci_passthrough:alias" in asked.extra_specs:
        raise errors.UsageError(
            "pci_passthrough:alias is an alias in Nova's configuration, which is not known here; name a recorded "
            "request of this flavor with --like"
        )
    if "group" in asked.hints:
        raise errors.UsageError(
            "a server group is an object of Nova, and its hint alone asks for nothing; name a recorded member of the "
            "group with --like"
        )
    flavor = Flavor(
        id=1,
        flavorid=asked.flavor_id or asked.name,
        name=asked.name,
        vcpus=asked.vcpus,
        memory_mb=asked.memory_mb,
        root_gb=asked.root_gb,
        ephemeral_gb=asked.ephemeral_gb,
        swap=asked.swap_mb,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={key: str(value) for key, value in asked.extra_specs.items()},
    )
    return RequestSpec(
        instance_uuid=instance_uuid,
        project_id=asked.project,
        user_id=None,
        flavor=flavor,
        image=_image(asked.image_properties) if asked.image_properties else None,
        num_instances=1,
        availability_zone=asked.zone,
        numa_topology=topology_of(asked.vcpus, asked.memory_mb, asked.extra_specs, asked.image_properties),
        pci_requests=None,
        ignore_hosts=None,
        force_hosts=None,
        force_nodes=None,
        retry=None,
        limits=None,
        scheduler_hints={key: list(values) for key, values in asked.hints.items()} or None,
        is_bfv=False,
        instance_group=None,
    )


def _image(properties):
    known = ImageMetaProps.fields
    found = ImageMetaProps()
    for name, value in properties.items():
        if name not in known:
            raise errors.UsageError(
                f"{name!r} is not a property of an image that Nova reads, wanted one such as hw_cpu_policy or "
                "img_hv_type; fix --image-property"
            )
        try:
            setattr(found, name, value.split(",") if name == "traits_required" else value)
        except (ValueError, TypeError) as wrong:
            raise errors.UsageError(
                f"the image property {name} is {value!r} ({' '.join(str(wrong).split())}); fix it"
            ) from None
    return ImageMeta(properties=found)
