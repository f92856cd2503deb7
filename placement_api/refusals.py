"""Which error of the API each refusal of the fold is.

A handler may have others for its route: a provider that is not there is 404 in its own path and 400 in a body.
"""

from collections.abc import Mapping

import os_resource_classes

from nova_sched.projection.reason import Reason
from nova_sched.projection.write_refusals import WriteRefused
from placement_api import http_errors
from placement_api.http_errors import BadRequest, Conflict, HTTPError, NotFound

#: Nova looks for this text: it decides whether it repeats a write (nova/scheduler/client/report.py).
CONSUMER_CONFLICT = "consumer generation conflict"
PROVIDER_CONFLICT = "resource provider generation conflict"

_PLACES = {name: place for place, name in enumerate(os_resource_classes.STANDARDS)}

#: Reason -> (error, code, what to say before the reason; a number in braces is one of its facts).
Answers = Mapping[WriteRefused, tuple[type[HTTPError], str | None, str]]
ANSWERS: Answers = {
    WriteRefused.UNKNOWN_PROVIDER: (NotFound, None, "No resource provider with uuid {0} found:"),
    WriteRefused.UUID_TAKEN: (
        Conflict,
        http_errors.DUPLICATE_NAME,
        "Conflicting resource provider uuid: {0} already exists:",
    ),
    WriteRefused.NAME_TAKEN: (
        Conflict,
        http_errors.DUPLICATE_NAME,
        "Conflicting resource provider name: {0} already exists:",
    ),
    WriteRefused.OWN_PARENT: (BadRequest, None, "Parent provider UUID cannot be same as UUID:"),
    WriteRefused.UNKNOWN_PARENT: (BadRequest, None, "Parent provider UUID does not exist:"),
    WriteRefused.MAY_NOT_MOVE: (BadRequest, None, "Re-parenting a provider is not currently allowed:"),
    WriteRefused.LOOP: (BadRequest, None, "Creating loop in the provider tree is not allowed:"),
    WriteRefused.IS_HOST: (Conflict, None, "Unable to move resource provider:"),
    WriteRefused.HAS_CHILDREN: (
        Conflict,
        http_errors.PROVIDER_HAS_CHILDREN,
        "Unable to delete parent resource provider {0}: It has child resource providers.",
    ),
    WriteRefused.IN_USE: (
        Conflict,
        http_errors.PROVIDER_IN_USE,
        "Unable to delete resource provider {0}: Resource provider has allocations.",
    ),
    WriteRefused.AGENT_REPORTS: (
        Conflict,
        None,
        "Unable to write: provider {1} is reported by the agent of host {0}, and not by Nova.",
    ),
    WriteRefused.AGENT_DECIDES: (
        Conflict,
        None,
        "Unable to allocate: host {0} belongs to its agent, and not to Nova; 'nova-sched authority' passes it on.",
    ),
    WriteRefused.GENERATION: (Conflict, http_errors.CONCURRENT_UPDATE, f"{PROVIDER_CONFLICT}:"),
    WriteRefused.UNKNOWN_CLASS: (BadRequest, None, "No such resource class {0}:"),
    WriteRefused.UNKNOWN_TRAIT: (BadRequest, None, "No such trait {0}:"),
    WriteRefused.HAS_INVENTORY: (Conflict, http_errors.CONCURRENT_UPDATE, "Update conflict:"),
    WriteRefused.NO_INVENTORY: (NotFound, None, "No inventory of class {1} for {0}:"),
    WriteRefused.INVENTORY_IN_USE: (
        Conflict,
        http_errors.INVENTORY_IN_USE,
        "update conflict: Inventory for '{0}' on resource provider '{1}' in use:",
    ),
    WriteRefused.CONSUMER_GENERATION: (Conflict, http_errors.CONCURRENT_UPDATE, f"{CONSUMER_CONFLICT}:"),
    WriteRefused.LOCKED: (Conflict, http_errors.CONCURRENT_UPDATE, f"{CONSUMER_CONFLICT}:"),
    WriteRefused.WRITE_EXISTS: (Conflict, http_errors.CONCURRENT_UPDATE, "Unable to write:"),
    WriteRefused.NOT_PREPARED: (Conflict, http_errors.CONCURRENT_UPDATE, "Unable to write:"),
    WriteRefused.CLASS_IN_WRITE: (Conflict, None, "Unable to rename resource class {1}:"),
    WriteRefused.UNITS: (
        Conflict,
        None,
        "Unable to allocate inventory of '{1}' on resource provider '{2}'. The requested amount would violate "
        "inventory constraints:",
    ),
    WriteRefused.CAPACITY: (
        Conflict,
        None,
        "Unable to allocate inventory of '{0}' on resource provider '{1}'. The requested amount would exceed the "
        "capacity:",
    ),
    WriteRefused.NOTHING_HELD: (NotFound, None, "No allocations for consumer '{0}':"),
    WriteRefused.CLASS_EXISTS: (Conflict, None, "Conflicting resource class already exists: {0}:"),
    WriteRefused.CLASS_IN_USE: (
        Conflict,
        None,
        "Error in delete resource class: Cannot delete resource class {0}. Class is in use in inventory:",
    ),
    WriteRefused.TRAIT_EXISTS: (Conflict, None, "The trait {0} already exists:"),
    WriteRefused.TRAIT_IN_USE: (Conflict, None, "The trait {0} is in use by a resource provider:"),
}


def error_of(reason, refusals: Answers) -> HTTPError:
    """The error for the reason of a refused write: a Reason, or a SetAside for an event that no API should write."""
    if not isinstance(reason, Reason):
        return BadRequest(f"The log does not take this write: {reason.reason}", of_state=True)
    if not isinstance(reason.code, WriteRefused):
        # The terms under which a scheduler offered a host do not hold any more.
        return Conflict(f"Unable to allocate inventory: {reason}")
    error, code, before = refusals.get(reason.code) or ANSWERS[reason.code]
    facts = [", ".join(sorted(fact, key=_place)) if isinstance(fact, tuple) else fact for fact in reason.facts]
    text = before.format(*facts)
    # Some say all of it already.
    return error(text if text.endswith(".") else f"{text} {reason}.", code, of_state=True)


def _place(resource_class: str) -> tuple[int, str]:
    """Where a resource class comes in a text: OpenStack's own come first, in its order."""
    return _PLACES.get(resource_class, len(_PLACES)), resource_class
