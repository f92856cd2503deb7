"""Services and the checkpoints of their logs: they start at them, write them, and stay closed without them."""

import logging

import pytest

from conductor.cell import CellConductor
from nova_sched.process.checkpoints import newest_in
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.scheduler.service import CELL0, Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.bus import LocalBus
from rpc_api.log import open_log
from tests.builders import EPOCH, uuid_of
from tests.nova_sched.process.checkpoint_logs import KeptLog
from tests.servers import wait_until

SECONDS_MAX = 30.0


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
