"""What changed between two moments, and the events that did it.

The state is folded to the first moment, and the facts to compare are copied. Then it is folded on to the second moment,
and the last few events about each host, instance and aggregate are kept.
"""

from typing import NamedTuple

from nova_sched.projection import provider_tree
from nova_sched.projection.ledger import AGENT, HELD, NO_HOST, RUNNING, Host
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.state.hosts import Sums, amounts_of, status_of, wanted
from nova_sched.replay.state.ledger_rows import inventories_as_facts, name_rows_of, waiting_rows_of
from rpc_api import errors
from rpc_api.codec import Event

#: The fact of a provider that each write raises.
GENERATION = "generation"
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


class _Facts(NamedTuple):
    """The facts of a host that are compared. ``entries``: consumer uuid -> (instance uuid, state, resources as
    text)."""

    status: tuple
    load: tuple
    inventory: bytes
    entries: dict
    aggregates: tuple
    free: dict
    authority: str = AGENT


class _LedgerFacts(NamedTuple):
    """The facts of a log that is a ledger: provider -> (name, host, facts), of those that no report of a host has;
    consumer -> its terms in words; (kind, name) -> True; host -> root provider for which it waits."""

    providers: dict
    consumers: dict
    names: dict
    waiting: dict


def difference(history, first: dict, last: dict, patterns=()) -> list[Change]:
    """Return the changes from the positions ``first`` to ``last`` (cell -> position), by cell, kind, host; ``patterns``
    are names or globs of hosts.

    Raise UsageError if a cell's first position is after its last one, and LogGap as ``History.world_at``.
    """
    for cell, position in first.items():
        if position > last[cell]:
            raise errors.UsageError(
                f"the first moment is position {position} of {cell}, after the second, which is "
                f"{last[cell]}; name the earlier one first"
            )
    world = history.world_at(first)
    before = {cell: _facts(world, cell, patterns) for cell in first}
    ledger = {cell: _ledger_facts(world.projections[cell], patterns) for cell in first}
    # (An aggregate is in the log of one cell, and may have hosts of other cells.)
    causes = {cell: _Causes(before[cell], world.projections[cell]) for cell in first}
    for cell in first:
        world.projections[cell].writes = []
        history.forward(world, cell, last[cell], causes[cell].watch)
    of_aggregates = {name: kept for cause in causes.values() for name, kept in cause.aggregates.items()}
    changes = []
    for cell in sorted(first):
        found = _changes(cell, before[cell], _facts(world, cell, patterns), causes[cell], of_aggregates)
        found = [
            *found,
            *_ledger_changes(
                cell,
                ledger[cell],
                _ledger_facts(world.projections[cell], patterns),
                causes[cell],
                before[cell].keys() ^ world.projections[cell].hosts.keys(),
            ),
        ]
        changes += sorted(found, key=lambda change: (KINDS.index(change.kind), change.host or "", change.what or ""))
    return changes


# --- what is compared ------------------------------------------------------------------------------------------------


def _facts(world, cell, patterns):
    """Host -> :class:`_Facts` of a cell."""
    table, projection, sums = world.table, world.projections[cell], Sums(world.table)
    groups = {}
    for uuid, aggregate in table.aggregates.items():
        for host in aggregate.hosts:
            groups.setdefault(host, []).append((uuid, aggregate.name, tuple(sorted(aggregate.metadata.items()))))
    free = [entry for entries in projection.consumers.values() for entry in entries if entry.host == NO_HOST]
    of_none = {} if patterns or not free else {NO_HOST: _Facts((), (), b"", _entries(free), (), {})}
    return of_none | {
        name: _Facts(
            status_of(host),
            (("num_io_ops", host.status.num_io_ops), ("failed_builds", host.status.failed_builds)),
            host.inventory,
            _entries(host.entries.values()),
            tuple(sorted(groups.get(name, ()))),
            {resource_class: capacity - used for resource_class, (used, capacity) in sums.of(host.root).items()},
            host.authority,
        )
        for name, host in projection.hosts.items()
        if wanted(name, patterns)
    }


