"""Random hosts in both forms: events for our projection, facts for nova's HostState."""

import uuid

from nova_sched.projection.projection import Projection
from rpc_api import codec, digest, events
from rpc_api.packing import pack

NAMESPACE = uuid.UUID("4a3b4a52-4a3e-4d5c-9b8c-6f2f3a1f0d11")


def uuid_of(name):
    return str(uuid.uuid5(NAMESPACE, name))


def fold(cell, said, table=None):
    """The projection of events, each a (producer, record)."""
    projection = Projection(cell, table)
    sequences, made = {}, []
    for producer, record in said:
        sequences[producer] = sequences.get(producer, 0) + 1
        made.append(codec.make_event(record, producer, 1, sequences[producer], 5))
    records = codec.encode_records("e", codec.encode_events(made))
    projection.fold([(position, codec.decode_record(record)) for position, record in enumerate(records)])
    assert not projection.quarantine, list(projection.quarantine)[:3]
    return projection


def inventory(resource_class, total, reserved=0, min_unit=1, max_unit=None, step_size=1, ratio=1.0):
    return events.Inventory(
        resource_class, total, reserved, min_unit, total if max_unit is None else max_unit, step_size, ratio
    )


def reported(name, providers, consumers=()):
    """A HostReported; ``providers`` are events.Provider records, the root first."""
    tree = events.HostInventory(
        name, None, None, "QEMU", 8002000, "{}", (("x86_64", "kvm", "hvm"),), {}, tuple(providers)
    )
    status = events.HostStatus(False, None, False, 0, 0, {})
    return events.HostReported(
        name, name, pack(tree), status, pack(events.HostConsumers(tuple(consumers))), digest.consumers_digest(consumers)
    )
