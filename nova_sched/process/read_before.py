"""What a process knows of a log that it has read: how it recognises the log when it is opened again."""

import uuid
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager

from nova_sched.projection import snapshot
from rpc_api import errors
from rpc_api.clock import Clock
from rpc_api.events.cloud import StateKept
from rpc_api.feed.epoch import Opening, ensure_open, opening_in, opening_of
from rpc_api.log import EventLog, open_log, proving

#: Records by which a reader knows its log when it reads it again. A longer loss is reported as at least so long.
LOOK_BACK = 10_000


def log_is_gone(cell: str, found: str) -> errors.LogGone:
    """The error for a log that this process knew at level 3, and that is ``found`` to be gone. It may have had what
    only the API wrote: an empty log in its place would look as if nothing was held."""
    return errors.LogGone(
        f"the log of {cell} is gone ({found}), and may have had API writes: it stays closed, and no service begins it "
        "again; restore its backup (nova-sched restore), or, if there is none, create it (nova-sched create-log), and "
        "restart all services that knew it"
    )


class KnownLog:
    """The log of a cell as this process knows it: its epoch, and the highest level that was seen in it."""

    def __init__(self):
        self.epoch = None
        self._level = 1

    def begin(self, epoch: str | None) -> None:
        """The log of an epoch is read: this one again, or another one in its place, which was let pass."""
        self.epoch = epoch

    def see(self, level: int) -> None:
        """The log has a level."""
        self._level = max(self._level, level)

    @property
    def is_record(self) -> bool:
        """Whether the log may have what nobody reports again: no service may begin it again."""
        return self._level >= StateKept.LEVEL

    def open(self, cell: str, url: str, create: bool = True) -> EventLog:
        """The open log of a URL, which is created (``create``) if it does not exist. Raises as ``open_log``, and
        LogGone if nobody may begin it again."""
        with self._what_is_missing(cell):
            return open_log(url, create and not self.is_record)

    def opening_in(
        self, log: EventLog, cell: str, producer: str, clock: Clock, new_uuid: Callable[[], object] = uuid.uuid4
    ) -> Opening:
        """How an open log begins; an empty one gets its first record, as by ``ensure_open``. Raises as that, and
        LogGone if nobody may begin this log again, and the open one is another one."""
        if not self.is_record:
            return ensure_open(log, cell, producer, clock, new_uuid)
        opening = opening_in(log, cell)
        self._check(cell, opening)
        return opening

    def look(self, log: EventLog, cell: str) -> None:
        """Raise LogGone unless an open log is this one, or takes its place; writes nothing."""
        with self._what_is_missing(cell):
            opening = opening_of(log)
        self._check(cell, opening)

    @contextmanager
    def _what_is_missing(self, cell):
        """In the block a log is opened or read. Say what it means if nobody may begin it again, and it is not there."""
        try:
            yield
        except (errors.LogGone, errors.UsageError) as fault:
            if not self.is_record:
                raise
            is_gone = isinstance(fault, errors.LogGone)
            found = "it does not exist any more" if is_gone else "what is in its place is not a log"
            raise log_is_gone(cell, found) from fault

    def _check(self, cell, opening):
        """It may be the log itself, with all or a part of its records, or a restored one."""
        if not self.is_record or (opening is not None and (opening.epoch == self.epoch or opening.is_restored)):
            return
        found = "an empty log" if opening is None else f"a log of epoch {opening.epoch}"
        raise log_is_gone(cell, f"{found} is in its place, wanted epoch {self.epoch}")


class ReadBefore:
    """The last records that this process knows of a log, by which it recognises the log. ``hash`` of a payload is
    enough within one process, and costs next to nothing for each record."""

    def __init__(self):
        #: The KnownLog that they are of.
        self.log = KnownLog()
        self._proof = ()
        self._records = deque(maxlen=LOOK_BACK)

    def begin(self, epoch, packed) -> None:
        """The log of an epoch is read from a snapshot on, or (None) from its first record."""
        head = None if packed is None else snapshot.head_of(packed)
        self.log.begin(epoch)
        self.log.see(1 if head is None else head.level)
        self._proof = () if head is None else head.proof
        self._records.clear()

    def add(self, records) -> None:
        """Records (position, DecodedRecord) came."""
        self._records.extend([(position, hash(record.payload)) for position, record in records])

    def lost(self, log, bounds, epoch):
        """What a log of an epoch lost of them at its end: a Loss or None."""
        if epoch != self.log.epoch:
            return None
        loss = proving.lost(log, bounds, list(self._records), hash)
        if not self._proof or (self._records and (loss is None or loss.certain)):
            return loss
        earlier = proving.lost(log, bounds, self._proof)
        if loss is None or (earlier is None and self._proof[-1][0] < bounds.first):
            return earlier or loss
        kept, certain = (self._proof[-1][0], True) if earlier is None else (earlier.kept, earlier.certain)
        return proving.Loss(kept, loss.kept + loss.positions - kept, certain)
