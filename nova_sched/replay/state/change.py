"""A change between two moments, and the events that made it."""

from typing import NamedTuple

from nova_sched.replay.logs.matching import subjects
from rpc_api.codec import Event

#: The fact of a provider that each write raises.
GENERATION = "generation"
#: Writes that change what is used of a provider, and nothing that it has.
_OF_USE = ("AllocationsPut", "ConsumerImported")
#: Number of last events to keep about one host or instance.
KEPT = 4
#: Number of instances whose events are kept, in addition to those that are held at either moment.
MOST = 10_000

ADDED, REMOVED, STATUS, INVENTORY = "added", "removed", "status", "inventory"
AUTHORITY, WAITS, PROVIDER, CONSUMER, NAME = "authority", "waits", "provider", "consumer", "name"
CAME, WENT, MOVED, RUNS, HOLDS, CLAIMED_AGAIN, AGGREGATES, FREE = (
    "came",
    "went",
    "moved",
    "runs",
    "holds",
    "claimed",
    "aggregates",
    "free",
)
#: The kinds of changes, in the order of the output.
KINDS = (
    ADDED,
    REMOVED,
    STATUS,
    AUTHORITY,
    WAITS,
    INVENTORY,
    AGGREGATES,
    PROVIDER,
    NAME,
    CAME,
    RUNS,
    HOLDS,
    MOVED,
    WENT,
    CLAIMED_AGAIN,
    CONSUMER,
    FREE,
)
OF_HOSTS = frozenset({ADDED, REMOVED, STATUS, AUTHORITY, WAITS, INVENTORY, AGGREGATES, PROVIDER, NAME, FREE})


class Cause(NamedTuple):
    """An event about a changed host or instance."""

    position: int
    at_ns: int
    name: str
    producer: str


class Change(NamedTuple):
    """One change: ``kind`` is one of ``KINDS``, ``what`` the name of a field, a provider and its field, a resource
    class or the uuid of an instance (None if the kind is enough), ``before`` and ``after`` are texts (None: it did not
    exist). The ``host`` is None if it concerns none."""

    cell: str
    host: str | None
    kind: str
    what: str | None
    before: str | None
    after: str | None
    causes: tuple


class Causes:
    """The last few events about each host, each instance and each aggregate."""

    #: Events that change a host itself; those about its instances are kept with the instances.
    OF_HOST = frozenset(
        {
            "HostReported",
            "HostLost",
            "HostSeen",
            "HostRemoved",
            "HostDisabled",
            "HostEnabled",
            "ProvidersReported",
            "AuthorityPassed",
        }
    )

    def __init__(self, before, projection):
        self.hosts, self.instances, self.aggregates = {}, {}, {}
        self.providers, self.uses, self.names = {}, {}, {}
        self._by_consumer = None
        self._before = {uuid for facts in before.values() for uuid in facts.entries}
        self._projection = projection

    def watch(self, position, record, outcomes, noted):
        refused = {outcome.claim_uuid for outcome in outcomes if outcome.reason is not None}
        written = {
            (one.producer, one.producer_epoch, one.sequence)
            for one in self._projection.writes or ()
            if one.reason is None
        }
        if self._projection.writes:
            self._projection.writes.clear()
        for event in record.events:
            if not isinstance(event, Event):
                continue
            if (event.producer, event.producer_epoch, event.sequence) in written:
                self._keep_write(event, Cause(position, event.at_ns, event.name, event.producer))
            data, cause = event.data, Cause(position, event.at_ns, event.name, event.producer)
            if event.name in self.OF_HOST:
                self._keep(self.hosts, data.host, cause)
            elif event.name == "ClaimProposed":
                if data.claim_uuid not in refused:
                    self._keep(self.instances, (data.consumer_uuid, data.host), cause)
                    for uuid in subjects(event).providers if self._projection.rules.one_ledger else ():
                        self._keep(self.uses, uuid, cause)
            elif event.name in ("ClaimReleased", "ClaimExpired"):
                self._keep(self.instances, data.consumer_uuid, cause)
            elif event.name == "InstanceStarted":
                self._keep(self.instances, (data.consumer.instance_uuid, data.host), cause)
            elif event.name == "InstanceDeleted":
                self._keep(self.instances, (data.instance_uuid, data.host), cause)
            elif event.name == "AllocationMoved":
                for uuid in (data.from_consumer_uuid, data.to_consumer_uuid):
                    self._keep(self.instances, (uuid, data.host), cause)
            elif event.name in ("AggregateUpdated", "AggregateDeleted"):
                self._keep(self.aggregates, data.uuid, cause)

        if len(self.instances) > MOST + 4 * (len(self._before) + len(self._projection.consumers)):
            self._forget_passing()

    def _keep_write(self, event, cause):
        of = subjects(event)
        for uuid in of.providers:
            self._keep(self.uses if event.name in _OF_USE else self.providers, uuid, cause)
        for uuid in of.instances:
            self._keep(self.instances, uuid, cause)
        for name in (getattr(event.data, field, None) for field in ("name", "new_name")):
            if name is not None:
                self._keep(self.names, name, cause)

    def _forget_passing(self):
        """Forget instances that came and went between the two moments: they are not a difference, and may be many."""
        held = self._projection.consumers
        self.instances = {
            key: kept
            for key, kept in self.instances.items()
            if (uuid := key if type(key) is str else key[0]) in held or uuid in self._before
        }

    def _keep(self, kept, key, cause):
        found = kept.get(key, ())
        if not found or found[-1] != cause:
            kept[key] = (*found[-KEPT + 1 :], cause)

    def of_host(self, host):
        return self.hosts.get(host, ())

    def of_provider(self, uuid, host, of_use=False):
        """Return the events about a provider, and ``of_use`` those that wrote allocations of it; those of its host if
        a report made the change."""
        found = {*self.providers.get(uuid, ()), *(self.uses.get(uuid, ()) if of_use else ())}
        return tuple(sorted(found))[-KEPT:] or self.of_host(host)

    def of_consumer(self, uuid):
        """Return the events about a consumer on any host. It is asked when all events were watched."""
        if self._by_consumer is None:
            self._by_consumer = {}
            for key, kept in self.instances.items():
                self._by_consumer.setdefault(key if type(key) is str else key[0], set()).update(kept)
        return tuple(sorted(self._by_consumer.get(uuid, ())))[-KEPT:]

    def of_entry(self, consumer_uuid, instance_uuid, host):
        """Return the events about a consumer on a host; those of the host if a full report of it made the change."""
        found = {
            *self.instances.get((consumer_uuid, host), ()),
            *self.instances.get((instance_uuid, host), ()),
            *self.instances.get(consumer_uuid, ()),
        }
        return tuple(sorted(found))[-KEPT:] or self.of_host(host)
