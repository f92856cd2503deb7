"""The numbers of a range of the logs, counted in one pass. Memory grows with the hosts, not with the events."""

from collections import Counter, OrderedDict

import msgpack

from nova_sched.projection.host_status import counts_of
from nova_sched.projection.ledger import AGENT as OF_AGENT
from nova_sched.projection.projection import AGENT, Projection
from nova_sched.projection.reason import kind_of
from nova_sched.projection.table import HostTable
from nova_sched.replay.decisions.recorded import unreachable_in
from nova_sched.replay.logs.ends import LastHeard
from nova_sched.replay.logs.reading import BATCH, records_between
from nova_sched.replay.state.ledger_rows import summary_of
from nova_sched.replay.statistics.histogram import Histogram
from nova_sched.replay.statistics.places import add_places, mark_of
from rpc_api import codec, errors, events
from rpc_api.codec import Event

#: Greatest number of claims that wait for the start of their instance; the oldest is dropped first.
MAX_WAITING = 100_000
MAX_INTERVALS = 100_000
#: Greatest number of different reasons; further reasons are counted together.
MAX_REASONS = 1000
SET_ASIDE = "(set aside)"
NO_PLACES = {}
_REFUSALS = events.Evidence._fields.index("refusals")
_POSITIONS = events.Evidence._fields.index("positions")


class Interval:
    """The counts of the whole range, or of one interval of it."""

    __slots__ = (
        "claims_accepted",
        "claims_refused",
        "decisions",
        "events",
        "failed",
        "latency",
        "refused",
        "retried",
        "selected",
        "started",
        "writes_accepted",
        "writes_refused",
    )

    def __init__(self):
        self.events = self.decisions = self.selected = self.refused = self.retried = 0
        self.claims_accepted = self.claims_refused = self.started = self.failed = 0
        self.writes_accepted = self.writes_refused = 0
        self.latency = Histogram()


