"""The writes and fences of a worker that are under way in a log, and the requests that wait for them."""

import contextlib
import itertools
import logging
from collections.abc import Iterator
from concurrent.futures import Future

from nova_sched.projection.projection import Projection
from placement_api.http_errors import BadRequest, TooLarge, Unavailable
from rpc_api import errors
from rpc_api.feed.publisher import Producer

LOG = logging.getLogger(__name__)

#: (Epoch of the producer, sequence) of an event.
Mark = tuple[int, int]


class UnderWay:
    """The writes of one producer to the log of ``cell``. Call all of it under the lock of the fold."""

    def __init__(self, cell: str, producer: str):
        self._cell = cell
        self._producer = producer
        self._waiting: dict[Mark, Future] = {}
        #: Mark -> when it was appended, in the order of the marks.
        self._since: dict[Mark, float] = {}
        #: Number of a fence -> when it began.
        self._fences: dict[int, float] = {}
        self._numbers = itertools.count()

    @property
    def oldest(self) -> float | None:
        """When the oldest write or fence began, None if there is none. May be called without the lock."""
        if not self._since and not self._fences:
            return None
        return min((*list(self._since.values())[:1], *list(self._fences.values())[:1]), default=None)

    @contextlib.contextmanager
    def fence(self, now: float) -> Iterator[None]:
        """A fence is under way. It needs no lock."""
        number = next(self._numbers)
        self._fences[number] = now
        try:
            yield
        finally:
            del self._fences[number]

    def __len__(self) -> int:
        return len(self._waiting)

    def publish(self, producer: Producer, event, now: float) -> tuple[Mark, Future]:
        """Append an event; returns its mark and a Future for its outcome (Written), which may get Unavailable.
        TooLarge and BadRequest for an event that no log takes, Unavailable if this log takes none."""
        try:
            producer.publish(event)
        except errors.TooLarge as fault:
            raise TooLarge(f"The request is too large for one record of the log: {fault}") from None
        except errors.InvalidEvent as fault:
            raise BadRequest(f"The request cannot be recorded: {fault}") from None
        except errors.NovaSchedError as fault:
            LOG.warning("the log of %s takes no write: %s", self._cell, fault)
            raise Unavailable(f"The log of {self._cell} takes no write now; try again later.") from None
        mark, outcome = (producer.epoch, producer.sequence), Future()
        self._since[mark], self._waiting[mark] = now, outcome
        return mark, outcome

    def forget(self, mark: Mark) -> None:
        """Nobody waits for an event any more."""
        self._waiting.pop(mark, None)
        self._since.pop(mark, None)

    def keep_own(self, projection: Projection) -> None:
        """Of the outcomes of a projection that nobody sees yet, keep those of this producer, to be settled later."""
        projection.writes = [written for written in projection.writes or () if written.producer == self._producer]

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
