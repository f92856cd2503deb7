"""All services as processes on RabbitMQ, as Prometheus, systemd and a load balancer see them."""

import contextlib
import re
import signal
import socket
import time
import urllib.error
import urllib.request
import uuid

import pytest
from oslo_config import cfg
from prometheus_client.parser import text_string_to_metric_families

from nova_sched.process.monitoring.families import FAMILIES
from rpc_api import messages
from rpc_api.bus import MessagingBus
from rpc_api.contracts.conductor import ConductorAPI
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests import promql
from tests.builders import CONTEXT, request_spec
from tests.conductor.tap.test_rabbit import Nova
from tests.end_to_end.processes import COMMANDS, MODULES, PRESENT, ServiceProcess, config_text, sections_for
from tests.placement_api.client import HEADERS
from tests.placement_api.regions import prepare
from tests.servers import free_port, wait_until

pytestmark = pytest.mark.rabbit

SECONDS_MAX = 60.0
SERVICES = {**COMMANDS, "placement": ("placement",), "shadow": ("shadow",)}
RELEASE = PRESENT._replace(modules={**MODULES, "placement": "placement_api.main"})


class Cloud:
    """All services of one cell, each with a port for its metrics and a socket of systemd."""

    def __init__(self, directory, server, vhost):
        self.directory = directory
        self.ports = {name: free_port() for name in SERVICES}
        self.api_port = free_port()
        logs = {cell: server.url(f"nova_sched.{cell}", vhost) for cell in ("cell0", "cell1")}
        self.log = logs["cell1"]
        with open_log(logs["cell0"]) as log:
            open_at_level(log, "cell0", "operator/test", LEVEL)
        prepare(logs["cell1"])
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
        self._config.write_text(config_text(sections))
        self.managers, self.running = {}, {}

    def start(self, *names):
        for name in names or SERVICES:
            self.managers[name] = Manager(self.directory / f"notify-{name}")
            service, *arguments = SERVICES[name]
            environment = {"OS_MONITORING__PORT": str(self.ports[name]), "NOTIFY_SOCKET": self.managers[name].address}
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
        for name in names or SERVICES:
            self.running[name].wait_ready()

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


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, rabbit_server):
    """A cloud that has done a little of everything."""
    vhost = f"monitoring-{uuid.uuid4()}"
    rabbit_server.add_vhost(vhost)
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), rabbit_server, vhost)
    nova = Nova(rabbit_server, vhost)
    try:
        cloud.start()
        do_a_little_of_everything(cloud, rabbit_server, vhost, nova)
        yield cloud
    finally:
        cloud.close()
        nova.close()


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


def shown_by(cloud):
    """Name of a series -> names of its labels, of all services together."""
    found = {}
    for name in SERVICES:
        for sample in cloud.samples(name):
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_what_alerts_and_the_dashboard_ask_for_is_exported(cloud):
    def missing():
        shown = shown_by(cloud)
        return [
            (where, asked.name, sorted(asked.labels - shown.get(asked.name, set()) - promql.OF_PROMETHEUS))
            for where, asked in promql.everything_asked()
            if asked.name != "up"
            and (asked.name not in shown or not asked.labels <= shown[asked.name] | promql.OF_PROMETHEUS)
        ]

    # (The margin of a checkpoint needs the bounds of the log, which are asked for from time to time.)
    deadline = time.monotonic() + SECONDS_MAX
    while (found := missing()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not found


def test_every_metric_is_exported_by_a_service(cloud):
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown_by(cloud)} | set(shown_by(cloud))
    assert set(FAMILIES) <= shown


