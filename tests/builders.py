"""Builders: one for each thing that tests make, and the only place where tests make it. ``tests/README.md`` lists them.

Uuids follow from short names (``uuid_of("vm-1")``), so that a row of a test table can be read. A :class:`Voice` numbers
its events as a producer does. A :class:`Cell` folds each event as a record of its own and checks the whole state.
"""

import itertools
import uuid

from nova_sched.projection.projection import Projection
from rpc_api import codec, digest, events, levels, objects
from rpc_api.codec import DecodedRecord
from rpc_api.objects.context import RequestContext
from rpc_api.packing import pack
from tests import invariants

NAMESPACE = uuid.UUID("7c2b6f6e-54a5-4a0e-8a53-8b7d1d3b2a10")
AT_NS = 1_700_000_000_000_000_000


def uuid_of(name: str) -> str:
    """The uuid of a short name."""
    return str(uuid.uuid5(NAMESPACE, name))


EPOCH = uuid_of("epoch")
#: Of a request that Nova's conductor makes.
CONTEXT = RequestContext.from_dict(
    {"request_id": "req-11111111-aaaa-4aaa-8aaa-000000000001", "project_id": "p", "user_id": "u", "is_admin": True}
)


class HandClock:
    """A clock that a test moves; each reading of ``now_ns`` is later than the one before."""

    def __init__(self):
        self.seconds = 1000.0
        self._readings = itertools.count()

    def monotonic(self) -> float:
        return self.seconds

    def now_ns(self) -> int:
        return AT_NS + int(self.seconds * 1e9) + next(self._readings)


# --- reports of hosts --------------------------------------------------------------------------------------------


def inventory_of(resource_class="VCPU", total=8, reserved=0, min_unit=1, max_unit=None, step_size=1, ratio=1.0):
    """What a provider has of one class; ``max_unit`` is the total unless it is given."""
    max_unit = total if max_unit is None else max_unit
    return events.Inventory(resource_class, total, reserved, min_unit, max_unit, step_size, ratio)


def provider(name, *inventories, parent=-1, traits=(), aggregates=()):
    """A provider whose uuid is that of its name."""
    return events.Provider(
        uuid_of(name),
        name,
        parent,
        tuple(inventories),
        tuple(traits),
        tuple(uuid_of(aggregate) for aggregate in aggregates),
    )


def tree(host, *children, inventories=None, root=None, **facts):
    """A HostInventory: a root provider with ``inventories`` (8 VCPU and 16384 MEMORY_MB by default) and its children.

    ``root`` is the short name of the root provider if it is not the host's; ``facts`` are the other fields.
    """
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
        "providers": (provider(root or host, *inventories), *children),
        **facts,
    }
    return events.HostInventory(**facts)


def pool(count, vendor_id="8086", product_id="1520", numa_node=None, **tags):
    """A PCIPool; ``dev_type`` is type-PCI unless it is given."""
    return events.PCIPool(vendor_id, product_id, numa_node, {"dev_type": "type-PCI", **tags}, count)


def status(disabled=False, forced_down=False, num_io_ops=0, failed_builds=0, metrics=None, numa_metrics=()):
    """A HostStatus; by default of an enabled host without load. ``numa_metrics`` are (name, node, value)."""
    return events.HostStatus(
        disabled,
        "maintenance" if disabled else None,
        forced_down,
        num_io_ops,
        failed_builds,
        metrics or {},
        tuple(events.NUMAMetric(*metric) for metric in numa_metrics),
    )


def consumer(name, *allocations, rule=None):
    """An instance that a host runs."""
    return events.Consumer(uuid_of(name), "project", tuple(allocations), rule)


