"""Ask every service of a cloud over RPC which level it knows, before a log is pinned to a higher one.

The logs name the schedulers, conductors and agents that have published. A conductor publishes nothing while nothing
fails, so each topic is also asked several times without a name: a broker gives such calls to its servers in turn.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from nova_sched.projection.state import CELL0
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
        if self.name is not None:
            return f"{self.kind} {self.name} of {self.cell}"
        return "a conductor of the API level" if self == API_CONDUCTORS else f"a {self.kind} of {self.cell}"


#: They publish nothing. A cloud in which Nova's conductors call the schedulers has none.
API_CONDUCTORS = Service(CONDUCTOR, None, CELL0)


class Known(NamedTuple):
    """The ``level`` that a service knows (of several the lowest one); None if none answered. ``why`` is the error if
    one did not answer. ``version`` is the installed one, if that was asked and the service knows the question."""

    service: Service
    level: int | None
    why: str | None = None
    version: str | None = None


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
        found.update(Service(AGENT, host.server, cell) for host in projection.hosts.values() if host.server)
    return sorted(found, key=lambda service: (service.cell != CELL0, service.cell, service.kind, service.name or ""))


def ask(conf, services, with_version: bool = False) -> list[Known]:
    """The level that each of some services knows, in their order; without the topic of the API conductors if no server
    answers it. Raises UsageError for a wrong configuration, LogUnavailable if a broker cannot be reached."""
    buses, cells = config.Buses(conf), {cell.name: cell for cell in config.cells_of(conf, uuid_wanted=False)}
    try:
        kinds = {(service.kind, service.cell) for service in services}
        clients = {kind: _client(conf, buses, cells, *kind) for kind in kinds}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            known = pool.map(
                lambda service: _known(clients[service.kind, service.cell], service, with_version), services
            )
            return [one for one in known if one.service != API_CONDUCTORS or one.level is not None or one.why]
    finally:
        buses.close()


def _client(conf, buses, cells, kind, cell):
    if cell != CELL0 and cell not in cells:
        raise errors.UsageError(
            f"the services of {cell} cannot be asked, as the configuration has no such cell; enable it in [cells], or "
            "leave out its log"
        )
    bus = buses.top(checked=False) if cell == CELL0 else buses.of(cells[cell], checked=False)
    bus.check()  # once: a command does not wait for a broker
    if kind == SCHEDULER:
        return _any_version(bus, conf.scheduler.rpc_topic, scheduler_rpc.VERSION)
    if kind == AGENT:
        return _any_version(bus, conf.compute_agent.rpc_topic, agent_rpc.VERSION)
    topic = conf.conductor.rpc_topic
    topic = topic if cell == CELL0 else conductor_rpc.cell_topic(cell, topic)
    return _any_version(bus, topic, conductor_rpc.VERSION)


def _any_version(bus, topic, version):
    """A client that servers of all minor versions answer."""
    return bus.client(topic, f"{version.split('.')[0]}.0")


def _known(client, service, with_version=False):
    """Ask a service, or all of a topic in turn: one that does not answer must not hide the answers of the others."""
    levels, why = [], None
    for _ in range(1 if service.name is not None else TURNS):
        try:
            levels.append(client.known_level(service.name, TIMEOUT))
        except errors.NoSuchServer as fault:
            if service == API_CONDUCTORS:
                return Known(service, None)
            return Known(service, None, str(fault))
        except errors.NovaSchedError as fault:
            if why is not None:
                break  # two of them are enough to say that one does not answer
            why = str(fault)
    version = client.known_version(service.name, TIMEOUT) if with_version and levels else None
    return Known(service, min(levels, default=None), why, version)
