"""Claims that nobody builds: from this process's clock to ClaimExpired."""

from nova_sched.projection.ledger import CLAIMED
from rpc_api import events


class Reaper:
    """Remembers since when each claim has been seen; one that is being built here does not expire."""

    def __init__(self, claim_ttl: float):
        self.claim_ttl = claim_ttl
        self._seen_at = {}

    def expired(self, consumers, building, now: float):
        """ClaimExpired events for claims of a projection's ``consumers`` that are older than ``claim_ttl`` seconds."""
        claims = {entry.claim_uuid: entry for entries in consumers.values() for entry in entries
                  if entry.state is CLAIMED}
        self._seen_at = {uuid: self._seen_at.get(uuid, now) for uuid in claims}
        return [events.ClaimExpired(claims[uuid].consumer_uuid, uuid) for uuid, since in self._seen_at.items()
                if now - since >= self.claim_ttl and uuid not in building]
