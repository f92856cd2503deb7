"""Which versions load, what is written for an older receiver, and whose classes are found."""

import pytest
from oslo_versionedobjects import base as ovo
from oslo_versionedobjects import fields as ovo_fields

import rpc_api.objects as ours
from rpc_api import errors
from rpc_api.objects import base
from rpc_api.objects.base import NovaObject
from tests.rpc_api.objects.samples import captured_request_spec


def envelope(name="Selection", version="1.1", namespace="nova", **data):
    return {base.NAME: name, base.NAMESPACE: namespace, base.VERSION: version, base.DATA: data}


@pytest.mark.parametrize("sent, loaded", [("1.1", "1.1"), ("1.0", "1.0"), ("1.1.3", "1.1"), ("1.0.9", "1.0")])
def test_version_that_loads(sent, loaded):
    selection = NovaObject.obj_from_primitive(envelope(version=sent, nodename="n1"))
    assert (type(selection), selection.VERSION, selection.nodename) == (ours.Selection, loaded, "n1")
    assert selection.obj_to_primitive()[base.VERSION] == loaded


@pytest.mark.parametrize(
    "sent", ["1.2", "1.2.0", "1.10", "2.0", "0.9", "1", "1.x", "", "1.1.1.1", " 1.1", None, 1.1, [], "1.\u0661"]
)
def test_version_that_does_not_load(sent):
    with pytest.raises((errors.UnknownSchema, errors.InvalidEvent)) as caught:
        NovaObject.obj_from_primitive(envelope(version=sent))
    if isinstance(sent, str):
        assert type(caught.value) is errors.UnknownSchema
        assert "Selection" in str(caught.value) and repr(sent) in str(caught.value) and "1.1" in str(caught.value)
        assert "upgrade" in str(caught.value)


@pytest.mark.parametrize(
    "wire, says",
    [
        (envelope(name="Nonsense"), "'Nonsense'"),
        (envelope(name="Instance"), "'Instance'"),
        (envelope(namespace="cinder"), "namespace is 'cinder', wanted 'nova'"),
        (envelope(namespace=None), "namespace is None"),
    ],
)
def test_object_that_is_not_ours(wire, says):
    with pytest.raises(errors.UnknownSchema, match=says):
        NovaObject.obj_from_primitive(wire)


def test_nested_newer_version_is_refused():
    wire = captured_request_spec()
    wire[base.DATA]["image"][base.DATA]["properties"][base.VERSION] = "1.45"
    with pytest.raises(errors.UnknownSchema, match="ImageMetaProps.*1.45.*1.44"):
        NovaObject.obj_from_primitive(wire)


def test_what_an_older_sender_lacks_stays_unset():
    wire = captured_request_spec()
    wire[base.VERSION] = "1.10"
    del wire[base.DATA]["is_bfv"]
    spec = NovaObject.obj_from_primitive(wire)
    assert "is_bfv" not in spec
    with pytest.raises(base.FieldNotSet, match="is_bfv.*RequestSpec"):
        spec.is_bfv


# ---- for an older receiver


@pytest.mark.parametrize("name", sorted(base.CLASSES))
def test_written_for_each_older_version_it_has_no_newer_field(name):
    cls = base.CLASSES[name]
    obj = cls()
    for field_name, field in cls.fields.items():
        if field.nullable:
            setattr(obj, field_name, None)
    major, minor = base.parse_version(cls.VERSION)
    for older in range(minor + 1):
        wire = obj.obj_to_primitive(target_version=f"{major}.{older}", version_manifest=base.manifest(name))
        assert wire[base.VERSION] == f"{major}.{older}"
        assert not {added for added, since in cls.ADDED_IN.items() if since > (major, older)} & set(wire[base.DATA])


@pytest.mark.parametrize(
    "obj, target, wanted",
    [
        (ours.Selection(nodename="n", availability_zone="z"), "1.0", {"nodename": "n"}),
        (ours.Selection(nodename="n", availability_zone="z"), "1.1", {"nodename": "n", "availability_zone": "z"}),
        (ours.HVSpec(hv_type="vz"), "1.0", {"hv_type": "parallels"}),
        (ours.HVSpec(hv_type="vz"), "1.1", {"hv_type": "vz"}),
        (
            ours.InstanceGroup(policy="affinity", rules={"a": "1"}, hosts=[]),
            "1.10",
            {"policies": ["affinity"], "hosts": []},
        ),
        (ours.InstanceGroup(policy=None, hosts=[]), "1.9", {"policies": []}),
        (
            ours.InstanceNUMACell(cpuset=set(), pcpuset={1, 2}, cpu_policy="dedicated"),
            "1.4",
            {
                "cpuset": (1, 2),
                "cpuset_reserved": None,
                "pagesize": None,
                "cpu_pinning_raw": None,
                "cpu_policy": "dedicated",
                "cpu_thread_policy": None,
            },
        ),
        (ours.ImageMetaProps(hw_watchdog_action="disabled"), "1.15", {}),
        (ours.ImageMetaProps(hw_watchdog_action="disabled"), "1.16", {"hw_watchdog_action": "disabled"}),
    ],
)
def test_written_for_an_older_version(obj, target, wanted):
    wire = obj.obj_to_primitive(target_version=target)
    assert wire[base.DATA] == wanted
    assert set(wire.get(base.CHANGES, ())) <= set(wanted)


