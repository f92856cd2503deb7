"""import and compare with --nova-only: Nova's own state comes into logs to which Placement's clients write."""

import pytest

from nova_sched.cli import migrate
from nova_sched.clients.login import login
from nova_sched.clients.service import Service
from nova_sched.migration import cell_database, from_nova, nova_only, take_over
from nova_sched.migration.cell_database import CellFacts, Move
from nova_sched.migration.cloud import Cloud
from nova_sched.migration.from_logs import placement_of
from nova_sched.migration.log_writer import LogWriter
from nova_sched.migration.owners import Owner
from nova_sched.replay.archive.restore import state_of
from rpc_api import events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.packing import pack
from tests.builders import Voice, record_of
from tests.nova_sched.migration.test_take_over import ours_served
from tests.placement_api.regions import uuid_of

VM, MOVED, NEW, MIGRATION = map(uuid_of, ("vm-1", "vm-2", "vm-3", "migration"))
HOSTS = {name: uuid_of(name) for name in ("host-1", "host-2")}
DATABASE = "cell1=mysql://cell"


def guest(memory_mb):
    """A packed Guest with one NUMA node and pinned CPUs."""
    return pack(events.Guest((events.NUMAUse(0, 0, 0, ((0, 2),), (), False, memory_mb, 4),), (), {}))


@pytest.fixture
def known(stock, known):
    """A cloud that was imported, and to whose new endpoint clients write."""
    with ours_served(known) as client:
        assert client.put(VM, 1, {HOSTS["host-1"]: {"VCPU": 2}}).status == 204
        assert client.put(NEW, None, {HOSTS["host-2"]: {"VCPU": 1}}).status == 204
    stock.requests.clear()
    return known


@pytest.fixture
def database(monkeypatch):
    """The facts of the database of cell1, which may change."""
    facts = CellFacts({}, {uuid: name for name, uuid in HOSTS.items()}, {}, {}, {}, [])
    monkeypatch.setattr(cell_database, "read", lambda url: facts)
    return facts


def of_placement(ours):
    """All that the Placement API gives out of a log."""
    return placement_of({"cell1": ours.state()})


def test_what_changed_in_nova_comes_in_after_clients_wrote(known, nova, stock):
    nova.aggregates = {"other": (["host-2"], {"availability_zone": "az2", "filter_tenant_id": "p"})}
    nova.services["host-2"].update(status="disabled", disabled_reason="disk")
    nova.servers |= {"vm-2": ("host-1", {}), "vm-3": ("host-2", {})}
    nova.groups = {"group": ("anti-affinity", {}, ["vm-3"])}
    before, words = of_placement(known), ["--nova-only", "--nova", nova.url]
    assert known.run("import", "--nova", nova.url)[0] == 2
    stock.requests.clear()
    assert known.run("compare", *words)[0] == 1
    code, out, err = known.run("import", *words)
    assert (code, err) == (0, ""), (out, err)
    assert out.splitlines()[-1] == "1 aggregate, 2 services, 3 instances: no differences left"
    (aggregate,) = known.state("cell0").aggregates.values()
    assert (aggregate.name, aggregate.hosts) == ("other", ("host-2",))
    state = known.state()
    assert state.hosts["host-2"].status[:2] == (True, "disk")
    assert (state.tracked.get(MOVED).host, state.tracked.get(NEW).host) == ("host-1", "host-2")
    assert state.consumers[NEW][0].rule.group_uuid == uuid_of("group")
    assert of_placement(known) == before and stock.requests == []
    assert known.run("compare", *words) == (0, "", "0 differences\n")
    positions = [known.state(cell).position for cell in known.urls]
    assert known.run("import", *words)[0] == 0
    assert [known.state(cell).position for cell in known.urls] == positions


