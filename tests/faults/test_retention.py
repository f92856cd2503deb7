"""Records are removed in front of a RabbitMQ stream while it is read, and streams are deleted and declared again."""

import json
import random
import time
import uuid
from contextlib import contextmanager

import pytest

from nova_sched.process.snapshot_store import FileStore
from nova_sched.projection import snapshot
from rpc_api import codec, errors, events
from rpc_api.log import open_log
from tests.faults.load import HANG_SECONDS, Cloud, Load, Tap, audit
from tests.faults.test_kills import CONDUCTOR, SCHEDULERS, kept
from tests.rpc_api.log.contract import bare, read_all
from tests.servers import wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(600)]

SEED = 1
CELL = "cell1"
#: The stream keeps about 1,500 records of the filling, or half a minute of the load.
RETENTION = {"max-length-bytes": 1_500_000, "stream-max-segment-size-bytes": 100_000}
FILLING_BYTES = 1000
#: A reader that hangs is sent so many records all the same (its prefetch), and what its segment holds.
SENT_AHEAD = 1500
READ_ANEW = "the log of cell1 does not continue at our position, and is opened again"
OPEN_AGAIN = "cell cell1 is open again"


def retain(rabbit, stream, vhost, retention):
    """A policy for a stream. The broker takes the size of the segments from it only when the stream is declared."""
    rabbit.rabbitmqctl(
        "set_policy",
        "-p",
        vhost,
        f"retention of {stream}",
        f"^{stream}$",
        json.dumps(retention),
        "--apply-to",
        "queues",
    )


class Filling:
    """Appends records that change no state to the log of a tap, at the pace of that."""

    def __init__(self, tap: Tap, url: str):
        self._tap, self._url = tap, url
        self._sequence = 0
        self._epoch_ns = time.time_ns()

    def add(self, count: int, batch: int = 50) -> None:
        """Append so many records."""
        with open_log(self._url, create=False) as log:
            for _ in range(0, count, batch):
                log.append([self._record() for _ in range(batch)])
                self._tap.wait_for(log.bounds().last)

    def until_removed(self, position: int) -> None:
        """Append until the log begins behind a position."""
        with open_log(self._url, create=False) as log:
            while log.bounds().first <= position:
                self.add(200)

    def _record(self):
        wait_until(lambda: self._tap.last >= 0, HANG_SECONDS, "the tap reads nothing")
        self._sequence += 1
        failed = events.BuildFailed(str(uuid.uuid4()), "req-filling", "h", 1, "x" * FILLING_BYTES, True)
        return codec.encode_record(
            self._tap.records[0][1].epoch,
            [codec.make_event(failed, "conductor/filling", self._epoch_ns, self._sequence, self._epoch_ns)],
        )


def test_a_reader_whose_records_are_removed_says_so(rabbit_server, vhost):
    """It is far behind; the broker itself goes on at the first record that there is, and says nothing."""
    retain(rabbit_server, "log", vhost, RETENTION)
    url = rabbit_server.url("log", vhost)
    with open_log(url) as log:
        log.append([b"first"])
        with log.read_from(0) as reader:
            assert bare(read_all(reader, 1)) == [(0, b"first")]
            while log.bounds().first <= SENT_AHEAD:
                log.append([bytes([1]) * FILLING_BYTES] * 200)
            with pytest.raises(errors.PositionTruncated):
                while True:
                    reader.read(1000, timeout=HANG_SECONDS)


@contextmanager
def truncated(what, directory, rabbit, vhost, snapshots, selections=100):
    """Run what is inside on a (Cloud, Load, Filling, url) whose cell has such a retention, audit it and print its row.

    The cell has two conductors, so that snapshots are kept while one is away.
    """
    retain(rabbit, CELL, vhost, RETENTION)
    url = rabbit.url(CELL, vhost)
    with (
        Cloud(
            directory,
            rabbit.url(vhost=vhost),
            lambda name: rabbit.url(name, vhost),
            conductors=2,
            vcpus=1024,
            **(kept(directory) if snapshots else {}),
        ) as cloud,
        Tap(CELL, url) as tap,
        Load(cloud) as load,
    ):
        load.wait_selected(selections)
        filling = Filling(tap, url)
        if snapshots:
            wait_until(lambda: kept_position(directory) >= 0, HANG_SECONDS, "no snapshot is kept")
        with load.fault():
            yield cloud, load, filling, url
        load.wait_selected(selections)
        load.stop()
        findings = audit(cloud, load, {CELL: tap})
        print(findings.row(f"{what}, {'snapshots every second' if snapshots else 'no snapshots'}"))
        with open_log(url, create=False) as log:
            print(
                f"the log has {log.bounds()}; it was rebased {tap.projection().counts['LogRebased']} times, healed "
                f"in {load.faulty[1] - load.faulty[0]:.1f} s"
            )
        load.wrong = findings.wrong()
        if snapshots and tap.projection().counts["LogRebased"]:
            load.wrong.append("the log was rebased, and with snapshots that are newer nothing is lost")


def kept_position(directory) -> int:
    """The position of the snapshot that is kept of the cell; -1 when there is none."""
    packed = FileStore(f"{directory}/snapshots").load(CELL)
    return -1 if packed is None else snapshot.head_of(packed).position


