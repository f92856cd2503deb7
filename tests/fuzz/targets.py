"""What reads, one class each: ``make`` a hostile input, ``feed`` it, and ``settle`` what must hold after many of them.

Whatever does not hold is a :class:`Finding`; any other exception is one too.
"""

import functools
import itertools
import json
import zlib

import msgpack

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from rpc_api import codec, errors, events, levels
from rpc_api.codec import DecodedRecord, Event, SetAside
from rpc_api.feed.epoch import ensure_open, opening_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.packing import pack
from rpc_api.serializer import RpcSerializer
from tests import builders, invariants
from tests.fuzz import corpus, mutation
from tests.fuzz.mutation import Mutator


class Finding(AssertionError):
    """Something that must hold does not."""


def hold(condition, what, *got) -> None:
    """Raise a Finding unless ``condition``."""
    if not condition:
        raise Finding(f"{what}: {', '.join(map(repr, got))}"[:2000])


@functools.cache
def material():
    """(records as bytes, the same as structures, their leaves, level -> data of every event in its form): unpacked
    once."""
    records = corpus.records()
    structures = [mutation.thaw(record) for record in records]
    return (
        records,
        structures,
        mutation.leaves(structures[-1]),
        {
            level: [
                (name_of(data), list(levels.at(data, level)), builders.speaker_of(data))
                for data in corpus.every_event()
                if data.schema.LEVEL <= level
            ]
            for level in range(1, LEVEL + 1)
        },
    )


def name_of(data):
    """The event type of a frozen record."""
    return type(data).__name__


class Target:
    """``rng`` is all the chance there is. Inputs of one object share its state, so a few hundred make an episode."""

    #: How many inputs in a row before ``settle``.
    EPISODE = 200

    def __init__(self, rng):
        self.rng = rng
        self.records, self.structures, leaves, self.events = material()
        self.mutator = Mutator(rng, leaves)
        self.numbers = itertools.count(1)

    def make(self) -> bytes:
        """A hostile input: most are damaged events that would be next of their producers."""
        chance, rng = self.rng.random(), self.rng
        if chance < 0.5:
            level = 1 if rng.random() < 0.75 else rng.randint(2, LEVEL)
            batch = [self._event(level) for _ in range(rng.choice((1, 1, 1, 4)))]
            return mutation.pack([level, builders.EPOCH, batch])
        if chance < 0.8:
            return mutation.pack(self.mutator.changed(rng.choice(self.structures), rng.choice((1, 1, 2, 5))))
        return self.mutator.damaged(rng.choice(self.records), rng.choice(self.records))

    def _event(self, level):
        name, values, producer = self.rng.choice(self.events[level])
        event = [name, "1.0", producer, 2, next(self.numbers), builders.AT_NS, values]
        if self.rng.random() < 0.85:
            event[6] = self.mutator.changed(values, self.rng.choice((1, 1, 2, 3)))
        else:
            event = self.mutator.changed(event, self.rng.choice((1, 2)))
        return event

    def feed(self, payload: bytes) -> None:
        """Give the input to what reads."""
        raise NotImplementedError

    def settle(self) -> None:
        """What must hold after all inputs."""


def decoded(payload: bytes) -> DecodedRecord:
    """What the codec makes of bytes, checked for its form."""
    record = codec.decode_record(payload)
    hold(type(record) is DecodedRecord and (record.epoch is None or type(record.epoch) is str), "no record", record)
    for event in record.events:
        hold(type(event) in (Event, SetAside), "neither an event nor set aside", event)
        if type(event) is SetAside:
            hold(
                event.code and event.reason and type(event.raw) is bytes and len(event.raw) <= codec.MAX_RAW_BYTES,
                "set aside without its facts",
                event,
            )
            hold(len(event.reason) < 1000, "a reason without an end", event.reason)
    return record


class Fold(Target):
    """The codec and the fold: the state is that of the events which were taken, alone."""

    def __init__(self, rng):
        super().__init__(rng)
        self._begin()

    def _begin(self):
        self.projection, self.alone = Projection("cell1"), Projection("cell1")
        self.taken = []
        self.position = 0
        for number, data in enumerate(corpus.beginning(), 1):
            self.feed(builders.record_of(corpus.said(data, number)))

    def feed(self, payload):
        if self.projection.is_too_new:
            # Nothing counts any more in this log.
            self.settle()
            self._begin()
        record = decoded(payload)
        self.projection.fold([(self.position, record)])
        aside = {one.index for one in self.projection.quarantine if one.position == self.position}
        if record.epoch == self.projection.epoch:
            self.taken.append(
                (
                    self.position,
                    record.level,
                    [one for index, one in enumerate(record.events) if type(one) is Event and index not in aside],
                )
            )
        self.projection.quarantine.clear()
        self.position += 1

    def settle(self):
        invariants.check(self.projection)
        for position, level, kept in self.taken:
            again = [
                event
                for payload in codec.encode_records(self.projection.epoch, codec.encode_events(kept, level), level)
                for event in codec.decode_record(payload).events
            ]
            # An event of an older version is packed in that of the level.
            same = [event._replace(version="") for event in again] == [event._replace(version="") for event in kept]
            hold(same, "an event is another after it was packed again", kept, again)
            self.alone.fold([(position, DecodedRecord(self.projection.epoch, again, None, None, level))])
        self.taken.clear()
        hold(not self.alone.quarantine, "taken events are set aside", list(self.alone.quarantine)[:3])
        hold(state_digest(self.projection) == state_digest(self.alone), "what was set aside left a trace")


