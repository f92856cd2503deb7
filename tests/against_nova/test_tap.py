"""The messages of the real Nova are those that the tests of the tap have recorded."""

import json

import pytest

from conductor.tap.decode import Ignored, decode
from tests.against_nova.conftest import running_peer
from tests.conductor.tap.messages import RECORDED, STEPS, recorded

pytestmark = pytest.mark.nova


@pytest.fixture(scope="module")
def bodies():
    peer = running_peer("nova", "nova_tap.py")
    nova = next(peer)
    made = dict(zip(STEPS, nova.ask("bodies", list(STEPS.values()))["answer"], strict=True))
    yield made | {f"other {number}": body for number, body in enumerate(nova.ask("other_calls")["answer"])}
    peer.close()


def test_the_recorded_messages_are_those_of_nova(bodies):
    """To record them again, remove the file and run this test twice."""
    if not RECORDED.exists():
        RECORDED.write_text(json.dumps(bodies, indent=1) + "\n")
        pytest.fail(f"{RECORDED.name} was written; look at it, and run this test again")
    assert {name: decode(body.encode()) for name, body in bodies.items()} == {
        name: decode(body) for name, body in recorded().items()
    }


def test_what_is_not_of_an_object_is_ignored(bodies):
    assert [decode(body.encode()) for name, body in bodies.items() if name.startswith("other")] == [
        Ignored("object_class_action_versions Service get_by_compute_host"),
        Ignored("object_class_action_versions ComputeNodeList get_all_by_host"),
        Ignored("object_class_action_versions InstanceList get_by_host_and_node"),
        Ignored("object_backport_versions"),
    ]
