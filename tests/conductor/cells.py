"""A cell for tests: a memory log, a LocalBus, the conductor and agents with drivers that can be told what to do."""

import itertools
import threading
import uuid

from compute_agent.agent import Agent
from compute_agent.drivers.base import BuildRefused
from compute_agent.drivers.simulated import SimulatedDriver, inventory_of
from compute_agent.voice import REPORT_PAUSE
from conductor.cell import CellConductor
from rpc_api import events, messages
from rpc_api.contracts import agent as agent_rpc
from rpc_api.feed.epoch import ensure_open
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.log import open_log
from tests.servers import wait_until

SECONDS_MAX = 20.0
_NUMBER = itertools.count()


class HandClock:
    """A clock that a test moves: ``monotonic`` stands still until it is moved."""

    def __init__(self):
        self.seconds = 1000.0
        self._ns = itertools.count(1_700_000_000_000_000_000)

    def now_ns(self):
        return next(self._ns)

    def monotonic(self):
        return self.seconds


class ToldDriver(SimulatedDriver):
    """A driver of 8 VCPU that refuses, breaks or waits as told."""

    def __init__(self, host):
        super().__init__(inventory_of(host, 8, 8192, 100))
        self.refuse = None
        self.fault = None
        self.keeps = False
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()
        self.spawned = []

    def spawn(self, consumer):
        self.entered.set()
        assert self.hold.wait(SECONDS_MAX)
        if self.refuse:
            raise BuildRefused(self.refuse)
        super().spawn(consumer)
        self.spawned.append(consumer.instance_uuid)
        if self.fault:
            raise self.fault

    def destroy(self, instance_uuid):
        if self.keeps:
            raise OSError("the hypervisor is gone")
        super().destroy(instance_uuid)


class Cell:
    """A conductor ``cell`` and one agent for ``hosts``; a context manager. ``bus`` is given by the test."""

    def __init__(self, bus, hosts=("h1", "h2", "h3"), **options):
        self.url = f"memory://cell-{next(_NUMBER)}"
        self.bus = bus
        self.clock = HandClock()
        self.drivers = {host: ToldDriver(host) for host in hosts}
        self.log = open_log(self.url)
        self.conductor = CellConductor("c", "cell1", self.url, bus, self.clock, **options)
        self.agent = Agent("agent", "cell1", self.url, bus, self.drivers, self.clock, report_interval=3600.0)
        self._server = bus.serve(agent_rpc.TOPIC, "agent", [self.agent], agent_rpc.VERSION)
        self._appender = Appender(self.log, ensure_open(self.log, "cell1", "operator/test").epoch)
        self.scheduler = Producer(self._appender, "scheduler/test")

    def __enter__(self):
        self.agent.start(SECONDS_MAX)
        self.clock.seconds += REPORT_PAUSE
        self.conductor.start(SECONDS_MAX)
        return self

    def __exit__(self, *exc):
        for driver in self.drivers.values():
            driver.hold.set()
        self._server.stop()
        self._appender.close()
        self.agent.stop()
        self.conductor.stop()
        self.log.close()

    def take_agent_away(self):
        """The agent answers no more."""
        self._server.stop()

    def claim(self, host, instance_uuid, vcpus=2):
        """A claim that nobody has proposed yet."""
        root = self.drivers[host].inventory().providers[0].uuid
        return events.ClaimProposed(
            str(uuid.uuid4()),
            instance_uuid,
            instance_uuid,
            "req-1",
            "p",
            host,
            (events.Allocation(root, "MEMORY_MB", 512), events.Allocation(root, "VCPU", vcpus)),
            None,
        )

    def request(self, *hosts, vcpus=2, max_attempts=3):
        """A BuildRequest whose claim on the first host is in the log, as a scheduler leaves it."""
        instance_uuid = str(uuid.uuid4())
        claims = tuple(self.claim(host, instance_uuid, vcpus) for host in hosts)
        self.scheduler.wait(self.scheduler.publish(claims[0]), SECONDS_MAX)
        self.folded()
        return messages.BuildRequest(instance_uuid, "req-1", claims, max_attempts)

    def folded(self):
        """The conductor's projection, when it has folded all that the log holds now."""
        last = self.log.bounds().last
        wait_until(lambda: self.conductor.projection.position >= last, SECONDS_MAX, "the conductor did not fold")
        return self.conductor.projection

    def settled(self):
        """The projection when everything that was published is folded."""
        self.conductor.producer.wait(self.conductor.producer.publish(events.HostSeen("nobody")), SECONDS_MAX)
        return self.folded()

    def holds(self):
        """(host, state) of every entry, by instance."""
        return {
            one: sorted((entry.host, entry.state) for entry in entries)
            for one, entries in self.settled().consumers.items()
        }

    def events(self, name):
        """The data of all events of a name, in order."""
        from rpc_api import codec

        with self.log.read_from(self.log.bounds().first) as reader:
            return [
                event.data
                for record in reader.read(1000)
                for event in codec.decode_record(record.payload).events
                if event.name == name
            ]
