"""What a service knows about one log beside its projection: how far it is folded, and whether it works.

A log is *behind* until it is folded to the position where it ended when the service began to read it. It is *headless*
if all its records are read and the state is still not known, because records were removed in front of it: then it needs
a snapshot or checkpoint that fits, or a LogRebased (at level 3 only an operator's counts). It is *down* while it cannot
be read or appended to, or grows faster than it is folded (see backlog.py). It is *closed* while the service makes no
use of it.

Times are seconds on the monotonic clock of the service; the caller gives them.
"""

from rpc_api import errors

READ, APPEND, FOLD = "read", "append", "fold"
LONG_AGO = float("-inf")


def beginning_is_lost(cell: str, first: int | None) -> errors.LogGap:
    """The error for a headless log at level 3, whose state nobody reports again as a whole."""
    return errors.LogGap(
        f"the log of {cell} begins at position {first}, and no checkpoint or snapshot has the state before it, which "
        "may have API writes: it stays closed; restore its backup (nova-sched restore), or, if there is none, give up "
        "what only it knew (nova-sched rebase)"
    )


class LogState:
    """The state of one log. A new one is neither behind nor down nor closed."""

    def __init__(self):
        self.is_behind = False
        #: First position of the log; None before :meth:`begin`.
        self.first = None
        #: The position to which it must be folded; None while that is not known.
        self._catch_up = None
        self._is_read = False
        #: Since when it is headless, or when a rebase was last asked for; None while it is not headless.
        self._headless_since = None
        self._rebase_was_asked = False
        #: READ, APPEND or FOLD -> since when that fails.
        self._down_since = {}
        #: The last fault of the log as text; None before any.
        self.why = None
        self._closed_since = None

    # --- how far it is folded ------------------------------------------------------------------------------------

    def expect(self) -> None:
        """The log is going to be read: it is behind until it is folded."""
        self.is_behind, self._catch_up, self._is_read = True, None, False

    def begin(self, beginning) -> None:
        """The log is read from a Beginning."""
        self.is_behind, self._catch_up, self._is_read = True, beginning.catch_up, False
        self.first = beginning.first
        self._rebase_was_asked = False

    def folded(self, projection, now: float = LONG_AGO) -> bool:
        """The log is folded to where ``projection`` is. Returns True if it is no longer behind by that; ``now`` is
        noted as the beginning of a headless time."""
        if not self.is_behind or not self.is_reached(projection):
            return False
        self._is_read = True
        if not projection.whole:
            if self._headless_since is None:
                self._headless_since = now
            return False
        self.is_behind, self._headless_since = False, None
        return True

    def is_reached(self, projection) -> bool:
        """Whether ``projection`` has all records that the log had when it began to be read. (The state of a log of an
        unknown level is not that of the log.)"""
        return self._catch_up is not None and projection.position >= self._catch_up and not projection.is_too_new

    @property
    def is_headless(self) -> bool:
        """Whether all records are read and the state is not known."""
        return self._headless_since is not None

    def is_rebase_due(self, now: float, after: float, again_after: float) -> bool:
        """Whether to rebase the log now: it is headless for ``after`` seconds, or for ``again_after`` seconds since
        :meth:`rebase_asked`."""
        wait = again_after if self._rebase_was_asked else after
        return self._is_read and self.is_headless and now - self._headless_since >= wait

    def rebase_asked(self, now: float) -> None:
        """A LogRebased is appended."""
        self._headless_since, self._rebase_was_asked = now, True

    # --- whether it works ----------------------------------------------------------------------------------------

    def is_down(self, way: str | None = None) -> bool:
        """Whether it cannot be read (READ), appended to (APPEND), folded as fast as it grows (FOLD), or one of them
        (None)."""
        return bool(self._down_since) if way is None else way in self._down_since

    def fault(self, fault, way: str, now: float) -> float | None:
        """The log cannot be read, appended to or folded in time, or can be again (``fault`` None). Returns how many
        seconds it was down if that ends, else None."""
        if fault is None:
            since = self._down_since.pop(way, None)
            return None if since is None else now - since
        self._down_since.setdefault(way, now)
        self.why = str(fault)
        return None

    def down_for(self, now: float) -> float:
        """For how many seconds it is down; 0 while it works."""
        return now - min(self._down_since.values(), default=now)

    # --- whether it is used --------------------------------------------------------------------------------------

    def close(self, now: float) -> bool:
        """Note that the log is not used, since it is down or from now on. Returns whether that is new."""
        if self._closed_since is not None:
            return False
        self._closed_since = min(self._down_since.values(), default=now)
        return True

    def open(self, now: float) -> float | None:
        """Note that the log is used. Returns for how many seconds it was closed; None if it was not."""
        since, self._closed_since = self._closed_since, None
        return None if since is None else now - since