def test_guest_terms_of_servers_that_nova_scheduler_placed(known, nova, database, stock):
    """Their allocations came without terms; a server that is moved has some on both hosts."""
    nova.servers |= {"vm-2": ("host-2", {}), "vm-3": ("host-2", {})}
    with ours_served(known) as client:
        assert client.put(MIGRATION, None, {HOSTS["host-1"]: {"VCPU": 1}}).status == 204
    database.guests.update(
        {(NEW, "host-2"): guest(512), (MOVED, "host-2"): guest(256), (MIGRATION, "host-1"): guest(128)}
    )
    database.moves[MIGRATION] = Move(MOVED, "host-1", "host-2")
    before, words = of_placement(known), ["--nova-only", "--nova", nova.url, "--cell-database", DATABASE]
    code, out, err = known.run("import", *words)
    assert (code, err) == (0, ""), (out, err)
    state = known.state()
    for consumer, host in database.guests:
        (entry,) = [entry for entry in state.consumers[consumer] if entry.host == host]
        assert entry.guest == database.guests[consumer, host]
    assert of_placement(known) == before
    assert known.run("compare", *words) == (0, "", "0 differences\n")
    # Another group is written without the database: what is known of the guest stays.
    nova.groups = {"other": ("affinity", {}, ["vm-3"])}
    assert known.run("import", *words[:3])[0] == 0
    (entry,) = known.state().consumers[NEW]
    assert (entry.rule.group_uuid, entry.guest) == (uuid_of("other"), guest(512))


def test_a_consumer_without_a_user_gets_that_of_its_server(known, nova, database):
    """A claim of a scheduler may have none, and an event of an import names one."""
    state = known.state()
    state.holders[NEW].user_id = None
    database.guests[NEW, "host-2"] = guest(512)
    cloud = Cloud(placement_of({"cell1": state}), None, {"cell1": database})
    servers = {NEW: from_nova.Instance(NEW, "host-2", None, Owner("project", "the user"))}
    cloud = cloud._replace(nova=from_nova.Nova({}, {}, {}, servers, {}))
    newer = nova_only.Newer(nova_only.seen({"cell1": state}), {"cell1": state})
    made = [data for step in nova_only.STEPS for data in step(cloud, state, newer)]
    (put,) = [data.consumer for data in made if hasattr(data, "consumer")]
    assert (put.user_id, put.guarded, put.generation) == ("the user", True, state.holders[NEW].generation)


# --- races -----------------------------------------------------------------------------------------------------------


class Round:
    """One round whose parts a test calls one by one; ``others`` writes what services do meanwhile."""

    def __init__(self, ours, nova, database):
        self.logs = {cell: open_log(url) for cell, url in ours.urls.items()}
        self.projections = {cell: state_of(cell, log) for cell, log in self.logs.items()}
        self.importer = take_over.TakeOver(self.logs, self.projections, "ada")
        self.before = nova_only.seen(self.projections)
        cloud = Cloud(migrate.NOTHING, from_nova.read(Service("compute", login(), nova.url)), {"cell1": database})
        self.cloud = cloud

    def others(self, cell, producer, *data):
        """Something that services write meanwhile."""
        voice = Voice(producer)
        for one in data:
            self.logs[cell].append([record_of(voice.say(one), epoch=self.projections[cell].epoch, level=LEVEL)])

    def write(self):
        self.importer.follow()
        cloud = nova_only.without_placement(self.cloud, self.projections)
        return self.importer.nova_round(cloud, self.before)


@pytest.fixture
def begun(known, nova, database):
    """A round that has read Nova: it has the new server with its guest and another aggregate."""
    nova.servers["vm-3"] = ("host-2", {})
    nova.aggregates = {"rack": (["host-2"], {}), "second": (["host-1"], {})}
    database.guests[NEW, "host-2"] = guest(512)
    return Round(known, nova, database)