def _entries(entries):
    return {
        entry.consumer_uuid: (entry.instance_uuid, entry.state, _text(amounts_of(entry.allocations)))
        for entry in entries
    }


def _ledger_facts(projection, patterns):
    if not projection.rules.one_ledger:
        return _LedgerFacts({}, {}, {}, {})
    return _LedgerFacts(
        {
            uuid: _provider_facts(projection, uuid, tree)
            for uuid, tree in projection.trees.items()
            if not (type(tree) is Host and _is_in_report(projection, uuid, tree))
            and _of_patterns(projection, uuid, patterns)
        },
        {
            uuid: _terms(projection, uuid, holder)
            for uuid, holder in projection.holders.items()
            if any(wanted(entry.host, patterns) for entry in projection.consumers[uuid])
        },
        {} if patterns else {(row.kind, row.name): True for row in name_rows_of(projection)},
        {row.host: row.root for row in waiting_rows_of(projection) if wanted(row.host, patterns)},
    )


def _is_in_report(projection, uuid, tree):
    """Whether the inventory of a host has a provider, and is compared as a whole."""
    return type(tree) is Host and not tree.providers and bool(projection.table.reported[tree.rows[uuid]])


def _of_patterns(projection, uuid, patterns):
    tree = projection.trees[uuid]
    names = (projection.table.provider_names[tree.rows[uuid]], tree.name if type(tree) is Host else "")
    return any(wanted(name, patterns) for name in names)


def _provider_facts(projection, uuid, tree):
    facts, row = inventories_as_facts(projection, uuid), tree.rows[uuid]
    host = tree.name if type(tree) is Host else None
    # (Each claim raises the generation of what an agent reports: nobody asks for that.)
    if not projection.table.reported[row]:
        facts[GENERATION] = str(projection.table.generation.item(row))
    return facts["name"], host, facts


def _terms(projection, uuid, holder):
    of = (("type", holder.consumer_type), ("project", holder.project_id), ("user", holder.user_id))
    return ", ".join([f"generation {holder.generation}", *(f"{name} {value}" for name, value in of if value)])


def _text(amounts):
    return ",".join(f"{name}={amount}" for name, amount in amounts.items())


# --- why -------------------------------------------------------------------------------------------------------------


class _Causes:
    """The last few events about each host, each instance and each aggregate."""

    #: Events that change a host itself; those about its instances are kept with the instances.
    OF_HOST = frozenset({"HostReported", "HostLost", "HostSeen", "HostRemoved", "ProvidersReported", "AuthorityPassed"})

    def __init__(self, before, projection):
        self.hosts, self.instances, self.aggregates = {}, {}, {}
        self.providers, self.uses, self.names = {}, {}, {}
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
            self._keep(self.uses if event.name == "AllocationsPut" else self.providers, uuid, cause)
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
        """Return the events about a consumer on any host."""
        found = {
            cause
            for key, kept in self.instances.items()
            if (key if type(key) is str else key[0]) == uuid
            for cause in kept
        }
        return tuple(sorted(found))[-KEPT:]

    def of_entry(self, consumer_uuid, instance_uuid, host):
        """Return the events about a consumer on a host; those of the host if a full report of it made the change."""
        found = {
            *self.instances.get((consumer_uuid, host), ()),
            *self.instances.get((instance_uuid, host), ()),
            *self.instances.get(consumer_uuid, ()),
        }
        return tuple(sorted(found))[-KEPT:] or self.of_host(host)


# --- what changed ----------------------------------------------------------------------------------------------------


