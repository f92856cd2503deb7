"""The logs that an endpoint serves, as one ledger."""

import logging
import threading
import uuid
from collections.abc import Collection

from nova_sched.process.cell_log import close_all
from nova_sched.projection import snapshot
from nova_sched.projection.ledger import Host, PlainTree
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from placement_api import several_logs
from placement_api.candidates.summaries import Summaries
from placement_api.freshness import SharedPositions
from placement_api.http_errors import Unavailable
from placement_api.ledger_log import LedgerLog
from placement_api.measures import RequestMeasures
from rpc_api import concurrency, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import open_at_level
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.levels import LEVEL
from rpc_api.log import open_log

LOG = logging.getLogger(__name__)

#: Seconds between two looks whether all logs are ready.
READY_PAUSE = 0.1
#: Seconds between two looks for writes over several logs that another worker has left.
LOOK_PAUSE = 5.0


class Region:
    """``logs`` are (name, URL) of each log; a provider without a parent goes to the log ``new_roots``.

    ``state_dir`` is a directory that all workers of this machine share, None if there is only this one. With
    ``has_neighbours``, workers on other machines serve the same logs. Hold ``lock`` while ``table`` and what
    projections have is read.
    """

    def __init__(
        self,
        logs,
        new_roots: str,
        name: str,
        clock=SYSTEM,
        store=None,
        accounts_required=False,
        state_dir=None,
        has_neighbours=False,
    ):
        self.lock = threading.RLock()
        self.table = HostTable()
        self.summaries = Summaries(self.table)
        self.has_neighbours = has_neighbours
        #: Of the requests that this worker answers.
        self.measures = RequestMeasures()
        #: Cell -> the fault because of which its log was never read, until an operator changes something.
        self._lasting: dict[str, errors.NovaSchedError] = {}
        self.logs = {
            cell: LedgerLog(
                self,
                cell,
                url,
                name,
                clock,
                store,
                accounts_required,
                None if state_dir is None else SharedPositions(state_dir, url),
            )
            for cell, url in logs
        }
        self.new_roots = self.logs[new_roots]
        self.name = name
        self._kept_open = None
        #: The WorkerName, whose lock lasts as long as the region; None for one without a shared directory.
        self.worker = None
        self._clock = clock
        self._stopped = threading.Event()
        #: An endpoint with one log waits while it is read again: there is nothing else to do.
        self._waits_for_reading = len(logs) == 1
        #: Finishes the writes over several logs that another worker has left.
        self._finisher = concurrency.vital_thread(self._finish_all, f"{name} writes over several logs")

    def start(self) -> "Region":
        """Start to read all logs."""
        for log in self.logs.values():
            log.start()
        if len(self.logs) > 1:
            self._finisher.start()
        return self

    def _finish_all(self):
        while not self._stopped.wait(LOOK_PAUSE):
            several_logs.finish(self, self._clock.now_ns())

    def wait_ready(self, timeout: float) -> None:
        """Wait until all logs are folded that can be read; LogUnavailable if that takes too long, or if none can.
        A cell that is down does not keep the others waiting: it is read as soon as it can be."""
        ends_at = self._clock.monotonic() + timeout
        missing = list(self.logs.values())
        while missing:
            missing = [log for log in missing if not log.wait_current(READY_PAUSE)]
            down = [log for log in missing if log.why_down is not None]
            if len(down) == len(missing) < len(self.logs):
                for log in down:
                    LOG.warning("the API begins without the log of %s: %s", log.cell, log.why_down)
                return
            if missing and self._clock.monotonic() > ends_at:
                first = missing[0]
                why = first.why_down or "check its broker, or give it more time ([cells] catch_up_timeout)"
                raise errors.LogUnavailable(f"the log of {first.cell} is not folded within {timeout} s: {why}")

    def close(self, timeout: float = 5.0) -> bool:
        """Append what is waiting and end; True when nothing was left."""
        self._stopped.set()
        if self._finisher.is_alive():
            self._finisher.join(timeout)
        drained = close_all(list(self.logs.values()), timeout)
        if self._kept_open is not None:
            self._kept_open.close()
        return drained

    @classmethod
    def in_memory(cls, level: int = LEVEL) -> "Region":
        """A region over one new log in memory, which is ready. Its log has its first checkpoint, as nobody else writes
        one."""
        cell, url = "cell1", f"memory://{uuid.uuid4()}"
        log = open_log(url)
        opening, _ = open_at_level(log, cell, "operator/placement", level)
        region = cls([(cell, url)], cell, "placement/here")
        region._kept_open = log
        region.start().wait_ready(10.0)
        packed = snapshot.dump(region.logs[cell].projection)
        with region.lock:
            position = region.logs[cell].projection.position
        appender = Appender(log, opening.epoch)
        producer = Producer(appender, "conductor/placement")
        producer.level = level
        producer.wait(producer.publish(events.StateKept(str(uuid.uuid4()), position, 0, 1, packed)))
        appender.close()
        region.fence()
        return region

    def cannot_read(self, log: LedgerLog, fault: errors.NovaSchedError) -> None:
        """A log was never read, and cannot be until an operator changes something. If that is so for all logs, this
        worker cannot go on. Otherwise the cell is down: its log is tried again, and the others go on."""
        before, self._lasting[log.cell] = self._lasting.get(log.cell), fault
        if len(self._lasting) == len(self.logs):
            log.fail(fault)
        elif str(before) != str(fault):
            LOG.error("the cell %s is down until its log can be read, which is tried again: %s", log.cell, fault)

    def may_read(self, log: LedgerLog) -> None:
        """What is wrong with a log does not last any more."""
        self._lasting.pop(log.cell, None)

    @property
    def fault(self) -> errors.NovaSchedError | None:
        """The fault because of which a log cannot go on; None if all can."""
        return next((log.fault for log in self.logs.values() if log.fault is not None), None)

    def why_cannot_answer(self) -> list[str]:
        """A sentence for each reason why this worker cannot answer at all. State that may be old is not one: answers
        about it are marked."""
        if self.fault is not None:
            return [str(self.fault)]
        return [] if self.was_read else [f"no log was read yet: {log.why_stale}" for log in self.logs.values()]

    # --- reading -------------------------------------------------------------------------------------------------

    def projections(self) -> list[Projection]:
        """The projections of all logs."""
        return [log.projection for log in self.logs.values()]

    def log_of(self, provider_uuid: str) -> LedgerLog | None:
        """The log that has a provider; None if none has it."""
        for log in self.logs.values():
            if provider_uuid in log.projection.trees:
                return log
        return None

    def tree_of(self, provider_uuid: str) -> Host | PlainTree | None:
        """The tree that has a provider; None if there is none."""
        for log in self.logs.values():
            tree = log.projection.trees.get(provider_uuid)
            if tree is not None:
                return tree
        return None

    def row_of(self, provider_uuid: str) -> int | None:
        """The row of a provider; None if there is none."""
        tree = self.tree_of(provider_uuid)
        return None if tree is None else tree.rows[provider_uuid]

    def wait_for_shared(self, provider_uuid: str | None = None) -> list[str]:
        """Wait until everything is folded that a worker of this machine acknowledged, in all logs or in that of a
        provider. Returns the names of the cells of which it is not: what is known of them is old."""
        log = None if provider_uuid is None else self.log_of(provider_uuid)
        also_for_reading = self._waits_for_reading
        logs = self.logs.values() if log is None else (log,)
        return [one.cell for one in logs if not one.wait_for_shared(also_for_reading)]

    def fence(self) -> dict[str, bool]:
        """Wait until everything is folded that was acknowledged before; Unavailable if that is not possible now. A log
        that cannot be read, or does not answer, is left out if another one can: its cell is down, and the others go on.
        Returns the names of the cells that were left out -> whether the log answers, and this worker only reads it too
        slowly."""
        logs = list(self.logs.values())
        live = [log for log in logs if log.why_stale is None] or logs
        passing = {log: log.waits.begin_fence() for log in live}
        passed = [log for log, fence in passing.items() if log.waits.end_fence(fence, self._waits_for_reading)]
        if not passed:
            raise Unavailable(f"The log of {logs[0].cell} cannot be read now; try again later.")
        return {log.cell: log.is_late(passing.get(log)) for log in logs if log not in passed}

    def fence_before_new(self) -> None:
        """Wait for a fence before something is written that no log may have. Unavailable if a log answers, and this
        worker reads it too slowly: others write there. If a log does not answer, its cell is down."""
        late = next((cell for cell, is_late in self.fence().items() if is_late), None)
        if late is not None:
            raise _not_known(late)

    def check_away(self, missed: Collection[str]) -> None:
        """Unavailable if one of the cells that a fence ``missed`` is not known to be down, or if its log was never
        read: what a consumer has there must not remain while the answer is that it was removed."""
        for cell in missed:
            if not self.logs[cell].is_away:
                raise _not_known(cell)

    def check_all_were_read(self) -> None:
        """Unavailable while the log of a cell was never read: what is not in the others may be there."""
        unread = [log for log in self.logs.values() if not log.was_read]
        if unread:
            raise Unavailable(
                f"The log of {unread[0].cell} was not read yet, so nobody knows what it has; try again later."
            )

    @property
    def was_read(self) -> bool:
        """Whether any of the logs was read."""
        return any(log.was_read for log in self.logs.values())

    def keep_files(self, shared: SharedPositions | None) -> None:
        """Keep the files of the shared directory from being removed as old ones; NovaSchedError if they were."""
        if shared is not None:
            shared.keep()
        if self.worker is not None:
            self.worker.keep()

    def stale_cells(self, provider_uuid: str | None = None, missed: Collection[str] = ()) -> list[str]:
        """Names of the cells whose log cannot be read now, or that a request ``missed``, of all or of that of a
        provider."""
        log = None if provider_uuid is None else self.log_of(provider_uuid)
        logs = self.logs.values() if log is None else [log]
        return [log.cell for log in logs if log.cell in missed or log.why_stale is not None]

    def write(self, event):
        """Write an event into the log of new roots; returns its outcome (Written)."""
        return self.new_roots.write(event)


def _not_known(cell: str) -> Unavailable:
    return Unavailable(f"The log of {cell} is not read up to its end, so nobody knows what it has; try again later.")
