"""The table of the writes of Placement's API, and of an import from another Placement."""

from collections.abc import Callable
from typing import Any

from nova_sched.projection import imports, prepared, provider_writes, writes
from nova_sched.projection.noted import Noted
from nova_sched.projection.provider_writes import Answer, row_of
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_outcomes import Written
from rpc_api.codec import Event, SetAside


def _write(check_and_do: Callable[..., Answer]) -> Callable[..., Answer]:
    """A handler that notes the outcome, and that the log holds writes of the API."""

    def handle(projection: State, position: int, event: EventOf[object], noted: list[Noted]) -> Answer:
        answer = check_and_do(projection, position, event, noted)
        projection.holds_writes |= answer is None
        projection.counts["write-accepted" if answer is None else "write-refused"] += 1
        if projection.writes is not None:
            row = row_of(projection, getattr(event.data, "provider_uuid", ""))
            generation = None if row is None else projection.table.generation.item(row)
            mark = event.producer, event.producer_epoch, event.sequence
            projection.writes.append(Written(position, *mark, answer, generation))
        return answer

    return handle


def note_set_aside(projection: State, position: int, event: Event, reason: SetAside) -> None:
    """Note the outcome of a write that is set aside before its handler is asked."""
    if projection.writes is not None and event.name in _HANDLERS:
        mark = event.producer, event.producer_epoch, event.sequence
        projection.writes.append(Written(position, *mark, reason, None))


#: Name of an event -> its handler, of all writes of Placement's API.
_HANDLERS: dict[str, Callable[..., Answer]] = {
    "ProviderCreated": provider_writes.provider_created,
    "ProviderChanged": provider_writes.provider_changed,
    "ProviderDeleted": provider_writes.provider_deleted,
    "InventoriesPut": provider_writes.inventories_put,
    "TraitsPut": provider_writes.traits_put,
    "AggregatesPut": provider_writes.aggregates_put,
    "AllocationsPut": writes.allocations_put,
    "AllocationsDropped": writes.allocations_dropped,
    "Reshaped": writes.reshaped,
    "AllocationsPrepared": prepared.allocations_prepared,
    "WriteCommitted": prepared.write_committed,
    "WriteAborted": prepared.write_aborted,
    "WriteEnded": prepared.write_ended,
    "ClassCreated": provider_writes.class_created,
    "ClassRenamed": provider_writes.class_renamed,
    "ClassDeleted": provider_writes.class_deleted,
    "TraitCreated": provider_writes.trait_created,
    "TraitDeleted": provider_writes.trait_deleted,
    "ProviderImported": imports.provider_imported,
    "ConsumerImported": imports.consumer_imported,
}
WRITE_HANDLERS: dict[str, Callable[[State, int, Any, list[Noted]], Answer]] = {
    name: _write(handler) for name, handler in _HANDLERS.items()
}
