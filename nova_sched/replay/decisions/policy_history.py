"""Which service adopted which policy, when, and what changed with it."""

from typing import NamedTuple

from nova_sched.replay.decisions.policies import differences
from nova_sched.replay.logs.reading import holding
from rpc_api import errors
from rpc_api.codec import Event
from rpc_api.events.decision import SHADOW


class Adoption(NamedTuple):
    """A service adopted a policy: its ``digest`` and ``options`` (JSON), and what differs from the one that the service
    had ``before`` (its digest; None: the defaults), in a few words for each option. ``is_start`` means that it is the
    same as before: the service was started again."""

    at_ns: int
    cell: str
    position: int
    service: str
    digest: str
    before: str | None
    changes: tuple
    is_start: bool
    options: str


def adoptions(logs, last: dict | None = None) -> list[Adoption]:
    """Return the adoptions in logs (cell -> EventLog), up to some positions, in the order of their times."""
    found, before = [], {}
    for cell, log in sorted(logs.items()):
        for position, record in holding(log, (b"PolicyAdopted",), last=last and last.get(cell)):
            for event in record.events:
                if isinstance(event, Event) and event.name == "PolicyAdopted":
                    known = before.get((cell, event.producer))
                    found.append(_adoption(cell, position, event, known))
                    before[cell, event.producer] = event.data
    return sorted(found, key=lambda one: (one.at_ns, one.cell, one.position))


def _adoption(cell, position, event, known):
    data = event.data
    try:
        changes = tuple(differences(known and known.options, data.options))
    except errors.InvalidEvent as fault:
        changes = (str(fault),)
    return Adoption(
        event.at_ns,
        cell,
        position,
        event.producer,
        data.digest,
        known and known.digest,
        changes,
        known is not None and known.digest == data.digest,
        data.options,
    )


def is_shadow(service: str) -> bool:
    """Whether a service is a shadow: it may try another policy than the schedulers."""
    return service.startswith(f"{SHADOW}/")


def in_force(found) -> dict[str, list[str]]:
    """Return digest -> the schedulers that adopted it last, of adoptions in their order."""
    last = {one.service: one.digest for one in found if not is_shadow(one.service)}
    by_digest = {}
    for service, digest in sorted(last.items()):
        by_digest.setdefault(digest, []).append(service)
    return by_digest
