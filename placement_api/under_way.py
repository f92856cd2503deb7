"""The writes of a worker that are under way in a log, and the requests that wait for them."""

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from nova_sched.projection.projection import Projection
from placement_api.http_errors import BadRequest, HTTPError, OutcomeUnknown, TooLarge, Unavailable
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

    @property
    def oldest(self) -> float | None:
        """When the oldest write began, None if there is none. May be called without the lock."""
        return next(iter(list(self._since.values())[:1]), None) if self._since else None

    def is_among_first(self, mark: Mark, count: int) -> bool:
        """Whether a write is one of the oldest ones. May be called without the lock."""
        return mark in list(self._since)[:count]

    def __len__(self) -> int:
        return len(self._waiting)

    def publish(self, producer: Producer, events: Iterable[Any], now: float) -> dict[Mark, Future]:
        """Append some events; returns for the mark of each a Future for its outcome (Written), which may get
        Unavailable. TooLarge and BadRequest for an event that no log takes, Unavailable if this log takes none."""
        published: dict[Mark, Future] = {}
        try:
            for event in events:
                mark = self._append(producer, event)
                self._since[mark], self._waiting[mark] = now, Future()
                published[mark] = self._waiting[mark]
        except HTTPError:
            self.forget(published)
            raise
        return published

    def _append(self, producer: Producer, event) -> Mark:
        try:
            producer.publish(event)
        except errors.TooLarge as fault:
            raise TooLarge(f"The request is too large for one record of the log: {fault}") from None
        except errors.InvalidEvent as fault:
            raise BadRequest(f"The request cannot be recorded: {fault}") from None
        except errors.NovaSchedError as fault:
            LOG.warning("the log of %s takes no write: %s", self._cell, fault)
            raise Unavailable(f"The log of {self._cell} takes no write now; try again later.") from None
        return producer.epoch, producer.sequence

    def forget(self, marks: Iterable[Mark]) -> None:
        """Nobody waits for some events any more."""
        for mark in marks:
            self._waiting.pop(mark, None)
            self._since.pop(mark, None)

    def keep_own(self, projection: Projection) -> None:
        """Of the outcomes of a projection that nobody sees yet, keep those of this producer, to be settled later."""
        projection.writes = [written for written in projection.writes or () if written.producer == self._producer]

    def settle(self, projection: Projection) -> None:
        """Give the outcomes of the writes that are folded to those who wait for them, and take them out."""
        for written in projection.writes or ():
            if written.producer == self._producer:
                mark = written.producer_epoch, written.sequence
                outcome = self._waiting.get(mark)
                if outcome is not None:
                    # (In this order: who finds that its write is not under way any more has its outcome.)
                    outcome.set_result(written)
                    self.forget((mark,))
        projection.writes = []
        known = projection.producers.get(self._producer)
        if known is not None:
            # Folded without an outcome: a checkpoint or snapshot was used in place of this part of the log.
            for mark in [mark for mark in self._waiting if mark <= known]:
                self._waiting[mark].set_exception(self._unknown("its log was read again"))
                self.forget((mark,))

    def give_up(self, why: str) -> None:
        """Tell all who wait that the outcome of their write is not known."""
        for outcome in self._waiting.values():
            if not outcome.done():
                outcome.set_exception(self._unknown(why))
        self._waiting.clear()
        self._since.clear()

    def _unknown(self, why: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"Whether the write to {self._cell} counts is not known, as {why}; read the state before you repeat it"
        )
