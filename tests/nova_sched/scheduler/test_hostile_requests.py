"""Requests that make no sense: each gets an answer of ours,
and the next good request is served as if nothing had been."""

import pytest

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, errors, events
from rpc_api.bus import LocalBus
from rpc_api.contracts.scheduler import TOPIC, VERSION, SchedulerAPI
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.instance_group import InstanceGroup
from rpc_api.objects.request_group import RequestGroup
from tests.builders import CONTEXT, EPOCH, request_spec, uuid_of
from tests.engines import TinyCloud
from tests.servers import wait_until

VM = uuid_of("vm")


def group(**fields):
    return InstanceGroup(
        **{"uuid": uuid_of("group"), "policy": "anti-affinity", "members": [], "hosts": [], "_rules": {}, **fields}
    )


def with_(**fields):
    """A spec with other fields."""
    made = request_spec(VM)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def with_extra(**extra_specs):
    made = request_spec(VM)
    made.flavor.extra_specs = extra_specs
    return made


def with_flavor(**fields):
    made = request_spec(VM)
    for name, value in fields.items():
        setattr(made.flavor, name, value)
    return made


#: what is wrong -> (spec, instance uuids)
HOSTILE = {
    "a limit of 30 digits": (with_(instance_group=group(_rules={"max_server_per_host": "9" * 30})), [VM]),
    "a limit that is not a number": (with_(instance_group=group(_rules={"max_server_per_host": "many"})), [VM]),
    "a limit beyond amounts": (with_(instance_group=group(_rules={"max_server_per_host": str(2**60)})), [VM]),
    "a group whose uuid is none": (with_(instance_group=group(uuid="ABCDEF00-0000-4000-8000-00000000000G")), [VM]),
    "a group of 200,001": (with_(instance_group=group(members=[VM] * 200_001)), [VM]),
    "half a character in the project": (with_(project_id="\ud800"), [VM]),
    "half a character in the flavor": (with_flavor(name="\ud800"), [VM]),
    "half a character in an extra spec": (with_extra(a="\ud800"), [VM]),
    "extra specs of 360 kB": (with_extra(**{f"key{n}": "x" * 60_000 for n in range(6)}), [VM]),
    "a resource class of 70,000 letters": (with_extra(**{"resources:" + "A" * 70_000: "1"}), [VM]),
    "a trait of 70,000 letters": (with_extra(**{"trait:" + "A" * 70_000: "required"}), [VM]),
    "100,000 hosts to ignore": (with_(ignore_hosts=[f"host-{n}" for n in range(100_000)]), [VM]),
    "a project of 70,000 letters": (with_(project_id="p" * 70_000), [VM]),
    "more than there can be": (with_flavor(vcpus=2**62), [VM]),
    "less than nothing": (with_flavor(vcpus=-1), [VM]),
    "an instance that is not a uuid": (request_spec(VM), ["vm"]),
    "an instance that is a number": (request_spec(VM), [7]),
    "an instance that is nothing": (request_spec(VM), [None]),
    "an instance twice": (request_spec(VM), [VM, VM]),
    "instances that are a map": (request_spec(VM), {"a": VM}),
    "instances that are a number": (request_spec(VM), 7),
    "instances that are a truth": (request_spec(VM), True),
    "a group in one of no aggregates": (
        with_(
            requested_resources=[
                RequestGroup(
                    requester_id="port",
                    resources={"VCPU": 1},
                    required_traits=set(),
                    forbidden_traits=set(),
                    aggregates=[[]],
                    in_tree=None,
                )
            ]
        ),
        [VM],
    ),
    "5,000 instances": (request_spec(VM), [uuid_of(f"{number}") for number in range(5_000)]),
    "a spec that is a map": ({"flavor": {}}, [VM]),
    "a spec that is a text": ("RequestSpec", [VM]),
    "no spec": (None, [VM]),
}


@pytest.fixture(scope="module")
def asked():
    """(scheduler, what asks it) of a cloud of one host of 4 VCPUs."""
    tiny, bus = TinyCloud(), LocalBus()
    tiny.host("a", vcpus=4)
    for name, log in tiny.logs.items():
        open_log(f"memory://hostile-{name}").append([record_of_opening(name), *log])
    scheduler = Scheduler(
        "s", cell0_of("memory://hostile-cell0"), [Cell("cell1", uuid_of("cell1"), "memory://hostile-cell1")], Policy()
    )
    scheduler.start().wait_ready()
    bus.serve(TOPIC, "s", [SchedulerEndpoint(scheduler)], VERSION)
    yield scheduler, SchedulerAPI(bus)
    scheduler.stop()


def record_of_opening(cell):
    return codec.encode_record(EPOCH, [codec.make_event(events.LogOpened(cell, EPOCH), "operator/test", 1, 1, 0)])


@pytest.mark.parametrize("wrong", sorted(HOSTILE))
def test_it_is_refused_and_the_next_one_is_served(asked, wrong):
    scheduler, api = asked
    request, uuids = HOSTILE[wrong]
    client = api._client
    with pytest.raises((NoValidHost, errors.NovaSchedError)) as refused:
        client.call(
            CONTEXT,
            "select_destinations",
            spec_obj=request,
            instance_uuids=uuids,
            return_objects=True,
            return_alternates=True,
            timeout=20,
        )
    said = str(refused.value)
    assert "fault of" not in said and not isinstance(refused.value, errors.ClaimTimeout), said
    assert scheduler.fault is None
    (good,) = {f"good {wrong}"}
    selected = api.select_destinations(
        CONTEXT, request_spec(uuid_of(good), vcpus=4, memory_mb=0, disk_gb=0), [uuid_of(good)]
    ).result(20)
    assert selected[0][0].service_host == "a"
    scheduler.call(
        lambda engine: engine.publish(
            "cell1",
            *[release(entry) for entries in engine.world.projections["cell1"].consumers.values() for entry in entries],
        )
    ).result(20)
    wait_until(
        lambda: not scheduler.call(lambda engine: len(engine.world.projections["cell1"].consumers)).result(20),
        20,
        "the claim was not released",
    )
    assert scheduler.call(lambda engine: int(engine.world.table.held.sum())).result(20) == 0


def release(entry):
    return events.ClaimReleased(entry.consumer_uuid, entry.claim_uuid, "the test is over")
