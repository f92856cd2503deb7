"""Our services beside Nova's, in one process, for one of Nova's functional tests: the log of each cell in memory, the
conductor of each cell with its tap, Placement's API and, when the test starts it, the scheduler."""

import contextlib
import logging
import time
import uuid

from conductor.cell import CellConductor
from conductor.tap import model
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from placement_api.region import Region
from rpc_api import codec, concurrency, events
from rpc_api.bus import LocalBus
from rpc_api.contracts.scheduler import VERSION
from rpc_api.log import open_log
from tests.against_nova.functional.proof import breaches
from tests.against_nova.functional.wire import Queue
from tests.placement_api.regions import prepare

LOG = logging.getLogger(__name__)

CELL0 = "cell0"
#: Seconds for what was sent to be in the logs, and for the logs to be read.
SECONDS = 60.0
PAUSE = 0.002
#: The tests do not wait until a host may be reported again.
model.REPORT_PAUSE = 0.0


class Cloud:
    """``cells`` is name -> uuid of the cells of the test, without cell0."""

    def __init__(self, cells):
        self._ending, self._closing = contextlib.ExitStack(), contextlib.ExitStack()
        name = uuid.uuid4()
        self.cells = [Cell(cell, cell_uuid, f"memory://{name}-{cell}") for cell, cell_uuid in cells.items()]
        self.cell0 = cell0_of(f"memory://{name}-{CELL0}")
        self.logs = {}
        for cell in (self.cell0, *self.cells):
            self.logs[cell.name] = self._closing.enter_context(open_log(cell.log))
            prepare(cell.log, cell.name, "scheduler/test" if cell is self.cell0 else "conductor/test")
        self.queues = {cell.name: Queue() for cell in self.cells}
        #: Host -> the name of its cell, of the compute services that were started.
        self.cell_of_host = {}
        #: Host -> the compute service that runs.
        self.computes = {}
        #: Hosts that are forced down.
        self.forced_down = set()
        #: Uuid of a compute node -> the name of its cell.
        self.cell_of_node = {}
        self.scheduler = None
        self.regions = {}
        self.conductors = {cell.name: self._conductor(cell) for cell in self.cells}
        for cell in self.cells:
            self.regions[cell.name] = self._region([cell], cell)
        if len(self.cells) > 1:
            self.regions[CELL0] = self._region([self.cell0, *self.cells], self.cell0)

    @property
    def whole(self):
        """The region of all cells."""
        return self.regions[CELL0 if len(self.cells) > 1 else self.cells[0].name]

    def _conductor(self, cell):
        conductor = CellConductor("nova", cell.name, cell.log, LocalBus(), tap_source=self.queues[cell.name])
        self._ending.callback(conductor.stop)
        return conductor.start()

    def _region(self, cells, new_roots):
        region = Region(
            [(cell.name, cell.log) for cell in cells],
            new_roots.name,
            f"placement/{new_roots.name}-{len(cells)}",
            has_neighbours=True,
        )
        self._ending.callback(region.close)
        region.start().wait_ready(SECONDS)
        return region

    def start_scheduler(self, policy, bus, networks):
        """Start the scheduler, and answer its topic; returns a function that ends both."""
        scheduler = Scheduler("nova", self.cell0, self.cells, policy)
        scheduler.start().wait_ready(SECONDS)
        self.scheduler = scheduler
        endpoint = Settled(self, SchedulerEndpoint(scheduler, networks, gives_terms=True))
        serving = bus.serve("scheduler", "scheduler", [endpoint], VERSION)

        def stop():
            serving.stop(5.0)
            scheduler.stop()

        self._ending.callback(stop)
        return stop

    def settle(self):
        """Wait until everything that was sent so far is in the logs, and the scheduler has read it. That takes
        milliseconds, and two heartbeats for what another service has written into the record of a compute service (one
        reads it, the next one has it); the tests do not expect either."""
        for service in 2 * list(self.computes.values()):
            service.servicegroup_api._driver._report_state(service)
        self._count_as_down(self.forced_down - self.computes.keys())
        for name, conductor in self.conductors.items():
            _wait(lambda name=name: self.queues[name].is_done(), f"the tap of {name} does not read its messages")
            conductor.tick()
            appender = conductor.producer.appender
            assert appender.wait(appender._queued, SECONDS), f"the conductor of {name} cannot append"
        scheduler = self.scheduler
        if scheduler is None or scheduler.fault is not None:
            return
        ends = {name: log.fence() for name, log in self.logs.items()}

        def is_read():
            positions = scheduler.call(
                lambda engine: {name: one.position for name, one in engine.world.projections.items()}
            ).result(SECONDS)
            return all(positions[name] >= end for name, end in ends.items())

        _wait(is_read, "the scheduler does not read its logs")

    def _count_as_down(self, hosts):
        """Tests force a service down that they have stopped, so that they need not wait until it counts as down. A tap
        learns the same when the heartbeats have not come for that time."""
        for conductor in self.conductors.values():
            monitor = conductor.tap.model.monitor
            for host in hosts & conductor.projection.hosts.keys():
                monitor._heard_at[host] = time.monotonic() - monitor.service_down_time

    def close(self):
        """End all services, and log what they had: a test that fails shows its log."""
        for conductor in self.conductors.values():
            LOG.info("%s", conductor.tap.facts())
        for cell, log in self.logs.items():
            for event in events_of(log):
                LOG.info("%s: %s", cell, event)
        self._ending.close()
        with self._closing:
            died = concurrency.death()
            concurrency.forget_deaths()
            assert died is None, died
            catalogue = None if self.scheduler is None else self.scheduler.policy.catalogue
            found = breaches(self.logs, catalogue)
            assert not found, "\n".join(found)


def events_of(log):
    """The data of all events of a log."""
    with log.read_from(0) as reader:
        records = reader.read(10_000, 0.1)
    decoded = [event.data for record in records for event in codec.decode_record(record.payload).events]
    return [data._replace(evidence=b"") if isinstance(data, events.DecisionMade) else data for data in decoded]


class Settled:
    """The endpoint of the scheduler; a call waits until the state of the test is in the logs."""

    def __init__(self, cloud, endpoint):
        self._cloud = cloud
        self._endpoint = endpoint

    def __getattr__(self, name):
        return getattr(self._endpoint, name)

    def select_destinations(self, context, **arguments):
        self._cloud.settle()
        return self._endpoint.select_destinations(context, **arguments)


def _wait(is_done, why):
    deadline = time.monotonic() + SECONDS
    while not is_done():
        assert time.monotonic() < deadline, why
        time.sleep(PAUSE)
