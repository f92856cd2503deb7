"""What waits to be published: the newest state of each object, in the order of their last changes.

A later record of an object replaces one that waits. So a long outage costs memory for each object, not for each call,
and a tap reads no old states after it. If there are too many nevertheless, the oldest are dropped, and the tap gets
their number.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from compute_agent.nova_notifier.records import Lost, Record, merged
from nova_sched.nova_objects.names import NODE, SERVICE

OBJECTS_MAX = 10_000
BYTES_MAX = 32 * 1024 * 1024
#: Seconds after which a compute node is published again with a heartbeat. Nova saves it only when it changes.
REPEAT = 120.0

Item = tuple[Hashable | None, Record | Lost]


class Outbox:
    """For one writer or several, and one reader. All times are monotonic seconds."""

    def __init__(self, host: str, objects_max: int = OBJECTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._host = host
        self._objects_max, self._bytes_max = objects_max, bytes_max
        self._waiting: OrderedDict[Hashable, Record] = OrderedDict()
        self._bytes = 0
        #: Records that were dropped since the tap got their number; None if it need not get it.
        self._dropped: int | None = 0
        #: Compute nodes, and when each was put here last.
        self._nodes: dict[Hashable, tuple[Record, float]] = {}
        self._changed = threading.Condition()

    def put(self, key: Hashable, record: Record, now: float) -> None:
        """Add a record of the object ``key``. Never waits for the reader."""
        with self._changed:
            self._put(key, record)
            if record.name == NODE:
                self._keep(key, record, now)
            elif record.name == SERVICE:
                self._repeat([key for key, (_, at) in self._nodes.items() if now - at >= REPEAT], now)
            self._changed.notify()

    def put_nodes_again(self, now: float) -> None:
        """Add all compute nodes: the tap may have lost what was published before."""
        with self._changed:
            self._repeat(list(self._nodes), now)
            self._changed.notify()

    def first(self, timeout: float | None = None) -> Item | None:
        """What is to be published next; it stays until :meth:`done`. Waits for it; None after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                return None
            if self._dropped is not None:
                return None, Lost(self._host, self._dropped)
            return next(iter(self._waiting.items()))

    def done(self, item: Item) -> None:
        """The item is published. What came in its place meanwhile stays."""
        key, published = item
        with self._changed:
            if isinstance(published, Lost):
                self._dropped = None if self._dropped == published.dropped else self._dropped
            elif self._waiting.get(key) is published:
                self._take(key)

    def __len__(self) -> int:
        return len(self._waiting)

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _put(self, key, record):
        earlier = self._take(key) if key in self._waiting else None
        if earlier is not None:
            record = merged(earlier, record)
        self._waiting[key] = record
        self._bytes += record.size
        while len(self._waiting) > self._objects_max or self._bytes > self._bytes_max:
            self._take(next(iter(self._waiting)))
            self._dropped = (self._dropped or 0) + 1

    def _take(self, key):
        record = self._waiting.pop(key)
        self._bytes -= record.size
        return record

    def _keep(self, key, record, now):
        known = self._nodes.pop(key, None)
        if record.method != "destroy":
            whole = record if known is None else merged(known[0], record)
            self._nodes[key] = whole._replace(method="save", changed=frozenset()), now

    def _repeat(self, keys, now):
        for key in keys:
            node = self._nodes[key][0]
            self._nodes[key] = node, now
            self._put(key, node)
