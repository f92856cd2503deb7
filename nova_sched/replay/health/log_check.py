"""Faults of a log: events that were set aside, missing sequences, clocks that went back, hosts that report another
state; and how far its readers are behind.

A fault is over when a later event repaired it (a full report after a gap), or when it did not happen again for a
certain time: see :class:`~nova_sched.replay.health.intervals.Intervals`.
"""

from typing import NamedTuple

from nova_sched.projection.host_status import counts_of
from nova_sched.projection.inventory import closed_providers
from nova_sched.projection.ledger import HELD, NOVA
from nova_sched.projection.projection import AGENT, Projection
from nova_sched.projection.use import strays_text
from nova_sched.replay.health.intervals import Intervals
from nova_sched.replay.health.quarantine import judge
from nova_sched.replay.logs.ends import LastHeard
from nova_sched.replay.logs.moments import SECOND_NS, next_time
from nova_sched.replay.logs.reading import readable_records
from rpc_api import codec, errors, events
from rpc_api.codec import SetAside
from rpc_api.feed.epoch import opening_of

#: An event may be this much earlier than the event before it of the same producer, because several threads publish.
BACKWARDS_NS = SECOND_NS
#: Kinds of faults, in addition to those that the fold notes.
SET_ASIDE, GAPS, STALE, CLOCKS, LOST = "set aside", "sequence gaps", "stale epochs", "clocks", "hosts"
#: Kinds of notes about the state of a host: these faults last while the host is in that state.
STRAYS, CLOSED = "stray-use", "closed-provider"
#: Counts of the fold.
ACCEPTED, REFUSED = "write-accepted", "write-refused"
#: Kinds that last until the host reports, or confirms the state of the log.
_UNTIL_REPORT = ("digest-mismatch", "unknown-host", "not-moved")


class Incident:
    """A fault of one subject: how often it happened, its last time, and whether a later event repaired it."""

    __slots__ = ("count", "last_ns", "repaired")

    def __init__(self):
        self.count = 0
        self.last_ns = None
        self.repaired = False

    def lasts(self, end_ns, silent_ns) -> bool:
        """Return whether the fault lasts at the end of the log."""
        return not self.repaired and (self.last_ns is None or end_ns is None or end_ns - self.last_ns <= silent_ns)


class Producer:
    """The events of one producer: its last ``epoch``, ``sequence``, time and position, and its faults."""

    __slots__ = (
        "at_ns",
        "backwards",
        "backwards_ns",
        "duplicates",
        "epoch",
        "events",
        "gaps",
        "missing",
        "position",
        "sequence",
        "stale",
    )

    def __init__(self):
        self.epoch = self.sequence = self.at_ns = 0
        self.position = -1
        self.events = self.gaps = self.missing = self.duplicates = self.stale = 0
        #: How often its clock went back, and the greatest step.
        self.backwards = self.backwards_ns = 0

    def see(self, position, event, known: bool) -> None:
        """Add the next event; ``known`` is whether the log has all earlier events of the producer."""
        self.events += 1
        if event.producer_epoch < self.epoch:
            self.stale += 1
            return
        fresh = event.producer_epoch > self.epoch
        if not fresh and event.sequence <= self.sequence:
            self.duplicates += 1
            return
        expected = 1 if fresh else self.sequence + 1
        if event.sequence != expected and (known or self.events > 1):
            self.gaps += 1
            self.missing += max(0, event.sequence - expected)
        self.backwards += self.at_ns - event.at_ns > BACKWARDS_NS
        self.backwards_ns = max(self.backwards_ns, self.at_ns - event.at_ns)
        self.epoch, self.sequence, self.at_ns, self.position = (
            event.producer_epoch,
            event.sequence,
            event.at_ns,
            position,
        )


