"""The cloud as the page knows it: one thread folds the logs, everything else looks at what it has published."""

import logging
import queue
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from typing import NamedTuple

import numpy as np

from nova_sched.page.feed import Feed
from nova_sched.page.frame import Frame
from nova_sched.page.happenings import OF_HOSTS, Happenings
from nova_sched.page.hosts import HostWatch
from nova_sched.page.reopening import OpenedAgain, Reopening
from nova_sched.page.residents import Residents
from nova_sched.page.tape import Place, Tape
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import zone_names
from nova_sched.projection.world import World
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.state.history import History
from nova_sched.replay.state.hosts import aggregates_by_host
from rpc_api import codec, errors
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

#: Batches of records, and questions, that wait for the thread at most.
WAITING = 64
#: Seconds between two published states, while the logs grow.
PUBLISH_SECONDS = 0.25
#: Seconds that a question to the thread may take.
ASK_SECONDS = 5.0
#: Seconds after which the logs are opened and read again, after a fault.
AGAIN_SECONDS = 5.0
BY_ITSELF = f"the page opens the logs again by itself, every {AGAIN_SECONDS:.0f} s"
#: Events that are kept of each host.
EVENTS_OF_HOST = 10
#: Events that say nothing new of a host.
QUIET = frozenset({"HostConfirmed", "ClaimsWatched"})


class Topology(NamedTuple):
    """The hosts by their numbers, cell after cell: ``version`` rises when any of it changes. ``cells`` are (name,
    number of hosts); ``zones`` is a name, and ``aggregates`` are names, for each host ("" and () for one that is
    gone)."""

    version: int = 0
    classes: tuple = ()
    cells: tuple = ()
    names: tuple = ()
    zones: tuple = ()
    aggregates: tuple = ()


class Shown(NamedTuple):
    """What was published last: ``version`` rises with each change of a host. ``faults`` is cell -> why its log cannot
    be read; ``progress`` is the share of the records that was read (1: all of them)."""

    version: int = 0
    topology: Topology = Topology()
    places: dict = {}
    faults: dict = {}
    progress: float = 0.0
    is_ready: bool = False


class NotReady(errors.LogUnavailable):
    """The logs are not read yet, or the thread that reads them has no time for a question."""


