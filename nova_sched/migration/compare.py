"""Every difference between a cloud and our logs, one by one."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nova_sched.migration.model import Placement
from rpc_api.events import Inventory


class Difference(NamedTuple):
    """Something that the cloud and our logs have in different ways. ``kind`` is what it belongs to, ``id`` its uuid or
    name, and ``what`` the part of it. A value of None: it is not there."""

    kind: str
    id: str
    name: str | None
    what: str
    cloud: Any
    ours: Any

    def sentence(self) -> str:
        """It as one line."""
        named = self.id if self.name in (None, self.id) else f"{self.id} ({self.name})"
        return f"{self.kind} {named}: {self.what}: {_shown(self.cloud)} in the cloud, {_shown(self.ours)} in the logs"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nothing"
    return str(value)


def differences_of(cloud: Placement, ours: Placement, generations: bool) -> list[Difference]:
    """The differences of two Placements; with ``generations`` those of providers and consumers count, too."""
    return [
        *_names("class", cloud.classes, ours.classes),
        *_names("trait", cloud.traits, ours.traits),
        *_providers(cloud, ours, generations),
        *_consumers(cloud, ours, generations),
    ]


def _names(kind: str, cloud: frozenset[str], ours: frozenset[str]) -> Iterator[Difference]:
    for name in sorted(cloud ^ ours):
        yield Difference(kind, name, None, "exists", name in cloud or None, name in ours or None)


def _providers(cloud: Placement, ours: Placement, generations: bool) -> Iterator[Difference]:
    for uuid in sorted(cloud.providers.keys() | ours.providers.keys()):
        there, here = cloud.providers.get(uuid), ours.providers.get(uuid)
        one = there or here
        if there is None or here is None:
            yield Difference("provider", uuid, one.name, "exists", there and True, here and True)
            continue
        for what in ("name", "parent", *(("generation",) if generations else ())):
            yield from changed("provider", uuid, one.name, what, getattr(there, what), getattr(here, what))
        for name in sorted(there.inventories.keys() | here.inventories.keys()):
            yield from _inventory(uuid, one.name, name, there.inventories.get(name), here.inventories.get(name))
        for what in ("traits", "aggregates"):
            for member in sorted(getattr(there, what) ^ getattr(here, what)):
                is_there, is_here = member in getattr(there, what), member in getattr(here, what)
                yield Difference("provider", uuid, one.name, f"{what[:-1]} {member}", is_there or None, is_here or None)


def _inventory(uuid: str, provider: str, name: str, there: Any, here: Any) -> Iterator[Difference]:
    if there is None or here is None:
        totals = [None if one is None else one.total for one in (there, here)]
        yield Difference("provider", uuid, provider, f"inventory {name}", *totals)
        return
    for field in there._fields[1:]:
        if not same(field, there, here):
            what = f"inventory {name} {field}"
            yield Difference("provider", uuid, provider, what, getattr(there, field), getattr(here, field))


def _consumers(cloud: Placement, ours: Placement, generations: bool) -> Iterator[Difference]:
    for uuid in sorted(cloud.consumers.keys() | ours.consumers.keys()):
        there, here = cloud.consumers.get(uuid), ours.consumers.get(uuid)
        held, here_held = (one.allocations if one else {} for one in (there, here))
        for provider, name in sorted(held.keys() | here_held.keys()):
            key = provider, name
            yield from changed("consumer", uuid, None, f"{name} of {provider}", held.get(key), here_held.get(key))
        if there is not None and here is not None:
            for what in ("project", "user", "kind", *(("generation",) if generations else ())):
                label = "type" if what == "kind" else what
                yield from changed("consumer", uuid, None, label, getattr(there, what), getattr(here, what))


def same(field: str, there: Inventory, here: Inventory) -> bool:
    """Whether two inventories have an equal field. A ratio has six digits in some databases of Placement."""
    if field == "allocation_ratio":
        return math.isclose(there.allocation_ratio, here.allocation_ratio, rel_tol=1e-5)
    return bool(getattr(there, field) == getattr(here, field))


def same_inventories(there: Mapping[str, Inventory], here: Mapping[str, Inventory]) -> bool:
    """Whether a provider has equal inventories, by class."""
    return there.keys() == here.keys() and all(
        same(field, one, here[name]) for name, one in there.items() for field in one._fields
    )


def changed(kind: str, uuid: str, name: str | None, what: str, cloud: Any, ours: Any) -> Iterator[Difference]:
    """A Difference, if two values differ."""
    if cloud != ours:
        yield Difference(kind, uuid, name, what, cloud, ours)


def changed_map(
    kind: str, uuid: str, name: str, what: str, cloud: Mapping[str, Any], ours: Mapping[str, Any]
) -> Iterator[Difference]:
    """The Differences of two maps, key by key."""
    for key in sorted(cloud.keys() | ours.keys()):
        yield from changed(kind, uuid, name, f"{what} {key}", cloud.get(key), ours.get(key))
