"""The outcome of a write of Placement's API."""

from typing import NamedTuple

from nova_sched.projection.reason import Reason
from rpc_api.codec import SetAside


class Written(NamedTuple):
    """The outcome of a write of Placement's API at its position: the mark of its event (``producer``,
    ``producer_epoch``, ``sequence``), the ``reason`` why it was refused or set aside (None: it was not), and the
    ``generation`` that the provider in it has after it (None: it names none, or there is none)."""

    position: int
    producer: str
    producer_epoch: int
    sequence: int
    reason: Reason | SetAside | None
    generation: int | None
