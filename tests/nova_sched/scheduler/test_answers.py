"""What a conductor is answered: selections in Placement's form, and errors that say whether hosts were looked at."""

import json
import threading

import pytest

from nova_sched.scheduler.endpoint import allocation_request
from nova_sched.scheduler.placing import Placed
from nova_sched.scheduler.unavailable import told_of
from rpc_api import concurrency, errors, events, nova_exception
from rpc_api.contracts.scheduler import WITH_TERMS
from rpc_api.nova_exception import NoValidHost, ServiceUnavailable
from tests.builders import inventory_of, of, report, request_spec, tree, uuid_of
from tests.nova_sched.scheduler.answering import HOSTS, SECONDS_MAX, World, with_extra, with_group
from tests.servers import wait_until


@pytest.fixture(scope="module")
def world():
    with World(*HOSTS) as world:
        yield world


FLAT = {"allocations": {uuid_of("a"): {"resources": {"VCPU": 2, "MEMORY_MB": 512}}}, "mappings": {"": [uuid_of("a")]}}


# --- allocation_request --------------------------------------------------------------------------------------------


def test_it_is_what_placement_takes(world):
    asked = request_spec(uuid_of("vm flat"), disk_gb=0)
    asked.force_hosts = ["a"]
    ((selection,),) = world.selected(asked)
    assert json.loads(selection.allocation_request) == FLAT
    assert selection.allocation_request_version == "1.36"


def test_groups_say_which_provider_serves_them(world):
    ((selection,),) = world.selected(with_group(request_spec(uuid_of("vm group"), disk_gb=0)))
    assert json.loads(selection.allocation_request) == {
        "allocations": {
            uuid_of("tree"): {"resources": {"VCPU": 2, "MEMORY_MB": 512}},
            uuid_of("nic"): {"resources": {"NET_BW_EGR_KILOBIT_PER_SEC": 10}},
        },
        "mappings": {"": [uuid_of("tree")], "port-1": [uuid_of("nic")]},
    }


def test_no_mappings_are_left_out():
    """Placement refuses an empty one."""
    placed = Placed("vm", "cell1", "a", "a", uuid_of("a"), "nova", (of("a", 2),), {}, None, None)
    assert json.loads(allocation_request(placed)) == {"allocations": {uuid_of("a"): {"resources": {"VCPU": 2}}}}


def test_alternates_have_the_same_form(world):
    (one,) = world.selected(request_spec(uuid_of("vm alternates"), disk_gb=0))
    assert len(one) == 3
    for selection in one:
        request = json.loads(selection.allocation_request)
        assert request.keys() == {"allocations", "mappings"}
        assert request["mappings"] == {"": list(request["allocations"])}
        assert "null" not in selection.allocation_request


@pytest.mark.parametrize(
    "gives, asks, has",
    [
        (False, None, False),
        (False, {"other": 1}, False),
        (False, WITH_TERMS, True),
        (True, None, True),
        (False, "text", False),
        (True, WITH_TERMS, True),
    ],
)
def test_terms_are_given_to_whoever_asks_and_where_our_api_takes_them(world, gives, asks, has):
    world.endpoint.gives_terms = gives
    for one in world.selected(request_spec(uuid_of(f"vm {gives} {asks}"), disk_gb=0), filter_properties=asks)[0]:
        request = json.loads(one.allocation_request)
        assert ("nova_sched" in request) is has and request.keys() - {"nova_sched"} == {"allocations", "mappings"}
    world.endpoint.gives_terms = False


def test_a_rebuild_claims_nothing(world):
    asked = request_spec(uuid_of("vm rebuild"), disk_gb=0)
    asked.scheduler_hints = {"_nova_check_type": ["rebuild"]}
    ((selection,),) = world.selected(asked, alternates=False)
    assert (selection.allocation_request, selection.allocation_request_version) == (None, None)


@pytest.mark.parametrize(
    "extra_specs",
    [{}, {"resources:VCPU": "0"}, {"resources:MEMORY_MB": "1"}, {"resources_A:VCPU": "1", "group_policy": "none"}],
)
def test_amounts_are_whole_numbers_from_one(world, extra_specs):
    asked = with_extra(
        request_spec(uuid_of(f"vm {sorted(extra_specs)}"), vcpus=1, memory_mb=16, disk_gb=0), **extra_specs
    )
    for selection in world.selected(asked)[0]:
        request = json.loads(selection.allocation_request)
        for held in request["allocations"].values():
            assert held.keys() == {"resources"} and held["resources"]
            assert all(type(amount) is int and amount >= 1 for amount in held["resources"].values())
        assert request["mappings"] and all(request["mappings"].values())


