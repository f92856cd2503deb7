"""The calls of the real Nova's conductor are those that the tests of the shadow have recorded; and over a real broker a
shadow compares them while Nova goes on as ever."""

import json

import pytest

from nova_sched.scheduler.shadow.messages import choice_of, request_of
from rpc_api.bus.copies import Copy
from tests.against_nova.conftest import running_peer
from tests.builders import uuid_of
from tests.nova_sched.scheduler.shadow.messages import RECORDED, STEPS, recorded
from tests.nova_sched.scheduler.shadow.test_rabbit import SECONDS_MAX, RunningShadow
from tests.servers import wait_until

pytestmark = pytest.mark.nova


@pytest.fixture(scope="module")
def messages():
    peer = running_peer("nova", "nova_shadow.py")
    nova = next(peer)
    found = nova.ask("messages", list(STEPS.values()))
    assert "error" not in found, found
    yield dict(zip(STEPS, found["answer"], strict=True))
    peer.close()


def meaning(copy):
    """What a shadow reads in a message."""
    if copy.routing_key != "scheduler":
        return choice_of(copy, "compute")
    found = request_of(copy, ())
    return found.request, found.instance_uuids


def test_the_recorded_messages_are_those_of_nova(messages):
    """To record them again, write {} into the file, and run this test twice."""
    if not recorded():
        RECORDED.write_text(json.dumps(messages, indent=1) + "\n")
        pytest.fail(f"{RECORDED.name} was written; look at it, and run this test again")
    assert {name: meaning(Copy(key, body.encode())) for name, (key, body) in messages.items()} == {
        name: meaning(copy) for name, copy in recorded().items()
    }


@pytest.mark.rabbit
def test_a_real_conductor_a_scheduler_and_compute_hosts(rabbit_server, vhost):
    """Over a real broker and Nova's RPC: each call is answered by Nova's own servers, and the shadow compares."""
    peer = running_peer("nova", "nova_shadow.py")
    nova = next(peer)
    hosts = ("host1.example.org", "host2")
    assert "error" not in nova.ask("start", rabbit_server.url(vhost=vhost), hosts)
    with RunningShadow("nova", rabbit_server, vhost, *hosts) as shadow:
        small, large, again = (uuid_of(name) for name in ("small", "large", "again"))
        for request, uuid, fields, method, host in (
            ("one", small, {"force_hosts": ["host2"]}, "build", "host2"),
            ("two", large, {"vcpus": 100}, "build", "host2"),
            ("three", again, {"ignore_hosts": ["host2"]}, "resize", "host1.example.org"),
        ):
            request_id = f"req-{uuid_of(request)}"
            assert nova.ask("send", [["select", request_id, [uuid], fields], [method, request_id, uuid, host]]) == {
                "answer": None
            }
        found = {each.instance_uuid: each for each in shadow.compared(3)}
        assert [(found[uuid].verdict, found[uuid].part, found[uuid].seen_in) for uuid in (small, large, again)] == [
            ("same", "", "build_and_run_instance"),
            ("only-nova", "ResourceFilter", "build_and_run_instance"),
            ("same", "", "prep_resize"),
        ]
        methods = []
        wait_until(
            lambda: methods.extend(nova.ask("received")["answer"]) or len(methods) == 6,
            SECONDS_MAX,
            "a call is missing",
        )
        assert sorted(methods) == ["build_and_run_instance"] * 2 + ["prep_resize"] + ["select_destinations"] * 3
    # A shadow that is gone disturbs nobody.
    assert nova.ask("send", [["select", "req-last", [small], {}]]) == {"answer": None}
    peer.close()
