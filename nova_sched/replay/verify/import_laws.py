"""The laws of an import from another Placement, for the audit, beside those of the writes of Placement's API."""

from nova_sched.replay.verify import write_laws
from nova_sched.replay.verify.providers import is_known

#: Writes that change the trees of providers.
OF_TREES = write_laws.OF_TREES | {"ProviderImported"}


def fault_of(state, event) -> str | None:
    """Return why a write may not be accepted in a state (a CellAudit), in words; None if it may."""
    fault = _FAULTS.get(event.name)
    return write_laws.fault_of(state, event) if fault is None else fault(state, event.data)


def apply(state, event) -> None:
    """Change a state as an accepted write does."""
    effect = _EFFECTS.get(event.name)
    if effect is None:
        write_laws.apply(state, event)
    else:
        effect(state, event.data)


def _provider(state, data):
    providers, uuid = state.providers_of, data.provider_uuid
    if uuid not in providers:
        if data.before is not None:
            return f"the provider {uuid} is not there"
        fault = write_laws.creation_fault(state, data)
        has = {}
    else:
        known = providers.of[uuid]
        if known.generation != data.before:
            return f"the generation of {uuid} is {known.generation}, the import expected {data.before}"
        if known.reported:
            return f"the agent reports {uuid}"
        fault = write_laws.change_fault(state, data, may_move=True)
        has = known.inventories
    names = {inventory.resource_class for inventory in data.inventories}
    unknown = next((trait for trait in data.traits if not is_known(trait, providers.traits)), None)
    return (
        fault
        or write_laws.unknown_class(state, sorted(names))
        or (unknown and f"there is no trait {unknown}")
        or write_laws.in_use(state, uuid, has.keys() - names)
    )


def _consumer(state, data):
    """What another Placement gave away is not asked for room; its inventories must be there."""
    one = data.consumer
    found = state.generations.get(one.consumer_uuid)
    if write_laws.is_locked(state, one.consumer_uuid):
        return f"{one.consumer_uuid} is in a write over several logs"
    if one.guarded and found != one.generation:
        return f"the generation of {one.consumer_uuid} is {found}, the import expected {one.generation}"
    for uuid, name, _ in one.allocations:
        if uuid not in state.providers_of or name not in state.providers_of.of[uuid].inventories:
            return f"{uuid} has no inventory of {name}"
    return write_laws.agent_decides(state, one.consumer_uuid, one.allocations)


def _import_provider(state, data):
    providers, uuid = state.providers_of, data.provider_uuid
    if uuid not in providers:
        write_laws.create(state, data)
    else:
        write_laws.change(state, data)
    provider = providers.of[uuid]
    providers.put_inventories(uuid, {inventory.resource_class: inventory for inventory in data.inventories})
    provider.traits, provider.aggregates = frozenset(data.traits), tuple(dict.fromkeys(data.aggregates))
    provider.generation = data.generation


_FAULTS = {"ProviderImported": _provider, "ConsumerImported": _consumer}
_EFFECTS = {
    "ProviderImported": _import_provider,
    "ConsumerImported": lambda state, data: state.take_over(data.consumer, data.generation),
}
