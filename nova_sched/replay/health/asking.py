"""Ask services over RPC whether they answer. A log does not show whether an idle service is running."""

from nova_sched.replay.health.finding import FAIL, OK, Finding
from rpc_api import config, errors
from rpc_api.contracts.conductor import CellConductorAPI, ConductorAPI
from rpc_api.contracts.scheduler import SchedulerAPI

#: Seconds that a service has to answer.
TIMEOUT = 10.0


def of_services(conf, has_agents: bool = True):
    """Give findings about the schedulers and conductors of a configuration: whether one of each kind answers. In a
    cloud without hosts of agents Nova's conductors call the schedulers, so it needs no API conductor."""
    buses = config.Buses(conf)
    try:
        topic = conf.conductor.rpc_topic
        yield _finding(
            "here",
            "schedulers",
            "nova-sched-scheduler",
            lambda: SchedulerAPI(_looked_at(buses.top(checked=False)), conf.scheduler.rpc_topic),
        )
        yield _finding(
            "here",
            "API conductors",
            "nova-sched-conductor --level api",
            lambda: ConductorAPI(_looked_at(buses.top(checked=False)), topic),
            is_needed=has_agents,
        )
        for cell in config.cells_of(conf, uuid_wanted=False):
            yield _finding(
                cell.name,
                "conductors",
                f"nova-sched-conductor --level cell --cell {cell.name}",
                lambda cell=cell: CellConductorAPI(_looked_at(buses.of(cell, checked=False)), cell.name, topic),
            )
    finally:
        buses.close()


def _looked_at(bus):
    """Raise LogUnavailable unless the broker of a bus is there: a command does not wait for it."""
    bus.check()
    return bus


def _finding(subject, check, program, client, is_needed=True):
    try:
        level = client().known_level(TIMEOUT)
    except (errors.NoAnswer, errors.NoSuchServer, errors.LogUnavailable) as fault:
        if not is_needed and not isinstance(fault, errors.LogUnavailable):
            return Finding(subject, check, OK, "none answers; none is needed, as Nova's conductors call the schedulers")
        return Finding(subject, check, FAIL, str(fault), f"check that {program} is running, and the broker")
    return Finding(subject, check, OK, f"one of them answers, which knows level {level}")
