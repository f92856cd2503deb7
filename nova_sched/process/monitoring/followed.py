"""What is shown of each log that a service folds: how far it is, what it has, and its checkpoints.

Everything is read from what the service keeps anyway. Only the end of a log must be asked for, which a thread does from
time to time (see Ends), so that a broker that does not answer delays no answer of ours.
"""

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from nova_sched.process.checkpoint_duty import margin_of
from nova_sched.process.monitoring.families import Sample, counted, one_or_zero
from nova_sched.projection.host_status import counts_of
from nova_sched.projection.projection import DIVERGENCE, SET_ASIDE
from nova_sched.projection.set_aside import CODES
from rpc_api import concurrency, errors
from rpc_api.clock import SYSTEM, Clock
from rpc_api.events import EVENTS

#: Seconds between two questions for the end of each log: at first, and once each has answered; and those after which an
#: answer is too old to be shown.
FIRST_SECONDS, ASK_SECONDS, OLD_SECONDS = 1.0, 10.0, 60.0
#: Seconds to wait for a question when the service stops.
CLOSE_SECONDS = 1.0


class FollowedLog(NamedTuple):
    """A log as it is now: its CellLog and Projection; why it cannot be read, why its state is not current, and since
    when (monotonic) its end was not reached, each None if that is not so; and the CheckpointKeeper that writes its
    checkpoints, if there is one."""

    log: Any
    projection: Any
    why_unreadable: str | None
    why_not_current: str | None
    behind_since: float | None
    keeper: Any = None


class End(NamedTuple):
    """The position of the last record of a log when its bounds were read, the share of the log before the newest
    checkpoint then (None if no server removes records), and when that was (monotonic)."""

    last: int
    margin: float | None
    at: float


class Ends:
    """Asks for the end of each log from time to time, and calls ``look()`` for what else must be asked for.
    ``followed()`` returns the FollowedLogs."""

    def __init__(
        self, followed: Callable[[], Iterable[FollowedLog]], look: Callable[[], object], clock: Clock = SYSTEM
    ) -> None:
        self._followed, self._look = followed, look
        self._clock = clock
        self._known: dict[str, End] = {}
        #: Cell (None: what else there is) -> the thread that asks: one broker that hangs must not hide the others.
        self._asking: dict[str | None, threading.Thread] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ends of logs", daemon=True)

    def start(self) -> "Ends":
        """Start to ask."""
        concurrency.start_or_report(self._thread)
        return self

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def of(self, cell: str) -> End | None:
        """What is known of the log of a cell; None if it is not known, or too old."""
        known = self._known.get(cell)
        return known if known is not None and self._clock.monotonic() - known.at <= OLD_SECONDS else None

    def ask(self, followed: FollowedLog) -> None:
        """Ask for the end of one log, and note it."""
        log = followed.log
        try:
            bounds = log.bounds()
        except errors.NovaSchedError:
            return  # the fault of the log is shown
        newest, share = log.checkpoints.newest, None
        if log.is_cut_by_policy and newest is not None:
            share = margin_of(bounds.first, bounds.last, newest)
        self._known[log.cell] = End(bounds.last, share, self._clock.monotonic())

    def _run(self) -> None:
        while True:
            self._beside(None, self._look)
            for followed in self._followed():
                self._beside(followed.log.cell, functools.partial(self.ask, followed))
            is_begun = all(followed.log.cell in self._known for followed in self._followed())
            if self._stopped.wait(ASK_SECONDS if is_begun else FIRST_SECONDS):
                return

    def _beside(self, cell: str | None, function: Callable[[], object]) -> None:
        """Call a function in a thread of its own, unless the last one for the same cell still waits."""
        before = self._asking.get(cell)
        if before is None or not before.is_alive():
            self._asking[cell] = threading.Thread(target=function, name=f"end of {cell}", daemon=True)
            concurrency.start_or_report(self._asking[cell])


def samples_of(followed: FollowedLog, ends: Ends, clock: Clock = SYSTEM) -> Iterator[Sample]:
    """The samples of a log."""
    log, projection = followed.log, followed.projection
    cell = (log.cell,)
    yield Sample("nova_sched_log_readable", one_or_zero(followed.why_unreadable is None), cell)
    yield Sample("nova_sched_log_appendable", one_or_zero(log.appender is not None and log.fault is None), cell)
    yield Sample("nova_sched_log_current", one_or_zero(followed.why_not_current is None), cell)
    yield Sample("nova_sched_log_position", projection.position, cell)
    since = followed.behind_since
    yield Sample("nova_sched_log_lag_seconds", 0.0 if since is None else clock.monotonic() - since, cell)
    end = ends.of(log.cell)
    if end is not None:
        yield Sample("nova_sched_log_lag_records", max(0, end.last - projection.position), cell)
    if log.appender is not None:
        yield Sample("nova_sched_log_events_waiting", log.appender.waiting, cell)
        yield Sample("nova_sched_log_append_duration_seconds", log.appender.waited, cell)
    yield from _counts(log.cell, projection.counts)
    yield from _sizes(log.cell, projection)
    yield from _checkpoints(followed, end)


def _counts(cell: str, counts: Counter[str]) -> Iterator[Sample]:
    # A copy: the thread that folds adds to them.
    known = dict(list(counts.items()))
    yield from counted(
        "nova_sched_log_events_folded_total", [(name, known[name]) for name in EVENTS if name in known], cell
    )
    # All of them, from 0 on: Prometheus sees no increase in a series that appears.
    aside = [(code, known.get(f"{SET_ASIDE}:{code}", 0)) for code in sorted(CODES)]
    yield from counted("nova_sched_log_events_set_aside_total", aside, cell)
    for family, names in (
        ("events_ignored_total", ("duplicate", "stale-epoch")),
        ("claims_total", ("claim-accepted", "claim-refused")),
        ("writes_total", ("write-accepted", "write-refused")),
    ):
        last = [(name.removeprefix("claim-").removeprefix("write-"), known.get(name, 0)) for name in names]
        yield from counted(f"nova_sched_log_{family}", last, cell)
    yield Sample("nova_sched_log_sequence_gaps_total", known.get("sequence-gap", 0), (cell,))
    yield Sample("nova_sched_log_divergences_total", known.get(DIVERGENCE, 0), (cell,))


def _sizes(cell: str, projection: Any) -> Iterator[Sample]:
    by_status = [(status.replace(" ", "_"), number) for status, number in counts_of(projection).items()]
    yield from counted("nova_sched_hosts", by_status, cell)
    yield Sample("nova_sched_hosts_with_stray_use", len(projection.stray_hosts), (cell,))
    yield Sample("nova_sched_providers", len(projection.trees), (cell,))
    yield Sample("nova_sched_consumers", len(projection.consumers), (cell,))


def _checkpoints(followed: FollowedLog, end: End | None) -> Iterator[Sample]:
    cell = (followed.log.cell,)
    seen = followed.log.checkpoints
    newest = seen.newest
    if newest is not None:
        yield Sample("nova_sched_checkpoint_timestamp_seconds", newest.at_ns / 1e9, cell)
        yield Sample("nova_sched_checkpoint_records_since", seen.records, cell)
        if newest.size is not None:
            yield Sample("nova_sched_checkpoint_size_bytes", newest.size, cell)
    if end is not None and end.margin is not None:
        yield Sample("nova_sched_checkpoint_margin_ratio", max(0.0, end.margin), cell)
    if followed.keeper is not None:
        yield Sample("nova_sched_checkpoints_written_total", followed.keeper.written, cell)
        yield Sample("nova_sched_checkpoint_failures_total", followed.keeper.failures, cell)
