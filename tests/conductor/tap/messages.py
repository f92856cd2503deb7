"""What a nova-compute publishes: the steps, and the messages that the real Nova 34 made of them.

``STEPS`` is what :mod:`tests.against_nova.nova_tap` is asked for; ``messages.json`` has its answers, so that these
tests need no Nova. tests/against_nova/test_tap.py compares both.
"""

import json
from pathlib import Path

from tests.builders import uuid_of

RECORDED = Path(__file__).with_name("messages.json")
NODE = uuid_of("host1")
INSTANCE = uuid_of("vm")
NUMA = [
    {"id": number, "shared": [4 * number, 4 * number + 1], "dedicated": [4 * number + 2, 4 * number + 3]}
    | {"memory_mb": 4096, "siblings": [[4 * number, 4 * number + 1], [4 * number + 2, 4 * number + 3]]}
    | {"physnets": [f"physnet{number}"]}
    for number in range(2)
]
POOL = {"vendor_id": "8086", "product_id": "10ed", "numa_node": 0, "tags": {"dev_type": "type-VF"}, "count": 3}
RESOURCES = {
    "hypervisor_type": "QEMU",
    "hypervisor_version": 8002000,
    "cpu_info": '{"arch": "x86_64"}',
    "host_ip": "192.0.2.1",
    "vcpus": 8,
    "vcpus_used": 0,
    "memory_mb": 8192,
    "memory_mb_used": 512,
    "local_gb": 100,
    "local_gb_used": 0,
    "supported_hv_specs": [["x86_64", "qemu", "hvm"]],
}
TRACKED = {
    "numa_topology": NUMA,
    "pci_device_pools": [POOL],
    "stats": {"failed_builds": "2", "num_instances": "1", "num_proj_1": "1", "io_workload": "1", "rack": "7"},
    "metrics": json.dumps(
        [
            {"name": "cpu.percent", "value": 0.5, "timestamp": "2026-11-30T10:00:00", "source": "libvirt"},
            {"name": "numa.membw.current", "numa_membw_values": {"0": 10, "1": 20}, "timestamp": "x", "source": "x"},
        ]
    ),
    "running_vms": 1,
}
NAMES = {"uuid": NODE, "host": "host1", "hypervisor_hostname": "host1.example.org"}
SERVICE = {"id": 2, "host": "host1", "binary": "nova-compute", "topic": "compute", "report_count": 7} | {
    "disabled": False,
    "disabled_reason": None,
    "forced_down": False,
    "last_seen_up": None,
}
VM = {"id": 3, "uuid": INSTANCE, "host": "host1", "node": "host1.example.org", "vm_state": "building"} | {
    "task_state": "spawning",
    "system_metadata": {"image_hw_disk_bus": "virtio", "image_min_ram": "0", "boot_roles": "member"},
}
DEVICE = {"id": 4, "uuid": uuid_of("device"), "compute_node_id": 1, "address": "0000:81:00.1"} | {
    "vendor_id": "8086",
    "product_id": "10ed",
    "dev_type": "type-VF",
    "numa_node": 0,
    "parent_addr": "0000:81:00.0",
    "status": "available",
    "extra_info": {},
}

#: Name -> [object, its fields, method, fields that are set before the call].
STEPS = {
    "node created": ["ComputeNode", {}, "create", NAMES | RESOURCES],
    "node saved": ["ComputeNode", {"id": 1} | NAMES | RESOURCES, "save", TRACKED],
    "node destroyed": ["ComputeNode", {"id": 1} | NAMES | RESOURCES, "destroy", {}],
    "service created": ["Service", {}, "create", {name: SERVICE[name] for name in ("host", "binary", "topic")}],
    "heartbeat": ["Service", SERVICE, "save", {"report_count": 8}],
    "disabled": ["Service", SERVICE, "save", {"disabled": True, "disabled_reason": "AUTO: 10 builds failed"}],
    "forced down": ["Service", SERVICE | {"forced_down": True}, "save", {"report_count": 9}],
    "another service": ["Service", SERVICE | {"binary": "nova-scheduler"}, "save", {"report_count": 1}],
    "instance built": ["Instance", VM, "save", {"vm_state": "active", "task_state": None}],
    "instance moved": ["Instance", VM, "save", {"host": "host2", "node": "host2"}],
    "instance shelved": ["Instance", VM, "save", {"host": None, "node": None, "vm_state": "shelved_offloaded"}],
    "instance deleted": ["Instance", VM, "destroy", {}],
    "device taken": ["PciDevice", DEVICE, "save", {"status": "allocated", "instance_uuid": INSTANCE}],
    "device free": ["PciDevice", DEVICE | {"status": "allocated"}, "save", {"status": "available"}],
}


def recorded() -> dict[str, bytes]:
    """Name of a step, or "other NUMBER" -> the body of its message, as the real Nova made it."""
    return {name: body.encode() for name, body in json.loads(RECORDED.read_text()).items()}


def changed(body: bytes, change) -> bytes:
    """The same message after ``change(object)``, which changes the primitive of its object in place."""
    envelope = json.loads(body)
    message = json.loads(envelope["oslo.message"])
    change(message["args"]["objinst"])
    return json.dumps(envelope | {"oslo.message": json.dumps(message)}).encode()


def with_fields(body: bytes, **fields) -> bytes:
    """The same message with other values of fields; ``...`` leaves a field out."""

    def change(primitive):
        data = primitive["nova_object.data"]
        data.update(fields)
        for name in [name for name, value in fields.items() if value is ...]:
            del data[name]

    return changed(body, change)
