"""A cloud of all services as processes on RabbitMQ, each with a port for its metrics and a socket of systemd."""

import contextlib
import os
import socket
import urllib.error
import urllib.request
import uuid

from oslo_config import cfg
from prometheus_client.parser import text_string_to_metric_families

from rpc_api import messages
from rpc_api.bus import MessagingBus
from rpc_api.contracts.conductor import ConductorAPI
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import CONTEXT, request_spec
from tests.end_to_end.processes import COMMANDS, MODULES, PRESENT, ServiceProcess, config_text, sections_for
from tests.placement_api.client import HEADERS
from tests.placement_api.regions import prepare
from tests.servers import free_port, wait_until

SECONDS_MAX = 60.0
SERVICES = {**COMMANDS, "placement": ("placement",), "shadow": ("shadow",)}
RELEASE = PRESENT._replace(modules={**MODULES, "placement": "placement_api.main"})


class Cloud:
    """All services of one cell, each with a port for its metrics and a socket of systemd.

    ``services`` is the name of each process -> its service and arguments; ``changes`` are sections of the configuration
    as :func:`tests.end_to_end.processes.sections_for` takes them. Without ``notifies`` there is no socket of systemd:
    a test that does not read it would hold up the services.
    """

    def __init__(self, directory, server, vhost, services=None, notifies=True, **changes):
        self.directory = directory
        self._notifies = notifies
        self.services = services or SERVICES
        self.ports = {name: free_port() for name in self.services}
        self.api_port = free_port()
        logs = {cell: server.url(f"nova_sched.{cell}", vhost) for cell in ("cell0", "cell1")}
        self.logs, self.log = logs, logs["cell1"]
        with open_log(logs["cell0"]) as log:
            open_at_level(log, "cell0", "operator/test", LEVEL)
        prepare(logs["cell1"], keeper="conductor/cond")
        self._config = directory / "nova_sched.conf"
        sections = sections_for(
            directory,
            DEFAULT={"transport_url": server.url(vhost=vhost)},
            cells={"cell0_log": logs["cell0"]},
            cell_cell1={"log": logs["cell1"]},
            monitoring={"enabled": "true"},
            checkpoints={"interval": 10},
            placement_api={
                "auth_strategy": "noauth2",
                "bind_host": "127.0.0.1",
                "bind_port": self.api_port,
                "state_dir": directory / "shared",
            },
        )
        for section, options in changes.items():
            section = section.replace("cell_", "cell:")
            sections[section] = {**sections.get(section, {}), **options}
        self._config.write_text(config_text(sections))
        self.managers, self.running = {}, {}

    def start(self, *names):
        for name in names or self.services:
            if name in self.managers:
                self.managers.pop(name).close()
            service, *arguments = self.services[name]
            environment = {"OS_MONITORING__PORT": str(self.ports[name])}
            if self._notifies:
                self.managers[name] = Manager(self.directory / f"notify-{name}")
                environment["NOTIFY_SOCKET"] = self.managers[name].address
            if name == "cell":
                # The conductor of the API level may not have one.
                environment["OS_TAP__ENABLED"] = "true"
            self.running[name] = ServiceProcess(
                self.directory,
                service,
                "--config-file",
                str(self._config),
                *arguments,
                env=environment,
                release=RELEASE,
            )
        for name in names or self.services:
            self.running[name].wait_ready()

    def stop(self, name):
        """End a service in good order; returns its exit code."""
        process = self.running.pop(name)
        code = process.stop()
        process.__exit__(None, None, None)
        return code

    def get(self, name, path, port=None):
        """(Status, text) of an answer of a service."""
        try:
            url = f"http://127.0.0.1:{port or self.ports[name]}{path}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answered:
            return answered.code, answered.read().decode()

    def samples(self, name):
        """All samples of a service."""
        status, text = self.get(name, "/metrics")
        assert status == 200, text
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name, series, **labels):
        """The value of a series of a service; None if it has none."""
        found = [
            sample.value
            for sample in self.samples(name)
            if sample.name == series and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def close(self):
        for process in self.running.values():
            process.__exit__(None, None, None)
        for manager in self.managers.values():
            manager.close()


class Manager:
    """The socket of systemd for one service."""

    def __init__(self, path):
        self.address = str(path)
        self.received = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def wait_for(self, text):
        """The first message with a text, and those before it, which are taken."""

        def come():
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.received.append(self._socket.recv(4096, socket.MSG_DONTWAIT).decode())
            return any(text in message for message in self.received)

        wait_until(come, SECONDS_MAX, f"no message with {text!r} came; there are {self.received}")
        index = next(number for number, message in enumerate(self.received) if text in message)
        found, self.received = self.received[: index + 1], self.received[index + 1 :]
        return found

    def close(self):
        self._socket.close()
        os.unlink(self.address)


def do_a_little_of_everything(cloud, server, vhost, nova):
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    with contextlib.closing(MessagingBus(cfg.CONF, server.url(vhost=vhost))) as bus:
        conductor = ConductorAPI(bus)
        wait_until(lambda: cloud.value("scheduler", "nova_sched_hosts", status="up") == 3, SECONDS_MAX, "no hosts")
        for vcpus, wanted in ((1, messages.BUILT), (1000, messages.NO_VALID_HOST)):
            instance = str(uuid.uuid4())
            spec = request_spec(instance, vcpus=vcpus)
            (outcome,) = conductor.schedule_and_build_instances(CONTEXT, spec, [instance]).result(SECONDS_MAX)
            assert outcome.outcome == wanted, outcome
    with open_log(cloud.log) as log:
        log.append([b"this is not a record"])
    nova.publish("heartbeat", b"this is not a message")
    for method, path in (("GET", "/resource_providers"), ("PUT", "/traits/CUSTOM_X"), ("GET", "/nowhere")):
        asked = urllib.request.Request(f"http://127.0.0.1:{cloud.api_port}{path}", method=method, headers=HEADERS)
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(asked, timeout=30).close()
