"""The laws of Placement's API writes for the audit: whether a write may be accepted in a state, and what it changes.

This is a second implementation of the rules, from Placement's own (see docs/design/0016): nothing of the fold is used.
"""

from nova_sched.projection.ledger import AGENT
from nova_sched.replay.verify.providers import capacity_of, is_known
from rpc_api import events

#: Writes that change the trees of providers.
OF_TREES = frozenset({"ProviderCreated", "ProviderChanged", "ProviderDeleted"})


def fault_of(state, event) -> str | None:
    """Return why a write may not be accepted in a state (a CellAudit), in words; None if it may."""
    return _FAULTS[event.name](state, event.data)


def _unknown(state, uuid):
    return None if uuid in state.providers_of else f"the provider {uuid} is not there"


def _stale(state, uuid, expected):
    found = state.providers_of.of[uuid].generation
    return None if expected in (None, found) else f"the generation of {uuid} is {found}, the client expected {expected}"


def _reported(state, uuid):
    return f"the agent reports {uuid}" if state.providers_of.of[uuid].reported else None


def unknown_class(state, names) -> str | None:
    """Return which class does not exist."""
    unknown = next((name for name in names if not is_known(name, state.providers_of.classes)), None)
    return unknown and f"there is no class {unknown}"


def in_use(state, uuid, names) -> str | None:
    """Return which classes of a provider are in use."""
    busy = [name for name in sorted(names) if state.used[uuid, name] > 0]
    return f"in use: {', '.join(busy)} of {uuid}" if busy else None


# --- providers -----------------------------------------------------------------------------------------------------


def creation_fault(state, data) -> str | None:
    """Return why a provider may not be created."""
    providers = state.providers_of
    if data.parent_uuid == data.provider_uuid:
        return "a loop: it is its own parent"
    if data.parent_uuid is not None and data.parent_uuid not in providers:
        return f"the parent {data.parent_uuid} is not there"
    if data.provider_uuid in providers:
        return "another provider has its uuid"
    return "another provider has its name" if providers.named(data.name) else None


def change_fault(state, data, may_move) -> str | None:
    """Return why a provider may not get a name and a parent."""
    providers, uuid = state.providers_of, data.provider_uuid
    if uuid not in providers:
        return _unknown(state, uuid)
    parent = providers.of[uuid].parent
    if providers.of[uuid].reported:
        return _reported(state, uuid)
    if data.parent_uuid is not None and data.parent_uuid not in providers:
        return f"the parent {data.parent_uuid} is not there"
    if parent is not None and data.parent_uuid != parent and not may_move:
        return "it may not leave its parent"
    if data.parent_uuid in providers.under(uuid):
        return "a loop: it would be above itself"
    if data.parent_uuid is not None and uuid in providers.host_of_root:
        return f"it is the root of the host {providers.host_of_root[uuid]}"
    target = providers.host(data.parent_uuid) if data.parent_uuid is not None else None
    if target is not None and target != providers.host(uuid) and state.users_of(providers.under(uuid)):
        if state.hosts[target].authority == AGENT:
            return f"the agent of {target} says what is held there"
    return "another provider has its name" if set(providers.named(data.name)) - {uuid} else None


def _deleted(state, data):
    uuid = data.provider_uuid
    if uuid not in state.providers_of:
        return _unknown(state, uuid)
    if state.providers_of.children(uuid):
        return "it has children"
    return ("in use: somebody holds of it" if state.users_of([uuid]) else None) or _reported(state, uuid)


def _inventories(state, data):
    uuid = data.provider_uuid
    if uuid not in state.providers_of:
        return _unknown(state, uuid)
    has, names = state.providers_of.of[uuid].inventories, [one.resource_class for one in data.inventories]
    fault = _stale(state, uuid, data.generation) or _reported(state, uuid) or unknown_class(state, names)
    if fault is None and data.kind == "add" and has.keys() & set(names):
        fault = "an inventory that is added is there"
    if fault is None and data.kind in ("change", "remove") and set(names) - has.keys():
        fault = "an inventory that is named is not there"
    gone = {"all": has.keys() - set(names), "remove": names}.get(data.kind, ())
    return fault or in_use(state, uuid, gone)


