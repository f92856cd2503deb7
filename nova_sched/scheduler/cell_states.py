"""Which cells may be scheduled to: those whose logs can be read and appended to,
and are folded to where they were begun."""

import logging

from nova_sched.process.missing_reports import MissingReports
from rpc_api import errors
from rpc_api.clock import spelled

LOG = logging.getLogger(__name__)

#: Seconds in which a snapshot of a log may come that is needed in any case, before it is rebased.
NEEDED_HEADLESS = 1.0
#: Seconds in which the hosts of a cell whose log lost records are to report: agents beat every 10 s. What they run is
#: not in the log until then, and whatever is claimed meanwhile may not fit.
REPORTS_WITHIN = 15.0


class CellStates:
    """Says so in the ``cell_closed`` of a HostTable. ``always`` names logs that are needed in any case (cell0's)."""

    def __init__(self, table, clock, always):
        self._table = table
        self._clock = clock
        self._always = always
        #: Cell -> the position that is to be folded before it counts, of those that are not so far yet.
        self._behind = {}
        #: Cell -> first position of its log.
        self._firsts = {}
        #: (Cell, "read" or "append") -> since when that cannot be done.
        self._down_since = {}
        #: Cell -> why its log could not be read, or appended to, last.
        self._why = {}
        #: Cells of which all records are read and the state is not known -> since when.
        self._headless = {}
        #: Cell -> since when it is closed (monotonic), of those of which the log says so.
        self._said = {}
        #: Cell -> hosts that were known before, of those whose logs lost records, until they are folded again.
        self._lost = {}
        #: Cell -> the MissingReports of its hosts, until they have come after a loss.
        self._missing = {}
        #: Cell -> since when those are waited for.
        self._missing_since = {}

    # --- what is asked -------------------------------------------------------------------------------------------

    @property
    def waiting_for(self):
        """Cells whose logs are not folded yet and can be: neither unreadable nor headless."""
        return [cell for cell in self._behind if (cell, "read") not in self._down_since and cell not in self._headless]

    def is_behind(self, cell) -> bool:
        """Whether the log of a cell is not folded to where it ended when it was begun."""
        return cell in self._behind

    @property
    def headless(self):
        """Cells of which all records are read and the state is not known: a snapshot that fits is wanted."""
        return list(self._headless)

    @property
    def unreadable(self):
        """Cells whose logs cannot be read now."""
        return [cell for cell, way in self._down_since if way == "read"]

    def down_for(self, seconds: float):
        """Cells whose logs cannot be read, or not appended to, for so long."""
        now = self._clock.monotonic()
        return sorted({cell for (cell, _), since in self._down_since.items() if now - since >= seconds})

    def headless_for(self, seconds: float):
        """(cell, first position of its log) of cells that are headless for so long, once in that time;
        of what is needed in any case sooner."""
        now = self._clock.monotonic()
        found = [
            cell
            for cell, since in self._headless.items()
            if now - since >= (min(seconds, NEEDED_HEADLESS) if cell in self._always else seconds)
        ]
        self._headless.update(dict.fromkeys(found, now))
        return [(cell, self._firsts[cell]) for cell in found]

    # --- what happens --------------------------------------------------------------------------------------------

    def expect(self, cell):
        """The log of a cell is going to be read: until it is folded, nothing is scheduled to the cell."""
        self._behind[cell] = None
        self._table.cell_closed[cell] = True

    def begin(self, cell, beginning, hosts=()):
        """A log is read from its beginning (a Beginning); ``hosts`` are the names of those that were known to run in
        its cell before."""
        self._behind[cell] = beginning.catch_up
        self._firsts[cell] = beginning.first
        if beginning.begun_anew:
            self._wait_no_longer(cell)
        elif beginning.kept is not None:
            self._lost.setdefault(cell, set()).update(hosts)
            self._missing.setdefault(cell, MissingReports()).count_after(beginning.kept)
        if not self._table.cell_closed.get(cell):
            self.close(cell, "its log is read again")

    def folded(self, cell, projection) -> bool:
        """A log was folded so far. Returns True when it has come to where it was begun, and is known."""
        wanted = self._behind.get(cell)
        if wanted is None or projection.position < wanted:
            return False
        if not projection.whole:
            if cell not in self._headless:
                self._headless[cell] = self._clock.monotonic()
                LOG.warning(
                    "records were removed in front of the log of %s, and no snapshot says what they held: "
                    "nothing is scheduled there until there is one, or the log is rebased",
                    cell,
                )
            return False
        del self._behind[cell]
        self._headless.pop(cell, None)
        if cell in self._lost:
            # Those too that the log forgot: what they said first of all is lost.
            forgotten = {name for name in self._lost.pop(cell) if name not in projection.hosts}
            self._missing[cell].want(forgotten.union(name for name, host in projection.hosts.items() if not host.lost))
            self._missing_since[cell] = self._clock.monotonic()
        self._look_for_reports(cell)
        self._open(cell)
        return True

    def see(self, cell, records):
        """Records of a cell's log were folded: reports may be among them that its hosts are to make."""
        if cell in self._missing:
            self._missing[cell].see(records)
            self._look_for_reports(cell)

    def look_for_reports(self):
        """Wait no longer for reports that do not come."""
        for cell in list(self._missing):
            self._look_for_reports(cell)

    def _look_for_reports(self, cell):
        since = self._missing_since.get(cell)
        if since is None or cell in self._lost:
            return
        hosts = self._missing[cell].hosts
        late = self._clock.monotonic() - since >= REPORTS_WITHIN
        if hosts and late:
            LOG.warning(
                "%d hosts of %s did not report within %.0f s after its log lost records: what they run may be "
                "unknown until they do",
                len(hosts),
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
        """A log cannot be read (or appended to) now, or can be again (None)."""
        if fault is None:
            if self._down_since.pop((cell, way), None) is not None:
                self._open(cell)
            return
        self._down_since.setdefault((cell, way), self._clock.monotonic())
        self._why[cell] = str(fault)
        if way == "read" and not isinstance(fault, errors.LogUnavailable) and not self._table.cell_closed.get(cell):
            # What is known is not what the log says: not one more decision on it.
            self.close(cell)

    def close(self, cell, why=None):
        """Let nothing be scheduled to a cell, and log it, also of one that was never open."""
        if cell not in self._said:
            LOG.warning(
                "cell %s is closed, and gets no instances: %s",
                cell,
                why or self._why.get(cell, "its log cannot be read or appended to"),
            )
            now = self._clock.monotonic()
            self._said[cell] = min((since for (one, _), since in self._down_since.items() if one == cell), default=now)
        if not self._table.cell_closed.get(cell):
            self._set(cell, True)

    def _open(self, cell):
        if (
            not self._table.cell_closed.get(cell)
            or cell in self._behind
            or cell in self._missing
            or (cell, "read") in self._down_since
            or (cell, "append") in self._down_since
        ):
            return
        since = self._said.pop(cell, None)
        if since is not None:
            LOG.warning(
                "cell %s is open again, after %s: its log is folded", cell, spelled(self._clock.monotonic() - since)
            )
        self._set(cell, False)

    def _set(self, cell, closed):
        self._table.cell_closed[cell] = closed
        self._table.topology_version += 1
