"""What a shadow reads in Nova's messages, and what it does with those that it cannot read."""

import json

import pytest

from nova_sched.scheduler.shadow.messages import Choice, Unread, choice_of, request_of, with_networks_of
from rpc_api import errors
from rpc_api.bus.copies import Copy
from rpc_api.bus.envelope import MAX_BYTES
from tests.nova_sched.scheduler.shadow.messages import OTHER, REQUEST, STEPS, VM, recorded

MESSAGES = recorded()
HOST = "host1.example.org"
METHODS = {
    "build": "build_and_run_instance",
    "resize": "prep_resize",
    "migrate_live": "check_can_live_migrate_destination",
    "resize_across": "prep_snapshot_based_resize_at_dest",
    "unshelve": "unshelve_instance",
    "rebuild": "rebuild_instance",
    "terminate": "terminate_instance",
}


class Named:
    """A cell."""

    name, uuid = "cell1", "22222222-aaaa-4aaa-8aaa-000000000002"


def changed(copy, **changes):
    """A message with other parts: the method, the args, or single arguments."""
    message = json.loads(json.loads(copy.body)["oslo.message"])
    for name, value in changes.items():
        (message if name in message else message["args"])[name] = value
    return Copy(copy.routing_key, json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode())


def test_every_step_is_recorded():
    assert MESSAGES.keys() == STEPS.keys()


@pytest.mark.parametrize("step, method", METHODS.items())
def test_a_choice(step, method):
    assert choice_of(MESSAGES[step], "compute") == Choice(VM, HOST, method, REQUEST)


def test_other_calls_say_nothing():
    assert choice_of(MESSAGES["pause"], "compute") is None
    assert request_of(changed(MESSAGES["one instance"], method="update_aggregates"), ()) is None


@pytest.mark.parametrize(
    "step, fields",
    {
        "one instance": {"request_id": REQUEST, "project_id": "p", "check_only": False},
        "a forced host": {"force_hosts": ("host1",)},
        "a move": {"ignore_hosts": ("source",)},
        "a rebuild": {"check_only": True},
    }.items(),
)
def test_a_request(step, fields):
    found = request_of(MESSAGES[step], ())
    assert found.instance_uuids == [VM]
    assert {name: getattr(found.request, name) for name in fields} == fields


def test_a_request_for_several_instances():
    assert request_of(MESSAGES["two instances"], ()).instance_uuids == [VM, OTHER]


def test_without_a_list_it_is_the_instance_of_the_spec():
    assert request_of(changed(MESSAGES["one instance"], instance_uuids=None), ()).instance_uuids == [VM]


UNREAD = {
    "no JSON": (Copy("scheduler", b"{"), "not-a-call"),
    "another compression": (Copy("scheduler", None), "not-a-call"),
    "no envelope": (Copy("scheduler", b"[]"), "not-a-call"),
    "too large": (Copy("scheduler", b" " * (MAX_BYTES + 1)), "too-large"),
    "no method": (Copy("scheduler", b"{}"), "not-a-call"),
    "no spec": (changed(MESSAGES["one instance"], spec_obj=None), "not-a-request"),
    "another object": (changed(MESSAGES["one instance"], spec_obj={"a": 1}), "not-a-request"),
    "no uuid": (changed(MESSAGES["one instance"], instance_uuids=["x"]), "not-a-request"),
    "a newer spec": (
        changed(MESSAGES["one instance"], spec_obj={"nova_object.name": "RequestSpec", "nova_object.version": "9.0"}),
        "not-a-request",
    ),
    "garbage in the spec": (
        changed(
            MESSAGES["one instance"],
            spec_obj={
                "nova_object.name": "RequestSpec",
                "nova_object.namespace": "nova",
                "nova_object.version": "1.14",
                "nova_object.data": {"flavor": "secret"},
            },
        ),
        "not-a-request",
    ),
}


@pytest.mark.parametrize("copy, code", UNREAD.values(), ids=UNREAD)
def test_a_request_that_cannot_be_read(copy, code):
    with pytest.raises(Unread) as fault:
        request_of(copy, (Named,))
    assert fault.value.code == code and "secret" not in str(fault.value)


@pytest.mark.parametrize(
    "copy, code",
    [
        (Copy("compute.host1", b"{"), "not-a-call"),
        (changed(MESSAGES["build"], instance=None), "not-an-instance"),
        (changed(MESSAGES["build"], instance={"nova_object.data": {"uuid": 7}}), "not-an-instance"),
        (changed(MESSAGES["build"], instance={"nova_object.data": {}}), "not-an-instance"),
        (MESSAGES["build"]._replace(routing_key="compute"), "not-a-host"),
        (MESSAGES["build"]._replace(routing_key="compute."), "not-a-host"),
    ],
)
def test_a_choice_that_cannot_be_read(copy, code):
    with pytest.raises(Unread) as fault:
        choice_of(copy, "compute")
    assert fault.value.code == code and "secret" not in str(fault.value)


def test_neutron_that_does_not_answer():
    class Away:
        def port(self, port_id):
            raise errors.ServiceUnavailable("Neutron does not answer")

        def segments_of_network(self, network_id):
            raise errors.ServiceUnavailable("Neutron does not answer")

    found = request_of(MESSAGES["one instance"], ())
    spec = found.spec
    from rpc_api.objects.network import NetworkRequest, NetworkRequestList

    spec.requested_networks = NetworkRequestList(objects=[NetworkRequest(network_id=OTHER)])
    with pytest.raises(Unread, match="Neutron does not answer") as fault:
        with_networks_of(found, Away(), True)
    assert fault.value.code == "no-networks"


def test_the_cell_of_a_request_is_named():
    from rpc_api.objects.cell_mapping import CellMapping
    from rpc_api.objects.destination import Destination

    body = json.loads(json.loads(MESSAGES["one instance"].body)["oslo.message"])
    spec = body["args"]["spec_obj"]
    destination = Destination(cell=CellMapping(uuid=Named.uuid, name="cell1"), allow_cross_cell_move=False)
    spec["nova_object.data"]["requested_destination"] = destination.obj_to_primitive()
    found = request_of(changed(MESSAGES["one instance"], spec_obj=spec), (Named,))
    assert found.request.target_cell == "cell1"
