"""A log at level 3 that is deleted: its services close the cell and do not begin the log again; they follow it when it
is back."""

import pytest

from rpc_api import errors
from rpc_api.feed.epoch import append_pin, ensure_open, epoch_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.end_to_end.test_recovery import Site, agree, built, knows, remove
from tests.servers import wait_until

SECONDS_MAX = 60.0
SENTENCE = "it stays closed, and no service begins it again"


def records_of(url):
    """The records of a log, as a backup has them."""
    with open_log(url, create=False) as log, log.read_from(0) as reader:
        last, found = log.bounds().last, []
        while reader.position <= last:
            found += reader.read(1000, 10.0)
        return found


def begun_by_another(url):
    """Begin a log as an operator does who creates those that are missing, or as a service that does not know it."""
    with open_log(url) as log:
        ensure_open(log, "cell1", "operator/another")


def is_closed(scheduler):
    return scheduler.call(lambda engine: engine.world.table.cell_closed["cell1"]).result(SECONDS_MAX)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["missing", "another one in its place"])
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("rabbit", marks=pytest.mark.rabbit)])
def test_no_service_begins_it_again(tmp_path, kind, is_replaced, request):
    rabbit = request.getfixturevalue("rabbit_server") if kind == "rabbit" else None
    with Site(tmp_path, kind, rabbit=rabbit) as site:
        url = site.urls["cell1"]
        conductor, agent, scheduler = site.conductor(), site.agent(), site.scheduler()
        built(site.serve(scheduler), 1)
        epoch = conductor.projection.epoch
        with site.log() as log:
            append_pin(log, epoch, "operator/pin", LEVEL)
        wait_until(
            lambda: agent.facts()["level"].startswith(str(LEVEL)), SECONDS_MAX, "the agent does not know the level"
        )
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 1), SECONDS_MAX, "the hosts are not reported at the level")
        kept = records_of(url)
        remove(site, kind)
        if is_replaced:
            begun_by_another(url)
        # The agent notices when it appends.
        agent.hosts["h1"].report_soon()
        wait_until(lambda: SENTENCE in str(scheduler.faults.get("cell1")), SECONDS_MAX, "the scheduler goes on")
        wait_until(lambda: SENTENCE in (conductor.engine.log_state.why or ""), SECONDS_MAX, "the conductor goes on")
        if kind == "sqlite" or not is_replaced:
            # (To a producer a stream that was declared again looks as the one before; its records do not count there.)
            wait_until(lambda: agent._appender.epoch is None, SECONDS_MAX, "the agent goes on")
        assert agent.epoch == epoch
        wait_until(lambda: is_closed(scheduler), SECONDS_MAX, "the cell is open")
        assert set(conductor.projection.hosts) == {"h1", "h2"}
        if is_replaced:
            with open_log(url, create=False) as log:
                assert epoch_of(log) != epoch
            remove(site, kind)
        else:
            with pytest.raises(errors.LogGone):
                open_log(url, create=False)
        # The log is back, as a backup or a disk has it.
        with open_log(url) as log:
            log.append([record.payload for record in kept])
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 1), SECONDS_MAX, "the scheduler does not follow the log")
        wait_until(lambda: agent._appender.epoch == epoch, SECONDS_MAX, "the agent does not use the log")
        built(site.serve(scheduler), 2)
        agree(scheduler, conductor)
        assert conductor.projection.epoch == epoch
        with site.log() as log:
            assert epoch_of(log) == epoch
