"""The simulated world: time, chance, messages that may be lost, and logs that may fail."""

import heapq
import random
import uuid

from nova_sched.process.cell_log import find_beginning, fitting
from nova_sched.process.read_before import ReadBefore
from nova_sched.process.snapshot_store import SnapshotStore
from rpc_api import codec, errors
from rpc_api.feed.publisher import Producer
from rpc_api.log.memory import MemoryLog

#: Nanoseconds since 1970 at the start of every simulation.
BEGINNING_NS = 1_700_000_000_000_000_000
RECORDS_A_READ = 64


class World:
    """Time and chance. ``at(delay, function)`` calls a function in ``delay`` simulated seconds."""

    def __init__(self, seed: int, faults):
        self.chance = random.Random(seed)
        self.faults = faults
        self.now = 0.0
        #: Functions called so far: the steps of the simulation.
        self.steps = 0
        #: Time at which all processes stop publishing on their own, so that the logs can be read to their ends.
        self.silent_from = float("inf")
        self._heap = []
        self._number = 0

    def at(self, delay: float, function, *arguments) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now + delay, self._number, function, arguments))

    def step(self) -> bool:
        """Do the next action; return False if there is none."""
        if not self._heap:
            return False
        self.now, _, function, arguments = heapq.heappop(self._heap)
        self.steps += 1
        function(*arguments)
        return True

    def delay(self) -> float:
        """Draw the delay of a message or a disk, in seconds: mostly short, sometimes long."""
        chance = self.chance
        return chance.uniform(0.5, 5.0) if chance.random() < self.faults.slow else chance.uniform(0.001, 0.02)

    def lost(self) -> bool:
        """Draw whether a message is lost."""
        return self.chance.random() < self.faults.lost

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def send(self, function, *arguments) -> None:
        """Deliver a message, late or never."""
        if not self.lost():
            self.at(self.delay(), function, *arguments)


class SimClock:
    """The clock of one process: it runs with the world's, and its wall clock may be wrong."""

    def __init__(self, world, skew: float):
        self._world = world
        self._skew = skew

    def monotonic(self):
        return self._world.now

    def now_ns(self):
        return BEGINNING_NS + int((self._world.now + self._skew) * 1e9)


class KeptSnapshots(SnapshotStore):
    """Snapshots in memory."""

    def __init__(self):
        self.kept = {}

    def _put(self, name, packed):
        self.kept[name] = packed

    def _get(self, name):
        return self.kept.get(name)

    def _drop(self, name):
        self.kept.pop(name, None)

    def where(self, cell):
        return f"the snapshot of {cell}"


