"""Ask every service of a cloud over RPC which level it knows, before a log is pinned to a higher one."""

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
SCHEDULER, CONDUCTOR, AGENT = "scheduler", "conductor", "agent"
API_CONDUCTOR = "the API conductors"


class Service(NamedTuple):
    """A service: its kind, its ``name`` on the bus (None: any one of the kind), and its cell."""

    kind: str
    name: str | None
    cell: str

    def __str__(self):
        return API_CONDUCTOR if self.name is None else f"{self.kind} {self.name}"


class Known(NamedTuple):
    """The ``level`` that a service knows; None if it did not answer, and why."""

    service: Service
    level: int | None
    why: str = ""


def services_of(projections) -> list[Service]:
    """The services that have published in logs (cell -> Projection), and the agents of all hosts, in order."""
    found = {Service(CONDUCTOR, None, CELL0)} if CELL0 in projections else set()
    for cell, projection in projections.items():
        for producer in projection.producers:
            role, _, name = producer.partition("/")
            if role == SCHEDULER:
                found.add(Service(SCHEDULER, name, CELL0))
            elif role == CONDUCTOR and cell != CELL0:
                found.add(Service(CONDUCTOR, name, cell))
        found.update(Service(AGENT, host.server, cell) for host in projection.hosts.values())
    return sorted(found, key=lambda service: (service.cell != CELL0, service.cell, service.kind, service.name or ""))


def ask(conf, services) -> list[Known]:
    """The level that each of some services knows, in their order. Raises UsageError for a wrong configuration."""
    buses, cells = config.Buses(conf), {cell.name: cell for cell in config.cells_of(conf, uuid_wanted=False)}
    try:
        clients = {
            key: _client(conf, buses, cells, *key)
            for key in {(one.kind, one.name is None, one.cell) for one in services}
        }
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda one: _known(clients[one.kind, one.name is None, one.cell], one), services))
    finally:
        buses.close()


def _client(conf, buses, cells, kind, is_api, cell):
    if kind == SCHEDULER:
        return _any_version(buses.top(), conf.scheduler.rpc_topic, scheduler_rpc.VERSION)
    if is_api:
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
    try:
        return Known(service, client.known_level(service.name, TIMEOUT))
    except errors.NovaSchedError as fault:
        return Known(service, None, str(fault))
