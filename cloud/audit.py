"""The audit of a cloud's logs: folds them again, and checks what was accepted with arithmetic of its own.

What a claim came to is taken from the fold, as every reader has it. Whether
that was right is then computed from the events alone, in plain dictionaries,
so that a fault of the fold shows.
"""

from collections import Counter, defaultdict

from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.reading import records_of
from rpc_api import events
from rpc_api.codec import Event


class CellAudit:
    """Who holds what in one cell, by the events and the outcomes of its claims.

    ``over_commitments`` and ``group_breaches`` are lists of sentences: they are empty for a sound log.
    """

    def __init__(self, on_change=lambda audit: None):
        self.capacity = {}
        self.providers = {}
        self.used = Counter()
        self.held = {}
        self.over_commitments = []
        self.group_breaches = []
        self._groups = defaultdict(dict)
        self._on_change = on_change

    def host_reported(self, event):
        inventory = events.thaw("HostInventory", event.data.inventory)
        self.providers[event.data.host] = [provider.uuid for provider in inventory.providers]
        for provider in inventory.providers:
            for one in provider.inventories:
                self.capacity[provider.uuid, one.resource_class] = int(
                    (one.total - one.reserved) * one.allocation_ratio)

    def claim_accepted(self, position, claim):
        self._hold(claim.consumer_uuid, claim.host, claim.allocations, claim.rule)
        for allocation in claim.allocations:
            key = allocation.provider_uuid, allocation.resource_class
            if self.used[key] > self.capacity.get(key, 0):
                self.over_commitments.append(
                    f"position {position}: {claim.consumer_uuid} takes {allocation.resource_class} of "
                    f"{claim.host} to {self.used[key]}, capacity {self.capacity.get(key, 0)}")
        if claim.rule is not None:
            self._check_group(position, claim.rule)

    def _check_group(self, position, rule):
        members = self._groups[rule.group_uuid].values()
        if rule.policy == "together":
            domains = sorted({member.domain for member in members})
            if len(domains) > 1:
                self.group_breaches.append(f"position {position}: group {rule.group_uuid} is on {', '.join(domains)}")
        elif rule.policy == "spread":
            partitions = {member.partition for member in members if member.domain == rule.domain}
            if len(partitions) > rule.limit:
                self.group_breaches.append(f"position {position}: group {rule.group_uuid} has {len(partitions)} "
                                           f"partitions in {rule.domain}, limit {rule.limit}")

    def log_rebased(self):
        """What stood in front counts no more: hosts and what they run are reported again, claims are lost."""
        for consumer in list(self.held):
            self.release(consumer)
        self.capacity.clear()
        self.providers.clear()

    def _hold(self, consumer, host, allocations, rule):
        self.release(consumer)
        self.held[consumer] = (host, allocations, rule)
        for provider_uuid, resource_class, amount in allocations:
            self.used[provider_uuid, resource_class] += amount
        if rule is not None:
            self._groups[rule.group_uuid][consumer] = rule
        self._on_change(self)

    def release(self, consumer, host=None):
        """A consumer gives back what it holds (``host``: only if it is there)."""
        held = self.held.get(consumer)
        if held is None or host not in (None, held[0]):
            return
        del self.held[consumer]
        for provider_uuid, resource_class, amount in held[1]:
            self.used[provider_uuid, resource_class] -= amount
        if held[2] is not None:
            self._groups[held[2].group_uuid].pop(consumer, None)
        self._on_change(self)


class Audit:
    """The audit of all logs of a cloud: ``cells`` are the audits of its cells by name.

    ``reasons``: instance -> operator's summary of its last refusal; ``decision_ns``: durations of all decisions;
    ``counts``: decisions, conflicts and alternates_refused (claims refused, of schedulers and of conductors), events,
    set_aside.
    """

    def __init__(self, on_change=lambda cell, audit: None):
        self.cells = {}
        self.reasons = {}
        self.decision_ns = []
        self.counts = Counter()
        self._on_change = on_change

    def read(self, cell: str, url: str) -> None:
        """Fold and check one log."""
        self.fold(cell, records_of(url))

    def fold(self, cell: str, records) -> None:
        """Fold and check the (position, DecodedRecord) pairs of one log."""
        audit = self.cells[cell] = CellAudit(lambda changed: self._on_change(cell, changed))
        projection = Projection(cell, HostTable())
        for position, record in records:
            outcomes, _ = projection.fold([(position, record)])
            accepted = {outcome.claim_uuid for outcome in outcomes if outcome.reason is None}
            for outcome in outcomes:
                if outcome.reason is not None:
                    by_conductor = outcome.producer.startswith("conductor/")
                    self.counts["alternates_refused" if by_conductor else "conflicts"] += 1
            self.counts["claims"] += len(accepted)
            for event in record.events:
                if isinstance(event, Event):
                    self._event(audit, position, event, accepted)
        self.counts["set_aside"] += projection.counts["set-aside"]
        self.counts["divergences"] += projection.counts["divergence"]

    def _event(self, audit, position, event, accepted):
        data = event.data
        self.counts["events"] += 1
        if event.name == "HostReported":
            audit.host_reported(event)
        elif event.name == "ClaimProposed":
            if data.claim_uuid in accepted:
                audit.claim_accepted(position, data)
        elif event.name == "LogRebased":
            audit.log_rebased()
        elif event.name in ("ClaimReleased", "ClaimExpired"):
            audit.release(data.consumer_uuid)
        elif event.name == "InstanceDeleted":
            audit.release(data.instance_uuid, data.host)
        elif event.name == "DecisionMade":
            self.counts["decisions"] += 1
            self.decision_ns.append(data.took_ns)
            if data.outcome == "no_valid_host":
                self.reasons[data.instance_uuid] = data.reason
