"""What nova's conductor makes of an answer: an infrastructure that fails, and what it claims of a selection."""

import json

import pytest
from oslo_messaging._drivers import common

from nova_sched.service.unavailable import told_of
from rpc_api import errors
from tests.peers.conftest import running_peer
from tests.service.specs import spec
from tests.builders import uuid_of

pytestmark = pytest.mark.nova

FAULT = errors.ClaimTimeout("claims in cell1 were not read back within 30 s")


@pytest.fixture(scope="module")
def conductor():
    yield from running_peer("nova", "nova_callers.py")


def on_the_wire(told):
    return common.serialize_remote_exception((type(told), told, None))


def asked_by(caller):
    """What a scheduler tells a caller: its spec and the rest of its call are as the caller's."""
    asked = spec(uuid_of("vm"))
    if caller == "rebuild":
        asked.scheduler_hints = {"_nova_check_type": ["rebuild"]}
    elif caller in ("live migrate", "evacuate"):
        asked.ignore_hosts = ["source"]
    return told_of(FAULT, "req-1", asked, caller in ("build", "cold migrate"), lambda host: caller == "evacuate")


ACTIVE, ERROR = {"vm_state": "active", "task_state": None}, {"vm_state": "error", "task_state": None}


@pytest.mark.parametrize("caller, raised, state, has_fault, migration", [
    ("build", None, ERROR, True, None),
    ("cold migrate", "ServiceUnavailable", ACTIVE, True, "error"),
    ("live migrate", "ComputeServiceUnavailable", ACTIVE, True, "error"),
    ("unshelve", "ComputeServiceUnavailable", {"vm_state": "shelved_offloaded", "task_state": None}, False, None),
    ("rebuild", "AllocationUpdateFailed", ERROR, True, "error"),
    ("evacuate", "AllocationUpdateFailed", ERROR, True, "error"),
])
def test_a_server_is_left_in_the_right_state(conductor, caller, raised, state, has_fault, migration):
    answer = conductor.ask("call", caller, on_the_wire(asked_by(caller)))["answer"]
    assert answer == {"raised": raised, "asked": 1, "state": state, "migration": migration, "faults": answer["faults"]}
    assert bool(answer["faults"]) is has_fault
    for fault in answer["faults"]:
        assert fault == ("Service is unavailable at this time. Request req-1 could not be scheduled: a claim was not "
                         "confirmed in time. Try again later.")


@pytest.mark.parametrize("caller, told_as, state", [
    ("live migrate", "build", ERROR), ("live migrate", "evacuate", ERROR),
    ("evacuate", "build", {}), ("rebuild", "live migrate", {}),
])
def test_why_not_all_callers_are_told_the_same(conductor, caller, told_as, state):
    """Nova puts a running server into error, or leaves it as "rebuilding" for ever."""
    assert conductor.ask("call", caller, on_the_wire(asked_by(told_as)))["answer"]["state"] == state
