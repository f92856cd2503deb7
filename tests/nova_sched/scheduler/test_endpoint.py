"""What the endpoint makes of requests and casts beside the decision: cells by their uuid, the policy of the moment,
and where nova-compute says that instances are."""

import contextlib
import re

import pytest

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.errors import UsageError
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.aggregate import Aggregate
from rpc_api.objects.cell_mapping import CellMapping
from rpc_api.objects.destination import Destination
from rpc_api.objects.network import NetworkMetadata
from rpc_api.objects.numa import InstanceNUMACell, InstanceNUMATopology
from tests.builders import CONTEXT, EPOCH, inventory_of, report, request_spec, tree, uuid_of
from tests.engines import TinyCloud

CELLS = ("cell1", "cell2")
#: More VCPUs are better, so that hosts of cell2 are.
HOSTS = (("a1", "cell1", 8), ("a2", "cell1", 7), ("a3", "cell1", 6), ("b1", "cell2", 64), ("b2", "cell2", 63))


@pytest.fixture(scope="module")
def scheduler():
    tiny = TinyCloud(CELLS)
    for name, cell, vcpus in HOSTS:
        tiny.host(name, cell, vcpus)
    for name, log in tiny.logs.items():
        opened = codec.make_event(events.LogOpened(name, EPOCH), "operator/test", 1, 1, 0)
        open_log(f"memory://endpoint-{name}").append([codec.encode_record(EPOCH, [opened]), *log])
    scheduler = Scheduler(
        "s",
        cell0_of("memory://endpoint-cell0"),
        [Cell(cell, uuid_of(cell), f"memory://endpoint-{cell}") for cell in CELLS],
        Policy(),
    )
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


def selected(scheduler, instance, destination=None):
    """The hosts of the answer, the claimed one first."""
    asked = request_spec(uuid_of(instance), vcpus=1, memory_mb=0, disk_gb=0)
    asked.requested_destination = destination
    answer = SchedulerEndpoint(scheduler).select_destinations(
        CONTEXT, spec_obj=asked, instance_uuids=[uuid_of(instance)], return_objects=True, return_alternates=True
    )
    return [selection.service_host for selection in answer.result(20)[0]]


def cell_of(name, may_cross):
    return Destination(cell=CellMapping(uuid=uuid_of(name), name=name), allow_cross_cell_move=may_cross)


@pytest.mark.parametrize(
    "name, may_cross, wanted",
    [(None, None, "b"), ("cell1", False, "a"), ("cell2", False, "b"), ("cell1", True, "a"), ("cell2", True, "b")],
)
def test_a_destination_names_its_cell_by_uuid(scheduler, name, may_cross, wanted):
    found = selected(scheduler, f"vm {name} {may_cross}", name and cell_of(name, may_cross))
    assert {host[0] for host in found} == {wanted}


def test_a_move_that_may_cross_cells_does_where_its_own_has_no_host(scheduler):
    assert selected(scheduler, "vm away", cell_of("cell3", True))[0][0] == "b"
    with pytest.raises(NoValidHost, match="other cell|not enough"):
        selected(scheduler, "vm nowhere", cell_of("cell3", False))


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
def test_alternates_follow_the_policy_of_the_moment(scheduler, max_attempts):
    scheduler.set_policy(Policy(max_attempts=max_attempts)).result(20)
    assert len(selected(scheduler, f"vm {max_attempts}", cell_of("cell1", False))) == max_attempts


def instance_list(**system_metadata):
    """An InstanceList as it comes: it stays the primitive that it is."""
    return {
        "nova_object.name": "InstanceList",
        "nova_object.version": "2.6",
        "nova_object.data": {
            "objects": [
                {
                    "nova_object.name": "Instance",
                    "nova_object.version": "2.8",
                    "nova_object.data": {"uuid": uuid_of(name), "system_metadata": kept},
                }
                for name, kept in system_metadata.items()
            ]
        },
    }


