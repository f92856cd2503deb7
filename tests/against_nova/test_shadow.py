"""The calls of the real Nova's conductor are those that the tests of the shadow have recorded; and over a real broker a
shadow compares them while Nova goes on as ever."""

import json

import pytest

from nova_sched.scheduler.shadow.messages import choice_of, request_of
from rpc_api.bus.copies import Copy
from tests.against_nova.conftest import running_peer
from tests.nova_sched.scheduler.shadow.messages import RECORDED, STEPS, recorded

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
