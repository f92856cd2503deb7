"""The terms of a claim: our own key of an allocation body, beside Placement's keys.

A scheduler writes them into the ``allocation_request`` of a Selection (nova_sched/scheduler/endpoint.py), and a
conductor of Nova sends that back when it claims an alternate. They say what must hold on the host beside the room.
"""

from typing import Any

from placement_api.http_errors import BadRequest
from rpc_api import errors, events
from rpc_api.events.schema import TABLE, thaw, thaw_fields

#: The keys that become terms, and those that only nova_sched's own conductor reads.
_USED = ("rule", "guest", "companion")
_UNUSED = ("cell", "claim_uuid", "position", "user_id")


def claim_terms(own: dict[str, Any], host: str, consumer_uuid: str) -> events.ClaimTerms:
    """The terms in the value of the key ``nova_sched``, for the consumer that it is about: an instance.

    ``host`` is the name of the host whose providers the allocations are of: the terms do not have it. BadRequest for
    what is wrong. A key that is not known is refused: it may be a condition, which must not be ignored.
    """
    unknown = sorted(own.keys() - {*_USED, *_UNUSED})
    if unknown:
        raise _wrong(f"there is no {unknown[0][:80]!r}; upgrade this API before the schedulers")
    rule, guest, companion = (own.get(key) for key in _USED)
    if guest is not None:
        guest = _guest(guest)
    try:
        terms: events.ClaimTerms = thaw_fields(TABLE["ClaimTerms"], (host, consumer_uuid, rule, guest, companion))
    except errors.InvalidEvent as fault:
        raise _wrong(str(fault)) from None
    return terms


def _guest(text: object) -> bytes:
    """The packed Guest in a text of hexadecimal digits."""
    try:
        packed = bytes.fromhex(text) if isinstance(text, str) else None
    except ValueError:
        packed = None
    if packed is None:
        raise _wrong("guest is not a text of hexadecimal digits")
    try:
        thaw("Guest", packed)
    except (errors.InvalidEvent, errors.UnknownSchema) as fault:
        raise _wrong(str(fault)) from None
    return packed


def _wrong(fault: str) -> BadRequest:
    return BadRequest(f"Invalid terms of a claim in nova_sched: {fault}")