class LogCheck:
    """The check of one log. ``whole`` is whether its state is known: no first records were removed, or it was rebased.
    ``damage`` are the LogGap errors of parts that cannot be read. ``incidents`` is kind -> subject (a producer, a host,
    or the code of a set-aside event) -> :class:`Incident`."""

    def __init__(self, cell, log, intervals=Intervals(), folded=lambda projection: None):
        self.cell = cell
        self.log = log
        self.bounds = log.bounds()
        self.opening = opening_of(log)
        self.whole = self.opening is None or self.opening.whole
        self.records = self.events = self.holes = 0
        self.intervals = intervals
        self.first_ns = self.last_ns = None
        self.producers = {}
        self.heard = LastHeard()
        self.incidents = {}
        #: How often the log was rebased.
        self.rebased = 0
        #: At the end of the log: hosts by status, names of hosts, of lost ones, and of those of Nova, without agent.
        self.host_counts, self.hosts, self.lost, self.of_nova = {}, (), (), ()
        #: Instances that several hosts report at the end of the log.
        self.contradictions = 0
        #: At the end of the log, in words: host -> use of providers and classes that it does not report; host -> why
        #: providers of it are closed.
        self.strays, self.closed = {}, {}
        #: At the end of the log: host -> (root provider for which it waits, since when); None if it is not a ledger the
        #: numbers of accepted and of refused writes of Placement's API.
        self.waiting, self.writes = {}, None
        #: Time of the last event that could be read.
        self._now_ns = None
        #: Last DecisionMade of each scheduler: producer -> (time, evidence).
        self.decisions = {}
        self.damage = []
        #: At the end of the log: its level, and the error if this process does not know that level.
        self.level, self.too_new = 1, None
        self._folded = folded

    def run(self, progress=lambda label, done, total: None) -> "LogCheck":
        """Read the log."""
        try:
            self._read(progress)
        except errors.LogGap as gap:
            self.damage.append(gap)
        return self

    @property
    def end_ns(self) -> int | None:
        """The time at the end of the log."""
        return self.heard.end_ns()

    def lasting(self, kind) -> dict:
        """Return subject -> Incident for the faults of a kind that last at the end of the log."""
        end_ns, silent_ns = self.end_ns, self.intervals.silent_ns
        return {
            subject: incident
            for subject, incident in self.incidents.get(kind, {}).items()
            if incident.lasts(end_ns, silent_ns)
        }

    def _happened(self, kind, subject, repaired=False):
        incident = self.incidents.setdefault(kind, {}).setdefault(subject, Incident())
        incident.count += 1
        incident.last_ns = self._now_ns
        incident.repaired = repaired

    def _repair(self, subject, *kinds):
        for kind in kinds:
            incident = self.incidents.get(kind, {}).get(subject)
            if incident is not None:
                incident.repaired = True

    def _read(self, progress):
        projection, position = Projection(self.cell, kept=None), self.bounds.first - 1
        for record in readable_records(self.log, None, self.bounds.last, self.damage.append):
            self.records += 1
            self.holes += record.position != position + 1
            position = record.position
            decoded = codec.decode_record(record.payload, record.account)
            for event in decoded.events:
                self._see(record.position, decoded.epoch, event)
            _, noted = judge(projection, record.position, decoded, self.bounds.first > 0)
            self._see_waiting(projection)
            self._take(decoded.events, noted, projection)
            projection.quarantine.clear()
            projection.noted.clear()
            if not self.records % 1000:
                progress(self.cell, self.records, self.bounds.count)
        self._folded(projection)
        self.level = projection.level
        self.too_new = projection.unknown_level() if projection.is_too_new else None
        hosts = projection.hosts.values()
        self.host_counts, self.hosts = counts_of(projection), frozenset(projection.hosts)
        self.lost = frozenset(host.name for host in hosts if host.lost)
        self.of_nova = frozenset(host.name for host in hosts if host.authority == NOVA)
        # In a ledger a consumer may hold something on several hosts: only agents contradict each other.
        self.contradictions = sum(
            sum(entry.state is not HELD for entry in projection.consumers[uuid]) > 1 for uuid in projection.several
        )
        if projection.rules.one_ledger:
            self.writes = projection.counts[ACCEPTED], projection.counts[REFUSED]
        self.strays = {host.name: strays_text(host) for host in hosts if host.unreported}
        self.closed = {host.name: faults[0] for host in hosts if (faults := closed_providers(projection, host))}

    def _see_waiting(self, projection):
        """Note since when hosts wait for their root providers."""
        if projection.waiting or self.waiting:
            self.waiting = {
                host.name: self.waiting.get(host.name, (root, self._now_ns))
                for root, host in projection.waiting.items()
            }

    def waits_long(self) -> dict[str, tuple[str, int]]:
        """Return host -> (root provider, nanoseconds) for the hosts that wait for their root providers for long."""
        end_ns = self.end_ns
        return {
            host: (root, end_ns - since_ns)
            for host, (root, since_ns) in self.waiting.items()
            if end_ns is not None and since_ns is not None and end_ns - since_ns > self.intervals.silent_ns
        }

    def _take(self, said, noted, projection):
        """Add the results of folding a record."""
        for aside in projection.quarantine:
            self._happened(SET_ASIDE, aside.code)
        wrong = {note.host for note in noted if note.kind in _UNTIL_REPORT}
        for event in said:
            name, host = getattr(event, "name", None), getattr(getattr(event, "data", None), "host", None)
            if name in ("HostReported", "HostRemoved") or (name == "HostConfirmed" and host not in wrong):
                self._repair(host, *_UNTIL_REPORT)
                self._repair(f"{AGENT}/{host}", GAPS, *((STALE, CLOCKS) if name == "HostRemoved" else ()))
            if name == "HostLost":
                self._happened(LOST, host)
            elif name in ("HostReported", "HostSeen", "HostRemoved"):
                self._repair(host, LOST)
        for note in noted:
            if note.kind == "rebased":
                self.rebased += 1
                self.whole = True
            elif note.kind not in ("sequence-gap", "stale-epoch", "pinned", "authority-passed"):
                # (The first two are noted by producer, and the others are not faults.) The fold takes over another
                # state that a host reports: that is over at once.
                self._happened(note.kind, note.host, note.kind not in _UNTIL_REPORT)

    def _see(self, position, epoch, event):
        self.events += 1
        if isinstance(event, SetAside) or epoch != (self.opening and self.opening.epoch):
            return
        self.first_ns = event.at_ns if self.first_ns is None else min(self.first_ns, event.at_ns)
        self.last_ns = event.at_ns if self.last_ns is None else max(self.last_ns, event.at_ns)
        producer = self.producers.get(event.producer)
        if producer is None:
            producer = self.producers[event.producer] = Producer()
        self._now_ns = event.at_ns
        self.heard.see(event.producer, event.at_ns)
        before = producer.gaps, producer.stale, producer.backwards
        producer.see(position, event, self.bounds.first == 0)
        if producer.position == position:
            # An event that counts ends the fault of stale events of an earlier process.
            self._repair(event.producer, STALE)
        for kind, was, now in zip(
            (GAPS, STALE, CLOCKS), before, (producer.gaps, producer.stale, producer.backwards), strict=True
        ):
            if now > was:
                self._happened(kind, event.producer)
        if event.name == "DecisionMade":
            try:
                evidence = events.thaw("Evidence", event.data.evidence)
            except errors.InvalidEvent:
                return
            self.decisions[event.producer] = (event.at_ns, evidence)


