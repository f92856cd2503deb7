"""From a RequestSpec to a SchedulingRequest, one row a case."""

import pytest

from nova_sched.request.from_spec import request_from
from nova_sched.request.resource_groups import MAX_GROUPS
from rpc_api import errors, objects
from rpc_api.objects.cell_mapping import CellMapping
from tests.builders import flavor_of, request_spec, uuid_of

PLAIN = {"VCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 13}


def spec(extra_specs=None, image=None, flavor=None, **facts):
    """A RequestSpec; ``image`` are its properties."""
    size = {"name": "m1", "vcpus": 4, "memory_mb": 2048, "root_gb": 10, "ephemeral_gb": 1, "swap": 1025}
    if image is not None:
        facts.setdefault("image", objects.ImageMeta(disk_format="raw", properties=objects.ImageMetaProps(**image)))
    return request_spec(flavor=flavor_of(extra_specs=extra_specs, **(size | (flavor or {}))), **facts)


def asked(*arguments, **facts):
    return request_from(spec(*arguments, **facts), "req-1")


def groups_of(request):
    return {group.suffix: dict(group.resources) for group in request.groups}


FLAVORS = [
    # extra specs, image properties, other facts, resources by group
    ({}, None, {}, {"": PLAIN}),
    ({}, None, {"is_bfv": True}, {"": PLAIN | {"DISK_GB": 3}}),
    ({}, None, {"flavor": {"root_gb": 0, "ephemeral_gb": 0, "swap": 0}}, {"": {"VCPU": 4, "MEMORY_MB": 2048}}),
    (
        {"resources:VCPU": "0", "resources:CUSTOM_GOLD": "1", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"},
        None,
        {},
        {"": {"CUSTOM_GOLD": 1}},
    ),
    ({"resources:PCPU": "2"}, None, {}, {"": {"PCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 13}}),
    (
        {"resources1:VCPU": "2", "resources_X:VGPU": "1", "group_policy": "none"},
        None,
        {},
        {"": {"MEMORY_MB": 2048, "DISK_GB": 13}, "1": {"VCPU": 2}, "_X": {"VGPU": 1}},
    ),
    ({"resources1:VGPU": "0"}, None, {}, {"": PLAIN}),
    ({"hw:cpu_policy": "dedicated"}, None, {}, {"": {"PCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 13}}),
    (
        {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"},
        None,
        {},
        {"": {"PCPU": 5, "MEMORY_MB": 2048, "DISK_GB": 13}},
    ),
    ({}, {"hw_cpu_policy": "dedicated"}, {}, {"": {"PCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 13}}),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0-1"}, None, {}, {"": PLAIN | {"VCPU": 2, "PCPU": 2}}),
    (
        {"hw:cpu_policy": "mixed", "hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "3"},
        None,
        {},
        {"": PLAIN | {"VCPU": 3, "PCPU": 1}},
    ),
    (
        {"hw:cpu_policy": "dedicated"},
        {"hw_cpu_policy": "shared"},
        {},
        {"": {"PCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 13}},
    ),
    ({"hw:mem_encryption": "true"}, {"hw_firmware_type": "uefi"}, {}, {"": PLAIN | {"MEM_ENCRYPTION_CONTEXT": 1}}),
    (
        {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-9,^4-9,^0"},
        None,
        {},
        {"": PLAIN | {"VCPU": 1, "PCPU": 3}},
    ),
    (
        {"hw:pmem": "6GB, 4-k,6GB"},
        None,
        {},
        {"": PLAIN | {"CUSTOM_PMEM_NAMESPACE_6GB": 2, "CUSTOM_PMEM_NAMESPACE_4_K": 1}},
    ),
]


@pytest.mark.parametrize("extra_specs, image, facts, groups", FLAVORS)
def test_resources(extra_specs, image, facts, groups):
    assert groups_of(asked(extra_specs, image, **facts)) == groups


TRAITS = [
    # extra specs, image properties, required and forbidden traits of the unsuffixed group, required traits of the host
    ({}, None, [], [], []),
    ({"trait:CUSTOM_A": "required", "trait:CUSTOM_B": "forbidden"}, None, ["CUSTOM_A"], ["CUSTOM_B"], []),
    ({}, {"traits_required": ["CUSTOM_C", "CUSTOM_A"]}, ["CUSTOM_A", "CUSTOM_C"], [], []),
    ({"hw:cpu_thread_policy": "isolate"}, None, [], ["HW_CPU_HYPERTHREADING"], []),
    ({}, {"hw_cpu_thread_policy": "require"}, ["HW_CPU_HYPERTHREADING"], [], []),
    ({"hw:cpu_thread_policy": "prefer"}, {"hw_cpu_thread_policy": "require"}, [], [], []),
    (
        {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"},
        None,
        ["COMPUTE_SECURITY_TPM_2_0", "COMPUTE_SECURITY_TPM_CRB"],
        [],
        ["COMPUTE_SECURITY_TPM_SECRET_SECURITY_USER"],
    ),
    ({"os:secure_boot": "required"}, None, ["COMPUTE_SECURITY_UEFI_SECURE_BOOT"], [], []),
    ({"os:secure_boot": "optional"}, None, [], [], []),
    ({}, {"hw_firmware_stateless": True, "hw_firmware_type": "uefi"}, ["COMPUTE_SECURITY_STATELESS_FIRMWARE"], [], []),
    ({}, {"hw_firmware_stateless": True}, [], [], []),
    ({"hw:maxphysaddr_mode": "emulate"}, None, ["COMPUTE_ADDRESS_SPACE_EMULATED"], [], []),
    ({"hw:pci_numa_affinity_policy": "socket"}, None, ["COMPUTE_SOCKET_PCI_NUMA_AFFINITY"], [], []),
    ({"accel:device_profile": "gpu"}, None, [], [], ["COMPUTE_ACCELERATORS"]),
    ({}, {"hw_virtio_packed_ring": True}, [], [], ["COMPUTE_NET_VIRTIO_PACKED"]),
    ({"hw:sound_model": "virtio"}, None, [], [], ["COMPUTE_SOUND_MODEL_VIRTIO"]),
    (
        {"hw:ephemeral_encryption": "yes", "hw:ephemeral_encryption_format": "luks"},
        None,
        [],
        [],
        ["COMPUTE_EPHEMERAL_ENCRYPTION", "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS"],
    ),
]


@pytest.mark.parametrize("extra_specs, image, required, forbidden, root_required", TRAITS)
def test_traits(extra_specs, image, required, forbidden, root_required):
    request = asked(extra_specs, image)
    (group,) = request.groups
    assert (list(group.required_traits), list(group.forbidden_traits)) == (required, forbidden)
    assert list(request.root_required) == root_required


REFUSED = [
    ({"resources:VGPU": "many"}, None, "resources:VGPU is 'many'"),
    ({"resources:VGPU": "-1"}, None, "resources:VGPU is '-1'"),
    ({"resources:VGPU": "9999999999"}, None, "9999999999 of VGPU"),
    ({"resources:VGPU": "1_000"}, None, "'1_000'"),
    ({"trait:CUSTOM_A": "please"}, None, "trait:CUSTOM_A is 'please'"),
    ({"group_policy": "any"}, None, "group_policy 'any'"),
    ({"resources1:VGPU": "1", "resources2:VGPU": "1"}, None, "several request groups"),
    ({"hw:cpu_policy": "odd"}, None, "hw:cpu_policy .* 'odd'"),
    ({"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}, "contradiction"),
    ({"hw:cpu_thread_policy": "isolate"}, {"hw_cpu_thread_policy": "require"}, "contradiction"),
    ({"hw:cpu_thread_policy": ""}, {"hw_cpu_thread_policy": "require"}, "contradiction"),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-9"}, None, "names 9"),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "a"}, None, "names a"),
    ({"hw:mem_encryption": "no"}, {"hw_mem_encryption": True}, "contradiction"),
    ({"hw:tpm_version": "3"}, None, "tpm_version .* '3'"),
    ({"hw:tpm_version": "1.2", "hw:tpm_model": "tpm-crb"}, None, "'tpm-crb' with the tpm_version"),
    ({"resources:": "1"}, None, "'resources:' names no resource class"),
    ({"trait:": "required"}, None, "'trait:' names no"),
    ({"resources.1:VGPU": "1"}, None, "'resources.1:VGPU' names no"),
    ({f"trait{'a' * 65}:CUSTOM_A": "required"}, None, "names no resource class or trait"),
    ({"hw:emulator_threads_policy": "odd"}, None, "emulator_threads_policy .* 'odd'"),
    (
        {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-3"},
        None,
        "cpu_dedicated_mask .* some of its 4 CPUs and not all",
    ),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0,^0"}, None, "cpu_dedicated_mask .* some of its 4 CPUs"),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-999999999"}, None, "names 0-999999999"),
    (
        {"hw:cpu_policy": "mixed", "hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "0-3"},
        None,
        "cpu_realtime_mask '0-3'",
    ),
    ({"hw:cpu_policy": "mixed", "hw:cpu_realtime": "yes"}, None, "cpu_realtime_mask None"),
    ({"hw:mem_encryption": "yes"}, {"hw_firmware_type": "bios"}, "hw_firmware_type of the image is 'bios'"),
    ({"hw:mem_encryption": "yes"}, None, "hw_firmware_type of the image is None"),
    (
        {"hw:mem_encryption": "yes"},
        {"hw_firmware_type": "uefi", "hw_machine_type": "pc"},
        "hw_machine_type of the image is 'pc'",
    ),
    (
        {"hw:mem_encryption": "yes", "hw:mem_encryption_model": "amd-sev-snp"},
        {"hw_firmware_type": "uefi"},
        "hw_firmware_stateless of the image",
    ),
    (
        {"hw:mem_encryption": "yes", "hw:mem_encryption_model": "intel-tdx"},
        {"hw_firmware_type": "uefi", "hw_firmware_stateless": True},
        "hw_video_model of the image is None",
    ),
    (
        {f"resources{number}:VGPU": "1" for number in range(MAX_GROUPS + 1)} | {"group_policy": "none"},
        None,
        f"{MAX_GROUPS + 1} resource groups",
    ),
]


@pytest.mark.parametrize("extra_specs, image, message", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(extra_specs, image, message):
    with pytest.raises(errors.UsageError, match=message):
        asked(extra_specs, image)


def port(name, amount=100, **facts):
    return objects.RequestGroup(requester_id=name, resources={"NET_BW_EGR_KILOBIT_PER_SEC": amount}, **facts)


def test_groups_of_ports():
    group_of = port(
        "port-1", required_traits={"B", "A"}, aggregates=[["x", "y"]], forbidden_aggregates={"z"}, in_tree=uuid_of("h")
    )
    request = asked(requested_resources=[group_of, port("port-2", use_same_provider=False)])
    _, first, second = request.groups
    assert first[:1] + first[2:] == ("port-1", ("A", "B"), (), (), (("x", "y"),), ("z",), uuid_of("h"))
    assert groups_of(request)["port-2"] == {"NET_BW_EGR_KILOBIT_PER_SEC": 100} and second.suffix == "port-2"
    assert request.group_policy == "none", "groups of ports do without one"


@pytest.mark.parametrize(
    "ports",
    [
        [port(None)],
        [port("")],
        [port("1"), port("1")],
        [port("1", 2**31)],
        [port("1", -1)],
        [port("1", 0)],
        [objects.RequestGroup(requester_id="1")],
    ],
)
def test_groups_of_ports_that_make_no_sense(ports):
    with pytest.raises(errors.UsageError, match="requester_id|wanted 0 to|asks for nothing"):
        asked(requested_resources=ports)


@pytest.mark.parametrize("subtree", [["1", "2"], ["", "1"], ["1", "zero"]])
def test_a_subtree_of_groups_that_there_are_not(subtree):
    with pytest.raises(errors.UsageError, match="same_subtree of the request names"):
        asked(
            {"resources1:VGPU": "1", "resourceszero:VGPU": "0"},
            request_level_params=objects.RequestLevelParams(same_subtree=[subtree]),
        )


FALLBACKS = [
    # extra specs, image properties, resources by group to fall back on, traits of the unsuffixed one
    ({}, None, {}, ()),
    ({"hw:cpu_policy": "shared"}, None, {}, ()),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0"}, None, {}, ()),
    ({"hw:cpu_policy": "dedicated"}, None, {"": PLAIN}, ()),
    ({}, {"hw_cpu_policy": "dedicated"}, {"": PLAIN}, ()),
    (
        {
            "hw:cpu_policy": "dedicated",
            "hw:emulator_threads_policy": "isolate",
            "hw:cpu_thread_policy": "require",
            "trait:CUSTOM_A": "required",
        },
        None,
        {"": PLAIN},
        ("CUSTOM_A",),
    ),
    (
        {"hw:cpu_policy": "dedicated", "resources:PCPU": "2"},
        None,
        {"": {"PCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 13}},
        (),
    ),
    ({"hw:cpu_policy": "dedicated", "resources:PCPU": "4"}, None, {}, ()),
]


@pytest.mark.parametrize("extra_specs, image, groups, traits", FALLBACKS)
def test_what_pinned_guests_fall_back_on(extra_specs, image, groups, traits):
    found = asked(extra_specs, image).fallback_groups
    assert {group.suffix: dict(group.resources) for group in found} == groups
    assert tuple(trait for group in found for trait in group.required_traits + group.forbidden_traits) == traits


def test_the_destination():
    cell = CellMapping(uuid=uuid_of("cell"), name="cell1", transport_url="secret", database_connection="secret")
    request = asked(
        requested_destination=objects.Destination(
            host="a", node="n", cell=cell, aggregates=["x,y", "z"], forbidden_aggregates={"w", "v"}
        ),
        ignore_hosts=["b"],
        force_hosts=["c"],
        force_nodes=["d"],
        availability_zone="east",
    )
    assert (request.target_host, request.target_node, request.target_cell) == ("a", "n", uuid_of("cell"))
    assert (request.groups[0].member_of, request.groups[0].forbidden_aggregates) == ((("x", "y"), ("z",)), ("v", "w"))
    assert (request.ignore_hosts, request.force_hosts, request.force_nodes) == (("b",), ("c",), ("d",))
    assert request.availability_zone == "east" and "secret" not in str(request)


@pytest.mark.parametrize("may_cross, target, preferred", [(False, "cell", None), (True, None, "cell")])
def test_a_move_that_may_cross_cells_prefers_its_own(may_cross, target, preferred):
    cell = CellMapping(uuid=uuid_of("cell"), name="cell1")
    request = asked(requested_destination=objects.Destination(cell=cell, allow_cross_cell_move=may_cross))
    assert request.target_cell == (target and uuid_of(target))
    assert request.preferred_cell == (preferred and uuid_of(preferred))


def test_without_resources_traits_and_aggregates_are_asked_for_all_the_same():
    nothing = {"resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0", "resources1:VGPU": "1"}
    request = asked(
        nothing | {"trait:CUSTOM_A": "required", "trait:CUSTOM_B": "forbidden"},
        requested_destination=objects.Destination(aggregates=["x"]),
    )
    assert (request.root_required, request.root_forbidden) == ((), ())
    assert [
        (group.suffix, group.required_traits, group.forbidden_traits, group.member_of) for group in request.groups
    ] == [("", ("CUSTOM_A",), ("CUSTOM_B",), (("x",),)), ("1", (), (), ())]
    assert groups_of(asked(nothing)) == {"1": {"VGPU": 1}}


GROUPS = [
    # policy, rules, hints, the request's policy, limit, scope, partition
    ("anti-affinity", {}, {}, ("anti-affinity", 1, "host", None)),
    ("anti-affinity", {"max_server_per_host": "3"}, {}, ("anti-affinity", 3, "host", None)),
    ("affinity", {}, {}, ("affinity", 1, "host", None)),
    ("soft-affinity", {}, {}, ("soft-affinity", 1, "host", None)),
    ("fault-domain", {}, {"fault_domain": ["2"]}, ("fault-domain", 1, "rack", "2")),
    (
        "fault-domain",
        {"domain": "row", "max_domains": "2", "max_server_per_host": "9"},
        {},
        ("fault-domain", 2, "row", None),
    ),
]


@pytest.mark.parametrize("policy, rules, hints, wanted", GROUPS)
def test_server_groups(policy, rules, hints, wanted):
    group = objects.InstanceGroup(uuid=uuid_of("group"), policy=policy, _rules=rules, members=["m"], hosts=["h"])
    found = asked(instance_group=group, scheduler_hints=hints).server_group
    assert (found.policy, found.limit, found.scope, found.partition) == wanted
    assert (found.uuid, found.members, found.hosts) == (uuid_of("group"), ("m",), ("h",))


def test_server_groups_old_new_and_wrong():
    old = objects.InstanceGroup(uuid=uuid_of("group"), policies=["affinity"])
    assert asked(instance_group=old).server_group.policy == "affinity"
    assert asked(instance_group=objects.InstanceGroup(uuid=uuid_of("group"), policy=None)).server_group is None
    for facts in (
        {"policy": "odd"},
        {"policy": "anti-affinity", "_rules": {"max_server_per_host": "0"}},
        {"policy": "anti-affinity", "_rules": {"max_server_per_host": "x"}},
    ):
        with pytest.raises(errors.UsageError, match="server group"):
            asked(instance_group=objects.InstanceGroup(uuid=uuid_of("group"), **facts))


GROUPED = {"resources1:VGPU": "1", "resources2:VGPU": "1", "group_policy": "none"}


def test_the_rest():
    request = asked(
        GROUPED,
        {"hw_architecture": "x86_64", "hw_maxphysaddr_bits": 46, "hw_disk_bus": "virtio"},
        scheduler_hints={"_nova_check_type": ["rebuild"]},
        request_level_params=objects.RequestLevelParams(
            root_required={"B", "A"}, root_forbidden={"C"}, same_subtree=[["2", "1"]]
        ),
    )
    assert (request.request_id, request.project_id, request.flavor_name, request.check_only) == (
        "req-1",
        "p",
        "m1",
        True,
    )
    assert list(request.extra_specs.items()) == sorted(GROUPED.items())
    assert request.image_properties == {
        "hw_architecture": "x86_64",
        "hw_disk_bus": "virtio",
        "hw_maxphysaddr_bits": "46",
    }
    assert (request.disk_format, asked().disk_format, request.segments) == ("raw", None, ())
    assert (request.root_required, request.root_forbidden, request.same_subtree) == (("A", "B"), ("C",), (("1", "2"),))
    assert request == asked(
        dict(reversed(GROUPED.items())),
        {"hw_disk_bus": "virtio", "hw_maxphysaddr_bits": 46, "hw_architecture": "x86_64"},
        scheduler_hints={"_nova_check_type": ["rebuild"]},
        request_level_params=objects.RequestLevelParams(
            root_required={"A", "B"}, root_forbidden={"C"}, same_subtree=[["1", "2"]]
        ),
    )
