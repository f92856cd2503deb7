"""Real events of every type, and the messages of RPC: what the fuzzers damage."""

import functools

from rpc_api import codec, events, messages
from rpc_api.events.primitive import to_primitive
from tests import builders, engines
from tests.builders import (
    claim,
    confirmation,
    consumer,
    deleted,
    expired,
    inventory_of,
    moved,
    of,
    provider,
    released,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.rpc_api.objects import samples

HOSTS = ("host-1", "host-2")


def _reports():
    nested = tree(
        "host-1",
        provider("numa", inventory_of("VCPU", 4, ratio=1.5), parent=0, traits=("HW_X",)),
        availability_zone="zone",
        host_ip="192.0.2.1",
        stats={"cpu_model": "x"},
        supported_instances=(("x86_64", "kvm", "hvm"),),
    )
    return [
        report("host-1", consumer("vm-0", of("host-1", 1)), inventory=nested, metrics={"load": 0.5}),
        report("host-2", inventory=tree("host-2", inventories=[inventory_of("CUSTOM_GPU", 2)]), num_io_ops=3),
    ]


@functools.cache
def _decided():
    """A DecisionMade and a PolicyAdopted as a scheduler says them."""
    cloud = engines.TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    engine.publish_policy()
    cloud.ask(engine, "vm", group=builders.server_group("anti-affinity"))
    cloud.settle()
    decoded = [
        event.data for log in cloud.logs.values() for payload in log for event in codec.decode_record(payload).events
    ]
    return [data for data in decoded if type(data).__name__ in ("DecisionMade", "PolicyAdopted")]


def beginning() -> list:
    """Frozen records that make a state worth damaging: two hosts, claims, groups, aggregates."""
    return [
        events.LogOpened("cell1", builders.EPOCH),
        *_reports(),
        claim("vm-1", "host-1", of("host-1", 1), rule=rule()),
        started("vm-1", "host-1", of("host-1", 1), rule=rule()),
        claim("vm-2", "host-1", of("numa", 2), of("host-1", 512, "MEMORY_MB"), rule=rule(policy="member")),
        claim("vm-3", "host-2", of("host-2", 1, "CUSTOM_GPU"), rule=rule("other", "together", "host-2", "vm-3")),
        events.AggregateUpdated(uuid_of("rack"), "rack", HOSTS, {"domain": "rack", "availability_zone": "zone"}),
        events.GroupAnchored(uuid_of("group"), "cell1", "host-1", 0),
    ]


def every_event() -> list:
    """Frozen records of every event type, some of several forms."""
    first, second = _reports()
    return [
        *beginning(),
        first,
        second,
        confirmation(first),
        events.HostLost("host-2", "silent"),
        events.HostSeen("host-2"),
        released("vm-2"),
        expired("vm-3"),
        claim("vm-4", "host-1", attempt="x"),
        moved("host-1", "vm-1", "migration"),
        started("vm-2", "host-1", of("numa", 2)),
        deleted("vm-0", "host-1"),
        events.HostRemoved("host-2", "gone"),
        events.AggregateDeleted(uuid_of("rack")),
        events.GroupFenced(uuid_of("group"), 3),
        events.LogRebased("cell1", 7),
        events.BuildFailed(uuid_of("vm-1"), "req-vm-1", "host-1", 1, "no room", True),
        *_decided(),
        events.RequestRefused("req-vm-1", (uuid_of("vm-1"),), "it asks for what makes no sense"),
    ]


def said(data, number: int = 1, epoch: int = 1) -> codec.Event:
    """An event of a producer that may say it."""
    return codec.make_event(data, builders.speaker_of(data), epoch, number, builders.AT_NS)


def records() -> list[bytes]:
    """Records as logs contain them: each event alone, and all of them in one."""
    every = [said(data, number) for number, data in enumerate(every_event(), 1)]
    return [builders.record_of(one) for one in every] + [builders.record_of(*every)]


def primitives() -> list:
    """What RPC carries: nova's objects as they were captured, ours as we send them."""
    context = {
        "request_id": "req-1",
        "auth_token": "token",
        "user_id": "u",
        "project_id": "p",
        "is_admin": True,
        "service_catalog": [{"type": "volume"}],
        "roles": ["admin"],
    }
    ours = [
        messages.BuildRequest(uuid_of("vm"), "req-1", (claim("vm", "host-1", rule=rule()),), 3),
        messages.BuildOutcome(uuid_of("vm"), messages.BUILT, "host-1", (of("host-1", 1),), 1, ""),
        messages.BuildAnswer(True, ""),
        *_decided(),
        *_reports(),
    ]
    return [samples.CAPTURED, samples.captured_request_spec(), context, *map(to_primitive, ours)]
