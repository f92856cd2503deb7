"""The scheduler as a real nova-conductor and nova-api meet it: nova's own clients, over RabbitMQ."""

import json
import signal
import time
import uuid

import pytest

from tests.against_nova.conftest import HERE, Peer, peer_python
from tests.end_to_end.processes import CELL_UUID, ServiceProcess, config_text, sections_for
from tests.servers import wait_until

pytestmark = [pytest.mark.nova, pytest.mark.rabbit]

#: Seconds in which a conductor wants to hear that a scheduler still works on its call.
SILENCE_MAX = 5
ANSWER_SECONDS_MAX = 60.0
SLOW = '''
import time


class SlowFilter:
    """Takes as long as the request says."""

    def filter_all(self, filter_obj_list, spec_obj):
        time.sleep(float(spec_obj.get_scheduler_hint("seconds", 0)))
        return filter_obj_list
'''
FILTERS = {
    "available_filters": "nova.scheduler.filters.all_filters\navailable_filters = slow_filter.SlowFilter",
    "enabled_filters": "ComputeFilter,SlowFilter",
}
OBJECTS = {"return_objects": True, "return_alternates": False}
ALTERNATES = {"return_objects": True, "return_alternates": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory, rabbit_server):
    """A scheduler and an agent of three hosts; gives the scheduler and the transport URL."""
    python = peer_python("nova")
    directory = tmp_path_factory.mktemp("wire")
    (directory / "slow_filter.py").write_text(SLOW)
    rabbit_server.add_vhost("wire")
    url = rabbit_server.url(vhost="wire")
    config = directory / "nova_sched.conf"
    config.write_text(config_text(sections_for(directory, DEFAULT={"transport_url": url}, filter_scheduler=FILTERS)))
    with (
        ServiceProcess(directory, "agent", "--config-file", str(config)),
        ServiceProcess(
            directory, "scheduler", "--config-file", str(config), env={"PYTHONPATH": str(directory)}
        ) as scheduler,
    ):
        scheduler.wait_ready()
        nova = directory / "nova.conf"
        nova.write_text(config_text({"DEFAULT": {"transport_url": url, "rpc_response_timeout": SILENCE_MAX}}))
        conductor = Peer(python, HERE / "nova_conductor.py", nova)
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while "error" in (reply := conductor.ask("select", [new()], 1, ALTERNATES)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "answer" in reply, (reply, scheduler.stderr[-2000:])
        yield scheduler, conductor
        conductor.close()


@pytest.fixture
def scheduler(site):
    return site[0]


@pytest.fixture
def conductor(site):
    return site[1]


def new():
    return str(uuid.uuid4())


def selected(conductor, *arguments):
    reply = conductor.ask("select", *arguments)
    assert "answer" in reply, reply
    return reply["answer"]


def hosts_of(selections):
    return [[one["host"] for one in of] for of in selections]


def test_one_instance(conductor):
    ((selection,),) = selected(conductor, [new()], 2, OBJECTS)
    assert selection["class"] == "nova.objects.selection.Selection"
    assert selection["cell_uuid"] == CELL_UUID and selection["node"] == selection["host"]
    assert selection["limits"] == {}  # to_dict() raises where one of its fields is unset
    (allocations,) = selection["allocation_request"]["allocations"].values()
    assert allocations == {"resources": {"VCPU": 2, "MEMORY_MB": 64, "DISK_GB": 1}}
    assert (selection["version"], selection["availability_zone"]) == ("1.36", "nova")
    # What the conductor hands on to older computes.
    assert selection["to_dict"]["host"] == selection["host"] and selection["to_dict"]["limits"] == {}


def test_alternates_are_other_hosts(conductor):
    (hosts,) = hosts_of(selected(conductor, [new()], 1, ALTERNATES))
    assert len(hosts) == len(set(hosts)) == 3


@pytest.mark.parametrize("options, instances", [(OBJECTS, 4), (ALTERNATES, 2), (ALTERNATES, 4)])
def test_many_instances(conductor, options, instances):
    selections = selected(conductor, [new() for _ in range(instances)], 1, options)
    chosen = {of[0] for of in hosts_of(selections)}
    assert len(selections) == instances
    for of in hosts_of(selections):
        # Of three hosts, those of no instance.
        assert len(of) == 1 + (3 - len(chosen) if options is ALTERNATES else 0) and not chosen & set(of[1:])
    # What a conductor hands to Placement, which takes no other key.
    assert all(one["allocation_request"].keys() == {"allocations", "mappings"} for of in selections for one in of)


def test_without_objects(conductor):
    # As Nova answers its older conductors: a flat list, without alternates.
    found = selected(conductor, [new(), new()], 1, {"return_objects": False, "return_alternates": True})
    assert [set(one) for one in found] == [{"host", "nodename", "limits"}] * 2


def test_no_valid_host(conductor):
    reply = conductor.ask("select", [new()], 1000, OBJECTS)
    assert reply["error"] == "nova.exception.NoValidHost", reply
    assert reply["message"].startswith("No valid host was found. There are not enough hosts available.\n")
    assert "File" not in reply["message"]


def test_a_request_that_makes_no_sense_is_refused_with_the_reason(conductor):
    reply = conductor.ask("select", ["x"], 1, OBJECTS)
    assert reply["error"] == "nova.exception.NoValidHost" and "is not a UUID" in reply["message"], reply


def test_a_filter_that_falls_over_is_an_error_without_a_traceback(conductor):
    reply = conductor.ask("select", [new()], 1, OBJECTS, None, {"seconds": ["many"]})
    assert "the filter SlowFilter raised an error for request" in reply["message"], reply
    assert "could not convert string to float" in reply["message"] and "Traceback" not in reply["message"]
    assert "answer" in conductor.ask("select", [new()], 1, OBJECTS)


def test_a_slow_call_lives_as_long_as_the_scheduler_is_heard(conductor):
    begun = time.monotonic()
    assert selected(conductor, [new()], 1, OBJECTS, None, {"seconds": [str(2.5 * SILENCE_MAX)]})
    assert time.monotonic() - begun > 2 * SILENCE_MAX


def test_a_call_ends_when_the_scheduler_is_not_heard_any_more(scheduler, conductor):
    scheduler.send(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        reply = conductor.ask("select", [new()], 1, OBJECTS)
    finally:
        scheduler.send(signal.SIGCONT)
    assert reply["error"] == "oslo_messaging.exceptions.MessagingTimeout"
    assert time.monotonic() - begun >= SILENCE_MAX
    assert selected(conductor, [new()], 1, OBJECTS)


def test_aggregates(conductor):
    aggregate, zone = new(), "az1"
    host = selected(conductor, [new()], 1, OBJECTS)[0][0]["host"]
    assert conductor.ask("select", [new()], 1, OBJECTS, zone)["error"] == "nova.exception.NoValidHost"
    assert conductor.ask("update_aggregate", aggregate, [host], {"availability_zone": zone}) == {"answer": None}
    reply = wait_until(lambda: _answered(conductor, zone), ANSWER_SECONDS_MAX, "the aggregate does not count")
    assert [(one["host"], one["availability_zone"]) for one in reply["answer"][0]] == [(host, zone)]
    assert conductor.ask("delete_aggregate", aggregate) == {"answer": None}
    wait_until(lambda: not _answered(conductor, zone), ANSWER_SECONDS_MAX, "the aggregate still counts")


def _answered(conductor, zone):
    reply = conductor.ask("select", [new()], 1, OBJECTS, zone)
    return reply if "answer" in reply else None


def test_the_log_of_the_scheduler_has_no_traceback(scheduler):
    assert "Traceback" not in scheduler.stderr, json.dumps(scheduler.stderr[-2000:])
