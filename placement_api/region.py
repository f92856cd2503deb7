"""The logs that an endpoint serves, as one ledger."""

import threading
import uuid

from nova_sched.process.cell_log import close_all
from nova_sched.projection import snapshot
from nova_sched.projection.ledger import Holder, Host, PlainTree
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from placement_api.candidates.summaries import Summaries
from placement_api.freshness import SharedPositions
from placement_api.ledger_log import LedgerLog
from rpc_api import errors, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import open_at_level
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.log import open_log


class Region:
    """``logs`` are (name, URL) of each log; a provider without a parent goes to the log ``new_roots``.

    ``state_dir`` is a directory that all workers of this machine share, None if there is only this one. With
    ``has_neighbours``, workers on other machines serve the same logs. Hold ``lock`` while ``table`` and what projections
    have is read.
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

    def start(self) -> "Region":
        """Start to read all logs."""
        for log in self.logs.values():
            log.start()
        return self

    def wait_ready(self, timeout: float) -> None:
        """Wait until all logs are folded; raises LogUnavailable if that takes too long."""
        for log in self.logs.values():
            if not log.wait_current(timeout):
                raise errors.LogUnavailable(
                    f"the log of {log.cell} is not folded within {timeout} s; see to its broker, or give it more time"
                )

    def close(self, timeout: float = 5.0) -> bool:
        """Append what is waiting and end; True when nothing was left."""
        drained = close_all(list(self.logs.values()), timeout)
        if self._kept_open is not None:
            self._kept_open.close()
        return drained

    @classmethod
    def in_memory(cls, level: int = 3) -> "Region":
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
            position = region.logs[cell].position
        appender = Appender(log, opening.epoch)
        producer = Producer(appender, "conductor/placement")
        producer.level = level
        producer.wait(producer.publish(events.StateKept(str(uuid.uuid4()), position, 0, 1, packed)))
        appender.close()
        region.fence()
        return region

    @property
    def fault(self) -> errors.NovaSchedError | None:
        """The fault because of which a log cannot go on; None if all can."""
        return next((log.fault for log in self.logs.values() if log.fault is not None), None)

    def report(self) -> dict:
        """Facts for the report of the process."""
        return {
            "name": self.name,
            "new roots": self.new_roots.cell,
            **{n: log.report() for n, log in self.logs.items()},
        }

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

    def logs_of_consumer(self, consumer_uuid: str) -> list[LedgerLog]:
        """The logs in which a consumer holds something."""
        return [log for log in self.logs.values() if consumer_uuid in log.projection.consumers]

    def holder_of(self, consumer_uuid: str) -> Holder | None:
        """What is known of a consumer; None if it holds nothing."""
        for log in self.logs.values():
            holder = log.projection.holders.get(consumer_uuid)
            if holder is not None:
                return holder
        return None

    def wait_for_shared(self) -> None:
        """Wait until everything is folded that a worker of this machine acknowledged."""
        for log in self.logs.values():
            log.wait_for_shared()

    def fence(self) -> None:
        """Wait until everything is folded that was acknowledged before. A log that cannot be read is left out if
        another one can: its cell is down."""
        for log in self.logs.values():
            if len(self.logs) == 1 or log.why_stale is None:
                log.fence()

    def write(self, event):
        """Write an event into the log of new roots; returns its outcome (Written)."""
        return self.new_roots.write(event)
