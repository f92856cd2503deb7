"""What a request comes to before a host is looked at: ours against nova's own request filters and translation.

A case is made of plain values, from which both sides are built. Cases come in worlds, which have options, aggregates,
hosts and a Neutron.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_sched.filters import HostView
from nova_sched.filters.compute import ComputeStatusFilter
from nova_sched.filters.destination import AvailabilityZoneFilter, DestinationFilter
from nova_sched.projection.provider_columns import set_traits
from nova_sched.projection.table import HostTable, Profile
from nova_sched.request.from_spec import request_from
from nova_sched.request.networks import Networks, Port, with_networks
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import DEVICE_TRAITS, DISK_FORMATS, Refused, prefiltered
from rpc_api import errors, events, objects
from rpc_api.objects.image_meta import ImageMetaProps
from rpc_api.objects.network import NetworkRequest, NetworkRequestList
from tests.against_nova.conftest import running_peer
from tests.against_nova.shrink import shrink
from tests.builders import flavor_of, request, request_spec, uuid_of

pytestmark = pytest.mark.nova

SEED = 34
WORLDS = 240
CASES_A_WORLD = 55

OPTIONS = (
    "limit_tenants_to_placement_aggregate",
    "placement_aggregate_required_for_tenants",
    "query_placement_for_image_type_support",
    "enable_isolated_aggregate_filtering",
    "image_metadata_prefilter",
    "query_placement_for_routed_network_aggregates",
    "disable_fallback_pcpu_query",
)
CLASSES = ("VCPU", "PCPU", "MEMORY_MB", "DISK_GB", "VGPU", "CUSTOM_GOLD", "MEM_ENCRYPTION_CONTEXT")
TRAITS = ("HW_CPU_X86_AVX", "CUSTOM_A", "CUSTOM_B", "HW_CPU_HYPERTHREADING", "CUSTOM_C")
SUFFIXES = ("", "", "1", "2", "_NIC")
PROJECTS, ZONES = ("p1", "p2", "p3"), ("east", "west", "nova")
HOSTS = ("h1", "h2", "h3", "h4")
AGGREGATES = [uuid_of(f"aggregate {number}") for number in range(6)]
SEGMENTS = [uuid_of(f"segment {number}") for number in range(4)]
NETWORKS = [uuid_of(f"network {number}") for number in range(3)]
SUBNETS = [uuid_of(f"subnet {number}") for number in range(5)]
PORTS = [uuid_of(f"port {number}") for number in range(5)]
PCI = [uuid_of("pci 0"), uuid_of("pci 1")]
#: Options of flavor and image under one name, with the values that are drawn.
SHARED = {
    "cpu_policy": ("dedicated", "dedicated", "shared", "mixed"),
    "cpu_thread_policy": ("prefer", "isolate", "require"),
    "cpu_realtime_mask": ("^0", "1", "0-1", "^0-1", "0-9,^4-9"),
    "mem_encryption": ("true", "false"),
    "mem_encryption_model": ("amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"),
    "tpm_version": ("1.2", "2.0"),
    "tpm_model": ("tpm-tis", "tpm-crb"),
    "pci_numa_affinity_policy": ("socket", "required"),
    "maxphysaddr_mode": ("passthrough", "emulate"),
    "virtio_packed_ring": ("true", "no"),
    "ephemeral_encryption": ("true", "false"),
    "ephemeral_encryption_format": ("luks", "plain", "luksv2"),
    "sound_model": ("virtio", "usb"),
}
OF_FLAVOR = {
    "hw:cpu_dedicated_mask": ("^0", "0", "1-2", "0-3,^1"),
    "hw:cpu_realtime": ("yes", "no"),
    "hw:emulator_threads_policy": ("isolate", "share"),
    "hw:pmem": ("6GB", "6GB, 4-x,6GB", "", "groß,6GB"),
    "hw:tpm_secret_security": ("host", "deployment", "user"),
    "accel:device_profile": ("gpu", ""),
    "os:secure_boot": ("required", "optional"),
    "group_policy": ("none", "isolate"),
    "quota:x": ("1",),
    "resources:VCPU": ("0", "3"),
    "resources:PCPU": ("2",),
    "resources:MEMORY_MB": ("0",),
    "resources:DISK_GB": ("0", "7"),
}
ODD = {
    "hw:cpu_dedicated_mask": ("0-3", "0-5,^4-5", "7", "a-b"),
    "hw:emulator_threads_policy": ("odd",),
    "hw:tpm_secret_security": ("odd",),
    "os:secure_boot": ("odd",),
    "hw:maxphysaddr_mode": ("odd",),
    "hw:sound_model": ("odd",),
    "hw:tpm_version": ("3",),
    "hw:cpu_policy": ("odd",),
    "hw:cpu_thread_policy": ("odd",),
    "hw:pci_numa_affinity_policy": ("odd",),
    "hw:mem_encryption_model": ("odd",),
    "hw:cpu_realtime_mask": ("odd",),
}
OF_IMAGE = {
    "hw_firmware_type": ("uefi", "uefi", "bios"),
    "hw_firmware_stateless": ("true", "false"),
    "os_secure_boot": ("required", "optional"),
    "traits_required": (["CUSTOM_A"], ["CUSTOM_A", "CUSTOM_C"]),
    "hw_machine_type": ("q35", "pc-q35-2.11", "pc"),
}
DEVICES = {
    "hw_cdrom_bus": ("ide", "virtio"),
    "hw_disk_bus": ("scsi", "virtio"),
    "hw_video_model": ("none", "vga"),
    "hw_vif_model": ("e1000", "spapr-vlan"),
    "hw_architecture": ("x86_64", "armv7l"),
    "hw_emulation_architecture": ("ppc64le", "alpha"),
    "hw_viommu_model": ("virtio", "auto"),
}


# --- cases --------------------------------------------------------------------------------------------------------


def some(rng, choices, chance):
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < chance}


def random_world(rng):
    aggregates = []
    for uuid in rng.sample(AGGREGATES, rng.randrange(1, 7)):
        metadata = some(
            rng,
            {
                "availability_zone": ZONES,
                "filter_tenant_id": PROJECTS,
                "filter_tenant_id9": PROJECTS,
                "tenant": PROJECTS,
                "trait:CUSTOM_A": ("required", "required", "no"),
                "trait:CUSTOM_B": ("required",),
                "trait:HW_CPU_X86_AVX": ("required",),
            },
            0.2,
        )
        aggregates.append(
            {
                "uuid": uuid,
                "metadata": metadata,
                "hosts": rng.sample(HOSTS, rng.randrange(4)),
                "segment": rng.choice((None, None, *SEGMENTS)),
            }
        )
    return {
        "options": {name: rng.random() < (0.1 if name.startswith("placement") else 0.5) for name in OPTIONS},
        "aggregates": aggregates,
        "versions": [rng.choice((73, 74, rng.choice((0, 72, 73)))) for _ in HOSTS],
        "disabled": [rng.choice(("", "", "trait", "status")) for _ in HOSTS],
        "has_segments": rng.random() < 0.8,
        "subnets": {
            subnet: {"network": rng.choice(NETWORKS), "segment": rng.choice((None, *SEGMENTS))} for subnet in SUBNETS
        },
        "ports": {
            port: {
                "network": rng.choice(NETWORKS),
                "subnets": rng.sample(SUBNETS, rng.randrange(3)),
                "kind": rng.choice(("normal", "normal", "remote-managed")),
            }
            for port in PORTS
        },
    }


def random_case(rng):
    chance = rng.choice((0.0, 0.05, 0.15))
    extra_specs = some(rng, {f"hw:{name}": values for name, values in SHARED.items()}, chance)
    extra_specs |= some(rng, OF_FLAVOR, chance) | some(rng, ODD, 0.004)
    if rng.random() < 0.15:
        extra_specs |= {"hw:cpu_policy": "dedicated"}
    for _ in range(rng.choice((0, 0, 2, 5))):
        if rng.random() < 0.6:
            extra_specs[f"resources{rng.choice(SUFFIXES)}:{rng.choice(CLASSES)}"] = str(rng.randrange(4))
        else:
            extra_specs[f"trait{rng.choice(SUFFIXES)}:{rng.choice(TRAITS)}"] = rng.choice(("required", "forbidden"))
    properties = some(rng, OF_IMAGE, 2 * chance) | some(rng, DEVICES, rng.choice((0.0, 0.2)))
    properties |= {f"hw_{name}": value for name, value in some(rng, SHARED, chance * 0.7).items()}
    if len({key.partition(":")[0] for key in extra_specs}) > 2 and rng.random() < 0.9:
        extra_specs.setdefault("group_policy", "none")
    if "hw:mem_encryption" in extra_specs and rng.random() < 0.8:
        properties |= {"hw_firmware_type": "uefi", "hw_firmware_stateless": "true", "hw_machine_type": "q35"}
    pci = [{"id": one, "alias": rng.choice(("gpu", "gpu", None))} for one in rng.sample(PCI, rng.choice((0, 0, 1, 2)))]
    requested = [
        _random_group(rng, name)
        for name in rng.sample(
            ["port1", "port-2", *(f"{one['id']}-0" for one in pci), *(f"{one['id']}-1" for one in pci)],
            rng.choice((0, 0, 1, 2)),
        )
    ]
    return {
        "flavor": {
            "vcpus": rng.choice((1, 2, 4)),
            "memory_mb": rng.choice((512, 4096)),
            "root_gb": rng.choice((0, 10)),
            "ephemeral_gb": rng.choice((0, 5)),
            "swap": rng.choice((0, 1, 1024, 1025)),
            "extra_specs": extra_specs,
        },
        "image": {"disk_format": rng.choice(("qcow2", "raw", "docker", "rbd")), "properties": properties},
        "project": rng.choice(PROJECTS),
        "zone": rng.choice((None, *ZONES)),
        "is_bfv": rng.random() < 0.3,
        "requested": requested,
        "pci": pci,
        "destination": rng.choice(
            (
                None,
                None,
                {
                    "aggregates": rng.sample([AGGREGATES[0], f"{AGGREGATES[1]},{AGGREGATES[2]}"], rng.randrange(3)),
                    "forbidden": rng.sample(AGGREGATES[2:4], rng.randrange(3)),
                },
            )
        ),
        "networks": rng.choice((None, [_random_network(rng) for _ in range(rng.randrange(3))])),
        "root_required": rng.sample(("CUSTOM_ROOT", "OWNER_NOVA"), rng.choice((0, 0, 0, 1))),
        "root_forbidden": rng.sample(("CUSTOM_NO",), rng.choice((0, 0, 1))),
        "same_subtree": [rng.sample(("1", "2", "port1"), 2)] if rng.random() < 0.05 else [],
    }


def _random_group(rng, name):
    return {
        "id": name,
        "resources": {"NET_BW_EGR_KILOBIT_PER_SEC": rng.choice((0, 100))},
        "required": ["CUSTOM_PHYSNET_1"],
        "forbidden": rng.sample(TRAITS, rng.randrange(2)),
        "aggregates": [["a", "b"]] if rng.random() < 0.3 else [],
    }


def _random_network(rng):
    return {"port": rng.choice(PORTS)} if rng.random() < 0.5 else {"network": rng.choice(NETWORKS)}


# --- ours ---------------------------------------------------------------------------------------------------------


class Neutron(Networks):
    """Answers from a world."""

    def __init__(self, world):
        self.world = world

    def port(self, port_id):
        port = self.world["ports"][port_id]
        return Port(port["subnets"][0] if port["subnets"] else None, port["network"], port["kind"])

    def segments_of_network(self, network_id):
        return (
            [
                one["segment"]
                for one in self.world["subnets"].values()
                if one["network"] == network_id and one["segment"]
            ]
            if self.world["has_segments"]
            else []
        )

    def segment_of_subnet(self, subnet_id):
        return self.world["subnets"][subnet_id]["segment"] if self.world["has_segments"] else None


class World:
    """A world as we have it: a table with its hosts and aggregates, the policy, a Neutron."""

    def __init__(self, world):
        self.neutron = Neutron(world)
        self.policy = Policy(**world["options"])
        self.table = table = HostTable()
        for name, version, disabled in zip(HOSTS, world["versions"], world["disabled"], strict=True):
            row = table.add_row(uuid_of(name), name, None, -1)
            table.is_host[row] = True
            table.row_of_host[name], table.trees[row] = row, (row,)
            table.host_names[row] = table.node_names[row] = name
            table.profile[row] = table.profiles.id_of(Profile("QEMU", 1, "", (("service_version", str(version)),), ()))
            table.disabled[row] = disabled == "status"
            set_traits(table, row, ["COMPUTE_STATUS_DISABLED"] if disabled == "trait" else [])
        for number, one in enumerate(world["aggregates"]):
            named, metadata = "any", dict(one["metadata"])
            if one["segment"] and number % 2:
                named = f"Neutron segment id {one['segment']}"
            elif one["segment"]:
                metadata["segment_id"] = one["segment"]
            table.aggregates[one["uuid"]] = events.AggregateUpdated(one["uuid"], named, tuple(one["hosts"]), metadata)
        self.hosts = HostView(table, table.roots())

    def refused(self, one, request):
        """Hosts that a filter refuses."""
        return {
            HOSTS[row]
            for refusal in one.refusals(self.hosts, request, self.policy, None)
            for row in self.hosts.rows[refusal.hosts]
        }


def spec_of(case):
    image, destination = case["image"], case["destination"]
    spec = request_spec(
        flavor=flavor_of(**case["flavor"]),
        image=objects.ImageMeta(
            name="i", disk_format=image["disk_format"], properties=ImageMetaProps(**image["properties"])
        ),
        project_id=case["project"],
        availability_zone=case["zone"],
        scheduler_hints={},
        is_bfv=case["is_bfv"],
        requested_destination=destination
        and objects.Destination(
            aggregates=destination["aggregates"] or None, forbidden_aggregates=set(destination["forbidden"]) or None
        ),
        requested_resources=[
            objects.RequestGroup(
                requester_id=one["id"],
                resources=one["resources"],
                required_traits=set(one["required"]),
                forbidden_traits=set(one["forbidden"]),
                aggregates=one["aggregates"],
            )
            for one in case["requested"]
        ],
        request_level_params=objects.RequestLevelParams(
            root_required=set(case["root_required"]),
            root_forbidden=set(case["root_forbidden"]),
            same_subtree=case["same_subtree"],
        ),
        pci_requests=objects.InstancePCIRequests(
            requests=[
                objects.InstancePCIRequest(
                    count=1, spec=[], alias_name=one["alias"], request_id=one["id"], requester_id=None, numa_policy=None
                )
                for one in case["pci"]
            ]
        ),
    )
    if case["networks"] is not None:
        spec.requested_networks = NetworkRequestList(
            objects=[NetworkRequest(network_id=one.get("network"), port_id=one.get("port")) for one in case["networks"]]
        )
    return spec


def ours(world, case):
    """What a case comes to, in the form of nova's answer; a text where it is refused."""
    spec = spec_of(case)
    try:
        request = with_networks(
            request_from(spec, "req-1"), spec, world.neutron, world.policy.query_placement_for_routed_network_aggregates
        )
    except errors.UsageError as refusal:
        return str(refusal)
    request = prefiltered(request, world.table, world.policy)
    if isinstance(request, Refused):
        return str(request.reason)
    zone = AvailabilityZoneFilter()
    return {
        "groups": _groups(request.groups),
        "fallback": _groups(request.fallback_groups) if request.fallback_groups else None,
        "policy": request.group_policy or None,
        "root_required": list(request.root_required),
        "root_forbidden": list(request.root_forbidden),
        "same_subtree": [list(one) for one in request.same_subtree],
        "refused by zone": world.refused(zone, request),
        "refused by status": world.refused(ComputeStatusFilter(), request),
    }


