"""A cell whose log cannot be read: the others go on, and answers about it are marked as stale."""

import contextlib

import pytest

from rpc_api import errors
from tests.placement_api.client import client_of
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.servers import free_port, wait_until

P1, P2, CONSUMER = map(uuid_of, ("p1", "p2", "consumer"))
STALE = "Nova-Sched-Stale"


def nowhere():
    """The URL of a log at a broker that does not answer."""
    return f"rabbit://guest:guest@127.0.0.1:{free_port()}/?stream=nova_sched.cell2"


@pytest.fixture
def cell1(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url, "cell1")
    return url


def test_the_others_start_without_it(cell1):
    with workers({"cell1": cell1}, count=1) as (one,):
        client_of(one).provider("p1", P1, VCPU=4)
    with workers({"cell1": cell1, "cell2": nowhere()}, count=1) as (region,):
        client = client_of(region)
        assert client.put(CONSUMER, None, {P1: {"VCPU": 1}}).status == 204
        assert client.held(CONSUMER) == {P1: {"VCPU": 1}}
        assert client.ask("GET", "/resource_providers").headers[STALE] == "cell2"
        assert STALE not in client.ask("GET", f"/resource_providers/{P1}").headers
        missing = client.ask("GET", f"/resource_providers/{P2}")
        assert (missing.status, missing.headers[STALE]) == (503, "cell2"), "nobody knows what it has"
        assert client.ask("GET", f"/resource_providers?uuid={P2}").status == 503
        assert client.ask("POST", "/resource_providers", {"name": "p2", "uuid": P2}).status == 503
        assert client.ask("DELETE", f"/allocations/{uuid_of('unknown')}").status == 503


def test_without_any_log_it_does_not_start():
    with (
        pytest.raises(errors.LogUnavailable, match="is not folded within"),
        workers({"cell1": nowhere(), "cell2": nowhere()}, count=1, timeout=0.5),
    ):
        pass


@pytest.mark.rabbit
def test_its_broker_is_killed(cell1, rabbit):
    url = rabbit.url("nova_sched.cell2")
    prepare(url, "cell2")
    with contextlib.ExitStack() as ending:
        (cell,) = ending.enter_context(workers({"cell2": url}, count=1))
        client_of(cell).provider("p2", P2, VCPU=4)
        (region,) = ending.enter_context(workers({"cell1": cell1, "cell2": url}, count=1))
        client = client_of(region)
        client.provider("p1", P1, VCPU=4)
        assert client.ask("GET", f"/resource_providers/{P2}/inventories").status == 200
        rabbit.wait_kept()
        rabbit.kill()
        wait_until(lambda: region.stale_cells(), 30, "the broker is missed")
        read = client.ask("GET", f"/resource_providers/{P2}/inventories")
        assert (read.status, read.headers[STALE]) == (200, "cell2")
        offered = client.do("GET", "/allocation_candidates?resources=VCPU:1")
        assert offered["provider_summaries"].keys() == {P1}, "a cell that is down gets no new consumers"
        refused = client.put(CONSUMER, None, {P2: {"VCPU": 1}})
        assert refused.status == 503 and "cell2" in refused.detail
        both = client.put(CONSUMER, None, {P1: {"VCPU": 1}, P2: {"VCPU": 1}})
        assert both.status == 503
        assert client.put(CONSUMER, None, {P1: {"VCPU": 1}}).status == 204
        assert STALE not in client.ask("GET", f"/resource_providers/{P1}").headers
        rabbit.start()
        wait_until(lambda: not region.stale_cells(), 60, "the log is read again")
        assert client.put(CONSUMER, client.generation(CONSUMER), {P1: {"VCPU": 1}, P2: {"VCPU": 1}}).status == 204
