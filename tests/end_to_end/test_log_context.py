"""Log lines about a request carry its ids, in whatever thread they are written, and no other lines do."""

import io
import logging
import threading

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_log import formatters
from oslo_log import log as oslo_log

from conductor.api import ApiConductor
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.requests import Requests
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, events, log_context
from rpc_api.bus import LocalBus, MessagingBus
from rpc_api.log import open_log
from rpc_api.messages import SERVICE_UNAVAILABLE
from rpc_api.nova_exception import NoValidHost, ServiceUnavailable
from rpc_api.objects.context import RequestContext
from tests.builders import EPOCH, request_spec, uuid_of
from tests.engines import TinyCloud

SECONDS_MAX = 60
IDS = [
    ("req-11111111-aaaa-4aaa-8aaa-000000000001", "req-22222222-aaaa-4aaa-8aaa-000000000001"),
    ("req-11111111-aaaa-4aaa-8aaa-000000000002", "req-22222222-aaaa-4aaa-8aaa-000000000002"),
]


def context_of(ids):
    # A context that is made is the thread's own, which it must not be here.
    with log_context.of(None):
        return RequestContext(request_id=ids[0], global_request_id=ids[1], user_id="u", project_id="p")


@pytest.fixture(autouse=True)
def no_context():
    with log_context.of(None):
        yield


@pytest.fixture
def lines():
    """A function that gives the lines that were logged, in oslo.log's format."""
    conf = cfg.ConfigOpts()
    oslo_log.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(formatters.ContextFormatter(project="t", version="1", config=conf))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda text: [line for line in said.getvalue().splitlines() if text in line]
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def scheduler(request):
    tiny, tag = TinyCloud(), uuid_of(request.node.name)
    tiny.host("a", "cell1", 4)
    for name, log in tiny.logs.items():
        opened = codec.make_event(events.LogOpened(name, EPOCH), "operator/test", 1, 1, 0)
        open_log(f"memory://context-{tag}-{name}").append([codec.encode_record(EPOCH, [opened]), *log])
    scheduler = Scheduler(
        "s",
        cell0_of(f"memory://context-{tag}-cell0"),
        [Cell("cell1", uuid_of("cell1"), f"memory://context-{tag}-cell1")],
        Policy(),
    )
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


def ask(client, ids, instance, vcpus):
    wanted = request_spec(uuid_of(instance), vcpus=vcpus, memory_mb=0, disk_gb=0)
    return client.call(
        context_of(ids),
        "select_destinations",
        timeout=SECONDS_MAX,
        spec_obj=wanted,
        instance_uuids=[uuid_of(instance)],
        return_objects=True,
        return_alternates=True,
    )


def in_order(lines, ids, count=1):
    """Each line has the ids of its own request, and of no other."""
    assert len(lines) == count * len(ids)
    for number, line in enumerate(lines):
        for which, (request_id, global_id) in enumerate(ids):
            assert (f"[{global_id} {request_id} " in line) == (number // count == which), line


@pytest.fixture(params=["local", "messaging"])
def bus(request):
    if request.param == "local":
        yield LocalBus()
        return
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, "fake://", "context")
    yield bus
    bus.close()


def test_a_scheduler_s_lines_about_a_request(scheduler, lines, bus):
    topic = f"t{uuid_of(str(scheduler))}"
    server = bus.serve(topic, "s", [SchedulerEndpoint(scheduler)], "4.5")
    client = bus.client(topic, "4.5")
    for number, ids in enumerate(IDS):
        with pytest.raises(NoValidHost):
            ask(client, ids, f"too large {number}", 64)
    server.stop()
    in_order(lines("No valid host for"), IDS)
    assert oslo_context.get_current() is None


def test_a_fault_of_the_scheduler(scheduler, lines, monkeypatch):
    def fail(*_):
        raise ValueError("a fault")

    monkeypatch.setattr(Requests, "_decide_now", fail)
    bus = LocalBus()
    bus.serve("t", "s", [SchedulerEndpoint(scheduler)], "4.5")
    for number, ids in enumerate(IDS):
        with pytest.raises(ServiceUnavailable):
            ask(bus.client("t", "4.5"), ids, f"any {number}", 1)
    in_order(lines("met a fault of the scheduler"), IDS, 2)


def test_a_request_that_cannot_be_read(scheduler, lines, bus):
    topic = f"t{uuid_of(str(scheduler))}"
    server = bus.serve(topic, "s", [SchedulerEndpoint(scheduler)], "4.5")
    for ids in IDS:
        with pytest.raises(NoValidHost):
            bus.client(topic, "4.5").call(
                context_of(ids),
                "select_destinations",
                timeout=SECONDS_MAX,
                spec_obj=request_spec(uuid_of("x")),
                instance_uuids=["none"],
                return_objects=True,
            )
    server.stop()
    in_order(lines("cannot be placed"), IDS)


def test_lines_about_no_request_have_no_ids(scheduler, lines):
    bus = LocalBus()
    bus.serve("t", "s", [SchedulerEndpoint(scheduler)], "4.5")
    ask(bus.client("t", "4.5"), IDS[0], "fits", 1)
    done = threading.Event()

    def log(_):
        logging.getLogger("here").info("of no request")
        done.set()

    scheduler.call(log)
    assert done.wait(SECONDS_MAX)
    (line,) = lines("of no request")
    assert "[-]" in line


def test_the_api_conductor_s_builds(lines):
    class Answers:
        """Schedulers whose answer names no host."""

        def select_destinations(self, context, **_):
            return [[]]

    bus = LocalBus()
    bus.serve("scheduler", "s", [Answers()], "4.5")
    conductor = ApiConductor(bus, {}, 3, 1)
    for number, ids in enumerate(IDS):
        asked = conductor.schedule_and_build_instances(
            context_of(ids), request_spec(uuid_of(f"{number}")), [uuid_of(f"{number}")]
        )
        (outcome,) = asked.result(SECONDS_MAX)
        assert outcome.outcome == SERVICE_UNAVAILABLE
    conductor.close()
    in_order(lines("cannot be built now"), IDS)


def test_an_endpoint_s_lines_in_whatever_service(lines, bus):
    class Endpoint:
        def note(self, context):
            logging.getLogger("here").warning("noted")

    topic = f"t{uuid_of(str(bus))}"
    server, client = bus.serve(topic, "s", [Endpoint()], "1.0"), bus.client(topic, "1.0")
    for ids in IDS:
        client.call(context_of(ids), "note", timeout=SECONDS_MAX)
    server.stop()
    in_order(lines("noted"), IDS)


def test_what_is_bound_has_the_ids_in_another_thread(lines):
    with log_context.of(context_of(IDS[0])):
        function = log_context.bound(lambda: logging.getLogger("here").info("bound"))
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
    function()
    in_order(lines("bound"), IDS[:1], 2)
    assert oslo_context.get_current() is None
