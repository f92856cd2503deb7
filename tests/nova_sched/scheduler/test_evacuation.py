"""Evacuations of a stock conductor: the instance holds its old host, and the request leaves it out."""

import pytest

from nova_sched.projection.ledger import HELD
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import REQUEST, uuid_of
from tests.engines import TinyCloud, hosts_of


@pytest.fixture
def cloud():
    """Two hosts of Nova; the instance vm holds something on one of them."""
    cloud = TinyCloud()
    cloud.one = cloud.engine("one")
    cloud.settle()
    cloud.pin(LEVEL)
    for name in ("a", "b"):
        cloud.host(name)
        cloud.append("cell1", "operator/one", events.AuthorityPassed(name, "nova"))
    cloud.settle()
    return cloud


def entries(cloud, name):
    return {entry.host: entry.state for entry in cloud.one.world.projections["cell1"].consumers.get(uuid_of(name), ())}


def asked(cloud, *instances, **fields):
    ask = cloud.ask(cloud.one, *instances, **fields)
    cloud.settle()
    return ask


def test_both_hosts_are_held_until_the_old_one_is_given_back(cloud):
    (old,) = hosts_of(asked(cloud, "vm"))
    (new,) = hosts_of(asked(cloud, "vm", ignore_hosts=(old,)))
    assert {old, new} == {"a", "b"} and entries(cloud, "vm") == {"a": HELD, "b": HELD}
    projection = cloud.one.world.projections["cell1"]
    left = next(entry for entry in projection.consumers[uuid_of("vm")] if entry.host == new)
    put = events.ConsumerPut(uuid_of("vm"), True, 2, "p", "u", "INSTANCE", left.allocations)
    cloud.append("cell1", "placement/one", events.AllocationsPut((put,), *REQUEST))
    cloud.settle()
    assert entries(cloud, "vm") == {new: HELD}


def test_a_request_that_comes_twice_holds_nothing_twice(cloud):
    (host,) = hosts_of(asked(cloud, "vm"))
    second = asked(cloud, "vm")
    assert second.future.exception(0) is not None and entries(cloud, "vm") == {host: HELD}


def test_two_evacuations_at_once_hold_one_new_host(cloud):
    cloud.host("c")
    cloud.append("cell1", "operator/one", events.AuthorityPassed("c", "nova"))
    cloud.two = cloud.engine("two")
    cloud.settle()
    (old,) = hosts_of(asked(cloud, "vm"))
    first = cloud.ask(cloud.one, "vm", ignore_hosts=(old,))
    second = cloud.ask(cloud.two, "vm", ignore_hosts=(old,))
    cloud.settle()
    assert len(entries(cloud, "vm")) == 2
    assert sorted(each.future.exception(0) is None for each in (first, second)) == [False, True]


def test_an_instance_whose_new_host_goes_down_is_evacuated_again(cloud):
    for name in ("c", "d"):
        cloud.host(name)
        cloud.append("cell1", "operator/one", events.AuthorityPassed(name, "nova"))
    cloud.settle()
    hosts = list(hosts_of(asked(cloud, "vm")))
    for _ in range(2):
        cloud.append("cell1", "conductor/one", events.HostLost(hosts[-1], "silent"))
        cloud.settle()
        # (As Nova does, which names the last host only.)
        hosts.extend(hosts_of(asked(cloud, "vm", ignore_hosts=(hosts[-1],))))
    assert len(set(hosts)) == 3 and set(entries(cloud, "vm")) == set(hosts)
    again = asked(cloud, "vm", ignore_hosts=(hosts[-2],))
    assert again.future.exception(0) is not None and set(entries(cloud, "vm")) == set(hosts)