def _groups(groups):
    return {
        group.suffix: {
            "resources": {item.resource_class: item.amount for item in group.resources},
            "required": list(group.required_traits),
            "forbidden": list(group.forbidden_traits),
            "member_of": sorted(map(list, {tuple(sorted(set(one))) for one in group.member_of})),
            "forbidden_aggregates": list(group.forbidden_aggregates),
            "in_tree": group.in_tree,
        }
        for group in groups
    }


# --- nova's, with the differences that docs/differences lists -------------------------------------------------------


def theirs(world, case, answer):
    """Nova's answer in the form of ours; None where it refuses."""
    if "error" in answer or _refused_by_placement(answer):
        return None
    answer = dict(answer)
    devices, zone = answer.pop("devices"), answer.pop("zone")
    # Nova drops all devices of an image where there is no trait for one of them.
    if world["options"]["image_metadata_prefilter"] and not devices["nova_takes_them"]:
        answer["root_required"] = sorted({*answer["root_required"], *devices["traits"]})
    # We look at the hosts themselves for what these two ask Placement.
    answer["root_forbidden"].remove("COMPUTE_STATUS_DISABLED")
    answer["refused by status"] = {host for host, how in zip(HOSTS, world["disabled"], strict=True) if how}
    members = {one["uuid"]: set(one["hosts"]) for one in world["aggregates"]}
    answer["refused by zone"] = set()
    if zone:
        answer["refused by zone"] = set(HOSTS) - set().union(*(members[uuid] for uuid in zone))
    if case["zone"] and (not zone or case["zone"] == "nova"):
        # A zone that no aggregate has is none of nova's business; hosts that no aggregate puts in a zone are in nova.
        of_zone = {
            host
            for one in world["aggregates"]
            if one["metadata"].get("availability_zone") == case["zone"]
            for host in one["hosts"]
        }
        unplaced = set(HOSTS) - {
            host for one in world["aggregates"] if "availability_zone" in one["metadata"] for host in one["hosts"]
        }
        answer["refused by zone"] = set(HOSTS) - of_zone - (unplaced if case["zone"] == "nova" else set())
    if answer["fallback"] == answer["groups"]:
        answer["fallback"] = None
    del answer["did"]
    return answer


