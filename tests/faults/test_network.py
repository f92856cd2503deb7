"""The network between the services and their broker: connections that are reset at random bytes, slow, or half open."""

import pytest

from tests.faults.load import under_load
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.rabbit

SEED = 1


@pytest.fixture
def proxies(rabbit):
    """One for RPC and one for the logs."""
    with (Proxy(rabbit.host, rabbit.port, SEED) as rpc, Proxy(rabbit.host, rabbit.port, SEED + 1) as logs):
        yield rpc, logs


def proxied(what, tmp_path, rabbit, proxies, **how):
    rpc, logs = proxies
    return under_load(what, tmp_path, rpc.through(rabbit.url()), lambda name: logs.through(rabbit.url(name)), **how)


@pytest.mark.long
@pytest.mark.parametrize("cut", ["logs", "RPC", "both"])
def test_connections_are_reset_at_random_bytes(tmp_path, rabbit, proxies, cut):
    harmed = {"logs": proxies[1:], "RPC": proxies[:1], "both": proxies}[cut]
    with proxied(f"connections are reset after random bytes: {cut}", tmp_path, rabbit, proxies) as (_, load):
        with load.fault():
            for one in harmed:
                one.cut_after = (500, 200_000)
                one.reset_all()
            load.wait_asked(1200)
            for one in harmed:
                one.cut_after = None
                one.reset_all()
        print(f"{sum(one.cuts for one in harmed)} connections were reset (seed {SEED})")
        assert all(one.cuts for one in harmed)