def test_a_request_for_no_resources_finds_no_host(world):
    """As with Placement, which answers such a question with 400."""
    nothing = {"resources:VCPU": "0", "resources:MEMORY_MB": "0"}
    asked = with_extra(request_spec(uuid_of("vm nothing"), disk_gb=0), **nothing)
    with pytest.raises(nova_exception.NovaException, match="ask for no resources, wanted some") as met:
        world.selected(asked)
    assert type(met.value).__name__ == "NoValidHost"
    asked.scheduler_hints = {"_nova_check_type": ["rebuild"]}
    assert world.selected(asked, alternates=False)


# --- infrastructure that fails -------------------------------------------------------------------------------------


def refused(asked, kind=ServiceUnavailable):
    """The error of a call, which is never NoValidHost and reads well to a user."""
    with pytest.raises(nova_exception.NovaException) as met:
        asked.result(SECONDS_MAX)
    assert type(met.value) is kind and kind.__module__ == "nova.exception"
    text = str(met.value)
    assert text.startswith("Service is unavailable at this time. Request req-") and text.endswith("Try again later.")
    assert "valid host" not in text and "memory://" not in text
    return text


def test_a_scheduler_without_memory(world, monkeypatch):
    def read(*_):
        raise MemoryError

    monkeypatch.setattr("nova_sched.scheduler.endpoint.request_from", read)
    try:
        refused(world.ask())
        assert concurrency.death()
    finally:
        concurrency.forget_deaths()


def test_a_scheduler_that_stops():
    with World(*HOSTS) as world:
        world.scheduler.stop()
        assert "the scheduler is stopping" in refused(world.ask())


def test_who_waits_when_a_scheduler_stops_is_told():
    with World(*HOSTS) as world:
        entered, held = threading.Event(), threading.Event()
        world.scheduler.call(lambda engine: entered.set() or held.wait(SECONDS_MAX))
        assert entered.wait(SECONDS_MAX)
        asked = [world.ask() for _ in range(3)]
        stopping = threading.Thread(target=world.scheduler.stop)
        stopping.start()
        wait_until(lambda: world.scheduler._stopping, SECONDS_MAX, "it does not stop")
        held.set()
        for one in asked:
            assert "the scheduler is stopping" in refused(one)
        stopping.join(SECONDS_MAX)


def test_a_scheduler_that_fell_over():
    with World(*HOSTS) as world:
        world.scheduler.engine.on_tick = None
        wait_until(lambda: world.scheduler.fault, SECONDS_MAX, "it goes on")
        assert "the scheduler met an internal fault" in refused(world.ask())


def test_a_configuration_that_is_wrong_does_not_blame_the_request():
    with World(*HOSTS) as world:

        def break_it(engine):
            def on_tick():
                raise errors.UsageError("[cells] is wrong")

            engine.on_tick = on_tick

        world.scheduler.call(break_it).result(SECONDS_MAX)
        wait_until(lambda: world.scheduler.fault, SECONDS_MAX, "it goes on")
        assert "the scheduler met an internal fault" in refused(world.ask())


def test_an_answer_that_cannot_be_made(world, monkeypatch):
    monkeypatch.setattr("nova_sched.scheduler.endpoint.allocation_request", lambda *_: 1 / 0)
    assert "the scheduler met an internal fault" in refused(world.ask(request_spec(uuid_of("vm answer"), disk_gb=0)))


def test_a_fault_before_the_request_is_queued(world, monkeypatch):
    monkeypatch.setattr("nova_sched.scheduler.endpoint.with_networks", lambda *_: 1 / 0)
    with pytest.raises(ServiceUnavailable, match="the scheduler met an internal fault"):
        world.ask()


def test_a_log_that_cannot_be_appended_to(world, monkeypatch):
    def publish(cell, *data):
        raise errors.LogUnavailable(f"the log {world.url(cell)} is full")

    monkeypatch.setattr(world.scheduler.engine, "publish", publish)
    assert "cannot read or append to a log" in refused(world.ask(request_spec(uuid_of("vm full"), disk_gb=0)))


def test_claims_that_are_not_read_back():
    with World(*HOSTS, claim_timeout=0.5) as world:
        world.scheduler._publish = world.scheduler.engine.publish = lambda cell, *data: (1, 10**9)
        assert "a claim was not confirmed in time" in refused(world.ask())


