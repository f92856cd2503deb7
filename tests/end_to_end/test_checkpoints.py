"""Services and the checkpoints of their logs: they start at them, write them, and stay closed without them."""

import json
import logging
import threading

import pytest

from conductor.cell import CellConductor
from nova_sched.process import checkpoint_keeper
from nova_sched.process.cell_log import find_beginning
from nova_sched.process.checkpoint_duty import Limits
from nova_sched.process.checkpoint_maker import Maker
from nova_sched.process.checkpoints import newest_in
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.scheduler.service import CELL0, Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.bus import LocalBus
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from tests.builders import EPOCH, HandClock, uuid_of
from tests.nova_sched.process.checkpoint_logs import KeptLog
from tests.servers import wait_until

SECONDS_MAX = 60.0


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/cell1.db" if request.param == "sqlite" else f"memory://kept-{tmp_path.name}"


@pytest.fixture
def kept(url):
    """A log at level 3 with hosts and API writes."""
    with open_log(url) as log:
        kept = KeptLog(log=log)
        kept.hosts("h1", "h2")
        kept.written("pool")
        kept.claims("h1", "vm-1")
        yield kept


@pytest.fixture
def conductor(url):
    conductor = CellConductor("c", "cell1", url, LocalBus())
    yield conductor
    conductor.stop()


@pytest.fixture
def scheduler(url, tmp_path):
    scheduler = Scheduler(
        "s", cell0_of(f"memory://cell0-{tmp_path.name}"), [Cell("cell1", uuid_of("cell1"), url)], Policy()
    )
    yield scheduler
    scheduler.stop()


def test_services_start_at_the_checkpoint_of_a_log_without_its_beginning(kept, conductor, scheduler):
    whole = state_digest(kept.folded())
    checkpoint = kept.keep()
    expected = kept.folded()
    kept.log.truncate_before(checkpoint.position)
    conductor.start(SECONDS_MAX)
    scheduler.start().wait_ready(SECONDS_MAX)
    found = scheduler.call(lambda engine: engine.world.projections["cell1"].holds_writes).result(SECONDS_MAX)
    assert found and conductor.projection.holds_writes
    assert conductor.projection.consumers.keys() == expected.consumers.keys()
    assert conductor.projection.counts["LogRebased"] == 0
    assert state_digest(kept.folded(checkpoint.position, snapshot.load(snapshot_of(kept)))) == whole


def snapshot_of(kept):
    return newest_in(kept.log, "cell1", EPOCH, False).packed


def test_a_log_whose_beginning_is_lost_stays_closed_until_there_is_a_checkpoint(kept, conductor, scheduler, caplog):
    state = kept.folded()
    checkpoint_of_the_end = snapshot.dump(state)
    kept.log.truncate_before(4)
    kept.say("conductor/other", events.HostSeen("h1"))
    before = kept.log.bounds().last
    with caplog.at_level(logging.ERROR), pytest.raises(errors.LogGap, match=r"begins at position 4, and no checkpoint"):
        conductor.start(1.5)
    assert "it stays closed; restore its backup (nova-sched restore)" in caplog.text
    scheduler.start()
    wait_until(
        lambda: scheduler.call(lambda engine: engine.states.beginning_is_lost("cell1")).result(SECONDS_MAX),
        SECONDS_MAX,
        "the scheduler did not find that the beginning is lost",
    )
    assert scheduler.call(lambda engine: dict(engine.world.table.cell_closed)).result(SECONDS_MAX)["cell1"]
    assert not any(b"LogRebased" in record.payload for record in kept.records())
    # The conductor that knew the state writes it.
    kept.say("conductor/other", *kept.parts(checkpoint_of_the_end))
    wait_until(lambda: conductor.engine.is_current, SECONDS_MAX, "the conductor did not start at the checkpoint")
    wait_until(
        lambda: not scheduler.call(lambda engine: engine.world.table.cell_closed["cell1"]).result(SECONDS_MAX),
        SECONDS_MAX,
        "the scheduler did not start at the checkpoint",
    )
    assert conductor.projection.holds_writes and before > 0