def _changes(cell, before, after, causes, of_aggregates):
    for host in before.keys() - after.keys() - {NO_HOST}:
        yield Change(cell, host, REMOVED, None, before[host].status[0], None, causes.of_host(host))
    for host in after.keys() - before.keys() - {NO_HOST}:
        yield Change(cell, host, ADDED, None, None, _shown(after[host].status), causes.of_host(host))
    for host in (before.keys() & after.keys()) - {NO_HOST}:
        yield from _host_changes(cell, host, before[host], after[host], causes, of_aggregates)
    yield from _entry_changes(cell, before, after, causes)
    for host in before.keys() | after.keys():
        was, now = before[host].free if host in before else {}, after[host].free if host in after else {}
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                yield Change(cell, host, FREE, name, _number(was.get(name)), _number(now.get(name)), ())


def _number(value):
    return None if value is None else str(value)


def _shown(status):
    return status[0] if status[1] is None else f"{status[0]} ({status[1]})"


def _host_changes(cell, host, was, now, causes, of_aggregates):
    if was.status != now.status:
        yield Change(cell, host, STATUS, None, _shown(was.status), _shown(now.status), causes.of_host(host))
    for (name, old), (_, other) in zip(was.load, now.load, strict=True):
        if old != other:
            yield Change(cell, host, STATUS, name, str(old), str(other), causes.of_host(host))
    if was.authority != now.authority:
        yield Change(cell, host, AUTHORITY, None, was.authority, now.authority, causes.of_host(host))
    if was.inventory != now.inventory:
        for what, change, other in _inventory_changes(was.inventory, now.inventory):
            yield Change(cell, host, INVENTORY, what, change, other, causes.of_host(host))
    if was.aggregates != now.aggregates:
        uuids = {uuid for uuid, *_ in {*was.aggregates} ^ {*now.aggregates}}
        yield Change(
            cell,
            host,
            AGGREGATES,
            None,
            _groups(was.aggregates),
            _groups(now.aggregates),
            tuple(sorted(cause for uuid in uuids for cause in of_aggregates.get(uuid, ())))[-KEPT:],
        )


def _ledger_changes(cell, was, now, causes, other_hosts):
    """Give what changed beside the facts of hosts. ``other_hosts`` were added or removed, with their providers."""
    for uuid in was.providers.keys() | now.providers.keys():
        before, after = was.providers.get(uuid), now.providers.get(uuid)
        if (before is None or after is None) and (before or after)[1] in other_hosts:
            continue
        yield from _provider_changes(cell, uuid, before, after, causes)
    for uuid in was.consumers.keys() & now.consumers.keys():
        if was.consumers[uuid] != now.consumers[uuid]:
            yield Change(cell, None, CONSUMER, uuid, was.consumers[uuid], now.consumers[uuid], causes.of_consumer(uuid))
    for kind, name in was.names.keys() ^ now.names.keys():
        before, after = ("there" if (kind, name) in of.names else None for of in (was, now))
        yield Change(cell, None, NAME, f"{kind} {name}", before, after, causes.names.get(name, ()))
    for host in was.waiting.keys() | now.waiting.keys():
        before, after = was.waiting.get(host), now.waiting.get(host)
        if before != after:
            yield Change(cell, host, WAITS, "root provider", before, after, causes.of_host(host))


def _provider_changes(cell, uuid, was, now, causes):
    name, host, _ = now or was
    if was is None or now is None or was[1] != now[1]:
        before, after = (None if of is None else _provider_text(of) for of in (was, now))
        yield Change(cell, host, PROVIDER, f"{name} {uuid}", before, after, causes.of_provider(uuid, host))
    if was is not None and now is not None:
        facts, others = was[2], now[2]
        for fact in sorted(facts.keys() | others.keys()):
            if facts.get(fact) != others.get(fact):
                because = causes.of_provider(uuid, host, fact == GENERATION)
                yield Change(cell, host, PROVIDER, f"{name} {fact}", facts.get(fact), others.get(fact), because)


