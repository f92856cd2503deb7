"""The network between the services and their broker: connections that are reset at random bytes, slow, or half open."""

import pytest

from tests.faults.load import HANG_SECONDS, under_load
from tests.faults.proxy import Proxy
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit

SEED = 1


@pytest.fixture
def proxies(rabbit):
    """One for RPC and one for the logs."""
    with Proxy(rabbit.host, rabbit.port, SEED) as rpc, Proxy(rabbit.host, rabbit.port, SEED + 1) as logs:
        yield rpc, logs


def proxied(what, tmp_path, rabbit, proxies, **how):
    rpc, logs = proxies
    return under_load(what, tmp_path, rpc.through(rabbit.url()), lambda name: logs.through(rabbit.url(name)), **how)


def test_connections_of_the_logs_are_reset_while_they_are_used(tmp_path, rabbit_server, vhost):
    with (
        Proxy(rabbit_server.host, rabbit_server.port, SEED) as logs,
        under_load(
            "connections of the logs are reset, 10 times",
            tmp_path,
            rabbit_server.url(vhost=vhost),
            lambda name: logs.through(rabbit_server.url(name, vhost)),
        ) as (_, load),
    ):
        with load.fault():
            logs.cut_after = (500, 20_000)
            logs.reset_all()
            wait_until(lambda: logs.cuts >= 10, HANG_SECONDS, "no connection was cut")
            logs.cut_after = None
            logs.reset_all()
    assert load.wrong == []


#: After how many bytes connections are reset. oslo.messaging's listener is sent all answers that wait for it at once,
#: and none counts if it is cut in that: cut after 200 kB at most, it falls behind for good.
CUT_LOGS, CUT_RPC = (500, 200_000), (500, 2_000_000)


@pytest.mark.long
@pytest.mark.parametrize("cut", ["logs", "RPC", "both"])
def test_connections_are_reset_at_random_bytes(tmp_path, rabbit, proxies, cut):
    rpc, logs = proxies
    harmed = {"logs": {logs: CUT_LOGS}, "RPC": {rpc: CUT_RPC}, "both": {logs: CUT_LOGS, rpc: CUT_RPC}}[cut]
    with proxied(f"connections are reset after random bytes: {cut}", tmp_path, rabbit, proxies) as (_, load):
        with load.fault():
            for one, bytes_range in harmed.items():
                one.cut_after = bytes_range
                one.reset_all()
            load.wait_asked(1200)
            for one in harmed:
                one.cut_after = None
                one.reset_all()
        print(f"{sum(one.cuts for one in harmed)} connections were reset (seed {SEED})")
        assert all(one.cuts for one in harmed)
    assert load.wrong == []


@pytest.mark.long
def test_a_slow_network(tmp_path, rabbit, proxies):
    with proxied("50 to 70 ms each way, 1 MB/s a connection", tmp_path, rabbit, proxies) as (_, load):
        with load.fault():
            for proxy in proxies:
                proxy.delay_seconds, proxy.jitter_seconds, proxy.bytes_per_second = 0.05, 0.02, 1e6
            load.wait_asked(600)
            for one in proxies:
                one.delay_seconds = one.jitter_seconds = 0.0
                one.bytes_per_second = None
    assert load.wrong == []


@pytest.mark.long
@pytest.mark.parametrize("half_open", ["logs", "RPC"])
def test_connections_that_lead_nowhere(tmp_path, rabbit, proxies, half_open):
    """Nothing arrives over open connections any more, and nothing closes them."""
    rpc, logs = proxies
    harmed = {"logs": logs, "RPC": rpc}[half_open]
    with proxied(
        f"connections lead nowhere and stay open: {half_open}", tmp_path, rabbit, proxies, heartbeat_seconds=10
    ) as (_, load):
        with load.fault():
            harmed.swallow()
            load.wait_asked(100)
            harmed.spit()
    assert load.wrong == []
