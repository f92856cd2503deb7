"""Short ways to say events, their producers and their records: what the tests of the language and of the fold share.

Uuids follow from short names (``uuid_of("vm-1")``), so that a test row can be read; a :class:`Voice` numbers its
events as a producer does; :func:`fold_all` folds events as records of one event each.
"""

import uuid

from nova_sched.projection.projection import Projection
from rpc_api import codec, digest, events
from rpc_api.codec import DecodedRecord
from rpc_api.packing import pack
from tests import invariants

NAMESPACE = uuid.UUID("7c2b6f6e-54a5-4a0e-8a53-8b7d1d3b2a10")
AT_NS = 1_700_000_000_000_000_000


def uuid_of(name: str) -> str:
    """The uuid of a short name."""
    return str(uuid.uuid5(NAMESPACE, name))


EPOCH = uuid_of("epoch")


# --- what hosts say ----------------------------------------------------------------------------------------------


def inventory_of(resource_class="VCPU", total=8, reserved=0, min_unit=1, max_unit=None, step_size=1, ratio=1.0):
    """What a provider has of one class; ``max_unit`` is the total unless it is given."""
    max_unit = total if max_unit is None else max_unit
    return events.Inventory(resource_class, total, reserved, min_unit, max_unit, step_size, ratio)


def provider(name, *inventories, parent=-1, traits=(), aggregates=()):
    """A provider whose uuid is that of its name."""
    return events.Provider(
        uuid_of(name), name, parent, tuple(inventories), tuple(traits), tuple(uuid_of(one) for one in aggregates)
    )


def tree(host, *children, inventories=None, root=None, **facts):
    """A HostInventory: a root provider with 8 VCPU and 16384 MEMORY_MB unless told otherwise, and its children."""
    if inventories is None:
        inventories = (inventory_of(), inventory_of("MEMORY_MB", 16384))
    facts = {
        "nodename": host,
        "availability_zone": None,
        "host_ip": None,
        "hypervisor_type": "QEMU",
        "hypervisor_version": 8002000,
        "cpu_info": "{}",
        "supported_instances": (),
        "stats": {},
        **facts,
    }
    return events.HostInventory(**facts, providers=(provider(root or host, *inventories), *children))


def pool(count, vendor_id="8086", product_id="1520", numa_node=None, **tags):
    """A PCIPool; ``dev_type`` is type-PCI unless it is given."""
    return events.PCIPool(vendor_id, product_id, numa_node, {"dev_type": "type-PCI", **tags}, count)


def status(disabled=False, forced_down=False, num_io_ops=0, failed_builds=0, metrics=None):
    """A HostStatus; a quiet, enabled host unless told otherwise."""
    return events.HostStatus(
        disabled, "maintenance" if disabled else None, forced_down, num_io_ops, failed_builds, metrics or {}
    )


def consumer(name, *allocations, rule=None):
    """An instance that a host runs."""
    return events.Consumer(uuid_of(name), "project", tuple(allocations), rule)


def report(host, *consumers, inventory=None, server=None, consumers_digest=None, **facts):
    """A HostReported of a host that runs ``consumers``; ``facts`` are those of :func:`status`.

    ``inventory`` is a HostInventory, or bytes; ``consumers_digest`` is the true one unless it is given.
    """
    if not isinstance(inventory, bytes):
        inventory = pack(inventory or tree(host))
    true_digest = digest.consumers_digest(consumers)
    return events.HostReported(
        host,
        server or f"agent-of-{host}",
        inventory,
        status(**facts),
        pack(events.HostConsumers(tuple(consumers))),
        true_digest if consumers_digest is None else consumers_digest,
    )


def confirmation(said) -> tuple:
    """The HostConfirmed that is true after a HostReported."""
    return events.HostConfirmed(
        said.host, digest.host_digest(digest.inventory_digest(said.inventory), said.status, said.consumers_digest)
    )


# --- claims ------------------------------------------------------------------------------------------------------


def of(provider_name, amount, resource_class="VCPU"):
    """An allocation."""
    return events.Allocation(uuid_of(provider_name), resource_class, amount)


def rule(group="group", policy="spread", domain="host", partition="", limit=1):
    """The part of a server group that a claim must keep."""
    return events.GroupRule(uuid_of(group), policy, domain, partition, limit)


def claim(name, host, *allocations, attempt="", instance=None, rule=None, forced=False):
    """A ClaimProposed of the consumer ``name`` (its instance unless another is given); 1 VCPU if nothing is said."""
    return events.ClaimProposed(
        uuid_of(f"claim of {name}{attempt}"),
        uuid_of(name),
        uuid_of(instance or name),
        f"req-{name}",
        "project",
        host,
        allocations or (of(host, 1),),
        rule,
        forced,
    )


