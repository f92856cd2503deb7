"""A log that grows faster than it is folded: its cell is closed, and the other cells answer as without it."""

import logging

import pytest

from nova_sched.process.backlog import SAY_AGAIN, SHARE_FAR_BEHIND
from nova_sched.scheduler.claim_life import State
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.feed.follower import Batch
from rpc_api.log import open_log
from tests.builders import EPOCH, HandClock, Voice, record_of, uuid_of
from tests.engines import TinyCloud, hosts_of

CELLS = ("cell1", "cell2", "cell3")
STEP = 0.5
LOUD = "compute_agent/loud"


def cloud_of(vcpus=4):
    """Three cells with two hosts each; those of cell2 have ``vcpus``."""
    cloud = TinyCloud(CELLS)
    for cell in CELLS:
        for number in (1, 2):
            cloud.host(f"{cell}-host{number}", cell, vcpus if cell == "cell2" else 64)
    return cloud, cloud.engine("one")


def flood(cloud, engine, seconds):
    """Let the log of cell2 bring reports for so long, without its end."""
    for _ in range(int(seconds / STEP)):
        cloud.append("cell2", LOUD, *[events.HostConfirmed("loud", 7)] * 30)
        cloud.deliver("one", "cell2", 30, at_end=False)
        cloud.clock.seconds += STEP
        engine.on_tick()


def settle_others(cloud):
    for _ in range(3):
        for cell in ("cell0", "cell1", "cell3"):
            cloud.deliver("one", cell)


def answers(flooded):
    """The hosts and positions of 40 requests, during a flood of a cell without room or without a flood."""
    cloud, engine = cloud_of(vcpus=1)
    found = []
    for number in range(40):
        if flooded:
            flood(cloud, engine, STEP)
        else:
            cloud.clock.seconds += STEP
            engine.on_tick()
        ask = cloud.ask(engine, f"vm{number}", alternates=2)
        settle_others(cloud)
        found.append([(placed.host, placed.position) for placed in ask.future.result(0)[0]])
    assert engine.world.table.cell_closed.get("cell2", False) == flooded
    return found


def test_the_other_cells_answer_as_without_the_flood():
    assert answers(True) == answers(False)


def test_a_flooded_cell_gets_no_instances_until_the_end_of_its_log_is_reached():
    cloud, engine = cloud_of(vcpus=1000)
    flood(cloud, engine, 4.5)
    assert not engine.world.table.cell_closed.get("cell2", False)
    flood(cloud, engine, 1.5)
    assert engine.world.table.cell_closed.get("cell2", False) and not engine.is_unsettled()
    asks = [cloud.ask(engine, f"vm{number}") for number in range(8)]
    settle_others(cloud)
    assert not [host for ask in asks for host in hosts_of(ask) if host.startswith("cell2")]
    cloud.append("cell2", "conductor/c", events.HostSeen("cell2-host1"))
    cloud.deliver("one", "cell2")
    assert not engine.world.table.cell_closed.get("cell2", False)


def test_claims_under_way_there_are_decided_again_elsewhere():
    cloud, engine = cloud_of(vcpus=1000)
    for cell in ("cell1", "cell3"):
        engine.states.fault(cell, "away for a moment", "read")
        engine.states.close(cell)
    ask = cloud.ask(engine, "vm")
    (under_way,) = engine.claims.under_way("cell2")
    for cell in ("cell1", "cell3"):
        engine.states.fault(cell, None, "read")
    # The claim is behind the flood.
    folded = cloud._read["one", "cell2"]
    cloud.logs["cell2"], behind = cloud.logs["cell2"][:folded], cloud.logs["cell2"][folded:]
    flood(cloud, engine, 6.0)
    assert under_way.state is State.ABANDONED
    settle_others(cloud)
    assert not hosts_of(ask)[0].startswith("cell2")
    cloud.logs["cell2"] += behind
    cloud.settle()
    assert under_way.state is State.RELEASED and not engine.world.projections["cell2"].consumers
    assert [one.claim_uuid for one in cloud.events("cell2", "ClaimReleased")] == [under_way.uuid]


def test_cell_and_producer_are_named_at_once_and_again(caplog):
    cloud, engine = cloud_of()
    with caplog.at_level(logging.WARNING):
        flood(cloud, engine, 6.0)
        said = [record.getMessage() for record in caplog.records]
        assert said == [
            "cell cell2 is closed, and gets no instances: its log grows faster than it is folded: compute_agent/loud "
            "wrote 100 % of the last 330 events; stop that service, or take away its right to write to the log"
        ]
        caplog.clear()
        flood(cloud, engine, SAY_AGAIN)
        (again,) = [record.getMessage() for record in caplog.records]
        assert again.startswith("cell cell2 is still closed, for ") and LOUD in again
        caplog.clear()
        cloud.append("cell2", LOUD, events.HostConfirmed("loud", 7))
        cloud.settle()
        (opened,) = [record.getMessage() for record in caplog.records]
        assert opened.startswith("cell cell2 is open again, after ")


def test_a_log_that_is_read_for_the_first_time_is_not_flooded():
    """At the start a log may have much, which takes its time."""
    cloud, engine = cloud_of()
    engine.states.expect("cell2")
    flood(cloud, engine, 20.0)
    assert not engine.states.is_far_behind("cell2") and engine.states.is_behind("cell2")


# --- the share of the time --------------------------------------------------------------------------------------------


class Taken:
    """Notes the shares that a log gets."""

    def __init__(self, log):
        self.shares = []
        log.taken, self._taken = self, log.taken

    def __call__(self, level, took=0.0, share=1.0):
        self.shares.append(share)
        self._taken(level, took, 1.0)


@pytest.mark.parametrize(
    "far, requests, share", [(False, True, 1.0), (True, False, 1.0), (True, True, SHARE_FAR_BEHIND)]
)
def test_a_log_that_is_far_behind_gets_a_share_while_requests_wait(far, requests, share):
    urls = {cell: f"memory://shares-{far}-{requests}-{cell}" for cell in ("cell0", "cell1")}
    for cell, url in urls.items():
        open_log(url).append([record_of(Voice("operator/me").say(events.LogOpened(cell, EPOCH)))])
    clock = HandClock()
    cell1 = Cell("cell1", uuid_of("cell1"), urls["cell1"])
    scheduler = Scheduler("s", cell0_of(urls["cell0"]), [cell1], Policy(), clock)
    scheduler.start().wait_ready()
    try:
        taken = Taken(scheduler.logs["cell1"])

        def fold(engine):
            for seconds in (0.0, 6.0 if far else 1.0):
                clock.seconds += seconds
                scheduler._fold("cell1", Batch([], False))
            if requests:
                engine.requests._open["a request"] = None
            scheduler._fold("cell1", Batch([], False))
            engine.requests._open.clear()

        scheduler.call(fold).result(20)
        assert taken.shares == [1.0, 1.0, share]
    finally:
        scheduler.stop()
        for url in urls.values():
            open_log(url).delete()
