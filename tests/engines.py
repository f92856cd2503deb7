"""Engines of schedulers over logs that are lists: a test decides when which records are delivered to which engine."""

import itertools

from nova_sched.scheduler.engine import CELL0, Ask, Engine
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from tests.builders import HandClock, Voice, group, inventory_of, record_of, report, request, tree, uuid_of


class TinyCloud:
    """Logs of some cells and of cell0, and engines that read them."""

    def __init__(self, cells=("cell1",), policy=None, **options):
        self.clock = HandClock()
        self.logs = {cell: [] for cell in (CELL0, *cells)}
        self.cells = cells
        self.policy = policy or Policy()
        self.options = options
        self.engines = {}
        self._read = {}
        self.voices = {}
        #: Cell -> level of its log.
        self.levels = dict.fromkeys(self.logs, 1)
        self._uuids = (uuid_of(f"claim {number}") for number in itertools.count())

    def engine(self, name):
        """A new engine that has read everything."""

        def publish(cell, *data):
            return 1, self.append(cell, f"scheduler/{name}", *data)

        engine = Engine(
            self.cells,
            self.policy,
            f"scheduler/{name}",
            publish,
            lambda: next(self._uuids),
            self.clock,
            strict=True,
            **self.options,
        )
        self.engines[name] = engine
        for cell in self.logs:
            self._read[name, cell] = 0
            self.deliver(name, cell)
        return engine

    def append(self, cell, producer, *data):
        """Append a record for each event of one producer; returns its last sequence in that log."""
        voice = self.voices.setdefault((cell, producer), Voice(producer))
        self.logs[cell].extend(record_of(voice.say(event), level=self.levels[cell]) for event in data)
        return voice.sequence

    def pin(self, level, *cells):
        """Pin the logs of cells to a level, by default all."""
        for cell in cells or self.logs:
            self.append(cell, "operator/o", events.LevelPinned(level))
            self.levels[cell] = level

    def host(self, name, cell="cell1", vcpus=4, consumers=(), **facts):
        """A host with only VCPUs reports; ``facts`` are those of its status."""
        inventory = tree(name, inventories=(inventory_of("VCPU", vcpus),))
        self.append(cell, f"compute_agent/{name}", report(name, *consumers, inventory=inventory, **facts))

    def deliver(self, name, cell, records=None, at_end=True):
        """Give an engine the next records of a log, by default all of them; ``at_end`` as in a Batch."""
        start = self._read[name, cell]
        batch = self.logs[cell][start : None if records is None else start + records]
        self._read[name, cell] += len(batch)
        if batch:
            self.engines[name].on_records(
                cell, [(start + number, codec.decode_record(payload)) for number, payload in enumerate(batch)], at_end
            )

    def settle(self, *names):
        """Deliver all records to these engines, by default to all, until none is left."""
        while any(
            self._read[name, cell] < len(log) for name in names or self.engines for cell, log in self.logs.items()
        ):
            for name in names or self.engines:
                for cell in self.logs:
                    self.deliver(name, cell)

    def events(self, cell, name=None):
        """The data of all events of a log, of one type if named."""
        return [
            event.data
            for payload in self.logs[cell]
            for event in codec.decode_record(payload).events
            if name in (None, event.name)
        ]

    def ask(self, engine, *instances, vcpus=2, group=None, alternates=0, **fields):
        """Ask an engine for hosts for instances; returns the Ask. ``group`` is their server group."""
        ask = Ask(
            request(_vcpus(vcpus), request_id=f"req-{instances[0]}", server_group=group, **fields),
            [uuid_of(name) for name in instances],
            alternates,
            self.clock.monotonic(),
        )
        engine.on_ask(ask)
        return ask


def _vcpus(count):
    return group(VCPU=count)


def hosts_of(ask):
    """The chosen host of each instance of an Ask."""
    return [candidates[0].host for candidates in ask.future.result(0)]
