"""The laws of API writes, checked around each: capacity, generations, all or nothing, and nothing by a refused one."""

from collections import Counter

from nova_sched.projection.ledger import AGENT, Host

#: Events that write allocations.
OF_CONSUMERS = frozenset({"AllocationsPut", "AllocationsDropped", "Reshaped"})
#: Events that write what one provider has, and raise its generation by one.
OF_ONE_PROVIDER = frozenset({"InventoriesPut"})


class Before:
    """The part of a state that a write may change, as it was before it."""

    def __init__(self, oracle, event):
        self._event = event
        self.generations = {uuid: generation_of(oracle, uuid) for uuid in oracle.trees}
        self.holders = {uuid: holder.facts() for uuid, holder in oracle.holders.items()}
        self.held = held_of(oracle)
        self.used = used_of(oracle)
        self.names = set(oracle.provider_names), set(oracle.custom_classes), set(oracle.custom_traits)

    def fault(self, oracle, accepted):
        """What is wrong after the write, as a sentence; None if nothing is."""
        if not accepted:
            return self._trace_of_refused(oracle)
        held = held_of(oracle)
        return (
            self._over_capacity(oracle)
            or self._wrong_sums(oracle, held)
            or (self._of_consumers(oracle, held) if self._event.name in OF_CONSUMERS else None)
            or (self._of_provider(oracle) if self._event.name in OF_ONE_PROVIDER else None)
        )

    def _trace_of_refused(self, oracle):
        after = Before(oracle, self._event)
        for name in ("generations", "holders", "held", "used", "names"):
            if getattr(after, name) != getattr(self, name):
                return f"a refused {self._event.name} changed the {name}"
        return None

    def _over_capacity(self, oracle):
        """No class is used beyond its capacity, unless it was and is not used more than before."""
        if self._event.name not in OF_CONSUMERS:
            return None
        table = oracle.table
        for (uuid, name), used in used_of(oracle).items():
            row, index = oracle.trees[uuid].rows[uuid], table.classes.get(name)
            capacity = table.capacity.item(index, row)
            if used > capacity and used > self.used.get((uuid, name), 0):
                return f"{used} {name} of {uuid} are used, its capacity is {capacity}"
        return None

    def _wrong_sums(self, oracle, held):
        """What is used of a provider that is no agent's is what its consumers hold."""
        sums = Counter()
        for allocations in held.values():
            sums.update(allocations)
        for (uuid, name), used in used_of(oracle).items():
            tree = oracle.trees[uuid]
            if not (isinstance(tree, Host) and tree.authority == AGENT) and used != sums[uuid, name]:
                return f"{used} {name} of {uuid} are used, and {sums[uuid, name]} held"
        return None

    def _of_consumers(self, oracle, held):
        """Each consumer holds just what was written, its generation rose by one; no other consumer changed."""
        wanted = {}
        if self._event.name == "AllocationsDropped":
            wanted[self._event.data.consumer_uuid] = {}
        else:
            for one in self._event.data.consumers:
                wanted[one.consumer_uuid] = {each[:2]: each.amount for each in one.allocations}
        for uuid, allocations in wanted.items():
            if held.get(uuid, {}) != allocations:
                return f"consumer {uuid} holds {held.get(uuid)}, written was {allocations}"
            before = self.holders.get(uuid)
            if allocations and oracle.holders[uuid].generation != (1 if before is None else before[0] + 1):
                return f"consumer {uuid} has generation {oracle.holders[uuid].generation}, it had {before}"
        others = {uuid: holder.facts() for uuid, holder in oracle.holders.items() if uuid not in wanted}
        if others != {uuid: facts for uuid, facts in self.holders.items() if uuid not in wanted}:
            return "a consumer changed that was not written"
        return None

    def _of_provider(self, oracle):
        """The generation of the provider rose by one, and that of no other one."""
        changed = {
            uuid: generation_of(oracle, uuid) - before
            for uuid, before in self.generations.items()
            if uuid in oracle.trees and generation_of(oracle, uuid) != before
        }
        if changed != {self._event.data.provider_uuid: 1}:
            return f"generations rose by {changed}, wanted that of {self._event.data.provider_uuid} by 1"
        return None


def generation_of(oracle, uuid):
    """The generation of a provider."""
    return oracle.table.generation.item(oracle.trees[uuid].rows[uuid])


def held_of(oracle):
    """Consumer -> (provider, class) -> amount."""
    held = {}
    for consumer, entries in oracle.consumers.items():
        sums = Counter()
        for entry in entries:
            for provider, name, amount in entry.allocations:
                sums[provider, name] += amount
        held[consumer] = dict(sums)
    return held


def used_of(oracle):
    """(Provider, class) -> what is used of it, where something is."""
    table, used = oracle.table, {}
    indices, rows = table.used[: len(table.classes.values), : table.count].nonzero()
    for index, row in zip(indices.tolist(), rows.tolist(), strict=True):
        used[table.uuids[row], table.classes.values[index]] = table.used.item(index, row)
    return used
