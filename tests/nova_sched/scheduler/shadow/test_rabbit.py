"""A shadow on a real RabbitMQ: it gets copies, Nova's own queues get each message, and nothing of Nova waits for it."""

import contextlib
import functools
import threading

import amqp
import pytest

from nova_sched.projection.state import CELL0
from nova_sched.request.networks import NotConfigured
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.scheduler.shadow.engine import Settings, ShadowEngine
from nova_sched.scheduler.shadow.readers import BuildReader, RequestReader
from nova_sched.selection.policy import Policy
from rpc_api import codec, errors, events
from rpc_api.bus.copies import PREFETCH_MESSAGES, Copy, CopyQueue
from rpc_api.bus.copy_reader import READING
from rpc_api.clock import SYSTEM
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.log.rabbit_address import parse_address
from tests.builders import EPOCH, Voice, created, facts_of, inventory_of, put_inventories, uuid_of
from tests.nova_sched.scheduler.shadow.messages import VM, recorded
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit
MESSAGES = recorded()
HOST = "host1.example.org"
SECONDS_MAX = 60.0
#: Rights of the shadow's account, as the documents give them: configure, write, read.
RIGHTS = (r"^nova_sched\.shadow\.", r"^nova_sched\.shadow\.", r"^(nova$|nova_sched\.shadow\.)")
QUEUES = ("scheduler", f"compute.{HOST}")


class Nova:
    """The broker's side of Nova: exchange nova with the queues of a scheduler and of a compute host."""

    def __init__(self, server, vhost):
        self._connection = amqp.Connection(
            f"{server.host}:{server.port}", server.user, server.password, virtual_host=vhost
        )
        self._connection.connect()
        self.channel = self._connection.channel()
        self.channel.exchange_declare("nova", "topic", durable=False, auto_delete=False)
        for queue in QUEUES:
            self.channel.queue_declare(queue, durable=False, auto_delete=False)
            self.channel.queue_bind(queue, "nova", queue)
        self.channel.confirm_select()

    def publish(self, *copies):
        for copy in copies:
            copy = MESSAGES[copy] if isinstance(copy, str) else copy
            self.channel.basic_publish_confirm(amqp.Message(copy.body), "nova", copy.routing_key)

    def read(self):
        """The number of messages that its services have not read yet."""
        count = 0
        for queue in QUEUES:
            while self.channel.basic_get(queue, no_ack=True) is not None:
                count += 1
        return count

    def close(self):
        with contextlib.suppress(OSError, amqp.AMQPError):
            self._connection.close()


def say(url, voices, *data, level):
    """Append events to a log."""
    with contextlib.closing(open_log(url)) as log:
        for one, producer in data:
            event = voices.setdefault(producer, Voice(producer)).say(one)
            log.append([codec.encode_record(EPOCH, [event], level)])


def write_logs(cell0, cell1, *hosts):
    """The logs of cell0 and of a cell with hosts of Nova, as an import writes them."""
    for cell, url in ((CELL0, cell0), ("cell1", cell1)):
        voices = {}
        say(
            url,
            voices,
            (events.LogOpened(cell, EPOCH), "operator/o"),
            (events.LevelPinned(LEVEL), "operator/o"),
            level=1,
        )
        for host in hosts if cell == "cell1" else ():
            inventories = inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 8192)
            say(
                url,
                voices,
                (created(host), "operator/o"),
                (put_inventories(host, *inventories), "operator/o"),
                (facts_of(host, authority="nova", server=""), "conductor/c"),
                level=LEVEL,
            )


class RunningShadow:
    """A shadow over logs in memory that reads copies from a broker; a context manager."""

    def __init__(self, name, server, vhost, *hosts, max_bytes=2**20, **login):
        self.urls = {cell: f"memory://{uuid_of(name)}-{cell}" for cell in (CELL0, "cell1")}
        # Open for as long as the shadow, because a log in memory is gone when nobody has it open.
        self._open = [open_log(url) for url in self.urls.values()]
        write_logs(*self.urls.values(), *hosts)
        self.scheduler = Scheduler(
            "s",
            cell0_of(self.urls[CELL0]),
            [Cell("cell1", uuid_of("cell1"), self.urls["cell1"])],
            Policy(),
            role="shadow",
            engine_class=functools.partial(ShadowEngine, settings=Settings(choice_timeout=SECONDS_MAX)),
        )

        def queue(what, key):
            address = parse_address(server.url(f"nova_sched.shadow.s.{what}", vhost, **login))
            return CopyQueue(address, "nova", key, max_bytes, 60.0, starts_empty=True, name="shadow")

        self.requests = RequestReader(queue("requests", "scheduler"), self.scheduler, NotConfigured(), SYSTEM)
        self.builds = BuildReader("cell1", queue("builds.cell1", "compute.#"), self.scheduler, "compute", SYSTEM)

    def __enter__(self):
        self.scheduler.start().wait_ready()
        self.builds.start()
        self.requests.start()
        wait_until(lambda: self.requests.state == self.builds.state == READING, SECONDS_MAX, "the shadow does not read")
        return self

    def __exit__(self, *exc):
        self.requests.stop()
        self.builds.stop()
        self.scheduler.stop()
        for log in self._open:
            log.close()

    def compared(self, count=1):
        """The first comparisons in the log of cell0, once there are so many."""

        def found():
            with contextlib.closing(open_log(self.urls[CELL0])) as log:
                first = log.bounds().first
                with log.read_from(first) as reader:
                    records = reader.read(1000)
            data = [
                event.data
                for record in records
                for event in codec.decode_record(record.payload).events
                if event.name == "DecisionCompared"
            ]
            return data if len(data) >= count else None

        return wait_until(found, SECONDS_MAX, f"not {count} comparisons")