class SimLog:
    """One log: a MemoryLog that calls ``on_record(cell, position, DecodedRecord)`` for each appended record."""

    def __init__(self, cell: str, on_record, on_begun, on_lost, accounts_required: bool = False):
        self.cell = cell
        self._on_record = on_record
        self._on_begun = on_begun
        self._on_lost = on_lost
        self._decoded = {}
        #: Whether its readers are configured to require accounts.
        self.accounts_required = accounts_required
        #: Whether it was at level 3: then nobody begins it again.
        self.is_record = False
        self.readers = []
        self._name = f"simulated-{id(self):x}-{cell}"
        self._open()

    def _open(self):
        self.log = MemoryLog.open(f"memory://{self._name}")
        self._seen = 0
        self._decoded.clear()

    def append(self, payloads, account=None):
        """Append with an account, as if a broker had checked it."""
        self.log.append(payloads)
        self.look(account)

    def look(self, account=None):
        """Call ``on_record`` for the records that were appended since the last call."""
        last = self.log.bounds().last
        if self._seen > last:
            return
        with self.log.read_from(self._seen) as reader:
            for record in reader.read(10**9):
                self._seen = record.position + 1
                decoded = self._decoded[record.position] = codec.decode_record(record.payload, account)
                self._on_record(self.cell, record.position, decoded)
        self.wake()

    def wake(self):
        """Wake the readers."""
        for reader in self.readers:
            reader.wake()

    def records(self, position, most):
        """Return (position, DecodedRecord) from a position on; decoded once for all readers. Raise LogGap."""
        bounds = self.log.bounds()
        if position < bounds.first or position > bounds.last + 1:
            raise errors.LogGap(f"position {position} is not in {bounds}")
        return [(number, self._decoded[number]) for number in range(position, min(position + most, bounds.last + 1))]

    def truncate(self, keep, limit=None):
        """Remove all but the last ``keep`` records, or a few more, and none from the position ``limit`` on."""
        self.look()
        position = self.log.bounds().last + 1 - keep
        self.log.truncate_before(self._known_from(position if limit is None else min(position, limit)))

    def _readable(self):
        """Return (position, epoch) of the records with readable events."""
        return [
            (position, record.epoch)
            for position, record in self._decoded.items()
            if any(type(event) is codec.Event for event in record.events)
        ]

    def _known_from(self, position):
        """``position``, or an earlier one, if the first event from there on is not of this log: a reader knows a log
        without its first records by the first event that it can read (docs/design/0010-simulation.md)."""
        readable = self._readable()
        epoch = readable[0][1] if readable else None
        following = next((of for position_, of in readable if position_ >= position), None)
        return (
            position
            if following == epoch
            else max(position_ for position_, of in readable if position_ <= position and of == epoch)
        )

    def lose_tail(self, count, keep=-1):
        """Lose the last records, including confirmed ones, and keep the epoch, as in a power cut of the broker. Readers
        then check whether the log continues at their position, as after a reconnect. The record at ``keep`` stays."""
        self.look()
        first, last = self.log.bounds()
        known_by = next((position for position, _ in self._readable() if position >= first), last)
        self.log.lose_tail(min(count, last - max(known_by, keep)))
        last = self.log.bounds().last
        self._seen = last + 1
        for position in [known for known in self._decoded if known > last]:
            del self._decoded[position]
        self._on_lost(self.cell, last, sorted(self._decoded.items()))
        for reader in self.readers:
            reader.connection_lost()

    def re_create(self):
        """Delete the log, unless it was at level 3; the next process that opens it begins another one."""
        if self.is_record:
            return
        self.log.delete()
        self._open()
        self._on_begun(self.cell)
        self.wake()

    def close(self):
        self.log.delete()


class SimAppender:
    """As :class:`~rpc_api.feed.publisher.Appender`, for one process: batches, late, in part, twice,
    or not at all until it is tried again."""

    def __init__(self, world, guard, sim_log, epoch, account):
        self._world = world
        self._account = account
        self._guard = guard
        self._sim_log = sim_log
        self.log = sim_log.log
        self.epoch = epoch
        self.fault = None
        self._waiting = []
        self._queued = self._durable = 0
        self._busy = False
        self._tickets = []

    def queue(self, pack_events, level=1):
        packed = pack_events()
        self._waiting.append((level, packed))
        self._queued += len(packed)
        if not self._busy:
            self._busy = True
            self._later(self._world.delay(), self._start)
        return self._queued

    def use(self, log, epoch, meanwhile=lambda: None):
        self.log, self.epoch = log, epoch
        meanwhile()

    def when_durable(self, ticket, function):
        """Call a function when all events up to a ticket are durable."""
        if self._durable >= ticket:
            function()
        else:
            self._tickets.append((ticket, function))

    def _later(self, delay, function, *arguments):
        self._world.at(delay, self._guard(function), *arguments)

    def _start(self):
        batch, self._waiting = self._waiting, []
        self._try(batch, self._queued)

    def _try(self, batch, last):
        world, faults = self._world, self._world.faults
        drawn = world.chance.random()
        records = [record for level, packed in batch for record in codec.encode_records(self.epoch, packed, level)]
        try:
            if self.log is not self._sim_log.log:
                raise errors.LogUnavailable("the log was deleted")
            if drawn >= faults.not_appended:
                self._sim_log.append(records, self._account)
            if drawn < faults.not_appended + faults.not_acknowledged:
                raise errors.LogUnavailable("simulated")
        except errors.LogUnavailable as fault:
            self.fault = str(fault)
            self._later(world.chance.uniform(0.02, 4.0), self._try, batch, last)
            return
        self.fault = None
        self._durable = last
        ready = [function for ticket, function in self._tickets if ticket <= last]
        self._tickets = [ticket for ticket in self._tickets if ticket[0] > last]
        for function in ready:
            function()
        self._busy = bool(self._waiting)
        if self._busy:
            self._later(world.delay(), self._start)


