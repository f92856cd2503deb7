"""The writes of a worker that are appended to a log and not folded yet, and the requests that wait for them; and
whether a log takes any."""

import logging
from concurrent.futures import Future

from nova_sched.projection.projection import Projection
from placement_api.http_errors import Unavailable

LOG = logging.getLogger(__name__)

#: Seconds after which it is logged that no writes are taken: at a start it is so for a moment.
LASTS_SECONDS = 10.0

#: (Epoch of the producer, sequence) of an event.
Mark = tuple[int, int]


class Refusals:
    """Logs that API writes are not taken into the log of ``cell`` when this lasts, and when it is over."""

    def __init__(self, cell: str):
        self._cell = cell
        self._since: float | None = None
        self._logged: str | None = None

    def look(self, why: str | None, now: float) -> None:
        """Note why none are taken at a time (monotonic, in seconds); None if they are."""
        if why is None:
            if self._logged is not None:
                LOG.warning("API writes are taken into the log of %s again", self._cell)
            self._since = self._logged = None
            return
        self._since = now if self._since is None else self._since
        if why != self._logged and now - self._since >= LASTS_SECONDS:
            self._logged = why
            LOG.warning("API writes are not taken: %s", why)


class UnderWay:
    """The writes of one producer to the log of ``cell``. Call all of it under the lock of the fold."""

    def __init__(self, cell: str, producer: str):
        self._cell = cell
        self._producer = producer
        self._waiting: dict[Mark, Future] = {}
        #: Mark -> when it was appended, in the order of the marks.
        self._since: dict[Mark, float] = {}

    @property
    def oldest(self) -> float | None:
        """When the oldest one was appended, None if there is none. May be called without the lock."""
        return next(iter(list(self._since.values())), None)

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, mark: Mark, now: float) -> Future:
        """A Future for the outcome (Written) of the event with a mark. It may get Unavailable."""
        self._since[mark] = now
        self._waiting[mark] = outcome = Future()
        return outcome

    def forget(self, mark: Mark) -> None:
        """Nobody waits for an event any more."""
        self._waiting.pop(mark, None)
        self._since.pop(mark, None)

    def settle(self, projection: Projection) -> None:
        """Give the outcomes of the writes that are folded to those who wait for them, and take them out."""
        for written in projection.writes or ():
            if written.producer == self._producer:
                outcome = self._waiting.pop((written.producer_epoch, written.sequence), None)
                if outcome is not None:
                    outcome.set_result(written)
        projection.writes = []
        known = projection.producers.get(self._producer)
        if known is not None:
            # Folded without an outcome: a checkpoint or snapshot was used in place of this part of the log.
            for mark in [mark for mark in self._waiting if mark <= known]:
                self._waiting.pop(mark).set_exception(self._unknown("its log was read again"))

    def give_up(self, why: str) -> None:
        """Tell all who wait that the outcome of their write is not known."""
        for outcome in self._waiting.values():
            if not outcome.done():
                outcome.set_exception(self._unknown(why))
        self._waiting.clear()

    def _unknown(self, why: str) -> Unavailable:
        return Unavailable(
            f"Whether the write to {self._cell} counts is not known, as {why}; read the state before you repeat it"
        )
