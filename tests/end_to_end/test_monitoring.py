"""All services as processes on RabbitMQ, as Prometheus, systemd and a load balancer see them."""

import contextlib
import re
import signal
import socket
import time
import uuid

import pytest

from nova_sched.process.monitoring.families import FAMILIES
from tests import promql
from tests.conductor.tap.test_rabbit import Nova
from tests.end_to_end.monitored import SECONDS_MAX, SERVICES, Cloud, do_a_little_of_everything
from tests.end_to_end.processes import ServiceProcess, config_text, sections_for
from tests.servers import ServerFailed, wait_until

pytestmark = pytest.mark.rabbit


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
    with contextlib.suppress(ServerFailed):
        wait_until(lambda: not missing(), SECONDS_MAX, "something is not exported")
    assert missing() == []


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
