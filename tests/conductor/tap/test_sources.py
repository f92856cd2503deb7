"""A contract: the wire and the notification driver give the log the same facts of the same objects.

Each row is a sequence of calls of a nova-compute. The wire has them one by one; the driver publishes each at once, or,
after an outage of its broker, the newest state of each object.
"""

import json

import pytest

from compute_agent.nova_notifier.outbox import Outbox
from compute_agent.nova_notifier.records import record_of
from conductor.tap.decode import Lost, decode
from nova_sched.nova_objects.names import CHANGES, DATA, FIELDS, IMAGE_PREFIX, METADATA, NAME, VERSION
from tests.conductor.tap.messages import INSTANCE, recorded
from tests.conductor.tap.test_model import Tapped

BODIES = recorded()


def wire(steps):
    """Nova's own messages."""
    return [BODIES[step] for step in steps]


def driver(steps):
    """What the driver publishes with a broker that answers."""
    outbox = Outbox("host1")
    return [body for step in steps for body in _published(outbox, [step])]


def driver_after_an_outage(steps):
    """What the driver publishes when its broker is back."""
    return _published(Outbox("host1"), steps)


SOURCES = [wire, driver, driver_after_an_outage]


def _published(outbox, steps):
    for step in steps:
        outbox.put(*_record(BODIES[step]), 0.0)
    found = []
    while (item := outbox.first(0)) is not None:
        method, args = item[1].message()
        found.append(json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps({"method": method, "args": args})}))
        outbox.done(item)
    return [body.encode() for body in found]


def _record(body):
    """(Key, Record) of the object in a message of Nova, as the driver takes it from the object itself."""
    args = json.loads(json.loads(body)["oslo.message"])["args"]
    primitive = args["objinst"]
    name, data = primitive[NAME], primitive[DATA]
    fields = {field: data[field] for field in FIELDS[name] if field in data}
    if METADATA in fields:
        fields[METADATA] = {key: text for key, text in fields[METADATA].items() if key.startswith(IMAGE_PREFIX)}
    changes = primitive.get(CHANGES, ())
    return (name, data.get("uuid") or data.get("host")), record_of(
        name, primitive[VERSION], args["objmethod"], fields, changes
    )


#: Calls of a nova-compute, and the state of the log after them.
ROWS = [
    (["node created"], {"host": None}),
    (["node created", "heartbeat"], {"disabled": False, "forced_down": False}),
    (["heartbeat", "node created", "node saved"], {"disabled": False, "pools": 1, "io": 1}),
    (["node created", "disabled"], {"disabled": True}),
    (["node created", "heartbeat", "instance built"], {"instance": "host1", "disk_bus": "virtio"}),
    (["node created", "heartbeat", "instance built", "instance deleted"], {"instance": None}),
    (["node created", "heartbeat", "node saved", "device taken"], {"pools": 1}),
    (["node created", "heartbeat", "node destroyed"], {"host": None}),
]


def state_of(tapped):
    """What the log has of the host and of the instance."""
    projection = tapped.projection
    host, tracked = projection.hosts.get("host1"), projection.tracked.get(INSTANCE)
    instance = {
        "instance": tracked and tracked.host,
        "disk_bus": tracked and tracked.image_properties.get("hw_disk_bus"),
    }
    if host is None:
        return {"host": None, **instance}
    status = host.status
    return {
        "host": "host1",
        "disabled": status.disabled,
        "forced_down": status.forced_down,
        "io": status.num_io_ops,
        "pools": len(tapped.inventory().pci_pools),
        "inventory": host.inventory,
        **instance,
    }


def _take(tapped, body):
    """As the tap takes a message; returns the events that follow."""
    found = decode(body)
    if isinstance(found, Lost):
        tapped.model.host_lost_messages(found.host)
        return []
    return tapped.take(body)


def after(source, steps):
    """The tap after the calls of a nova-compute, and after what it repeats when time passes."""
    tapped = Tapped()
    for body in source(steps):
        _take(tapped, body)
    # A pool of devices that grows is believed after a while.
    for _ in range(3):
        tapped.later(20.0)
    assert not tapped.refused
    return tapped


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("steps, wanted", ROWS, ids=[" + ".join(steps) for steps, _ in ROWS])
def test_the_log_has_the_same_facts(source, steps, wanted):
    found = state_of(after(source, steps))
    assert {name: found[name] for name in wanted} == wanted
    assert found == state_of(after(wire, steps))


@pytest.mark.parametrize("steps", [steps for steps, _ in ROWS], ids=[" + ".join(steps) for steps, _ in ROWS])
def test_the_events_are_the_same_one_by_one(steps):
    """As long as the broker of the driver answers, nothing is merged."""

    def events_of(source):
        tapped = Tapped()
        return [_take(tapped, body) for body in source(steps)], tapped.later(60.0)

    started, *published = driver(steps)
    assert decode(started) == Lost("host1", 0)
    assert events_of(lambda steps: published) == events_of(wire)
