"""Counts of events over the last minutes, for a live view.

Pure: the caller of a :class:`Live` gives it the events and the time.
"""

from collections import Counter
from typing import NamedTuple

import msgpack

from nova_sched.process.backlog import Loudest, flooding
from nova_sched.projection.host_status import counts_of
from nova_sched.projection.reason import kind_of
from nova_sched.replay.state.ledger_rows import summary_of
from nova_sched.replay.statistics.histogram import Histogram
from nova_sched.replay.statistics.places import add_places, mark_of
from rpc_api import errors, events
from rpc_api.codec import Event

SECOND_NS = 10**9
#: Seconds over which rates are computed.
WINDOW_S = 300
RATE_S = 10
_REFUSALS = events.Evidence._fields.index("refusals")
#: The reason shown for requests that were refused without a decision; each of them has a sentence in the log.
NO_DECISION = "(refused, not by a decision)"
_POSITIONS = events.Evidence._fields.index("positions")


class CellView(NamedTuple):
    """A cell: the position to which it was read, the number of records after it, rates per second, and why it is
    ``down`` (None: it is not). ``flooding`` is the producer that floods its log, or None."""

    cell: str
    position: int | None
    last: int | None
    lag: int
    events_s: float
    decisions_s: float
    down: str | None
    flooding: Loudest | None = None


class SchedulerView(NamedTuple):
    """A scheduler: its decisions in the window, how many found no host, its median latency, and the number of records
    that it did not know at its last decision."""

    name: str
    decisions: int
    refused: int
    latency_ms: float | None
    lag: int | None


class View(NamedTuple):
    """All that is shown at a time. ``latency`` has p50, p95, p99 and max in ms; ``reasons`` are (reason, decisions),
    ``hosts`` (cell, host, claims, releases and failures), the most first; ``counts`` is cell -> how many of its hosts
    are up, disabled, forced down and lost (None: not known), ``heard`` (scheduler or conductor, time of its last event,
    None: long ago), by name. Of the writes of Placement's API: how many were accepted and refused, ``write_reasons``
    (reason, writes), and ``others`` (cell, root provider of no host, claims and writes). ``summaries`` is cell -> what
    its log has beside hosts, in words (None: it is no ledger)."""

    now_ns: int
    window_s: int
    cells: tuple
    events_s: float
    decisions_s: float
    decisions: int
    selected: int
    refused: int
    latency: dict
    reasons: tuple
    hosts: tuple
    schedulers: tuple
    counts: dict = {}
    heard: tuple = ()
    writes_accepted: int = 0
    writes_refused: int = 0
    write_reasons: tuple = ()
    others: tuple = ()
    summaries: dict = {}


class _Second:
    """The counts of one second of one cell."""

    __slots__ = ("events", "hosts", "others", "producers", "reasons", "schedulers", "write_reasons", "writes")

    def __init__(self):
        self.events = self.writes = 0
        self.reasons, self.write_reasons = Counter(), Counter()
        self.hosts, self.others = Counter(), Counter()
        #: (Producer, account) -> events.
        self.producers = Counter()
        #: Scheduler -> [decisions, refused, latencies].
        self.schedulers = {}


