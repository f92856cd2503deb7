"""What a fold has to say beside the state."""

from typing import NamedTuple


class Noted(NamedTuple):
    """Something a person or a conductor should know; ``host`` is None where it is about no host.

    ``kind`` is stable: a divergence (``vanished``, ``unclaimed-start``, ...), ``digest-mismatch``, ``unknown-host``,
    ``sequence-gap``, ``stale-epoch``, ``rebased``; ``resync`` says that the host's agent should report in full.
    """

    position: int
    kind: str
    host: str | None
    detail: str
    resync: bool = False