def test_a_server_that_is_deleted_meanwhile_does_not_come_back(begun):
    tracked = events.TrackedInstance(NEW, {})
    tap = [events.InstancesTracked("host-2", (tracked,), ()), events.InstancesTracked("host-2", (), (MOVED,))]
    begun.others("cell1", "conductor/other", *tap)
    begun.others("cell1", "placement/other", events.AllocationsDropped(NEW, "r", None))
    written = begun.write()
    state = begun.projections["cell1"]
    assert written.refusals == [] and written.newer
    assert NEW not in state.holders and state.tracked.get(MOVED) is None


def test_a_server_that_is_moved_meanwhile_stays_where_it_is(begun):
    held = events.ConsumerPut(
        NEW, True, 1, "project", "user", None, (events.Allocation(HOSTS["host-1"], "VCPU", 1),), None
    )
    begun.others("cell1", "placement/other", events.AllocationsPut((held,), "r", None))
    tracked = events.TrackedInstance(NEW, {})
    begun.others("cell1", "conductor/other", events.InstancesTracked("host-1", (tracked,), ()))
    assert begun.write().newer
    state = begun.projections["cell1"]
    (entry,) = state.consumers[NEW]
    assert (entry.host, entry.guest, state.tracked.get(NEW).host) == ("host-1", None, "host-1")


def test_an_aggregate_that_a_scheduler_writes_meanwhile_stays(begun):
    """Nova's cast is newer than what was read; the others are written."""
    newest = events.AggregateUpdated(uuid_of("rack"), "rack", ("host-1", "host-2"), {})
    begun.others("cell0", "scheduler/other", newest)
    assert begun.write().newer
    found = begun.projections["cell0"].aggregates
    assert (found[uuid_of("rack")], found[uuid_of("second")].hosts) == (newest, ("host-1",))


def test_a_host_that_its_tap_reports_meanwhile_stays(known, nova, database):
    nova.services["host-2"].update(status="disabled", disabled_reason="old")
    begun = Round(known, nova, database)
    host = begun.projections["cell1"].hosts["host-2"]
    newest = host.status._replace(disabled=True, disabled_reason="new")
    begun.others("cell1", "conductor/other", nova_only.nova_hosts.facts.report_of("host-2", host.inventory, newest))
    assert begun.write().newer and begun.projections["cell1"].hosts["host-2"].status.disabled_reason == "new"


def test_a_write_between_the_last_look_and_the_event(begun, monkeypatch):
    """The event has the generation as its condition, and changes nothing."""
    write = LogWriter.write

    def late(self, batch):
        if any(hasattr(data, "consumer") for data in batch):
            begun.others("cell1", "placement/other", events.AllocationsDropped(NEW, "r", None))
        return write(self, batch)

    monkeypatch.setattr(LogWriter, "write", late)
    (refusal,) = begun.write().refusals
    assert "generation" in refusal.sentence() and NEW not in begun.projections["cell1"].holders


def test_a_busy_cloud_is_read_again(known, nova):
    """In the first round all that differs is newer than the reading: a next round follows."""
    nova.aggregates = {"rack": (["host-2"], {})}
    seen = []

    def before(path, asked):
        if path == "/os-hypervisors/detail" and not seen:
            seen.append(path)
            with open_log(known.urls["cell0"]) as log:
                data = events.AggregateUpdated(uuid_of("rack"), "rack", ("host-1", "host-2"), {})
                log.append(
                    [record_of(Voice("scheduler/other").say(data), epoch=known.state("cell0").epoch, level=LEVEL)]
                )

    nova.before = before
    code, out, err = known.run("import", "--nova-only", "--nova", nova.url)
    assert (code, err) == (0, ""), (out, err)
    assert out.splitlines()[:2] == [
        "round 1: 1 difference, 0 events written, 0 without effect",
        "round 2: 1 difference, 1 event written, 0 without effect",
    ]
    assert known.state("cell0").aggregates[uuid_of("rack")].hosts == ("host-2",)


def test_the_two_halves_exclude_each_other(known, nova):
    code, _, err = known.run("compare", "--nova-only", "--placement-only", "--nova", nova.url)
    assert code == 2 and "not allowed with" in err