def report(host, *consumers, inventory=None, server=None, consumers_digest=None, **facts):
    """A HostReported of a host that runs ``consumers``; ``facts`` are those of :func:`status`.

    ``inventory`` is a HostInventory, or bytes; ``consumers_digest`` is by default the correct one.
    """
    if not isinstance(inventory, bytes):
        inventory = levels.pack_oldest(inventory or tree(host))
    true_digest = digest.consumers_digest(consumers)
    return events.HostReported(
        host,
        server or f"agent-of-{host}",
        inventory,
        status(**facts),
        pack(events.HostConsumers(tuple(consumers))),
        true_digest if consumers_digest is None else consumers_digest,
    )


def confirmation(reported) -> tuple:
    """The HostConfirmed that is true after a HostReported."""
    inventory_digest = digest.inventory_digest(reported.inventory)
    return events.HostConfirmed(
        reported.host, digest.host_digest(inventory_digest, reported.status, reported.consumers_digest)
    )


# --- claims ------------------------------------------------------------------------------------------------------


def of(provider_name, amount, resource_class="VCPU"):
    """An allocation."""
    return events.Allocation(uuid_of(provider_name), resource_class, amount)


def rule(group="group", policy="spread", domain="host", partition="", limit=1):
    """The part of a server group that a claim must keep."""
    return events.GroupRule(uuid_of(group), policy, domain, partition, limit)


def claim(name, host, *allocations, attempt="", instance=None, rule=None, forced=False):
    """A ClaimProposed of the consumer ``name`` (its instance unless another is given); it uses 1 VCPU by default."""
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
    """A ClaimReleased of the claim that :func:`claim` makes with the same arguments."""
    return events.ClaimReleased(uuid_of(name), uuid_of(f"claim of {name}{attempt}"), "changed its mind")


def expired(name, attempt=""):
    """A ClaimExpired of the claim that :func:`claim` makes with the same arguments."""
    return events.ClaimExpired(uuid_of(name), uuid_of(f"claim of {name}{attempt}"))


def started(name, host, *allocations, rule=None):
    """An InstanceStarted; it uses 1 VCPU by default."""
    return events.InstanceStarted(host, consumer(name, *(allocations or (of(host, 1),)), rule=rule))


def deleted(name, host):
    """An InstanceDeleted."""
    return events.InstanceDeleted(host, uuid_of(name))


def moved(host, source, destination):
    """An AllocationMoved from one consumer to another."""
    return events.AllocationMoved(host, uuid_of(source), uuid_of(destination))


# --- requests ----------------------------------------------------------------------------------------------------


def group(
    suffix="", required=(), forbidden=(), any_traits=(), member_of=(), not_member_of=(), in_tree=None, **resources
):
    """A ResourceGroup; aggregates and the tree by the short names of their uuids."""
    return events.ResourceGroup(
        suffix,
        tuple(events.ResourceAmount(*item) for item in resources.items()),
        tuple(required),
        tuple(forbidden),
        tuple(any_traits),
        tuple(tuple(uuid_of(name) for name in names) for names in member_of),
        tuple(uuid_of(name) for name in not_member_of),
        in_tree and uuid_of(in_tree),
    )


def pci(count=1, alias="nic", request_id="r", numa_policy=None, **spec):
    """A PCIRequest with one spec, of a flavor's alias unless ``alias`` is None."""
    return events.PCIRequest(count, (spec,), alias, request_id and uuid_of(request_id), None, numa_policy)


def server_group(policy, limit=1, scope="host", partition=None, *, name="group", members=(), hosts=()):
    """A ServerGroupRequest; the group and its members by the short names of their uuids."""
    return events.ServerGroupRequest(
        uuid_of(name), policy, limit, scope, partition, tuple(uuid_of(member) for member in members), tuple(hosts)
    )


def request(*groups, **fields):
    """A SchedulingRequest for 1 VCPU, unless groups are given; ``fields`` are its other fields."""
    values = {
        "request_id": "req-1",
        "project_id": "project",
        "flavor_name": "m1",
        "extra_specs": {},
        "image_properties": {},
        "groups": groups or (group(VCPU=1),),
        "group_policy": "",
        "same_subtree": (),
        "root_required": (),
        "root_forbidden": (),
        "availability_zone": None,
        "force_hosts": (),
        "force_nodes": (),
        "ignore_hosts": (),
        "target_host": None,
        "target_node": None,
        "target_cell": None,
        "server_group": None,
        "check_only": False,
    }
    return events.SchedulingRequest(**(values | fields))


