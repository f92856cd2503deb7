"""The notes that a fold returns beside the state."""

from typing import NamedTuple


class Noted(NamedTuple):
    """Something that an operator or a conductor should know; ``host`` is None if it is not about a host.

    ``kind`` is stable: a divergence (``vanished``, ``unclaimed-start``, ...), ``digest-mismatch``, ``unknown-host``,
    ``stray-use``, ``closed-provider``, ``sequence-gap``, ``stale-epoch``, ``rebased``, ``pinned``; ``resync``: the
    agent of the host should report in full.
    """

    position: int
    kind: str
    host: str | None
    detail: str
    resync: bool = False
