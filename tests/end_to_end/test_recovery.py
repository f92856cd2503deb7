"""Logs that are truncated, re-created, away or broken: the services start again by themselves, and agree in the end."""

import itertools
import os

import pytest

from compute_agent.agent import Agent
from compute_agent.drivers.simulated import SimulatedDriver, inventory_of
from conductor.cell import CellConductor
from nova_sched.playground.wiring import Wiring
from nova_sched.process import cell_log
from nova_sched.process.snapshot_store import FileStore
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events, messages
from rpc_api.bus import LocalBus
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.log import open_log
from tests.builders import CONTEXT, request, request_spec, uuid_of
from tests.servers import wait_until

SECONDS_MAX = 60.0
_NUMBER = itertools.count()


class Site:
    """A cloud of one cell in one process, whose services can be started and ended one by one."""

    def __init__(self, directory, kind, store=None, rabbit=None):
        number = next(_NUMBER)
        url_of = {
            "memory": lambda name: f"memory://site{number}-{name}",
            "sqlite": lambda name: f"sqlite:///{directory}/{name}.db",
            "rabbit": lambda name: rabbit.url(f"site{number}.{name}"),
        }[kind]
        self.rabbit = rabbit
        self.urls = {name: url_of(name) for name in ("cell0", "cell1")}
        self.cell = Cell("cell1", uuid_of("cell1"), self.urls["cell1"])
        self.store = store
        self.bus = LocalBus()
        self.wiring = Wiring(self.bus, self.bus)
        self.drivers = {name: SimulatedDriver(inventory_of(name, 8, 8192, 100)) for name in ("h1", "h2")}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.wiring.close()

    def conductor(self, name="c"):
        conductor = CellConductor(name, "cell1", self.urls["cell1"], self.bus, store=self.store)
        self.wiring.callback(conductor.stop)
        conductor.start(SECONDS_MAX)
        self.wiring.serve(self.bus, conductor_rpc.cell_topic("cell1"), name, conductor, conductor_rpc.VERSION)
        return conductor

    def agent(self):
        agent = Agent("agent", "cell1", self.urls["cell1"], self.bus, self.drivers, report_interval=0.05)
        self.wiring.callback(agent.stop)
        self.wiring.serve(self.bus, agent_rpc.TOPIC, "agent", agent, agent_rpc.VERSION)
        return agent.start(SECONDS_MAX)

    def scheduler(self, name="s", cells=None):
        scheduler = Scheduler(
            name, cell0_of(self.urls["cell0"]), cells or [self.cell], Policy(), store=self.store, cell_down_after=0.2
        )
        self.wiring.callback(scheduler.stop)
        scheduler.start().wait_ready(SECONDS_MAX)
        return scheduler

    def serve(self, scheduler):
        """An API conductor that asks this scheduler."""
        from nova_sched.scheduler.endpoint import SchedulerEndpoint
        from rpc_api.contracts import scheduler as scheduler_rpc

        self.wiring.serve(
            self.bus, scheduler_rpc.TOPIC, scheduler.name, SchedulerEndpoint(scheduler), scheduler_rpc.VERSION
        )
        return self.wiring.api_conductor([self.cell], 3)

    def log(self):
        return open_log(self.urls["cell1"])


def built(api, number):
    """Build one instance, and say on which host."""
    (outcome,) = api.schedule_and_build_instances(
        CONTEXT, request_spec(instance_uuid=uuid_of(f"vm{number}")), [uuid_of(f"vm{number}")]
    ).result(SECONDS_MAX)
    assert outcome.outcome == messages.BUILT, outcome.reason
    return outcome.host


def state_of(scheduler):
    """(position, digest) of a scheduler's projection of the cell."""

    def look(engine):
        projection = engine.world.projections["cell1"]
        return projection.position, state_digest(projection)

    return scheduler.call(look).result(SECONDS_MAX)