def test_cell0s_log_whose_beginning_is_lost_ends_the_start_of_a_scheduler(tmp_path):
    cell0 = f"memory://cell0-{tmp_path.name}"
    with open_log(cell0) as log:
        kept = KeptLog(CELL0, log)
        kept.say("scheduler/x", *(events.PolicyAdopted(str(number), "{}") for number in range(4)))
        log.truncate_before(3)
    scheduler = Scheduler(
        "s", cell0_of(cell0), [Cell("cell1", uuid_of("cell1"), f"memory://cell1-{tmp_path.name}")], Policy()
    )
    with pytest.raises(errors.LogGap, match="the log of cell0 begins at position 3, and no checkpoint or snapshot"):
        scheduler.start().wait_ready(2.0)
    scheduler.stop()
    with open_log(cell0) as log:
        assert log.bounds().last == 5, "nothing was appended"


# --- writing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def keepers(url):
    """Start conductors that write checkpoints; their clock is moved by the test."""
    clock, started = HandClock(), []

    def start(name, **limits):
        conductor = CellConductor(
            name, "cell1", url, LocalBus(), clock, checkpoints=Maker("cell1", url, Limits(**limits))
        )
        started.append(conductor)
        return conductor.start(SECONDS_MAX)

    start.clock = clock
    yield start
    for conductor in started:
        conductor.stop()


def checkpoints_of(kept):
    return kept.seen().candidates()


def wait_for_checkpoints(kept, count, clock):
    def there():
        clock.seconds += 1.0
        return len(checkpoints_of(kept)) >= count

    wait_until(there, SECONDS_MAX, f"there are {len(checkpoints_of(kept))} checkpoints, wanted {count}")


def test_a_conductor_writes_the_first_checkpoint_of_a_log_and_takes_api_writes_then(kept, keepers):
    conductor = keepers("c")
    assert "has no complete checkpoint yet" in conductor.keeping.gate.refusal()
    wait_for_checkpoints(kept, 1, keepers.clock)
    wait_until(lambda: conductor.keeping.gate.refusal() is None, SECONDS_MAX, "API writes are still refused")
    newest = kept.seen().newest
    assert newest.producer == "conductor/c"
    found = newest_in(kept.log, "cell1", EPOCH, False)
    assert state_digest(snapshot.load(found.packed)) == state_digest(kept.folded(newest.position))


def test_the_next_one_starts_from_the_last_one(kept, keepers):
    """Also if the records before it are gone."""
    conductor = keepers("c", every_records=10)
    wait_for_checkpoints(kept, 1, keepers.clock)
    first = kept.seen().newest
    kept.log.truncate_before(first.position)
    kept.hosts(*(f"late-{number}" for number in range(12)))
    wait_for_checkpoints(kept, 2, keepers.clock)
    assert kept.seen().newest.position > first.position
    loaded = snapshot.load(newest_in(kept.log, "cell1", EPOCH, False).packed)
    assert loaded.holds_writes and len(loaded.hosts) == 14
    wait_until(lambda: len(conductor.projection.hosts) == 14, SECONDS_MAX, "the conductor did not go on")


def test_of_two_conductors_one_writes(kept, keepers, monkeypatch):
    """Also if both begin at the same moment: the order of their first parts decides."""
    monkeypatch.setattr(checkpoint_keeper, "PART_BYTES", 400)
    one, other = keepers("one"), keepers("other")
    wait_for_checkpoints(kept, 1, keepers.clock)
    for conductor in (one, other):
        wait_until(lambda conductor=conductor: conductor.keeping.gate.refusal() is None, SECONDS_MAX, "it was not seen")
    keepers.clock.seconds += 30.0
    for conductor in (one, other):
        conductor.keeping.tick()
    assert len(checkpoints_of(kept)) == 1


def test_a_checkpoint_is_named_near_the_end_of_the_log(kept, keepers):
    keepers("c")
    wait_for_checkpoints(kept, 1, keepers.clock)
    kept.hosts("late")

    def named():
        keepers.clock.seconds += 10.0
        return any(b"CheckpointNamed" in record.payload for record in kept.records())

    wait_until(named, SECONDS_MAX, "it was not named")


def test_a_checkpoint_that_cannot_be_made_is_logged_and_tried_again(kept, keepers, caplog, monkeypatch):
    made = Maker.make
    faults = [errors.LogUnavailable("no room"), OSError("no process")]

    def make(self):
        if faults:
            raise faults.pop(0)
        return made(self)

    monkeypatch.setattr(Maker, "make", make)
    keepers("c")

    def there():
        keepers.clock.seconds += 30.0
        return checkpoints_of(kept)

    wait_until(there, SECONDS_MAX, "it was not tried again")
    assert "is not written, and is tried again: no room" in caplog.text and "no process" in caplog.text