class Lag(NamedTuple):
    """What a scheduler knew of a log at its last decision: the position, the number of positions after it now, and the
    age in nanoseconds of the oldest of them at the decision (0: it knew all records)."""

    reader: str
    cell: str
    at_ns: int
    position: int
    behind: int
    lag_ns: int


def lags(checks: dict) -> list[Lag]:
    """Return the lag of each scheduler in each log; ``checks`` is cell -> :class:`LogCheck` of all logs."""
    last = {}
    for check in checks.values():
        for reader, decision in check.decisions.items():
            last[reader] = max(last.get(reader, decision), decision, key=lambda decision_: decision_[0])
    found = []
    for reader, (at_ns, evidence) in sorted(last.items()):
        for known in evidence.positions:
            check = checks.get(known.cell)
            if check is None or check.opening is None or known.epoch != check.opening.epoch:
                continue
            found.append(
                Lag(
                    reader,
                    known.cell,
                    at_ns,
                    known.position,
                    check.bounds.last - known.position,
                    _lag_ns(check, known.position, at_ns),
                )
            )
    return found


def _lag_ns(check, position, at_ns):
    begin = max(position + 1, check.bounds.first)
    if begin > check.bounds.last:
        return 0
    try:
        _, next_ns = next_time(check.log, begin, check.bounds.last + 1)
    except errors.LogGap:
        return 0
    return 0 if next_ns is None else max(0, at_ns - next_ns)


def silent(check: LogCheck) -> dict[str, int | None]:
    """Return host -> nanoseconds since the last event of its agent before the end of a log (None: the log has no
    event), for silent hosts that are not marked as lost. Other services publish nothing when nothing happens.
    """
    end_ns, found = check.end_ns, {}
    for host in check.hosts - check.lost - check.of_nova:
        at_ns = check.heard.at(f"{AGENT}/{host}")
        # (If records were removed, an agent counts from the first record that is left.)
        if end_ns is not None and end_ns - (check.first_ns if at_ns is None else at_ns) > check.intervals.silent_ns:
            found[host] = None if at_ns is None else end_ns - at_ns
    return found
