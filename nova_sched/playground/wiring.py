"""The services of a cloud in one process, started on one RPC bus and ended in the reverse order."""

import contextlib

from compute_agent.agent import Agent
from conductor.api import ApiConductor
from conductor.cell import CellConductor
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Scheduler
from placement_api.app import make_app
from placement_api.region import Region
from placement_api.service import RunningServer
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.contracts import scheduler as scheduler_rpc

#: Seconds within which the logs of Placement's API must be folded; and within which its last requests must end.
READY_SECONDS, STOP_SECONDS = 60.0, 5.0


class Wiring(contextlib.ExitStack):
    """Starts services, and ends them on exit, the last started first.

    ``bus`` is the API level's RPC bus and ``cell_bus`` that of all cells; both are closed at the end.
    """

    def __init__(self, bus, cell_bus, scheduler_topic=scheduler_rpc.TOPIC):
        super().__init__()
        self.bus = bus
        self.cell_bus = cell_bus
        self.scheduler_topic = scheduler_topic
        for bus_ in {bus, cell_bus}:
            self.callback(bus_.close)

    def serve(self, bus, topic, server, endpoint, version):
        """Serve a topic until the end."""
        self.callback(bus.serve(topic, server, [endpoint], version).stop)

    def cell_conductor(self, cell, name, checkpoints=None):
        """Start the conductor of a cell. When this returns, the conductor has folded its log and answers.
        ``checkpoints`` is a Maker of those of the log, None if it writes none."""
        conductor = CellConductor(name, cell.name, cell.log, self.cell_bus, checkpoints=checkpoints)
        self.callback(conductor.stop)
        conductor.start()
        self.serve(self.cell_bus, conductor_rpc.cell_topic(cell.name), name, conductor, conductor_rpc.VERSION)
        return conductor

    def agent(self, cell, server, drivers):
        """Start an agent for hosts of a cell whose conductor is running. When this returns, the hosts are reported."""
        agent = Agent(server, cell.name, cell.log, self.cell_bus, drivers)
        self.callback(agent.stop)
        # A build may come as soon as the hosts are reported, so the agent answers before that.
        self.serve(self.cell_bus, agent_rpc.TOPIC, server, agent, agent_rpc.VERSION)
        return agent.start()

    def scheduler(self, name, cell0, cells, policy, checkpoints=None):
        """Start a scheduler. When this returns, the scheduler has folded its logs and answers. ``checkpoints`` is a
        Maker of those of cell0's log, None if it writes none."""
        scheduler = Scheduler(name, cell0, cells, policy, checkpoints=checkpoints)
        self.callback(scheduler.stop)
        scheduler.start().wait_ready()
        self.serve(self.bus, self.scheduler_topic, name, SchedulerEndpoint(scheduler), scheduler_rpc.VERSION)
        return scheduler

    def placement(self, name, logs, new_roots, conf, host, port):
        """Start Placement's API over some logs, (cell, URL) each, and return its web server, which answers when this
        returns. ``conf`` has the options of placement_api.config."""
        region = Region(logs, new_roots, f"placement/{name}")
        self.callback(region.close)
        region.start().wait_ready(READY_SECONDS)
        server = RunningServer(make_app(conf, region), conf.placement_api, host, port, is_alone=True)
        self.callback(server.stop, STOP_SECONDS)
        return server

    def api_conductor(self, cells, max_attempts, **options):
        """Return the API level's conductor (see :class:`~conductor.api.ApiConductor`) for direct calls."""
        conductor = ApiConductor(
            self.bus,
            {cell.name: self.cell_bus for cell in cells},
            max_attempts,
            scheduler_topic=self.scheduler_topic,
            **options,
        )
        self.callback(conductor.close)
        return conductor