@pytest.fixture
def nova(rabbit_server, vhost):
    nova = Nova(rabbit_server, vhost)
    yield nova
    nova.close()


@pytest.fixture
def shadow(nova, rabbit_server, vhost, request):
    rabbit_server.add_user("shadow", "secret", *RIGHTS, vhost=vhost)
    with RunningShadow(request.node.name, rabbit_server, vhost, HOST, user="shadow", password="secret") as shadow:
        yield shadow


def test_a_request_and_its_build(nova, shadow):
    nova.publish("one instance", "build")
    (found,) = shadow.compared()
    assert (found.instance_uuid, found.verdict, found.nova_host) == (VM, "same", HOST)
    assert found.seen_in == "build_and_run_instance"
    assert nova.read() == 2, "Nova has its own copies"


def test_garbage_is_counted_and_the_shadow_goes_on(nova, shadow):
    nova.publish(Copy("scheduler", b"{"), Copy(f"compute.{HOST}", b"\xff"), Copy("scheduler", b"{}"))
    nova.publish("one instance", "pause", "build")
    assert shadow.compared()[0].verdict == "same"
    assert shadow.requests.unread == {"not-a-call": 2} and shadow.builds.unread == {"not-a-call": 1}
    assert shadow.builds.ignored == 1 and nova.read() == 6


def test_a_request_that_meets_a_fault_of_ours(nova, shadow, monkeypatch):
    with monkeypatch.context() as planted:
        planted.setattr(shadow.scheduler.engine, "on_request", lambda *arguments: 1 // 0)
        nova.publish("one instance")
        wait_until(lambda: shadow.requests.unread["not-decided"], SECONDS_MAX, "the fault is not counted")
    nova.publish("one instance", "build")
    assert shadow.compared()[0].verdict == "same" and shadow.scheduler.fault is None


def test_a_shadow_starts_with_an_empty_queue(nova, rabbit_server, vhost, request):
    """Older requests would be compared with a later state."""
    with RunningShadow(f"{request.node.name}-1", rabbit_server, vhost, HOST):
        pass
    nova.publish("one instance")
    with RunningShadow(f"{request.node.name}-2", rabbit_server, vhost, HOST) as again:
        nova.publish("two instances", "build")
        assert again.compared()[0].instance_uuid == VM
        assert again.requests.used == 1


def test_a_second_shadow_of_its_name_waits(nova, shadow, rabbit_server, vhost, request):
    second = RunningShadow(f"{request.node.name}-2", rabbit_server, vhost, HOST)
    with pytest.raises(errors.ServiceUnavailable, match="another process reads"):
        second.requests.round()
    nova.publish("one instance", "build")
    assert shadow.compared()[0].verdict == "same"


@pytest.mark.parametrize("key", ["scheduler", f"compute.{HOST}"])
def test_the_account_of_the_shadow_may_not_publish_to_nova(nova, shadow, rabbit_server, vhost, key):
    place = f"{rabbit_server.host}:{rabbit_server.port}"
    with amqp.Connection(place, "shadow", "secret", virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.confirm_select()
        with pytest.raises(amqp.AccessRefused):
            channel.basic_publish_confirm(amqp.Message(b"{}"), "nova", key)
    assert nova.read() == 0


def test_a_shadow_that_hangs_does_not_fill_the_broker(nova, rabbit_server, vhost, request, monkeypatch):
    """Its queue drops the oldest messages; what Nova chose may then be missing, so it is unseen."""
    goes_on = threading.Event()
    with RunningShadow(request.node.name, rabbit_server, vhost, HOST, max_bytes=2000) as shadow:
        nova.publish("one instance")
        wait_until(lambda: shadow.scheduler.engine.waiting, SECONDS_MAX, "the request is not decided")
        waiting = next(iter(shadow.scheduler.engine.waiting.values()))
        monkeypatch.setattr(shadow.builds, "take", lambda copies: goes_on.wait(SECONDS_MAX))
        count = PREFETCH_MESSAGES + 100
        nova.publish(*[Copy(f"compute.{HOST}", b" " * 100)] * count)
        assert not waiting.is_blind and nova.read() == count + 1
        goes_on.set()
        wait_until(lambda: waiting.is_blind, SECONDS_MAX, "the loss was not noticed")
        assert shadow.builds.drops == 1 and shadow.builds.state == READING


def test_the_broker_restarts(rabbit, request):
    """The shadow reads again when Nova is back, and what was under way is not counted as a difference."""
    nova = Nova(rabbit, "/")
    with RunningShadow(request.node.name, rabbit, "/", HOST) as shadow:
        nova.publish("one instance")
        wait_until(lambda: shadow.scheduler.engine.waiting, SECONDS_MAX, "the request is not decided")
        waiting = next(iter(shadow.scheduler.engine.waiting.values()))
        rabbit.kill()
        wait_until(lambda: waiting.is_blind, SECONDS_MAX, "the shadow did not notice")
        # Both, because each has a connection of its own: what is published before a queue is there again is lost.
        wait_until(lambda: shadow.requests.state != READING, SECONDS_MAX, "its reader of requests did not notice")
        rabbit.start()
        nova = Nova(rabbit, "/")
        wait_until(
            lambda: shadow.requests.state == shadow.builds.state == READING, SECONDS_MAX, "it does not read again"
        )
        nova.publish("two instances")
        # (Requests and calls to hosts have a reader each: the call must not be taken for that of the first request.)
        wait_until(lambda: len(shadow.scheduler.engine.waiting) == 2, SECONDS_MAX, "the request is not decided")
        nova.publish("build")
        assert shadow.compared(2)[-1].verdict == "same"
        nova.close()
