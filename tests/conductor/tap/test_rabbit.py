"""The wire tap on a real RabbitMQ: a nova-compute of the test publishes the recorded messages of Nova to exchange nova,
and a conductor of the test reads its own queue."""

import contextlib
import json
import sqlite3
import zlib

import amqp
import pytest

from conductor.cell import CellConductor
from conductor.shown import facts_of_cell
from conductor.tap import model
from conductor.tap.tap import Tap
from nova_sched.nova_objects.names import LOST
from rpc_api import errors, events
from rpc_api.bus import LocalBus, copy_reader
from rpc_api.bus.copies import PREFETCH_MESSAGES, CopyQueue, QueueInUse
from rpc_api.bus.copy_reader import READING, STANDBY
from rpc_api.feed.epoch import ensure_open
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.log.rabbit_address import parse_address
from tests.builders import created, inventory_of, put_inventories, uuid_of
from tests.conductor.tap.messages import recorded, with_fields
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit
BODIES = recorded()
SECONDS_MAX = 60.0
MIB = 2**20
QUEUE = "nova_sched.tap.cell1"
#: Rights of the tap's account, as the documents give them: configure, write, read.
RIGHTS = (r"^nova_sched\.tap\.", r"^nova_sched\.tap\.", r"^(nova$|nova_sched\.tap\.)")


class Nova:
    """The broker's side of Nova: exchange nova, a nova-compute that publishes, a conductor that reads its queue."""

    def __init__(self, server, vhost):
        self._connection = amqp.Connection(
            f"{server.host}:{server.port}", server.user, server.password, virtual_host=vhost
        )
        self._connection.connect()
        self.channel = self._connection.channel()
        self.channel.exchange_declare("nova", "topic", durable=False, auto_delete=False)
        self.channel.queue_declare("conductor", durable=False, auto_delete=False)
        self.channel.queue_bind("conductor", "nova", "conductor")
        self.channel.confirm_select()

    def publish(self, *bodies, **properties):
        for body in bodies:
            body = BODIES[body] if isinstance(body, str) else body
            message = amqp.Message(body, content_type="application/json", content_encoding="utf-8", **properties)
            self.channel.basic_publish_confirm(message, "nova", "conductor")

    def read(self):
        """All messages that its conductor has not read yet."""
        found = []
        while (message := self.channel.basic_get("conductor", no_ack=True)) is not None:
            found.append(message.body if isinstance(message.body, bytes) else message.body.encode())
        return found

    def close(self):
        with contextlib.suppress(OSError, amqp.AMQPError):
            self._connection.close()


@pytest.fixture
def nova(rabbit_server, vhost):
    nova = Nova(rabbit_server, vhost)
    yield nova
    nova.close()


def queue_of(server, vhost, max_bytes=64 * MIB, expires=60.0, durable=False, **login):
    return CopyQueue(parse_address(server.url(QUEUE, vhost, **login)), "nova", "conductor", max_bytes, expires, durable)


@pytest.fixture
def queue(rabbit_server, vhost):
    with contextlib.closing(queue_of(rabbit_server, vhost)) as queue:
        yield queue


def read_all(queue, count):
    """The bodies of ``count`` messages, acknowledged."""
    found = []
    wait_until(lambda: found.extend(queue.read(0.2)) or len(found) >= count, SECONDS_MAX, f"not {count} messages")
    queue.acknowledge()
    assert {copy.routing_key for copy in found} == {"conductor"}
    return [copy.body for copy in found]


# --- the queue -----------------------------------------------------------------------------------------------------


def test_both_get_each_message(nova, queue):
    assert not queue.open(), "the queue is new"
    nova.publish(*BODIES)
    assert read_all(queue, len(BODIES)) == list(BODIES.values()) == nova.read()
    assert not queue.has_dropped()


def test_messages_wait_for_a_tap_that_is_away(nova, queue):
    queue.open()
    queue.close()
    nova.publish("heartbeat", "node saved")
    assert queue.open(), "the queue was there"
    assert len(read_all(queue, 2)) == 2 and not queue.has_dropped()