def first_of(url):
    """The first position of a log."""
    with open_log(url, create=False) as log:
        return log.bounds().first


@pytest.mark.long
@pytest.mark.parametrize("snapshots", [True, False], ids=["snapshots", "log"])
@pytest.mark.parametrize("hangs", [SCHEDULERS[1], CONDUCTOR])
def test_records_are_removed_before_a_service_that_hangs(tmp_path, rabbit_server, vhost, hangs, snapshots):
    with truncated(
        f"{hangs.partition('-')[0]} hangs (SIGSTOP) until what it has not read is removed",
        tmp_path,
        rabbit_server,
        vhost,
        snapshots,
    ) as (cloud, load, filling, url):
        position, _ = cloud.states()[hangs, CELL]
        cloud.freeze(hangs)
        filling.until_removed(position + SENT_AHEAD)
        if snapshots:
            wait_until(lambda: kept_position(tmp_path) > first_of(url), HANG_SECONDS, "no newer snapshot is kept")
        cloud.thaw(hangs)
        thawed = time.monotonic()
        cloud.running[hangs].wait_for(READ_ANEW)
        if hangs in SCHEDULERS:
            cloud.running[hangs].wait_for(OPEN_AGAIN)
        print(f"{hangs} was healed {time.monotonic() - thawed:.1f} s after it went on")
    assert load.wrong == []


@pytest.mark.long
@pytest.mark.parametrize("snapshots", [True, False], ids=["snapshots", "log"])
def test_records_are_removed_while_services_are_killed(tmp_path, rabbit_server, vhost, snapshots):
    chance = random.Random(SEED)
    names = (*SCHEDULERS, CONDUCTOR, "conductor-2.cell1")
    with truncated(
        f"segments are removed all the while, {2 * len(names)} times a service is killed",
        tmp_path,
        rabbit_server,
        vhost,
        snapshots,
    ) as (cloud, load, filling, url):
        for name in 2 * names:
            filling.until_removed(first_of(url) + 100)
            cloud.kill(name)
            cloud.begin(name)
            load.wait_asked(chance.randint(10, 120))
            filling.until_removed(first_of(url) + 100)
            cloud.running[name].wait_ready()
        print(f"seed {SEED}")
    assert load.wrong == []


@contextmanager
def recreated(what, directory, rabbit, vhost):
    """Run what is inside on a (Cloud, Load): what was answered meanwhile may be lost with the log, and whatever is
    answered from then on holds."""
    with Cloud(directory, rabbit.url(vhost=vhost), lambda name: rabbit.url(name, vhost)) as cloud:
        with Load(cloud) as load:
            load.wait_selected(150)
            with load.fault():
                yield cloud, load
            load.wait_selected(150)
            load.stop()
            print(audit(cloud, load).row(f"{what}: what was answered before is lost"))
        with Load(cloud) as later:
            later.wait_selected(150)
            later.stop()
            load.wrong = audit(cloud, later).wrong()


@pytest.mark.long
@pytest.mark.parametrize("stream", ["cell0", CELL])
def test_a_stream_is_deleted_over_and_over(tmp_path, rabbit_server, vhost, stream):
    chance = random.Random(SEED)
    times = 6
    with recreated(f"the stream of {stream} is deleted {times} times", tmp_path, rabbit_server, vhost) as (cloud, load):
        for number in range(1, times + 1):
            rabbit_server.rabbitmqctl("delete_queue", "-p", vhost, stream)
            load.wait_asked(chance.randint(10, 200))
            for name, cells in cloud.folders().items():
                if stream in cells:
                    cloud.running[name].wait_for(f"the log of {stream} can be read again", number)
        print(f"seed {SEED}")
    assert load.wrong == []


@pytest.mark.long
@pytest.mark.parametrize("hangs", [SCHEDULERS[1], CONDUCTOR])
@pytest.mark.parametrize("grown", [False, True], ids=["shorter", "longer"])
def test_a_stream_is_declared_again_behind_a_service_that_hangs(tmp_path, rabbit_server, vhost, hangs, grown):
    """Its position lies in the future of the new log or, once that has grown, within it."""
    what = f"{hangs.partition('-')[0]} hangs (SIGSTOP) while the log is declared again, and is {{}} than its position"
    with recreated(what.format("longer" if grown else "shorter"), tmp_path, rabbit_server, vhost) as (cloud, load):
        position, _ = cloud.states()[hangs, CELL]
        cloud.freeze(hangs)
        rabbit_server.rabbitmqctl("delete_queue", "-p", vhost, CELL)
        url = rabbit_server.url(CELL, vhost)
        wait_until(lambda: begun(url), HANG_SECONDS, f"nobody recreates {url}")
        if grown:
            with Tap(CELL, url) as tap:
                Filling(tap, url).add(position + 100)
        with open_log(url, create=False) as log:
            assert (log.bounds().last > position) is grown
        cloud.thaw(hangs)
        cloud.running[hangs].wait_for(READ_ANEW)
        if hangs in SCHEDULERS:
            cloud.running[hangs].wait_for(OPEN_AGAIN)
    assert load.wrong == []


def begun(url):
    """Whether the log at a URL is there, and begun."""
    try:
        with open_log(url, create=False) as log:
            return log.bounds().count
    except errors.LogUnavailable:
        return False
