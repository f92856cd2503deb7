"""The audit of a cloud's logs: folds them again, and checks the accepted claims and writes with arithmetic of its own.

The outcome of a claim or of a write of Placement's API comes from the fold. Whether it was right is then computed from
the events alone, in plain dictionaries, so that a fault of the fold is found. So are the generations of providers and
consumers, and what each consumer holds after a write of several.
"""

from collections import Counter

from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.reading import records_of
from nova_sched.replay.verify.cell_audit import CellAudit
from rpc_api.codec import MAX_EVENTS_A_RECORD, Event

#: Before every (producer epoch, sequence).
NOTHING = (0, 0)


# --- logs ------------------------------------------------------------------------------------------------------------

#: Name of an event -> its handler (audit of the cell, event's data). Claims and API writes depend on their outcome.
_HANDLERS = {
    "LevelPinned": CellAudit.level_pinned,
    "HostReported": CellAudit.host_reported,
    "ProvidersReported": CellAudit.providers_reported,
    "AuthorityPassed": CellAudit.authority_passed,
    "HostRemoved": lambda audit, data: audit.host_removed(data.host),
    "InstanceStarted": lambda audit, data: audit.started(data.host, data.consumer),
    "InstanceDeleted": lambda audit, data: audit.deleted(data.host, data.instance_uuid),
    "ClaimReleased": CellAudit.claim_ended,
    "ClaimExpired": CellAudit.claim_ended,
    "AllocationMoved": CellAudit.moved,
    "LogRebased": lambda audit, data: audit.log_rebased(),
}


class Audit:
    """The audit of all logs of a cloud: ``cells`` are the audits of its cells by name.

    ``reasons``: instance -> operator's summary of its last refusal; ``decision_ns``: durations of all decisions;
    ``placed``: instances of which a claim was accepted (all three only with ``of_decisions``); ``counts``: decisions,
    conflicts and alternates_refused (claims refused, of schedulers and of conductors), claims, writes and
    writes_refused, events, set_aside, divergences.
    """

    def __init__(self, on_change=lambda cell, audit: None, of_decisions: bool = True):
        self.cells = {}
        self.reasons = {}
        self.placed = set()
        self.decision_ns = []
        self.counts = Counter()
        self._on_change = on_change
        self._of_decisions = of_decisions

    def read(self, cell: str, url: str) -> None:
        """Fold and check one log."""
        self.fold(cell, records_of(url))

    def fold(self, cell: str, records) -> None:
        """Fold and check the (position, DecodedRecord) pairs of one log."""
        self.begin(cell)
        projection = Projection(cell, HostTable(), kept=None)
        projection.writes = []
        for position, record in records:
            outcomes, _ = projection.fold([(position, record)])
            self.record(cell, position, record, outcomes, taken_out(projection), projection)
        self.end(cell, projection)
        self.counts["set_aside"] += projection.counts["set-aside"]
        self.counts["divergences"] += projection.counts["divergence"]

    def begin(self, cell: str, projection=None) -> None:
        """Start with a cell's log, at the state of a projection (default: an empty state)."""

        def changed(audit):
            self._on_change(cell, audit)

        self.cells[cell] = CellAudit(changed, cell) if projection is None else CellAudit.beginning(projection, changed)

    def end(self, cell: str, projection) -> None:
        """Check the state at the end of a cell's log."""
        if self.cells[cell].is_ledger and not projection.is_too_new:
            self.cells[cell].compare_all(projection)

    def record(self, cell, position, record, outcomes, aside=(), projection=None) -> None:
        """Check a folded record: the ``outcomes`` of its claims, and the indexes of its events that were set
        ``aside``. The ``projection`` has the state after it, and the outcomes of its writes."""
        accepted = set()
        for outcome in outcomes:
            if outcome.reason is None:
                accepted.add(outcome.claim_uuid)
                self.counts["claims"] += 1
            else:
                by_conductor = outcome.producer.startswith("conductor/")
                self.counts["alternates_refused" if by_conductor else "conflicts"] += 1
        audit = self.cells[cell]
        spoken = audit.spoken
        writes = self._writes(projection)
        seen = []
        self.counts["events"] += len(record.events)
        for index, event in enumerate(record.events):
            if type(event) is Event:
                mark = event.producer_epoch, event.sequence
                if event.name == "LogRebased":
                    spoken.clear()
                if (aside and index in aside) or mark <= spoken.get(event.producer, NOTHING):
                    continue
                spoken[event.producer] = mark
                seen.append(event)
                handler = _HANDLERS.get(event.name)
                if handler is not None:
                    handler(audit, event.data)
                elif event.name == "ClaimProposed" and event.data.claim_uuid in accepted:
                    audit.claim_accepted(position, event.data)
                    if self._of_decisions:
                        self.placed.add(event.data.instance_uuid)
                elif event.name == "DecisionMade":
                    self._decision(event.data)
                elif (event.producer, *mark) in writes:
                    audit.written(position, event, writes[event.producer, *mark])
        if projection is not None and audit.is_ledger:
            for event in seen:
                audit.compare(position, event, projection)

    def _writes(self, projection):
        """Take the outcomes of the last record's writes out of a projection: mark -> reason (None: accepted)."""
        if projection is None or not projection.writes:
            return {}
        written = {(one.producer, one.producer_epoch, one.sequence): one.reason for one in projection.writes}
        projection.writes.clear()
        for reason in written.values():
            self.counts["writes" if reason is None else "writes_refused"] += 1
        return written

    def _decision(self, data):
        self.counts["decisions"] += 1
        if self._of_decisions:
            self.decision_ns.append(data.took_ns)
            if data.outcome == "no_valid_host":
                self.reasons[data.instance_uuid] = data.reason


def taken_out(projection):
    """Take the set-aside events of the last record out of a projection's quarantine, and return their indexes."""
    found = projection.quarantine
    if not found:
        return ()
    # A record of another epoch is set aside as a whole.
    numbers = (
        range(MAX_EVENTS_A_RECORD)
        if any(aside.code == "foreign-epoch" for aside in found)
        else {aside.index for aside in found}
    )
    found.clear()
    return numbers