class SimCellLog:
    """As :class:`~nova_sched.process.cell_log.CellLog`, for one process and one log, without threads.

    ``on_begin(Beginning)`` and ``on_records(records, at_end)`` are called. A read that cannot continue starts again.
    """

    def __init__(self, world, guard, sim_log, name, clock, store, on_begin, on_records, on_gap):
        self._world, self._guard, self._sim_log = world, guard, sim_log
        self._name, self._clock, self._store = name, clock, store
        self._on_begin, self._on_records, self._on_gap = on_begin, on_records, on_gap
        self.appender = self.producer = None
        self._position = None
        self._connected = True
        self._read_before = ReadBefore()
        self._begun_on = None
        self._blind_until = self._slow_until = 0.0
        self._at_end = True
        self._reading = False
        self.wake = guard(self._wake)

    def start(self):
        self._sim_log.readers = [reader for reader in self._sim_log.readers if reader._name != self._name] + [self]
        self._begin()
        self._wake()

    def _begin(self):
        self._sim_log.look()
        try:
            epoch, beginning, self._position = find_beginning(
                self._sim_log.log,
                self._sim_log.cell,
                self._name,
                self._clock,
                self._store,
                self._world.uuid,
                self._read_before,
                accounts_required=self._sim_log.accounts_required,
            )
        except errors.LogGone:
            return  # the next read tries again, as nothing was begun on this log
        self._sim_log.look()
        self._read_before.begin(epoch, beginning.snapshot)
        self._connected = self._at_end = True
        self._begun_on = self._sim_log.log
        if self.appender is None:
            self.appender = SimAppender(self._world, self._guard, self._sim_log, epoch, self._name.replace("/", "."))
            self.producer = Producer(self.appender, self._name, self._clock)
            is_another = False
        else:
            is_another = epoch != self.appender.epoch
            self.appender.use(self._sim_log.log, epoch, self.producer.begin_anew if is_another else lambda: None)
        self._on_begin(beginning._replace(begun_anew=is_another))

    def speak_after(self, known):
        if known is not None and self.producer.epoch < known[0]:
            self.producer.begin_anew(known[0])

    def look_for_snapshot(self):
        """Start again if there is a snapshot that fits."""
        if fitting(self._store, self._sim_log.cell, self.appender.epoch, self._sim_log.log)[0] is not None:
            self._begin()
            self._wake()

    def partition(self, seconds):
        """Let the log be unreadable for a while."""
        self._blind_until = max(self._blind_until, self._world.now + seconds)

    def lag(self, seconds):
        """Let each record take long for a while."""
        self._slow_until = max(self._slow_until, self._world.now + seconds)

    def connection_lost(self):
        """Let the reader reconnect."""
        self._connected = False
        self.wake()

    def _wake(self):
        if not self._reading:
            self._reading = True
            blind = max(0.0, self._blind_until - self._world.now)
            slow = self._world.chance.uniform(0.1, 1.0) if self._world.now < self._slow_until else 0.0
            self._world.at(blind + slow + self._world.delay(), self._guard(self._read))

    def _read(self):
        self._reading = False
        if self._world.now < self._blind_until:
            self._wake()
            return
        try:
            if self._begun_on is not self._sim_log.log:
                raise errors.LogGap("the log was re-created")
            bounds = self._sim_log.log.bounds()
            if not self._connected and 0 < self._position <= bounds.first:
                raise errors.LogGap("the last record that was read was removed: the reader cannot compare it")
            if not self._connected and self._read_before.lost(self._sim_log.log, bounds, self.appender.epoch):
                raise errors.LogGap("the log lost records")
            self._connected = True
            most = 1 if self._world.now < self._slow_until else self._world.chance.randint(1, RECORDS_A_READ)
            records = self._sim_log.records(self._position, most)
        except errors.LogGap as gap:
            self._on_gap(gap)
            self._begin()
            self._wake()
            return
        if records:
            self._position = records[-1][0] + 1
            self._read_before.add(records)
            self._on_records(records, self._at_end)
            self._at_end = False
            self._wake()
        elif not self._at_end:
            self._at_end = True
            self._on_records([], True)