def test_what_is_not_acknowledged_comes_again(nova, queue):
    queue.open()
    nova.publish("heartbeat")
    wait_until(lambda: queue.read(0.2), SECONDS_MAX, "no message")
    queue.close()
    assert queue.open() and len(read_all(queue, 1)) == 1
    queue.close()
    assert queue.open() and queue.read(0.2) == []


def test_only_one_reads(nova, queue, rabbit_server, vhost):
    queue.open()
    with contextlib.closing(queue_of(rabbit_server, vhost)) as other:
        with pytest.raises(QueueInUse):
            other.open()
        queue.close()
        assert other.open()


def test_a_full_queue_drops_its_oldest_messages_and_the_tap_learns_it(nova, queue, rabbit_server, vhost):
    size = len(BODIES["heartbeat"])
    with contextlib.closing(queue_of(rabbit_server, vhost, max_bytes=10 * size)) as small:
        small.open()
        small.close()
        marked = [BODIES["heartbeat"] + b" " * number for number in range(30)]
        nova.publish(*marked)
        assert small.open()
        kept = read_all(small, 9)
        assert kept == marked[-len(kept) :] and len(kept) <= 10
        wait_until(lambda: small.read(0.1) or small.has_dropped(), SECONDS_MAX, "nothing was dropped")
        assert not small.has_dropped()
    assert nova.read() == marked, "Nova has its own copies"


def test_other_limits_make_the_queue_again(nova, queue, rabbit_server, vhost):
    queue.open()
    nova.publish("heartbeat")
    queue.close()
    with contextlib.closing(queue_of(rabbit_server, vhost, max_bytes=MIB)) as other:
        assert not other.open(), "what was in the queue is lost"
        nova.publish("node saved")
        assert read_all(other, 1) == [BODIES["node saved"]]


def test_an_unread_queue_goes(nova, rabbit_server, vhost):
    with contextlib.closing(queue_of(rabbit_server, vhost, expires=0.2)) as queue:
        queue.open()
        queue.close()
        wait_until(
            lambda: QUEUE not in rabbit_server.rabbitmqctl("list_queues", "-p", vhost, "name"),
            SECONDS_MAX,
            "the queue is still there",
        )
        assert not queue.open()
    nova.publish("heartbeat")
    assert nova.read() == [BODIES["heartbeat"]]


def test_a_compressed_message(nova, queue):
    queue.open()
    packed = zlib.compress(BODIES["heartbeat"])
    nova.publish(packed, application_headers={"compression": "application/x-gzip"})
    nova.publish(b"no gzip", application_headers={"compression": "application/x-gzip"})
    nova.publish(b"?", application_headers={"compression": "application/unknown"})
    assert read_all(queue, 3) == [BODIES["heartbeat"], None, None]


def test_without_the_exchange_it_says_what_to_do(queue):
    with pytest.raises(errors.ServiceUnavailable, match="start Nova's services there"):
        queue.open()


# --- rights --------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(rabbit_server, vhost):
    """The login of an account with the rights of the tap in the vhost."""
    rabbit_server.add_user("tap", "secret", *RIGHTS, vhost=vhost)
    return {"user": "tap", "password": "secret"}


def test_the_documented_rights_are_enough(nova, rabbit_server, vhost, limited):
    with contextlib.closing(queue_of(rabbit_server, vhost, **limited)) as queue:
        assert not queue.open()
        nova.publish("heartbeat")
        assert read_all(queue, 1) == [BODIES["heartbeat"]]


