"""Read a reported provider tree, also one with values in a provider that the schema does not accept."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from nova_sched.projection.ledger import Host
from rpc_api import errors, events
from rpc_api.events import HostInventory, Inventory, Provider
from rpc_api.events.schema import TABLE, Refused, thaw_fields
from rpc_api.levels import LEVEL, pack_oldest, thaw_at
from rpc_api.packing import pack, unpack

#: A resource class, or a trait.
NAME = re.compile(r"[A-Z0-9_]{1,255}")
_PROVIDERS = HostInventory._fields.index("providers")


class ProviderTree(NamedTuple):
    """A HostInventory, and which of its providers have values that cannot be read: index -> sentence. Such a provider
    has here the names of its classes, of which it offers nothing, and those traits that can be read."""

    inventory: HostInventory
    faults: dict[int, str]


def read(content: bytes, level: int = LEVEL) -> ProviderTree:
    """Unpack a HostInventory in the form of a level. Raises InvalidEvent if anything but the inventories and traits of
    providers does not fit the schema: without the uuids and the form of the tree, nothing can be counted."""
    try:
        return ProviderTree(thaw_at("HostInventory", content, level), {})
    except errors.InvalidEvent:
        values = unpack(content)
        if type(values) is not tuple or len(values) <= _PROVIDERS or type(values[_PROVIDERS]) is not tuple:
            raise
    providers, faults = _opened(values[_PROVIDERS])
    values = (*values[:_PROVIDERS], providers, *values[_PROVIDERS + 1 :])
    return ProviderTree(thaw_at("HostInventory", pack(values), level), faults)


def read_providers(content: bytes) -> tuple[tuple[Provider, ...], dict[int, str]]:
    """Unpack ReportedProviders: the providers, and the faults of those that cannot be read, as in ProviderTree. Raises
    InvalidEvent as :func:`read` does."""
    try:
        return events.thaw("ReportedProviders", content).providers, {}
    except errors.InvalidEvent:
        values = unpack(content)
        if type(values) is not tuple or len(values) != 1 or type(values[0]) is not tuple:
            raise
    providers, faults = _opened(values[0])
    return thaw_fields(TABLE["ReportedProviders"], (providers,)).providers, faults


def tree_of(host: Host) -> ProviderTree:
    """What a host and its agent reported, also if the tree was reported by itself."""
    tree = read(host.inventory)
    if not host.providers:
        return tree
    providers, faults = read_providers(host.providers)
    return ProviderTree(tree.inventory._replace(providers=providers), faults)


def _opened(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[int, str]]:
    """The values of providers, with what can be read of those that do not fit the schema, and the faults of these."""
    providers, faults = [], {}
    for index, provider in enumerate(values):
        wanted = _wanted("Provider", provider)
        if wanted is not None and type(provider) is tuple and len(provider) == len(Provider._fields):
            faults[index] = _fault(provider, wanted)
            names = {_class_of(inventory) for inventory in _items(provider[3])}
            traits = tuple(trait for trait in _items(provider[4]) if type(trait) is str and NAME.fullmatch(trait))
            # A wrong uuid, name, parent or aggregate stays wrong, and is found below.
            provider = (*provider[:3], closed_inventories(names), traits, provider[5])
        providers.append(provider)
    return tuple(providers), faults


def packed(tree: ProviderTree) -> bytes:
    """The bytes of a tree that was read, and may have been changed. A provider that could not be read stays so, by a
    trait that is none."""
    return pack_oldest(tree.inventory._replace(providers=with_faults(tree.inventory.providers, tree.faults)))


def with_faults(providers: Iterable[Provider], faults: Iterable[int]) -> tuple[Any, ...]:
    """Providers of which those with ``faults`` cannot be read when they were packed."""
    marked: list[Any] = list(providers)
    for index in faults:
        marked[index] = marked[index]._replace(traits=(*marked[index].traits, None))
    return tuple(marked)


def closed_inventories(names: set[str]) -> tuple[Inventory, ...]:
    """Inventories of classes of which nothing is offered: so the use of them stays counted."""
    return tuple(Inventory(name, 0, 0, 1, 0, 1, 1.0) for name in sorted(names) if NAME.fullmatch(name))


def _wanted(name: str, values: Any) -> str | None:
    """What is wanted instead of field values that do not fit the class ``name``; None if they fit."""
    try:
        TABLE[name].thaw(values)
    except Refused as refused:
        return str(refused)
    return None


def _fault(provider: tuple[Any, ...], wanted: str) -> str:
    for inventory in _items(provider[3]):
        wanted_here = _wanted("Inventory", inventory)
        if wanted_here is not None:
            return f"{_class_of(inventory) or 'an inventory'} of {provider[1]} cannot be read, wanted {wanted_here}"
    return f"provider {provider[1]} cannot be read, wanted {wanted}"


def _items(values: Any) -> tuple[Any, ...]:
    return values if type(values) is tuple else ()


def _class_of(inventory: Any) -> str:
    """The name of the class of an inventory; empty if it has none."""
    name = inventory[0] if type(inventory) is tuple and inventory else None
    return name if type(name) is str else ""
