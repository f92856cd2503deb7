"""A cell's log as a service uses it: it appends, it follows, and it reads the log again if that does not go on."""

import functools
import logging
import threading
import uuid

from nova_sched.process.checkpoints import Checkpoints, newest_in, reason_against
from nova_sched.process.read_before import KnownLog, ReadBefore
from nova_sched.process.snapshot_store import check_fits, keep_newest, proven_by_marks
from nova_sched.projection import snapshot
from nova_sched.projection.beginning import Beginning
from rpc_api import concurrency, errors
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import may_begin
from rpc_api.feed.follower import Follower
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.log import proving
from rpc_api.log.checks import mask_password

LOG = logging.getLogger(__name__)

#: Seconds between two looks for a snapshot that is wanted.
LOOK_PAUSE = 5.0
#: Seconds for a read that is under way when the service stops. The close of the log ends one from a hanging broker.
READ_SECONDS = 2.0

#: Role -> what to do if two processes have one name.
_REMEDIES = {"placement": "give all workers of a machine one [placement_api] state_dir, and each machine its own name"}


class CellLog:
    """Calls ``deliver(kind, content)`` from its own thread, with ``"begin"`` and a Beginning, ``"records"``
    and a Batch (then call :meth:`taken`), or ``"fault"`` and a NovaSchedError or None: see
    :class:`~rpc_api.feed.follower.Follower`. ``store`` is a SnapshotStore or None, and ``accounts_required`` what is
    configured for the log.
    """

    def __init__(
        self, cell: str, url: str, producer_name: str, deliver, clock=SYSTEM, store=None, accounts_required=False
    ):
        self.cell = cell
        self._accounts_required = accounts_required
        #: The Checkpoints that are known of the log.
        self.checkpoints = Checkpoints(cell)
        #: Uuids of checkpoints that cannot be used, and of those that were looked at when the log was last opened.
        self._refused, self._tried = frozenset(), frozenset()
        self._began_with_checkpoint = None
        self._url = url
        self._clock = clock
        self._deliver = deliver
        self._store = store
        self._reads_snapshots = store is not None
        self._began_with_snapshot = False
        self._looked_at = 0.0
        #: The thread that keeps a snapshot or looks for one; a store that hangs holds it for as long.
        self._storing = None
        self._log = None
        #: None until the log was there once.
        self.appender = None
        self._producer = None
        self._producer_name = producer_name
        self._read_before = ReadBefore()
        self._follower = Follower(self._begin, self._take, lambda fault: deliver("fault", fault), cell, clock)

    def start(self):
        """Start to open, read and follow; the results are delivered."""
        self._follower.start()
        return self

    def close(self, timeout: float) -> bool:
        """Append what is waiting, and end the threads; True when nothing was left."""
        deadline = self._clock.monotonic() + timeout
        self._follower.stop(min(timeout, READ_SECONDS))
        timeout = max(0.0, deadline - self._clock.monotonic())
        drained = self.appender.close(timeout) if self.appender else True
        if self._log is not None:
            self._log.close()
        return drained

    def taken(self, level: int, took: float = 0.0, share: float = 1.0) -> None:
        """A batch of records was folded (see Follower), and the log has a level now."""
        self._read_before.log.see(level)
        self._follower.taken(took, share)

    def speak_after(self, known) -> None:
        """``known`` is what the fold knows of our producer, (epoch, sequence) or None: in an earlier epoch, which a
        clock that went back gives, none of our events would count."""
        if known is not None and self.producer.epoch < known[0]:
            self.appender.use(self._log, self.appender.epoch, lambda: self._producer.begin_anew(known[0]))

    def check_heard(self, known) -> None:
        """NameTaken if the fold knows our producer in a later epoch than ours, ``known`` as for :meth:`speak_after`:
        another process took our name, only its events count from then on, and ours do not."""
        if known is not None and self.producer.epoch < known[0]:
            role = self._producer_name.partition("/")[0]
            raise errors.NameTaken(
                f"another process publishes as {self._producer_name} in the log of {self.cell}, and only its events "
                f"count now; {_REMEDIES.get(role, f'give each its own [{role}] name')}, and start this one again"
            )

    def refuse_snapshot(self) -> None:
        """The snapshot that was delivered cannot be used: read the log again, without one. New ones are kept all the
        same. If it was a checkpoint, the others are tried."""
        if self._began_with_checkpoint is not None:
            self._refused |= {self._began_with_checkpoint}
        else:
            self._reads_snapshots = False
        self._follower.begin_anew()

    def doubt_snapshot(self) -> None:
        """Services publish at a higher level than the state has. If the state is from a snapshot, a service that did
        not know the pin of the log kept it: the log is read again without it, if all its records are there."""
        if not self._began_with_snapshot:
            self._look_for_checkpoint()
            return
        self._began_with_snapshot = False
        if self.bounds().first == 0:
            LOG.warning("the snapshot of %s does not know that the log is pinned, and is not used", self.cell)
            self.refuse_snapshot()
        else:
            LOG.error(
                "the snapshot of %s does not know that the log is pinned, and the records before it are gone; stop the "
                "services of the release before, and run nova-sched snapshot with a state that has the pin",
                self.cell,
            )

    def look_for_snapshot(self) -> None:
        """Read the log again as soon as a snapshot or a checkpoint fits it; looks for snapshots every few seconds, in
        its own thread."""
        now = self._clock.monotonic()
        if self._look_for_checkpoint():
            return
        if self._reads_snapshots and now - self._looked_at >= LOOK_PAUSE:
            self._looked_at = now
            self._in_thread(self._look_for_snapshot)

    def _look_for_checkpoint(self):
        """Read the log again if a checkpoint has come that was not there when it was opened; returns whether."""
        newest = self.checkpoints.newest
        if newest is None or newest.uuid in self._tried:
            return False
        self._tried |= {newest.uuid}
        self._follower.begin_anew()
        return True

    def _in_thread(self, function):
        """Call a function of the store in its own thread, one at a time; returns whether there is none before it
        that still waits for the store."""
        if self._storing is not None and self._storing.is_alive():
            return False
        self._storing = threading.Thread(target=function, name=f"snapshot of {self.cell}", daemon=True)
        concurrency.start_or_report(self._storing)
        return True

    def _look_for_snapshot(self):
        try:
            fits = fitting(self._store, self.cell, self.appender.epoch, self._log, False)[0] is not None
        except errors.NovaSchedError as fault:
            LOG.debug("no snapshot of %s can be looked for: %s", self.cell, fault)
            return
        if fits:
            self._follower.begin_anew()

    def begin_anew(self) -> None:
        """Records came that cannot follow those before them: read the log again."""
        self._follower.begin_anew()

    @property
    def url(self) -> str:
        """The URL of the log, without its password."""
        return mask_password(self._url)

    @property
    def producer(self) -> Producer:
        """The producer of this service in the log; LogUnavailable until the log was there once."""
        if self._producer is None:
            raise errors.LogUnavailable(f"the log of {self.cell} was not there since this service started; check it")
        return self._producer

    @property
    def fault(self) -> str | None:
        """Why the log cannot be appended to now; None while it can, or was not there yet."""
        return self.appender.fault if self.appender else None

    def bounds(self):
        """The positions of the first and the last record; LogUnavailable when the log cannot be read."""
        if self._log is None:
            raise errors.LogUnavailable(f"the log of {self.cell} was not there since this service started; check it")
        return self._log.bounds()

    def fence(self) -> int:
        """A position up to which everything is that was acknowledged before: see EventLog.fence."""
        if self._log is None:
            raise errors.LogUnavailable(f"the log of {self.cell} was not there since this service started; check it")
        return self._log.fence()

    @property
    def producer_name(self) -> str:
        """The name ROLE/NAME under which this service appends."""
        return self._producer_name

    @property
    def is_cut_by_policy(self) -> bool:
        """Whether a server removes old records of the log by a policy."""
        return self._log is not None and self._log.is_cut_by_policy

    @property
    def has_store(self) -> bool:
        """Whether snapshots are kept."""
        return self._store is not None

    def keep(self, packed: bytes) -> None:
        """Keep a snapshot in the store, unless there is a newer one; in its own thread: a store that is away must
        not hold up the service. A snapshot that the log does not continue is not kept, and the log is read again: it
        lost records that we folded."""

        def save():
            try:
                keep_newest(self._store, self.cell, packed, self._log)
            except errors.SnapshotMismatch as fault:
                LOG.warning(
                    "our state of %s is not kept as a snapshot, and the log is read again: %s", self.cell, fault
                )
                self._follower.begin_anew()
            except errors.NovaSchedError as fault:
                LOG.warning("the snapshot of %s is not kept: %s", self.cell, fault)

        if not self._in_thread(save):
            LOG.warning(
                "the snapshot of %s is not kept, as the store has not answered since the last one; check it", self.cell
            )

    # --- in the follower's thread --------------------------------------------------------------------------------

    def _begin(self):
        try:
            log = self._read_before.log.open(self.cell, self._url, create=may_begin(self._producer_name))
            try:
                epoch, beginning, position = find_beginning(
                    log,
                    self.cell,
                    self._producer_name,
                    self._clock,
                    self._store if self._reads_snapshots else None,
                    known=self._read_before,
                    refused=self._refused,
                    accounts_required=self._accounts_required,
                )
            except BaseException:
                log.close()
                raise
        except errors.LogGone:
            # What waits must not become the first records of a log that an operator restores.
            if self.appender is not None:
                self.appender.pause()
            raise
        begun_anew = self._use(log, epoch)
        self._read_before.begin(epoch, beginning.snapshot)
        self._began_with_snapshot = beginning.snapshot is not None
        found = beginning.found
        reason = functools.partial(reason_against, log, self.cell, epoch, self._accounts_required)
        unfit = found.tried - {one.uuid for one in (found.checkpoint, found.passed) if one is not None}
        self.checkpoints = Checkpoints(self.cell, epoch, self._accounts_required, reason, unfit)
        self._began_with_checkpoint, self._tried = None, found.tried
        if found.checkpoint is not None:
            self._began_with_checkpoint = found.checkpoint.uuid
            self.checkpoints.know(found.checkpoint)
        elif found.passed is not None:
            self.checkpoints.know(found.passed)
        self._deliver("begin", beginning._replace(begun_anew=begun_anew))
        return log, position

    def _take(self, batch):
        self._read_before.add(batch.records)
        self.checkpoints.see_all(batch.records)
        self._deliver("records", batch)

    def _use(self, log, epoch):
        """Append to this log from here on; returns whether it is another one than before."""
        before, self._log = self._log, log
        if self.appender is None:
            self.appender = Appender(log, epoch, f"{self._producer_name} to {self.cell}")
            self._producer = Producer(self.appender, self._producer_name, self._clock)
            return False
        begun_anew = epoch != self._read_before.log.epoch
        self.appender.use(log, epoch, self._producer.begin_anew if begun_anew else lambda: None)
        before.close()
        if begun_anew:
            LOG.warning("the log of %s was recreated: its epoch is %s", self.cell, epoch)
        return begun_anew