@pytest.mark.parametrize("exchange, key", [("nova", "conductor"), ("", "conductor")])
def test_the_account_of_the_tap_may_not_publish_to_nova(nova, rabbit_server, vhost, limited, exchange, key):
    place = f"{rabbit_server.host}:{rabbit_server.port}"
    with amqp.Connection(place, limited["user"], limited["password"], virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.confirm_select()
        with pytest.raises(amqp.AccessRefused):
            channel.basic_publish_confirm(amqp.Message(b"{}"), exchange, key)
    assert nova.read() == []


@pytest.mark.parametrize(
    "rights, login, wanted",
    [
        (("", "", ""), {}, "give the user 'tap' the rights of the tap"),
        ((RIGHTS[0], RIGHTS[1], r"^nova_sched\.tap\."), {}, "give the user 'tap' the rights of the tap"),
        (RIGHTS, {"password": "wrong"}, "refuses the user 'tap' or its password"),
    ],
    ids=["no rights", "may not read the exchange", "a wrong password"],
)
def test_what_is_missing_is_named(nova, rabbit_server, vhost, rights, login, wanted):
    rabbit_server.add_user("tap", "secret", *rights, vhost=vhost)
    with contextlib.closing(queue_of(rabbit_server, vhost, **({"user": "tap", "password": "secret"} | login))) as queue:
        with pytest.raises(errors.ServiceUnavailable, match=wanted) as fault:
            queue.open()
    assert "secret" not in str(fault.value)


# --- the conductor of a cell ------------------------------------------------------------------------------------------


class TappedCell:
    """A CellConductor over a log in memory, whose tap reads a real queue; a context manager."""

    def __init__(self, source, name="c", url="memory://tapped", level=LEVEL):
        self.log = open_log(url)
        self._appender = Appender(self.log, ensure_open(self.log, "cell1", "operator/test").epoch)
        self._placement = Producer(self._appender, "placement/test")
        self._operator = Producer(self._appender, "operator/test")
        self.say(self._operator, events.LevelPinned(level))
        self._placement.level = self._operator.level = level
        self.conductor = CellConductor(name, "cell1", url, LocalBus(), tap_source=source)

    def say(self, producer, *data):
        producer.wait(producer.publish(*data), SECONDS_MAX)

    def add_provider(self, name):
        self.say(self._placement, created(name), put_inventories(name, inventory_of("VCPU", 8)))

    def __enter__(self):
        self.conductor.start(SECONDS_MAX)
        return self

    def __exit__(self, *exc):
        self.conductor.stop()
        self._appender.close()
        self.log.close()

    @property
    def tap(self) -> Tap:
        return self.conductor.tap

    def wait(self, check, what):
        wait_until(lambda: check(self.conductor.projection), SECONDS_MAX, what)

    def wait_reading(self, state=READING):
        wait_until(lambda: self.tap.state == state, SECONDS_MAX, f"the tap is not {state}")


@pytest.fixture
def cell(nova, queue, request):
    with TappedCell(queue, url=f"memory://{request.node.name}") as cell:
        cell.wait_reading()
        yield cell


def test_a_host_comes_into_the_log(nova, cell):
    cell.add_provider("host1")
    nova.publish("heartbeat", "node saved", "instance built")
    cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
    host = cell.conductor.projection.hosts["host1"]
    assert (host.authority, host.server, host.lost) == ("nova", "", False)
    cell.wait(lambda projection: projection.hosts["host1"].status.failed_builds == 2, "its status is not in the log")
    nova.publish("node destroyed")
    cell.wait(lambda projection: not projection.hosts, "the host is still in the log")
    assert len(nova.read()) == 4
    assert facts_of_cell(cell.conductor)["tap"].startswith("reads, rabbit://")


def test_garbage_is_counted_and_does_not_stop_the_tap(nova, cell):
    cell.add_provider("host1")
    garbage = [b"", b"\xff" * 100, b"{}", with_fields(BODIES["node saved"], uuid=7), b"[" * 100_000]
    nova.publish(*garbage, "heartbeat", "node saved")
    cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
    assert facts_of_cell(cell.conductor)["tap messages that cannot be used"] == {"invalid-object": 1, "not-a-call": 4}
    assert len(nova.read()) == 7


def test_messages_that_nova_compute_dropped_make_its_host_unsure(nova, cell, caplog):
    """At its start nova-compute says that some may be missing: that is no warning."""
    cell.add_provider("host1")
    nova.publish("heartbeat", "node saved")
    cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
    for dropped, count in ((0, 3), (7, 4)):
        message = {"method": LOST, "args": {"host": "host1", "dropped": dropped}}
        nova.publish(json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode())
        wait_until(lambda: cell.tap.used == count and "host1" in cell.tap.model.unsure, SECONDS_MAX, "it is not unsure")
    assert caplog.text.count("missed messages: the nova-compute of host1") == 1
    assert "the nova-compute of host1 dropped 7 messages" in caplog.text
    nova.publish("heartbeat", "node saved")
    wait_until(lambda: "the facts of all hosts are certain again" in caplog.text, SECONDS_MAX, "it is still unsure")


def test_a_message_that_meets_a_fault_of_ours_does_not_come_again(nova, cell, monkeypatch):
    cell.add_provider("host1")
    with monkeypatch.context() as planted:
        planted.setattr(model, "inventory_of", lambda *arguments: 1 // 0)
        nova.publish("heartbeat", "node saved")
        wait_until(lambda: cell.tap.unread["internal-fault"], SECONDS_MAX, "the fault is not counted")
    nova.publish("node saved")
    cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
    assert cell.tap.state == READING and cell.tap.used == 3


def test_a_burst_is_read(nova, cell, rabbit_server, vhost):
    """More messages than are read at once, each of a host of its own."""
    hosts = [f"host-{number}" for number in range(PREFETCH_MESSAGES // 2 + 20)]
    for host in hosts:
        nova.publish(
            with_fields(BODIES["heartbeat"], host=host),
            with_fields(BODIES["node saved"], host=host, uuid=uuid_of(host)),
        )
    cell.wait(lambda projection: len(projection.waiting) == len(hosts), "not all hosts are in the log")


def test_a_message_is_acknowledged_when_its_events_are_in_the_log(nova, queue, tmp_path):
    """While nothing can be appended the message stays with the broker, and the next reader gets it."""
    path = tmp_path / "cell1.db"
    with TappedCell(queue, url=f"sqlite:///{path}") as cell:
        cell.wait_reading()
        cell.add_provider("host1")
        nova.publish("heartbeat", "node saved")
        cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
        used = cell.tap.used
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as blocking:
            blocking.execute("BEGIN IMMEDIATE")
            nova.publish("node destroyed")
            wait_until(lambda: cell.tap.used > used, SECONDS_MAX, "the message was not read")
            cell.tap.stop()
    assert queue.open() and read_all(queue, 1) == [BODIES["node destroyed"]]


def test_a_second_conductor_waits_and_takes_over(nova, cell, rabbit_server, vhost, monkeypatch):
    monkeypatch.setattr(copy_reader, "STANDBY_PAUSE", 0.1)
    with contextlib.closing(queue_of(rabbit_server, vhost)) as source, TappedCell(source, "d", cell.log.url) as other:
        other.wait_reading(STANDBY)
        cell.tap.stop()
        other.wait_reading()
        other.add_provider("host1")
        nova.publish("heartbeat", "node saved")
        other.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")


def test_a_log_below_level_3_gets_nothing(nova, queue, caplog):
    with TappedCell(queue, url="memory://low", level=2) as cell:
        cell.wait_reading()
        nova.publish("heartbeat", "node saved")
        wait_until(lambda: "the log is at level 2, wanted 3" in caplog.text, SECONDS_MAX, "no warning")
        assert not cell.conductor.projection.waiting
        cell.say(cell._operator, events.LevelPinned(LEVEL))
        cell.wait(lambda projection: projection.waiting, "what was read before is not published")


def test_the_broker_restarts(rabbit, caplog):
    """The transient queue is gone: the hosts are unsure until they publish again, and no host is lost meanwhile."""
    nova = Nova(rabbit, "/")
    with contextlib.closing(queue_of(rabbit, "/")) as source, TappedCell(source, url="memory://restart") as cell:
        cell.wait_reading()
        cell.add_provider("host1")
        nova.publish("heartbeat", "node saved")
        cell.wait(lambda projection: "host1" in projection.hosts, "the host is not in the log")
        rabbit.kill()
        wait_until(lambda: cell.tap.state != READING, SECONDS_MAX, "the tap did not notice")
        rabbit.start()
        nova = Nova(rabbit, "/")
        cell.wait_reading()
        wait_until(lambda: cell.tap.model.unsure, SECONDS_MAX, "the host is not unsure")
        nova.publish("heartbeat", with_fields(BODIES["node saved"], stats={"failed_builds": "5"}))
        cell.wait(lambda projection: projection.hosts["host1"].status.failed_builds == 5, "the change was not noticed")
        wait_until(lambda: "are certain again" in caplog.text, SECONDS_MAX, "it was not logged")
        assert not cell.conductor.projection.hosts["host1"].lost
        nova.close()
