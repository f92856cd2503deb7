"""Messages of nova-compute are read as changes: recorded ones, of other releases, and garbage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_agent.nova_notifier.records import Lost as Driver
from conductor.tap import decode as decoding
from conductor.tap.decode import Change, Ignored, Lost, Unread, decode
from nova_sched.nova_objects.names import LOST
from rpc_api import events
from tests.conductor.tap.messages import INSTANCE, NODE, changed, recorded, with_fields

BODIES = recorded()
SAVED = BODIES["node saved"]
HEARTBEAT = BODIES["heartbeat"]


def test_a_compute_node():
    change = decode(SAVED)
    assert (change.name, change.method) == ("ComputeNode", "save")
    assert {"stats", "numa_topology", "metrics"} <= change.changed
    fields = change.fields
    assert (fields["uuid"], fields["host"], fields["hypervisor_hostname"]) == (NODE, "host1", "host1.example.org")
    assert fields["supported_hv_specs"] == (("x86_64", "qemu", "hvm"),)
    assert fields["metrics"] == (
        {"cpu.percent": 0.5},
        (events.NUMAMetric("numa.membw.current", 0, 10), events.NUMAMetric("numa.membw.current", 1, 20)),
    )
    assert fields["pci_device_pools"] == (events.PCIPool("8086", "10ed", 0, {"dev_type": "type-VF"}, 3),)
    assert fields["numa_topology"][1] == events.HostNUMACell(
        1, 0, (4, 5), (6, 7), ((4, 5), (6, 7)), 4096, (events.HostPages(4, 1000, 5),), ("physnet1",), True
    )


def test_a_service_and_an_instance():
    assert decode(HEARTBEAT).fields["host"] == "host1" and decode(HEARTBEAT).changed == {"report_count"}
    assert decode(BODIES["disabled"]).fields["disabled_reason"] == "AUTO: 10 builds failed"
    assert decode(BODIES["instance built"]) == Change(
        "Instance",
        "save",
        {
            "uuid": INSTANCE,
            "host": "host1",
            "vm_state": "active",
            "system_metadata": {"hw_disk_bus": "virtio", "min_ram": "0"},
        },
        frozenset({"vm_state", "task_state"}),
    )
    assert decode(BODIES["instance shelved"]).fields["host"] is None


def of_method(method, **arguments):
    """A message of the notification driver."""
    message = {"method": method, "args": arguments}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


@pytest.mark.parametrize("message", [Driver("host1", 0), Driver("host1", 7)])
def test_the_driver_says_that_messages_are_lost(message):
    method, arguments = message.message()
    assert decode(of_method(method, **arguments)) == Lost(*message)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"host": "host1"}, {"dropped": 1}, {"host": 1, "dropped": 1}, {"host": "\ud800", "dropped": 1}]
    + [{"host": "host1", "dropped": dropped} for dropped in (-1, True, 1.0, "1", None)],
)
def test_lost_messages_of_no_host_or_no_number(arguments):
    assert decode(of_method(LOST, **arguments)).code == "not-a-call"


@pytest.mark.parametrize("version", ["1.0", "1.18", "1.20", "1.19.1", "2.0", "next"])
def test_another_version_of_an_object_reads_the_same(version):
    body = changed(SAVED, lambda node: node.update({"nova_object.version": version}))
    assert decode(body) == decode(SAVED)


def test_unknown_and_missing_fields_make_no_difference():
    other = with_fields(SAVED, power_draw_watts=[{"a": 1}], cpu_allocation_ratio="much", numa_topology=...)
    assert decode(other).fields == {
        name: value for name, value in decode(SAVED).fields.items() if name != "numa_topology"
    }
    assert decode(changed(SAVED, lambda node: node.pop("nova_object.changes"))).changed == frozenset()


def test_old_and_empty_values():
    """A pool without a NUMA node, metrics that are not numbers, a node of before pcpuset."""
    topology = {"nova_object.data": {"cells": [{"nova_object.data": {"id": 0, "cpuset": [0], "memory": 1}}]}}
    body = with_fields(
        SAVED,
        numa_topology=json.dumps(topology),
        metrics='[{"name": "a", "value": NaN}, {"name": "b", "value": "x"}, {"name": "c"}]',
        stats=None,
        pci_device_pools={
            "nova_object.data": {
                "objects": [
                    {"nova_object.data": {"vendor_id": "1", "product_id": "2", "numa_node": -1, "count": count}}
                    for count in (1, 2)
                ]
            }
        },
    )
    fields = decode(body).fields
    assert fields["numa_topology"] == (events.HostNUMACell(0, None, (0,), (), (), 1, (), (), False),)
    assert fields["metrics"] == ({}, ()) and fields["stats"] == {}
    assert fields["pci_device_pools"] == (events.PCIPool("1", "2", None, {}, 3),)
    assert decode(with_fields(SAVED, numa_topology=None, pci_device_pools=None, metrics="")).fields["metrics"] == (
        {},
        (),
    )


def test_what_concerns_nobody_is_ignored():
    assert {type(decode(body)) for name, body in BODIES.items() if name.startswith("other")} == {Ignored}
    assert decode(changed(SAVED, lambda node: node.update({"nova_object.name": "BuildRequest"}))) == Ignored(
        "object_action BuildRequest save"
    )
    assert isinstance(decode(changed(SAVED, lambda node: node.update({"nova_object.namespace": "cyborg"}))), Ignored)
    assert decode(b'{"method": "build_instances", "args": {}}') == Ignored("build_instances")


#: Half a character: JSON may have it, UTF-8 may not.
HALF = "\ud800"
BROKEN_FIELDS = {
    "uuid": 7,
    "host": ["host1"],
    "hypervisor_version": -1,
    "hypervisor_type": None,
    "stats": {"a": 1},
    "metrics": "{",
    "supported_hv_specs": [{"nova_object.data": {"arch": "x86_64"}}],
    "numa_topology": '{"nova_object.data": {"cells": [{"id": 0}]}}',
    "pci_device_pools": {"nova_object.data": {"objects": [{"nova_object.data": {"count": 1}}]}},
    "running_vms": True,
    "cpu_info": 2**70,
    "hypervisor_hostname": HALF,
    "host_ip": f"a{HALF}",
}
NESTED = [
    ("stats", {HALF: "a"}),
    ("stats", {"a": HALF}),
    ("metrics", json.dumps([{"name": HALF, "value": 1}])),
    (
        "pci_device_pools",
        {
            "nova_object.data": {
                "objects": [
                    {"nova_object.data": {"vendor_id": "1", "product_id": "2", "tags": {"a": HALF}, "count": 1}}
                ]
            }
        },
    ),
]


@pytest.mark.parametrize("name, value", [*BROKEN_FIELDS.items(), *NESTED])
def test_a_field_that_cannot_be_used_is_named(name, value):
    unread = decode(with_fields(SAVED, **{name: value}))
    assert unread.code == "invalid-object" and f"the field {name} is wrong, wanted " in unread.reason


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[]", "the body is not a map"),
        (b"{}", "it has no method or no args"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"oslo.version": "3.0", "oslo.message": "{}"}', "its envelope has the version '3.0', wanted 2.0"),
        (b'{"oslo.version": "2.0", "oslo.message": 7}', "oslo.message is not JSON"),
        (b'{"method": "object_action", "args": {"objinst": 7, "objmethod": "save"}}', "its objinst is not an object"),
    ],
)
def test_garbage(body, reason):
    unread = decode(body)
    assert unread.code == "not-a-call" and reason in unread.reason


def test_a_huge_message_is_not_parsed(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_BYTES", len(SAVED) - 1)
    assert decode(SAVED).code == "too-large"


@given(st.binary(max_size=200), st.integers(0, len(SAVED)), st.integers(0, 200))
def test_a_damaged_message_never_raises(noise, start, cut):
    result = decode(SAVED[:start] + noise + SAVED[start + cut :])
    assert isinstance(result, (Change, Ignored, Unread))


def test_no_secret_is_quoted():
    """The token of a user travels with the message."""
    for body in BODIES.values():
        broken = body.replace(b"ComputeNode", b"Service").replace(b"nova_object.data", b"data")
        assert "_context" not in str(decode(broken))
