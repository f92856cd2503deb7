"""Hosts and events for the benchmarks."""

import uuid

from rpc_api import codec, digest, events, levels
from rpc_api.packing import pack

EPOCH = "00000000-0000-4000-8000-000000000000"
UP = events.HostStatus(False, None, False, 0, 0, {})


def uuid_of(text: str) -> str:
    """A uuid that follows from a text."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def inventory(name: str, vcpus: int = 64, numa: bool = False):
    """A HostInventory: VCPU, MEMORY_MB and DISK_GB on the root, or the first two on two NUMA children."""

    def classes(share):
        return (
            events.Inventory("VCPU", vcpus // share, 0, 1, vcpus // share, 1, 4.0),
            events.Inventory("MEMORY_MB", vcpus * 4096 // share, 512, 1, vcpus * 4096 // share, 1, 1.0),
        )

    disk = events.Inventory("DISK_GB", 4000, 0, 1, 4000, 1, 1.0)
    traits = ("COMPUTE_NODE", "HW_CPU_X86_AVX2", "COMPUTE_VOLUME_MULTI_ATTACH")
    root = events.Provider(uuid_of(name), name, -1, (disk,) if numa else (*classes(1), disk), traits, ())
    children = (
        tuple(
            events.Provider(uuid_of(f"{name}/{node}"), f"{name}_numa{node}", 0, classes(2), (), ()) for node in (0, 1)
        )
        if numa
        else ()
    )
    return events.HostInventory(
        name, None, None, "QEMU", 8002000, "{}", (("x86_64", "kvm", "hvm"),), {}, (root, *children)
    )


def reported(name: str, status=UP, consumers=(), **how):
    """The HostReported of a host."""
    return events.HostReported(
        name,
        "agents",
        levels.pack_oldest(inventory(name, **how)),
        status,
        pack(events.HostConsumers(tuple(consumers))),
        digest.consumers_digest(consumers),
    )


def claim(number: int, host: str, vcpus: int = 2):
    """A ClaimProposed of a small instance on a flat host."""
    instance, root = uuid_of(f"instance {number}"), uuid_of(host)
    return events.ClaimProposed(
        uuid_of(f"claim {number}"),
        instance,
        instance,
        f"req-{number}",
        "project",
        host,
        (
            events.Allocation(root, "DISK_GB", 20),
            events.Allocation(root, "MEMORY_MB", vcpus * 2048),
            events.Allocation(root, "VCPU", vcpus),
        ),
        None,
        False,
    )


def records(items, first_position: int = 0, batch: int = 100, level: int = 1):
    """Encoded records of (producer, sequence, data) items in a log of a level, as (position, payload), with ``batch``
    events each."""
    packed = []
    for start in range(0, len(items), batch):
        packed.append(
            (
                first_position + len(packed),
                codec.encode_record(
                    EPOCH,
                    [
                        codec.make_event(data, producer, 1, sequence, 1)
                        for producer, sequence, data in items[start : start + batch]
                    ],
                    level,
                ),
            )
        )
    return packed
