"""The request under nova's names, for the classes of deployers: what is recorded and nothing else, to read only."""

import pytest

from nova_sched.request.from_spec import request_from
from rpc_api import events, objects
from tests.asked import Asked
from tests.builders import claim, group, of, pci, report, request, request_spec, rule, server_group, uuid_of

NUMA = events.NUMARequest(
    (events.NUMACellRequest(0, (0,), (1,), 512, 2048, "mixed", "isolate", 0),), "share", ("physnet1",), True, True
)
PCI = pci(2, request_id="pci", numa_policy="required", vendor_id="8086")
ASKED = request(
    group(VCPU=2),
    flavor_name="m1.large",
    flavor_id="42",
    extra_specs={"hw:cpu_policy": "mixed"},
    user_id="user",
    availability_zone="az1",
    ignore_hosts=("h9",),
    vcpus=2,
    memory_mb=1024,
    root_gb=10,
    ephemeral_gb=5,
    swap_mb=1,
    is_bfv=True,
    image_id=uuid_of("image"),
    target_host="h1",
    target_cell="cell1",
    root_required=("T",),
    same_subtree=(("1", "2"),),
    image_properties={
        "hw_architecture": "x86_64",
        "hw_cpu_cores": "4",
        "hw_boot_menu": "True",
        "traits_required": "['A', 'B']",
        "hw_numa_cpus": "[{0, 1}]",
        "unknown": "x",
    },
    scheduler_hints={"same_host": ("a", "b"), "query": ("[]",)},
    numa=NUMA,
    pci=(PCI,),
    server_group=server_group("anti-affinity", limit=2, members=("vm-0",), hosts=("h0",)),
)


def spec_of(asked=ASKED, *said, cloud=None):
    return (cloud or Asked(report("h1"), *said)).scope(asked).spec


#: Path of attributes -> the value there.
VALUES = {
    "instance_uuid": uuid_of("vm-new"),
    "project_id": "project",
    "user_id": "user",
    "availability_zone": "az1",
    "is_bfv": True,
    "vcpus": 2,
    "memory_mb": 1024,
    "root_gb": 10,
    "ephemeral_gb": 5,
    "swap": 1,
    "force_hosts": None,
    "force_nodes": None,
    "ignore_hosts": ["h9"],
    "flavor.name": "m1.large",
    "flavor.flavorid": "42",
    "flavor.vcpus": 2,
    "flavor.swap": 1,
    "flavor.extra_specs": {"hw:cpu_policy": "mixed"},
    "image.id": uuid_of("image"),
    "image.properties.hw_architecture": "x86_64",
    "image.properties.hw_cpu_cores": 4,
    "image.properties.hw_boot_menu": True,
    "image.properties.traits_required": ["A", "B"],
    "image.properties.hw_numa_cpus": [{0, 1}],
    "image.properties.unknown": "x",
    "scheduler_hints": {"same_host": ["a", "b"], "query": ["[]"]},
    "requested_destination.host": "h1",
    "requested_destination.node": None,
    "requested_destination.cell.name": "cell1",
    "requested_destination.allow_cross_cell_move": False,
    "root_required": {"T"},
    "same_subtree": [{"1", "2"}],
    "request_level_params.root_required": {"T"},
    "network_metadata.physnets": {"physnet1"},
    "network_metadata.tunneled": True,
    "numa_topology.emulator_threads_policy": "share",
    "instance_group.policy": "anti-affinity",
    "instance_group.rules": {"max_server_per_host": 2},
    "instance_group.members": [uuid_of("vm-0")],
    "instance_group.hosts": ["h0"],
}


@pytest.mark.parametrize("path", VALUES)
def test_values(path):
    found = spec_of()
    for name in path.split("."):
        found = getattr(found, name)
    assert found == VALUES[path] and type(found) in (
        type(VALUES[path]),
        *type(VALUES[path]).__subclasses__(),
        frozenset,
    )


