"""The compute agent as a service process."""

from compute_agent import config
from compute_agent.agent import Agent
from nova_sched.process.service import Remaining, Service
from rpc_api.config import Buses
from rpc_api.contracts.agent import VERSION

#: What --help says about the service.
DESCRIPTION = "Report the resources and instances of this host, or of simulated hosts, to the log of its cell."

register = config.register


class AgentService(Service):
    """An agent for the hosts of its driver, answering ``[compute_agent] rpc_topic`` on its cell's message queue."""

    def __init__(self, conf):
        self._conf = conf
        self._cell = config.cell_of(conf)
        self._drivers = config.drivers_of(conf)
        self._buses = Buses(conf)
        self._agent = self._server = None

    def start(self):
        options, shared = self._conf.compute_agent, self._conf.conductor
        bus = self._buses.of(self._cell)
        self._agent = Agent(
            options.host,
            self._cell.name,
            self._cell.log,
            bus,
            self._drivers,
            report_interval=options.report_interval,
            confirm_interval=options.confirm_interval,
            conductor_topic=shared.rpc_topic,
        )
        # It can be built on as soon as it is reported, so it answers before.
        self._server = self._buses.serve(bus, options.rpc_topic, options.host, self._agent, VERSION)
        self._agent.start(self._conf.cells.catch_up_timeout)

    def serves(self):
        hosts = list(self._agent.hosts)
        shown = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        return (
            f"compute_agent/{self._agent.server} of {self._cell.name} answers the topic "
            f"{self._conf.compute_agent.rpc_topic} for {shown} (driver {self._conf.compute_agent.driver})"
        )

    def drain(self, timeout):
        time = Remaining(timeout)
        drained = self._server.stop(time.left) if self._server is not None else True
        if self._agent is not None:
            drained = self._agent.stop(time.left) and drained
        self._buses.close()
        return drained

    def report(self):
        return {"cell": self._cell.name, "driver": self._conf.compute_agent.driver, **self._agent.facts()}

    MONITORING_PORT = 9777

    def pulses(self):
        return [] if self._agent is None else [self._agent.pulse]

    def samples(self):
        return () if self._agent is None else self._agent.samples()

    def why_not_ready(self):
        return self._agent.why_not_ready()


service = AgentService
