"""The writes of Placement's API to providers, resource classes and traits: each is checked, then done.

The checks come in the order of Placement's, so that of several faults the same one is named. A write is refused with a
Reason, and set aside if no API would write it.
"""

from collections.abc import Iterable, Sequence

from nova_sched.projection import provider_rows
from nova_sched.projection.allocations import SetApart, users_of
from nova_sched.projection.host_trees import root_found
from nova_sched.projection.inventory import CUSTOM, provider_fault
from nova_sched.projection.ledger import AGENT, Host
from nova_sched.projection.noted import Noted
from nova_sched.projection.provider_rows import inventories_of, mark_written, parent_of, subtree, traits_of
from nova_sched.projection.reason import Reason
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_refusals import WriteRefused, refused
from rpc_api import events
from rpc_api.codec import MAX_NAME, SetAside

ALL, ADD, CHANGE, REMOVE = KINDS = ("all", "add", "change", "remove")

Answer = Reason | SetAside | None


def row_of(projection: State, provider_uuid: str) -> int | None:
    """The row of a provider of this log; None if the log does not have it."""
    tree = projection.trees.get(provider_uuid)
    return None if tree is None else tree.rows[provider_uuid]


def unknown_provider(provider_uuid: str) -> Reason:
    """The log does not have a provider."""
    return refused(WriteRefused.UNKNOWN_PROVIDER, provider_uuid)


def invalid(event: EventOf[object], fault: str) -> SetAside:
    """No API would write this."""
    return SetAside("invalid", f"a {event.name} of {event.producer} is refused: {fault}; fix its producer", b"")


def is_name(name: str) -> bool:
    """Whether a text can be the name of a provider, a class or a trait."""
    return 0 < len(name) <= MAX_NAME


# --- providers -------------------------------------------------------------------------------------------------------


def provider_created(
    projection: State, position: int, event: EventOf[events.ProviderCreated], noted: list[Noted]
) -> Answer:
    """Add a provider; a host may wait for it."""
    data = event.data
    if not is_name(data.name):
        return invalid(event, f"a name of {len(data.name)} characters, wanted 1 to {MAX_NAME}")
    reason = creation_refusal(projection, data.provider_uuid, data.name, data.parent_uuid)
    if reason is not None:
        return reason
    apart = SetApart(projection, consumers_of_strays(projection, data.provider_uuid))
    row = provider_rows.add_provider(projection, data.provider_uuid, data.name, data.parent_uuid)
    mark_written(projection.table, row, event.at_ns, by=0)
    apart.put_back()
    if data.parent_uuid is None:
        root_found(projection, data.provider_uuid)
    return None


def creation_refusal(projection: State, provider_uuid: str, name: str, parent_uuid: str | None) -> Reason | None:
    """Why a provider cannot be created; None if it can."""
    if parent_uuid == provider_uuid:
        return refused(WriteRefused.OWN_PARENT, provider_uuid)
    if parent_uuid is not None and parent_uuid not in projection.trees:
        return refused(WriteRefused.UNKNOWN_PARENT, parent_uuid)
    if provider_uuid in projection.trees:
        return refused(WriteRefused.UUID_TAKEN, provider_uuid)
    return refused(WriteRefused.NAME_TAKEN, name) if name in projection.provider_names else None


def consumers_of_strays(projection: State, provider_uuid: str) -> set[str]:
    """The consumers that use a provider, or a class of it, which their host does not report."""
    hosts = [projection.hosts[name] for name in projection.stray_hosts]
    return {
        entry.consumer_uuid
        for host in hosts
        if any(uuid == provider_uuid for uuid, _ in host.strays)
        for entry in host.entries.values()
    }