class Live:
    """Counts events for a live view. ``cells`` are the names of the followed cells; ``folded(projection)`` is called
    with the state of each after a record."""

    def __init__(self, cells, window_s: int = WINDOW_S, folded=lambda projection: None):
        self.window_s = window_s
        self._folded = folded
        self._seconds = {cell: {} for cell in cells}
        self._positions = dict.fromkeys(cells)
        self._ends = dict.fromkeys(cells)
        self._down = dict.fromkeys(cells)
        #: Scheduler -> records that it did not know at its last decision.
        self._lags = {}
        #: Cell -> Projection of its log, None if its state is not known.
        self._states = dict.fromkeys(cells)
        #: Cell -> scheduler or conductor -> time of its last event, None if that is not known.
        self._heard = {cell: {} for cell in cells}

    def begin(self, cell: str, projection, heard: dict) -> None:
        """Set the state of a cell before the first record: its Projection (which is folded from here on), and the times
        of the last events of its services."""
        self._states[cell] = projection
        self._see_level(cell, projection)
        self._heard[cell].update(heard)

    def feed(self, cell: str, position: int, record, now_ns: int) -> None:
        """Count a decoded record. An event counts at its own time, or now if its producer's clock is ahead."""
        self._positions[cell] = position
        self._ends[cell] = max(position, self._ends[cell] or 0)
        outcomes, places = self._fold(cell, position, record)
        for event in record.events:
            if isinstance(event, Event):
                if event.producer.startswith(("scheduler/", "conductor/")):
                    self._heard[cell][event.producer] = event.at_ns
                at = min(event.at_ns, now_ns) // SECOND_NS
                if at > now_ns // SECOND_NS - self.window_s:
                    second = self._seconds[cell].setdefault(at, _Second())
                    second.producers[event.producer, record.account] += 1
                    self._count(second, cell, position, event)
                    self._count_ledger(second, cell, event, outcomes, places)
        self._forget(now_ns)

    def _fold(self, cell, position, record):
        """Fold a record: return the outcomes of its API writes, and the Places of its events, both by their marks."""
        projection, places = self._states[cell], {}
        if projection is None or position <= projection.position:
            return {}, places
        projection.writes = []
        add_places(projection, record, places)
        try:
            projection.fold([(position, record)])
        except errors.NovaSchedError:
            self._states[cell] = None
        add_places(projection, record, places)
        self._see_level(cell, projection)
        return {written[1:4]: written for written in projection.writes}, places

    def _see_level(self, cell, projection):
        self._folded(projection)
        if projection.is_too_new:
            self._down[cell] = str(projection.unknown_level())

    def _counts(self, cell):
        projection = self._states[cell]
        return None if projection is None or not projection.whole else counts_of(projection)

    def _summary(self, cell):
        projection = self._states[cell]
        return None if projection is None or not projection.whole else summary_of(projection)

    def end(self, cell: str, last: int) -> None:
        """Set the last position of a cell's log."""
        self._ends[cell] = last

    def read_to(self, cell: str, position: int) -> None:
        """Set the position to which a cell's log was read, if its records are too old to count; -1: it has none."""
        self._positions[cell] = position if position >= 0 else None

    def down(self, cell: str, why: str | None) -> None:
        """Set why a cell's log cannot be read; None: it can be read again."""
        self._down[cell] = why

    def _forget(self, now_ns):
        for cell, seconds in self._seconds.items():
            if len(seconds) > self.window_s:
                self._seconds[cell] = {
                    at: counts for at, counts in seconds.items() if at > now_ns // SECOND_NS - self.window_s
                }

    def _count(self, second, cell, position, event):
        second.events += 1
        data = event.data
        if event.name == "DecisionMade":
            found = second.schedulers.setdefault(event.producer, [0, 0, Histogram()])
            found[0] += 1
            found[1] += data.outcome != "selected"
            found[2].add(data.took_ns)
            self._count_evidence(second, cell, position, event)
        elif event.name in ("ClaimProposed", "InstanceStarted", "InstanceDeleted", "BuildFailed"):
            second.hosts[cell, data.host] += 1
        elif event.name == "RequestRefused":
            second.reasons[NO_DECISION] += 1

    def _count_ledger(self, second, cell, event, outcomes, places):
        written, found = outcomes.get(mark_of(event)), places.get(mark_of(event))
        if written is not None:
            second.writes += 1
            if written.reason is not None:
                second.write_reasons[kind_of(written.reason.code)] += 1
                return
            second.hosts.update((cell, host) for host in (found.hosts if found else ()))
        if found is not None:
            second.others.update((cell, name) for name in found.others)

    def _count_evidence(self, second, cell, position, event):
        try:
            evidence = msgpack.unpackb(event.data.evidence, use_list=False)
            for known_cell, _, known, *_ in evidence[_POSITIONS]:
                if known_cell == cell:
                    self._lags[event.producer] = max(0, position - known - 1)
            if event.data.outcome != "selected":
                second.reasons.update({str(reason) for _, reason, _ in evidence[_REFUSALS]})
        except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException):
            return

    def view(self, now_ns: int, only: str | None = None, most: int = 10) -> View:
        """Return the View of all cells or ``only`` of one, with at most ``most`` rows of each kind."""
        now, cells = now_ns // SECOND_NS, []
        latency, reasons, hosts, schedulers = Histogram(), Counter(), Counter(), {}
        writes, write_reasons, others = 0, Counter(), Counter()
        for cell in sorted(self._seconds):
            seconds = {at: counts for at, counts in self._seconds[cell].items() if now - self.window_s < at <= now}
            # The present second is not over, so its count would be too low.
            recent = [counts for at, counts in seconds.items() if now - RATE_S <= at < now]
            decided = sum(found[0] for second in recent for found in second.schedulers.values())
            position, last = self._positions[cell], self._ends[cell]
            cells.append(
                CellView(
                    cell,
                    position,
                    last,
                    0 if last is None else last - (-1 if position is None else position),
                    sum(second.events for second in recent) / RATE_S,
                    decided / RATE_S,
                    self._down[cell],
                    flooding(sum((second.producers for second in recent), Counter()), len(recent)),
                )
            )
            if only not in (None, cell):
                continue
            for second in seconds.values():
                reasons.update(second.reasons)
                hosts.update(second.hosts)
                writes += second.writes
                write_reasons.update(second.write_reasons)
                others.update(second.others)
                for name, (made, refused, took) in second.schedulers.items():
                    found = schedulers.setdefault(name, [0, 0, Histogram()])
                    found[0] += made
                    found[1] += refused
                    found[2].merge(took)
                    latency.merge(took)
        shown = [cell for cell in cells if only in (None, cell.cell)]
        heard = {}
        for view in shown:
            for name, at_ns in self._heard[view.cell].items():
                heard[name] = max(heard.get(name) or 0, at_ns or 0) or None
        made, refused = (sum(found[number] for found in schedulers.values()) for number in (0, 1))
        return View(
            now_ns,
            self.window_s,
            tuple(cells),
            sum(view.events_s for view in shown),
            sum(view.decisions_s for view in shown),
            made,
            made - refused,
            refused,
            latency.facts(1e6),
            tuple(_most(reasons, most)),
            tuple((cell, host, count) for (cell, host), count in _most(hosts, most)),
            tuple(
                SchedulerView(name, found[0], found[1], found[2].facts(1e6)["p50"], self._lags.get(name))
                for name, found in sorted(schedulers.items())
            ),
            {cell: self._counts(cell) for cell in sorted(self._states) if only in (None, cell)},
            tuple(sorted(heard.items())),
            writes - write_reasons.total(),
            write_reasons.total(),
            tuple(_most(write_reasons, most)),
            tuple((cell, name, count) for (cell, name), count in _most(others, most)),
            {cell: self._summary(cell) for cell in sorted(self._states) if only in (None, cell)},
        )


def _most(counter, most):
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:most]