def _traits(state, data):
    uuid = data.provider_uuid
    if uuid not in state.providers_of:
        return _unknown(state, uuid)
    unknown = next((trait for trait in data.traits if not is_known(trait, state.providers_of.traits)), None)
    return (
        _stale(state, uuid, data.generation) or (unknown and f"there is no trait {unknown}") or _reported(state, uuid)
    )


def _aggregates(state, data):
    uuid = data.provider_uuid
    return _unknown(state, uuid) or _stale(state, uuid, data.generation)


# --- allocations ---------------------------------------------------------------------------------------------------


def _allocations(state, data):
    return put_fault(state, data.consumers, {})


def put_fault(state, consumers, instead) -> str | None:
    """Return why the allocations of some consumers may not be written; the providers of ``instead`` have those
    inventories (uuid -> class -> Inventory)."""
    for one in consumers:
        if is_locked(state, one.consumer_uuid):
            return f"{one.consumer_uuid} is in a write over several logs"
        found = state.generations.get(one.consumer_uuid)
        if one.guarded and found != one.generation:
            return f"the generation of {one.consumer_uuid} is {found}, the client expected {one.generation}"
    amounts = [allocation for one in consumers for allocation in one.allocations]
    for allocation in amounts:
        if allocation.provider_uuid not in state.providers_of:
            return _unknown(state, allocation.provider_uuid)
    for one in consumers:
        fault = agent_decides(state, one.consumer_uuid, one.allocations)
        if fault is not None:
            return fault
    names = [*(name for of in instead.values() for name in of), *(allocation.resource_class for allocation in amounts)]
    return unknown_class(state, names) or _no_room(state, consumers, amounts, instead)


def is_locked(state, consumer) -> bool:
    """Return whether a consumer takes part in a write over several logs."""
    return (
        consumer in state.prepared
        or any(consumer == one.consumer_uuid for part in state.prepared.values() for one in part.consumers)
        or any(consumer in consumers for consumers in state.committed.values())
    )


def _prepared(state, data):
    if data.write_uuid in state.prepared or data.write_uuid in state.generations:
        return f"there is a write {data.write_uuid}"
    return put_fault(state, data.consumers, {})


def _under_way(state, data):
    return None if data.write_uuid in state.prepared else f"there is no write {data.write_uuid} under way"


def agent_decides(state, consumer, allocations):
    """The authority over a host says what is held there: the API writes nothing on a host of an agent."""
    hosts = {*state.hosts_of(consumer), *(state.providers_of.host(held.provider_uuid) for held in allocations)}
    for name in sorted(filter(None, hosts)):
        if state.hosts[name].authority == AGENT:
            return f"the agent of {name} says what is held there"
    return None


def _no_room(state, consumers, amounts, instead):
    freed, asked = {}, {}
    for one in consumers:
        for held in state.allocations_of(one.consumer_uuid):
            freed[held[:2]] = freed.get(held[:2], 0) + held.amount
    for uuid, name, amount in amounts:
        inventory = instead.get(uuid, {}).get(name) or state.providers_of.of[uuid].inventories.get(name)
        if inventory is None:
            return f"{uuid} has no inventory of {name}"
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            return f"{amount} {name} is not within the units of {uuid}"
        asked[uuid, name] = asked.get((uuid, name), 0) + amount
    for (uuid, name), amount in asked.items():
        inventory = instead.get(uuid, {}).get(name) or state.providers_of.of[uuid].inventories[name]
        used = state.used[uuid, name]
        after = used - freed.get((uuid, name), 0) + amount
        # Placement lets a write leave what is over-committed no worse than it was.
        if after > capacity_of(inventory) and not 0 < after <= used:
            return f"capacity: {name} of {uuid} comes to {after}, capacity {capacity_of(inventory)}, before {used}"
    return None


def _dropped(state, data):
    if data.consumer_uuid not in state.generations:
        return f"{data.consumer_uuid} holds nothing"
    if is_locked(state, data.consumer_uuid):
        return f"{data.consumer_uuid} is in a write over several logs"
    return agent_decides(state, data.consumer_uuid, ())


