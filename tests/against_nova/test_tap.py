"""The messages of the real Nova are those that the tests of the tap have recorded."""

import contextlib
import json

import pytest

from conductor.tap.decode import Ignored, decode
from tests.against_nova.conftest import running_peer
from tests.conductor.tap.messages import INSTANCE, RECORDED, STEPS, recorded
from tests.conductor.tap.test_rabbit import TappedCell, queue_of

pytestmark = pytest.mark.nova


@pytest.fixture(scope="module")
def bodies():
    peer = running_peer("nova", "nova_tap.py")
    nova = next(peer)
    made = dict(zip(STEPS, nova.ask("bodies", list(STEPS.values()))["answer"], strict=True))
    yield made | {f"other {number}": body for number, body in enumerate(nova.ask("other_calls")["answer"])}
    peer.close()


def test_the_recorded_messages_are_those_of_nova(bodies):
    """To record them again, write {} into the file, and run this test twice."""
    if not recorded():
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


@pytest.mark.rabbit
def test_a_real_nova_compute_and_its_conductor(rabbit_server, vhost):
    """Over a real broker and Nova's RPC: the conductor answers each call, and the log gets the host."""
    peer = running_peer("nova", "nova_tap_rabbit.py")
    nova = next(peer)
    assert "error" not in nova.ask("start", rabbit_server.url(vhost=vhost))
    with contextlib.closing(queue_of(rabbit_server, vhost)) as source, TappedCell(source, url="memory://nova") as cell:
        cell.wait_reading()
        cell.add_provider("host1")
        steps = [STEPS[name] for name in ("node created", "heartbeat", "node saved", "instance built", "disabled")]
        answered = nova.ask("call", steps)
        assert answered == {
            "answer": ["ComputeNode create", "Service save", "ComputeNode save", "Instance save", "Service save"]
        }
        cell.wait(
            lambda projection: (
                "host1" in projection.hosts
                and projection.hosts["host1"].status.disabled
                and projection.hosts["host1"].status.failed_builds == 2
            ),
            "the host is not in the log as Nova has it",
        )
        cell.wait(lambda projection: projection.tracked.get(INSTANCE), "the instance is not in the log")
    # A tap that is gone disturbs nobody.
    assert nova.ask("call", [STEPS["node destroyed"]]) == {"answer": ["ComputeNode destroy"]}
    peer.close()
