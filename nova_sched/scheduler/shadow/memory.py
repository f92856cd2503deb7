"""What a shadow counts in memory, as no log has it: its own choices until Nova's are seen, and then Nova's."""

import contextlib
from typing import NamedTuple

from nova_sched.selection.claim_rules import ClaimRules
from nova_sched.selection.decide import Candidate, candidate_of, claim_of
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope


class _Held(NamedTuple):
    claim_uuid: str
    host: str
    request: object
    since: float


class Memory:
    """Claims that are in flight in a World and never published."""

    def __init__(self, world, new_uuid):
        self._world = world
        self._new_uuid = new_uuid
        #: Instance uuid -> (claim, since when) of the shadow's own choices.
        self._own = {}
        #: Instance uuid -> _Held, of Nova's choices.
        self._novas = {}

    def __len__(self):
        """Number of Nova's choices that count."""
        return len(self._novas)

    def hold_own(self, claim, now) -> None:
        """Count a choice of the shadow."""
        self.let_go_of_own(claim.instance_uuid)
        self._world.in_flight.add(claim)
        self._own[claim.instance_uuid] = claim, now

    def let_go_of_own(self, uuid) -> None:
        """The shadow's choice for an instance does not count any more."""
        claim, _ = self._own.pop(uuid, (None, 0.0))
        if claim is not None:
            self._world.in_flight.remove(claim.claim_uuid)

    @contextlib.contextmanager
    def without_own(self):
        """Count only what Nova is known to have chosen: the shadow's own choices are guesses."""
        in_flight = self._world.in_flight
        for claim, _ in self._own.values():
            in_flight.remove(claim.claim_uuid)
        try:
            yield
        finally:
            for claim, _ in self._own.values():
                in_flight.add(claim)

    def remember(self, uuid, host, request, policy, now, held=()) -> bool:
        """Count what Nova chose for an instance, unless a log has it (it is among the hosts ``held``). Returns False if
        it does not fit there by what is known here."""
        self.forget(uuid)
        if host in held:
            return True
        world = self._world
        row, wanted = world.table.row_of_host.get(host), prefiltered(request, world.table, policy)
        if row is None or isinstance(wanted, Refused):
            return False
        scope = Scope(world.table, list(world.projections.values()), world.in_flight, wanted, uuid)
        candidate = candidate_of(ClaimRules(world, scope), row, policy)
        if not isinstance(candidate, Candidate):
            return False
        claim = claim_of(self._new_uuid(), uuid, wanted, candidate)
        world.in_flight.add(claim)
        self._novas[uuid] = _Held(claim.claim_uuid, host, request, now)
        return True

    def move(self, uuid, host, policy, now) -> None:
        """Nova tries another host for an instance."""
        known = self._novas.get(uuid)
        if known is not None and known.host != host:
            self.remember(uuid, host, known.request, policy, now)

    def forget(self, uuid) -> None:
        """What Nova chose for an instance does not count any more."""
        known = self._novas.pop(uuid, None)
        if known is not None:
            self._world.in_flight.remove(known.claim_uuid)

    def let_go(self, now, own_seconds, seconds, hosts_of) -> None:
        """Drop what is too old, and what the logs have by now: ``hosts_of(uuid)`` are the hosts on which an instance
        holds something there."""
        for uuid in [uuid for uuid, (_, since) in self._own.items() if now - since >= own_seconds]:
            self.let_go_of_own(uuid)
        for uuid, known in list(self._novas.items()):
            if now - known.since >= seconds or known.host in hosts_of(uuid):
                self.forget(uuid)