#: Service, series, labels -> the value after what was done.
VALUES = [
    ("scheduler", "nova_sched_scheduler_requests_total", {"outcome": "placed"}, 1),
    ("scheduler", "nova_sched_scheduler_requests_total", {"outcome": "no_valid_host"}, 1),
    ("scheduler", "nova_sched_scheduler_request_duration_seconds_count", {}, 2),
    ("scheduler", "nova_sched_scheduler_step_duration_seconds_count", {"step": "queue"}, 2),
    ("scheduler", "nova_sched_scheduler_step_duration_seconds_count", {"step": "read_back"}, 1),
    ("scheduler", "nova_sched_scheduler_hosts_refused_total", {"filter": "ResourceFilter"}, 3),
    ("scheduler", "nova_sched_log_claims_total", {"cell": "cell1", "outcome": "accepted"}, 1),
    ("cell", "nova_sched_log_events_set_aside_total", {"cell": "cell1", "code": "undecodable"}, 1),
    ("scheduler", "nova_sched_log_events_set_aside_total", {"cell": "cell1", "code": "undecodable"}, 1),
    ("cell", "nova_sched_tap_reading", {"cell": "cell1"}, 1),
    ("cell", "nova_sched_tap_messages_unread_total", {"code": "not-a-call"}, 1),
    ("cell", "nova_sched_tap_messages_total", {"outcome": "used"}, 1),
    ("shadow", "nova_sched_shadow_comparisons_total", {"verdict": "same"}, 0),
    ("agent", "nova_sched_agent_instances", {}, 1),
    ("shadow", "nova_sched_shadow_reading", {"source": "requests"}, 1),
    ("shadow", "nova_sched_shadow_reading", {"source": "cell1"}, 1),
    ("api", "nova_sched_conductor_peer_answers", {"peer": "cell1"}, 1),
    ("placement", "nova_sched_placement_requests_total", {"route": "/resource_providers", "code": "200"}, 1),
    ("placement", "nova_sched_placement_requests_total", {"route": "/traits/{name}", "code": "201"}, 1),
    ("placement", "nova_sched_placement_requests_total", {"route": "none", "code": "404"}, 1),
    ("placement", "nova_sched_placement_write_duration_seconds_count", {}, 1),
    ("placement", "nova_sched_consumers", {"cell": "cell1"}, 1),
]


@pytest.mark.parametrize(
    "service, series, labels, value", VALUES, ids=[f"{row[0]}-{row[1]}-{row[2]}" for row in VALUES]
)
def test_values(cloud, service, series, labels, value):
    # Services read the log one after the other.
    wait_until(
        lambda: cloud.value(service, series, **labels) == value,
        SECONDS_MAX,
        f"{service} shows {cloud.value(service, series, **labels)} for {series}, wanted {value}",
    )


@pytest.mark.parametrize("service", SERVICES)
def test_health(cloud, service):
    assert cloud.get(service, "/healthz") == (200, "OK")
    assert cloud.get(service, "/readyz") == (200, "OK")


def test_the_load_balancer_of_the_api(cloud):
    assert cloud.get("placement", "/healthcheck", cloud.api_port)[0] == 200


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_is_kept_informed(cloud, service):
    """The last test: it ends the services."""
    manager, process = cloud.managers[service], cloud.running[service]
    begin = manager.wait_for("READY=1")
    assert begin[0] == "STATUS=is starting, and reads its logs"
    assert "\nSTATUS=" in begin[-1] and not any("WATCHDOG" in message for message in begin)
    for _ in range(2):
        manager.wait_for("WATCHDOG=1")
    process.send(signal.SIGHUP)
    reload = manager.wait_for("READY=1")
    (reloading,) = [message for message in reload if message.startswith("RELOADING=1\nMONOTONIC_USEC=")]
    assert int(re.search(r"USEC=(\d+)", reloading)[1]) <= time.monotonic() * 1e6
    process.send(signal.SIGTERM)
    manager.wait_for("STOPPING=1\nSTATUS=is ending")
    assert process.process.wait(SECONDS_MAX) == 0, process.stderr


def test_a_second_service_of_a_kind_needs_another_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        sections = sections_for(tmp_path, monitoring={"enabled": "true", "port": taken.getsockname()[1]})
        path = tmp_path / "nova_sched.conf"
        path.write_text(config_text(sections))
        with ServiceProcess(tmp_path, "scheduler", "--config-file", str(path)) as process:
            assert process.process.wait(SECONDS_MAX) == 2
            assert "the metrics cannot be served on 127.0.0.1:" in process.stderr
