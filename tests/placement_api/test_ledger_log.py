"""A worker of the API writes into a log, and answers when it knows the outcome."""

import os
import resource
import threading

import pytest

from nova_sched.projection.write_refusals import WriteRefused
from placement_api.http_errors import Unavailable
from placement_api.region import Region
from rpc_api import events
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.placement_api.regions import WHO, prepare, uuid_of, workers
from tests.servers import wait_until


def created(name):
    return events.ProviderCreated(uuid_of(name), name, None, *WHO)


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    return url


def test_a_write_is_answered_when_it_is_folded():
    region = Region.in_memory()
    written = region.write(created("one"))
    assert (written.reason, written.generation) == (None, 0)
    assert region.row_of(uuid_of("one")) is not None
    refused = region.write(created("one"))
    assert refused.reason.code is WriteRefused.UUID_TAKEN
    region.close()


def test_one_unit_has_one_winner(url, tmp_path):
    provider = uuid_of("provider")
    inventory = events.Inventory("VCPU", 1, 0, 1, 1, 1, 1.0)
    with workers({"cell1": url}, tmp_path / "shared") as regions:
        assert regions[0].write(created("provider")).reason is None
        put = events.InventoriesPut(provider, 0, "all", (inventory,), *WHO)
        assert regions[0].write(put).reason is None
        for number in range(20):
            outcomes = []
            consumers = [uuid_of(f"consumer {number} {racer}") for racer in range(4)]

            def race(region, consumer, outcomes=outcomes):
                one = events.ConsumerPut(
                    consumer, True, None, "p", "u", None, (events.Allocation(provider, "VCPU", 1),), None
                )
                outcomes.append((consumer, region.write(events.AllocationsPut((one,), *WHO)).reason))

            threads = [threading.Thread(target=race, args=(regions[racer % 2], consumers[racer])) for racer in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            winners = [consumer for consumer, reason in outcomes if reason is None]
            assert len(winners) == 1
            assert {reason.code for _, reason in outcomes if reason is not None} == {WriteRefused.CAPACITY}
            assert regions[0].write(events.AllocationsDropped(winners[0], *WHO)).reason is None


def test_a_fence_waits_for_what_another_worker_wrote(url):
    with workers({"cell1": url}) as (one, other):
        for number in range(50):
            assert one.write(created(f"provider {number}")).reason is None
            other.fence()
            assert other.row_of(uuid_of(f"provider {number}")) is not None


def test_a_log_below_level_3_takes_no_writes(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    with open_log(url) as log:
        open_at_level(log, "cell1", "operator/test", events.EVENTS["StateKept"].LEVEL - 1)
    with workers({"cell1": url}, count=1) as (region,), pytest.raises(Unavailable, match="nova-sched pin"):
        region.write(created("one"))


def test_a_log_without_a_checkpoint_takes_no_writes(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    with open_log(url) as log:
        open_at_level(log, "cell1", "operator/test", LEVEL)
    with workers({"cell1": url}, count=1) as (region,), pytest.raises(Unavailable, match="no complete checkpoint"):
        region.write(created("one"))


def test_a_worker_that_stops_gives_no_wrong_answer(url):
    with workers({"cell1": url}, count=1) as (region,):
        region.close()
        with pytest.raises(Unavailable):
            region.write(created("one"))


def test_why_a_log_takes_no_write_is_for_the_operator(url, caplog):
    """The file system is full (a limit of the size of files gives the same errors)."""
    path = url.removeprefix("sqlite:///")
    with workers({"cell1": url}, count=1) as (region,):
        log, limits = region.logs["cell1"], resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(f"{path}-wal"), limits[1]))
        try:
            log.cell_log.producer.publish(events.HostSeen("h1"))
            wait_until(lambda: path in str(log.refusal), 30, "the worker notices that it cannot append")
            with pytest.raises(Unavailable) as refused:
                region.write(created("one"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(refused.value) == "The log of cell1 takes no writes now; try again later."
        assert path in caplog.text
        wait_until(lambda: log.refusal is None, 30, "the worker takes writes again")
        assert region.write(created("one")).reason is None
