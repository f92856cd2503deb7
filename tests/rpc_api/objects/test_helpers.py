"""What a scheduler reads off the objects besides their fields."""

import pytest

import rpc_api.objects as ours
from rpc_api import errors
from rpc_api.objects import base
from rpc_api.objects.base import NovaObject
from tests.rpc_api.objects.samples import captured_request_spec


@pytest.fixture
def spec():
    return NovaObject.obj_from_primitive(captured_request_spec())


# ---- RequestSpec


@pytest.mark.parametrize(
    "name, value",
    [
        ("vcpus", 1),
        ("memory_mb", 512),
        ("root_gb", 1),
        ("ephemeral_gb", 0),
        ("swap", 0),
        ("root_required", set()),
        ("root_forbidden", set()),
        ("same_subtree", []),
        ("maps_requested_resources", True),
    ],
)
def test_property_of_a_request(spec, name, value):
    assert getattr(spec, name) == value


@pytest.mark.parametrize(
    "hints, name, default, wanted",
    [
        ({"group": ["g"]}, "group", None, "g"),
        ({"same_host": ["a", "b"]}, "same_host", None, ["a", "b"]),
        ({"same_host": []}, "same_host", None, []),
        ({}, "group", None, None),
        ({}, "group", "other", "other"),
        ({}, "group", ["other"], "other"),
        (None, "group", "other", "other"),
    ],
)
def test_scheduler_hint(spec, hints, name, default, wanted):
    spec.scheduler_hints = hints
    assert spec.get_scheduler_hint(name, default) == wanted


def test_scheduler_hint_of_a_request_without_hints():
    assert ours.RequestSpec().get_scheduler_hint("group", 7) == 7


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("requested_destination", None),
        ("requested_resources", None),
        ("security_groups", {"objects": []}),
        ("requested_networks", {"objects": []}),
        ("network_metadata", {"physnets": (), "tunneled": False}),
        ("request_level_params", {}),
    ],
)
def test_field_of_a_request_that_reads_as_empty(name, wanted):
    spec = ours.RequestSpec()
    value = getattr(spec, name)
    assert (value if value is None else value.obj_to_primitive()[base.DATA]) == wanted
    # The same thing at every reading, so that what is put into it is kept.
    assert getattr(spec, name) is getattr(spec, name)


def test_what_is_added_to_an_empty_default_is_kept():
    spec = ours.RequestSpec()
    spec.request_level_params.root_required.add("HW_CPU_X86_AVX2")
    assert spec.root_required == {"HW_CPU_X86_AVX2"}
    assert ours.RequestSpec().root_required == set()


@pytest.mark.parametrize("name", sorted(set(ours.RequestSpec.fields) - set(ours.RequestSpec.LAZY)))
def test_unset_field_of_a_request_names_object_and_field(name):
    with pytest.raises(errors.InvalidEvent, match=f"{name} .*RequestSpec 1.15") as caught:
        getattr(ours.RequestSpec(), name)
    # What oslo raises, which others catch.
    assert isinstance(caught.value, NotImplementedError)


def test_request_group_mapping(spec):
    assert spec.get_request_group_mapping() == {"19633f3c-95b2-43d0-b60d-1b873224b277": []}
    assert ours.RequestSpec().get_request_group_mapping() is None
    assert not ours.RequestSpec().maps_requested_resources


# ---- the others


@pytest.mark.parametrize("cls", base.CLASSES.values(), ids=base.CLASSES)
def test_lazy_fields_fit_their_field(cls):
    assert set(cls.LAZY) <= set(cls.fields)
    for name in cls.LAZY:
        value = getattr(cls(), name)
        assert cls.fields[name].coerce(cls(), name, value) == value


@pytest.mark.parametrize(
    "rules, wanted", [({"max_server_per_host": "3"}, {"max_server_per_host": 3}), ({}, {}), ({"other": "x"}, {})]
)
def test_rules_of_a_group(rules, wanted):
    assert ours.InstanceGroup(rules=rules).rules == wanted