class Stats:
    """Counts events, cell by cell; times are those of the events."""

    def __init__(self, interval_ns: int | None = None):
        self.interval_ns = interval_ns
        self.all = Interval()
        self.intervals = {}
        self.records = 0
        self.bytes = 0
        self.first_ns = self.last_ns = None
        #: Name of an event, cell, role of a producer -> [events, bytes].
        self.by_type, self.by_cell, self.by_role = {}, {}, {}
        #: Reason -> number of decisions without a host in which it refused hosts, and number of refused hosts in all.
        self.reasons, self.reason_hosts = Counter(), Counter()
        self.knowledge_lag = Histogram()
        self.build_time = Histogram()
        self.final_failures = 0
        #: Instances that came to hosts of Nova and went from there, as their nova-computes say.
        self.came = self.gone = 0
        #: Number of decisions without a host that were answered with ServiceUnavailable, because a cell that may have a
        #: host could not be reached.
        self.unreachable = 0
        #: Number of requests that were refused without a decision.
        self.turned_away = 0
        #: (Cell, host) -> number of its claims, starts, deletions and writes of allocations that have an effect; the
        #: same for (cell, root provider of no host).
        self.busy, self.busy_others = Counter(), Counter()
        #: Cell -> LastHeard of its producers; hosts of all cells at the end, by status.
        self.heard, self.host_counts = {}, Counter()
        #: Cell -> what its log has beside hosts at the end, in words; None if it is no ledger.
        self.summaries = {}
        #: Cell -> why the outcomes of its claims are not known.
        self.unknown = {}
        #: Code of a reason -> number of refused writes of Placement's API.
        self.write_reasons = Counter()
        self._waiting = OrderedDict()

    def note(self, cell: str, position: int, payload: bytes, record, outcomes, writes=(), places=NO_PLACES) -> None:
        """Count a record of a cell's log; ``outcomes`` are those of its claims, None if they are not known, and
        ``writes`` those of its API writes (:class:`~nova_sched.projection.projection.Written`). ``places`` are the
        Places of its events by their marks."""
        self.records += 1
        self.bytes += len(payload)
        refused = None if outcomes is None else {outcome.claim_uuid: outcome.reason for outcome in outcomes}
        for event, size in zip(record.events, _sizes(payload, len(record.events)), strict=True):
            read = isinstance(event, Event)
            for counted, key in (
                (self.by_type, event.name if read else SET_ASIDE),
                (self.by_cell, cell),
                (self.by_role, event.producer.partition("/")[0] if read else SET_ASIDE),
            ):
                found = counted.setdefault(key, [0, 0])
                found[0] += 1
                found[1] += size
            if read:
                self._note_event(cell, position, event, refused)
                if event.name == "ClaimProposed" and refused is not None and refused.get(event.data.claim_uuid) is None:
                    self._note_others(cell, places.get(mark_of(event)))
            else:
                self.all.events += 1
        for written in writes:
            self._note_written(cell, record, written, places)

    def _note_others(self, cell, places):
        self.busy_others.update((cell, name) for name in (() if places is None else places.others))

    def _note_written(self, cell, record, written, places):
        mark = written.producer, written.producer_epoch, written.sequence
        at_ns = next(event.at_ns for event in record.events if isinstance(event, Event) and mark_of(event) == mark)
        for counts in (self.all,) if self.interval_ns is None else (self.all, self._interval(at_ns)):
            counts.writes_accepted += written.reason is None
            counts.writes_refused += written.reason is not None
        if written.reason is not None:
            self.write_reasons[kind_of(written.reason.code)] += 1
        elif mark in places:
            self.busy.update((cell, host) for host in places[mark].hosts)
            self._note_others(cell, places[mark])

    def _note_event(self, cell, position, event, refused):
        self.first_ns = event.at_ns if self.first_ns is None else min(self.first_ns, event.at_ns)
        self.last_ns = event.at_ns if self.last_ns is None else max(self.last_ns, event.at_ns)
        self.heard.setdefault(cell, LastHeard()).see(event.producer, event.at_ns)
        both = (self.all,) if self.interval_ns is None else (self.all, self._interval(event.at_ns))
        for counts in both:
            counts.events += 1
        count = getattr(self, f"_{event.name}", None)
        if count is not None:
            count(cell, position, event, refused, both)

    def _interval(self, at_ns):
        start = at_ns // self.interval_ns * self.interval_ns
        found = self.intervals.get(start)
        if found is None:
            if len(self.intervals) >= MAX_INTERVALS:
                raise errors.UsageError(
                    f"there are more than {MAX_INTERVALS} intervals; name a longer --interval, or a shorter range"
                )
            found = self.intervals[start] = Interval()
        return found

    # --- one function per event with further counts ---------------------------------------------------------------

    def _DecisionMade(self, cell, position, event, refused, both):
        data = event.data
        selected = data.outcome == "selected"
        for counts in both:
            counts.decisions += 1
            counts.selected += selected
            counts.refused += not selected
            counts.retried += data.attempt > 0
            counts.latency.add(data.took_ns)
        try:
            evidence = msgpack.unpackb(data.evidence, use_list=False)
            for known_cell, _, known, *_ in evidence[_POSITIONS]:
                if known_cell == cell:
                    self.knowledge_lag.add(position - known - 1)
            for _, reason, hosts in () if selected else evidence[_REFUSALS]:
                if type(reason) is not str or (len(self.reasons) >= MAX_REASONS and reason not in self.reasons):
                    reason = "(another)"
                self.reasons[reason] += 1
                self.reason_hosts[reason] += hosts
            if not selected:
                self.unreachable += bool(unreachable_in(events.thaw("Evidence", data.evidence)))
        except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException, errors.InvalidEvent):
            return

    def _RequestRefused(self, cell, position, event, refused, both):
        self.turned_away += 1

    def _ClaimProposed(self, cell, position, event, refused, both):
        data = event.data
        if refused is not None and data.claim_uuid in refused:
            accepted = refused[data.claim_uuid] is None
            for counts in both:
                counts.claims_accepted += accepted
                counts.claims_refused += not accepted
            if not accepted:
                return
        self.busy[cell, data.host] += 1
        self._waiting[data.consumer_uuid] = event.at_ns
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)

    def _InstanceStarted(self, cell, position, event, refused, both):
        for counts in both:
            counts.started += 1
        self.busy[cell, event.data.host] += 1
        claimed_ns = self._waiting.pop(event.data.consumer.instance_uuid, None)
        if claimed_ns is not None:
            self.build_time.add(event.at_ns - claimed_ns)

    def _InstancesTracked(self, cell, position, event, refused, both):
        self.came += len(event.data.instances)
        self.gone += len(event.data.gone)

    def _InstanceDeleted(self, cell, position, event, refused, both):
        self.busy[cell, event.data.host] += 1

    def _ClaimReleased(self, cell, position, event, refused, both):
        self._waiting.pop(event.data.consumer_uuid, None)

    _ClaimExpired = _ClaimReleased

    def _BuildFailed(self, cell, position, event, refused, both):
        for counts in both:
            counts.failed += 1
        self.final_failures += event.data.final

    def seconds(self) -> float:
        """From the first event to the last."""
        return 0.0 if self.first_ns is None else (self.last_ns - self.first_ns) / 1e9

    def silent(self, hosts, silence_ns: int) -> list[tuple[str, str, int | None]]:
        """Return (cell, host, time of its last event or None) for the hosts that were silent for this time at the end.
        (A host without an event in the range may have one just before it.)"""
        ends = [end_ns for heard_ in self.heard.values() if (end_ns := heard_.end_ns()) is not None]
        if not ends:
            return []
        found = [
            (cell, host, self.heard[cell].at(f"{AGENT}/{host}") if cell in self.heard else None) for cell, host in hosts
        ]
        return sorted(
            (host_ for host_ in found if (self.first_ns if host_[2] is None else host_[2]) + silence_ns <= max(ends)),
            key=lambda answer: (answer[2] or 0, answer[:2]),
        )