@pytest.mark.parametrize(
    "obj, target",
    [
        (ours.ImageMetaProps(hw_mem_encryption_model="intel-tdx"), "1.43"),
        # A value is not dropped with its field: the receiver would do without what the image demands.
        (ours.ImageMetaProps(hw_mem_encryption_model="intel-tdx"), "1.41"),
        (ours.ImageMetaProps(hw_vif_model="igb"), "1.38"),
        (ours.InstanceNUMACell(cpuset={0}, pcpuset={1}, cpu_policy="mixed"), "1.5"),
        (ours.Selection(nodename="n"), "1.2"),
        (ours.Selection(nodename="n"), "nonsense"),
    ],
)
def test_what_a_version_cannot_hold_is_not_written(obj, target):
    with pytest.raises(errors.UnknownSchema, match=f"{type(obj).__name__}.*{target}"):
        obj.obj_to_primitive(target_version=target)


def test_manifest_downgrades_what_is_inside():
    limits = ours.SchedulerLimits.from_dict(
        {
            "numa_topology": ours.NUMATopologyLimits(
                cpu_allocation_ratio=1.0, network_metadata=ours.NetworkMetadata(tunneled=True)
            )
        }
    )
    manifest = base.manifest("Selection") | {"NUMATopologyLimits": "1.0"}
    wire = ours.Selection(limits=limits).obj_to_primitive(version_manifest=manifest)
    inside = wire[base.DATA]["limits"][base.DATA]["numa_topology"]
    assert (inside[base.VERSION], inside[base.DATA]) == ("1.0", {"cpu_allocation_ratio": 1.0})


def test_manifest_of_a_request():
    assert base.manifest("RequestSpec") == {
        "CellMapping": "1.1",
        "ComputeNode": "1.19",
        "ComputeNodeList": "1.17",
        "Destination": "1.4",
        "Flavor": "1.2",
        "HVSpec": "1.2",
        "ImageMeta": "1.8",
        "ImageMetaProps": "1.44",
        "InstanceGroup": "1.11",
        "InstanceNUMACell": "1.6",
        "InstanceNUMATopology": "1.3",
        "InstancePCIRequest": "1.4",
        "InstancePCIRequests": "1.1",
        "NUMATopologyLimits": "1.1",
        "NetworkMetadata": "1.0",
        "NetworkRequest": "1.3",
        "NetworkRequestList": "1.1",
        "PciDevicePool": "1.1",
        "PciDevicePoolList": "1.1",
        "RequestGroup": "1.3",
        "RequestLevelParams": "1.1",
        "RequestSpec": "1.15",
        "SchedulerLimits": "1.0",
        "SchedulerRetries": "1.1",
        "SecurityGroup": "1.2",
        "SecurityGroupList": "1.1",
        "VirtCPUTopology": "1.0",
    }
    with pytest.raises(errors.UnknownSchema, match="Nonsense"):
        base.manifest("Nonsense")


# ---- beside classes of the same names in the registry of the process


@pytest.fixture
def foreign():
    """What importing nova does: classes of our names and versions in oslo's registry."""
    registry = ovo.VersionedObjectRegistry.obj_classes()
    before = {name: list(classes) for name, classes in registry.items()}

    class ForeignBase(ovo.VersionedObject):
        OBJ_SERIAL_NAMESPACE = "nova_object"
        OBJ_PROJECT_NAMESPACE = "nova"

    classes = {
        name: ovo.VersionedObjectRegistry.register(
            type(name, (ForeignBase,), {"VERSION": ours_.VERSION, "fields": {"colour": ovo_fields.StringField()}})
        )
        for name, ours_ in base.CLASSES.items()
    }
    yield ForeignBase, classes
    registry.clear()
    registry.update(before)


def test_none_of_ours_is_in_the_registry_of_the_process():
    registered = {cls for classes in ovo.VersionedObjectRegistry.obj_classes().values() for cls in classes}
    assert not registered & set(base.CLASSES.values())


def test_foreign_classes_do_not_disturb_ours(foreign):
    spec = NovaObject.obj_from_primitive(captured_request_spec())
    inside = [spec, spec.flavor, spec.image.properties, spec.requested_resources[0], spec.requested_networks]
    assert all(type(obj) is base.CLASSES[obj.obj_name()] for obj in inside)
    assert NovaObject.obj_class_from_name("Flavor", "1.2") is ours.Flavor
    wire = spec.obj_to_primitive(version_manifest=base.manifest("RequestSpec"))
    assert "vcpus" in wire[base.DATA]["flavor"][base.DATA]
    with pytest.raises(NotImplementedError):
        ours.Flavor.to_json_schema()


def test_ours_do_not_disturb_foreign_classes(foreign):
    foreign_base, classes = foreign
    base.register(type("Flavor", (ours.Flavor,), {}))
    base.register(ours.Flavor)
    loaded = foreign_base.obj_from_primitive(envelope("Flavor", "1.2", colour="red"))
    assert type(loaded) is classes["Flavor"] and loaded.colour == "red"