def provider_changed(
    projection: State, position: int, event: EventOf[events.ProviderChanged], noted: list[Noted]
) -> Answer:
    """Rename a provider, and move it under another parent."""
    data = event.data
    row = row_of(projection, data.provider_uuid)
    if row is None:
        return unknown_provider(data.provider_uuid)
    if not is_name(data.name):
        return invalid(event, f"a name of {len(data.name)} characters, wanted 1 to {MAX_NAME}")
    reason = reported_refusal(projection, row) or move_refusal(projection, row, data)
    if reason is not None:
        return reason
    provider_rows.rename_provider(projection, data.provider_uuid, data.name)
    if data.parent_uuid != parent_of(projection.table, row):
        trees = [data.provider_uuid, *([] if data.parent_uuid is None else [data.parent_uuid])]
        apart = SetApart(projection, users_of(projection, trees))
        provider_rows.move_subtree(projection, data.provider_uuid, data.parent_uuid)
        apart.put_back()
        if data.parent_uuid is None:
            root_found(projection, data.provider_uuid)
    mark_written(projection.table, row, event.at_ns, by=0)
    return None


def move_refusal(projection: State, row: int, data: events.ProviderChanged) -> Reason | None:
    """Why a provider cannot get a name and a parent; None if it can."""
    table, parent = projection.table, parent_of(projection.table, row)
    if data.parent_uuid is not None:
        new_parent = row_of(projection, data.parent_uuid)
        if new_parent is None:
            return refused(WriteRefused.UNKNOWN_PARENT, data.parent_uuid)
        if parent not in (None, data.parent_uuid) and not data.may_move:
            return refused(WriteRefused.MAY_NOT_MOVE, data.provider_uuid)
        if new_parent in subtree(table, row):
            return refused(WriteRefused.LOOP, data.provider_uuid)
        tree, target = projection.trees[data.provider_uuid], projection.trees[data.parent_uuid]
        if type(tree) is Host and tree.root == row:
            return refused(WriteRefused.IS_HOST, data.provider_uuid, tree.name)
        if type(target) is Host and target.authority == AGENT and target is not tree:
            # Its agent would free what is held of it, as it does not report that.
            if any(table.used[:, other].any() for other in subtree(table, row)):
                return refused(WriteRefused.AGENT_DECIDES, target.name)
    elif parent is not None and not data.may_move:
        return refused(WriteRefused.MAY_NOT_MOVE, data.provider_uuid)
    if projection.provider_names.get(data.name, data.provider_uuid) != data.provider_uuid:
        return refused(WriteRefused.NAME_TAKEN, data.name)
    return None


def provider_deleted(
    projection: State, position: int, event: EventOf[events.ProviderDeleted], noted: list[Noted]
) -> Answer:
    """Remove a provider without children of which nothing is held."""
    table, uuid = projection.table, event.data.provider_uuid
    row = row_of(projection, uuid)
    if row is None:
        return unknown_provider(uuid)
    if any(table.parent.item(other) == row for other in table.trees[table.root.item(row)]):
        return refused(WriteRefused.HAS_CHILDREN, uuid)
    if table.used[:, row].any():
        return refused(WriteRefused.IN_USE, uuid)
    reason = reported_refusal(projection, row)
    if reason is None:
        provider_rows.drop_provider(projection, uuid)
    return reason


def reported_refusal(projection: State, row: int) -> Reason | None:
    """A provider that an agent reports is changed by the agent only."""
    table = projection.table
    if not table.reported.item(row):
        return None
    tree = projection.trees[table.uuids[row]]
    return refused(WriteRefused.AGENT_REPORTS, tree.name if type(tree) is Host else "-", table.uuids[row])


# --- what a provider has ---------------------------------------------------------------------------------------------


def generation_refusal(projection: State, row: int, expected: int | None) -> Reason | None:
    """A provider does not have the generation that a client expects; None if it has, or the client expects none."""
    found = projection.table.generation.item(row)
    if expected is None or found == expected:
        return None
    return refused(WriteRefused.GENERATION, projection.table.uuids[row], found, expected)


