"""A log of level 3 with hosts, claims and API writes, and what writes checkpoints into it."""

import itertools
import uuid

from nova_sched.process.checkpoints import Checkpoints
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, events
from rpc_api.log.memory import MemoryLog
from tests.builders import EPOCH, Voice, claim, record_of, report, uuid_of

_NUMBERS = itertools.count()


class KeptLog:
    """A log of a cell that begins with its opening and a pin to level 3. ``say`` appends an event of a producer in a
    record of its own."""

    def __init__(self, cell="cell1", log=None, opened=True, level=3):
        self.cell = cell
        self.log = MemoryLog.open(f"memory://checkpoints-{next(_NUMBERS)}") if log is None else log
        self.level = level
        self._voices = {}
        if opened:
            self.log.append([record_of(Voice("operator/o").say(events.LogOpened(cell, EPOCH)))])
            self._voices["operator/o"] = operator = Voice("operator/o")
            operator.say(events.LogOpened(cell, EPOCH))
            if level > 1:
                self.log.append([record_of(operator.say(events.LevelPinned(level)))])

    def say(self, producer, *data):
        voice = self._voices.setdefault(producer, Voice(producer))
        for part in data:
            self.log.append([record_of(voice.say(part), level=self.level)])

    def hosts(self, *names):
        for name in names:
            self.say(f"compute_agent/{name}", report(name))

    def claims(self, host, *instances):
        for instance in instances:
            self.say("scheduler/s", claim(instance, host))

    def written(self, *names):
        """Providers that the API wrote: nobody reports them again."""
        for name in names:
            self.say("placement/p", events.ProviderCreated(uuid_of(name), name, None, "req-1", None))

    def folded(self, last=None, start=None):
        """The state of the whole log."""
        projection = Projection(self.cell) if start is None else start
        projection.fold(decoded_records(self.log, projection.position + 1, last))
        return projection

    def parts(self, packed, size=None, checkpoint=None, position=None):
        """The StateKept events of a snapshot."""
        size = size or max(1, len(packed) // 3)
        contents = [packed[start : start + size] for start in range(0, len(packed), size)]
        checkpoint = checkpoint or str(uuid.uuid4())
        position = snapshot.head_of(packed).position if position is None else position
        return [
            events.StateKept(checkpoint, position, part, len(contents), content)
            for part, content in enumerate(contents)
        ]

    def keep(self, by="conductor/c", between=(), state=None):
        """Write a checkpoint of the present state; ``between`` are hosts that report between its parts. Returns it."""
        state = state or self.folded()
        for number, part in enumerate(self.parts(snapshot.dump(state))):
            self.say(by, part)
            if number < len(between):
                self.hosts(between[number])
        return self.seen().newest

    def name(self, checkpoint, by="conductor/c"):
        self.say(by, events.CheckpointNamed(checkpoint.uuid, checkpoint.position, checkpoint.first, checkpoint.last))

    def seen(self):
        """What a reader of the whole log knows of its checkpoints."""
        seen = Checkpoints(self.cell, EPOCH)
        seen.see_all(
            (record.position, codec.decode_record(record.payload, record.account)) for record in self.records()
        )
        return seen

    def records(self):
        bounds, found = self.log.bounds(), []
        with self.log.read_from(bounds.first) as reader:
            while reader.position <= bounds.last:
                found += reader.read(1000, 20.0)
        return found


def digest_from(kept, packed):
    """The digest of the state that a reader has who starts with a snapshot."""
    return state_digest(kept.folded(start=snapshot.load(packed)))