class Cloud:
    """Follows the logs of a Source. ``most`` is how many changes of hosts, and how many happenings, are kept."""

    def __init__(self, source, most_changes: int, most_happenings: int, cache=None, store=None, clock=SYSTEM):
        self._source, self._reopening = source, Reopening(source)
        self._most, self._clock = most_changes, clock
        self._cache, self._store = cache, store
        self.happenings = Happenings(most_happenings)
        self.shown = Shown(faults={cell: str(fault) for cell, fault in source.down.items()})
        #: Cell -> Tape, and cell -> Residents.
        self.tapes, self.residents = {}, {}
        self._host_events = {}
        self._world = self._topology_key = None
        self._waiting = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._pulse = Pulse("fold", clock)
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)

    def start(self) -> "Cloud":
        """Begin to read the logs."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._reopening.close()

    def pulses(self) -> list[Pulse]:
        """Return the pulse of the thread, for a watchdog."""
        return [self._pulse]

    def why_not_ready(self) -> list[str]:
        """Return a sentence for each reason why the page cannot show the cloud: nothing if it can show a part of it."""
        shown = self.shown
        stuck = self._pulse.why_stuck()
        if stuck is not None:
            return [stuck]
        if shown.is_ready and (not shown.faults or any(cell not in shown.faults for cell in shown.places)):
            return []
        faults = [f"{cell}: {text}" if cell else text for cell, text in sorted(shown.faults.items())]
        return faults or [f"the logs are not read yet: {shown.progress:.0%} of their records"]

    def ask(self, question):
        """Return ``question(world, host_events)``, which the thread of the fold answers between two batches. Raise
        NotReady if it cannot now."""
        if not self.shown.is_ready:
            raise NotReady("the logs are not read yet; try again in some seconds")
        future = Future()
        try:
            self._waiting.put((question, future), timeout=ASK_SECONDS)
            return future.result(ASK_SECONDS)
        except (queue.Full, TimeoutError):
            future.cancel()
            raise NotReady("the page has too many questions to answer at once; try again in some seconds") from None

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self):
        has_failed = False
        while not self._stop.is_set():
            # While a log cannot be read, the loop goes round all the same.
            self._pulse.beat()
            try:
                if has_failed:
                    self._reopening.open_again()
                self._follow()
            except OpenedAgain as opened:
                LOG.info("the logs of %s can be opened again; all logs are read", ", ".join(sorted(opened.logs)))
                self._reopening.take(opened.logs)
                self.shown = self.shown._replace(is_ready=False)
                has_failed = False
                continue
            except errors.NovaSchedError as fault:
                text = f"{fault} ({BY_ITSELF})"
                LOG.warning("the logs are read again from their beginning: %s", text)
                self._fail(text)
            except Exception as fault:
                LOG.error("a fault of the page itself (%r); the logs are read again from their beginning", fault)
                LOG.debug("the fault of the fold", exc_info=True)
                self._fail(f"a fault in nova_sched itself ({fault!r}); see the log of the page")
            has_failed = True
            self._stop.wait(AGAIN_SECONDS)

    def _fail(self, text):
        self.shown = self.shown._replace(faults={**self.shown.faults, "": text}, is_ready=False)
        self.happenings.published()

    def _follow(self):
        """Read the logs from their beginning, and follow them until the stop."""
        table = HostTable()
        history = History(self._source.logs, self._cache, self._store, folded=self._source.folded)
        projections, faults = {}, {cell: f"{fault} ({BY_ITSELF})" for cell, fault in self._source.down.items()}
        self._host_events, tapes = {}, {}
        for cell in sorted(self._source.logs):
            try:
                self._reopening.look(cell)
                projections[cell] = history.beginning(cell, table)
            except errors.LogGone as fault:
                self._source.leave_out(cell, fault)
                faults[cell] = f"{fault} ({BY_ITSELF})"
                continue
            except errors.LogGap as fault:
                faults[cell] = str(fault)
                continue
            tapes[cell] = Tape(self._most)
            self._reopening.know(projections[cell])
        self._world = World(table, projections, InFlight(table))
        self._ends = {cell: self._source.logs[cell].bounds().last for cell in projections}
        self._begins = {cell: projection.position for cell, projection in projections.items()}
        self.tapes, self._faults = tapes, faults
        self.residents = {cell: Residents() for cell in projections}
        self._watches = {
            cell: HostWatch(projection, tapes[cell], self.residents[cell]) for cell, projection in projections.items()
        }
        for cell, projection in projections.items():
            tapes[cell].start(projection.position, 0, self._watches[cell].all())
        self.happenings.clear()
        # The hosts of a log that was replaced are others, even if there are as many.
        self._topology_key = None
        starts = {
            cell: (self._source.logs[cell], max(projection.position + 1, self._source.logs[cell].bounds().first))
            for cell, projection in projections.items()
        }
        self._is_dirty, self._published_at = True, float("-inf")
        with Feed(self._waiting, starts, self._reopening, AGAIN_SECONDS):
            self._serve()

    def _serve(self):
        while not self._stop.is_set():
            self._pulse.beat()
            self._publish()
            try:
                first, second = self._waiting.get(timeout=PUBLISH_SECONDS)
            except queue.Empty:
                continue
            if isinstance(second, Future):
                self._answer(first, second)
            elif first is not None:
                self._take(first, second)
            elif getattr(second, "resume_at", None) is None:
                raise second
            else:
                # A damaged part of an exported file: what was read before it is shown.
                self._faults.update({"": str(second), **{cell: str(second) for cell in self._ends}})
                self._is_dirty = True

    def _answer(self, question, future):
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(question(self._world, self._host_events))
        except Exception as fault:
            try:
                future.set_exception(fault)
            except InvalidStateError:
                LOG.debug("a question came too late", exc_info=True)

    def _take(self, cell, records):
        if records is None:
            self._faults.pop(cell, None)
        elif isinstance(records, errors.NovaSchedError):
            self._faults[cell] = str(records)
        else:
            projection = self._world.projections[cell]
            self._is_dirty = True
            for record in records:
                self._fold(projection, record.position, codec.decode_record(record.payload, record.account))
                # A batch of large records takes seconds.
                self._pulse.beat()
                self._publish()
            self._source.folded(projection)
            self._reopening.know(projection)
            if projection.is_too_new:
                self._faults[cell] = str(projection.unknown_level())
        self._is_dirty = True

    def _fold(self, projection, position, record):
        watch = self._watches[projection.cell]
        moment = watch.moment()
        projection.writes = []
        outcomes, _ = projection.fold([(position, record)])
        self.tapes[projection.cell].append(position, time_of(record.events) or 0, watch.changes(moment))
        self.happenings.add(projection.cell, position, record, outcomes, projection.writes)
        self._note_events(projection.cell, position, record)

    def _note_events(self, cell, position, record):
        for event in record.events:
            host = getattr(getattr(event, "data", None), "host", None)
            if host is None or event.name in QUIET:
                continue
            kept = self._host_events.get((cell, host))
            if kept is None:
                kept = self._host_events[cell, host] = deque(maxlen=EVENTS_OF_HOST)
            data = event.data
            consumer = getattr(data, "consumer", None)
            instance = getattr(data, "instance_uuid", None) or getattr(consumer, "instance_uuid", None)
            what = OF_HOSTS.get(event.name) or getattr(data, "reason", None)
            kept.append((event.at_ns, position, event.name, event.producer, instance, what))

    # --- publishing --------------------------------------------------------------------------------------------------

    def _publish(self):
        now = self._clock.monotonic()
        if not self._is_dirty or now - self._published_at < PUBLISH_SECONDS:
            return
        self._is_dirty, self._published_at = False, now
        progress, is_ready = self._progress()
        topology = self.shown.topology
        if is_ready or self.shown.is_ready:
            topology = self._topology(topology)
        self.shown = Shown(
            self.shown.version + 1,
            topology,
            {cell: tape.last for cell, tape in self.tapes.items()},
            dict(self._faults),
            progress,
            is_ready or self.shown.is_ready,
        )
        self.happenings.published()

    def _progress(self):
        wanted = sum(self._ends[cell] - self._begins[cell] for cell in self._ends)
        read = sum(
            min(projection.position, self._ends[cell]) - self._begins[cell]
            for cell, projection in self._world.projections.items()
        )
        # (The last records of a log may have been removed, or be that of a log that is down.)
        is_ready = all(
            projection.position >= self._ends[cell] or cell in self._faults
            for cell, projection in self._world.projections.items()
        )
        return (1.0 if wanted <= 0 else min(1.0, read / wanted)), is_ready

    def _topology(self, before):
        table = self._world.table
        names = [tuple(tape.names) for tape in self.tapes.values()]
        key = (table.topology_version, tuple(map(len, names)), len(table.classes.values))
        if key == self._topology_key:
            return before
        self._topology_key = key
        zones, aggregates = zone_names(table, "nova"), aggregates_by_host(table)
        rows = [
            (name, self._world.projections[cell].hosts.get(name))
            for cell, of_cell in zip(self.tapes, names, strict=True)
            for name in of_cell
        ]
        return Topology(
            before.version + 1,
            tuple(table.classes.values),
            tuple((cell, len(of_cell)) for cell, of_cell in zip(self.tapes, names, strict=True)),
            tuple(name for name, _ in rows),
            tuple("" if host is None else zones.get(host.root, "") for _, host in rows),
            tuple(() if host is None else tuple(aggregates.get(name, ())) for name, host in rows),
        )

    # --- looking back ------------------------------------------------------------------------------------------------

    def frame(self, places: dict[str, Place], topology: Topology) -> Frame:
        """Return the Frame of all hosts of a topology: of each cell at a Place of its tape (none: absent)."""
        parts = []
        for cell, count in topology.cells:
            place, tape = places.get(cell), self.tapes.get(cell)
            frame = Frame.empty() if place is None or tape is None else tape.frame(place)
            classes = max(len(topology.classes), len(frame.used))
            whole = frame.grown(classes, max(count, len(frame.status)))
            parts.append(whole.cut(len(topology.classes), count))
        if not parts:
            return Frame.empty(len(topology.classes))
        return Frame(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))