def knows(scheduler, hosts, running):
    """Whether a scheduler knows these hosts, running so many instances, and schedules to them."""

    def look(engine):
        projection = engine.world.projections["cell1"]
        return (
            set(projection.hosts) == set(hosts)
            and not engine.world.table.cell_closed.get("cell1")
            and sum(len(host.entries) for host in projection.hosts.values()) == running
        )

    return scheduler.call(look).result(SECONDS_MAX)


def agree(scheduler, conductor):
    """Wait until the scheduler and the conductor have the same state at the same position."""
    wait_until(
        lambda: state_of(scheduler) == (conductor.projection.position, state_digest(conductor.projection)),
        SECONDS_MAX,
        "they do not agree",
    )


def remove(site, kind):
    if kind == "memory":
        site.log().delete()
    elif kind == "rabbit":
        site.rabbit.rabbitmqctl("delete_queue", site.urls["cell1"].partition("stream=")[2])
    else:
        for end in ("", "-wal", "-shm"):
            path = site.urls["cell1"].removeprefix("sqlite:///") + end
            if os.path.exists(path):
                os.remove(path)


@pytest.mark.parametrize("kind", ["memory", "sqlite", pytest.param("rabbit", marks=pytest.mark.rabbit)])
def test_a_log_that_is_re_created_is_filled_again(tmp_path, kind, request):
    rabbit = request.getfixturevalue("rabbit_server") if kind == "rabbit" else None
    with Site(tmp_path, kind, rabbit=rabbit) as site:
        conductor = site.conductor()
        site.agent()
        scheduler = site.scheduler()
        api = site.serve(scheduler)
        built(api, 1)
        epoch = conductor.projection.epoch
        remove(site, kind)
        wait_until(lambda: conductor.projection.epoch not in (None, epoch), SECONDS_MAX, "no new epoch")
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 1), SECONDS_MAX, "the hosts were not reported again")
        built(api, 2)
        agree(scheduler, conductor)
        counts = conductor.projection.counts
        # Several begin the log at once, and the first one's beginning counts.
        assert counts["set-aside"] == counts["set-aside:foreign-epoch"]


def test_a_log_that_was_truncated_without_a_snapshot_is_rebased(tmp_path):
    with Site(tmp_path, "sqlite") as site:
        first = site.conductor("first")
        site.agent()
        scheduler = site.scheduler("first")
        api = site.serve(scheduler)
        built(api, 1)
        log = site.log()
        log.truncate_before(log.bounds().last - 1)
        log.close()
        late = site.conductor("late")
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 1), SECONDS_MAX, "the hosts were not reported again")
        built(api, 2)
        last = site.scheduler("last")
        wait_until(lambda: knows(last, ("h1", "h2"), 2), SECONDS_MAX, "the last scheduler does not know all instances")
        agree(scheduler, first)
        agree(last, late)
        assert state_of(scheduler) == state_of(last), (
            "a scheduler that read all of the log and one that could not have the same state"
        )
        assert first.projection.counts["LogRebased"] == 1


def test_a_log_that_was_truncated_behind_a_snapshot_goes_on_from_it(tmp_path):
    store = FileStore(str(tmp_path / "snapshots"))
    with Site(tmp_path, "sqlite", store) as site:
        conductor = site.conductor()
        site.agent()
        scheduler = site.scheduler()
        api = site.serve(scheduler)
        built(api, 1)
        conductor.keep_snapshot()
        wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
        log = site.log()
        # The snapshot's own record stays: it proves that the snapshot is of this log.
        log.truncate_before(snapshot.head_of(store.load("cell1")).position)
        log.close()
        built(api, 2)
        late = site.scheduler("late")
        assert knows(late, ("h1", "h2"), 2)
        agree(late, conductor)
        assert conductor.projection.counts["LogRebased"] == 0


@pytest.mark.parametrize(
    "spoil",
    [lambda packed: b"nonsense", lambda packed: packed[:-1], lambda packed: packed.replace(b"cell1", b"cell2", 1)],
)
def test_a_snapshot_that_is_of_no_use_is_left_aside(tmp_path, spoil):
    store = FileStore(str(tmp_path / "snapshots"))
    with Site(tmp_path, "sqlite", store) as site:
        conductor = site.conductor()
        site.agent()
        conductor.keep_snapshot()
        packed = wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
        store.save("cell1", spoil(packed))
        scheduler = site.scheduler()
        assert knows(scheduler, ("h1", "h2"), 0)
        agree(scheduler, conductor)


