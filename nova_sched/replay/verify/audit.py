"""The audit of a cloud's logs: folds them again, and checks the accepted claims with arithmetic of its own.

The outcome of a claim comes from the fold. Whether it was right is then computed from the events alone, in plain
dictionaries, so that a fault of the fold is found.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

from nova_sched.projection import provider_tree
from nova_sched.projection.ledger import RUNNING
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.reading import records_of
from rpc_api import errors, events
from rpc_api.codec import MAX_EVENTS_A_RECORD, Event
from rpc_api.digest import MASK, consumer_hash, pool_key

#: Number of sentences to keep per kind of broken law; all are counted.
KEPT = 1000
#: Before every (producer epoch, sequence).
NOTHING = (0, 0)


class Held(NamedTuple):
    """What a consumer has on a host; ``claim_uuid`` is None for an instance that runs without a claim, ``hash`` is None
    for one that does not run."""

    instance_uuid: str
    allocations: tuple
    rule: object
    guest: object
    claim_uuid: str | None
    hash: int | None = None

    @property
    def running(self):
        return self.hash is not None


class _Host:
    """A host by its last report: its packed inventory, its providers, and the counts of the audit."""

    def __init__(self):
        self.inventory = None
        self.providers = []
        self.held = {}
        self.digest = 0
        #: NUMA node -> (dedicated CPUs, {page size: available pages}); key of a PCI pool -> number of devices.
        self.nodes, self.pools = {}, {}


class CellAudit:
    """What consumers hold in one cell, by the events and the outcomes of its claims.

    ``over_commitments`` and ``group_breaches`` are lists of sentences: they are empty for a sound log. ``capacity``
    and ``used`` are by (provider, resource class), ``providers`` by host.
    """

    def __init__(self, on_change=lambda audit: None):
        self.capacity = {}
        self.used = Counter()
        self.hosts = {}
        self.over_commitments = []
        self.group_breaches = []
        self._groups = defaultdict(dict)
        #: Consumer -> names of the hosts on which it holds resources.
        self._where = defaultdict(set)
        #: Producer -> (epoch, sequence) of its last event that counted.
        self.spoken = {}
        self._on_change = on_change

    @property
    def providers(self):
        """Return host -> uuids of its providers."""
        return {name: host.providers for name, host in self.hosts.items()}

    @classmethod
    def beginning(cls, projection, on_change=lambda audit: None) -> "CellAudit":
        """Return an audit that starts with the state of a projection."""
        audit = cls(on_change)
        audit.spoken.update(projection.producers)
        for name, host in projection.hosts.items():
            audit._write(name, host.inventory)
            for entry in host.entries.values():
                audit._hold(
                    name,
                    entry.consumer_uuid,
                    Held(
                        entry.instance_uuid,
                        entry.allocations,
                        entry.rule,
                        _guest(entry.guest),
                        entry.claim_uuid,
                        entry.hash if entry.state == RUNNING else None,
                    ),
                )
        return audit

    # --- hosts ---------------------------------------------------------------------------------------------------

    def host_reported(self, data):
        host = self._write(data.host, data.inventory)
        if host.digest == data.consumers_digest:
            return
        reported = {
            consumer.instance_uuid: consumer for consumer in events.thaw("HostConsumers", data.consumers).consumers
        }
        kept = {}
        for consumer, held in sorted(host.held.items()):
            running = reported.get(held.instance_uuid)
            better = running is not None and _rank(consumer, held, running)
            if better and (held.instance_uuid not in kept or better < kept[held.instance_uuid][0]):
                kept[held.instance_uuid] = better, consumer
        for consumer, held in list(host.held.items()):
            if held.running and kept.get(held.instance_uuid, (None, None))[1] != consumer:
                self._release(data.host, consumer)
        for running in reported.values():
            self._run(data.host, running, kept.get(running.instance_uuid, (None, None))[1])

    def _write(self, name, packed):
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = _Host()
        if host.inventory != packed:
            inventory = provider_tree.read(packed).inventory
            self._forget_capacity(host)
            host.inventory = packed
            host.providers = [provider.uuid for provider in inventory.providers]
            for provider in inventory.providers:
                for inventory_ in provider.inventories:
                    amount = (inventory_.total - inventory_.reserved) * inventory_.allocation_ratio
                    self.capacity[provider.uuid, inventory_.resource_class] = int(min(max(amount, 0.0), 2.0**53))
            host.nodes = {
                node.id: (
                    frozenset(node.dedicated_cpus),
                    {pages.size_kb: pages.total - pages.reserved for pages in node.pages},
                )
                for node in inventory.numa_cells
            }
            host.pools = {pool_key(pool): pool.count for pool in inventory.pci_pools}
        return host

    def _forget_capacity(self, host):
        gone = set(host.providers)
        for key in [key for key in self.capacity if key[0] in gone] if gone else ():
            del self.capacity[key]

    def host_removed(self, name):
        """Remove a host and everything that it holds."""
        host = self.hosts.get(name)
        if host is not None:
            for consumer in list(host.held):
                self._release(name, consumer)
            self._forget_capacity(self.hosts.pop(name))

    def started(self, name, running):
        """Note that an instance runs on a host: its claim becomes the host's use."""
        host = self.hosts.get(name)
        if host is not None:
            consumer = min(
                (consumer for consumer, held in host.held.items() if held.instance_uuid == running.instance_uuid),
                key=lambda consumer: (consumer != running.instance_uuid, _rank(consumer, host.held[consumer], running)),
                default=None,
            )
            self._run(name, running, consumer)

    def _run(self, name, running, consumer):
        """Let a running instance replace what ``consumer`` holds on a host (None: nothing)."""
        before = None if consumer is None else self.hosts[name].held.get(consumer)
        # An agent that reports no guest does not know it.
        guest = before.guest if before and running.guest is None else _guest(running.guest)
        rule = before.rule if before and before.rule else running.rule
        self._hold(
            name,
            consumer or running.instance_uuid,
            Held(
                running.instance_uuid,
                running.allocations,
                rule,
                guest,
                before and before.claim_uuid,
                consumer_hash(running.instance_uuid, running.allocations, running.guest),
            ),
        )

    # --- claims --------------------------------------------------------------------------------------------------

    def claim_accepted(self, position, claim):
        """Count an accepted claim, and check that it was right to accept it."""
        self._hold(
            claim.host,
            claim.consumer_uuid,
            Held(claim.instance_uuid, claim.allocations, claim.rule, _guest(claim.guest), claim.claim_uuid),
        )
        for allocation in claim.allocations:
            key = allocation.provider_uuid, allocation.resource_class
            if self.used[key] > self.capacity.get(key, 0):
                self._over(
                    f"position {position}: {claim.consumer_uuid} takes {allocation.resource_class} of "
                    f"{claim.host} to {self.used[key]}, capacity {self.capacity.get(key, 0)}"
                )
        held = self.hosts[claim.host].held[claim.consumer_uuid]
        if held.guest is not None and (held.guest.numa or held.guest.pci):
            for fault in _device_faults(self.hosts[claim.host], claim.consumer_uuid, held.guest):
                self._over(f"position {position}: {claim.consumer_uuid} takes {fault} of {claim.host}")
        if claim.rule is not None:
            self._check_group(position, claim)

    def _over(self, sentence):
        if len(self.over_commitments) < KEPT:
            self.over_commitments.append(sentence)

    def _check_group(self, position, claim):
        rule = claim.rule
        members = self._groups[rule.group_uuid].values()
        if rule.policy == "together":
            # A group may be on several hosts already, but a claim adds none, unless the only member moves.
            domains = {member.domain for member in members if member.partition != rule.partition}
            if domains and rule.domain not in domains and claim.companion not in self.hosts[claim.host].held:
                domains = sorted({rule.domain, *domains})
                self.group_breaches.append(f"position {position}: group {rule.group_uuid} is on {', '.join(domains)}")
        elif rule.policy == "spread":
            partitions = {member.partition for member in members if member.domain == rule.domain}
            if len(partitions) > rule.limit:
                self.group_breaches.append(
                    f"position {position}: group {rule.group_uuid} has {len(partitions)} "
                    f"partitions in {rule.domain}, limit {rule.limit}"
                )

    def claim_ended(self, data):
        """Remove a released or expired claim, but not a running instance."""
        for name, consumer, held in self._holdings(data.consumer_uuid):
            if held.claim_uuid == data.claim_uuid and not held.running:
                self._release(name, consumer)

    def deleted(self, name, instance_uuid):
        """Remove an instance that does not run on a host any more."""
        host = self.hosts.get(name)
        for consumer, held in list(host.held.items()) if host else ():
            if held.instance_uuid == instance_uuid and held.running:
                self._release(name, consumer)

    def moved(self, data):
        """Pass what a consumer holds on a host to another consumer."""
        host = self.hosts.get(data.host)
        held = host.held.get(data.from_consumer_uuid) if host else None
        if held is not None and not any(self._holdings(data.to_consumer_uuid)):
            self._release(data.host, data.from_consumer_uuid)
            self._hold(data.host, data.to_consumer_uuid, held)

    def log_rebased(self):
        """Start again after a rebase: hosts report again, and claims are lost."""
        for name in list(self.hosts):
            self.host_removed(name)
        self.capacity.clear()

    # --- counting ------------------------------------------------------------------------------------------------

    def _holdings(self, consumer):
        return [(name, consumer, self.hosts[name].held[consumer]) for name in self._where.get(consumer, ())]

    def _hold(self, name, consumer, held):
        self._release(name, consumer)
        host = self.hosts[name]
        host.held[consumer] = held
        self._where[consumer].add(name)
        self._count(host, consumer, held, +1)
        if held.rule is not None:
            self._groups[held.rule.group_uuid][consumer, name] = held.rule
        self._on_change(self)

    def _release(self, name, consumer):
        """Release what a consumer holds on a host."""
        host = self.hosts.get(name)
        held = host.held.pop(consumer, None) if host else None
        if held is None:
            return
        self._where[consumer].discard(name)
        if not self._where[consumer]:
            del self._where[consumer]
        self._count(host, consumer, held, -1)
        if held.rule is not None:
            members = self._groups[held.rule.group_uuid]
            members.pop((consumer, name), None)
            if not members:
                del self._groups[held.rule.group_uuid]
        self._on_change(self)

    def _count(self, host, consumer, held, sign):
        if held.running:
            host.digest = (host.digest + sign * held.hash) & MASK
        for provider_uuid, resource_class, amount in held.allocations:
            self.used[provider_uuid, resource_class] += sign * amount


