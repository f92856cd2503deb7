"""Whether a log grows faster than a service folds it, and which producer writes most of it.

A log is *far behind* if its end was not reached for some seconds although records were folded all that time. None of
this is state of the log: it depends on how fast this process is. Times are seconds on the monotonic clock of the
service; the caller gives them.
"""

from collections import Counter
from typing import NamedTuple

from rpc_api.wording import number_of

#: Seconds over which events are counted by producer. The last window and the present one are shown together.
WINDOW = 10.0
#: A producer is named if it writes more than this share of all events, and so many times the mean of the others.
SHARE_MIN = 0.2
TIMES_MIN = 10
#: Events per second of one producer that a log which only a tool reads must have, so that the producer is named. A
#: service folds ten times as many.
FLOOD_EVENTS_S = 5000
#: Seconds between two warnings about a log that is far behind.
SAY_AGAIN = 60.0
#: Share of the time that a log that is far behind gets while the service has other work.
SHARE_FAR_BEHIND = 0.2


class Loudest(NamedTuple):
    """The producer that writes far more than its share: its ``account`` (None: not known), how many ``events`` it wrote
    of ``total``."""

    producer: str
    account: str | None
    events: int
    total: int

    def __str__(self) -> str:
        account = f" (account {self.account})" if self.account else ""
        share = 100 * self.events / self.total
        return f"{self.producer}{account} wrote {share:.0f} % of the last {number_of(self.total, 'event', form=',')}"


def loudest(counts) -> Loudest | None:
    """The Loudest of ``counts``, (producer, account) -> events; None if no producer is far above its share."""
    total = sum(counts.values())
    if not total:
        return None
    (producer, account), events = max(counts.items(), key=lambda item: (item[1], item[0][0]))
    mean = (total - events) / max(1, len(counts) - 1)
    if events <= SHARE_MIN * total or events < TIMES_MIN * mean:
        return None
    return Loudest(producer, account, events, total)


def flooding(counts, seconds: float) -> Loudest | None:
    """The Loudest of the ``counts`` of so many seconds, if it wrote at least FLOOD_EVENTS_S events per second."""
    found = loudest(counts)
    return found if found is not None and found.events >= FLOOD_EVENTS_S * seconds else None


def count_producers(records) -> Counter:
    """(producer, account) -> number of its events in records (position, DecodedRecord). An event that cannot be read
    counts for a producer that is "unreadable"."""
    return Counter(
        (getattr(event, "producer", "unreadable"), record.account) for _, record in records for event in record.events
    )


class Backlog:
    """How far a service is behind one log. It is far behind after ``after`` seconds without reaching the end."""

    def __init__(self, after: float):
        self._after = after
        self.begin()

    def begin(self) -> None:
        """The log is read from another position: what was counted does not hold any more."""
        #: Whether the log is far behind.
        self.is_far = False
        #: Time of the first records after the end was last reached; None at the end.
        self.since = None
        self._window_began = None
        self._window, self._window_before = Counter(), Counter()
        self._say_at = float("-inf")

    def folded(self, records, at_end: bool, now: float) -> bool:
        """Records (position, DecodedRecord) were folded; ``at_end``: the end of the log was reached before them (see
        Batch). Returns whether :attr:`is_far` changed."""
        was_far = self.is_far
        if at_end:
            self.begin()
            return was_far
        if self.since is None:
            self.since = self._window_began = now
        if now - self._window_began >= WINDOW:
            self._window_began = now
            self._window, self._window_before = Counter(), self._window
        self._window.update(count_producers(records))
        self.is_far = now - self.since >= self._after
        return self.is_far != was_far

    def is_warning_due(self, now: float) -> bool:
        """Whether the log is far behind, and this method did not return True for SAY_AGAIN seconds."""
        if not self.is_far or now < self._say_at:
            return False
        self._say_at = now + SAY_AGAIN
        return True

    def why(self) -> str:
        """What is wrong, and what to do, for a log that is far behind."""
        counts = self._window_before + self._window
        found = loudest(counts)
        if found is None:
            return (
                f"its log grows faster than it is folded: {number_of(sum(counts.values()), 'event', form=',')} of "
                f"{number_of(len(counts), 'producer')}, none of which is far above its share; see nova-sched-replay "
                "top, and give this service more processor time"
            )
        return (
            f"its log grows faster than it is folded: {found}; stop that service, or take away its right to write to "
            "the log"
        )
