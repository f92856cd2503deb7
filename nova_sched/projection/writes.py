"""The writes of Placement's API to allocations.

One function says whether an amount fits, for these writes and for claims: :func:`~nova_sched.projection.room.misfit`.
"""

from collections.abc import Iterable, Mapping, Sequence

from nova_sched.projection import provider_rows, provider_writes
from nova_sched.projection.allocations import Amounts, SetApart, held_by, put, take_out
from nova_sched.projection.claim_checks import guest_refusal, rule_refusal, status_refusal
from nova_sched.projection.ledger import AGENT, Entry, Host
from nova_sched.projection.noted import Noted
from nova_sched.projection.provider_rows import inventories_of, mark_written
from nova_sched.projection.provider_writes import (
    Answer,
    classes_refusal,
    generation_refusal,
    inventories_fault,
    reported_refusal,
    row_of,
    unknown_provider,
)
from nova_sched.projection.reason import Reason
from nova_sched.projection.room import Misfit, Room, misfit, room_of
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_refusals import WriteRefused, refused
from rpc_api import events
from rpc_api.codec import SetAside
from rpc_api.events import ConsumerPut, Inventory

#: Provider uuid -> its inventories by class, in place of those in the table.
Inventories = Mapping[str, Mapping[str, Inventory]]


def allocations_put(
    projection: State, position: int, event: EventOf[events.AllocationsPut], noted: list[Noted]
) -> Answer:
    """Write the allocations of some consumers, of all or of none."""
    consumers = event.data.consumers
    answer = malformed(event, consumers) or put_refusal(projection, consumers, {})
    if answer is None:
        put_all(projection, consumers, position, event.at_ns)
    return answer


def allocations_dropped(
    projection: State, position: int, event: EventOf[events.AllocationsDropped], noted: list[Noted]
) -> Answer:
    """Remove the allocations of a consumer."""
    consumer_uuid = event.data.consumer_uuid
    if consumer_uuid not in projection.consumers:
        return refused(WriteRefused.NOTHING_HELD, consumer_uuid)
    reason = lock_refusal(projection, consumer_uuid) or authority_refusal(projection, consumer_uuid, ())
    if reason is None:
        take_out(projection, consumer_uuid)
    return reason


def reshaped(projection: State, position: int, event: EventOf[events.Reshaped], noted: list[Noted]) -> Answer:
    """Move inventories between providers, with what consumers hold of them.

    The allocations must fit what the providers have before and after together. Then nothing may be held of what goes.
    """
    data, table = event.data, projection.table
    fault = malformed(event, data.consumers) or next(
        (
            SetAside("invalid", f"a Reshaped of {event.producer} is refused: {found}; fix its producer", b"")
            for one in data.inventories
            if (found := inventories_fault(projection, one.provider_uuid, one.inventories))
        ),
        None,
    )
    if fault is not None:
        return fault
    union: dict[str, dict[str, Inventory]] = {}
    after: dict[str, dict[str, Inventory]] = {}
    for one in data.inventories:
        row = row_of(projection, one.provider_uuid)
        if row is None:
            return unknown_provider(one.provider_uuid)
        reason = generation_refusal(projection, row, one.generation) or reported_refusal(projection, row)
        if reason is not None:
            return reason
        after[one.provider_uuid] = {inventory.resource_class: inventory for inventory in one.inventories}
        union[one.provider_uuid] = {**inventories_of(table, row), **after[one.provider_uuid]}
    reason = put_refusal(projection, data.consumers, union) or _held_of_gone(projection, data.consumers, union, after)
    if reason is not None:
        return reason
    for uuid, inventories in after.items():
        row = projection.trees[uuid].rows[uuid]
        apart = SetApart(projection, provider_writes.consumers_of_strays(projection, uuid))
        provider_rows.put_inventories(projection, row, inventories.values(), ())
        apart.put_back()
        mark_written(table, row, event.at_ns, by=bool(inventories))
    put_all(projection, data.consumers, position, event.at_ns)
    for uuid, inventories in after.items():
        row = projection.trees[uuid].rows[uuid]
        provider_rows.put_inventories(projection, row, (), [name for name in union[uuid] if name not in inventories])
        mark_written(table, row, event.at_ns)
    return None


