"""When a checkpoint of a log is due, when the newest one is to be named again, and whether API writes may be taken.

Pure: the caller gives the time (monotonic, in seconds) and what it knows of the log.
"""

import zlib
from typing import NamedTuple

from nova_sched.projection.state import CELL0
from rpc_api.clock import spelled
from rpc_api.events.cloud import StateKept
from rpc_api.wording import number_of

#: Seconds after which a checkpoint of another process is not waited for any more, if no part of it comes.
ANOTHER_WITHIN = 60.0
#: Seconds after an attempt that failed.
RETRY_AFTER = 60.0
#: Processes that look after the same log begin at different times, within so many seconds.
SPREAD = 10.0
#: The newest checkpoint is named again after so many records, or after so many seconds in which there was one.
NAME_RECORDS, NAME_SECONDS = 5_000, 60.0


class Limits(NamedTuple):
    """When a checkpoint is written: after ``every_s`` seconds, ``every_records`` records or ``every_bytes`` bytes.

    The others are for a log of which a server removes records by a policy. They are shares of the log that come before
    the state of the newest checkpoint: below ``renew`` the next one is written, below ``warn`` there is a warning, and
    below ``refuse`` no API write is taken. They count once the log has ``floor_bytes`` after that state.
    """

    every_s: float = 3600.0
    every_records: int = 100_000
    every_bytes: int = 256 << 20
    renew: float = 0.5
    warn: float = 0.35
    refuse: float = 0.25
    floor_bytes: int = 16 << 20


class LogFacts(NamedTuple):
    """What a service knows of its log: why it makes no use of it (``why_closed``; None if it does), its level and the
    position up to which it is folded; its ``bounds``, and whether a server removes records by a policy."""

    why_closed: str | None
    level: int
    position: int
    first: int
    last: int
    is_cut_by_policy: bool


def margin(facts: LogFacts, checkpoint) -> float:
    """The share of a log that comes before the state of a checkpoint: what may be removed before a reader cannot start
    there any more. Negative if a reader cannot."""
    return margin_of(facts.first, facts.last, checkpoint)


def margin_of(first: int, last: int, checkpoint) -> float:
    """The same by the positions of the first and the last record of a log."""
    return (checkpoint.position + 1 - first) / max(1, last + 1 - first)


def refusal_of_writes(cell: str, facts: LogFacts, seen, limits: Limits = Limits()) -> str | None:
    """Why no API write may be taken into the log of a cell now; None if it may. ``seen`` are its Checkpoints."""
    if facts.why_closed is not None:
        return f"the log of {cell} takes no API writes: {facts.why_closed}"
    if facts.level < StateKept.LEVEL:
        return (
            f"the log of {cell} is at level {facts.level}, and API writes need level {StateKept.LEVEL}; upgrade all "
            "services, and pin it (nova-sched pin)"
        )
    if seen.newest is None:
        return (
            f"the log of {cell} has no complete checkpoint yet, so an API write could be lost; see that "
            f"{'a scheduler' if cell == CELL0 else f'a conductor of {cell}'} runs, which writes one"
        )
    if facts.is_cut_by_policy:
        share = margin(facts, seen.newest)
        if share <= 0.0 or (share < limits.refuse and seen.bytes >= limits.floor_bytes):
            return (
                f"the newest checkpoint of {cell} is of the oldest {max(share, 0.0):.0%} of its log, so the broker may "
                "remove records that it does not have; see that its conductors write checkpoints, or raise the "
                "retention of the log"
            )
    return None


class CheckpointDuty:
    """What one process has to write of the checkpoints of one log."""

    def __init__(self, cell: str, producer: str, limits: Limits = Limits()):
        self.cell = cell
        self.limits = limits
        self._producer = producer
        self._spread = SPREAD * (zlib.crc32(f"{cell} {producer}".encode()) % 1000) / 1000
        self._due_since = None
        self._not_before = float("-inf")
        #: The part that came last, and when it was first noticed.
        self._part, self._part_at = None, float("-inf")
        #: The position at which the newest one was last named, and when that was first noticed.
        self._named_at, self._named_seen = None, None
        self._is_warned = False

    def failed(self, now: float) -> None:
        """An attempt failed: the next one is not at once."""
        self._not_before = now + RETRY_AFTER

    def is_anothers_under_way(self, now: float, seen) -> bool:
        """Whether another process writes a checkpoint now."""
        if seen.last_part != self._part:
            self._part, self._part_at = seen.last_part, now
        if self._part is None:
            return False
        producer, _, parts, of = self._part
        return producer != self._producer and parts < of and now - self._part_at < ANOTHER_WITHIN

    def due(self, now: float, now_ns: int, seen, facts: LogFacts) -> str | None:
        """Why a checkpoint is to be begun now; None if none is. Of several processes one is a little earlier than the
        others, which then see its parts in the log."""
        under_way = self.is_anothers_under_way(now, seen)
        why = None
        if facts.why_closed is None and facts.level >= StateKept.LEVEL and not under_way:
            why = self._why(now_ns, seen, facts)
        if why is None:
            self._due_since = None
            return None
        if self._due_since is None:
            self._due_since = now
        return why if now >= max(self._due_since + self._spread, self._not_before) else None

    def _why(self, now_ns, seen, facts):
        limits, newest = self.limits, seen.newest
        if newest is None:
            return "the log has none"
        if facts.is_cut_by_policy and seen.bytes >= limits.floor_bytes:
            share = margin(facts, newest)
            if share < limits.renew:
                return f"the last one is of the oldest {max(share, 0.0):.0%} of the log"
        if not seen.others:
            return None
        age_s = (now_ns - newest.at_ns) / 1e9
        if age_s >= limits.every_s:
            return f"the last one is {spelled(age_s)} old"
        if seen.records >= limits.every_records:
            return f"{number_of(seen.records, 'record')} came since the last one"
        if seen.bytes >= limits.every_bytes:
            return f"{number_of(seen.bytes, 'byte')} came since the last one"
        return None

    def is_naming_due(self, now: float, seen, facts: LogFacts) -> bool:
        """Whether the newest checkpoint is to be named now. Call :meth:`named` then."""
        if seen.newest is None or facts.why_closed is not None or facts.level < StateKept.LEVEL:
            return False
        if self._named_seen is None or seen.named_at != self._named_at:
            self._named_at, self._named_seen = seen.named_at, now
        if seen.records_since_named >= NAME_RECORDS and now - self._named_seen >= 1.0:
            return True
        return bool(seen.records_since_named) and now - self._named_seen >= NAME_SECONDS

    def named(self, now: float) -> None:
        """The newest one is named, or will be in a moment."""
        self._named_seen = now

    def warning(self, seen, facts: LogFacts) -> str | None:
        """What to log about the margin, once each time that it shrinks; else None."""
        if not facts.is_cut_by_policy or seen.newest is None or seen.bytes < self.limits.floor_bytes:
            self._is_warned = False
            return None
        share = margin(facts, seen.newest)
        was, self._is_warned = self._is_warned, share < self.limits.warn
        if was or not self._is_warned:
            return None
        return (
            f"the newest checkpoint of {self.cell} is of the oldest {max(share, 0.0):.0%} of its log, of which the "
            f"broker removes records by a policy: below {self.limits.refuse:.0%} no API writes are taken; see that its "
            "conductors write checkpoints, or raise the retention of the log"
        )