def _refused_by_placement(answer):
    """Groups without a policy, subtrees of groups that there are not, and no resources at all are malformed to
    Placement."""
    suffixes = {name for name in answer["groups"] if name}
    return (
        (answer["policy"] is None and len(suffixes) > 1)
        or any(set(one) - suffixes for one in answer["same_subtree"])
        or not any(group["resources"] for group in answer["groups"].values())
    )


# --- the comparison -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nova():
    yield from running_peer("nova", "nova_prefilters.py")


def difference(nova, world, case, answer=None, built=None):
    """What differs, None where nothing does."""
    if answer is None:
        answer = nova.ask("prefiltered", world, [case])["answer"][0]
    wanted, found = theirs(world, case, answer), ours(built or World(world), case)
    if wanted is None:
        return None if isinstance(found, str) else ("nova refuses", answer, found)
    if isinstance(found, dict):
        found, wanted = ({name: one[name] for name in wanted if found[name] != wanted[name]} for one in (found, wanted))
    return None if wanted == found else (wanted, found)


def ahead(nova, worlds):
    """Nova's replies; it works on the next one while we look at one."""
    with ThreadPoolExecutor(1) as pool:
        yield from pool.map(lambda one: nova.ask("prefiltered", *one), worlds)


PLAIN_WORLD = {"options": {}, "aggregates": [], "versions": [0] * len(HOSTS), "disabled": [""] * len(HOSTS)}
PLAIN_CASE = {
    "flavor": {"vcpus": 1, "memory_mb": 1, "root_gb": 0, "ephemeral_gb": 0, "swap": 0},
    "image": {"disk_format": "raw", "properties": {}},
    "zone": None,
    "is_bfv": False,
    "requested": [],
    "pci": [],
    "destination": None,
    "networks": None,
    "root_required": [],
    "root_forbidden": [],
    "same_subtree": [],
}