def test_the_lock_of_a_conductor_is_not_held_while_its_checkpoint_is_made(kept, keepers, monkeypatch):
    """Beats and builds go on."""
    going, entered = threading.Event(), threading.Event()
    made = Maker.make

    def make(self):
        entered.set()
        assert going.wait(SECONDS_MAX)
        return made(self)

    monkeypatch.setattr(Maker, "make", make)
    conductor = keepers("c")

    def begun():
        keepers.clock.seconds += 1.0
        return entered.is_set()

    wait_until(begun, SECONDS_MAX, "no checkpoint was begun")
    assert conductor.lock.acquire(timeout=SECONDS_MAX)
    conductor.lock.release()
    going.set()
    wait_for_checkpoints(kept, 1, keepers.clock)


def test_a_scheduler_writes_those_of_cell0(tmp_path):
    cell0, clock = f"memory://cell0-{tmp_path.name}", HandClock()
    with open_log(cell0) as log:
        kept = KeptLog(CELL0, log)
        kept.say("operator/o", events.AggregateUpdated(uuid_of("rack"), "rack", ("h1",), {}))
        scheduler = Scheduler(
            "s",
            cell0_of(cell0),
            [Cell("cell1", uuid_of("cell1"), f"memory://cell1-{tmp_path.name}")],
            Policy(),
            clock,
            checkpoints=Maker(CELL0, cell0),
        )
        try:
            scheduler.start().wait_ready(SECONDS_MAX)
            wait_for_checkpoints(kept, 1, clock)
        finally:
            scheduler.stop()
        assert kept.seen().newest.producer == "scheduler/s"
        loaded = snapshot.load(newest_in(log, CELL0, EPOCH, False).packed)
        assert list(loaded.aggregates) == [uuid_of("rack")]


def test_a_process_that_cannot_make_a_checkpoint_says_why(tmp_path):
    with pytest.raises(errors.LogUnavailable, match="its process could not make it: cannot open the log"):
        Maker("cell1", f"sqlite:///{tmp_path}/none.db").make()


@pytest.mark.rabbit
def test_checkpoints_stay_ahead_of_the_retention_of_a_stream(rabbit_server):
    """The broker removes records by a policy, and a reader that starts always finds the state."""
    stream = f"ahead-{uuid_of('ahead')[:8]}"
    policy = {"max-length-bytes": 200_000, "stream-max-segment-size-bytes": 20_000}
    rabbit_server.rabbitmqctl("set_policy", stream, f"^{stream}$", json.dumps(policy), "--apply-to", "queues")
    url, clock, found = rabbit_server.url(stream), HandClock(), []
    with open_log(url) as log:
        kept = KeptLog(log=log)
        kept.written("pool")
        kept.hosts("h1", "h2")
        maker = Maker("cell1", url, Limits(floor_bytes=20_000))
        conductor = CellConductor("c", "cell1", url, LocalBus(), clock, checkpoints=maker)
        try:
            conductor.start(SECONDS_MAX)
            wait_until(lambda: _moved(clock) and conductor.keeping.gate.refusal() is None, SECONDS_MAX, "no checkpoint")

            def cut():
                clock.seconds += 11.0
                # The gate is what keeps a slow machine's checkpoints ahead: who writes without it may outrun them.
                if conductor.keeping.gate.refusal() is None:
                    records = [events.AggregateUpdated(uuid_of("a"), "a" * 900, (), {}) for _ in range(20)]
                    kept.say("operator/x", *records)
                _, beginning, _ = find_beginning(log, "cell1", "scheduler/s", SYSTEM, None)
                found.append(beginning)
                assert beginning.whole
                return beginning.first > 100

            wait_until(cut, 4 * SECONDS_MAX, "the broker removed nothing")
        finally:
            conductor.stop()
        assert len({beginning.found.checkpoint.uuid for beginning in found if beginning.found.checkpoint}) > 1
        assert snapshot.load(found[-1].snapshot).holds_writes
        assert conductor.projection.counts["LogRebased"] == 0


def _moved(clock):
    clock.seconds += 11.0
    return True