def released(name, attempt=""):
    """A ClaimReleased of the claim that :func:`claim` makes with the same words."""
    return events.ClaimReleased(uuid_of(name), uuid_of(f"claim of {name}{attempt}"), "changed its mind")


def expired(name, attempt=""):
    """A ClaimExpired of the claim that :func:`claim` makes with the same words."""
    return events.ClaimExpired(uuid_of(name), uuid_of(f"claim of {name}{attempt}"))


def started(name, host, *allocations, rule=None):
    """An InstanceStarted; it uses 1 VCPU if nothing is said."""
    return events.InstanceStarted(host, consumer(name, *(allocations or (of(host, 1),)), rule=rule))


def deleted(name, host):
    """An InstanceDeleted."""
    return events.InstanceDeleted(host, uuid_of(name))


def moved(host, source, destination):
    """An AllocationMoved from one consumer to another."""
    return events.AllocationMoved(host, uuid_of(source), uuid_of(destination))


# --- producers and records ---------------------------------------------------------------------------------------


class Voice:
    """A producer: numbers its events, and can start again in a later incarnation."""

    def __init__(self, name, epoch=1):
        self.name = name
        self.epoch = epoch
        self.sequence = 0

    def say(self, data):
        """The next event of this producer."""
        self.sequence += 1
        return codec.make_event(data, self.name, self.epoch, self.sequence, AT_NS)

    def restart(self, epoch=None):
        """A new incarnation; the next event is its first."""
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self.sequence = 0


AGENT, CONDUCTOR, SCHEDULER, OPERATOR = "compute_agent", "conductor", "scheduler", "operator"


class Cell:
    """A projection and the producers that speak to it: each event is a record, folded at once, and all is checked."""

    def __init__(self, *said, cell="cell1", table=None):
        self.projection = Projection(cell, table)
        self.voices = {}
        self.records = []
        self.outcomes = []
        self.noted = []
        for data in said:
            self.say(data)

    def voice(self, name) -> Voice:
        """The producer of a name, the same one each time."""
        return self.voices.setdefault(name, Voice(name))

    def say(self, data, by=None, account=None):
        """Append and fold one event; returns :func:`result` of it. ``by`` is whoever may say it unless given."""
        return self.append([self.voice(speaker_of(data) if by is None else by).say(data)], account=account)

    def append(self, batch, epoch=EPOCH, account=None):
        """Append and fold one record of events with an account; returns :func:`result` of it."""
        before = len(self.projection.quarantine)
        self.records.append((len(self.records), DecodedRecord(epoch, list(batch), account)))
        outcomes, noted = self.projection.fold(self.records[-1:])
        invariants.check(self.projection)
        self.outcomes += outcomes
        self.noted += noted
        return result(outcomes, noted, list(self.projection.quarantine)[before:])

    def used(self, provider_name, resource_class="VCPU") -> int:
        """What the table counts as used of a provider."""
        table = self.projection.table
        return int(table.used[table.classes.get(resource_class), table.row_of_uuid[uuid_of(provider_name)]])

    def free(self, provider_name, resource_class="VCPU") -> int:
        """What the table says is free of a provider."""
        table = self.projection.table
        return int(table.free[table.classes.get(resource_class), table.row_of_uuid[uuid_of(provider_name)]])

    def holdings(self) -> dict:
        """(host, consumer uuid) -> state of what is held."""
        return {
            (host.name, entry.consumer_uuid): entry.state
            for host in self.projection.hosts.values()
            for entry in host.entries.values()
        }


def result(outcomes, noted, quarantined):
    """What became of a record in one word or a few: a claim's reason or "accepted", a SetAside's code, kinds noted."""
    words = ["accepted" if one.reason is None else str(one.reason) for one in outcomes] + [
        one.code for one in quarantined
    ]
    return ", ".join(words + [one.kind for one in noted]) or "ok"


def speaker_of(data) -> str:
    """A producer that may say this: of a host its agent, else the least role that may."""
    roles = data.schema.ROLES
    host = getattr(data, "host", None)
    if AGENT in roles and host is not None:
        return f"{AGENT}/{host}"
    return f"{CONDUCTOR if CONDUCTOR in roles else sorted(roles)[0]}/one"


def record_of(*batch, epoch=EPOCH) -> bytes:
    """The bytes of a record of events."""
    return codec.encode_record(epoch, batch)