def smallest(both, differs):
    """The smallest world and case of a difference: parts that do not matter are made plain before they are left out."""
    for number, plain in enumerate((PLAIN_WORLD, PLAIN_CASE)):
        for name, value in plain.items():
            plainer = [dict(one) for one in both]
            plainer[number][name] = value
            both = plainer if differs(plainer) else both
    return shrink(both, differs)


def kind_of(found):
    """So that what is shrunk is the same difference."""
    if found is None or len(found) == 3:
        return found and found[0]
    return "ours refuses" if isinstance(found[1], str) else "differ"


def test_requests_are_novas(nova):
    print(f"seed {SEED}, {WORLDS * CASES_A_WORLD} cases")
    rng = random.Random(SEED)
    did, refused, fallen_back, met = {}, 0, 0, 0
    worlds = [(random_world(rng), [random_case(rng) for _ in range(CASES_A_WORLD)]) for _ in range(WORLDS)]
    for (world, cases), reply in zip(worlds, ahead(nova, worlds), strict=True):
        assert "error" not in reply, reply
        built = World(world)
        for case, answer in zip(cases, reply["answer"], strict=True):
            kind = kind_of(difference(nova, world, case, dict(answer), built))
            if kind is not None:
                found = smallest([world, case], lambda both, kind=kind: kind_of(difference(nova, *both)) == kind)
                pytest.fail(f"seed {SEED}: {found}\n{difference(nova, *found)}")
            refused += "error" in answer
            met += "error" not in answer
            fallen_back += bool(answer.get("fallback"))
            for name in answer.get("did", ()):
                did[name] = did.get(name, 0) + 1
    print(did, refused, met, fallen_back)
    assert len(did) == 14 and min(did.values()) >= 100, did
    assert refused > 1000 and met >= 10_000 and fallen_back > 500, (refused, met, fallen_back)


