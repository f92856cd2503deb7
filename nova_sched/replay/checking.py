"""What is wrong with a log: events set aside, numbers left out, clocks that run back, hosts that are not as the log
has them; and how far its readers are behind."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.projection import Projection
from nova_sched.replay.moments import SECOND_NS, next_time
from nova_sched.replay.reading import readable_records
from rpc_api import codec, errors, events
from rpc_api.codec import SetAside
from rpc_api.log.epoch import opening_of

#: So much earlier than its own event before may an event be: several threads of a producer speak.
BACKWARDS_NS = SECOND_NS


class Producer:
    """What was seen of one producer: its last ``epoch``, ``sequence``, time and position, and what was wrong."""

    __slots__ = ("epoch", "sequence", "at_ns", "position", "events", "gaps", "missing", "duplicates", "stale",
                 "backwards_ns")

    def __init__(self):
        self.epoch = self.sequence = self.at_ns = 0
        self.position = -1
        self.events = self.gaps = self.missing = self.duplicates = self.stale = self.backwards_ns = 0

    def see(self, position, event, known: bool) -> None:
        """Take in the next event; ``known`` is whether the log holds all that it said before."""
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
        self.backwards_ns = max(self.backwards_ns, self.at_ns - event.at_ns)
        self.epoch, self.sequence, self.at_ns, self.position = (event.producer_epoch, event.sequence, event.at_ns,
                                                                position)


class LogCheck:
    """All that was seen of one log. ``whole`` is whether its state is known: nothing was removed in front of it, or
    it was rebased; ``damage`` are the LogGap errors of parts that cannot be read."""

    def __init__(self, cell, log):
        self.cell = cell
        self.log = log
        self.bounds = log.bounds()
        self.opening = opening_of(log)
        self.whole = self.opening is None or self.opening.whole
        self.records = self.events = self.holes = 0
        self.first_ns = self.last_ns = None
        self.producers = {}
        self.set_aside = Counter()
        #: Kinds of what the fold noted (divergences, unknown hosts, rebases) and how often.
        self.noted = Counter()
        #: Last DecisionMade of each scheduler: producer -> (time, evidence).
        self.decisions = {}
        self.damage = []

    def run(self, progress=lambda label, done, total: None) -> "LogCheck":
        """Read the log."""
        try:
            self._read(progress)
        except errors.LogGap as gap:
            self.damage.append(gap)
        # Told by producer, below.
        del self.noted["sequence-gap"], self.noted["stale-epoch"]
        return self

    def _read(self, progress):
        projection, position = Projection(self.cell, kept=None), self.bounds.first - 1
        for record in readable_records(self.log, None, self.bounds.last, self.damage.append):
            self.records += 1
            self.holes += record.position != position + 1
            position = record.position
            decoded = codec.decode_record(record.payload, record.account)
            for event in decoded.events:
                self._see(record.position, decoded.epoch, event)
            _, noted = projection.fold([(record.position, decoded)])
            self.noted.update(one.kind for one in noted)
            self.set_aside.update(one.code for one in projection.quarantine)
            if any(one.kind == "rebased" for one in noted):
                self.whole = True
            projection.quarantine.clear()
            projection.noted.clear()
            if not self.records % 1000:
                progress(self.cell, self.records, self.bounds.count)

    def _see(self, position, epoch, event):
        self.events += 1
        if isinstance(event, SetAside) or epoch != (self.opening and self.opening.epoch):
            return
        self.first_ns = event.at_ns if self.first_ns is None else min(self.first_ns, event.at_ns)
        self.last_ns = event.at_ns if self.last_ns is None else max(self.last_ns, event.at_ns)
        producer = self.producers.get(event.producer)
        if producer is None:
            producer = self.producers[event.producer] = Producer()
        producer.see(position, event, self.bounds.first == 0)
        if event.name == "DecisionMade":
            try:
                evidence = events.thaw("Evidence", event.data.evidence)
            except errors.InvalidEvent:
                return
            self.decisions[event.producer] = (event.at_ns, evidence)


class Lag(NamedTuple):
    """How far a scheduler knew a log when it last decided: the position, how many positions the log has now
    behind that, and by how many nanoseconds the oldest of them was older than the decision (0: it knew all
    that there was)."""

    reader: str
    cell: str
    at_ns: int
    position: int
    behind: int
    lag_ns: int


def lags(checks: dict) -> list[Lag]:
    """The lag of each scheduler in each log; ``checks`` is cell -> :class:`LogCheck` of all logs."""
    last = {}
    for check in checks.values():
        for reader, decision in check.decisions.items():
            last[reader] = max(last.get(reader, decision), decision, key=lambda one: one[0])
    found = []
    for reader, (at_ns, evidence) in sorted(last.items()):
        for known in evidence.positions:
            check = checks.get(known.cell)
            if check is None or check.opening is None or known.epoch != check.opening.epoch:
                continue
            found.append(Lag(reader, known.cell, at_ns, known.position, check.bounds.last - known.position,
                             _lag_ns(check, known.position, at_ns)))
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


def silent(check: LogCheck, longer_ns: int) -> list[tuple[str, int]]:
    """(Producer, nanoseconds) of conductors and agents that said nothing for longer before the last event of a log, the
    longest first."""
    found = [(name, check.last_ns - one.at_ns) for name, one in check.producers.items()
             if not name.startswith(("scheduler/", "operator/")) and check.last_ns - one.at_ns > longer_ns]
    return sorted(found, key=lambda one: (-one[1], one[0]))


