"""The services of a cloud in one process, started on one RPC bus and ended in the reverse order."""

import contextlib
from dataclasses import dataclass

from compute_agent.agent import Agent
from conductor.api import ApiConductor
from conductor.cell import CellConductor
from nova_sched.service.endpoint import SchedulerEndpoint
from nova_sched.service.scheduler import Scheduler
from rpc_api import agent as agent_rpc
from rpc_api import conductor as conductor_rpc
from rpc_api import scheduler as scheduler_rpc


@dataclass(frozen=True)
class Topics:
    """The RPC topics of a cloud's services; their defaults are those of the services themselves."""

    scheduler: str = scheduler_rpc.TOPIC
    conductor: str = conductor_rpc.TOPIC
    agent: str = agent_rpc.TOPIC

    @classmethod
    def under(cls, prefix: str):
        """Topics of one cloud among others on a broker: RabbitMQ's queues are named after the topic alone."""
        return cls(*(f"{prefix}.{topic}" for topic in (scheduler_rpc.TOPIC, conductor_rpc.TOPIC, agent_rpc.TOPIC)))


class Wiring(contextlib.ExitStack):
    """Starts services on ``bus``, which it closes too; leaving it ends them, the last started first."""

    def __init__(self, bus, topics: Topics):
        super().__init__()
        self.bus = bus
        self.topics = topics
        self.callback(bus.close)

    def serve(self, topic, server, endpoint, version):
        """Answer a topic until the end."""
        self.callback(self.bus.serve(topic, server, [endpoint], version).stop)

    def agent(self, cell, server, drivers):
        """Start an agent for hosts of a cell; they are reported when this returns."""
        agent = Agent(server, cell.name, cell.log, self.bus, drivers, conductor_topic=self.topics.conductor)
        self.callback(agent.stop)
        # Its hosts can be built on as soon as they are reported, so it answers before.
        self.serve(self.topics.agent, server, agent, agent_rpc.VERSION)
        return agent.start()

    def cell_conductor(self, cell, name):
        """Start the conductor of a cell; it has folded its log, and answers, when this returns."""
        conductor = CellConductor(name, cell.name, cell.log, self.bus, agent_topic=self.topics.agent)
        self.callback(conductor.stop)
        conductor.start()
        self.serve(conductor_rpc.cell_topic(cell.name, self.topics.conductor), name, conductor, conductor_rpc.VERSION)
        return conductor

    def scheduler(self, name, cell0, cells, policy):
        """Start a scheduler; it has folded its logs, and answers, when this returns."""
        scheduler = Scheduler(name, cell0, cells, policy)
        self.callback(scheduler.stop)
        scheduler.start().wait_ready()
        self.serve(self.topics.scheduler, name, SchedulerEndpoint(scheduler, policy), scheduler_rpc.VERSION)
        return scheduler

    def api_conductor(self, cells, max_attempts, **options):
        """Make the API level's conductor (see :class:`~conductor.api.ApiConductor`), for whoever is to call it."""
        conductor = ApiConductor(self.bus, {cell.name: self.bus for cell in cells}, max_attempts,
                                 scheduler_topic=self.topics.scheduler, topic=self.topics.conductor, **options)
        self.callback(conductor.close)
        return conductor