def flavor_of(vcpus=2, memory_mb=512, root_gb=1, extra_specs=None, **fields):
    """Nova's Flavor."""
    values = {
        "id": 1,
        "flavorid": "t",
        "name": "t",
        "vcpus": vcpus,
        "memory_mb": memory_mb,
        "root_gb": root_gb,
        "ephemeral_gb": 0,
        "swap": 0,
        "rxtx_factor": 1.0,
        "vcpu_weight": 0,
        "disabled": False,
        "is_public": True,
        "extra_specs": extra_specs or {},
    }
    return objects.Flavor(**(values | fields))


def request_spec(instance_uuid=None, vcpus=2, memory_mb=512, disk_gb=1, **fields):
    """Nova's RequestSpec for one instance of this size, from which ``request_from`` makes a SchedulingRequest.

    ``fields`` are its other fields; a ``flavor`` in them replaces the size.
    """
    values = {
        "instance_uuid": instance_uuid or uuid_of("vm"),
        "project_id": "p",
        "user_id": "u",
        "flavor": None if "flavor" in fields else flavor_of(vcpus, memory_mb, disk_gb),
        "image": None,
        "num_instances": 1,
        "availability_zone": None,
        "numa_topology": None,
        "pci_requests": None,
        "ignore_hosts": None,
        "force_hosts": None,
        "force_nodes": None,
        "retry": None,
        "limits": None,
        "scheduler_hints": None,
        "is_bfv": False,
        "instance_group": None,
    }
    return objects.RequestSpec(**(values | fields))


def decision(name, *hosts, known=0, cell="cell1", cells=None, refusals=(), took_ns=2_000_000, attempt=0, asked=None):
    """A DecisionMade for the instance of a name; without hosts one that found none.

    It knew ``cell`` up to the position ``known``, or the CellPositions ``cells``.
    """
    evidence = events.Evidence(
        asked or request(request_id=f"req-{name}"),
        cells or (events.CellPosition(cell, EPOCH, known, 0, 0),),
        "0" * 16,
        1,
        4,
        1 if hosts else 0,
        1,
        tuple(events.RefusalCount(*refusal) for refusal in refusals),
        (),
    )
    return events.DecisionMade(
        f"req-{name}",
        uuid_of(name),
        attempt,
        "selected" if hosts else "no_valid_host",
        "1/4 hosts",
        uuid_of(f"claim of {name}") if hosts else None,
        tuple(hosts),
        took_ns,
        pack(evidence),
    )


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
PLACEMENT = "placement"


# --- writes of Placement's API -----------------------------------------------------------------------------------

#: The id of an API request, and the user of its token.
REQUEST = ("req-22222222-aaaa-4aaa-8aaa-000000000002", "u")


def created(name, parent=None):
    """A provider whose uuid is that of its name, under the provider of another name."""
    return events.ProviderCreated(uuid_of(name), name, None if parent is None else uuid_of(parent), *REQUEST)


def put_inventories(name, *inventories, generation=None, kind="all"):
    """Inventories of a provider."""
    return events.InventoriesPut(uuid_of(name), generation, kind, inventories, *REQUEST)


def put_traits(name, *traits, generation=None):
    """The traits of a provider."""
    return events.TraitsPut(uuid_of(name), generation, traits, *REQUEST)


def put_aggregates(name, *aggregates, generation=None):
    """The aggregates of a provider, by their short names."""
    return events.AggregatesPut(uuid_of(name), generation, tuple(map(uuid_of, aggregates)), *REQUEST)


ANY = "any generation"