class Thaw(Target):
    """Parts that are packed into an event's bytes, unpacked only when they are needed."""

    NAMES = ("HostInventory", "HostConsumers", "Evidence")

    def make(self):
        name, values, _ = self.rng.choice(
            [event for event in self.events[LEVEL] if event[0] in ("HostReported", "DecisionMade")]
        )
        packed = values[-1] if name == "DecisionMade" else values[self.rng.choice((2, 4))]
        if self.rng.random() < 0.3:
            return self.mutator.damaged(packed, self.rng.choice(self.records))
        return mutation.pack(self.mutator.changed(mutation.thaw(packed), self.rng.choice((1, 2))))

    def feed(self, payload):
        for name in self.NAMES:
            try:
                frozen = events.thaw(name, payload)
            except (errors.InvalidEvent, errors.UnknownSchema):
                continue
            hold(events.thaw(name, pack(frozen)) == frozen, "another object after it was packed again", frozen)


class Snapshots(Target):
    """Snapshots, damaged and forged: refused with an error of the project and no trace, or just as they say."""

    EPISODE = 50

    def __init__(self, rng):
        super().__init__(rng)
        projection, other = Projection("cell1"), Projection("cell2", HostTable())
        projection.fold(
            [
                (number, DecodedRecord(builders.EPOCH, [corpus.said(data, number)]))
                for number, data in enumerate(corpus.beginning(), 1)
            ]
        )
        other.fold([(0, DecodedRecord(builders.EPOCH, [corpus.said(builders.report("elsewhere"))]))])
        self.whole, self.other, self.before = snapshot.dump(projection), other, state_digest(other)
        head, state = snapshot.split(self.whole)
        self.head, self.state = list(head[2:6]), mutation.thaw(zlib.decompress(state))

    def make(self):
        chance = self.rng.random()
        if chance < 0.2:
            return self.mutator.damaged(self.whole, self.rng.choice(self.records))
        head, state = self.head, self.state
        if chance < 0.4:
            head = self.mutator.changed(head)
        else:
            state = self.mutator.changed(state, self.rng.choice((1, 1, 3)))
        packed = zlib.compress(mutation.pack(state), 1)
        if chance > 0.95:
            packed = self.mutator.damaged(packed)
        try:
            checksum = snapshot._checksum(head, packed)
            return msgpack.packb((snapshot.MAGIC, snapshot.FORMAT, *head, checksum)) + packed
        except (ValueError, TypeError):
            return packed

    def feed(self, payload):
        table = self.other.table
        for read in (snapshot.head_of, snapshot.check, lambda packed: snapshot.load(packed, table)):
            try:
                found = read(payload)
            except (errors.UnknownSchema, errors.SnapshotMismatch):
                continue
            if isinstance(found, Projection):
                if not self._columns_were_changed(payload):
                    invariants.check(found)
                hold(state_digest(found) == snapshot.head_of(payload).digest, "another state than the snapshot says")
                hold(type(found.position) is int and type(found.epoch) is str, "a head of other types", found.position)
                found.forget()

    def _columns_were_changed(self, payload):
        """The columns are taken as they are: a program that can write to the store could fake a log, too."""
        return mutation.thaw(zlib.decompress(snapshot.split(payload)[1]))[1] != self.state[1]

    def settle(self):
        invariants.check(self.other)
        hold(state_digest(self.other) == self.before, "a snapshot that was refused changed another cell")
        hold(
            len(self.other.table.trees) == 1 and not self.other.table.aggregates, "a refused snapshot left rows behind"
        )


class Opening(Target):
    """The first records of a log: the beginning of the log is found, or refused, and the fold has the same epoch."""

    names = itertools.count()

    def feed(self, payload):
        if not payload:
            return
        log = open_log(f"memory://fuzz-{next(self.names)}")
        try:
            log.append([payload[: 1 << 20], self.records[0]])
            try:
                found = opening_of(log, 0.0)
                hold(ensure_open(log, "cell1", "conductor/one") == found, "another opening when asked again", found)
            except (errors.UnknownSchema, errors.LogUnavailable, errors.UsageError):
                return
            projection = Projection("cell1", whole=found.whole)
            projection.fold(
                [(number, codec.decode_record(one)) for number, one in enumerate((payload[: 1 << 20], self.records[0]))]
            )
            same = projection.epoch == found.epoch or projection.is_too_new
            hold(same, "the fold has another epoch", projection.epoch, found)
        finally:
            log.delete()


class Rpc(Target):
    """Messages: what cannot be read is an error of the project, what can be is written again."""

    @staticmethod
    @functools.cache
    def _primitives():
        return corpus.primitives()

    def __init__(self, rng):
        super().__init__(rng)
        self.mutator = Mutator(rng, mutation.leaves(self._primitives()), packable=False)
        self.serializer = RpcSerializer()

    def make(self):
        return mutation.to_json(self.mutator.changed(self.rng.choice(self._primitives()), self.rng.choice((1, 2, 4))))

    def feed(self, payload):
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            return
        try:
            self.serializer.deserialize_context(value)
        except errors.NovaSchedError as fault:
            hold(len(str(fault)) < 2000, "an error without an end", str(fault))
        try:
            entity = self.serializer.deserialize_entity({}, value)
        except errors.NovaSchedError as fault:
            hold(len(str(fault)) < 2000, "an error without an end", str(fault))
            return
        self.serializer.serialize_entity({}, entity)
