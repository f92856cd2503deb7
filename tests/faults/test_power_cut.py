"""What a power cut costs: the broker is killed, and has the data of a moment before, or a log whose last bytes are cut
off. On one broker confirmed records are lost, and a log with a checkpoint keeps its state; on three nothing is lost."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest

from nova_sched.process.cell_log import find_beginning
from nova_sched.process.read_before import ReadBefore
from nova_sched.projection import snapshot
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from tests.builders import EPOCH
from tests.nova_sched.process.checkpoint_logs import KeptLog
from tests.servers import RabbitServer, wait_until

pytestmark = pytest.mark.rabbit

SECONDS_MAX = 60.0
_NUMBERS = itertools.count()


@pytest.fixture
def server():
    with RabbitServer() as server:
        yield server


def settled(url, at_least=0):
    """The bounds of a stream of a broker that has just started."""
    found = []

    def there():
        with contextlib.suppress(Exception), open_log(url, create=False) as log:
            found[:] = [log.bounds()]
        return bool(found) and found[0].last >= at_least

    wait_until(there, SECONDS_MAX, f"the stream did not come back: {found}")
    return found[0]


@pytest.fixture
def kept(server):
    url = server.url(f"power-{next(_NUMBERS)}")
    with open_log(url) as log:
        kept = KeptLog(log=log)
        kept.url = url
        kept.hosts("h1", "h2")
        kept.written("pool")
        kept.keep()
        server.wait_kept()
        yield kept


def test_a_killed_broker_loses_nothing_that_it_confirmed(server, kept):
    kept.hosts(*(f"late-{number}" for number in range(20)))
    last = kept.log.bounds().last
    server.kill()
    server.start()
    assert settled(kept.url, last).last == last


def test_a_broker_that_has_the_data_of_a_moment_before_loses_what_it_confirmed_since(server, kept):
    """The log keeps its epoch and its checkpoint; a service that read the lost records notices."""
    known = ReadBefore()
    before = kept.log.bounds().last
    with server.losing_its_tail():
        settled(kept.url, before)
        kept.hosts(*(f"late-{number}" for number in range(20)))
        known.begin(EPOCH, None)
        known.add([(record.position, record) for record in kept.records()])
    bounds = settled(kept.url)
    assert before - 1 <= bounds.last <= before
    with open_log(kept.url, create=False) as log:
        epoch, beginning, _ = find_beginning(log, "cell1", "conductor/c", SYSTEM, None, known=known)
    assert epoch == EPOCH and beginning.whole
    assert snapshot.load(beginning.snapshot).holds_writes
    assert beginning.kept == bounds.last


def test_a_broker_whose_last_bytes_are_cut_off_has_a_log_that_ends_earlier(server, kept):
    """Also in the middle of a checkpoint: the one before it is used."""
    complete = kept.seen().newest
    for part in kept.parts(snapshot.dump(kept.folded())):
        kept.say("conductor/c", part)
    last = kept.log.bounds().last
    server.kill()
    (segment,) = [path for path in Path(server.dir).rglob("*.segment") if f"{kept.url.split('=')[-1]}_" in str(path)]
    os.truncate(segment, segment.stat().st_size - 60)
    server.start()
    bounds = settled(kept.url)
    assert complete.last <= bounds.last < last
    with open_log(kept.url, create=False) as log:
        _, beginning, _ = find_beginning(log, "cell1", "conductor/c", SYSTEM, None)
    assert beginning.found.checkpoint.uuid == complete.uuid


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("whose", ["leader", "follower"])
def test_of_three_brokers_one_may_lose_what_it_confirmed(cluster, whose):
    url = cluster.url("power")
    with open_log(url) as log:
        kept = KeptLog(log=log)
        kept.hosts("h1", "h2")
        cluster.wait_replicated("power")
        node = cluster.leader("power") if whose == "leader" else cluster.followers("power")[-1]
        with node.losing_its_tail():
            kept.hosts(*(f"late-{number}" for number in range(20)))
            last = log.bounds().last
    assert settled(url, last).last >= last
