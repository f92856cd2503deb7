"""The export of servers that our scheduler placed: their users are in the log, or come from Nova."""

import pytest

from rpc_api import events
from rpc_api.feed.epoch import opening_of
from rpc_api.log import open_log
from tests.builders import Voice, record_of, report, tree
from tests.nova_sched.migration.clouds import small
from tests.nova_sched.migration.conftest import Ours
from tests.placement_api.regions import prepare, uuid_of

HOST = uuid_of("host-1")
#: The level of a log from which on a claim has a user.
WITH_USER = 4


def claim_of(name):
    """The claim of a server on host-1."""
    uuid, held = uuid_of(name), events.Allocation(HOST, "VCPU", 1)
    return events.ClaimProposed(
        uuid_of(f"claim of {name}"), uuid, uuid, "req-1", "project", "host-1", (held,), None, user_id="user"
    )


@pytest.fixture
def placed(tmp_path, capsys, stock, environment):
    """Logs of a level with a cloud that was taken over, in which a scheduler has placed vm-new and vm-other."""

    def at(level, *names):
        found = Ours(tmp_path, capsys, stock)
        for cell in ("cell0", "cell1"):
            found.urls[cell] = f"sqlite:///{tmp_path}/{cell}.db"
            prepare(found.urls[cell], cell, level=level)
        small(stock)
        assert found.run("import")[0] == 0
        conductor, scheduler = Voice("conductor/c"), Voice("scheduler/s")
        with open_log(found.urls["cell1"]) as log:
            epoch = opening_of(log).epoch
            facts = tree("host-1")._replace(providers=(), root_uuid=HOST, authority="nova")
            said = [conductor.say(report("host-1", inventory=facts))]
            said += [scheduler.say(claim_of(name)) for name in names]
            log.append([record_of(event, epoch=epoch, level=level) for event in said])
        assert {uuid_of(name) for name in names} <= found.state().consumers.keys()
        return found

    return at


def users(target):
    """Consumer -> (project, user) in a stock Placement."""
    return {uuid: (one.project_id, one.user_id) for uuid, one in target.projection.holders.items()}


def test_at_level_4_the_log_has_the_user(placed, target, nova):
    ours = placed(WITH_USER, "vm-new")
    assert ours.run("export", "--placement-only", stock=target)[0] == 0
    assert users(target)[uuid_of("vm-new")] == ("project", "user")
    assert ours.run("export", "--nova", nova.url, stock=target)[0] == 0
    assert nova.requests == []  # nobody lacks a user
    assert ours.run("compare", stock=target)[:2] == (0, "")


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "of a cell that is down"])
def test_below_level_4_nova_has_the_user(placed, target, nova, is_listed):
    ours = placed(WITH_USER - 1, "vm-new")
    nova.servers["vm-other"] = ("host-1", {"user_id": "nobody"})
    if is_listed:
        nova.servers["vm-new"] = ("host-1", {})
    else:
        nova.unlisted.append("vm-new")
    code, out, err = ours.run("export", "--nova", nova.url, stock=target)
    assert (code, err) == (0, ""), (out, err)
    assert "1 of 1 consumer without a user: owners from Nova\n" in out
    assert users(target)[uuid_of("vm-new")] == ("project", "user")
    # A second one finds nothing to do, and the comparison asks Nova, too.
    assert ours.run("export", "--nova", nova.url, stock=target)[1].endswith("no differences left\n")
    code, out, _ = ours.run("compare", "--nova", nova.url, stock=target)
    assert [line for line in out.splitlines() if "consumer" in line and "user" in line] == (
        [] if is_listed else [f"consumer {uuid_of('vm-new')}: user: user in the cloud, nothing in the logs"]
    )


REFUSED = {
    "Nova is not asked": (("--placement-only",), "leave out --placement-only, so that Nova is asked"),
    "no server of Nova": (("--nova",), "Nova has no server of that uuid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_consumer_without_a_user_that_nobody_knows(placed, target, nova, name):
    words, told = REFUSED[name]
    words = [*words, nova.url] if words == ("--nova",) else words
    ours = placed(WITH_USER - 1, "vm-new", "vm-other")
    nova.servers["vm-other"] = ("host-1", {})
    code, _, err = ours.run("export", *words, stock=target)
    assert code == 2 and err.count("\n") == 1
    assert f"consumer {uuid_of('vm-new')} has no project or no user, and Placement wants both" in err
    assert told in err and "nova-manage placement heal_allocations" in err
    assert not users(target) and not any(method == "PUT" for method, _ in target.requests)


def test_a_nova_that_cannot_be_asked(placed, target):
    ours = placed(WITH_USER - 1, "vm-new")
    code, _, err = ours.run("export", "--nova", "http://127.0.0.1:1", stock=target)
    assert code == 3 and "Nova at http://127.0.0.1:1" in err and not users(target)
