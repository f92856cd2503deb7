"""What is written with the objects of the real Placement, repeated as events of ours, in the same order.

The fixtures of Placement's API tests prepare providers and consumers with Placement's objects. These go on writing
Placement's database; each of their writes that succeeds is also given to us as the event of the same write, so that
both sides have the same providers with the same generations.
"""

import functools

from placement.objects import allocation, reshaper, resource_class, resource_provider, trait

from rpc_api import events
from tests.builders import REQUEST


def install(write, refused=lambda conf, event, error: None):
    """From now on call ``write(conf, event)`` after each write of Placement's objects, and ``refused(conf, event,
    error)`` after one that raised; ``conf`` is that of the write's context. A write inside another write is a part of
    it."""
    inside = []

    def tee(owner, name, event_of):
        real = getattr(owner, name)

        @functools.wraps(real)
        def written(*arguments, **named):
            # The event is made before the write, which raises the generations of the objects that it is given.
            found = () if inside else tuple(event_of(*arguments, **named))
            context = getattr(arguments[0], "_context", arguments[0])
            inside.append(name)
            try:
                answer = real(*arguments, **named)
            except Exception as error:
                for event in found:
                    refused(context.config, event, error)
                raise
            finally:
                inside.pop()
            for event in found:
                write(context.config, event)
            return answer

        setattr(owner, name, written)

    for owner, name, event_of in _WRITES:
        tee(owner, name, event_of)


# --- providers -------------------------------------------------------------------------------------------------------


def _created(provider):
    yield events.ProviderCreated(provider.uuid, provider.name, provider.parent_provider_uuid, *REQUEST)


def _saved(provider, allow_reparenting=False):
    parent = provider.parent_provider_uuid
    yield events.ProviderChanged(provider.uuid, provider.name, parent, allow_reparenting, *REQUEST)


def _destroyed(provider):
    yield events.ProviderDeleted(provider.uuid, *REQUEST)


def _inventory(one):
    return events.Inventory(
        one.resource_class,
        one.total,
        one.reserved,
        one.min_unit,
        one.max_unit,
        one.step_size,
        float(one.allocation_ratio),
    )


def _inventories(kind):
    def event_of(provider, inventories):
        inventories = inventories if isinstance(inventories, list) else [inventories]
        generation = provider.generation
        yield events.InventoriesPut(provider.uuid, generation, kind, tuple(map(_inventory, inventories)), *REQUEST)

    return event_of


def _inventory_deleted(provider, name):
    gone = events.Inventory(name, 1, 0, 1, 1, 1, 1.0)
    yield events.InventoriesPut(provider.uuid, provider.generation, "remove", (gone,), *REQUEST)


def _traits_set(provider, traits):
    yield events.TraitsPut(provider.uuid, None, tuple(one.name for one in traits), *REQUEST)


def _aggregates_set(provider, aggregates, increment_generation=False):
    generation = provider.generation if increment_generation else None
    yield events.AggregatesPut(provider.uuid, generation, tuple(map(str, aggregates)), *REQUEST)


# --- allocations -----------------------------------------------------------------------------------------------------


def _consumers(context, allocations):
    held = {}
    for one in allocations:
        held.setdefault(one.consumer.uuid, []).append(one)
    for consumer_uuid, ones in held.items():
        consumer = ones[0].consumer
        kind = consumer.consumer_type_id
        yield events.ConsumerPut(
            consumer_uuid,
            False,
            None,
            consumer.project.external_id,
            consumer.user.external_id,
            None if kind is None else context.ct_cache.string_from_id(kind),
            tuple(
                events.Allocation(one.resource_provider.uuid, one.resource_class, one.used) for one in ones if one.used
            ),
            None,
        )


def _replaced(context, allocations):
    yield events.AllocationsPut(tuple(_consumers(context, allocations)), *REQUEST)


def _dropped(context, allocations):
    for consumer_uuid in dict.fromkeys(one.consumer.uuid for one in allocations):
        yield events.AllocationsDropped(consumer_uuid, *REQUEST)


def _reshaped(context, inventories, allocations):
    providers = tuple(
        events.ProviderInventories(provider.uuid, provider.generation, tuple(map(_inventory, ones)))
        for provider, ones in inventories.items()
    )
    yield events.Reshaped(providers, tuple(_consumers(context, allocations)), *REQUEST)


# --- resource classes and traits -------------------------------------------------------------------------------------


def _named(event):
    def event_of(made):
        yield event(made.name, *REQUEST)

    return event_of


def _renamed(made):
    # Placement's own cache still has the name before. (One that is not in the database has no name to be replaced.)
    if made.id is not None:
        yield events.ClassRenamed(made._context.rc_cache.string_from_id(made.id), made.name, *REQUEST)


_WRITES = (
    (resource_provider.ResourceProvider, "create", _created),
    (resource_provider.ResourceProvider, "save", _saved),
    (resource_provider.ResourceProvider, "destroy", _destroyed),
    (resource_provider.ResourceProvider, "set_inventory", _inventories("all")),
    (resource_provider.ResourceProvider, "add_inventory", _inventories("add")),
    (resource_provider.ResourceProvider, "update_inventory", _inventories("change")),
    (resource_provider.ResourceProvider, "delete_inventory", _inventory_deleted),
    (resource_provider.ResourceProvider, "set_traits", _traits_set),
    (resource_provider.ResourceProvider, "set_aggregates", _aggregates_set),
    (allocation, "replace_all", _replaced),
    (allocation, "delete_all", _dropped),
    (reshaper, "reshape", _reshaped),
    (resource_class.ResourceClass, "create", _named(events.ClassCreated)),
    (resource_class.ResourceClass, "save", _renamed),
    (resource_class.ResourceClass, "destroy", _named(events.ClassDeleted)),
    (trait.Trait, "create", _named(events.TraitCreated)),
    (trait.Trait, "destroy", _named(events.TraitDeleted)),
)
