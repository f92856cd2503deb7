"""Writes that the log sets aside for who wrote them: clients get 503 at once, and the operator gets the reason."""

import pytest

from placement_api.http_errors import Unavailable
from placement_api.region import Region
from placement_api.shown import ShownRegion
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import epoch_of
from rpc_api.log import open_log
from tests.placement_api.client import client_of
from tests.placement_api.regions import WHO, prepare, uuid_of, workers
from tests.servers import wait_until

P1 = uuid_of("p1")


def test_an_event_that_a_worker_may_not_write(caplog):
    region = Region.in_memory()
    imported = events.ProviderImported(P1, "p1", None, 0, (), (), (), None, *WHO)
    with pytest.raises(Unavailable, match="The log of cell1 takes no writes of this service"):
        region.write(imported)
    assert "a ProviderImported of placement/here, whose role may not" in caplog.text
    client_of(region).provider("p1", P1, VCPU=4)
    region.close()


def require(url, required):
    """An operator publishes whether the log requires accounts."""
    with open_log(url) as log:
        event = codec.make_event(events.AccountsRequired(required), "operator/test", SYSTEM.now_ns(), 1, 1)
        log.append([codec.encode_record(epoch_of(log), [event])])


@pytest.mark.rabbit
def test_a_log_that_requires_another_account(rabbit_server):
    """Only the log requires accounts: [cells] require_accounts is not set."""
    stream = "nova_sched.accounts"
    accounts = ("operator", "conductor", "scheduler")
    rabbit_server.add_vhost("/", dict.fromkeys(accounts, ("secret", ".*", ".*", ".*")))
    operator, conductor, ours = (rabbit_server.url(stream, user=account, password="secret") for account in accounts)
    prepare(conductor)
    with workers({"cell1": ours}, count=1) as (region,):
        client, log, shown = client_of(region), region.logs["cell1"], ShownRegion(region)
        client.provider("p1", P1, VCPU=4)
        require(operator, True)
        region.fence()
        refused = client.ask("POST", "/resource_providers", {"name": "p2", "uuid": uuid_of("p2")})
        assert refused.status == 503 and "takes no writes of this service" in refused.detail
        assert "scheduler" not in refused.detail, "accounts are for the operator"
        wanted = "with the account scheduler, wanted placement.test-0 or placement"
        assert wanted in log.refusal and [wanted in why for why in shown.why_not_ready()] == [True]
        takes = {one.family: one.value for one in shown.samples()}["nova_sched_placement_takes_writes"]
        assert takes == 0 and client.ask("GET", f"/resource_providers/{P1}").status == 200
        require(operator, False)
        wait_until(lambda: log.refusal is None, 30, "the log takes writes again")
        client.provider("p2", uuid_of("p2"), VCPU=4)