def test_traits_of_images_are_those_that_there_are(nova):
    known = set(nova.ask("known")["answer"])
    assert {f"COMPUTE_IMAGE_TYPE_{one.upper()}" for one in DISK_FORMATS} == {
        one for one in known if one.startswith("COMPUTE_IMAGE_TYPE_")
    }
    for name, (prefix, values) in DEVICE_TRAITS.items():
        possible = ImageMetaProps.fields[name]._type._valid_values
        there = {one for one in possible if prefix + one.replace("-", "_").upper() in known}
        assert there == set(possible if values is None else values), name


# --- hosts by name ------------------------------------------------------------------------------------------------

NAMES = ("a", "A", "b", "c", "d")
NODES = {name: f"node-{name}" for name in NAMES}


def random_destination(rng):
    def names(chance):
        return rng.sample((*NAMES, "B", "D", "x"), rng.randrange(1, 3)) if rng.random() < chance else None

    hosts = [[name, NODES[name]] for name in rng.sample(NAMES, rng.randrange(1, 6))]
    target = rng.choice((None, None, rng.choice(hosts)[0], "x"))
    return {
        "hosts": hosts,
        "ignore_hosts": names(0.4),
        "force_hosts": names(0.3),
        "force_nodes": rng.sample((*NODES.values(), "NODE-a"), 2) if rng.random() < 0.3 else None,
        "check": rng.choice((None, ["rebuild"])),
        "target_host": target,
        "target_node": rng.choice((None, NODES.get(target))) if target else None,
    }


