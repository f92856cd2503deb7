"""The interface of a service to its process."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rpc_api import errors

if TYPE_CHECKING:
    # These bring oslo's libraries, which may only be imported once the concurrency mode is chosen.
    from nova_sched.process.monitoring.families import Sample
    from nova_sched.process.monitoring.followed import FollowedLog
    from nova_sched.process.monitoring.pulse import Pulse


class Remaining:
    """A time limit that several steps share."""

    def __init__(self, seconds: float):
        self._ends_at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._ends_at - time.monotonic())


class Service(abc.ABC):
    """The interface of a service to its process."""

    #: Port for metrics and health of this kind of service.
    MONITORING_PORT: int

    @abc.abstractmethod
    def start(self) -> None:
        """Start, and return when the service serves; NovaSchedError if it cannot."""

    @abc.abstractmethod
    def serves(self) -> str:
        """Return what the service serves, for the "is ready" line of the log."""

    @abc.abstractmethod
    def drain(self, timeout: float) -> bool:
        """Take no more calls, finish calls in flight and append waiting events, in about ``timeout`` seconds.

        Return whether nothing was left. It is also called after a start that failed."""

    @abc.abstractmethod
    def report(self) -> dict:
        """Return facts about the present state for the operator (may be slow, may raise)."""

    def reload(self) -> None:
        """Apply changed options. If they are wrong, raise NovaSchedError and keep the old ones."""

    # --- what it shows of itself: see Shown in monitoring/monitor.py ------------------------------------------------

    def monitoring_port(self, configured: int | None) -> int:
        """Return the port for its metrics and health, if ``configured`` is in the configuration (or None)."""
        return configured or self.MONITORING_PORT

    def pulses(self) -> Iterable[Pulse]:
        """Return the pulses of the loops without which it does nothing."""
        return ()

    def followed(self) -> Iterable[FollowedLog]:
        """Return the logs that it folds."""
        return ()

    def samples(self) -> Iterable[Sample]:
        """Return samples of its own."""
        return ()

    def why_not_ready(self) -> Iterable[str]:
        """Return a sentence for each reason why it cannot do its work now. It is called after the start only."""
        return ()

    def look(self) -> None:
        """Ask for what cannot be known without waiting; called from time to time in a thread of its own."""

    @property
    def fault(self) -> errors.NovaSchedError | None:
        """The reason why the service cannot continue (the process then ends), or None."""
        return None
