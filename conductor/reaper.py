"""Claims that are not built: ClaimExpired events by the clock of this process."""

from conductor.monitor import SAY_AGAIN
from nova_sched.projection.ledger import CLAIMED
from rpc_api import events


class Reaper:
    """Remembers since when no build of each claim is running; while a claim is being built here, its time does not
    run."""

    def __init__(self, claim_ttl: float):
        self.claim_ttl = claim_ttl
        self._alone_since = {}

    def expired(self, consumers, building, now: float):
        """ClaimExpired events for claims of a projection's ``consumers`` that were left alone for ``claim_ttl``
        seconds; ``building`` are the uuids of claims that are being built, ``now`` is monotonic."""
        claims = {
            entry.claim_uuid: entry for entries in consumers.values() for entry in entries if entry.state is CLAIMED
        }
        self._alone_since = {uuid: now if uuid in building else self._alone_since.get(uuid, now) for uuid in claims}
        over = [
            uuid for uuid, since in self._alone_since.items() if now - since >= self.claim_ttl and uuid not in building
        ]
        # Published again from time to time, until the log has it.
        self._alone_since.update((uuid, now - self.claim_ttl + SAY_AGAIN) for uuid in over)
        return [events.ClaimExpired(claims[uuid].consumer_uuid, uuid) for uuid in over]
