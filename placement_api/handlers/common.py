"""What several handlers need: a provider of a path, and the names that OpenStack has."""

from typing import NamedTuple

import os_resource_classes
import os_traits

from nova_sched.projection.inventory import CUSTOM
from placement_api.http_errors import CONCURRENT_UPDATE, BadRequest, Conflict, NotFound
from placement_api.refusals import PROVIDER_CONFLICT
from placement_api.request import uuid_of
from rpc_api import events

STANDARD_CLASSES: tuple[str, ...] = tuple(os_resource_classes.STANDARDS)
STANDARD_TRAITS: frozenset[str] = frozenset(os_traits.get_traits())


class Provider(NamedTuple):
    """A provider as it is now: ``log`` has it, ``row`` is that of the table."""

    log: object
    row: int
    uuid: str


def provider_of(request, uuid: str) -> Provider:
    """The provider of a path; NotFound if there is none. Call it under the lock."""
    log = request.region.log_of(uuid)
    if log is None:
        raise NotFound(f"No resource provider with uuid {uuid} found")
    return Provider(log, log.projection.trees[uuid].rows[uuid], uuid)


def check_generation(request, provider: Provider, generation: int) -> None:
    """Conflict if a provider has another generation than a client expects."""
    found = request.region.table.generation.item(provider.row)
    if found != generation:
        raise Conflict(
            "Resource provider's generation already changed. Please update the generation and try again. "
            f"{PROVIDER_CONFLICT}: {provider.uuid} has {found}, not {generation}.",
            CONCURRENT_UPDATE,
        )


def by_uuid(what: str, by_text: dict) -> dict:
    """The values of a body by uuids in their usual form; BadRequest if two of its texts are the same uuid. ``what`` has
    the uuids."""
    found = {uuid_of(text) or text: value for text, value in by_text.items()}
    if len(found) < len(by_text):
        texts = list(map(str.lower, by_text))
        twice = next(text for text in texts if texts.count(text) > 1)
        raise BadRequest(f"The {what} {twice} is named twice, wanted once.")
    return found


def ensure_names(request, log, classes=(), traits=()) -> None:
    """Create what another log of the region has and this one lacks, as a log knows its own classes and traits only."""
    with request.region.lock:
        known = log.projection
        missing = [events.ClassCreated(name, *request.who()) for name in classes if _lacks(known.custom_classes, name)]
        missing += [events.TraitCreated(name, *request.who()) for name in traits if _lacks(known.custom_traits, name)]
        missing = [event for event in missing if len(request.region.logs) > 1]
    for event in missing:
        log.write(event)


def _lacks(known, name: str) -> bool:
    return name.startswith(CUSTOM) and name not in known


def is_class(region, name: str) -> bool:
    """Whether a resource class exists. Call it under the lock."""
    if not name.startswith(CUSTOM):
        return name in STANDARD_CLASSES
    return any(name in projection.custom_classes for projection in region.projections())


def is_trait(region, name: str) -> bool:
    """Whether a trait exists. Call it under the lock."""
    if not name.startswith(CUSTOM):
        return name in STANDARD_TRAITS
    return any(name in projection.custom_traits for projection in region.projections())
