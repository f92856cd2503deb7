"""What workers of the API show: requests by route, health, and a port for the metrics of each."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from placement_api.measures import RequestMeasures
from placement_api.region import Region
from placement_api.shown import ShownRegion
from rpc_api.feed.epoch import open_at_level
from rpc_api.log import open_log
from tests.placement_api.client import client_of
from tests.placement_api.processes import Worker
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.placement_api.test_cell_down import nowhere
from tests.placement_api.test_wsgi import configured
from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
P1 = uuid_of("p1")
#: Method, path, headers -> its labels.
REQUESTS = [
    ("GET", "/", {}, ("GET", "/", "200")),
    ("GET", "/resource_providers", {}, ("GET", "/resource_providers", "200")),
    ("GET", f"/resource_providers/{P1}", {}, ("GET", "/resource_providers/{uuid}", "404")),
    (
        "GET",
        f"/resource_providers/{P1}/inventories/VCPU",
        {},
        ("GET", "/resource_providers/{uuid}/inventories/{resource_class}", "404"),
    ),
    ("DELETE", "/usages", {}, ("DELETE", "/usages", "405")),
    ("BREW", "/usages", {}, ("other", "/usages", "405")),
    ("GET", "/coffee/1", {}, ("GET", "none", "404")),
    ("GET", "/healthcheck", {}, ("GET", "none", "200")),
]


@pytest.fixture
def region():
    region = Region.in_memory()
    yield region
    region.close()


def counted(region):
    """Labels -> number of requests."""
    return {
        sample.labels: sample.value
        for sample in region.measures.samples()
        if sample.family == "nova_sched_placement_requests_total"
    }


@pytest.mark.parametrize("method, path, headers, labels", REQUESTS, ids=[f"{row[0]} {row[1]}" for row in REQUESTS])
def test_a_request_is_counted_by_its_route(region, method, path, headers, labels):
    client = client_of(region)
    for _ in range(2):
        client.ask(method, path, **headers)
    assert counted(region) == {labels: 2}


def test_times_of_a_route_are_those_of_all_statuses():
    measures = RequestMeasures()
    measures.add("GET", "/usages", "200", 0.002)
    measures.add("GET", "/usages", "400", 0.5)
    measures.add("PUT", "/usages", "405", 9.0)
    times = {
        sample.labels: (sum(sample.value.counts), sample.value.total_s)
        for sample in measures.samples()
        if sample.family == "nova_sched_placement_request_duration_seconds"
    }
    assert times == {("GET", "/usages"): (2, 0.502), ("PUT", "/usages"): (1, 9.0)}


def test_a_cell_that_is_down(tmp_path):
    """The worker is ready, as the other cell works; and shows which log is down."""
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    with workers({"cell1": url, "cell2": nowhere()}, count=1) as (region,):
        shown = ShownRegion(region)
        assert shown.why_not_ready() == [] == region.why_cannot_answer()
        assert client_of(region).ask("GET", "/healthcheck").status == 200
        found = {log.log.cell: log for log in shown.followed()}
        assert found["cell1"].why_unreadable is None and found["cell1"].why_not_current is None
        assert "rabbit://" in found["cell2"].why_unreadable


def test_a_worker_that_has_read_nothing(tmp_path):
    """It cannot answer, which a load balancer sees."""
    region = Region([("cell1", nowhere())], "cell1", "placement/test", state_dir=tmp_path).start()
    try:
        client = client_of(region)
        assert client.ask("GET", "/healthcheck").status == 503
        wait_until(lambda: region.logs["cell1"].why_down, 30, "the log is not missed")
        answer = client.ask("GET", "/healthcheck")
        (reason,) = answer.body["reasons"]
        assert (answer.status, reason.startswith("this worker cannot answer")) == (503, True)
        assert "rabbit://" not in reason, "it needs no token"
        (why,) = ShownRegion(region).why_not_ready()
        assert why.startswith("no log was read yet: ") and "rabbit://" in why
    finally:
        region.close()


def test_a_log_that_takes_no_writes_makes_a_worker_unready_and_it_still_answers(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    with open_log(url) as log:
        open_at_level(log, "cell1", "operator/test", 1)
    with workers({"cell1": url}, count=1) as (region,):
        wait_until(lambda: ShownRegion(region).why_not_ready(), 30, "the gate is open")
        (why,) = ShownRegion(region).why_not_ready()
        assert "level 1" in why and region.why_cannot_answer() == []
        assert client_of(region).ask("GET", "/healthcheck").status == 200


def ready_at(port):
    """The text of /readyz."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
        return answer.read()


def test_each_worker_of_a_machine_has_a_port(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    port = free_port()
    monkeypatch.setenv("OS_MONITORING__ENABLED", "true")
    monkeypatch.setenv("OS_MONITORING__PORT", str(port))
    found = [Worker(tmp_path, {"cell1": url}) for _ in range(2)]
    try:
        for worker in found:
            worker.start().wait_ready()
        for number, worker in enumerate(found):
            assert f"metrics and health are at http://127.0.0.1:{port + number}" in worker.console()
            wait_until(lambda number=number: ready_at(port + number) == b"OK", 30, "it is not ready")
    finally:
        for worker in found:
            worker.close()


def test_under_another_web_server(tmp_path):
    """A process has its port from its first request on."""
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    port = free_port()
    config = configured(tmp_path, url, f"[monitoring]\nenabled = true\nport = {port}\n")
    script = (
        "import json, os, urllib.request, webob\n"
        "from placement_api.wsgi import application\n"
        "headers = {'X-Auth-Token': 'admin', 'OpenStack-API-Version': 'placement 1.39'}\n"
        "webob.Request.blank('/resource_providers', headers=headers).get_response(application)\n"
        f"answer = urllib.request.urlopen('http://127.0.0.1:{port}/metrics', timeout=30)\n"
        "print(json.dumps(answer.read().decode()), flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OS_NOVA_SCHED_CONFIG_FILES": str(config)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    text = json.loads(done.stdout)
    series = 'nova_sched_placement_requests_total{code="200",method="GET",route="/resource_providers"} 1.0'
    assert series in text.splitlines()
