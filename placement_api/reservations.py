"""Conditions that concern all logs of an endpoint: that a consumer is new, or that the name of a provider is free.

A log decides by its order over what it has. No log can say that another one lacks something. So a write with such a
condition first locks in its own log what it is about, then looks behind a fence at all logs, and only then takes
effect. Of two that come at the same time, the one that locks later sees the lock of the other, or what it wrote. If
both see each other, the one with the lower uuid goes first, and the other one gives its lock up.

A lock is the part of a write over several logs (nova_sched.projection.prepared). The write of a new consumer locks it
together with the room that it needs. Other writes lock names, by uuids that follow from them, and need no room. What a
worker that ended has left locked, another one gives up: see :func:`placement_api.several_logs.finish`.
"""

import contextlib
import logging
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from nova_sched.projection.reason import Reason
from nova_sched.projection.write_refusals import WriteRefused
from placement_api.http_errors import CONCURRENT_UPDATE, Conflict, HTTPError, OutcomeUnknown, Unavailable
from placement_api.refusals import error_of
from rpc_api import events
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

#: Seconds after which others finish a write that its worker has left, or give it up.
LEFT_AFTER = 30.0
#: Seconds for which a write waits for others that are about the same.
WAIT_SECONDS = 5.0

_NAMES = uuid.UUID("1c2d6f0e-6f6c-4f52-9f5e-0d3b7a54c9e1")


class Lock(NamedTuple):
    """What another write has locked in a log (LedgerLog): the uuid of a consumer or of a name."""

    log: Any
    locked: str
    write_uuid: str

    def wait(self, ends_at: float) -> bool:
        """Wait until the other write has ended, or until a time (monotonic); returns whether it has."""
        return self.log.waits.until(
            lambda: self.log.projection.locked.get(self.locked) != self.write_uuid, ends_at - SYSTEM.monotonic()
        )


def lock_of(kind: str, name: str) -> str:
    """The uuid that is locked for the name of something that is not a consumer."""
    return str(uuid.uuid5(_NAMES, f"{kind} {name}"))


@contextlib.contextmanager
def reserved(request, log, own: Iterable[str], against: Iterable[str] | None = None) -> Iterator[None]:
    """Lock the uuids ``own`` in a log during the body. There no other request has locked one of ``against`` (by default
    the same ones) in any log, and what they wrote is folded. Conflict if that takes too long. An endpoint of one log
    locks nothing: the order of the log decides."""
    if len(request.region.logs) == 1:
        yield
        return
    own = tuple(dict.fromkeys(own))
    against = own if against is None else tuple(against)
    began = SYSTEM.monotonic()
    write_uuid, first = _lock(request, log, own, against)
    while write_uuid is None:
        if SYSTEM.monotonic() > began + WAIT_SECONDS:
            raise Conflict("Another request about the same is under way; repeat the request.", CONCURRENT_UPDATE)
        if first is not None:
            first.wait(began + WAIT_SECONDS)
        write_uuid, first = _lock(request, log, own, against)
    is_known = True
    try:
        yield
    except OutcomeUnknown:
        # What was written under the lock may still come: the lock stays until others give it up, after LEFT_AFTER.
        LOG.warning("the lock %s in the log of %s is kept: the outcome of its write is not known", write_uuid, log.cell)
        is_known = False
        raise
    finally:
        if is_known:
            give_up([log], write_uuid, own, request.who())


def _lock(request, log, own, against) -> tuple[str | None, Lock | None]:
    """(The uuid under which all is locked, None), or (None, the lock of another request that goes first, None if it has
    ended meanwhile)."""
    write_uuid, began = str(uuid.uuid4()), SYSTEM.monotonic()
    part = tuple(events.ConsumerPut(one, False, None, "", "", None, ()) for one in own)
    request.has_written = True
    try:
        written = log.write(events.AllocationsPrepared(write_uuid, log.cell, (log.cell,), part, *request.who()))
        first = None if written.reason is not None else first_of_others(request.region, write_uuid, against)
        if written.reason is None and first is None and SYSTEM.monotonic() > began + LEFT_AFTER / 2:
            # What is written under the lock does not depend on it, and others give it up soon.
            raise Unavailable("The logs of this endpoint take too long to answer; try again later.")
    except HTTPError:
        give_up([log], write_uuid, own, request.who())
        raise
    if written.reason is not None:
        if not isinstance(written.reason, Reason) or written.reason.code is not WriteRefused.LOCKED:
            # It would be the same the next time.
            raise error_of(written.reason, {})
        with request.region.lock:
            return None, next(iter(_locks_of_others([log], write_uuid, own)), None)
    if first is None:
        return write_uuid, None
    give_up([log], write_uuid, own, request.who())
    return None, first


def first_of_others(region, write_uuid: str, uuids: Iterable[str]) -> Lock | None:
    """The lock of another write on one of some uuids, in any log, that goes before the own one, which has its locks
    already; None as soon as there is none, and what the others wrote is folded. Unavailable if that takes too long in a
    log of a cell that is not down."""
    ends_at = SYSTEM.monotonic() + WAIT_SECONDS
    while True:
        region.fence_before_new()
        with region.lock:
            locks = _locks_of_others(region.logs.values(), write_uuid, uuids)
        if not locks:
            return None
        for lock in locks:
            if lock.write_uuid < write_uuid or not lock.wait(ends_at):
                return lock


def _locks_of_others(logs, write_uuid, uuids) -> list[Lock]:
    return [
        Lock(log, one, other)
        for log in logs
        for one in uuids
        if (other := log.projection.locked.get(one, write_uuid)) != write_uuid
    ]


def give_up(logs, write_uuid: str, named, who) -> None:
    """Give up a write, at home first. What cannot be reached now is given up later, as home knows nothing of it."""
    for log in logs:
        try:
            log.write(events.WriteAborted(write_uuid, named, *who))
        except HTTPError as fault:
            LOG.warning("the write %s is given up in %s later: %s", write_uuid, log.cell, fault)
