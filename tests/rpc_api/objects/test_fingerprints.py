"""The schema of every object: it may not change by accident, and it must be Nova's."""

import hashlib
import re

import pytest
from oslo_versionedobjects import fields as ovo_fields

from rpc_api.objects import base
from tests.rpc_api.objects.samples import FACTS

#: Of our classes. A change here is a change of what we say on the wire.
FINGERPRINTS = {
    "Aggregate": "1.3-aee71ed691f4afd543526b0a0ef2dafc",
    "AggregateList": "1.3-15ecf022a68ddbb8c2a6739cfc9f8f5e",
    "CellMapping": "1.1-2314bbc9f0b268f7cfb993c2c0f5f773",
    "ComputeNode": "1.19-03e741b2faf4fda329531469327a8a0d",
    "ComputeNodeList": "1.17-15ecf022a68ddbb8c2a6739cfc9f8f5e",
    "Destination": "1.4-3b440d29459e2c98987ad5b25ad1cb2c",
    "Flavor": "1.2-f204e50207d1e747ea1e71b1eb392d5e",
    "HVSpec": "1.2-de06bcec472a2f04966b855a49c46b41",
    "ImageMeta": "1.8-642d1b2eb3e880a367f37d72dd76162d",
    "ImageMetaProps": "1.44-fd4f63a7cfab5a0ea0e034c40a554b26",
    "InstanceGroup": "1.11-cd1a5e6c430877a543a1229efd9264f2",
    "InstanceNUMACell": "1.6-25d9120d83a18356f4146f2a6fe2cc8d",
    "InstanceNUMATopology": "1.3-b7b14056ebcb03f2f406310ff454f9a9",
    "InstancePCIRequest": "1.4-b27808ae189699df27f8f5b908b6393e",
    "InstancePCIRequests": "1.1-3928680ff73c1b9e8a1d15042f6c8287",
    "NUMATopologyLimits": "1.1-4235c5da7a76c7e36075f0cd2f5cf922",
    "NetworkMetadata": "1.0-2cb8d21b34f87b0261d3e1d1ae5cf218",
    "NetworkRequest": "1.3-3a815ea3df7defa61e0b894dee5288ba",
    "NetworkRequestList": "1.1-15ecf022a68ddbb8c2a6739cfc9f8f5e",
    "PciDevicePool": "1.1-3f5ddc3ff7bfa14da7f6c7e9904cc000",
    "PciDevicePoolList": "1.1-15ecf022a68ddbb8c2a6739cfc9f8f5e",
    "RequestGroup": "1.3-0458d350a8ec9d0673f9be5640a990ce",
    "RequestLevelParams": "1.1-3a718a0ae0bfdec669e7108631b3f313",
    "RequestSpec": "1.15-94298098bfe6e9f5615801c50db966c9",
    "SchedulerLimits": "1.0-249c4bd8e62a9b327b7026b7f19cc641",
    "SchedulerRetries": "1.1-3c9c8b16143ebbb6ad7030e999d14cc0",
    "SecurityGroup": "1.2-206cebf8a457fe3c166e2c24e9651346",
    "SecurityGroupList": "1.1-15ecf022a68ddbb8c2a6739cfc9f8f5e",
    "Selection": "1.1-548e3c2f04da2a61ceaf9c4e1589f264",
    "VirtCPUTopology": "1.0-fc694de72e20298f7c6bab1083fd4563",
}

#: Nova's classes of these names have remotable methods, which belong to Nova's fingerprint and cannot be ours.
WITH_REMOTABLES = {
    "Aggregate",
    "AggregateList",
    "CellMapping",
    "ComputeNode",
    "ComputeNodeList",
    "Flavor",
    "InstanceGroup",
    "InstanceNUMATopology",
    "InstancePCIRequests",
    "RequestSpec",
    "SecurityGroup",
    "SecurityGroupList",
}


def fingerprint(cls) -> str:
    """As ``oslo_versionedobjects.fixture.ObjectVersionChecker`` has it, for a class without remotable methods."""
    relevant = (sorted(cls.fields.items()), [])
    if hasattr(cls, "child_versions"):
        # oslo has an ordered dictionary here, and the versions are always empty with us.
        text = f"({relevant[0]!r}, [], OrderedDict())"
    else:
        text = repr(relevant)
    return f"{cls.VERSION}-{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"


def facts() -> dict[str, tuple[str, str, list[str]]]:
    """Version, fingerprint and field table of each of Nova's objects."""
    if not FACTS.exists():
        pytest.skip(f"no facts about the peer: {FACTS} is not there")
    lines = (re.fullmatch(r"(\w+) (\S+) \((\S+)\): (.*)", line) for line in FACTS.read_text().splitlines())
    return {line[1]: (line[2], line[3], line[4].split(", ")) for line in lines}


def described(field) -> str:
    """The type of a field in the words of the facts."""
    kind = field._type
    if isinstance(kind, ovo_fields.Object):
        text = kind._obj_name
    elif isinstance(kind, ovo_fields.Dict):
        text = f"Dict[str,{described(kind._element_type)}]"
    elif isinstance(kind, (ovo_fields.List, ovo_fields.Set)):
        text = f"{type(kind).__name__}[{described(kind._element_type)}]"
    elif isinstance(kind, ovo_fields.Enum):
        valid = kind.valid_values
        text = f"{type(kind).__name__}{{{'|'.join(valid) if len(valid) <= 8 else f'{len(valid)} values'}}}"
    else:
        text = type(kind).__name__
    return text + ("?" if field.nullable else "")


def table(cls) -> list[str]:
    rows = []
    for name, field in sorted(cls.fields.items()):
        default = "" if field.default is ovo_fields.UnspecifiedDefault else f"={field.default}"
        rows.append(f"{name}:{described(field)}{default}")
    return rows


def test_every_class_is_pinned():
    assert set(base.CLASSES) == set(FINGERPRINTS)


@pytest.mark.parametrize("name", sorted(FINGERPRINTS))
def test_fingerprint_is_the_pinned_one(name):
    assert fingerprint(base.CLASSES[name]) == FINGERPRINTS[name]


@pytest.mark.parametrize("name", sorted(FINGERPRINTS))
def test_fields_are_novas(name):
    assert table(base.CLASSES[name]) == facts()[name][2]


@pytest.mark.parametrize("name", sorted(set(FINGERPRINTS) - WITH_REMOTABLES))
def test_fingerprint_is_novas(name):
    assert FINGERPRINTS[name] == facts()[name][1]


@pytest.mark.parametrize("name", sorted(WITH_REMOTABLES))
def test_version_is_novas(name):
    assert base.CLASSES[name].VERSION == facts()[name][0]


def test_fingerprint_is_computed_as_oslo_does():
    pytest.importorskip("fixtures", reason="oslo's checker needs the package fixtures")
    from oslo_versionedobjects import fixture

    checker = fixture.ObjectVersionChecker({name: [cls] for name, cls in base.CLASSES.items()})
    assert checker.get_hashes() == FINGERPRINTS