def consumer_put(name, *allocations, generation=ANY, project="p", user="u", kind=None, terms=None):
    """What a consumer is to hold; without a ``generation`` whatever its generation is, with None it must be new."""
    guarded = generation != ANY
    generation = generation if guarded else None
    return events.ConsumerPut(uuid_of(name), guarded, generation, project, user, kind, allocations, terms)


def put(*consumers):
    """The allocations of some consumers."""
    return events.AllocationsPut(consumers, *REQUEST)


def imported(name, generation=1, *inventories, parent=None, traits=(), aggregates=(), before=None):
    """A provider as another Placement has it."""
    parent_uuid = None if parent is None else uuid_of(parent)
    uuids = tuple(map(uuid_of, aggregates))
    return events.ProviderImported(
        uuid_of(name), name, parent_uuid, generation, inventories, tuple(traits), uuids, before, *REQUEST
    )


def consumer_imported(its_generation, *of_consumer, **options):
    """A consumer as another Placement has it: a :func:`consumer_put`, and its generation there."""
    return events.ConsumerImported(consumer_put(*of_consumer, **options), its_generation, *REQUEST)


def providers_reported(host, inventory=None):
    """The tree of a host, reported by itself."""
    return events.ProvidersReported(host, pack(events.ReportedProviders((inventory or tree(host)).providers)))


def facts_of(host, *consumers, inventory=None, root=None, authority="agent", **more):
    """A report of a host without its tree, whose root provider has the host's name."""
    inventory = inventory or tree(host)
    return report(
        host,
        *consumers,
        inventory=inventory._replace(providers=(), root_uuid=uuid_of(root or host), authority=authority),
        **more,
    )


class Cell:
    """A projection and its producers: each event is a record, folded at once, and the whole state is checked."""

    def __init__(self, *published, cell="cell1", table=None):
        self.projection = Projection(cell, table)
        self.voices = {}
        self.records = []
        self.outcomes = []
        self.noted = []
        for data in published:
            self.say(data)

    def voice(self, name) -> Voice:
        """The producer of a name, the same one each time."""
        return self.voices.setdefault(name, Voice(name))

    def say(self, data, by=None, account=None, level=None):
        """Append and fold one event; returns its :func:`result`. ``by`` is by default :func:`speaker_of` the event."""
        return self.append([self.voice(speaker_of(data) if by is None else by).say(data)], account=account, level=level)

    def append(self, batch, epoch=EPOCH, account=None, level=None):
        """Append and fold one record of events with an account, by default of the log's level; returns its
        :func:`result`."""
        before = len(self.projection.quarantine)
        level = self.projection.level if level is None else level
        self.records.append((len(self.records), DecodedRecord(epoch, list(batch), account, None, level)))
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
        """(host, consumer uuid) -> state of the entry."""
        return {
            (host.name, entry.consumer_uuid): entry.state
            for host in self.projection.hosts.values()
            for entry in host.entries.values()
        }


def result(outcomes, noted, quarantined):
    """The outcome of a record in a few words: a claim's reason or "accepted", a SetAside's code, the kinds of notes."""
    words = ["accepted" if outcome.reason is None else str(outcome.reason) for outcome in outcomes]
    words += [set_aside.code for set_aside in quarantined]
    return ", ".join(words + [note.kind for note in noted]) or "ok"


def speaker_of(data) -> str:
    """A producer that may publish this: the host's agent if it may, else a conductor, else the first role that may."""
    roles = data.schema.ROLES
    if PLACEMENT in roles:
        return f"{PLACEMENT}/one"
    host = getattr(data, "host", None)
    if AGENT in roles and host is not None:
        return f"{AGENT}/{host}"
    return f"{CONDUCTOR if CONDUCTOR in roles else sorted(roles)[0]}/one"


def record_of(*batch, epoch=EPOCH, level=1) -> bytes:
    """The bytes of a record of events in the forms of a level."""
    return codec.encode_record(epoch, batch, level)