def test_devices():
    spec = spec_of()
    (cell,) = spec.numa_topology.cells
    assert (
        cell.id,
        cell.cpuset,
        cell.pcpuset,
        cell.memory,
        cell.pagesize,
        cell.cpu_policy,
        cell.cpu_thread_policy,
    ) == (0, {0}, {1}, 512, 2048, "mixed", "isolate")
    (asked,) = spec.pci_requests.requests
    assert (asked.count, asked.spec, asked.alias_name, asked.numa_policy) == (
        2,
        [{"vendor_id": "8086"}],
        "nic",
        "required",
    )


def test_hints_are_unwrapped():
    spec = spec_of()
    assert spec.get_scheduler_hint("same_host") == ["a", "b"] and spec.get_scheduler_hint("query") == "[]"
    assert spec.get_scheduler_hint("nothing") is None and spec.get_scheduler_hint("nothing", "x") == "x"


def test_little_is_asked():
    spec = spec_of(request(has_image=False))
    assert (spec.image, spec.numa_topology, spec.requested_destination, spec.instance_group) == (None, None, None, None)
    assert spec.pci_requests.requests == [] and spec.scheduler_hints == {}
    assert "network_metadata" not in spec


def test_the_group_has_the_members_that_the_log_knows():
    cloud = Asked(report("h1"), report("h2"), claim("vm-1", "h1", rule=rule("group", "spread", "h1", uuid_of("vm-1"))))
    cloud.in_flight.add(claim("vm-2", "h2", of("h2", 1), rule=rule("group", "spread", "h2", uuid_of("vm-2"))))
    found = spec_of(cloud=cloud).instance_group
    assert found.hosts == ["h0", "h1", "h2"] and set(found.members) == {uuid_of(f"vm-{number}") for number in range(3)}


@pytest.mark.parametrize(
    "name", ["num_instances", "retry", "limits", "security_groups", "requested_networks", "requested_resources"]
)
def test_what_is_not_recorded_is_unset(name):
    spec = spec_of()
    assert name not in spec and not spec.obj_attr_is_set(name)
    with pytest.raises(AttributeError, match=f"the RequestSpec of a decision has no '{name}', which is not recorded"):
        getattr(spec, name)


def test_image_properties_are_read_as_novas_are():
    properties = spec_of().image.properties
    assert properties.get("hw_cpu_cores") == 4 and properties.get("hw_vm_mode") is None and "hw_cpu_cores" in properties
    assert properties.get("hw_vm_mode", "hvm") == "hvm"


WRITES = {
    "an attribute": lambda spec: setattr(spec, "project_id", "other"),
    "a hint": lambda spec: spec.scheduler_hints.pop("query"),
    "an extra spec": lambda spec: spec.flavor.extra_specs.update(a="b"),
    "the flavor": lambda spec: setattr(spec.flavor, "vcpus", 1),
    "hosts": lambda spec: spec.ignore_hosts.append("h1"),
    "a deletion": lambda spec: delattr(spec, "image"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_can_be_written(write):
    with pytest.raises((TypeError, AttributeError), match="read-only"):
        write(spec_of())


def test_every_field_of_a_request_spec_is_there_or_named_as_unset():
    unset = {"id", "num_instances", "retry", "limits", "security_groups", "requested_networks", "requested_resources"}
    assert {name for name in objects.RequestSpec.fields if name not in spec_of()} == unset


def test_image_properties_come_back_as_they_were_sent():
    sent = objects.ImageMetaProps(
        hw_cpu_sockets=2,
        hw_boot_menu=False,
        traits_required=["A"],
        hw_numa_cpus=[{0}, {1, 2}],
        hw_numa_mem=[1, 2],
        img_hv_requested_version=">=1.0",
        os_type="linux",
        img_mappings=[{"a": None}],
        hw_machine_type="q35",
    )
    spec = request_spec(uuid_of("vm-1"), image=objects.ImageMeta(properties=sent))
    found = spec_of(request_from(spec, "req-1")).image.properties
    assert {name: getattr(found, name) for name in sent.obj_fields if sent.obj_attr_is_set(name)} == {
        name: getattr(sent, name) for name in sent.obj_fields if sent.obj_attr_is_set(name)
    }