def _held_of_gone(
    projection: State, consumers: Sequence[ConsumerPut], union: Inventories, after: Inventories
) -> Reason | None:
    """Something would still be held of an inventory that goes."""
    table, given_back = projection.table, given_back_by(projection, consumers)
    wanted = sums_of(consumers)
    for uuid, inventories in union.items():
        row = projection.trees[uuid].rows[uuid]
        busy = []
        for name in sorted(inventories.keys() - after[uuid].keys()):
            index = table.classes.get(name)
            used = 0 if index < 0 else table.used.item(index, row)
            if used - given_back.get((uuid, name), 0) + wanted.get((uuid, name), 0) > 0:
                busy.append(name)
        if busy:
            return refused(WriteRefused.INVENTORY_IN_USE, tuple(busy), uuid)
    return None


# --- whether allocations may be written ------------------------------------------------------------------------------


def malformed(event: EventOf[object], consumers: Sequence[ConsumerPut]) -> SetAside | None:
    """What no API lets pass: a consumer or a class of a provider twice, an amount of 0, the terms of several claims."""
    fault = None
    if sum(one.terms is not None for one in consumers) > 1:
        # Each claim is checked alone, and a group might be broken by two of them together.
        fault = "it has the terms of several claims"
    if len({one.consumer_uuid for one in consumers}) < len(consumers):
        fault = "it names a consumer twice"
    for one in consumers:
        keys = {allocation[:2] for allocation in one.allocations}
        if len(keys) < len(one.allocations) or any(allocation.amount < 1 for allocation in one.allocations):
            fault = f"consumer {one.consumer_uuid} has an allocation twice, or one of 0"
    return (
        None
        if fault is None
        else SetAside("invalid", f"a {event.name} of {event.producer} is refused: {fault}; fix its producer", b"")
    )


def put_refusal(projection: State, consumers: Sequence[ConsumerPut], instead: Inventories) -> Reason | None:
    """Why the allocations of some consumers cannot be written; None if they can. Providers that are ``instead`` in a
    reshape have those inventories."""
    for one in consumers:
        reason = lock_refusal(projection, one.consumer_uuid)
        if reason is not None:
            return reason
        holder = projection.holders.get(one.consumer_uuid)
        found = None if holder is None else holder.generation
        if one.guarded and found != one.generation:
            return refused(WriteRefused.CONSUMER_GENERATION, one.consumer_uuid, found, one.generation)
    for one in consumers:
        for allocation in one.allocations:
            if allocation.provider_uuid not in projection.trees:
                return unknown_provider(allocation.provider_uuid)
    for one in consumers:
        reason = authority_refusal(projection, one.consumer_uuid, {each.provider_uuid for each in one.allocations})
        if reason is not None:
            return reason
    return (
        classes_refusal(projection, [name for inventories in instead.values() for name in inventories])
        or _room_refusal(projection, consumers, instead)
        or next((reason for one in consumers if (reason := _terms_refusal(projection, one)) is not None), None)
    )


def lock_refusal(projection: State, consumer_uuid: str) -> Reason | None:
    """A consumer takes part in a write over several logs that is under way, or is what such a write holds; None if
    neither."""
    write_uuid = consumer_uuid if consumer_uuid in projection.prepared else projection.locked.get(consumer_uuid)
    return None if write_uuid is None else refused(WriteRefused.LOCKED, consumer_uuid, write_uuid)


def authority_refusal(projection: State, consumer_uuid: str, providers: Iterable[str]) -> Reason | None:
    """The agent of a host says what is held there, now or by this write."""
    hosts = [projection.hosts.get(entry.host) for entry in projection.consumers.get(consumer_uuid, ())]
    for tree in (*hosts, *map(projection.trees.__getitem__, providers)):
        if type(tree) is Host and tree.authority == AGENT:
            return refused(WriteRefused.AGENT_DECIDES, tree.name)
    return None


def _room_refusal(projection: State, consumers: Sequence[ConsumerPut], instead: Inventories) -> Reason | None:
    """Why allocations do not fit; what the consumers hold now is given back first."""
    names = {allocation.resource_class for one in consumers for allocation in one.allocations}
    reason = classes_refusal(projection, sorted(names))
    if reason is not None:
        return reason
    given_back = given_back_by(projection, consumers)
    uuids = {allocation.provider_uuid for one in consumers for allocation in one.allocations}
    rooms = {uuid: _rooms(projection, uuid, names, instead) for uuid in uuids}
    for uuid in sorted(uuids):
        if not rooms[uuid]:
            return refused(WriteRefused.NO_INVENTORY, uuid, tuple(sorted(names)))
    sums: Amounts = {}
    for one in consumers:
        for uuid, name, amount in one.allocations:
            room = rooms[uuid].get(name)
            if room is None:
                return refused(WriteRefused.NO_INVENTORY, uuid, (name,))
            freed, asked = given_back.get((uuid, name), 0), sums.get((uuid, name), 0)
            fault = misfit(room, amount, freed, asked)
            if fault is Misfit.UNITS:
                return refused(WriteRefused.UNITS, amount, name, uuid)
            sums[uuid, name] = asked + amount
            if fault is Misfit.CAPACITY:
                return refused(WriteRefused.CAPACITY, name, uuid, room.used - freed, asked + amount, room.capacity)
    return None


