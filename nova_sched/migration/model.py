"""What a Placement knows, as plain values: the same for a stock Placement and for our logs."""

from collections.abc import Mapping
from typing import NamedTuple

from rpc_api.events import Inventory

#: Prefix of the resource classes and traits that a cloud creates itself.
CUSTOM = "CUSTOM_"
#: (Provider uuid, resource class).
Key = tuple[str, str]


class Provider(NamedTuple):
    """A resource provider; ``parent`` is a uuid, None for a root, and ``inventories`` are by class."""

    uuid: str
    name: str
    parent: str | None
    generation: int
    inventories: Mapping[str, Inventory]
    traits: frozenset[str]
    aggregates: frozenset[str]


class Consumer(NamedTuple):
    """A consumer and all that it holds. ``generation`` is None if its parts in several logs have different ones, and
    ``kind`` is its type, None for the unknown one."""

    uuid: str
    generation: int | None
    project: str | None
    user: str | None
    kind: str | None
    allocations: Mapping[Key, int]


class Placement(NamedTuple):
    """Providers and consumers by uuid, and the resource classes and traits of the cloud's own."""

    providers: Mapping[str, Provider]
    consumers: Mapping[str, Consumer]
    classes: frozenset[str]
    traits: frozenset[str]


def root_of(placement: Placement, uuid: str) -> str:
    """The root of the tree of a provider. A parent that is not there, because it came or went while the state was read,
    counts as no parent."""
    parent = placement.providers[uuid].parent
    while parent is not None and parent in placement.providers:
        uuid, parent = parent, placement.providers[parent].parent
    return uuid


def from_the_top(placement: Placement) -> list[str]:
    """The uuids of all providers, each after its parent."""
    depths: dict[str, int] = {}

    def depth(uuid: str) -> int:
        if uuid not in depths:
            parent = placement.providers[uuid].parent
            depths[uuid] = 0 if parent is None or parent not in placement.providers else 1 + depth(parent)
        return depths[uuid]

    return sorted(placement.providers, key=lambda uuid: (depth(uuid), placement.providers[uuid].name, uuid))


def used_of(consumers: Mapping[str, Consumer]) -> dict[Key, int]:
    """What is held of each provider and class."""
    used: dict[Key, int] = {}
    for consumer in consumers.values():
        for key, amount in consumer.allocations.items():
            used[key] = used.get(key, 0) + amount
    return used
