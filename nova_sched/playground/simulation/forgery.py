"""Records of a forger: a process that may append to a log, and publishes events that it must not."""

import random
import uuid

from nova_sched.projection import snapshot
from nova_sched.projection.state import CELL0
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from rpc_api.packing import pack

#: The accounts of the forger's records: none, an unknown one, that of the agent of an unknown host.
ACCOUNTS = (None, "nova", "compute_agent.forger", "scheduler.forger")
#: A producer epoch that is later than those of all processes: if such an event counted, the real process were ignored.
EPOCH = 2**62


def record(chance: random.Random, projection) -> bytes:
    """A record that must change nothing in the log of a projection: forged, where the log requires accounts,
    else garbage."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(1, 200))
    may_be_kept = projection.whole and projection.rules.one_ledger and projection.position >= 0
    if may_be_kept and not projection.is_too_new and chance.random() < 0.6:
        data, producer = _checkpoint(chance, projection)
    else:
        data, producer = chance.choice(
            _forged(chance, projection) if projection.accounts_required else _misplaced(chance, projection)
        )
    if data.schema.LEVEL > projection.level and not projection.accounts_required:
        return chance.randbytes(10)
    sequence = chance.randrange(1, 50)
    event = codec.make_event(data, producer, chance.choice((1, EPOCH)), sequence, 1)
    # Without accounts a record of a scheduler shows the level of the log to readers that do not know the pin.
    levels = (1, projection.level, LEVEL) if projection.accounts_required else (1, projection.level)
    level = max(data.schema.LEVEL, chance.choice(levels))
    return codec.encode_record(projection.epoch, [event], level)


def _misplaced(chance, projection):
    """Return events that no account may publish: the role or the host does not fit."""
    host = chance.choice(sorted(projection.hosts) or ["host"])
    return [
        (events.HostRemoved(host, "forged"), "scheduler/s0"),
        (events.HostRemoved(host, "forged"), "compute_agent/forger"),
        (events.HostConfirmed(host, 0), "compute_agent/forger"),
        (events.AggregateDeleted(projection.epoch), "conductor/c"),
        (events.AccountsRequired(True), "conductor/forger"),
        (events.LevelPinned(2), "scheduler/s0"),
        (events.StateKept(projection.epoch, 0, 0, 1, b"forged"), "compute_agent/forger"),
        (events.CheckpointNamed(projection.epoch, 0, 1, 1), "compute_agent/forger"),
    ]


def _checkpoint(chance, projection):
    """Return a checkpoint that is right in its form, and whose state is not that of the log, with a producer that may
    not keep the state, or not with the forger's account."""
    forged = snapshot.load(snapshot.dump(projection))
    forged.producers["operator/forger"] = (EPOCH, 1)
    checkpoint = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    producer = "compute_agent/forger"
    if projection.accounts_required:
        producer = "scheduler/s0" if projection.cell == CELL0 else f"conductor/{projection.cell}-0"
    return events.StateKept(checkpoint, projection.position, 0, 1, snapshot.dump(forged)), producer


def _forged(chance, projection):
    """Return events that the right account could publish."""
    found = [
        (events.AccountsRequired(False), "conductor/cell1-0"),
        (events.AccountsRequired(False), "scheduler/s0"),
        (events.LevelPinned(chance.choice((2, LEVEL + 1))), "operator/pin"),
        (events.LogRebased(projection.cell, 0, chance.random() < 0.5), "conductor/cell1-0"),
        (events.StateKept(projection.epoch, 0, 0, 1, b"forged"), "conductor/cell1-0"),
    ]
    if projection.hosts:
        host = projection.hosts[chance.choice(sorted(projection.hosts))]
        producer = f"compute_agent/{host.name}"
        found += [
            (events.HostRemoved(host.name, "forged"), producer),
            (events.HostLost(host.name, "forged"), "conductor/cell1-0"),
            (
                events.HostReported(
                    host.name, "elsewhere", host.inventory, host.status, pack(events.HostConsumers(())), 0
                ),
                producer,
            ),
        ]
        for entry in host.entries.values():
            found += [(events.InstanceDeleted(host.name, entry.instance_uuid), producer)]
            if entry.claim_uuid:
                found += [(events.ClaimReleased(entry.consumer_uuid, entry.claim_uuid, "forged"), "scheduler/s1")]
    return found
