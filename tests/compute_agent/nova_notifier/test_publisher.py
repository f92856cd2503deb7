"""The thread that publishes: faults, pauses, and what is logged."""

import threading

import pytest

from compute_agent.nova_notifier import publisher
from compute_agent.nova_notifier.outbox import Outbox
from compute_agent.nova_notifier.publisher import Publisher
from compute_agent.nova_notifier.records import record_of
from rpc_api import errors
from tests.servers import wait_until

SECONDS_MAX = 20.0
NODE = record_of("ComputeNode", "1.19", "save", {"uuid": "x"}, ["uuid"])
SERVICE = record_of("Service", "1.22", "save", {"host": "host1"}, ["report_count"])


class Broker:
    """Takes messages, or fails with ``fault``, or hangs while ``hangs`` is set."""

    def __init__(self):
        self.taken, self.tried, self.fault = [], 0, None
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, method, arguments):
        self.tried += 1
        self.goes_on.wait()
        if self.fault is not None:
            raise self.fault
        self.taken.append(arguments["objinst"]["nova_object.name"] if "objinst" in arguments else method)


@pytest.fixture
def broker(monkeypatch):
    monkeypatch.setattr(publisher, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(publisher, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(publisher, "LOOK_SECONDS", 0.05)
    return Broker()


@pytest.fixture
def outbox():
    return Outbox("host1", objects_max=3)


@pytest.fixture
def publishing(broker, outbox):
    publishing = Publisher(outbox, broker)
    yield publishing
    publishing.stop()
    broker.goes_on.set()


def wait_taken(broker, *wanted):
    wait_until(lambda: broker.taken == list(wanted), SECONDS_MAX, f"not {wanted}")


def test_the_first_message_says_that_nova_compute_has_started(publishing, broker):
    publishing.put("service", SERVICE)
    wait_taken(broker, "nova_sched_messages_lost", "Service")
    publishing.put("node", NODE)
    wait_taken(broker, "nova_sched_messages_lost", "Service", "ComputeNode")


@pytest.mark.parametrize("fault", [errors.ServiceUnavailable("away"), ValueError("a fault of ours")])
def test_after_an_outage_the_nodes_come_again(publishing, broker, caplog, fault):
    publishing.put("node", NODE)
    wait_taken(broker, "nova_sched_messages_lost", "ComputeNode")
    broker.fault = fault
    publishing.put("service", SERVICE)
    wait_until(lambda: broker.tried > 5, SECONDS_MAX, "it does not try again")
    broker.fault = None
    wait_taken(broker, "nova_sched_messages_lost", "ComputeNode", "Service", "ComputeNode")
    lines = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert len(lines) == 2, lines
    assert lines[0].startswith("nova_sched's tap does not get the objects of this nova-compute: ")
    assert lines[1].startswith("nova_sched's tap gets the objects of this nova-compute again, after ")


def test_nobody_waits_for_a_broker_that_hangs(publishing, broker, outbox):
    broker.goes_on.clear()
    for number in range(100):
        publishing.put(number, SERVICE)
    wait_until(lambda: broker.tried == 1, SECONDS_MAX, "nothing is published")
    assert len(outbox) == 3
    broker.goes_on.set()
    # A second number, because records were dropped while the first one was published.
    wait_taken(broker, "nova_sched_messages_lost", "nova_sched_messages_lost", *["Service"] * 3)


def test_it_stops(publishing, broker):
    publishing.put("service", SERVICE)
    wait_taken(broker, "nova_sched_messages_lost", "Service")
    publishing.stop()
    publishing._thread.join(SECONDS_MAX)
    assert not publishing._thread.is_alive()