def test_a_scheduler_starts_without_a_cell_and_takes_it_when_it_comes(tmp_path):
    with Site(tmp_path, "sqlite") as site:
        site.conductor()
        site.agent()
        away = Cell("cell2", uuid_of("cell2"), f"sqlite:///{tmp_path}/later/cell2.db")
        scheduler = site.scheduler(cells=[site.cell, away])
        api = site.serve(scheduler)
        built(api, 1)
        assert scheduler.call(lambda engine: engine.states.unreadable).result(SECONDS_MAX) == ["cell2"]
        os.mkdir(tmp_path / "later")
        wait_until(
            lambda: not scheduler.call(lambda engine: engine.world.table.cell_closed["cell2"]).result(SECONDS_MAX),
            SECONDS_MAX,
            "cell2 was not taken",
        )
        assert not scheduler.call(lambda engine: engine.states.unreadable).result(SECONDS_MAX)


@pytest.mark.parametrize("cells_away, cell0_away", [(True, False), (False, True)])
def test_a_scheduler_does_not_start_without_any_cell_or_without_cell0(tmp_path, cells_away, cell0_away):
    with Site(tmp_path, "sqlite") as site:
        if cells_away:
            site.cell = Cell("cell1", uuid_of("cell1"), f"sqlite:///{tmp_path}/no/cell1.db")
        if cell0_away:
            site.urls["cell0"] = f"sqlite:///{tmp_path}/no/cell0.db"
        with pytest.raises(errors.LogUnavailable, match="/no"):
            site.scheduler()


def test_a_clock_that_went_back_mutes_nobody(tmp_path):
    with Site(tmp_path, "sqlite") as site:
        conductor = site.conductor()
        agent = site.agent()
        scheduler = site.scheduler()
        future = 2**62
        scheduler._logs["cell1"].speak_after((future, 1))
        agent.hosts["h1"].begin_anew(future)
        agent.hosts["h1"].report()
        api = site.serve(scheduler)
        host = built(api, 1)
        assert host in ("h1", "h2")
        agent.hosts["h1"].producer.epoch = 5
        agent.hosts["h1"].report()
        wait_until(lambda: agent.hosts["h1"].producer.epoch > future, SECONDS_MAX, "the agent was not told")
        again = Scheduler("s", cell0_of(site.urls["cell0"]), [site.cell], Policy())
        site.wiring.callback(again.stop)
        again.start().wait_ready(SECONDS_MAX)
        assert again._logs["cell1"].producer.epoch > future
        assert conductor.projection.counts["stale-epoch"] >= 1


def test_snapshots_are_kept_again_after_one_was_refused(tmp_path, monkeypatch):
    store = FileStore(str(tmp_path / "snapshots"))
    with Site(tmp_path, "sqlite", store) as site:
        conductor = site.conductor()
        site.agent()
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "state_digest", lambda projection: "0" * 32)
            conductor.keep_snapshot()
            refused = wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
        late = site.conductor("late")
        assert set(late.projection.hosts) == {"h1", "h2"}
        late.keep_snapshot()
        wait_until(lambda: store.load("cell1") != refused, SECONDS_MAX, "no snapshot was kept any more")
        snapshot.load(store.load("cell1"))


def test_an_older_snapshot_does_not_take_the_place_of_a_newer_one(tmp_path):
    """A conductor that hung keeps one first and reads on then, from the one that another kept meanwhile."""
    store = FileStore(str(tmp_path / "snapshots"))
    with Site(tmp_path, "sqlite", store) as site:
        conductor = site.conductor()
        site.agent()
        wait_until(lambda: conductor.projection.hosts.keys() == {"h1", "h2"}, SECONDS_MAX, "no host was reported")
        old = snapshot.dump(conductor.projection)
        api = site.serve(site.scheduler())
        built(api, 1)
        conductor.keep_snapshot()
        newer = wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
        with site.log() as log:
            assert not cell_log.keep_newest(store, "cell1", old, log)
            assert cell_log.keep_newest(store, "cell1", newer, log)
            store.save("cell1", newer[:-1])
            assert cell_log.keep_newest(store, "cell1", old, log), "one that is damaged is no better"


