"""Bring a stock Placement to the state of our logs, over its HTTP API.

Placement checks each write. What holds more than an inventory allows, because it was over-committed, or would for a
moment, is written while the inventory is wide; the right inventory comes last. Clients must not use the Placement
meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nova_sched.clients.service import Answer, Service
from nova_sched.migration.compare import same_inventories
from nova_sched.migration.from_placement import THREADS, version_of
from nova_sched.migration.model import Consumer, Key, Placement, Provider, from_the_top, used_of
from nova_sched.migration.side_by_side import Progress, each, no_progress
from rpc_api.events import Inventory

#: The oldest microversion that writes all: types of consumers, and providers that leave their parents.
OLDEST = (1, 38)
#: The newest one that writes a consumer without a type.
WITHOUT_TYPE = "1.37"
#: Attempts for a write that Placement refuses because another one came between.
ATTEMPTS = 5
CONCURRENT = "placement.concurrent_update"
#: The largest amount that Placement's database has.
LARGEST = 2**31 - 1


class Refused(Exception):
    """Placement refuses a write; the text says which, and why."""


class Writer:
    """Writes to a Placement; ``there`` is its state, as it was read. ``refused`` has a line for each write that
    Placement refuses, and ``written`` counts the others."""

    def __init__(self, service: Service, there: Placement, threads: int = THREADS, progress: Progress = no_progress):
        self._service, self._there = service, there
        self._version = version_of(service, OLDEST)
        self._threads, self._progress = threads, progress
        self._generations = {uuid: provider.generation for uuid, provider in there.providers.items()}
        self.refused: list[str] = []
        self.written = 0

    def bring_to(self, ours: Placement) -> None:
        """Write what differs. ServiceUnavailable if the Placement cannot be reached any more."""
        there = self._there
        self._all("classes", sorted(ours.classes - there.classes), lambda name: self._put(f"/resource_classes/{name}"))
        self._all("traits", sorted(ours.traits - there.traits), lambda name: self._put(f"/traits/{name}"))
        freed = set(_freed(ours, there))
        self._all("consumers that go", sorted(freed), lambda uuid: self._drop(there.consumers[uuid]), self._threads)
        changed = [
            uuid
            for uuid, consumer in sorted(ours.consumers.items())
            if uuid in freed or not _is_same(consumer, there.consumers.get(uuid))
        ]
        wide = _wide(ours, there, freed, changed)
        self._all("names", sorted(_renamed(ours, there)), self._give_up_name)
        self._all("providers", from_the_top(ours), lambda uuid: self._provider(ours.providers[uuid], wide))
        self._all("consumers", changed, lambda uuid: self._consumer(ours.consumers[uuid], uuid in freed), self._threads)
        self._all("inventories", sorted({uuid for uuid, _ in wide}), lambda uuid: self._right(ours.providers[uuid]))
        gone = [uuid for uuid in reversed(from_the_top(there)) if uuid not in ours.providers]
        self._all("providers that go", gone, lambda uuid: self._ask("DELETE", f"/resource_providers/{uuid}", None, 404))
        for noun, names in (("resource_classes", there.classes - ours.classes), ("traits", there.traits - ours.traits)):
            self._all(noun, sorted(names), lambda name, noun=noun: self._ask("DELETE", f"/{noun}/{name}", None, 404))

    def _all(self, label: str, items: Iterable[str], write: Callable[[str], Any], threads: int = 1) -> None:
        def one(item: str) -> None:
            try:
                write(item)
            except Refused as fault:
                self.refused.append(str(fault))

        each(one, items, threads, label, self._progress)

    def _ask(self, method: str, path: str, body: Any = None, *wanted: int, version: str | None = None) -> Answer:
        answer = self._service.ask(method, path, body, version or self._version, (400, 404, 409, *wanted))
        if answer.status >= 300 and answer.status not in wanted:
            raise Refused(f"{method} {path} has no effect: Placement answers {answer.status}: {answer.detail}")
        self.written += method != "GET" and answer.status < 300
        return answer

    def _put(self, path: str) -> None:
        self._ask("PUT", path)

    # --- providers ---------------------------------------------------------------------------------------------------

    def _give_up_name(self, uuid: str) -> None:
        body = {"name": f"{uuid} before the export", "parent_provider_uuid": self._there.providers[uuid].parent}
        self._ask("PUT", f"/resource_providers/{uuid}", body)

    def _provider(self, provider: Provider, wide: Mapping[Key, Inventory]) -> None:
        known, path = self._there.providers.get(provider.uuid), f"/resource_providers/{provider.uuid}"
        named = {"name": provider.name, "parent_provider_uuid": provider.parent}
        if known is None:
            made = self._ask("POST", "/resource_providers", {**named, "uuid": provider.uuid})
            self._generations[provider.uuid] = made.body["generation"]
            known = provider._replace(inventories={}, traits=frozenset(), aggregates=frozenset())
        elif (known.name, known.parent) != (provider.name, provider.parent):
            self._ask("PUT", path, named)
        inventories = {
            name: wide.get((provider.uuid, name), inventory) for name, inventory in provider.inventories.items()
        }
        if not same_inventories(inventories, known.inventories):
            self._put_inventories(provider.uuid, inventories)
        if provider.traits != known.traits:
            self._put_part(provider.uuid, "traits", sorted(provider.traits))
        if provider.aggregates != known.aggregates:
            self._put_part(provider.uuid, "aggregates", sorted(provider.aggregates))

    def _right(self, provider: Provider) -> None:
        self._put_inventories(provider.uuid, provider.inventories)

    def _put_inventories(self, uuid: str, inventories: Mapping[str, Inventory]) -> None:
        self._put_part(
            uuid,
            "inventories",
            {
                name: {key: value for key, value in one._asdict().items() if key != "resource_class"}
                for name, one in inventories.items()
            },
        )

    def _put_part(self, uuid: str, noun: str, value: Any) -> None:
        """Write a part of a provider under the generation that it has; writes of allocations raise it, too."""
        path = f"/resource_providers/{uuid}/{noun}"
        for attempt in range(ATTEMPTS):
            body = {"resource_provider_generation": self._generations[uuid], noun: value}
            answer = self._ask("PUT", path, body, 409)
            if answer.status < 300:
                self._generations[uuid] = answer.body["resource_provider_generation"]
                return
            if answer.code != CONCURRENT or attempt == ATTEMPTS - 1:
                raise Refused(f"PUT {path} has no effect: Placement answers 409: {answer.detail}")
            found = self._ask("GET", f"/resource_providers/{uuid}")
            self._generations[uuid] = found.body["generation"]

    # --- consumers ---------------------------------------------------------------------------------------------------

    def _drop(self, known: Consumer) -> None:
        self._put_consumer(known._replace(allocations={}), known.generation)

    def _consumer(self, consumer: Consumer, is_freed: bool) -> None:
        known = None if is_freed else self._there.consumers.get(consumer.uuid)
        if known is not None and known.kind is not None and consumer.kind is None:
            # A type is not taken away by a write.
            self._drop(known)
            known = None
        self._put_consumer(consumer, None if known is None else known.generation)

    def _put_consumer(self, consumer: Consumer, before: int | None) -> None:
        by_provider: dict[str, dict[str, int]] = {}
        for (provider, name), amount in consumer.allocations.items():
            by_provider.setdefault(provider, {})[name] = amount
        body = {
            "allocations": {provider: {"resources": amounts} for provider, amounts in by_provider.items()},
            "project_id": consumer.project,
            "user_id": consumer.user,
            "consumer_generation": before,
        }
        version = WITHOUT_TYPE
        if consumer.kind is not None:
            body["consumer_type"], version = consumer.kind, self._version
        path = f"/allocations/{consumer.uuid}"
        for attempt in range(ATTEMPTS):
            answer = self._ask("PUT", path, body, 409, version=version)
            if answer.status < 300:
                return
            if answer.code != CONCURRENT or "consumer generation" in answer.detail or attempt == ATTEMPTS - 1:
                raise Refused(f"PUT {path} has no effect: Placement answers 409: {answer.detail}")


def _is_same(consumer: Consumer, known: Consumer | None) -> bool:
    return known is not None and consumer._replace(generation=None) == known._replace(generation=None)


def _freed(ours: Placement, there: Placement) -> list[str]:
    return [
        uuid
        for uuid, consumer in there.consumers.items()
        if uuid not in ours.consumers
        or any(
            provider not in ours.providers or name not in ours.providers[provider].inventories
            for provider, name in consumer.allocations
        )
    ]


def _renamed(ours: Placement, there: Placement) -> list[str]:
    names = {provider.name: provider.uuid for provider in ours.providers.values()}
    return [uuid for uuid, provider in there.providers.items() if names.get(provider.name, uuid) != uuid]


def _wide(ours: Placement, there: Placement, freed: set[str], changed: Iterable[str]) -> dict[Key, Inventory]:
    """Inventories under which each write of allocations passes, of those that would refuse one."""
    left = {uuid: consumer for uuid, consumer in there.consumers.items() if uuid not in freed}
    before, after = used_of(left), used_of(ours.consumers)
    amounts: dict[Key, set[int]] = {}
    for uuid in changed:
        for key, amount in ours.consumers[uuid].allocations.items():
            amounts.setdefault(key, set()).add(amount)
    found = {}
    for key, asked in amounts.items():
        provider, name = key
        one = ours.providers[provider].inventories.get(name) if provider in ours.providers else None
        if one is None:
            continue
        fits = all(one.min_unit <= amount <= one.max_unit and not amount % one.step_size for amount in asked)
        capacity = int((one.total - one.reserved) * one.allocation_ratio)
        if not fits or before.get(key, 0) + after[key] > capacity:
            total = max(one.total, min(LARGEST, before.get(key, 0) + after[key]))
            found[key] = Inventory(name, total, 0, 1, LARGEST, 1, max(1.0, one.allocation_ratio))
    return found
