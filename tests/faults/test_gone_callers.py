"""A caller that is killed while its calls wait: their claims do not hold room until claim_ttl."""

import multiprocessing
import time

import pytest

from tests.conftest import running
from tests.faults.load import Cloud
from tests.servers import RabbitServer, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long, pytest.mark.timeout(600)]

CALLS = 200
SECONDS_MAX = 90.0


@pytest.fixture
def rabbit():
    yield from running(RabbitServer)


def calling_process(url, pipe):
    """Make calls, and wait for answers."""
    import uuid

    from rpc_api import concurrency

    concurrency.setup("threading")
    from oslo_config import cfg

    from rpc_api.bus import MessagingBus
    from rpc_api.contracts.scheduler import SchedulerAPI
    from rpc_api.objects.context import RequestContext
    from tests.builders import request_spec

    cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    scheduler = SchedulerAPI(MessagingBus(cfg.CONF, url, threads=CALLS))
    for _ in range(CALLS):
        one = str(uuid.uuid4())
        context = {"request_id": f"req-{one}", "project_id": "p", "user_id": "u", "is_admin": True}
        scheduler.select_destinations(RequestContext.from_dict(context), request_spec(one, vcpus=1), [one])
    pipe.send("called")
    time.sleep(3600)


def test_the_claims_of_a_killed_caller_are_released(tmp_path, rabbit):
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    caller = spawn.Process(target=calling_process, args=(rabbit.url(), theirs), daemon=True)
    with Cloud(tmp_path, rabbit.url(), rabbit.url, schedulers=1, vcpus=1024, conductor={"claim_ttl": 1200}) as cloud:
        cloud.freeze("scheduler-1")
        caller.start()
        assert ours.recv() == "called"
        wait_until(lambda: _waiting(rabbit) >= CALLS, SECONDS_MAX, "not all calls are in the queue of the scheduler")
        caller.kill()
        caller.join()
        cloud.thaw("scheduler-1")
        began = time.monotonic()
        wait_until(lambda: _claims(cloud) == (CALLS, CALLS, 0), SECONDS_MAX, "not all claims are released")
        print(f"{CALLS} claims of a killed caller are released after {time.monotonic() - began:.0f} s")
        assert cloud.said("answers? are not delivered: their caller is gone, reply queue reply_")


def _waiting(rabbit):
    """Messages of the topic of the schedulers."""
    rows = [line.split() for line in rabbit.rabbitmqctl("list_queues", "name", "messages").splitlines()]
    return sum(int(row[1]) for row in rows if len(row) == 2 and row[0] == "scheduler")


def _claims(cloud):
    """(claims that were proposed, claims that were released, entries that are left) of the cell."""
    from nova_sched.projection.projection import Projection
    from nova_sched.replay.logs.reading import decoded_records
    from rpc_api.log import open_log

    projection = Projection("cell1")
    with open_log(cloud.logs["cell1"], create=False) as log:
        projection.fold(list(decoded_records(log)))
    counts = projection.counts
    return counts["claim-accepted"], counts["ClaimReleased"], len(projection.consumers)
