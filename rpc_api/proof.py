"""Proof that a snapshot or a checkpoint belongs to the log that is there now.

A log may lose its last records, keep its epoch and grow again: after a power cut a broker does not have all records
that it confirmed. Then epoch and position do not prove that two states have the same history. The records do: a proof
is a tuple of (position, digest of the payload) of the last records that were folded, oldest first. It holds for a log
that has exactly these records at these positions. It names several records, because a producer whose append was not
confirmed appends the same bytes again: one record alone may return to its old position after another history.
:mod:`rpc_api.log.proving` compares a proof with a log.
"""

from collections import deque
from hashlib import blake2b

#: (position, digest of the payload) of each record that it names, oldest first.
Proof = tuple[tuple[int, bytes], ...]

#: Records that a proof names, at most.
RECORDS = 16


def record_digest(payload: bytes) -> bytes:
    """16 bytes over a record as it is in the log: the same in each back-end and each process."""
    return blake2b(payload, digest_size=16).digest()


class Trail:
    """The last records that were folded, after those of a ``proof``: () for a state that begins with the log, None for
    a state whose log is not known. Digests are computed only when a proof is made."""

    def __init__(self, proof: Proof | None = ()) -> None:
        self._before = proof
        self._records: deque[tuple[int, bytes | None]] = deque(maxlen=RECORDS)
        #: ``add((position, payload))`` notes the record that was folded last; the payload is None if it is not known.
        self.add = self._records.append

    def proof(self) -> Proof:
        """(position, digest) of each record, oldest first; () if one of them is not known."""
        if self._before is None:
            return ()
        folded = []
        for position, payload in self._records:
            if payload is None:
                return ()
            folded.append((position, record_digest(payload)))
        return (*self._before, *folded)[-RECORDS:]