@pytest.mark.parametrize(
    "down, known, vcpus, kind",
    [
        (("cell1", "cell2"), True, 2, ServiceUnavailable),
        (("cell1", "cell2"), True, 99, ServiceUnavailable),
        (("cell2",), True, 64, ServiceUnavailable),
        (("cell2",), True, 99, NoValidHost),
        (("cell2",), False, 64, ServiceUnavailable),
        ((), True, 99, NoValidHost),
    ],
    ids=[
        "all cells",
        "all cells, too large",
        "the one with room",
        "no cell has room",
        "one of which nothing is known",
        "none",
    ],
)
def test_cells_that_are_down(down, known, vcpus, kind):
    with World(*HOSTS[:1], cells=("cell1", "cell2")) as world:
        if known:
            world.say(
                report(
                    "large",
                    inventory=tree("large", inventories=(inventory_of("VCPU", 64), inventory_of("MEMORY_MB", 4096))),
                ),
                cell="cell2",
            )
            hosts = world.scheduler.engine.world.projections["cell2"].hosts
            wait_until(lambda: "large" in hosts, SECONDS_MAX, "the report is not read")

        def take_down(engine):
            for cell in down:
                engine.on_fault(cell, errors.LogUnavailable("gone"))
                engine.states.close(cell)
            engine.cell_down_after = 0.0

        world.scheduler.call(take_down).result(SECONDS_MAX)
        asked = world.ask(request_spec(uuid_of("vm"), vcpus=vcpus, disk_gb=0))
        if kind is NoValidHost:
            with pytest.raises(NoValidHost, match="There are not enough hosts available"):
                asked.result(SECONDS_MAX)
        else:
            assert "cells where it could go cannot be reached" in refused(asked)


# --- which class -----------------------------------------------------------------------------------------------------


def test_a_host_that_is_down_is_lost():
    with World(*HOSTS[:2], report("off", forced_down=True)) as world:
        world.say(events.HostLost("b", "no heartbeat"))
        wait_until(lambda: world.endpoint._is_lost("b"), SECONDS_MAX, "it is not lost")
        assert [one for one in ("a", "b", "off", "nobody") if world.endpoint._is_lost(one)] == ["b", "off"]


@pytest.mark.parametrize(
    "fields, alternates, name",
    [
        ({}, True, "ServiceUnavailable"),
        ({"ignore_hosts": ["down"]}, True, "ServiceUnavailable"),
        ({}, False, "ComputeServiceUnavailable"),
        ({"ignore_hosts": ["up"]}, False, "ComputeServiceUnavailable"),
        ({"ignore_hosts": ["up", "down"]}, False, "ComputeServiceUnavailable"),
        ({"ignore_hosts": ["down"]}, False, "AllocationUpdateFailed"),
        ({"scheduler_hints": {"_nova_check_type": ["rebuild"]}}, False, "AllocationUpdateFailed"),
    ],
)
def test_the_class_follows_from_the_caller(fields, alternates, name):
    asked = request_spec(uuid_of("vm"))
    for field, value in fields.items():
        setattr(asked, field, value)
    told = told_of(errors.LogUnavailable("x"), "req-1", asked, alternates, lambda host: host == "down")
    assert type(told).__name__ == name and not isinstance(told, NoValidHost)


@pytest.mark.parametrize("broken", [None, {}, "text"])
def test_a_spec_that_is_none_keeps_no_fault_from_being_told(broken):
    assert isinstance(told_of(ZeroDivisionError(), "req-1", broken, False, None), ServiceUnavailable)


@pytest.mark.parametrize("fault", [errors.UsageError("flavor m1 is odd"), NoValidHost(reason="flavor m1 is odd")])
def test_what_the_user_asked_for_stays_no_valid_host(fault):
    told = told_of(fault, "req-1", None, True, None)
    assert type(told) is NoValidHost and str(told) == "No valid host was found. flavor m1 is odd"


@pytest.mark.parametrize(
    "fault",
    [errors.ServiceUnavailable("Neutron could not be asked for a port"), errors.PluginFault("the filter F fell over")],
)
def test_texts_that_are_written_for_users_are_told(fault):
    assert f"could not be scheduled: {fault}. Try again later." in str(told_of(fault, "req-1", None, True, None))


@pytest.mark.parametrize(
    "fault",
    [
        errors.LogUnavailable("rabbit://10.0.0.1 is away"),
        errors.LogGap("10.0.0.1"),
        errors.ClaimTimeout("10.0.0.1"),
        errors.CellsUnreachable("10.0.0.1"),
        errors.NameTaken("10.0.0.1"),
        errors.InvalidEvent("10.0.0.1"),
        OSError("10.0.0.1"),
    ],
)
def test_texts_for_operators_are_in_the_log(fault, caplog):
    told = told_of(fault, "req-1", None, True, None)
    assert type(told) is ServiceUnavailable and "10.0.0.1" not in str(told)
    assert "10.0.0.1" in caplog.text and "request req-1 cannot be scheduled now" in caplog.text
