"""Scheduler, API conductor, cell conductor and agent as four processes, with RabbitMQ between them."""

import re
import uuid

import pytest
from oslo_config import cfg

from nova_sched.projection.ledger import RUNNING
from nova_sched.projection.projection import Projection
from rpc_api import codec, messages
from rpc_api.bus import MessagingBus
from rpc_api.contracts.conductor import ConductorAPI
from rpc_api.log import open_log
from tests.builders import CONTEXT, request_spec
from tests.end_to_end.processes import COMMANDS, ServiceProcess, rabbit_config

BUILD_SECONDS_MAX = 60.0

pytestmark = pytest.mark.rabbit


@pytest.fixture
def config(tmp_path, rabbit_server, vhost):
    return rabbit_config(tmp_path, rabbit_server, vhost)


@pytest.fixture
def conductor(rabbit_server, vhost):
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, rabbit_server.url(vhost=vhost))
    yield ConductorAPI(bus)
    bus.close()


class Services:
    """The four processes by name."""

    def __init__(self, directory, config):
        self._directory, self._config = directory, config
        self.running = {}

    def start(self, *names):
        for name in names:
            service, *args = COMMANDS[name]
            self.running[name] = ServiceProcess(self._directory, service, "--config-file", str(self._config), *args)
        for name in names:
            self.running[name].wait_ready()

    def stop(self, name):
        process = self.running.pop(name)
        with process:
            code = process.stop()
            assert (code, process.stdout) == (0, ""), process.stderr
            # oslo.messaging says an ERROR of its own when a fanout has nobody left to go to.
            assert "Traceback" not in process.stderr, process.stderr
            assert not re.search(" ERROR (?!oslo)", process.stderr), process.stderr

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.running.values():
            process.__exit__()


def folded(url):
    """The projection of a whole log."""
    projection = Projection("cell1")
    with open_log(url, create=False) as log:
        bounds = log.bounds()
        with log.read_from(bounds.first) as reader:
            while projection.position < bounds.last:
                projection.fold(
                    [(one.position, codec.decode_record(one.payload, one.account)) for one in reader.read(1000, 10)]
                )
    return projection


def build(conductor, count):
    uuids = [str(uuid.uuid4()) for _ in range(count)]
    return {one: conductor.schedule_and_build_instances(CONTEXT, request_spec(one), [one]) for one in uuids}


def outcomes(asked):
    return {one: answer.result(BUILD_SECONDS_MAX)[0] for one, answer in asked.items()}


def test_build_stop_and_go_on(tmp_path, config, conductor, rabbit_server, vhost):
    url = rabbit_server.url("nova_sched.cell1", vhost)
    with Services(tmp_path, config) as services:
        services.start("agent", "cell", "api", "scheduler")
        built = outcomes(build(conductor, 4))
        assert {one.outcome for one in built.values()} == {messages.BUILT}
        assert {one.attempts for one in built.values()} == {1}

        # What is under way when a scheduler is stopped is answered by it, or by the next one.
        asked = build(conductor, 6)
        services.stop("scheduler")
        services.start("scheduler")
        built |= outcomes(asked)
        assert {one.outcome for one in built.values()} == {messages.BUILT}
        # Ten of twelve places are taken: a scheduler that forgot one of them would now place a third.
        more = outcomes(build(conductor, 3))
        assert sorted(one.outcome for one in more.values()) == [messages.BUILT] * 2 + [messages.NO_VALID_HOST]
        built |= {one: outcome for one, outcome in more.items() if outcome.outcome == messages.BUILT}

        services.stop("cell")
        services.start("cell")
        gone, outcome = next(iter(built.items()))
        conductor.delete_instance(CONTEXT, "cell1", outcome.host, gone).result(BUILD_SECONDS_MAX)
        del built[gone]
        built |= outcomes(build(conductor, 1))

        projection = folded(url)
        assert {
            one: [(entry.host, entry.state) for entry in entries] for one, entries in projection.consumers.items()
        } == {one: [(outcome.host, RUNNING)] for one, outcome in built.items()}
        assert not projection.quarantine

        first = projection.producers["compute_agent/sim-1"]
        for name in ("api", "agent", "scheduler", "cell"):
            services.stop(name)
        services.start("agent")
        services.stop("agent")
        again = folded(url).producers["compute_agent/sim-1"]
        assert again[0] > first[0] and again[1] == 1


@pytest.mark.long
def test_no_call_is_lost_when_services_are_stopped_under_load(tmp_path, config, conductor):
    """Each request that arrives at a service that stops is answered by it or by the next one."""
    with Services(tmp_path, config) as services:
        services.start("agent", "cell", "api", "scheduler")
        for name in ("scheduler", "cell", "api"):
            asked = build(conductor, 20)
            services.stop(name)
            services.start(name)
            found = outcomes(asked)
            assert len(found) == 20
            for one, outcome in found.items():
                assert outcome.outcome in (messages.BUILT, messages.NO_VALID_HOST), outcome
                if outcome.outcome == messages.BUILT:
                    conductor.delete_instance(CONTEXT, "cell1", outcome.host, one).result(BUILD_SECONDS_MAX)
        for name in ("scheduler", "api", "cell", "agent"):
            services.stop(name)