def _rank(consumer, held, guest):
    """Sort key of what an instance holds on one host: the least of it runs (a resize in place holds more)."""
    return sorted(held.allocations) != sorted(guest.allocations), not held.running, consumer


def _guest(packed):
    """Return the Guest of a claim; None if it has none, or if it cannot be read."""
    try:
        return None if packed is None else events.thaw("Guest", packed)
    except errors.InvalidEvent:
        return None


def _device_faults(host, consumer, guest):
    """Give sentences about pinned CPUs, pages and PCI devices that a guest shares with another, or that the host
    lacks."""
    others = [held.guest for other, held in host.held.items() if other != consumer and held.guest is not None]
    for use in guest.numa:
        dedicated, pages = host.nodes.get(use.cell, (frozenset(), {}))
        pinned = _cpus(use)
        taken = pinned & {cpu for other in others for node in other.numa for cpu in _cpus(node)}
        if taken:
            yield f"CPU {', '.join(map(str, sorted(taken)))}, which another guest has,"
        if pinned - dedicated:
            yield f"CPU {', '.join(map(str, sorted(pinned - dedicated)))}, which is not for pinning,"
        if use.page_kb:
            wanted = sum(
                -(-node.memory_mb * 1024 // use.page_kb)
                for each in (guest, *others)
                for node in each.numa
                if (node.cell, node.page_kb) == (use.cell, use.page_kb)
            )
            if wanted > pages.get(use.page_kb, 0):
                yield f"pages of {use.page_kb} kB of NUMA node {use.cell} to {wanted}, of {pages.get(use.page_kb, 0)},"
    for pool in {use.pool for use in guest.pci}:
        wanted = sum(use.count for each in (guest, *others) for use in each.pci if use.pool == pool)
        if wanted > host.pools.get(pool, 0):
            yield f"devices of the PCI pool {pool} to {wanted}, of {host.pools.get(pool, 0)},"


def _cpus(use):
    """Return the host CPUs that only one NUMAUse has."""
    return {host for _, host in use.pins} | set(use.reserved_cpus)


# --- logs ------------------------------------------------------------------------------------------------------------

#: Name of an event -> its handler (audit of the cell, event's data).
_HANDLERS = {
    "HostReported": CellAudit.host_reported,
    "HostRemoved": lambda audit, data: audit.host_removed(data.host),
    "InstanceStarted": lambda audit, data: audit.started(data.host, data.consumer),
    "InstanceDeleted": lambda audit, data: audit.deleted(data.host, data.instance_uuid),
    "ClaimReleased": CellAudit.claim_ended,
    "ClaimExpired": CellAudit.claim_ended,
    "AllocationMoved": CellAudit.moved,
    "LogRebased": lambda audit, data: audit.log_rebased(),
}


class Audit:
    """The audit of all logs of a cloud: ``cells`` are the audits of its cells by name.

    ``reasons``: instance -> operator's summary of its last refusal; ``decision_ns``: durations of all decisions;
    ``placed``: instances of which a claim was accepted (all three only with ``of_decisions``); ``counts``: decisions,
    conflicts and alternates_refused (claims refused, of schedulers and of conductors), claims, events, set_aside,
    divergences.
    """

    def __init__(self, on_change=lambda cell, audit: None, of_decisions: bool = True):
        self.cells = {}
        self.reasons = {}
        self.placed = set()
        self.decision_ns = []
        self.counts = Counter()
        self._on_change = on_change
        self._of_decisions = of_decisions

    def read(self, cell: str, url: str) -> None:
        """Fold and check one log."""
        self.fold(cell, records_of(url))

    def fold(self, cell: str, records) -> None:
        """Fold and check the (position, DecodedRecord) pairs of one log."""
        self.begin(cell)
        projection = Projection(cell, HostTable(), kept=None)
        for position, record in records:
            outcomes, _ = projection.fold([(position, record)])
            self.record(cell, position, record, outcomes, taken_out(projection))
        self.counts["set_aside"] += projection.counts["set-aside"]
        self.counts["divergences"] += projection.counts["divergence"]

    def begin(self, cell: str, projection=None) -> None:
        """Start with a cell's log, at the state of a projection (default: an empty state)."""

        def changed(audit):
            self._on_change(cell, audit)

        self.cells[cell] = CellAudit(changed) if projection is None else CellAudit.beginning(projection, changed)

    def record(self, cell, position, record, outcomes, aside=()) -> None:
        """Check a folded record: the ``outcomes`` of its claims, and the indexes of its events that were set
        ``aside``."""
        accepted = set()
        for outcome in outcomes:
            if outcome.reason is None:
                accepted.add(outcome.claim_uuid)
                self.counts["claims"] += 1
            else:
                by_conductor = outcome.producer.startswith("conductor/")
                self.counts["alternates_refused" if by_conductor else "conflicts"] += 1
        audit = self.cells[cell]
        spoken = audit.spoken
        self.counts["events"] += len(record.events)
        for index, event in enumerate(record.events):
            if type(event) is Event:
                mark = event.producer_epoch, event.sequence
                if event.name == "LogRebased":
                    spoken.clear()
                if (aside and index in aside) or mark <= spoken.get(event.producer, NOTHING):
                    continue
                spoken[event.producer] = mark
                handler = _HANDLERS.get(event.name)
                if handler is not None:
                    handler(audit, event.data)
                elif event.name == "ClaimProposed" and event.data.claim_uuid in accepted:
                    audit.claim_accepted(position, event.data)
                    if self._of_decisions:
                        self.placed.add(event.data.instance_uuid)
                elif event.name == "DecisionMade":
                    self._decision(event.data)

    def _decision(self, data):
        self.counts["decisions"] += 1
        if self._of_decisions:
            self.decision_ns.append(data.took_ns)
            if data.outcome == "no_valid_host":
                self.reasons[data.instance_uuid] = data.reason


def taken_out(projection):
    """Take the set-aside events of the last record out of a projection's quarantine, and return their indexes."""
    found = projection.quarantine
    if not found:
        return ()
    # A record of another epoch is set aside as a whole.
    numbers = (
        range(MAX_EVENTS_A_RECORD)
        if any(aside.code == "foreign-epoch" for aside in found)
        else {aside.index for aside in found}
    )
    found.clear()
    return numbers