def _sizes(payload, count):
    if len(payload) < 1 or count < 2:
        return [len(payload)] * count
    try:
        return list(codec.event_sizes(payload))
    except (ValueError, msgpack.exceptions.UnpackException):
        return [len(payload) // count] * count


def gather(history, first: dict, last: dict, stats: Stats) -> list[tuple[str, str]]:
    """Give a Stats all records from the positions ``first`` to ``last`` (both included) of each cell. Return (cell,
    host) of the hosts of agents at the end that are not lost.

    The state before the range is folded first, because the outcomes of claims follow from it. If it is not known, the
    outcomes are not counted, and ``stats.unknown`` has the reason.
    """
    hosts = []
    for cell in sorted(first):
        log = history.logs[cell]
        if first[cell] > last[cell]:
            continue
        world = history.world_at({cell: first[cell] - 1}, stats.unknown)
        projection = world.projections.get(cell) or Projection(cell, HostTable(), whole=False)
        total = last[cell] - first[cell] + 1
        for record in records_between(log, first[cell], last[cell]):
            decoded = codec.decode_record(record.payload, record.account)
            projection.writes, places = [], {}
            add_places(projection, decoded, places)
            outcomes, _ = projection.fold([(record.position, decoded)])
            add_places(projection, decoded, places)
            known = projection.whole
            stats.note(
                cell,
                record.position,
                record.payload,
                decoded,
                outcomes if known else None,
                projection.writes if known else (),
                places,
            )
            done = record.position - first[cell] + 1
            if not done % BATCH or done == total:
                history.progress(cell, done, total)
        history.folded(projection)
        hosts += [
            (cell, name) for name, host in projection.hosts.items() if not host.lost and host.authority == OF_AGENT
        ]
        stats.host_counts.update(counts_of(projection))
        stats.summaries[cell] = summary_of(projection)
    return hosts
