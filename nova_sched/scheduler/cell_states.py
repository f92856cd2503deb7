"""Which cells are open to requests: their logs can be read and appended to, are folded up to the position at which they
ended when the scheduler started to read them, and do not grow faster than they are folded."""

import logging
from collections import defaultdict

from nova_sched.process.backlog import Backlog
from nova_sched.process.log_state import FOLD, READ, LogState, beginning_is_lost
from nova_sched.process.missing_reports import MissingReports
from rpc_api import errors
from rpc_api.clock import spelled
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: Seconds to wait for a snapshot of a log that is needed in any case, before it is rebased.
NEEDED_HEADLESS = 1.0
#: Seconds to wait for reports of the hosts of a cell whose log lost records: agents beat every 10 s. Until then the
#: log does not have the instances of the hosts, so new claims may not fit.
REPORTS_WITHIN = 15.0


class CellStates:
    """The LogState of each cell, which decide ``cell_closed`` of a HostTable. ``always`` names logs that are needed in
    any case (cell0's); a log is far behind after ``down_after`` seconds without reaching its end."""

    def __init__(self, table, clock, always, down_after):
        self._table = table
        self._clock = clock
        self._always = always
        #: Cell -> LogState, in the order in which they were first expected.
        self._logs = defaultdict(LogState)
        self._backlogs = defaultdict(lambda: Backlog(down_after))
        #: Cell -> hosts that were known before, of those whose logs lost records, until they are folded again.
        self._lost = {}
        #: Cell -> the MissingReports of its hosts, until they have come after a loss.
        self._missing = {}
        #: Cell -> since when the scheduler waits for these reports.
        self._missing_since = {}
        #: Cell -> why it stays closed, of logs whose beginning is lost and that no service may rebase.
        self._lost_beginnings = {}

    # --- questions -----------------------------------------------------------------------------------------------

    @property
    def waiting_for(self):
        """Cells whose logs are not folded yet and can be: neither unreadable nor headless."""
        return [
            cell for cell, log in self._logs.items() if log.is_behind and not log.is_down(READ) and not log.is_headless
        ]

    def is_behind(self, cell) -> bool:
        """Whether the log of a cell is not yet folded up to the position at which it ended when reading started."""
        return self._logs[cell].is_behind

    @property
    def headless(self):
        """Cells whose logs are headless: a snapshot that fits is wanted."""
        return [cell for cell, log in self._logs.items() if log.is_headless]

    @property
    def unreadable(self):
        """Cells whose logs cannot be read now."""
        return [cell for cell, log in self._logs.items() if log.is_down(READ)]

    def down_for(self, seconds: float):
        """Names of cells whose logs could not be read, appended to or folded in time for at least so long."""
        now = self._clock.monotonic()
        return sorted(cell for cell, log in self._logs.items() if log.is_down() and log.down_for(now) >= seconds)

    def is_far_behind(self, cell) -> bool:
        """Whether the log of a cell grows faster than it is folded."""
        return self._backlogs[cell].is_far

    def behind_since(self, cell) -> float | None:
        """Since when the end of the log of a cell was not reached; None while it is."""
        return self._backlogs[cell].since

    def why(self, cell) -> str | None:
        """The fault of the log of a cell as text; None while it works."""
        return self._logs[cell].why if self._logs[cell].is_down() else None

    def beginning_is_lost(self, cell):
        """The error for a log that stays closed because no service may rebase it; None for another one."""
        return self._lost_beginnings.get(cell) if self._logs[cell].is_headless else None

    @property
    def lost_beginning(self):
        """The first error of :meth:`beginning_is_lost`; None if there is none."""
        return next(filter(None, map(self.beginning_is_lost, list(self._lost_beginnings))), None)

    def headless_for(self, seconds: float):
        """(cell, first position of its log) of cells to rebase now: they were headless for so long, or for a shorter
        time if they are needed in any case. A cell is returned only once in that time."""
        now, found = self._clock.monotonic(), []
        for cell, log in self._logs.items():
            wait = min(seconds, NEEDED_HEADLESS) if cell in self._always else seconds
            if self.beginning_is_lost(cell) is not None:
                continue
            if log.is_rebase_due(now, wait, wait):
                log.rebase_asked(now)
                found.append((cell, log.first))
        return found

    # --- events --------------------------------------------------------------------------------------------------

    def expect(self, cell):
        """Expect the log of a cell: until it is folded, no request is scheduled to the cell."""
        self._logs[cell].expect()
        self._table.cell_closed[cell] = True

    def begin(self, cell, beginning, hosts=()):
        """A log is read from its beginning (a Beginning); ``hosts`` are the names of the hosts that were known in its
        cell before."""
        self._logs[cell].begin(beginning)
        self._backlogs[cell].begin()
        self.fault(cell, None, FOLD)
        if beginning.begun_anew:
            self._wait_no_longer(cell)
        elif beginning.kept is not None:
            self._lost.setdefault(cell, set()).update(hosts)
            self._missing.setdefault(cell, MissingReports()).count_after(beginning.kept)
        if not self._table.cell_closed.get(cell):
            self.close(cell, "its log is read again")

    def folded(self, cell, projection) -> bool:
        """A log is folded up to the position of ``projection``. Returns True if that ends its being behind."""
        log = self._logs[cell]
        was_headless = log.is_headless
        if not log.folded(projection, self._clock.monotonic()):
            if log.is_headless and not was_headless and projection.rules.one_ledger:
                self._lost_beginnings[cell] = beginning_is_lost(cell, log.first)
                LOG.error("%s", self._lost_beginnings[cell])
            elif log.is_headless and not was_headless:
                LOG.warning(
                    "records were removed in front of the log of %s, and no snapshot says what they held: "
                    "nothing is scheduled there until there is one, or the log is rebased",
                    cell,
                )
            return False
        if cell in self._lost:
            # Also hosts that the log lost: their reports are lost for certain.
            forgotten = {name for name in self._lost.pop(cell) if name not in projection.hosts}
            self._missing[cell].want(forgotten.union(name for name, host in projection.hosts.items() if not host.lost))
            self._missing_since[cell] = self._clock.monotonic()
        self._look_for_reports(cell)
        self._open(cell)
        return True

    def see(self, cell, records, at_end):
        """Records of a cell's log were folded, and ``at_end`` says whether its end was reached before them (see Batch).
        The reports that are waited for may be among them."""
        log, backlog, now = self._logs[cell], self._backlogs[cell], self._clock.monotonic()
        # Until it is folded to its end of the start, it is behind for another reason.
        if not log.is_behind and backlog.folded(records, at_end, now):
            if backlog.is_far:
                log.fault(backlog.why(), FOLD, backlog.since)
                backlog.is_warning_due(now)  # the cell is closed with one
            else:
                self.fault(cell, None, FOLD)
        if cell in self._missing:
            self._missing[cell].see(records)
            self._look_for_reports(cell)

    def look_for_reports(self):
        """Stop waiting for reports that do not come."""
        for cell in list(self._missing):
            self._look_for_reports(cell)

    def warn_of_backlogs(self):
        """Warn again of the logs that are far behind: another producer may write most of them by now."""
        now = self._clock.monotonic()
        for cell, backlog in self._backlogs.items():
            if backlog.is_warning_due(now):
                LOG.warning("cell %s is still closed, for %s: %s", cell, spelled(now - backlog.since), backlog.why())

    def _look_for_reports(self, cell):
        since = self._missing_since.get(cell)
        if since is None or cell in self._lost:
            return
        hosts = self._missing[cell].hosts
        late = self._clock.monotonic() - since >= REPORTS_WITHIN
        if hosts and late:
            LOG.warning(
                "%s of %s did not report within %.0f s after its log lost records: what they run may be "
                "unknown until they do",
                number_of(len(hosts), "host"),
                cell,
                REPORTS_WITHIN,
            )
        if late or not hosts:
            self._wait_no_longer(cell)
            self._open(cell)

    def _wait_no_longer(self, cell):
        self._lost.pop(cell, None)
        self._missing.pop(cell, None)
        self._missing_since.pop(cell, None)

    def fault(self, cell, fault, way):
        """A log cannot be read (or appended to, or folded in time) now, or can be again (None)."""
        was_down_for = self._logs[cell].fault(fault, way, self._clock.monotonic())
        if was_down_for is not None:
            self._open(cell)
        if (
            fault is not None
            and way == READ
            and not isinstance(fault, errors.LogUnavailable)
            and not self._table.cell_closed.get(cell)
        ):
            # The state is not that of the log: no more decisions on it.
            self.close(cell)

    def close(self, cell, why=None):
        """Close a cell to requests, and log that, also for a cell that was never open."""
        log = self._logs[cell]
        if log.close(self._clock.monotonic()):
            LOG.warning(
                "cell %s is closed, and gets no instances: %s",
                cell,
                why or log.why or "its log cannot be read or appended to",
            )
        if not self._table.cell_closed.get(cell):
            self._set(cell, True)

    def _open(self, cell):
        log = self._logs[cell]
        if not self._table.cell_closed.get(cell) or log.is_behind or cell in self._missing or log.is_down():
            return
        was_closed_for = log.open(self._clock.monotonic())
        if was_closed_for is not None:
            LOG.warning("cell %s is open again, after %s: its log is folded", cell, spelled(was_closed_for))
        self._set(cell, False)

    def _set(self, cell, closed):
        self._table.cell_closed[cell] = closed
        self._table.topology_version += 1
