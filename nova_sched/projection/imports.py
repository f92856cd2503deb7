"""The writes of an import: providers and consumers get the state that another Placement has, with its generations.

The other Placement has decided already, so nothing is asked for room. All that keeps the state whole is checked, as for
the writes of the API, and what is here must still be what the importer saw.
"""

from nova_sched.projection import provider_rows
from nova_sched.projection.allocations import SetApart, put, take_out, users_of
from nova_sched.projection.host_trees import root_found
from nova_sched.projection.noted import Noted
from nova_sched.projection.provider_rows import inventories_of, mark_written, parent_of
from nova_sched.projection.provider_writes import (
    Answer,
    classes_refusal,
    consumers_of_strays,
    creation_refusal,
    generation_refusal,
    invalid,
    inventories_fault,
    inventories_in_use,
    is_known,
    is_name,
    move_refusal,
    reported_refusal,
    row_of,
    unknown_provider,
)
from nova_sched.projection.reason import Reason
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_refusals import WriteRefused, refused
from nova_sched.projection.writes import authority_refusal, lock_refusal, malformed
from rpc_api import events
from rpc_api.wording import number_of


def provider_imported(
    projection: State, position: int, event: EventOf[events.ProviderImported], noted: list[Noted]
) -> Answer:
    """Create or overwrite a provider; its generation is the one that it has elsewhere."""
    data, table = event.data, projection.table
    fault = None if is_name(data.name) else f"a name of {number_of(len(data.name), 'character')}"
    fault = fault or inventories_fault(projection, data.provider_uuid, data.inventories)
    if fault:
        return invalid(event, fault)
    row = row_of(projection, data.provider_uuid)
    gone = _gone(projection, row, data)
    reason = (
        _place_refusal(projection, row, data)
        or classes_refusal(projection, [inventory.resource_class for inventory in data.inventories])
        or next((refused(WriteRefused.UNKNOWN_TRAIT, name) for name in _unknown_traits(projection, data)), None)
        or (None if row is None else inventories_in_use(projection, row, gone))
    )
    if reason is not None:
        return reason
    apart = SetApart(projection, consumers_of_strays(projection, data.provider_uuid) | _moved(projection, row, data))
    if row is None:
        row = provider_rows.add_provider(projection, data.provider_uuid, data.name, data.parent_uuid)
    else:
        provider_rows.rename_provider(projection, data.provider_uuid, data.name)
        if data.parent_uuid != parent_of(table, row):
            provider_rows.move_subtree(projection, data.provider_uuid, data.parent_uuid)
    provider_rows.put_inventories(projection, row, data.inventories, gone)
    apart.put_back()
    provider_rows.put_traits(projection, row, data.traits)
    provider_rows.put_aggregates(projection, row, tuple(dict.fromkeys(data.aggregates)))
    mark_written(table, row, event.at_ns, by=data.generation - table.generation.item(row))
    if data.parent_uuid is None:
        root_found(projection, data.provider_uuid)
    return None


def _place_refusal(projection: State, row: int | None, data: events.ProviderImported) -> Reason | None:
    """Why the provider cannot be there under its name and parent; None if it can."""
    if row is None:
        if data.before is not None:
            return unknown_provider(data.provider_uuid)
        return creation_refusal(projection, data.provider_uuid, data.name, data.parent_uuid)
    if data.before is None:
        return refused(WriteRefused.UUID_TAKEN, data.provider_uuid)
    changed = events.ProviderChanged(data.provider_uuid, data.name, data.parent_uuid, True, "", None)
    return (
        generation_refusal(projection, row, data.before)
        or reported_refusal(projection, row)
        or move_refusal(projection, row, changed)
    )


def _gone(projection: State, row: int | None, data: events.ProviderImported) -> list[str]:
    names = {inventory.resource_class for inventory in data.inventories}
    return [] if row is None else [name for name in inventories_of(projection.table, row) if name not in names]


def _unknown_traits(projection: State, data: events.ProviderImported) -> list[str]:
    return [trait for trait in data.traits if not is_known(trait, projection.custom_traits)]


def _moved(projection: State, row: int | None, data: events.ProviderImported) -> set[str]:
    """The consumers of the trees that change if a provider gets another parent."""
    if row is None or data.parent_uuid == parent_of(projection.table, row):
        return set()
    return users_of(projection, [data.provider_uuid, *([] if data.parent_uuid is None else [data.parent_uuid])])


def consumer_imported(
    projection: State, position: int, event: EventOf[events.ConsumerImported], noted: list[Noted]
) -> Answer:
    """Give a consumer the allocations and the generation that it has elsewhere."""
    one = event.data.consumer
    answer = malformed(event, (one,)) or _consumer_refusal(projection, one)
    if answer is not None:
        return answer
    host = None if one.terms is None else one.terms.host
    before = [entry for entry in take_out(projection, one.consumer_uuid) if entry.host != host]
    put(projection, one.consumer_uuid, one.project_id, one.allocations, before, frozenset(), one.terms, position)
    holder = projection.holders.get(one.consumer_uuid)
    if holder is not None:
        holder.generation, holder.written_ns = event.data.generation, event.at_ns
        holder.project_id, holder.user_id, holder.consumer_type = one.project_id, one.user_id, one.consumer_type
    return None


def _consumer_refusal(projection: State, one: events.ConsumerPut) -> Reason | None:
    holder = projection.holders.get(one.consumer_uuid)
    found = None if holder is None else holder.generation
    reason = lock_refusal(projection, one.consumer_uuid)
    if reason is None and one.guarded and found != one.generation:
        reason = refused(WriteRefused.CONSUMER_GENERATION, one.consumer_uuid, found, one.generation)
    if reason is not None:
        return reason
    for held in one.allocations:
        row = row_of(projection, held.provider_uuid)
        if row is None:
            return unknown_provider(held.provider_uuid)
        if held.resource_class not in inventories_of(projection.table, row):
            return refused(WriteRefused.NO_INVENTORY, held.provider_uuid, (held.resource_class,))
    return authority_refusal(projection, one.consumer_uuid, {held.provider_uuid for held in one.allocations})