def narrowed(case):
    table = HostTable()
    for host, node in case["hosts"]:
        row = table.add_row(uuid_of(node), node, None, -1)
        table.is_host[row] = True
        table.row_of_host[host], table.host_names[row], table.node_names[row] = row, host, node
    asked = request(
        force_hosts=tuple(case["force_hosts"] or ()),
        force_nodes=tuple(case["force_nodes"] or ()),
        ignore_hosts=tuple(case["ignore_hosts"] or ()),
        target_host=case["target_host"],
        target_node=case["target_node"],
    )
    hosts = HostView(table, table.roots())
    refused = set()
    for refusal in DestinationFilter().refusals(hosts, asked, Policy(), None):
        refused.update(hosts.rows[refusal.hosts].tolist())
    return sorted(table.node_names[row] for row in hosts.rows.tolist() if row not in refused)


def test_hosts_by_name_are_novas(nova):
    rng = random.Random(SEED)
    cases = [random_destination(rng) for _ in range(10_000)]
    reply = nova.ask("destinations", cases)
    assert "error" not in reply, reply
    some_left = 0
    for case, answer in zip(cases, reply["answer"], strict=True):
        if narrowed(case) != answer:
            found = shrink(case, lambda one: narrowed(one) != nova.ask("destinations", [one])["answer"][0])
            pytest.fail(f"seed {SEED}: {found}, ours {narrowed(found)}")
        some_left += 0 < len(answer) < len(case["hosts"])
    assert 2000 < some_left < 9000, some_left
