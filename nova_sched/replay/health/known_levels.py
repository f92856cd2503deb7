"""Ask every service of a cloud over RPC which level it knows, before a log is pinned to a higher one.

The logs name the schedulers, conductors and agents that have published. A conductor publishes nothing while nothing
fails, so each topic is also asked several times without a name: a broker gives such calls to its servers in turn.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from nova_sched.projection.fold import CELL0
from rpc_api import config, errors
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.contracts import scheduler as scheduler_rpc

#: Seconds that a service has to answer, and how many are asked at once.
TIMEOUT = 5.0
AT_ONCE = 32
#: How often a topic is asked without a name: servers beyond this number, which have never published, are not found.
TURNS = 32
SCHEDULER, CONDUCTOR, AGENT = "scheduler", "conductor", "agent"


class Service(NamedTuple):
    """A service: its kind, its ``name`` on the bus (None: all of the kind in turn), and its cell. Schedulers and the
    conductors of the API level are those of cell0."""

    kind: str
    name: str | None
    cell: str

    def __str__(self):
        return f"{self.kind} {self.name}" if self.name is not None else f"a {self.kind}"


class Known(NamedTuple):
    """The ``level`` that a service knows (of several the lowest one); None if it did not answer, and why."""

    service: Service
    level: int | None
    why: str = ""


def services_of(projections) -> list[Service]:
    """The services that have published in logs (cell -> Projection), and the agents of all hosts, in order."""
    found = set()
    for cell, projection in projections.items():
        found.add(Service(CONDUCTOR, None, cell))
        found.add(Service(SCHEDULER, None, CELL0))
        for producer in projection.producers:
            role, _, name = producer.partition("/")
            if role == SCHEDULER:
                found.add(Service(SCHEDULER, name, CELL0))
            elif role == CONDUCTOR and cell != CELL0:
                found.add(Service(CONDUCTOR, name, cell))
        found.update(Service(AGENT, host.server, cell) for host in projection.hosts.values())
    return sorted(found, key=lambda service: (service.cell != CELL0, service.cell, service.kind, service.name or ""))


def ask(conf, services) -> list[Known]:
    """The level that each of some services knows, in their order; without the topics that no server answers. Raises
    UsageError for a wrong configuration."""
    buses, cells = config.Buses(conf), {cell.name: cell for cell in config.cells_of(conf, uuid_wanted=False)}
    try:
        kinds = {(service.kind, service.cell) for service in services}
        clients = {kind: _client(conf, buses, cells, *kind) for kind in kinds}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            known = pool.map(lambda service: _known(clients[service.kind, service.cell], service), services)
            return [one for one in known if one is not None]
    finally:
        buses.close()


def _client(conf, buses, cells, kind, cell):
    if kind == SCHEDULER:
        return _any_version(buses.top(), conf.scheduler.rpc_topic, scheduler_rpc.VERSION)
    if kind == CONDUCTOR and cell == CELL0:
        return _any_version(buses.top(), conf.conductor.rpc_topic, conductor_rpc.VERSION)
    bus = buses.of(cells[cell])
    if kind == CONDUCTOR:
        topic = conductor_rpc.cell_topic(cell, conf.conductor.rpc_topic)
        return _any_version(bus, topic, conductor_rpc.VERSION)
    return _any_version(bus, conf.compute_agent.rpc_topic, agent_rpc.VERSION)


def _any_version(bus, topic, version):
    """A client that servers of all minor versions answer."""
    return bus.client(topic, f"{version.split('.')[0]}.0")


def _known(client, service):
    turns = range(1 if service.name is not None else TURNS)
    try:
        return Known(service, min(client.known_level(service.name, TIMEOUT) for _ in turns))
    except errors.NoSuchServer as fault:
        return None if service.name is None else Known(service, None, str(fault))
    except errors.NovaSchedError as fault:
        return Known(service, None, str(fault))
