"""Workers of Placement's API in a simulated cloud: they write providers and allocations, with what they know by then.

A worker folds the log of its cell for itself. What it knows may be old, so its guards are often wrong.
"""

import random

from nova_sched.playground.simulation.nodes import TICK, Node
from nova_sched.playground.simulation.world import SimCellLog
from nova_sched.projection.beginning import projection_of
from nova_sched.projection.ledger import NO_HOST
from nova_sched.projection.projection import Projection
from nova_sched.projection.provider_rows import inventories_of
from nova_sched.projection.topology import SHARES
from rpc_api import events
from rpc_api.events import ConsumerPut, Inventory, ProviderInventories

#: Names that workers choose from: few, so that they meet.
PROVIDERS, CONSUMERS = 8, 10
CLASSES = ("DISK_GB", "CUSTOM_A", "CUSTOM_B")
TRAITS = (SHARES, "CUSTOM_FAST")
AGGREGATES = 2
REQUEST = ("req-simulated", "u")


class WriterNode(Node):
    """A worker of one cell."""

    def __init__(self, cloud, name, cell):
        super().__init__(cloud, name)
        self.cell = cell

    def begin(self):
        self.projection = Projection(self.cell, whole=False)
        self._chance = random.Random(f"{self.cloud.seed} {self.name} {self.life}")
        self._is_behind = True
        self._silent = True
        self.log = SimCellLog(
            self.world,
            self.guard,
            self.cloud.logs[self.cell],
            self.name,
            self.clock,
            self.cloud.store,
            self._on_begin,
            self._on_records,
            lambda gap: None,
        )
        self.log.start()
        self.every(2 * TICK, self._tick)

    def _on_begin(self, beginning):
        self._silent = self._is_behind = True
        self.projection = projection_of(self.cell, beginning, accounts_required=bool(self.cloud.require_accounts))

    def _on_records(self, records, at_end):
        for part in self.cloud.checks.parts(self.cell, records):
            self.projection.fold(part)
            self.cloud.checks.folded(self.name, self.cell, self.projection)
        if at_end and self._is_behind:
            self._is_behind = False
        if self._silent and not self._is_behind:
            self._silent = False
            self.log.speak_after(self.projection.producers.get(self.name))

    def partition(self, seconds):
        self.log.partition(seconds)

    def lag(self, seconds):
        self.log.lag(seconds)

    def _tick(self):
        projection = self.projection
        if not (self._is_behind or projection.whole):
            self.log.look_for_snapshot()
        if self._is_behind or not projection.whole or not projection.rules.one_ledger:
            return
        self.log.producer.level = projection.level
        kinds = (self._provider, self._inventories, self._traits, self._aggregates, self._name)
        weights = (3, 5, 2, 2, 2)
        if self._chance.random() < 0.5:
            kinds, weights = (self._allocations, self._move, self._drop, self._reshape), (10, 3, 1, 2)
        data = self._chance.choices(kinds, weights)[0]()
        if data is not None:
            self.log.producer.publish(data)

    # --- what it writes ----------------------------------------------------------------------------------------------

    def _uuid(self, kind, number):
        return f"{kind:08x}-0000-4000-8000-{number + (1 << 16 if self.cell == 'cell2' else 0):012x}"

    def _known(self):
        """The providers that the worker knows and that Placement's API made, in order."""
        return [uuid for uuid in sorted(self.projection.trees) if uuid.startswith("0000000a")]

    def _some_provider(self):
        """A provider that the worker knows, one that may be there, or one of a host."""
        known = self._known()
        if known and self._chance.random() < 0.8:
            return self._chance.choice(known)
        if self.projection.hosts and self._chance.random() < 0.2:
            host = self.projection.hosts[self._chance.choice(sorted(self.projection.hosts))]
            return self._chance.choice(sorted(host.rows))
        return self._uuid(0xA, self._chance.randrange(PROVIDERS))

    def _generation(self, provider_uuid):
        """The generation that the worker knows, or one that is wrong, or none."""
        tree = self.projection.trees.get(provider_uuid)
        if tree is None or self._chance.random() < 0.2:
            return None
        known = self.projection.table.generation.item(tree.rows[provider_uuid])
        return known if self._chance.random() < 0.9 else known + 1

    def _provider(self):
        number = self._chance.randrange(PROVIDERS)
        uuid, name = self._uuid(0xA, number), f"{self.cell}-provider-{number}"
        parent = self._chance.choice((None, None, self._some_provider()))
        drawn = self._chance.random()
        if uuid not in self.projection.trees or drawn < 0.1:
            return events.ProviderCreated(uuid, name, parent, *REQUEST)
        if drawn < 0.7:
            return events.ProviderChanged(uuid, name, parent, self._chance.random() < 0.7, *REQUEST)
        return events.ProviderDeleted(uuid, *REQUEST)

    def _some_inventories(self):
        is_careful = self._chance.random() < 0.8
        there = [name for name in CLASSES if name in self.projection.custom_classes or name == CLASSES[0]]
        return tuple(
            Inventory(name, self._chance.randint(1, 20), 0, 1, 20, self._chance.choice((1, 1, 2)), 1.0)
            for name in (there if is_careful else CLASSES)
            if self._chance.random() < 0.6
        )

    def _inventories(self):
        provider = self._some_provider()
        kind = self._chance.choice(("all", "all", "add", "change", "remove"))
        return events.InventoriesPut(provider, self._generation(provider), kind, self._some_inventories(), *REQUEST)

    def _traits(self):
        provider = self._some_provider()
        traits = tuple(trait for trait in TRAITS if self._chance.random() < 0.5)
        return events.TraitsPut(provider, self._generation(provider), traits, *REQUEST)

    def _aggregates(self):
        provider = self._some_provider()
        uuids = tuple(self._uuid(0xB, number) for number in range(AGGREGATES) if self._chance.random() < 0.6)
        return events.AggregatesPut(provider, self._generation(provider), uuids, *REQUEST)

    def _name(self):
        kind = self._chance.choice(("ClassCreated", "TraitCreated", "ClassCreated", "TraitCreated", "ClassDeleted"))
        names = {"ClassCreated": CLASSES[1:], "TraitCreated": TRAITS[1:], "ClassDeleted": CLASSES[1:]}[kind]
        return getattr(events, kind)(self._chance.choice(names), *REQUEST)

    def _consumer(self, is_held=0.0):
        """A consumer that may be there; with a chance of ``is_held`` one that the worker knows."""
        held = [uuid for uuid in sorted(self.projection.consumers) if uuid.startswith("0000000c")]
        if held and self._chance.random() < is_held:
            return self._chance.choice(held)
        return self._uuid(0xC, self._chance.randrange(CONSUMERS))

    def _put_of(self, consumer_uuid, allocations):
        holder = self.projection.holders.get(consumer_uuid)
        generation = None if holder is None else holder.generation
        if self._chance.random() < 0.1:
            generation = (generation or 0) + 1
        return ConsumerPut(consumer_uuid, self._chance.random() < 0.8, generation, "p", "u", "VOLUME", allocations)

    def _some_allocations(self):
        """Allocations of providers that the worker knows: mostly of what they have, sometimes too much."""
        allocations, table = {}, self.projection.table
        offered = {
            provider: list(inventories_of(table, self.projection.trees[provider].rows[provider]))
            for provider in self._known()
        }
        offering = [provider for provider, names in offered.items() if names]
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            is_careful = offering and self._chance.random() < 0.8
            provider = self._chance.choice(offering) if is_careful else self._some_provider()
            name = self._chance.choice(offered.get(provider) or CLASSES)
            amount = self._chance.choice((2, 2, 4) if is_careful else (1, 2, 4, 8))
            allocations[provider, name] = events.Allocation(provider, name, amount)
        return tuple(allocations.values())

    def _allocations(self):
        uuids = {self._consumer() for _ in range(self._chance.choice((1, 1, 2, 3)))}
        consumers = tuple(self._put_of(uuid, self._some_allocations()) for uuid in sorted(uuids))
        return events.AllocationsPut(consumers, *REQUEST)

    def _move(self):
        """Pass what one consumer holds to another."""
        source, target = self._consumer(is_held=0.8), self._consumer()
        entries = self.projection.consumers.get(source, ())
        if source == target or not entries:
            return None
        sums = {}
        for entry in entries:
            for allocation in entry.allocations:
                key = allocation[:2]
                sums[key] = sums.get(key, 0) + allocation.amount
        held = tuple(events.Allocation(*key, amount) for key, amount in sums.items())
        return events.AllocationsPut((self._put_of(source, ()), self._put_of(target, held)), *REQUEST)

    def _drop(self):
        return events.AllocationsDropped(self._consumer(is_held=0.6), *REQUEST)

    def _reshape(self):
        """Move the inventories of one provider to another one, with what is held of them."""
        projection, table = self.projection, self.projection.table
        known = self._known()
        if len(known) < 2:
            return None
        source, target = self._chance.sample(known, 2)
        rows = {uuid: projection.trees[uuid].rows[uuid] for uuid in (source, target)}
        moved = inventories_of(table, rows[source])
        both = {**inventories_of(table, rows[target]), **moved}
        consumers = []
        for consumer_uuid, entries in sorted(projection.consumers.items()):
            allocations = [allocation for entry in entries for allocation in entry.allocations]
            if any(entry.host != NO_HOST for entry in entries) or source not in {one[0] for one in allocations}:
                continue
            sums = {}
            for provider, name, amount in allocations:
                key = (target if provider == source else provider), name
                sums[key] = sums.get(key, 0) + amount
            held = tuple(events.Allocation(*key, amount) for key, amount in sums.items())
            consumers.append(self._put_of(consumer_uuid, held))
        inventories = tuple(
            ProviderInventories(uuid, self._generation(uuid) or 0, tuple(its.values()))
            for uuid, its in ((source, {}), (target, both))
        )
        return events.Reshaped(inventories, tuple(consumers), *REQUEST)