def _reshaped(state, data):
    after, union = {}, {}
    for one in data.inventories:
        uuid = one.provider_uuid
        fault = _unknown(state, uuid) or _stale(state, uuid, one.generation) or _reported(state, uuid)
        if fault is not None:
            return fault
        after[uuid] = {inventory.resource_class: inventory for inventory in one.inventories}
        union[uuid] = {**state.providers_of.of[uuid].inventories, **after[uuid]}
    fault = put_fault(state, data.consumers, union)
    if fault is not None:
        return fault
    left = {}
    for one in data.consumers:
        for held in state.allocations_of(one.consumer_uuid):
            left[held[:2]] = left.get(held[:2], 0) - held.amount
        for held in one.allocations:
            left[held[:2]] = left.get(held[:2], 0) + held.amount
    for uuid, inventories in union.items():
        for name in inventories.keys() - after[uuid].keys():
            if state.used[uuid, name] + left.get((uuid, name), 0) > 0:
                return f"in use: {name} of {uuid}"
    return None


# --- classes and traits --------------------------------------------------------------------------------------------


def _named(kind, wanted):
    def fault(state, data):
        return (
            None
            if (data.name in getattr(state.providers_of, kind)) is wanted
            else (f"{data.name} is not there" if wanted else f"{data.name} is there")
        )

    return fault


def _class_deleted(state, data):
    if data.name not in state.providers_of.classes:
        return f"{data.name} is not there"
    having = [uuid for uuid, provider in state.providers_of.of.items() if data.name in provider.inventories]
    return f"{having[0]} has an inventory of it" if having else None


def _trait_deleted(state, data):
    if data.name not in state.providers_of.traits:
        return f"{data.name} is not there"
    having = [uuid for uuid, provider in state.providers_of.of.items() if data.name in provider.traits]
    return f"{having[0]} has it" if having else None


def _class_renamed(state, data):
    if data.name not in state.providers_of.classes:
        return f"{data.name} is not there"
    if data.new_name != data.name and data.new_name in state.providers_of.classes:
        return f"{data.new_name} is there"
    if data.new_name != data.name:
        for write_uuid, part in state.prepared.items():
            if any(held.resource_class == data.name for one in part.consumers for held in one.allocations):
                return f"the write {write_uuid} over several logs names it"
    having = [uuid for uuid, provider in state.providers_of.of.items() if data.name in provider.inventories]
    return next(filter(None, (_reported(state, uuid) for uuid in having)), None) if data.new_name != data.name else None


_FAULTS = {
    "ProviderCreated": creation_fault,
    "ProviderChanged": lambda state, data: change_fault(state, data, data.may_move),
    "ProviderDeleted": _deleted,
    "InventoriesPut": _inventories,
    "TraitsPut": _traits,
    "AggregatesPut": _aggregates,
    "AllocationsPut": _allocations,
    "AllocationsDropped": _dropped,
    "Reshaped": _reshaped,
    "AllocationsPrepared": _prepared,
    "WriteCommitted": _under_way,
    "WriteAborted": _under_way,
    "WriteEnded": lambda state, data: (
        None if data.write_uuid in state.committed else f"there is no committed write {data.write_uuid}"
    ),
    "ClassCreated": _named("classes", False),
    "ClassRenamed": _class_renamed,
    "ClassDeleted": _class_deleted,
    "TraitCreated": _named("traits", False),
    "TraitDeleted": _trait_deleted,
}


# --- what an accepted write changes ----------------------------------------------------------------------------------


def apply(state, event) -> None:
    """Change a state as an accepted write does."""
    _EFFECTS[event.name](state, event.data)


def create(state, data) -> None:
    """Add a provider."""
    strays = state.on_hosts_of(state.users_of([data.provider_uuid]))
    state.providers_of.add(data.provider_uuid, data.name, data.parent_uuid)
    state.regroup(strays)
    state.root_came(data.provider_uuid)


def change(state, data) -> None:
    """Give a provider a name and a parent."""
    providers, uuid = state.providers_of, data.provider_uuid
    if uuid not in providers:
        return
    providers.of[uuid].name = data.name
    if data.parent_uuid != providers.of[uuid].parent:
        roots = [providers.root(one) for one in (uuid, data.parent_uuid) if one is not None]
        moved = [consumer for root in roots for consumer in state.users_of_tree(root)]
        providers.move(uuid, data.parent_uuid)
        state.regroup(moved)
        state.trees_changed()
        state.root_came(uuid)


