"""The audit of one cell: what its events come to, and whether its claims and writes were rightly answered."""

from nova_sched.projection.ledger import AGENT, NO_HOST
from nova_sched.projection.provider_rows import parent_of
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.verify import import_laws, write_laws
from nova_sched.replay.verify.holdings import NOBODY, Held, guest_of
from nova_sched.replay.verify.hosts_audit import HostsAudit
from nova_sched.replay.verify.providers import Providers

#: Number of sentences to keep per kind of broken law; all are counted.
KEPT = 1000
UUID_LENGTH = 36


class CellAudit(HostsAudit):
    """What consumers hold in one cell, by the events and the outcomes of its claims and writes.

    ``over_commitments``, ``group_breaches`` and ``write_breaches`` are lists of sentences: they are empty for a sound
    log. ``capacity`` and ``used`` are by (provider, resource class), ``providers`` by host. ``providers_of`` are the
    :class:`~nova_sched.replay.verify.providers.Providers` of the log, ``generations`` those of its consumers.
    """

    # --- claims --------------------------------------------------------------------------------------------------

    def claim_accepted(self, position, claim):
        """Count an accepted claim, and check that it was right to accept it."""
        self._hold(
            claim.host,
            claim.consumer_uuid,
            Held(
                claim.instance_uuid,
                claim.allocations,
                claim.rule,
                guest_of(claim.guest),
                claim.claim_uuid,
                None,
                self.hosts[claim.host].authority != AGENT,
            ),
        )
        if self.is_ledger:
            self._mark({allocation.provider_uuid for allocation in claim.allocations})
        for allocation in claim.allocations:
            key = allocation.provider_uuid, allocation.resource_class
            if self.used[key] > self.capacity.get(key, 0):
                self._over(
                    f"position {position}: {claim.consumer_uuid} takes {allocation.resource_class} of "
                    f"{claim.host} to {self.used[key]}, capacity {self.capacity.get(key, 0)}"
                )
        self._check_terms(position, claim.consumer_uuid, claim)

    def _check_terms(self, position, consumer, claim):
        """Check the devices and the group of a claim, or of the terms under which allocations were written."""
        held = self.hosts[claim.host].held[consumer]
        if held.guest is not None and (held.guest.numa or held.guest.pci):
            for fault in _device_faults(self.hosts[claim.host], consumer, held.guest):
                self._over(f"position {position}: {consumer} takes {fault} of {claim.host}")
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
                # What it gives back, a write over several logs that names it holds from now on.
                for write_uuid, part in self.prepared.items():
                    if any(consumer == one.consumer_uuid for one in part.consumers):
                        write_laws.hold(self, write_uuid, part.consumers)

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
        for name, host in list(self.hosts.items()):
            for consumer in list(host.held):
                self._release(name, consumer)
        self.hosts = {NO_HOST: self.hosts[NO_HOST]}
        self.waiting, self.providers_of, self.generations, self._plain = {}, Providers(), {}, {}
        self.prepared, self.committed = {}, {}

    # --- writes of Placement's API -------------------------------------------------------------------------------

    def written(self, position, event, reason):
        """Check whether a write was rightly accepted, or refused for a ``reason``; change what an accepted one
        changes."""
        fault = import_laws.fault_of(self, event)
        # Terms count for a consumer that comes to their host.
        bound = [
            one
            for one in getattr(event.data, "consumers", ())
            if one.terms is not None and one.terms.host not in self._where.get(one.consumer_uuid, ())
        ]
        if reason is None:
            if fault is not None:
                self._wrong(f"position {position}: {_named(event)} was accepted, although {fault}")
            # (No tree can have a loop or a uuid twice.)
            if fault is None or event.name not in import_laws.OF_TREES:
                import_laws.apply(self, event)
            for one in bound:
                if one.consumer_uuid in self.hosts.get(one.terms.host, NOBODY).held:
                    self._check_terms(position, one.consumer_uuid, one.terms)
        elif fault is None and not self._may_be_more(event):
            self._wrong(f"position {position}: {_named(event)} was refused ({reason}), and nothing is in its way")

    def _wrong(self, sentence):
        if len(self.write_breaches) < KEPT:
            self.write_breaches.append(sentence)

    def _may_be_more(self, event):
        """Whether the fold may refuse a write for what the audit does not know: terms depend on the status of a host,
        and use that a host does not report is counted on another of its providers."""
        if any(one.terms is not None for one in getattr(event.data, "consumers", ())):
            return True
        hosts = {self.providers_of.host(uuid) for uuid in subjects(event).providers}
        return any(
            (held.provider_uuid, held.resource_class) not in self.capacity
            for name in hosts - {None}
            for of in self.hosts[name].held.values()
            for held in of.allocations
        )

    def compare(self, position, event, projection):
        """Check that the fold has what the audit has, of all that an event names."""
        of = subjects(event)
        for uuid in of.providers:
            if len(uuid) == UUID_LENGTH:
                self.compare_provider(f"position {position}", uuid, projection)
        for uuid in of.instances:
            self.compare_consumer(f"position {position}", uuid, projection)

    def compare_provider(self, where, uuid, projection):
        """Check the generation, the name and the parent of a provider."""
        tree, mine = projection.trees.get(uuid), self.providers_of.of.get(uuid)
        table = projection.table
        row = None if tree is None else tree.rows[uuid]
        if tree is None or mine is None:
            if (tree is None) != (mine is None):
                self._wrong(f"{where}: the provider {uuid} is {'not ' * (tree is None)}there")
            return
        found = table.generation.item(row), table.provider_names[row], parent_of(table, row)
        for what, one, wanted in zip(
            ("generation", "name", "parent"), found, (mine.generation, mine.name, mine.parent), strict=True
        ):
            if one != wanted:
                self._wrong(f"{where}: the provider {uuid} has the {what} {one}, wanted {wanted}")

    def compare_consumer(self, where, uuid, projection):
        """Check the generation of a consumer, and what it holds."""
        holder = projection.holders.get(uuid)
        generation, wanted = (None if holder is None else holder.generation), self.generations.get(uuid)
        if generation != wanted:
            self._wrong(f"{where}: the consumer {uuid} has the generation {generation}, wanted {wanted}")
        held = sorted(held for entry in projection.consumers.get(uuid, ()) for held in entry.allocations)
        if held != sorted(self.allocations_of(uuid)):
            self._wrong(f"{where}: the consumer {uuid} holds {_text(held)}, wanted {_text(self.allocations_of(uuid))}")

    def compare_all(self, projection):
        """Check all providers and consumers of a log."""
        for uuid in self.providers_of.of.keys() | projection.trees.keys():
            self.compare_provider("at the end", uuid, projection)
        for uuid in self._where.keys() | projection.consumers.keys():
            self.compare_consumer("at the end", uuid, projection)


def _named(event):
    request = getattr(event.data, "request_id", None)
    return f"{event.name} of {event.producer}" + (f", {request}," if request else "")


def _text(allocations):
    return (
        ", ".join(f"{held.amount} {held.resource_class} of {held.provider_uuid}" for held in allocations) or "nothing"
    )


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