def inventories_put(
    projection: State, position: int, event: EventOf[events.InventoriesPut], noted: list[Noted]
) -> Answer:
    """Write inventories of a provider."""
    data, table = event.data, projection.table
    row = row_of(projection, data.provider_uuid)
    if row is None:
        return unknown_provider(data.provider_uuid)
    known, names = inventories_of(table, row), [inventory.resource_class for inventory in data.inventories]
    fault = inventories_fault(projection, table.uuids[row], data.inventories)
    if data.kind not in KINDS or (fault and data.kind != REMOVE):
        return invalid(event, fault or f"the kind {data.kind[:40]!r}, wanted one of {', '.join(KINDS)}")
    gone = {ALL: [name for name in known if name not in names], REMOVE: names}.get(data.kind, [])
    reason = (
        generation_refusal(projection, row, data.generation)
        or reported_refusal(projection, row)
        or classes_refusal(projection, names)
        or _kind_refusal(data, known, names)
        or inventories_in_use(projection, row, gone)
    )
    if reason is not None:
        return reason
    # What was used of a class that comes now is counted on the provider from here on.
    apart = SetApart(projection, consumers_of_strays(projection, data.provider_uuid))
    provider_rows.put_inventories(projection, row, () if data.kind == REMOVE else data.inventories, gone)
    apart.put_back()
    mark_written(table, row, event.at_ns)
    return None


def inventories_fault(projection: State, uuid: str, inventories: Sequence[events.Inventory]) -> str | None:
    """The first fault that no API lets pass."""
    return provider_fault(events.Provider(uuid, uuid, -1, tuple(inventories), (), ()), projection.rules)


def _kind_refusal(data: events.InventoriesPut, known: Iterable[str], names: Sequence[str]) -> Reason | None:
    if data.kind == ADD:
        there = [name for name in names if name in known]
        return refused(WriteRefused.HAS_INVENTORY, data.provider_uuid, there[0]) if there else None
    missing = [name for name in names if name not in known] if data.kind != ALL else []
    return refused(WriteRefused.NO_INVENTORY, data.provider_uuid, tuple(missing)) if missing else None


def inventories_in_use(projection: State, row: int, gone: Iterable[str]) -> Reason | None:
    """Somebody holds something of inventories that would go; None if nobody does."""
    table = projection.table
    busy = tuple(sorted(name for name in gone if table.used.item(table.classes.get(name), row)))
    return refused(WriteRefused.INVENTORY_IN_USE, busy, table.uuids[row]) if busy else None


def traits_put(projection: State, position: int, event: EventOf[events.TraitsPut], noted: list[Noted]) -> Answer:
    """Write the traits of a provider; if it has them already, nothing changes."""
    data = event.data
    row = row_of(projection, data.provider_uuid)
    if row is None:
        return unknown_provider(data.provider_uuid)
    unknown = [trait for trait in data.traits if not is_known(trait, projection.custom_traits)]
    reason = generation_refusal(projection, row, data.generation) or (
        refused(WriteRefused.UNKNOWN_TRAIT, unknown[0]) if unknown else reported_refusal(projection, row)
    )
    if reason is not None or set(data.traits) == set(traits_of(projection.table, row)):
        return reason
    provider_rows.put_traits(projection, row, data.traits)
    mark_written(projection.table, row, event.at_ns)
    return None


def aggregates_put(
    projection: State, position: int, event: EventOf[events.AggregatesPut], noted: list[Noted]
) -> Answer:
    """Write the aggregates of a provider. Without an expected generation, as before microversion 1.19, it stays."""
    data = event.data
    row = row_of(projection, data.provider_uuid)
    if row is None:
        return unknown_provider(data.provider_uuid)
    reason = generation_refusal(projection, row, data.generation)
    if reason is None:
        provider_rows.put_aggregates(projection, row, tuple(dict.fromkeys(data.aggregates)))
        mark_written(projection.table, row, event.at_ns, by=data.generation is not None)
    return reason


# --- resource classes and traits of the cloud's own ------------------------------------------------------------------


def is_known(name: str, custom: Iterable[str]) -> bool:
    """Whether a class or trait exists. The API knows which names are OpenStack's; here each other name is."""
    return not name.startswith(CUSTOM) or name in custom