def close_all(logs, timeout: float) -> bool:
    """Close logs side by side, within about ``timeout`` seconds; True when nothing was left in any of them."""
    return all(concurrency.side_by_side([functools.partial(log.close, timeout) for log in logs]))


def find_beginning(
    log,
    cell: str,
    producer_name: str,
    clock,
    store,
    new_uuid=uuid.uuid4,
    known=None,
    refused=frozenset(),
    accounts_required=False,
):
    """From where a log is read, which is begun if it is empty and the producer may do so: (its epoch, a Beginning,
    the position of the first record). Raises as :func:`ensure_open`, and LogGone if ``known`` is of a log that nobody
    may begin again, and this is another one.

    The snapshot of ``store`` or the checkpoint in the log is used that proves to be of this log, the later one of both;
    otherwise the log is folded from its first record. ``known`` (a ReadBefore or None) and the snapshot show whether
    the log lost its last records. ``refused`` are uuids of checkpoints that are not used.
    """
    known_log = KnownLog() if known is None else known.log
    opening = known_log.opening_in(log, cell, producer_name, clock, new_uuid)
    packed, loss = fitting(store, cell, opening.epoch, log, opening.whole)
    after = -1 if packed is None else snapshot.head_of(packed).position
    found = newest_in(log, cell, opening.epoch, opening.whole, after, refused, accounts_required)
    if found.packed is not None:
        packed = found.packed
    bounds = log.bounds()
    if known is not None:
        loss = known.lost(log, bounds, opening.epoch) or loss
    if loss is not None:
        LOG.warning(
            "the log of %s lost %s, that were confirmed and read: its state is folded again, all agents of the "
            "cell are asked for full reports, and answered claims that are missing are claimed again",
            cell,
            loss,
        )
    position = bounds.first if packed is None else snapshot.head_of(packed).position + 1
    beginning = Beginning(
        packed,
        bounds.first,
        bounds.last,
        packed is not None or opening.whole,
        False,
        None if loss is None else loss.kept,
        found,
    )
    return opening.epoch, beginning, position


