"""The events that bring a log to the state of a Placement, in an order in which each of them can be accepted.

Whatever is in the way is taken away first: a consumer that holds something of what goes loses all it has, and gets what
it holds now after the providers are there. A name that another provider has now is given up first.
"""

from collections.abc import Callable, Collection, Iterator, Mapping

from nova_sched.migration.compare import same_inventories
from nova_sched.migration.from_logs import consumer_in
from nova_sched.migration.model import Consumer, Placement, Provider, from_the_top
from nova_sched.migration.nova_state import entry_of, terms_differ
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from rpc_api import events
from rpc_api.events.schema import FrozenRecord

#: The id of a request and the user in the events of an import.
WHO = ("import", None)
#: Uuid of a consumer -> the terms of its claim (server group, NUMA, PCI), None if nothing is known of them.
TermsOf = Callable[[str], events.ClaimTerms | None]


def no_terms(uuid: str) -> None:
    """Nothing is known of the terms of any consumer."""


def providers(wanted: Placement, ours: Placement) -> list[FrozenRecord]:
    """The events that create and change the providers of a log, which has ``ours``; ``wanted`` is the part of the
    Placement that belongs there."""
    freed = [ours.consumers[uuid] for uuid in _freed(wanted, ours)]
    return [
        *(events.ClassCreated(name, *WHO) for name in sorted(wanted.classes - ours.classes)),
        *(events.TraitCreated(name, *WHO) for name in sorted(wanted.traits - ours.traits)),
        *(imported(consumer._replace(allocations={}), consumer.generation) for consumer in freed),
        *_renamed(wanted, ours),
        *_providers(wanted, ours),
    ]


def consumers(wanted: Placement, projection: Projection, terms_of: TermsOf = no_terms) -> list[FrozenRecord]:
    """The events that give the consumers of a log what they hold, when its providers and hosts are there."""
    found: list[FrozenRecord] = []
    for uuid, consumer in sorted(wanted.consumers.items()):
        terms = terms_of(uuid)
        is_new = uuid not in projection.holders
        if is_new or consumer_in(projection, uuid) != consumer or lacks(projection, uuid, terms):
            found.append(imported(consumer, None if is_new else projection.holders[uuid].generation, terms))
    return found


def removals(wanted: Placement, ours: Placement) -> list[FrozenRecord]:
    """The events that remove providers, classes and traits that are gone, when nobody holds anything of them."""
    gone = [uuid for uuid in reversed(from_the_top(ours)) if uuid not in wanted.providers]
    return [
        *(events.ProviderDeleted(uuid, *WHO) for uuid in gone),
        *(events.ClassDeleted(name, *WHO) for name in sorted(ours.classes - wanted.classes)),
        *(events.TraitDeleted(name, *WHO) for name in sorted(ours.traits - wanted.traits)),
    ]


def _freed(wanted: Placement, ours: Placement) -> list[str]:
    """The consumers that are gone, or hold something of a provider or an inventory that goes."""
    return sorted(
        uuid
        for uuid, consumer in ours.consumers.items()
        if uuid not in wanted.consumers
        or any(
            provider not in wanted.providers or name not in wanted.providers[provider].inventories
            for provider, name in consumer.allocations
        )
    )


def _renamed(wanted: Placement, ours: Placement) -> Iterator[FrozenRecord]:
    names = {provider.name: provider.uuid for provider in wanted.providers.values()}
    for uuid, provider in sorted(ours.providers.items()):
        if names.get(provider.name, uuid) != uuid:
            yield events.ProviderChanged(uuid, f"{uuid} before the import", provider.parent, True, *WHO)


def _providers(wanted: Placement, ours: Placement) -> Iterator[FrozenRecord]:
    for uuid in from_the_top(wanted):
        provider, known = wanted.providers[uuid], ours.providers.get(uuid)
        if known is None or not _is_same(provider, known):
            yield events.ProviderImported(
                uuid,
                provider.name,
                provider.parent,
                provider.generation,
                tuple(provider.inventories[name] for name in sorted(provider.inventories)),
                tuple(sorted(provider.traits)),
                tuple(sorted(provider.aggregates)),
                None if known is None else known.generation,
                *WHO,
            )


def _is_same(provider: Provider, known: Provider) -> bool:
    return known._replace(inventories=provider.inventories) == provider and same_inventories(
        provider.inventories, known.inventories
    )


def lacks(projection: Projection, consumer: str, terms: events.ClaimTerms | None) -> bool:
    """Whether a consumer has other terms on their host."""
    entry = None if terms is None else entry_of(projection, consumer, terms)
    return terms is not None and entry is not None and bool(terms_differ(entry, terms))


def imported(consumer: Consumer, before: int | None, terms: events.ClaimTerms | None = None) -> events.ConsumerImported:
    """The event that gives a consumer what it holds, with its generation, if it has the generation ``before``."""
    put = events.ConsumerPut(
        consumer.uuid,
        True,
        before,
        consumer.project or "",
        consumer.user or "",
        consumer.kind,
        tuple(events.Allocation(*key, amount) for key, amount in sorted(consumer.allocations.items())),
        terms,
    )
    return events.ConsumerImported(put, consumer.generation or 0, *WHO)


# --- several logs ----------------------------------------------------------------------------------------------------


def parts_of(wanted: Placement, cell_of: Mapping[str, str], cells: Collection[str]) -> dict[str, Placement]:
    """The parts of a Placement by cell: each tree is in the cell of its root (``cell_of``), what a consumer holds is in
    the cells of the providers, and the classes and traits of the cloud's own are in all. The log of cell0 has no part
    if there is one cell: nothing is served from it then."""
    cells = [cell for cell in cells if cell != CELL0] if len(set(cells) - {CELL0}) == 1 else cells
    providers: dict[str, dict[str, Provider]] = {cell: {} for cell in cells}
    places: dict[str, str] = {}
    for uuid in from_the_top(wanted):
        provider = wanted.providers[uuid]
        cell = places[uuid] = cell_of[uuid] if provider.parent not in places else places[provider.parent]
        providers[cell][uuid] = provider
    consumers: dict[str, dict[str, Consumer]] = {cell: {} for cell in cells}
    for uuid, consumer in wanted.consumers.items():
        by_cell: dict[str, dict[tuple[str, str], int]] = {}
        for key, amount in consumer.allocations.items():
            # What it holds of a provider that was created meanwhile comes with the next reading.
            if key[0] in places:
                by_cell.setdefault(places[key[0]], {})[key] = amount
        for cell, allocations in by_cell.items():
            consumers[cell][uuid] = consumer._replace(allocations=allocations)
    return {cell: Placement(providers[cell], consumers[cell], wanted.classes, wanted.traits) for cell in cells}
