"""What the conductor of a cell knows and decides, without a thread, a clock or a log of its own.

Whoever owns it calls it from one thread at a time, and gives it the way to publish.
"""

from conductor import build
from conductor.monitor import Monitor
from conductor.reaper import Reaper
from nova_sched.projection.projection import Projection


class CellEngine:
    """``publish(*data)`` appends frozen records to the cell's log; times are in seconds."""

    def __init__(self, cell: str, publish, service_down_time: float, claim_ttl: float):
        self.cell = cell
        self.publish = publish
        self.projection = Projection(cell)
        self.monitor = Monitor(service_down_time)
        self.reaper = Reaper(claim_ttl)
        #: Uuids of the claims that are being built.
        self.building = set()
        #: Claim uuid -> function of its outcome (None, or why it was refused), called when it was folded.
        self.settled = {}

    def on_records(self, records) -> dict:
        """Fold records of the log. Returns the hosts whose agents are to report in full, and where those answer."""
        outcomes, noted = self.projection.fold(records)
        for outcome in outcomes:
            settle = self.settled.pop(outcome.claim_uuid, None)
            if settle is not None:
                settle(outcome.reason)
        return {note.host: self.server_of(note.host) for note in noted if note.resync and note.host}

    def server_of(self, host: str) -> str | None:
        """Where the agent of a host answers, as its last report says; None for a host that is not known."""
        known = self.projection.hosts.get(host)
        return known.server if known else None

    def build(self, request):
        """The steps of building an instance (a BuildRequest): see :mod:`conductor.build`."""
        return build.steps(self, request)

    def on_beat(self, hosts, now: float) -> None:
        """Hosts are alive at ``now`` (monotonic)."""
        self.monitor.heard(hosts, now)

    def on_tick(self, now: float) -> None:
        """Say which hosts are lost or seen again, and which claims were not built in time."""
        said = [*self.monitor.changes(self.projection.hosts, now),
                *self.reaper.expired(self.projection.consumers, self.building, now)]
        if said:
            self.publish(*said)