def classes_refusal(projection: State, names: Iterable[str]) -> Reason | None:
    """A class does not exist; None if all do."""
    unknown = next((name for name in names if not is_known(name, projection.custom_classes)), None)
    return None if unknown is None else refused(WriteRefused.UNKNOWN_CLASS, unknown)


def class_created(projection: State, position: int, event: EventOf[events.ClassCreated], noted: list[Noted]) -> Answer:
    """Add a resource class."""
    return _created(projection.custom_classes, event, WriteRefused.CLASS_EXISTS)


def trait_created(projection: State, position: int, event: EventOf[events.TraitCreated], noted: list[Noted]) -> Answer:
    """Add a trait."""
    return _created(projection.custom_traits, event, WriteRefused.TRAIT_EXISTS)


def _created(
    custom: dict[str, int], event: EventOf[events.ClassCreated | events.TraitCreated], exists: WriteRefused
) -> Answer:
    name = event.data.name
    if not is_name(name) or not name.startswith(CUSTOM):
        return invalid(event, f"the name {name[:MAX_NAME]!r}, wanted {CUSTOM} and at most {MAX_NAME} characters")
    if name in custom:
        return refused(exists, name)
    custom[name] = event.at_ns
    return None


def class_renamed(projection: State, position: int, event: EventOf[events.ClassRenamed], noted: list[Noted]) -> Answer:
    """Give a resource class another name, in inventories and allocations."""
    name, new_name = event.data.name, event.data.new_name
    if not is_name(new_name) or not new_name.startswith(CUSTOM):
        return invalid(event, f"the name {new_name[:MAX_NAME]!r}, wanted {CUSTOM} and at most {MAX_NAME} characters")
    if name not in projection.custom_classes:
        return refused(WriteRefused.UNKNOWN_CLASS, name)
    if name == new_name:
        return None
    if new_name in projection.custom_classes:
        return refused(WriteRefused.CLASS_EXISTS, new_name)
    for write_uuid, part in projection.prepared.items():
        if any(held.resource_class == name for one in part.consumers for held in one.allocations):
            return refused(WriteRefused.CLASS_IN_WRITE, write_uuid, name)
    rows = _rows_with_class(projection, name)
    for row in rows:
        reason = reported_refusal(projection, row)
        if reason is not None:
            return reason
    uuids = [projection.table.uuids[row] for row in rows]
    apart = SetApart(projection, users_of(projection, uuids))
    projection.custom_classes[new_name] = projection.custom_classes.pop(name)
    for row in rows:
        inventory = inventories_of(projection.table, row)[name]._replace(resource_class=new_name)
        provider_rows.put_inventories(projection, row, [inventory], [name])
    apart.rename_class(name, new_name, set(uuids))
    apart.put_back()
    return None


def class_deleted(projection: State, position: int, event: EventOf[events.ClassDeleted], noted: list[Noted]) -> Answer:
    """Remove a resource class."""
    name = event.data.name
    if name not in projection.custom_classes:
        return refused(WriteRefused.UNKNOWN_CLASS, name)
    if _rows_with_class(projection, name):
        return refused(WriteRefused.CLASS_IN_USE, name)
    del projection.custom_classes[name]
    return None


def trait_deleted(projection: State, position: int, event: EventOf[events.TraitDeleted], noted: list[Noted]) -> Answer:
    """Remove a trait."""
    name, table = event.data.name, projection.table
    if name not in projection.custom_traits:
        return refused(WriteRefused.UNKNOWN_TRAIT, name)
    having = table.has_trait(name).nonzero()[0]
    if (table.cell[table.root[having]] == projection.cell_index).any():
        return refused(WriteRefused.TRAIT_IN_USE, name)
    del projection.custom_traits[name]
    return None


def _rows_with_class(projection: State, name: str) -> list[int]:
    """The rows of this log that have an inventory of a class."""
    table = projection.table
    index = table.classes.get(name)
    if index < 0:
        return []
    rows = table.step_size[index, : table.count].nonzero()[0]
    here: list[int] = rows[table.cell[table.root[rows]] == projection.cell_index].tolist()
    return here