def _rooms(projection: State, uuid: str, names: Iterable[str], instead: Inventories) -> dict[str, Room]:
    """The rooms of a provider by class, of some classes."""
    table, row = projection.table, projection.trees[uuid].rows[uuid]
    found: dict[str, Room] = {}
    for name in names:
        index = table.classes.get(name)
        room = room_of(table, row, index)
        if uuid in instead and name in instead[uuid]:
            new = instead[uuid][name]
            used = 0 if index < 0 else table.used.item(index, row)
            capacity = int((new.total - new.reserved) * new.allocation_ratio)
            room = Room(capacity, used, new.min_unit, new.max_unit, new.step_size)
        if room is not None:
            found[name] = room
    return found


def given_back_by(projection: State, consumers: Sequence[ConsumerPut]) -> Amounts:
    """What some consumers hold now."""
    total: Amounts = {}
    for one in consumers:
        for key, amount in held_by(projection, one.consumer_uuid).items():
            total[key] = total.get(key, 0) + amount
    return total


def sums_of(consumers: Sequence[ConsumerPut]) -> Amounts:
    """What some consumers are to hold."""
    total: Amounts = {}
    for one in consumers:
        for uuid, name, amount in one.allocations:
            total[uuid, name] = total.get((uuid, name), 0) + amount
    return total


def _terms_refusal(projection: State, one: ConsumerPut) -> Reason | None:
    """Why the terms under which a scheduler offered a host do not hold any more."""
    terms = one.terms
    if terms is None or any(entry.host == terms.host for entry in projection.consumers.get(one.consumer_uuid, ())):
        return None
    host = projection.hosts.get(terms.host)
    if host is None:
        return None
    return (
        status_refusal(projection.table, host.root, False)
        or (None if terms.guest is None else guest_refusal(projection.table, host, terms.guest))
        or (None if terms.rule is None else rule_refusal(projection, host, terms.rule, terms.companion))
    )


# --- writing ---------------------------------------------------------------------------------------------------------


def put_all(projection: State, consumers: Sequence[ConsumerPut], position: int, at_ns: int) -> None:
    """Write the allocations of some consumers; each consumer's generation rises by one, and that of each provider of
    which one holds something now, or of which one that holds nothing any more did."""
    before: list[Entry] = []
    known: dict[str, tuple[int, str | None]] = {}
    named: set[str] = set()
    for one in consumers:
        holder = projection.holders.get(one.consumer_uuid)
        known[one.consumer_uuid] = (0, None) if holder is None else (holder.generation, holder.consumer_type)
        entries = take_out(projection, one.consumer_uuid)
        before += entries
        held = one.allocations or [allocation for entry in entries for allocation in entry.allocations]
        named |= {allocation.provider_uuid for allocation in held}
    given_up = {one.consumer_uuid for one in consumers if not one.allocations}
    for one in consumers:
        put(projection, one.consumer_uuid, one.project_id, one.allocations, before, given_up, one.terms, position)
        holder = projection.holders.get(one.consumer_uuid)
        if holder is not None:
            generation, consumer_type = known[one.consumer_uuid]
            holder.generation = generation + 1
            holder.project_id, holder.user_id = one.project_id, one.user_id
            # Before microversion 1.38 a client does not name a type, and must not remove the one that another named.
            holder.consumer_type = one.consumer_type or consumer_type
            holder.written_ns = at_ns
    mark_providers(projection, named, at_ns)


def mark_providers(projection: State, uuids: Iterable[str], at_ns: int) -> None:
    """Raise the generation of providers, as allocations of them were written."""
    for uuid in uuids:
        tree = projection.trees.get(uuid)
        if tree is not None:
            mark_written(projection.table, tree.rows[uuid], at_ns)