def test_rules_of_a_group_that_has_none(spec):
    assert "_rules" not in spec.instance_group and spec.instance_group.rules == {}


@pytest.mark.parametrize("metadata, zone", [({"availability_zone": "az1"}, "az1"), ({}, None), (None, None)])
def test_zone_of_an_aggregate(metadata, zone):
    assert ours.Aggregate(metadata=metadata).availability_zone == zone


def test_properties_of_an_image(spec):
    properties = spec.image.properties
    assert properties.get("hw_disk_bus") == "virtio"
    assert properties.get("hw_vif_model") is None
    assert properties.get("hw_vif_model", "e1000") == "e1000"
    assert properties.to_dict() == {"hw_disk_bus": "virtio"}
    with pytest.raises(AttributeError, match="ImageMetaProps.*colour"):
        properties.get("colour")


def test_limits():
    limits = ours.SchedulerLimits.from_dict({"vcpu": 4})
    assert all(name in limits for name in limits.fields), "Nova's to_dict fails on an unset field"
    assert limits.to_dict() == {"vcpu": 4}
    assert ours.SchedulerLimits().to_dict() == {}
    assert not hasattr(ours.SchedulerLimits.from_dict({"colour": 4}), "colour")


def test_destination_collects_aggregates():
    destination = ours.Destination()
    destination.require_aggregates(["a", "b"])
    destination.require_aggregates(["c"])
    destination.append_forbidden_aggregates({"d"})
    destination.append_forbidden_aggregates({"e"})
    assert (destination.aggregates, destination.forbidden_aggregates) == (["a,b", "c"], {"d", "e"})
    assert destination.allow_cross_cell_move is False


def test_numa_topology():
    topology = ours.InstanceNUMATopology(
        emulator_threads_policy="isolate",
        cells=[
            ours.InstanceNUMACell(
                id=0,
                cpuset={0},
                pcpuset={1, 2, 3},
                cpu_pinning_raw={"1": 5, "2": 6},
                cpuset_reserved={7},
                cpu_topology=ours.VirtCPUTopology(threads=2),
            ),
            ours.InstanceNUMACell(id=1, cpuset=set(), pcpuset=set()),
        ],
    )
    cell, other = topology.cells
    assert (len(topology), len(cell), cell.total_cpus) == (2, 4, {0, 1, 2, 3})
    assert (cell.cpu_pinning, other.cpu_pinning) == ({1: 5, 2: 6}, None)
    assert (cell.siblings, other.siblings) == ([{0, 1}, {2, 3}], [])
    assert (topology.cpu_pinning, topology.cpuset_reserved) == ({5, 6}, {7})
    assert topology.emulator_threads_isolated and not ours.InstanceNUMATopology().emulator_threads_isolated


@pytest.mark.parametrize(
    "alias, source", [("gpu", ours.InstancePCIRequest.FLAVOR_ALIAS), (None, ours.InstancePCIRequest.NEUTRON_PORT)]
)
def test_source_of_a_pci_request(alias, source):
    assert ours.InstancePCIRequest(alias_name=alias).source == source


def test_read_like_a_dictionary(spec):
    assert spec.flavor["vcpus"] == 1 and dict(spec.flavor.items())["memory_mb"] == 512
    assert spec.instance_group.get("policy") == "anti-affinity"


def test_copy_is_apart(spec):
    copy = spec.obj_clone()
    copy.flavor.extra_specs["a"] = "b"
    assert "a" not in spec.flavor.extra_specs
    assert copy.obj_what_changed() == spec.obj_what_changed()


def test_change_inside_is_a_change():
    wire = captured_request_spec()
    for part in (wire, wire[base.DATA]["flavor"]):
        del part[base.CHANGES]
    spec = NovaObject.obj_from_primitive(wire)
    assert "flavor" not in spec.obj_what_changed()
    spec.flavor.vcpus = 2
    assert "flavor" in spec.obj_what_changed()
