"""Random draws that depend only on the request, so that a replay draws the same."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from nova_sched.projection.table import HostTable

_MASK = 2**64 - 1
#: Number of places that are drawn one by one before the rest is sorted.
FEW = 8

#: Numbers of hosts in all draws.
Keys = npt.NDArray[np.uint64]


def seed_of(request_id: str, instance_uuid: str) -> int:
    """The seed of one instance's decision, 52 bits."""
    return int.from_bytes(blake2b(f"{request_id}/{instance_uuid}".encode(), digest_size=8).digest(), "big") >> 12


@lru_cache(maxsize=2**18)
def key_of(uuid: str) -> int:
    """The number of a host in all draws, 64 bits. It depends on the host and not on its row: in a process that read
    the logs of several cells in another order, or started from a snapshot, the host has another row."""
    return int.from_bytes(blake2b(uuid.encode(), digest_size=8).digest(), "big")


def host_keys(table: HostTable) -> Keys:
    """:func:`key_of` each provider (uint64, shape [rows]); 0 for unused rows."""
    return table.derived("keys", lambda: np.array([key_of(uuid) if uuid else 0 for uuid in table.uuids], np.uint64))


def draw(seed: int, attempt: int, count: int) -> int:
    """A number from 0 to ``count`` - 1; each attempt draws another one."""
    return _mixed(seed, attempt) % count


def _mixed(seed: int, attempt: int) -> int:
    """64 bits that look like chance (splitmix64)."""
    state = (seed + (attempt + 1) * 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def drawn(keys: Keys, seed: int, attempt: int) -> Iterator[int]:
    """Yield the places of ``keys`` (uint64) in an order that is drawn for each seed and attempt."""
    left = len(keys)
    if left == 1:
        yield 0
        return
    lots = keys * np.uint64(_mixed(seed, attempt) | 1)
    if left > 2 * FEW:
        for _ in range(FEW):
            least = int(lots.argmin())
            yield least
            lots[least] = _MASK
        left -= FEW
    yield from np.argsort(lots, kind="stable")[:left].tolist()
