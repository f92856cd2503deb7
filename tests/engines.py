"""Schedulers' engines over logs that are lists: every record is delivered when the test says so, to whom it says."""

import itertools
import uuid

from nova_sched.scheduler.engine import CELL0, Ask, Engine
from nova_sched.selection.policy import Policy
from rpc_api import codec, digest, events
from rpc_api.packing import pack

EPOCH = "0d3b2f34-94a1-4e0b-8f0e-6f6f9d1d0001"
UP = events.HostStatus(False, None, False, 0, 0, {})


def uuid_of(text):
    """A uuid that follows from a text."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(text)))


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.seconds = 100.0

    def monotonic(self):
        return self.seconds

    def now_ns(self):
        return int(self.seconds * 1e9)


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
        self._sequences = {}
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
        """Append records of one producer; returns its last sequence in that log."""
        for one in data:
            sequence = self._sequences[cell, producer] = self._sequences.get((cell, producer), 0) + 1
            event = codec.make_event(one, producer, 1, sequence, 0)
            self.logs[cell].append(codec.encode_record(EPOCH, [event]))
        return self._sequences[cell, producer]

    def host(self, name, cell="cell1", vcpus=4, status=UP, consumers=()):
        """A host reports."""
        root = events.Provider(uuid_of(name), name, -1, (events.Inventory("VCPU", vcpus, 0, 1, vcpus, 1, 1.0),), (), ())
        inventory = events.HostInventory(name, None, None, "QEMU", 1, "{}", (), {}, (root,))
        self.append(
            cell,
            f"compute_agent/{name}",
            events.HostReported(
                name,
                "agents",
                pack(inventory),
                status,
                pack(events.HostConsumers(consumers)),
                digest.consumers_digest(consumers),
            ),
        )

    def deliver(self, name, cell, records=None):
        """Give an engine the next records of a log, by default all that are there."""
        start = self._read[name, cell]
        batch = self.logs[cell][start : None if records is None else start + records]
        self._read[name, cell] += len(batch)
        if batch:
            self.engines[name].on_records(
                cell, [(start + number, codec.decode_record(payload)) for number, payload in enumerate(batch)]
            )

    def settle(self, *names):
        """Deliver everything to everybody until nothing comes any more."""
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
        """Ask an engine for hosts; returns the Ask."""
        ask = Ask(
            request(f"req-{instances[0]}", vcpus, group, **fields),
            [uuid_of(one) for one in instances],
            alternates,
            self.clock.monotonic(),
        )
        engine.on_ask(ask)
        return ask


def request(request_id, vcpus, group=None, **fields):
    """A SchedulingRequest for some VCPUs."""
    groups = (events.ResourceGroup("", (events.ResourceAmount("VCPU", vcpus),), (), (), (), (), (), None),)
    plain = events.SchedulingRequest(
        request_id, "project", "small", {}, {}, groups, "", (), (), (), None, (), (), (), None, None, None, group, False
    )
    return plain._replace(**fields)


def server_group(policy, name="group", limit=1, members=(), hosts=()):
    """A ServerGroupRequest."""
    return events.ServerGroupRequest(uuid_of(name), policy, limit, "host", None, tuple(members), tuple(hosts))


def hosts_of(ask):
    """The hosts that an Ask got, by instance: the chosen one."""
    return [one[0].host for one in ask.future.result(0)]
