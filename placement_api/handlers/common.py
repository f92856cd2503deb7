"""What several handlers need: a provider of a path, and the names that OpenStack has."""

from collections.abc import Sequence
from typing import NamedTuple

import os_resource_classes
import os_traits

from nova_sched.projection.inventory import CUSTOM
from placement_api.http_errors import CONCURRENT_UPDATE, BadRequest, Conflict, NotFound
from placement_api.refusals import PROVIDER_CONFLICT
from placement_api.request import uuid_of
from placement_api.reservations import lock_of, reserved
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


# --- resource classes and traits of the cloud's own ------------------------------------------------------------------

CLASS, TRAIT = "resource class", "trait"
_CREATED = {CLASS: events.ClassCreated, TRAIT: events.TraitCreated}


def custom_of(projection, kind: str) -> dict[str, int]:
    """The classes or the traits of one log -> when they were created."""
    return projection.custom_classes if kind == CLASS else projection.custom_traits


def creation_of(kind: str, name: str) -> str:
    """What is locked while a name is created in a log that lacks it."""
    return lock_of(f"creation of {kind}", name)


def removal_of(kind: str, name: str) -> str:
    """What is locked while a name is removed from all logs."""
    return lock_of(f"removal of {kind}", name)


def create_names(request, log, kind: str, names: Sequence[str], are_copies: bool = False) -> bool:
    """Create classes or traits in a log: of some names those that no log has, or (``are_copies``) those that only
    others have. Returns whether this request created the first of them."""
    own, against = ([of(kind, name) for name in names] for of in (creation_of, removal_of))
    with reserved(request, log, own, against):
        with request.region.lock:
            states = request.region.projections()
            having = {name: [state for state in states if name in custom_of(state, kind)] for name in names}
        missing = [name for name in names if log.projection not in having[name] and bool(having[name]) is are_copies]
        created = [_CREATED[kind](name, *request.who()) for name in missing]
        return bool(created) and log.write(*created).reason is None


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
    """Create what another log of the region has and this one lacks, as a log knows its own classes and traits only. If
    it is removed meanwhile, the log refuses what needs it."""
    region = request.region
    if len(region.logs) == 1:
        return
    for kind, names in ((CLASS, classes), (TRAIT, traits)):
        with region.lock:
            known = custom_of(log.projection, kind)
            missing = [name for name in names if name.startswith(CUSTOM) and name not in known]
        if missing:
            create_names(request, log, kind, missing, are_copies=True)


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
