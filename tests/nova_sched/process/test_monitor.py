"""Metrics and health over HTTP, as a scraper, a probe and a flood get them."""

import contextlib
import http.client
import json
import logging
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from waitress import wasyncore

from nova_sched.process.monitoring import listener
from nova_sched.process.monitoring.families import Sample
from nova_sched.process.monitoring.listener import Limited, Listener
from nova_sched.process.monitoring.monitor import IS_STARTING
from rpc_api import errors
from rpc_api.histogram import BOUNDS, Histogram
from tests.nova_sched.process.shown_services import ShownService, monitor_of
from tests.servers import free_port, wait_until


@pytest.fixture
def served():
    """A service with two loops, and what answers for it."""
    service = ShownService("first", "second")
    monitor = monitor_of(service, enabled=True).serve(free_port())
    monitor.is_started = True
    service.monitor = monitor
    yield service
    monitor.close()


def ask(service, path, method="GET", **headers):
    """(Status, body, type) of an answer."""
    host, _, port = service.monitor.urls[0].removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers.get("Content-Type")
    finally:
        connection.close()


def values_of(text):
    """(Name, labels) -> value of each series."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


#: What is wrong -> what /healthz and /readyz then answer.
HEALTH = [
    ("nothing", 200, "OK", 200, "OK"),
    ("start", 200, "OK", 503, IS_STARTING),
    ("reason", 200, "OK", 503, "the log of cell1 is being read"),
    ("fault", 503, "the log has a gap", 503, "the log has a gap"),
    ("stuck", 503, "the loop second has not gone round for 61 s", 503, "the loop second has not gone round for 61 s"),
]


@pytest.mark.parametrize("wrong, health, why_ill, ready, why_not", HEALTH, ids=[row[0] for row in HEALTH])
def test_health(served, wrong, health, why_ill, ready, why_not):
    if wrong == "start":
        served.monitor.is_started = False
    elif wrong == "reason":
        served.reasons = [why_not]
    elif wrong == "fault":
        served.fault = errors.LogGap(why_ill)
    elif wrong == "stuck":
        served.clock.seconds += 61
        served.loops[0].beat()
    assert ask(served, "/healthz")[:2] == (health, why_ill)
    assert ask(served, "/readyz")[:2] == (ready, why_not)
    assert ask(served, "/readyz", "HEAD")[:2] == (204 if ready == 200 else 503, "")
    status, body, kind = ask(served, "/readyz", Accept="application/json")
    assert (status, json.loads(body)["reasons"], kind.split(";")[0]) == (ready, [why_not], "application/json")
    samples = values_of(ask(served, "/metrics")[1])
    assert samples["nova_sched_ready", ()] == (ready == 200)


def test_two_reasons_have_a_line_each(served):
    served.reasons = ["one", "two"]
    assert ask(served, "/readyz")[:2] == (503, "one\ntwo")


def test_a_file_takes_a_service_out_of_a_load_balancer_and_does_not_make_it_ill(tmp_path):
    service = ShownService()
    service.monitor = monitor_of(service, enabled=True)
    file = tmp_path / "out"
    file.touch()
    from oslo_middleware.healthcheck import opts

    conf = service.monitor._conf
    conf.register_opts(opts.HEALTHCHECK_OPTS, "healthcheck")
    conf.set_override("backends", ["disable_by_file"], "healthcheck")
    conf.register_opts(opts.DISABLE_BY_FILE_OPTS, "healthcheck")
    conf.set_override("disable_by_file_path", str(file), "healthcheck")
    service.monitor.serve(free_port()).is_started = True
    try:
        assert ask(service, "/healthz")[0] == 200
        assert ask(service, "/readyz")[0] == 503
        file.unlink()
        assert ask(service, "/readyz")[0] == 200
    finally:
        service.monitor.close()


def test_metrics_in_both_forms(served):
    durations = Histogram()
    for seconds in (0.0001, 0.002, 99.0):
        durations.add(seconds)
    served.numbers = [
        Sample("nova_sched_scheduler_request_duration_seconds", durations),
        Sample("nova_sched_scheduler_requests_total", 7, ("placed",)),
    ]
    status, text, kind = ask(served, "/metrics")
    assert status == 200 and kind.startswith("text/plain; version=")
    found = values_of(text)
    name = "nova_sched_scheduler_request_duration_seconds"
    buckets = [found[f"{name}_bucket", (("le", le),)] for le in ("0.0001", "0.001", "0.0025", "30.0", "+Inf")]
    assert buckets == [1, 1, 2, 2, 3]
    assert found[f"{name}_count", ()] == 3 and found[f"{name}_sum", ()] == pytest.approx(99.0021)
    assert len([1 for found_name, _ in found if found_name == f"{name}_bucket"]) == len(BOUNDS) + 1
    assert found["nova_sched_scheduler_requests_total", (("outcome", "placed"),)] == 7
    assert found["nova_sched_build_info", (("program", "nova-sched-test"), ("version", "0.1.0"))] == 1
    assert found["process_resident_memory_bytes", ()] > 1e6
    status, text, kind = ask(served, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text") and text.endswith("# EOF\n")


def test_a_text_is_used_again_for_a_second(served):
    served.numbers = [Sample("nova_sched_agent_hosts", 1)]
    first = ask(served, "/metrics")[1]
    served.numbers = [Sample("nova_sched_agent_hosts", 2)]
    served.clock.seconds += 0.9
    assert ask(served, "/metrics")[1] == first
    served.clock.seconds += 0.2
    assert values_of(ask(served, "/metrics")[1])["nova_sched_agent_hosts", ()] == 2


def test_a_fault_of_the_metrics_is_logged_and_health_goes_on(served, caplog):
    served.numbers = [Sample("no_such_family", 1)]
    status, text, _ = ask(served, "/metrics")
    assert status == 500 and "no_such_family" not in text
    assert "the metrics cannot be made: KeyError('no_such_family')" in caplog.text
    assert ask(served, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "method, path, status", [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 405)]
)
def test_other_requests(served, method, path, status):
    assert ask(served, path, method)[0] == status


def test_a_port_that_is_taken_ends_the_start():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(errors.UsageError, match=rf"127.0.0.1:{port} \(Address already in use\).*\[monitoring\]"):
            monitor_of(ShownService(), enabled=True).serve(port)


def test_nothing_listens_unless_it_is_enabled():
    monitor = monitor_of(ShownService()).serve(free_port())
    assert monitor.urls == []
    monitor.close()


class Stopped:
    """An Event that notes how long it was waited for."""

    def __init__(self):
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)


def test_a_flood_waits():
    stopped = Stopped()
    limited = Limited(lambda environ, start_response: [b"ok"], stopped, most=5)
    for _ in range(12):
        assert limited({}, None) == [b"ok"]
    assert len(stopped.waits) == 2 and all(0 < seconds <= 1 for seconds in stopped.waits)


def test_a_slow_request_is_given_up(monkeypatch):
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.2)
    port = free_port()
    serving = Listener(lambda environ, start_response: [b""], "127.0.0.1", port)
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as slow:
            slow.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert slow.recv(1) == b"", "the connection is closed, and the rest is not waited for"
    finally:
        serving.close()


@pytest.fixture
def large():
    """(The port of a listener with one large answer, how often its loop went round)."""
    port, rounds, loop = free_port(), [], wasyncore.loop
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wasyncore, "loop", lambda *arguments: (rounds.append(1), loop(*arguments)))
        patched.setattr(listener, "IDLE_SECONDS", 0.5)

        def application(environ, start_response):
            start_response("200 OK", [("Content-Length", str(LARGE))])
            return [b"x" * LARGE]

        serving = Listener(application, "127.0.0.1", port)
        yield port, rounds
        serving.close()


LARGE = 40 << 20


def test_an_end_that_comes_twice_wakes_nothing():
    """The descriptor of what wakes the loop is closed then."""
    serving = Listener(lambda environ, start_response: [b""], "127.0.0.1", free_port())
    serving.close()
    serving.close()


def test_an_urgent_byte_ends_its_connection(large):
    """It would occupy the processor that decisions need."""
    port, rounds = large
    with socket.create_connection(("127.0.0.1", port), 30) as urgent:
        urgent.send(b"!", socket.MSG_OOB)
        with contextlib.suppress(ConnectionError):
            assert urgent.recv(1) == b""
    assert len(rounds) < 50


def test_a_client_that_does_not_read_loses_its_place(large, caplog):
    port, _ = large
    caplog.set_level(logging.INFO)
    with socket.create_connection(("127.0.0.1", port), 30) as stalled:
        stalled.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "does not read its answer" in caplog.text, 30, "it is still waited for")
        received = 0
        with contextlib.suppress(ConnectionError):
            while got := stalled.recv(1 << 20):
                received += len(got)
        assert received < LARGE