def fitting(store, cell: str, epoch: str, log, whole: bool = True):
    """(The newest snapshot of a store if it proves to be of a log of this epoch, else None; the Loss of the log that
    the snapshot shows, else None). Raises as the log's readers do.

    A snapshot of a version that made no proofs is used only for a log that is not ``whole``, whose state would be lost
    without it, and only if its marks agree with the log.
    """
    found, loss = None, None
    for packed in () if store is None else _readable(store, cell):
        found, lost = _fitting(packed, cell, epoch, log, whole)
        if found is not None:
            return found, None
        loss = loss or lost
    return None, loss


def _readable(store, cell):
    """Yield the snapshots of a cell in a store, that of the highest level first, as far as they can be read."""
    try:
        yield from store.load_all(cell)
    except errors.NovaSchedError as fault:
        LOG.warning("no snapshot of %s is used: %s", cell, fault)


def _fitting(packed, cell, epoch, log, whole):
    """One snapshot for :func:`fitting`."""
    try:
        head = snapshot.check(packed)
    except errors.NovaSchedError as fault:
        LOG.warning("no snapshot of %s is used: %s", cell, fault)
        return None, None
    if not whole and not head.proof and head.epoch == epoch:
        proven = _proven_by_marks(packed, cell, log)
        packed, head = (packed, head) if proven is None else (proven, snapshot.head_of(proven))
    try:
        check_fits(head, epoch, log)
        return packed, None
    except errors.SnapshotMismatch as fault:
        LOG.warning("no snapshot of %s is used: %s", cell, fault)
    return None, proving.lost(log, log.bounds(), head.proof) if head.epoch == epoch else None


def _proven_by_marks(packed, cell, log):
    try:
        proven = proven_by_marks(packed, log)
    except errors.SnapshotMismatch as fault:
        LOG.warning("the snapshot of %s cannot be loaded: %s", cell, fault)
        return None
    if proven is not None:
        LOG.warning(
            "the snapshot of %s was kept by a version that made no proofs; it is used, as the log does not "
            "begin with its first record and has the same marks of producers",
            cell,
        )
    return proven
