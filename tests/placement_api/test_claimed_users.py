"""The owner of a server that our scheduler placed, as Placement's API shows it: a request over RPC, a claim in the log,
and what Nova reads for its quotas."""

import contextlib
import itertools

import pytest

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.bus import LocalBus
from rpc_api.contracts.scheduler import TOPIC, VERSION, SchedulerAPI
from rpc_api.contracts.selections import claims_of
from rpc_api.feed.epoch import append_pin, opening_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.objects.context import RequestContext
from tests.builders import Voice, facts_of, record_of, request_spec, uuid_of
from tests.placement_api.client import client_of
from tests.placement_api.regions import prepare, workers
from tests.servers import wait_until

PLACEHOLDER = "00000000-0000-0000-0000-000000000000"
HOSTS = ("a", "b")
AMOUNTS = {"VCPU": 64, "MEMORY_MB": 65_536, "DISK_GB": 1000}


class Site:
    """Two hosts in a log of a level, a scheduler, and a client of the Placement API, all over the same files."""

    def __init__(self, directory, level, ending):
        self.urls = {cell: f"sqlite:///{directory}/{cell}.db" for cell in ("cell0", "cell1")}
        for cell, url in self.urls.items():
            prepare(url, cell, level=level)
        (self.region,) = ending.enter_context(workers({"cell1": self.urls["cell1"]}, count=1))
        self.client = client_of(self.region)
        conductor = Voice("conductor/c")
        with open_log(self.urls["cell1"]) as log:
            for host in HOSTS:
                self.client.provider(host, uuid_of(host), **AMOUNTS)
                event = conductor.say(facts_of(host, authority="nova"))
                log.append([record_of(event, epoch=opening_of(log).epoch, level=level)])
        self.scheduler = Scheduler(
            "s", cell0_of(self.urls["cell0"]), [Cell("cell1", uuid_of("cell1"), self.urls["cell1"])], Policy()
        )
        ending.callback(self.scheduler.stop)
        self.scheduler.start().wait_ready()
        bus = LocalBus()
        bus.serve(TOPIC, "s", [SchedulerEndpoint(self.scheduler, gives_terms=True)], VERSION)
        self.api = SchedulerAPI(bus, TOPIC)

    def place(self, name, spec_user="u", caller="caller"):
        """Ask for a host for a server, as a conductor does; returns its selections."""
        context = RequestContext.from_dict({"request_id": f"req-{name}", "user_id": caller, "is_admin": True})
        spec = request_spec(uuid_of(name), project_id="p", user_id=spec_user)
        (selections,) = self.api.select_destinations(context, spec, [uuid_of(name)]).result(30)
        self.region.fence()
        return selections

    def pin(self, level, before):
        """Pin both logs, and wait until the scheduler knows it."""
        for url in self.urls.values():
            with open_log(url) as log:
                append_pin(log, opening_of(log).epoch, "operator/pin", level, before)
        wait_until(lambda: self.scheduler.call(_levels).result(20) == {level}, 20, "the pin is not folded")

    def user(self, name):
        return self.client.do("GET", f"/allocations/{uuid_of(name)}")["user_id"]

    def used(self, user):
        """How many VCPU the consumers of a user use, as Nova asks for its quotas."""
        found = self.client.do("GET", f"/usages?project_id=p&user_id={user}")["usages"]
        return sum(amounts.get("VCPU", 0) for amounts in found.values())


def _levels(engine):
    return {projection.level for projection in engine.world.projections.values()}


@pytest.fixture
def site(tmp_path):
    with contextlib.ExitStack() as ending:
        numbers = itertools.count()

        def made(level):
            directory = tmp_path / str(next(numbers))
            directory.mkdir()
            return Site(directory, level, ending)

        yield made


#: User of the RequestSpec, user of the context -> that of the consumer, as in Nova.
USERS = [("u", "caller", "u"), (None, "caller", "caller"), ("", "caller", "caller"), (None, None, PLACEHOLDER)]


def test_a_placed_server_has_its_user(site):
    at_four = site(LEVEL)
    for number, (spec_user, caller, wanted) in enumerate(USERS):
        at_four.place(f"vm-{number}", spec_user, caller)
        assert at_four.user(f"vm-{number}") == wanted
    assert [at_four.used(user) for user in ("u", "caller", PLACEHOLDER, "nobody")] == [2, 4, 2, 0]


def test_the_upgrade_from_level_3(site):
    """Before the pin nothing is other than it was; after it new claims have users."""
    upgraded = site(3)
    before = upgraded.place("before")
    assert upgraded.user("before") == PLACEHOLDER and upgraded.used("u") == 0
    upgraded.pin(4, 3)
    after = upgraded.place("after")
    assert (upgraded.user("before"), upgraded.user("after")) == (PLACEHOLDER, "u")
    assert (upgraded.used("u"), upgraded.used(PLACEHOLDER)) == (2, 2)
    # What goes to a conductor, which may be of the release before until the pin, and alternates claim as the first.
    assert "user_id" not in before[0].allocation_request
    for selections, user in ((before, None), (after, "u")):
        _, claims, _ = claims_of(selections, uuid_of("vm"), "req", "p", lambda: uuid_of("claim"))
        assert [claim.user_id for claim in claims] == [user, user]
        assert all(isinstance(claim, events.ClaimProposed) for claim in claims)


def test_heal_allocations_gives_a_server_its_user(site):
    """nova-manage reads what a server holds, and puts the same with its project and user."""
    old = site(3)
    old.place("vm")
    held = old.client.do("GET", f"/allocations/{uuid_of('vm')}")
    assert held["user_id"] == PLACEHOLDER
    body = {**held, "project_id": "p", "user_id": "u", "consumer_type": "INSTANCE"}
    assert old.client.ask("PUT", f"/allocations/{uuid_of('vm')}", body).status == 204
    assert (old.user("vm"), old.used("u")) == ("u", 2)


def test_an_evacuated_server_keeps_its_user(site):
    """The claim adds to what the server holds, with the user of the spec, as Nova's scheduler puts both together."""
    at_four = site(LEVEL)
    (first, *_) = at_four.place("vm")
    context = RequestContext.from_dict({"request_id": "req-evacuate", "user_id": "admin", "is_admin": True})
    spec = request_spec(uuid_of("vm"), project_id="p", user_id="u", ignore_hosts=[first.service_host])
    ((second, *_),) = at_four.api.select_destinations(context, spec, [uuid_of("vm")]).result(30)
    at_four.region.fence()
    assert {first.service_host, second.service_host} == {*HOSTS}
    assert (at_four.user("vm"), at_four.used("u")) == ("u", 4)
