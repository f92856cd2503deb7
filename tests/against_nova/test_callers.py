"""What nova's conductor makes of an answer: an infrastructure that fails, and what it claims of a selection."""

import json

import pytest
from oslo_messaging._drivers import common

from nova_sched.scheduler.unavailable import told_of
from rpc_api import errors
from rpc_api.contracts.scheduler import WITH_TERMS
from rpc_api.objects.instance_group import InstanceGroup
from tests.against_nova.conftest import running_peer
from tests.builders import request_spec, uuid_of
from tests.nova_sched.scheduler.answering import HOSTS, World, with_extra, with_group

pytestmark = pytest.mark.nova

FAULT = errors.ClaimTimeout("claims in cell1 were not read back within 30 s")


@pytest.fixture(scope="module")
def conductor():
    yield from running_peer("nova", "nova_callers.py")


def on_the_wire(told):
    return common.serialize_remote_exception((type(told), told, None))


def asked_by(caller):
    """What a scheduler tells a caller: its spec and the rest of its call are as the caller's."""
    asked = request_spec(uuid_of("vm"))
    if caller == "rebuild":
        asked.scheduler_hints = {"_nova_check_type": ["rebuild"]}
    elif caller in ("live migrate", "evacuate"):
        asked.ignore_hosts = ["source"]
    return told_of(FAULT, "req-1", asked, caller in ("build", "cold migrate"), lambda host: caller == "evacuate")


ACTIVE, ERROR = {"vm_state": "active", "task_state": None}, {"vm_state": "error", "task_state": None}


@pytest.mark.parametrize(
    "caller, raised, state, has_fault, migration",
    [
        ("build", None, ERROR, True, None),
        ("cold migrate", "ServiceUnavailable", ACTIVE, True, "error"),
        ("live migrate", "ComputeServiceUnavailable", ACTIVE, True, "error"),
        ("unshelve", "ComputeServiceUnavailable", {"vm_state": "shelved_offloaded", "task_state": None}, False, None),
        ("rebuild", "AllocationUpdateFailed", ERROR, True, "error"),
        ("evacuate", "AllocationUpdateFailed", ERROR, True, "error"),
    ],
)
def test_a_server_is_left_in_the_right_state(conductor, caller, raised, state, has_fault, migration):
    answer = conductor.ask("call", caller, on_the_wire(asked_by(caller)))["answer"]
    assert answer == {"raised": raised, "asked": 1, "state": state, "migration": migration, "faults": answer["faults"]}
    assert bool(answer["faults"]) is has_fault
    for fault in answer["faults"]:
        assert fault == (
            "Service is unavailable at this time. Request req-1 could not be scheduled: a claim was not "
            "confirmed in time. Try again later."
        )


@pytest.mark.parametrize(
    "caller, told_as, state",
    [
        ("live migrate", "build", ERROR),
        ("live migrate", "evacuate", ERROR),
        ("evacuate", "build", {}),
        ("rebuild", "live migrate", {}),
    ],
)
def test_why_not_all_callers_are_told_the_same(conductor, caller, told_as, state):
    """Nova puts a running server into error, or leaves it as "rebuilding" for ever."""
    assert conductor.ask("call", caller, on_the_wire(asked_by(told_as)))["answer"]["state"] == state


# --- what it claims ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    with World(*HOSTS) as world:
        yield world


def grouped(asked, policy):
    asked.instance_group = InstanceGroup(uuid=uuid_of(policy), policy=policy, members=[], hosts=[], _rules={})
    return asked


@pytest.mark.parametrize(
    "name, make",
    [
        ("plain", lambda asked: asked),
        ("providers of groups", with_group),
        ("anti-affinity", lambda asked: grouped(asked, "anti-affinity")),
        ("affinity", lambda asked: grouped(asked, "affinity")),
        ("less of it", lambda asked: with_extra(asked, **{"resources:MEMORY_MB": "0"})),
        (
            "a group of the flavor",
            lambda asked: with_extra(asked, **{"resources_A:VCPU": "1", "trait_A:X": "forbidden"}),
        ),
    ],
)
def test_placement_takes_what_a_conductor_claims_of_each_selection(conductor, world, name, make):
    (selections,) = world.selected(make(request_spec(uuid_of(f"vm {name}"), vcpus=1, memory_mb=16, disk_gb=0)))
    assert len(selections) == (1 if name == "providers of groups" else 3)
    for selection in selections:
        answer = conductor.ask("claimed", selection.allocation_request, selection.allocation_request_version)["answer"]
        assert answer["wrong"] is None
        assert answer["payload"] == {
            **json.loads(selection.allocation_request),
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": None,
        }


def test_the_schema_refuses_terms(conductor, world):
    ((selection, *_),) = world.selected(request_spec(uuid_of("vm terms"), disk_gb=0), filter_properties=WITH_TERMS)
    answer = conductor.ask("claimed", selection.allocation_request, selection.allocation_request_version)["answer"]
    assert "Additional properties are not allowed ('nova_sched' was unexpected)" in answer["wrong"]
