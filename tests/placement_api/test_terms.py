"""The terms of an alternate: a conductor of Nova sends back what a scheduler gave to it, and the write is judged on
them at its position."""

import json

import pytest

from nova_sched.scheduler.endpoint import allocation_request
from placement_api.region import Region
from rpc_api import events
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.levels import LEVEL
from rpc_api.packing import pack
from tests.builders import facts_of, rule, uuid_of
from tests.placement_api.client import client_of, holding

HOSTS = ("h1", "h2")
ONE, TWO = map(uuid_of, ("one", "two"))


@pytest.fixture
def region():
    """Two hosts of Nova with 8 VCPU each: their providers came through the API, their facts from a conductor."""
    region = Region.in_memory()
    client = client_of(region)
    for host in HOSTS:
        client.provider(host, uuid_of(host), VCPU=8)
        say(region, facts_of(host, authority="nova"))
    yield region
    region.close()


def say(region, event):
    """The conductor of the cell writes an event into the log."""
    appender = Appender(region._kept_open, region.new_roots.projection.epoch)
    producer = Producer(appender, "conductor/c")
    producer.level = LEVEL
    producer.wait(producer.publish(event))
    appender.close()
    region.fence()


class Placed:
    """What a scheduler has decided for an instance."""

    def __init__(self, host, group_rule=None, guest=None):
        self.allocations = (events.Allocation(uuid_of(host), "VCPU", 2),)
        self.mappings = None
        self.cell, self.claim_uuid, self.position = "cell1", None, None
        self.rule, self.guest, self.companion, self.user_id = group_rule, guest, None, None


def body_of(placed):
    """What a conductor of Nova puts: the JSON of the scheduler as it is, with its own keys."""
    offered = json.loads(allocation_request(placed, with_terms=True))
    return {**holding(None, {}), **offered}


def put(region, consumer, placed, version="1.36"):
    headers = {"OpenStack-API-Version": f"placement {version}"}
    body = body_of(placed)
    del body["consumer_type"]
    return client_of(region).ask("PUT", f"/allocations/{consumer}", body, **headers)


def test_it_is_written_while_its_terms_hold(region):
    apart = rule(policy="spread", domain="h1", partition="h1")
    assert put(region, ONE, Placed("h1", apart)).status == 204
    (projection,) = region.projections()
    (entry,) = projection.consumers[ONE]
    assert (entry.host, entry.rule) == ("h1", apart)


def test_a_group_that_it_would_break(region):
    assert put(region, ONE, Placed("h1", rule(domain="h1", partition="one"))).status == 204
    refused = put(region, TWO, Placed("h1", rule(domain="h1", partition="two")))
    assert (refused.status, "anti-affinity" in refused.detail) == (409, True)
    assert client_of(region).held(TWO) == {}
    assert put(region, TWO, Placed("h2", rule(domain="h2", partition="two"))).status == 204
    # Without terms Placement does not know of groups.
    assert client_of(region).put(uuid_of("three"), None, {uuid_of("h1"): {"VCPU": 2}}).status == 204


def test_a_host_that_takes_no_instances(region):
    say(region, facts_of("h1", authority="nova", disabled=True))
    refused = put(region, ONE, Placed("h1", rule(domain="h1", partition="h1")))
    assert (refused.status, "disabled" in refused.detail) == (409, True)


def test_a_guest_that_does_not_fit(region):
    card = events.PCIUse("0", 1, None)
    refused = put(region, ONE, Placed("h1", guest=pack(events.Guest((), (card,), {}))))
    assert (refused.status, "no NUMA nodes or PCI pools" in refused.detail) == (409, True), refused.detail


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"unknown": 1}, "there is no 'unknown'"),
        ({"guest": "xx"}, "guest is not a text of hexadecimal digits"),
        ({"guest": "c1"}, "msgpack"),
        ({"rule": ["group"]}, "rule"),
        ({"companion": 7}, "companion"),
    ],
)
def test_terms_that_cannot_be_read_are_refused(region, own, said):
    body = {**body_of(Placed("h1")), "nova_sched": own}
    answer = client_of(region).ask("PUT", f"/allocations/{ONE}", body)
    assert (answer.status, said in answer.detail) == (400, True), answer.detail
    assert client_of(region).held(ONE) == {}


@pytest.mark.parametrize("own", [{"evil": 1}, {"rule": ["group"]}])
def test_they_are_read_also_without_a_host(region, own):
    client_of(region).provider("pool", uuid_of("pool"), VCPU=8)
    answer = client_of(region).ask("PUT", f"/allocations/{ONE}", {**body_of(Placed("pool")), "nova_sched": own})
    assert (answer.status, "Invalid terms of a claim" in answer.detail) == (400, True), answer.detail
    nothing = {**body_of(Placed("pool")), "allocations": {}, "nova_sched": own}
    assert client_of(region).ask("PUT", f"/allocations/{ONE}", nothing).status == 400