def folded(scheduler, cell):
    """The projection of a cell when all that the scheduler said there is folded."""
    for _ in range(1000):
        done, known = scheduler.call(
            lambda engine: (scheduler.logs[cell].producer.sequence, engine.world.projections[cell])
        ).result(20)
        if known.producers.get(scheduler.name, (0, 0))[1] >= done:
            return known
        scheduler.call(lambda engine: None).result(20)
    raise AssertionError("the events were not folded")


def said_of(scheduler, host):
    """Instance -> image properties of what is tracked on a host of cell1."""
    return {uuid: one.image_properties for uuid, one in folded(scheduler, "cell1").tracked.of(host).items()}


def test_casts_of_nova_compute_say_where_instances_are(scheduler):
    endpoint = SchedulerEndpoint(scheduler)
    endpoint.update_instance_info(
        None,
        "a1",
        instance_list(
            x={"image_hw_disk_bus": "virtio", "image_hw_cdrom_bus": "no bus", "image_base_image_ref": "", "other": "1"},
            y={},
        ),
    )
    assert said_of(scheduler, "a1") == {uuid_of("x"): {"hw_disk_bus": "virtio"}, uuid_of("y"): {}}
    endpoint.delete_instance_info(None, "a1", uuid_of("y"))
    assert said_of(scheduler, "a1") == {uuid_of("x"): {"hw_disk_bus": "virtio"}}
    endpoint.sync_instance_info(None, "a1", [uuid_of("x"), uuid_of("z")])
    assert said_of(scheduler, "a1") == {uuid_of("x"): {"hw_disk_bus": "virtio"}, uuid_of("z"): {}}
    said = scheduler.logs["cell1"].producer.sequence
    endpoint.sync_instance_info(None, "a1", [uuid_of("z"), uuid_of("x")])
    endpoint.update_instance_info(None, "nowhere", instance_list(x={}))
    endpoint.delete_instance_info(None, "a1", uuid_of("y"))
    assert said_of(scheduler, "a1").keys() == {uuid_of("x"), uuid_of("z")}
    assert scheduler.logs["cell1"].producer.sequence == said, "what is known already is not said again"
    endpoint.sync_instance_info(None, "a1", [])
    assert said_of(scheduler, "a1") == {}


