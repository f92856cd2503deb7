"""What changed on the hosts of one cell, in order: the state at any position is there without a fold.

One thread writes; others read at the same time. A segment only grows, and a reader looks at the part of it that was
complete when it began.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from nova_sched.page.frame import ABSENT, Frame

#: Changes in one segment. A look back copies the frame at the beginning of a segment, and applies this many at most.
SEGMENT = 16_384
#: Columns of a change before the amounts: position, time (which never goes back), host, status, instances, and the time
#: of the record.
HEAD = 6
FIRST_HOSTS = 64


class Change(NamedTuple):
    """A host after a record: its number, status, instances, and ``amounts``: used of each class, then capacity."""

    host: int
    status: int
    instances: int
    amounts: list


class Segment:
    """Changes that follow each other, and the ``frame`` before the first one. ``count`` is how many are complete."""

    def __init__(self, frame: Frame, position: int, at_ns: int, classes: int, size: int):
        self.frame = frame
        #: The last position and time before its first change.
        self.position = position
        self.at_ns = at_ns
        self.classes = classes
        self.rows = np.zeros((size, HEAD + 2 * classes), np.int64)
        self.count = 0

    def at(self, count: int) -> Frame:
        """Return the frame after the first ``count`` changes."""
        rows = self.rows[:count]
        hosts = rows[:, 2]
        highest = int(hosts.max(initial=-1)) + 1
        frame = self.frame.grown(max(self.classes, len(self.frame.used)), max(highest, len(self.frame.status)))
        # Of a host that changed several times, the last change counts.
        frame.status[hosts] = rows[:, 3]
        frame.instances[hosts] = rows[:, 4]
        frame.used[: self.classes, hosts] = rows[:, HEAD : HEAD + self.classes].T
        frame.capacity[: self.classes, hosts] = rows[:, HEAD + self.classes :].T
        return frame


class Place(NamedTuple):
    """The state after a record: its position and time (0: not known), and where its changes end."""

    position: int
    at_ns: int
    segment: Segment
    count: int


class Tape:
    """The changes of one cell, the last ``most`` of them at least. ``names`` are the hosts by their numbers; a host
    that is removed keeps its number."""

    def __init__(self, most: int, segment: int = SEGMENT):
        self.names = []
        self._numbers = {}
        self._size = min(segment, max(1, most))
        self._most = max(1, -(-most // self._size))
        self._now = Frame.empty(0, FIRST_HOSTS)
        self._classes = 0
        self._position, self._at_ns, self._record_ns = -1, 0, 0
        #: The time of its first record; 0 before that.
        self.begin_ns = 0
        #: Replaced as a whole, never changed: readers take it once.
        self._segments = (self._fresh(),)

    # --- writing -----------------------------------------------------------------------------------------------------

    def number_of(self, name: str) -> int:
        """Return the number of a host, which is given one if it has none."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number

    def find(self, name: str) -> int | None:
        """Return the number of a host; None if there was never one of that name."""
        return self._numbers.get(name)

    def append(self, position: int, at_ns: int, changes) -> None:
        """Note the Changes of a record of a time. For looks by time, one that goes back counts as the last one."""
        self._record_ns = at_ns
        self._position, self._at_ns = position, max(at_ns, self._at_ns)
        self.begin_ns = self.begin_ns or self._at_ns
        for change in changes:
            self._append(change)

    def start(self, position: int, at_ns: int, changes) -> None:
        """Begin with the hosts of a state; what was before is not known."""
        self.append(position, at_ns, changes)
        self._segments = (self._fresh(),)

    def _append(self, change):
        classes = len(change.amounts) // 2
        hosts = len(self._now.status)
        if classes > self._classes or change.host >= hosts:
            self._classes = max(classes, self._classes)
            while hosts <= change.host:
                hosts *= 2
            self._now = self._now.grown(self._classes, hosts)
        segment = self._segments[-1]
        if segment.classes != classes or segment.count == len(segment.rows):
            segment = self._fresh(classes)
            self._segments = (*self._segments[-self._most :], segment)
        segment.rows[segment.count] = (
            self._position,
            self._at_ns,
            change.host,
            change.status,
            change.instances,
            self._record_ns,
            *change.amounts,
        )
        now = self._now
        now.status[change.host], now.instances[change.host] = change.status, change.instances
        now.used[:classes, change.host] = change.amounts[:classes]
        now.capacity[:classes, change.host] = change.amounts[classes:]
        # Last, because a reader looks at complete changes only.
        segment.count += 1

    def _fresh(self, classes: int = 0):
        before = self._now.cut(self._classes, len(self.names)).copy()
        return Segment(before, self._position, self._at_ns, classes, self._size if classes else 1)

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def first(self) -> Place:
        """The earliest state that is still there."""
        segment = self._segments[0]
        return Place(segment.position, segment.at_ns, segment, 0)

    @property
    def last(self) -> Place:
        """The present state."""
        segment = self._segments[-1]
        return Place(self._position, self._at_ns, segment, segment.count)

    def time_of(self, position: int) -> int | None:
        """Return the time of the record at a position; None if it changed no host, or is not there any more."""
        place = self.before(position)
        if place is None or place.position != position or not place.count:
            return None
        return int(place.segment.rows[place.count - 1, 5]) or None

    def before(self, position: int) -> Place | None:
        """Return the state after the record at a position; None if that is before the first state."""
        return self._look(position, 0)

    def until(self, at_ns: int) -> Place | None:
        """Return the state at a time; None if that is before the first state."""
        return self._look(at_ns, 1)

    def _look(self, value, column):
        segments = self._segments
        begins = [(segment.position, segment.at_ns)[column] for segment in segments]
        index = bisect_right(begins, value) - 1
        if index < 0:
            # A log that was read from its first record on had no host before it.
            return None if segments[0].position >= 0 else Place(-1, 0, segments[0], 0)
        segment = segments[index]
        count = int(np.searchsorted(segment.rows[: segment.count, column], value, "right"))
        if not count:
            return Place(segment.position, segment.at_ns, segment, 0)
        return Place(int(segment.rows[count - 1, 0]), int(segment.rows[count - 1, 1]), segment, count)

    def frame(self, place: Place) -> Frame:
        """Return the Frame of a Place."""
        return place.segment.at(place.count)


def absent(classes: int, host: int) -> Change:
    """Return the Change of a host that is not there any more."""
    return Change(host, ABSENT, 0, [0] * (2 * classes))
