"""What the endpoint makes of requests beside the decision: cells by their uuid, and the policy of the moment."""

import pytest

from nova_sched.selection.policy import Policy
from nova_sched.service.endpoint import SchedulerEndpoint
from nova_sched.service.scheduler import Cell, Scheduler, cell0_of
from rpc_api import codec, events
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.cell_mapping import CellMapping
from rpc_api.objects.destination import Destination
from tests.engines import EPOCH, TinyCloud, uuid_of
from tests.service.specs import CONTEXT, spec

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
    scheduler = Scheduler("s", cell0_of("memory://endpoint-cell0"),
                          [Cell(cell, uuid_of(cell), f"memory://endpoint-{cell}") for cell in CELLS], Policy())
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


def selected(scheduler, instance, destination=None):
    """The hosts of the answer, the claimed one first."""
    asked = spec(uuid_of(instance), vcpus=1, memory_mb=0, disk_gb=0)
    asked.requested_destination = destination
    answer = SchedulerEndpoint(scheduler).select_destinations(
        CONTEXT, spec_obj=asked, instance_uuids=[uuid_of(instance)], return_objects=True, return_alternates=True)
    return [selection.service_host for selection in answer.result(20)[0]]


def cell_of(name, may_cross):
    return Destination(cell=CellMapping(uuid=uuid_of(name), name=name), allow_cross_cell_move=may_cross)


@pytest.mark.parametrize("name, may_cross, wanted", [
    (None, None, "b"), ("cell1", False, "a"), ("cell2", False, "b"), ("cell1", True, "a"), ("cell2", True, "b"),
])
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
