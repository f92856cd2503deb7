"""Log lines about the lost hosts of a cell: one line for many hosts."""

from rpc_api.clock import spelled
from rpc_api.wording import number_of

#: Seconds without a further change after which changes are logged, and seconds after which they are logged in any
#: case. The hosts of a rack are found lost within one report interval of each other.
SETTLED, AT_MOST = 2.0, 15.0
#: Number of hosts that a line names.
NAMED = 3


class HostLosses:
    """Compares the hosts of a projection with those at the last call. Pure: ``now`` is in seconds, monotonic."""

    def __init__(self, cell: str):
        self._cell = cell
        #: Lost host -> since when; None if it was lost at the first call.
        self._since = {}
        self._begun = False
        #: Changes that are not logged yet: hosts lost, seen again and removed, name -> seconds (None: unknown).
        self._lost, self._seen, self._removed = {}, {}, {}
        self._first_at = self._last_at = None

    def look(self, hosts, now: float) -> list[str]:
        """The lines to log now; ``hosts`` is name -> Host of all hosts of the cell."""
        lost = {name for name, host in hosts.items() if host.lost}
        came, went = lost - self._since.keys(), self._since.keys() - lost
        for name in came:
            self._since[name] = now if self._begun else None
            self._lost[name] = None
            # A host that is lost again meanwhile is not reported as seen again too.
            self._seen.pop(name, None)
            self._removed.pop(name, None)
        for name in went:
            since = self._since.pop(name)
            (self._seen if name in hosts else self._removed)[name] = None if since is None else now - since
        self._begun = True
        if came or went:
            self._last_at = now
            self._first_at = now if self._first_at is None else self._first_at
        if self._first_at is None or (now - self._last_at < SETTLED and now - self._first_at < AT_MOST):
            return []
        lines = list(self._lines(len(hosts)))
        self._first_at = None
        self._lost, self._seen, self._removed = {}, {}, {}
        return lines

    def _lines(self, count):
        one = len(self._since) == 1
        left = f"{len(self._since)} of {number_of(count, 'host')} {'is' if one else 'are'}"
        still, over = self._lost.keys() & self._since.keys(), self._lost.keys() - self._since.keys()
        if still:
            yield (
                f"{self._hosts(still)} lost: {named(still)}; {left} lost now and get{'s' if one else ''} no "
                "instances; check their agents and machines"
            )
        if over:
            was = "was lost, and is" if len(over) == 1 else "were lost, and are"
            yield (
                f"{number_of(len(over), f'host of {self._cell}', f'hosts of {self._cell}')} {was} not lost any more: "
                f"{named(over)}; check their agents and machines"
            )
        left = f"{left} still lost" if self._since else "no host is lost any more"
        for gone, what in ((self._seen, "seen again"), (self._removed, "removed from the cell")):
            if gone:
                yield f"{self._hosts(gone)} {what}{_after(gone)}: {named(gone)}; {left}"

    def _hosts(self, some):
        return number_of(len(some), f"host of {self._cell} is", f"hosts of {self._cell} are")


def named(names) -> str:
    """The first names of some, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _after(gone):
    """How long hosts were lost; unknown for those that were lost when this process started."""
    known = sorted(seconds for seconds in gone.values() if seconds is not None)
    if not known:
        return ", lost since before this conductor started"
    shortest, longest = spelled(known[0]), spelled(known[-1])
    return f", lost for {longest}" if shortest == longest else f", lost for {shortest} to {longest}"