@pytest.mark.parametrize(
    "kept, wanted",
    [
        (
            {"image_architecture": "x86_64", "image_hypervisor_type": "kvm", "image_vm_mode": "hvm"},
            {"hw_architecture": "x86_64", "img_hv_type": "kvm", "hw_vm_mode": "hvm"},
        ),
        ({"image_architecture": "i686", "image_hw_architecture": "x86_64"}, {"hw_architecture": "x86_64"}),
        ({"image_vmware_adaptertype": "ide"}, {"hw_disk_bus": "ide"}),
        ({"image_vmware_adaptertype": "lsiLogic"}, {"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}),
        ({"image_vmware_ostype": "otherGuest"}, {"os_distro": "otherGuest"}),
    ],
)
def test_properties_of_an_image_under_their_old_names(scheduler, kept, wanted):
    endpoint = SchedulerEndpoint(scheduler)
    endpoint.update_instance_info(None, "a1", instance_list(old=kept))
    assert said_of(scheduler, "a1")[uuid_of("old")] == wanted
    endpoint.sync_instance_info(None, "a1", [])


def test_a_cast_that_names_an_instance_by_no_uuid_is_refused(scheduler):
    with pytest.raises(UsageError, match="have an id that is not a UUID"):
        SchedulerEndpoint(scheduler).sync_instance_info(None, "a1", ["one"])


def refused(scheduler):
    """Instances and reasons of the requests that cell0's log says were refused without a decision."""
    folded(scheduler, "cell0")
    with open_log("memory://endpoint-cell0") as log, log.read_from(0) as reader:
        said = [event.data for record in reader.read(1000) for event in codec.decode_record(record.payload).events]
    return [(one.request_id, one.instances, one.reason) for one in said if isinstance(one, events.RequestRefused)]


LARGE = Aggregate(
    uuid=uuid_of("large"), name="large", hosts=[f"compute-{number:060}" for number in range(16_000)], metadata={}
)
UNKNOWN = Aggregate(uuid=uuid_of("half"), name="half", hosts=["\ud800"], metadata={})


@pytest.mark.parametrize(
    "cast, arguments, told",
    [
        ("update_aggregates", {"aggregates": [LARGE]}, "the aggregate large is not noted: .* bytes, wanted at most"),
        ("update_aggregates", {"aggregates": [UNKNOWN]}, "the aggregate half is not noted: "),
        ("update_aggregates", {"aggregates": None}, "update_aggregates is not noted: .* cannot be read"),
        ("update_aggregates", {"aggregates": ["a"]}, "update_aggregates is not noted: .* cannot be read"),
        ("delete_aggregate", {"aggregate": None}, "delete_aggregate is not noted: .* cannot be read"),
        (
            "update_instance_info",
            {"host_name": "a1", "instance_info": []},
            "update_instance_info is not noted: .* cannot be read",
        ),
        (
            "sync_instance_info",
            {"host_name": "a1", "instance_uuids": 7},
            "sync_instance_info is not noted: .* cannot be read",
        ),
        (
            "sync_instance_info",
            {"host_name": ["a1"], "instance_uuids": []},
            "sync_instance_info is not noted: a host has the name",
        ),
        (
            "delete_instance_info",
            {"host_name": "a1", "instance_uuid": [1]},
            "delete_instance_info is not noted: .* not a UUID",
        ),
    ],
)
def test_a_cast_that_comes_to_nothing_is_told_of(scheduler, caplog, cast, arguments, told):
    """Nobody hears what a cast raises, and nova does not cast again."""
    with contextlib.suppress(UsageError):
        getattr(SchedulerEndpoint(scheduler), cast)(CONTEXT, **arguments)
    scheduler.call(lambda engine: None).result(20)
    assert re.search(told, caplog.text) and "Traceback" not in caplog.text
    assert scheduler.fault is None


def test_an_aggregate_that_cannot_be_noted_keeps_no_other_from_it(scheduler):
    good = Aggregate(uuid=uuid_of("good"), name="good", hosts=["a1"], metadata={})
    SchedulerEndpoint(scheduler).update_aggregates(CONTEXT, [LARGE, good])
    scheduler.call(lambda engine: None).result(20)
    known = folded(scheduler, "cell0").aggregates
    assert uuid_of("good") in known and uuid_of("large") not in known


@pytest.mark.parametrize(
    "name, hints, reason",
    [
        ("JsonFilter", {"query": ["[broken"]}, "the hint query '\\[broken' cannot be used"),
        ("SimpleCIDRAffinityFilter", {"build_near_host_ip": ["here"]}, "the hints build_near_host_ip 'here'"),
    ],
)
def test_a_hint_that_makes_no_sense_to_a_filter_refuses_the_request(scheduler, caplog, name, hints, reason):
    scheduler.set_policy(Policy(enabled_filters=(name,))).result(20)
    asked = request_spec(uuid_of(f"vm of {name}"), vcpus=1, memory_mb=0, disk_gb=0)
    asked.scheduler_hints = hints
    answer = SchedulerEndpoint(scheduler).select_destinations(CONTEXT, spec_obj=asked)
    with caplog.at_level("INFO"), pytest.raises(NoValidHost, match=reason):
        answer.result(20)
    assert f"request {CONTEXT.request_id} cannot be placed: the hint" in caplog.text
    assert [(one[0], one[1]) for one in refused(scheduler) if re.match(reason, one[2])] == [
        (CONTEXT.request_id, (asked.instance_uuid,))
    ]
    scheduler.set_policy(Policy()).result(20)
    assert SchedulerEndpoint(scheduler).select_destinations(CONTEXT, spec_obj=asked).result(20)


def test_a_request_that_cannot_be_read_is_on_record(scheduler):
    asked = request_spec(uuid_of("vm of FOO"), vcpus=1, memory_mb=0, disk_gb=0)
    asked.flavor.extra_specs = {"resources:FOO": "many"}
    with pytest.raises(NoValidHost, match="resources:FOO"):
        SchedulerEndpoint(scheduler).select_destinations(CONTEXT, spec_obj=asked).result(20)
    request_id, instances, reason = refused(scheduler)[-1]
    assert (request_id, instances) == (CONTEXT.request_id, (asked.instance_uuid,)) and "resources:FOO" in reason


def test_an_aggregate_whose_limit_is_no_number_is_warned_of(scheduler, caplog):
    told = Aggregate(uuid=uuid_of("agg"), name="slow", hosts=["a1"], metadata={"max_io_ops_per_host": "few"})
    SchedulerEndpoint(scheduler).update_aggregates(CONTEXT, [told])
    assert "aggregate slow: max_io_ops_per_host is 'few', wanted a whole number" in caplog.text


# --- NUMA topologies -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numa_scheduler():
    """A host with four CPUs for pinned guests, under the NUMATopologyFilter."""
    tiny = TinyCloud()
    tiny.append(
        "cell1",
        "compute_agent/numa",
        report(
            "numa",
            server="agents",
            inventory=tree(
                "numa",
                inventories=(
                    inventory_of("PCPU", 4),
                    inventory_of("VCPU", 4, ratio=3.0),
                    inventory_of("MEMORY_MB", 4096),
                ),
                numa_cells=(events.HostNUMACell(0, 0, (), (0, 1, 2, 3), ((0, 1), (2, 3)), 4096, ()),),
            ),
        ),
    )
    for name, log in tiny.logs.items():
        opened = codec.make_event(events.LogOpened(name, EPOCH), "operator/test", 1, 1, 0)
        open_log(f"memory://endpoint-numa-{name}").append([codec.encode_record(EPOCH, [opened]), *log])
    scheduler = Scheduler(
        "n",
        cell0_of("memory://endpoint-numa-cell0"),
        [Cell("cell1", uuid_of("cell1"), "memory://endpoint-numa-cell1")],
        Policy(enabled_filters=("NUMATopologyFilter",)),
    )
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


def pinned(scheduler, instance, policies=("dedicated",), networks=None, as_objects=True):
    asked = request_spec(uuid_of(instance), vcpus=2, memory_mb=512, disk_gb=0)
    asked.flavor.extra_specs = {"hw:cpu_policy": "dedicated"}
    asked.numa_topology = InstanceNUMATopology(
        cells=[
            InstanceNUMACell(
                id=number, cpuset=set(), pcpuset={2 * number, 2 * number + 1}, memory=512, cpu_policy=policy
            )
            for number, policy in enumerate(policies)
        ]
    )
    if networks:
        asked.network_metadata = NetworkMetadata(physnets=networks, tunneled=False)
    asked_for = SchedulerEndpoint(scheduler).select_destinations(
        CONTEXT, spec_obj=asked, instance_uuids=[uuid_of(instance)], return_objects=as_objects
    )
    (found,) = asked_for.result(20)
    return found[0] if as_objects else found


def test_a_selection_says_the_limits_of_its_numa_topology(numa_scheduler):
    limits = pinned(numa_scheduler, "vm-1", networks={"p"}).limits.numa_topology
    assert (limits.cpu_allocation_ratio, limits.ram_allocation_ratio) == (3.0, 1.0)
    assert (limits.network_metadata.physnets, limits.network_metadata.tunneled) == ({"p"}, False)
    legacy = pinned(numa_scheduler, "vm-2", as_objects=False)["limits"]
    assert legacy == {
        "numa_topology": limits.__class__(cpu_allocation_ratio=3.0, ram_allocation_ratio=1.0).obj_to_primitive()
    }
    with pytest.raises(NoValidHost) as refused:
        pinned(numa_scheduler, "vm-3")
    assert refused.value.summary == "0/1 hosts: 1 NUMA pinned CPUs"


def test_nodes_of_unlike_policies_are_no_request(numa_scheduler):
    with pytest.raises(NoValidHost, match="CPU policies dedicated, shared, wanted the same for all"):
        pinned(numa_scheduler, "vm-4", ("dedicated", None))
