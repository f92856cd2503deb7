"""Where traces go: a collector of the test takes them, or is away."""

import http.server
import sys
import threading

import pytest
from oslo_config import cfg

from nova_sched.process import tracing
from rpc_api import config, errors
from tests.servers import free_port


def configured(endpoint, enabled=True):
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("enabled", enabled, "tracing")
    conf.set_override("endpoint", endpoint, "tracing")
    return conf


@pytest.fixture(autouse=True)
def own_provider(monkeypatch):
    """The provider that libraries share is set once per process."""
    from opentelemetry import trace

    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)


def end_a_span(provider):
    provider.get_tracer("test").start_span("a span").end()


def test_a_collector_gets_the_spans():
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments): ...

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        provider = tracing.provider_of(configured(f"http://127.0.0.1:{server.server_port}/"), "nova-sched-test")
        end_a_span(provider)
        provider.force_flush()
        server.shutdown()
    assert len(received) == 1 and received[0][0] == "/v1/traces"


def test_a_collector_that_is_away_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.01)
    provider = tracing.provider_of(configured(f"http://127.0.0.1:{free_port()}"), "nova-sched-test")
    end_a_span(provider)
    tracing.flush(provider)
    assert [thread for thread in threading.enumerate() if thread.name == "last spans"], "it is still waited for"


def test_nothing_is_made_while_it_is_off():
    assert tracing.provider_of(configured("http://127.0.0.1:1", enabled=False), "nova-sched-test") is None
    tracing.flush(None)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(errors.UsageError, match=r"install nova_sched\[trace\]"):
        tracing.provider_of(configured("http://127.0.0.1:1"), "nova-sched-test")