def test_a_log_that_is_truncated_between_looking_and_reading_is_begun_again(tmp_path, monkeypatch):
    real, truncated = cell_log.find_beginning, []

    def find_and_truncate(log, *how, **known):
        found = real(log, *how, **known)
        if not truncated:
            log.truncate_before(log.bounds().last)
            truncated.append(log)
        return found

    with Site(tmp_path, "sqlite") as site:
        first = site.conductor()
        site.agent()
        wait_until(lambda: first.projection.hosts.keys() == {"h1", "h2"}, SECONDS_MAX, "the hosts were not reported")
        monkeypatch.setattr(cell_log, "find_beginning", find_and_truncate)
        late = site.conductor("late")
        assert truncated
        wait_until(lambda: late.projection.hosts.keys() == {"h1", "h2"}, SECONDS_MAX, "no host was reported again")


def test_a_scheduler_that_does_not_know_any_cell_is_not_ready_yet(tmp_path):
    """The conductor knows all of the log, so it does not rebase it, and there are no snapshots: the scheduler does."""
    with Site(tmp_path, "sqlite") as site:
        conductor = site.conductor()
        site.agent()
        wait_until(lambda: conductor.projection.hosts.keys() == {"h1", "h2"}, SECONDS_MAX, "no host was reported")
        log = site.log()
        log.truncate_before(log.bounds().last)
        log.close()
        scheduler = site.scheduler()
        assert not scheduler.call(lambda engine: engine.world.table.cell_closed["cell1"]).result(SECONDS_MAX)
        assert built(site.serve(scheduler), 1) in ("h1", "h2")
        assert conductor.projection.counts["LogRebased"] == 1


def test_a_scheduler_keeps_no_state_of_cell0_that_is_not_folded(tmp_path):
    with Site(tmp_path, "sqlite", FileStore(str(tmp_path / "snapshots"))) as site:
        site.conductor()
        scheduler, kept = site.scheduler(), []
        scheduler._logs["cell0"].keep = kept.append
        scheduler.call(lambda engine: scheduler.keeping.keep_snapshot()).result(SECONDS_MAX)
        assert len(kept) == 1
        scheduler.call(lambda engine: (engine.states.expect("cell0"), scheduler.keeping.keep_snapshot())).result(
            SECONDS_MAX
        )
        assert len(kept) == 1


def test_a_scheduler_whose_name_another_process_took_ends_and_says_so(tmp_path):
    with Site(tmp_path, "memory") as site:
        site.conductor()
        site.agent()
        first, second = site.scheduler("s"), site.scheduler("s")
        wait_until(lambda: first.fault, SECONDS_MAX, "the first does not notice")
        assert first.fault.exit_code == errors.EXIT_USAGE
        assert "another process publishes as scheduler/s in the log of cell0" in str(first.fault)
        assert "[scheduler] name" in str(first.fault)
        with pytest.raises(errors.NameTaken):
            first.select(request(), [uuid_of("vm")], 0).result(SECONDS_MAX)
        built(site.serve(second), 1)
        assert second.fault is None and site.scheduler("other").fault is None


def test_a_conductor_whose_name_another_process_took_ends_and_says_so(tmp_path):
    with Site(tmp_path, "memory") as site:
        first, second = site.conductor("c"), site.conductor("c")
        site.agent()
        second.producer.publish(events.HostLost("h1", "it is silent"))
        wait_until(lambda: first.fault, SECONDS_MAX, "the first does not notice")
        assert "another process publishes as conductor/c in the log of cell1" in str(first.fault)
        assert second.fault is None
