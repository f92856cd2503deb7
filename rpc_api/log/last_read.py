"""The records by which a reader knows its log again.

A log may lose its last records, keep its epoch and grow again, also to the very position of a reader. One record does
not show that: a producer whose append was not confirmed appends the same bytes again, and they may return to their old
position behind other records. So a reader compares as many as a proof names (:mod:`rpc_api.proof`).
"""

from collections import deque
from collections.abc import Sequence

from rpc_api import errors
from rpc_api.log.port import Record
from rpc_api.proof import RECORDS


class LastRead:
    """The last records before the position of a reader of the log at ``url``. ``hash`` of a payload is enough within
    one process, and most payloads have it already."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._records: deque[tuple[int, int]] = deque(maxlen=RECORDS)
        #: Those that have to come again before the log is known to be the same.
        self._awaited: deque[tuple[int, int]] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether none is known."""
        return not self._records

    @property
    def awaits_some(self) -> bool:
        """Whether some have not come again."""
        return bool(self._awaited)

    def from_position(self, position: int) -> int:
        """From where a reader at a position reads the log to meet them, or to learn them when it is opened."""
        return self._records[0][0] if self._records else position - RECORDS

    def add(self, position: int, payload: bytes) -> None:
        """The next record was read."""
        self._records.append((position, hash(payload)))

    def add_all(self, records: Sequence[Record]) -> None:
        """The next records were read."""
        for record in records[-RECORDS:]:
            self.add(record.position, record.payload)

    def expect(self, first: int) -> None:
        """From here on they come again, from the first record of the log on: those before it were removed."""
        self._awaited = deque(known for known in self._records if known[0] >= first)

    def see(self, position: int, payload: bytes) -> None:
        """A record before the position of the reader comes. LogGap if it is not the one that was read before."""
        if not self._awaited:
            if not self._records or position > self._records[-1][0]:
                self.add(position, payload)
            return
        if self._awaited.popleft() != (position, hash(payload)):
            raise errors.LogGap(
                f"cannot read the log {self._url} on from position {self._records[-1][0] + 1}: the record {position} "
                "is not the one that was read before, so the log lost its last records and has grown again, or was "
                "re-created; rebuild from a snapshot that fits it"
            )