def _provider_text(of):
    _, host, facts = of
    totals = [f"{fact.removesuffix(' total')}={value}" for fact, value in facts.items() if fact.endswith(" total")]
    generation = [f"{GENERATION} {facts[GENERATION]}"] if GENERATION in facts else []
    return ", ".join([f"of host {host}" if host else "of no host", *generation, *totals])


def _groups(aggregates):
    return (
        ", ".join(
            name + (f" ({', '.join(f'{key}={value}' for key, value in metadata)})" if metadata else "")
            for _, name, metadata in aggregates
        )
        or None
    )


def _entry_changes(cell, before, after, causes):
    was, now = _held(before), _held(after)
    for consumer, instance in was.keys() | now.keys():
        old, other = was.get((consumer, instance), {}), now.get((consumer, instance), {})
        gone, come = sorted(old.keys() - other.keys()), sorted(other.keys() - old.keys())
        named = instance if consumer == instance else f"{instance} as {consumer}"
        for source, target in zip(gone, come, strict=False):
            causes_ = {*causes.of_entry(consumer, instance, source), *causes.of_entry(consumer, instance, target)}
            yield Change(
                cell, target or None, MOVED, named, source or None, target or None, tuple(sorted(causes_))[-KEPT:]
            )
        for host in come[len(gone) :]:
            yield Change(
                cell, host or None, CAME, named, None, " ".join(other[host]), causes.of_entry(consumer, instance, host)
            )
        for host in gone[len(come) :]:
            yield Change(
                cell, host or None, WENT, named, " ".join(old[host]), None, causes.of_entry(consumer, instance, host)
            )
        for host in old.keys() & other.keys():
            if old[host] != other[host]:
                kind = {RUNNING: RUNS, HELD: HOLDS}.get(other[host][0], CLAIMED_AGAIN)
                yield Change(
                    cell,
                    host or None,
                    kind,
                    named,
                    " ".join(old[host]),
                    " ".join(other[host]),
                    causes.of_entry(consumer, instance, host),
                )


def _held(facts):
    """Return (consumer, instance) -> host -> (state, resources)."""
    held = {}
    for host, fact in facts.items():
        for consumer, (instance, state, amounts) in fact.entries.items():
            held.setdefault((consumer, instance), {})[host] = (state, amounts)
    return held


def _inventory_changes(old, other):
    """Give (what, before, after) for each field that differs between two packed HostInventory records."""
    was, now = (_fields(provider_tree.read(packed)) for packed in (old, other))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield name, was.get(name), now.get(name)


def _fields(tree):
    inventory = tree.inventory
    fields = {
        name: str(getattr(inventory, name))
        for name in (
            "nodename",
            "availability_zone",
            "host_ip",
            "hypervisor_type",
            "hypervisor_version",
            "cpu_info",
            "supported_instances",
        )
    }
    fields |= {f"stats {name}": value for name, value in inventory.stats.items()}
    fields |= {f"{inventory.providers[index].name} fault": fault for index, fault in tree.faults.items()}
    for provider in inventory.providers:
        for inventory_ in provider.inventories:
            fields |= {
                f"{provider.name} {inventory_.resource_class} {name}": str(value)
                for name, value in inventory_._asdict().items()
                if name != "resource_class"
            }
        fields |= {f"{provider.name} trait {trait}": "yes" for trait in provider.traits}
        fields |= {f"{provider.name} aggregate {uuid}": "yes" for uuid in provider.aggregates}
        fields[f"{provider.name} provider"] = provider.uuid
    for cell in inventory.numa_cells:
        fields |= {f"NUMA node {cell.id} {name}": str(value) for name, value in cell._asdict().items() if name != "id"}
    for pool in inventory.pci_pools:
        node = "" if pool.numa_node is None else f" of NUMA node {pool.numa_node}"
        tags = "".join(f" {name}={value}" for name, value in sorted(pool.tags.items()))
        fields[f"PCI {pool.vendor_id}:{pool.product_id}{node}{tags}"] = str(pool.count)
    return fields
