"""Claims that are not built, in a log that has their age: ClaimsWatched and ClaimExpired events.

The age of a claim is the time for which conductors watched it. It is in the log, so a conductor that restarts goes on
where the last one ended; time in which no conductor ran does not count.
"""

from conductor.monitor import SAY_AGAIN
from nova_sched.projection.fold import WATCHED_MAX_MS
from nova_sched.projection.ledger import CLAIMED
from rpc_api import events

#: Seconds between two ClaimsWatched: at first, and at most. Each time is twice the last one.
FIRST_STEP, LAST_STEP = 1.0, 60.0
#: At least so many ClaimsWatched come while a claim grows as old as ``claim_ttl``: it counts from the first one on.
STEPS_A_CLAIM = 8
#: Consumers that one ClaimsWatched names.
MAX_BUILDING = 1000


class Watch:
    """The watch of one conductor over the claims of its log; times are in seconds (monotonic)."""

    def __init__(self, claim_ttl: float):
        self.claim_ttl = claim_ttl
        self._last_step = min(LAST_STEP, claim_ttl / STEPS_A_CLAIM)
        #: Since when it watches with the present total; None while it does not watch.
        self._since = None
        self._step = FIRST_STEP
        self._appended_at = None
        #: Consumers whose claims were being built since the last append (a dictionary for its order).
        self._built = {}
        #: Claim uuid -> when its ClaimExpired was published.
        self._said = {}

    @property
    def is_watching(self) -> bool:
        """Whether time counts now."""
        return self._since is not None

    def rest(self) -> None:
        """The log is not at its end, cannot be read or appended to, lost its state, or does not have the age of claims:
        time does not count until the next look."""
        self._since = None

    def folded(self, now: float) -> None:
        """The total of the log has changed: the time from here on may be added to it."""
        if self._since is not None:
            self._since = now

    def due(self, projection, building, now: float, ends: bool = False) -> list:
        """The events that are due at ``now``; ``building`` are the uuids of claims that are being built. With ``ends``
        it does not watch any longer, and the rest of its time is due."""
        claims = [entry for entries in projection.consumers.values() for entry in entries if entry.state is CLAIMED]
        if self._since is None or not claims:
            self._since, self._appended_at, self._step = now, now, FIRST_STEP
        watched_ms = min(int((now - self._since) * 1000), WATCHED_MAX_MS)
        total_ms = projection.watched_ms
        old, builds_an_old_one = {}, False
        for entry in claims:
            is_built = entry.claim_uuid in building
            if is_built:
                self._built[entry.consumer_uuid] = True
            if entry.watched_from_ms is not None:
                age = (total_ms + watched_ms - entry.watched_from_ms) / 1000
                if not is_built and age >= self.claim_ttl:
                    old[entry.claim_uuid] = entry.consumer_uuid
                # Its peers must know at once: they do not wait for the next step before it expires.
                builds_an_old_one |= is_built and age >= self.claim_ttl / 2
        # Published again from time to time, until the log has it.
        self._said = {uuid: at for uuid, at in self._said.items() if uuid in old and now - at < SAY_AGAIN}
        expired = [events.ClaimExpired(consumer, uuid) for uuid, consumer in old.items() if uuid not in self._said]
        self._said.update((event.claim_uuid, now) for event in expired)
        if not claims or (now - self._appended_at < self._step and not builds_an_old_one and not ends):
            return expired
        self._appended_at, self._step = now, min(2 * self._step, self._last_step)
        built, self._built = sorted(self._built), {}
        return [
            # The first of them adds the time, so that it does not count again with the others.
            *(
                events.ClaimsWatched(total_ms, 0 if start else watched_ms, tuple(built[start : start + MAX_BUILDING]))
                for start in range(0, max(len(built), 1), MAX_BUILDING)
            ),
            *expired,
        ]