def _delete(state, data):
    if data.provider_uuid in state.providers_of:
        state.root_goes(data.provider_uuid)
        state.providers_of.drop(data.provider_uuid)
        state.trees_changed()


def _put_inventories(state, data):
    provider = state.providers_of.of.get(data.provider_uuid)
    if provider is None:
        return
    given = {inventory.resource_class: inventory for inventory in data.inventories}
    if data.kind == "remove":
        left = {name: inventory for name, inventory in provider.inventories.items() if name not in given}
    else:
        left = given if data.kind == "all" else {**provider.inventories, **given}
    state.providers_of.put_inventories(data.provider_uuid, left)
    provider.generation += 1


def _put_traits(state, data):
    provider = state.providers_of.of.get(data.provider_uuid)
    if provider is not None and frozenset(data.traits) != provider.traits:
        provider.traits = frozenset(data.traits)
        provider.generation += 1


def _put_aggregates(state, data):
    provider = state.providers_of.of.get(data.provider_uuid)
    if provider is not None:
        provider.aggregates = tuple(dict.fromkeys(data.aggregates))
        # Before microversion 1.19 a client sends no generation, and does not raise it.
        provider.generation += data.generation is not None


def _reshape(state, data):
    providers, before = state.providers_of, {}
    for one in data.inventories:
        if one.provider_uuid in providers:
            provider = providers.of[one.provider_uuid]
            given = {inventory.resource_class: inventory for inventory in one.inventories}
            before[one.provider_uuid] = given
            providers.put_inventories(one.provider_uuid, {**provider.inventories, **given})
            provider.generation += bool(given)
    state.put(data.consumers)
    for uuid, given in before.items():
        providers.put_inventories(uuid, given)
        providers.of[uuid].generation += 1


def _prepare(state, data):
    """What the consumers get beyond what they hold together is held under the uuid of the write."""
    state.prepared[data.write_uuid] = data
    hold(state, data.write_uuid, data.consumers)


def hold(state, write_uuid, consumers):
    """Hold what a part needs beyond what its consumers hold now."""
    more = {}
    for one in consumers:
        for uuid, name, amount in one.allocations:
            more[uuid, name] = more.get((uuid, name), 0) + amount
        for uuid, name, amount in state.allocations_of(one.consumer_uuid):
            more[uuid, name] = more.get((uuid, name), 0) - amount
    state.hold(write_uuid, tuple(events.Allocation(*key, amount) for key, amount in sorted(more.items()) if amount > 0))


def _commit(state, data):
    part = state.prepared.get(data.write_uuid)
    if part is not None:
        _abort(state, data)
        state.put(part.consumers)
        if part.home == state.cell:
            state.committed[data.write_uuid] = {one.consumer_uuid for one in part.consumers}


def _abort(state, data):
    if state.prepared.pop(data.write_uuid, None) is not None:
        state.drop(data.write_uuid)


def _rename_class(state, data):
    if data.name != data.new_name:
        having = state.providers_of.rename_class(data.name, data.new_name)
        state.rename_class(data.name, data.new_name, set(having))


_EFFECTS = {
    "ProviderCreated": create,
    "ProviderChanged": change,
    "ProviderDeleted": _delete,
    "InventoriesPut": _put_inventories,
    "TraitsPut": _put_traits,
    "AggregatesPut": _put_aggregates,
    "AllocationsPut": lambda state, data: state.put(data.consumers),
    "AllocationsDropped": lambda state, data: state.drop(data.consumer_uuid),
    "Reshaped": _reshape,
    "AllocationsPrepared": _prepare,
    "WriteCommitted": _commit,
    "WriteAborted": _abort,
    "WriteEnded": lambda state, data: state.committed.pop(data.write_uuid, None),
    "ClassCreated": lambda state, data: state.providers_of.classes.add(data.name),
    "ClassRenamed": _rename_class,
    "ClassDeleted": lambda state, data: state.providers_of.classes.discard(data.name),
    "TraitCreated": lambda state, data: state.providers_of.traits.add(data.name),
    "TraitDeleted": lambda state, data: state.providers_of.traits.discard(data.name),
}
