"""The buses: one contract for LocalBus, oslo.messaging in one process, and oslo.messaging over RabbitMQ."""

import errno
import logging
import threading
import uuid
from concurrent.futures import Future

import amqp
import pytest
from kombu.exceptions import OperationalError
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_messaging import MessageDeliveryFailure

from rpc_api import errors, events, messages
from rpc_api.bus import LocalBus, MessagingBus
from rpc_api.errors import NoAnswer, NoSuchServer
from rpc_api.nova_exception import NoValidHost, ServiceUnavailable
from rpc_api.objects.context import RequestContext
from rpc_api.objects.flavor import Flavor
from tests.servers import free_port

VERSION = "1.3"
ANSWER_SECONDS_MAX = 60.0
CONTEXT = {"request_id": "req-1", "project_id": "p", "user_id": "u"}
ALLOCATION = events.Allocation("11111111-aaaa-4aaa-8aaa-000000000001", "VCPU", 4)


class Endpoint:
    """Answers with what it was called with, or with an error."""

    RPC_METHODS = ("echo", "who", "later", "fail", "note", "never")
    RPC_AT_ONCE = ("note",)

    def __init__(self, name=""):
        self.name = name
        self.seen = []
        self.heard = threading.Semaphore(0)
        self.silent = Future()

    def echo(self, context, value):
        self.seen.append((context, value))
        return value

    def who(self, context):
        return self.name

    def later(self, context, value):
        answer = Future()
        threading.Timer(0.01, answer.set_result, [value]).start()
        return answer

    def never(self, context):
        self.heard.release()
        return self.silent

    def fail(self, context, fault, text):
        raise {
            "no_valid_host": lambda: NoValidHost(reason=text),
            "unavailable": lambda: ServiceUnavailable(reason=text),
            "no_host_found": lambda: errors.NoHostFound(text, "s"),
            "gap": lambda: errors.PositionTruncated(text),
            "usage": lambda: errors.UsageError(text),
            "no_answer": lambda: NoAnswer(text),
            "own": lambda: ZeroDivisionError(text),
        }[fault]()

    def note(self, context, value):
        self.seen.append((context, value))
        self.heard.release()

    def hidden(self, context):
        raise AssertionError("a method that is not listed was called")


def conf_of():
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    return cfg.CONF


class BusContract:
    """What every bus does; ``bus`` and ``topic`` are fixtures of the subclass."""

    #: Whether a call to nobody is noticed at once.
    NOTICES_NOBODY = True

    @pytest.fixture
    def one_thread(self, bus):
        """A server of this bus has one thread for calls."""
        from oslo_messaging import server

        conf_of().register_opts(server._pool_opts)
        conf_of().set_override("executor_thread_pool_size", 1)
        yield
        conf_of().clear_override("executor_thread_pool_size")

    @pytest.fixture
    def topic(self):
        return f"test_{uuid.uuid4().hex}"

    @pytest.fixture
    def endpoint(self, bus, topic):
        endpoint = Endpoint("one")
        server = bus.serve(topic, "one", [endpoint], VERSION)
        yield endpoint
        if not endpoint.silent.done():
            endpoint.silent.set_result(None)
        server.stop()

    @pytest.fixture
    def client(self, bus, topic, endpoint):
        return bus.client(topic, VERSION)

    @pytest.mark.parametrize(
        "value",
        [
            "text",
            None,
            7,
            [1, {"a": [None, True]}],
            ALLOCATION,
            [ALLOCATION],
            messages.BuildOutcome("11111111-aaaa-4aaa-8aaa-000000000001", messages.BUILT, "h", (ALLOCATION,), 1, ""),
        ],
    )
    def test_values_arrive_equal(self, client, value):
        assert client.call(CONTEXT, "echo", value=value, timeout=ANSWER_SECONDS_MAX) == value

    def test_objects_of_nova_arrive_as_objects_that_are_not_shared(self, client, endpoint):
        flavor = Flavor(id=1, name="m1", vcpus=2, extra_specs={"a": "b"})
        answer = client.call(CONTEXT, "echo", value=flavor, timeout=ANSWER_SECONDS_MAX)
        assert (answer.name, answer.vcpus, answer.extra_specs) == ("m1", 2, {"a": "b"})
        assert endpoint.seen[-1][1] is not flavor and answer is not endpoint.seen[-1][1]

    def test_a_context_arrives(self, client, endpoint):
        client.call(RequestContext.from_dict(CONTEXT), "echo", value=1, timeout=ANSWER_SECONDS_MAX)
        context = endpoint.seen[-1][0]
        assert (context.request_id, context.project_id) == ("req-1", "p")

    def test_a_future_is_waited_for(self, client):
        assert client.call(CONTEXT, "later", value=[3], timeout=ANSWER_SECONDS_MAX) == [3]
        assert client.call_async(CONTEXT, "later", value=[4]).result(ANSWER_SECONDS_MAX) == [4]

    @pytest.mark.parametrize(
        "fault, expected",
        [
            ("no_valid_host", NoValidHost),
            ("unavailable", ServiceUnavailable),
            ("no_host_found", errors.NoHostFound),
            ("gap", errors.PositionTruncated),
            ("usage", errors.UsageError),
            ("no_answer", NoAnswer),
            ("own", errors.NovaSchedError),
        ],
    )
    def test_errors_arrive_as_their_class(self, client, fault, expected, caplog):
        with caplog.at_level(logging.INFO), pytest.raises(expected) as met:
            client.call(CONTEXT, "fail", fault=fault, text="because", timeout=ANSWER_SECONDS_MAX)
        assert type(met.value) is expected
        assert "because" in str(met.value) and "Traceback" not in str(met.value) and "\n" not in str(met.value)
        assert [record for record in caplog.records if record.exc_info] == []
        assert [record.levelname for record in caplog.records if record.levelno >= logging.ERROR] == (
            ["ERROR"] if fault == "own" else []
        )

    def test_an_error_of_call_async_is_in_its_future(self, client):
        asked = client.call_async(CONTEXT, "fail", fault="no_valid_host", text="full")
        assert isinstance(asked.exception(ANSWER_SECONDS_MAX), NoValidHost)
        assert str(asked.exception()) == "No valid host was found. full"

    @pytest.mark.parametrize("method", ["hidden", "missing", "_private", "__init__"])
    def test_only_listed_methods_can_be_called(self, client, method):
        with pytest.raises(errors.UsageError, match=method.strip("_") or method):
            client.call(CONTEXT, method, timeout=ANSWER_SECONDS_MAX)

    def test_no_answer_in_time(self, client, endpoint):
        with pytest.raises(NoAnswer, match="never was not answered by any server of the topic test_.* within 0.2 s"):
            client.call(CONTEXT, "never", timeout=0.2)

    def test_nobody_there(self, bus, topic):
        with pytest.raises(NoSuchServer if self.NOTICES_NOBODY else NoAnswer, match=topic):
            bus.client(topic, VERSION).call(CONTEXT, "who", timeout=0.5 if not self.NOTICES_NOBODY else 30)

    def test_a_named_server_that_is_not_there(self, bus, client, topic):
        with pytest.raises(NoSuchServer if self.NOTICES_NOBODY else NoAnswer, match="nowhere"):
            client.call(CONTEXT, "who", server="nowhere", timeout=0.5 if not self.NOTICES_NOBODY else 30)

    def test_servers_by_name_and_fanout(self, bus, topic, client, endpoint):
        other = Endpoint("two")
        server = bus.serve(topic, "two", [other], VERSION)
        try:
            assert [client.call(CONTEXT, "who", server=one, timeout=ANSWER_SECONDS_MAX) for one in ("two", "one")] == [
                "two",
                "one",
            ]
            client.cast(CONTEXT, "note", fanout=True, value="all")
            for one in (endpoint, other):
                assert one.heard.acquire(timeout=ANSWER_SECONDS_MAX)
                assert one.seen[-1][1] == "all"
        finally:
            server.stop()

    def test_a_cast_does_not_say_what_went_wrong(self, client, endpoint):
        client.cast(CONTEXT, "fail", fault="usage", text="nobody hears")
        client.cast(CONTEXT, "note", value=1)
        assert endpoint.heard.acquire(timeout=ANSWER_SECONDS_MAX)

    def test_pings_and_beats_do_not_wait_behind_calls_that_last(self, bus, topic, one_thread):
        endpoint = Endpoint()
        server = bus.serve(topic, "one", [endpoint], VERSION)
        client = bus.client(topic, VERSION)
        try:
            asked = [client.call_async(CONTEXT, "never", timeout=ANSWER_SECONDS_MAX) for _ in range(3)]
            assert endpoint.heard.acquire(timeout=ANSWER_SECONDS_MAX)
            client.ping(ANSWER_SECONDS_MAX)
            client.cast(CONTEXT, "note", value=1)
            assert endpoint.heard.acquire(timeout=ANSWER_SECONDS_MAX), "it waits behind the calls"
            endpoint.silent.set_result("done")
            # Before the server stops: a call that it did not take yet waits in the queue for another server.
            assert [call.result(ANSWER_SECONDS_MAX) for call in asked] == ["done"] * 3
        finally:
            if not endpoint.silent.done():
                endpoint.silent.set_result("done")
            server.stop()

    def test_stop_lets_what_is_being_answered_come_to_its_end(self, bus, topic):
        endpoint = Endpoint()
        server = bus.serve(topic, "one", [endpoint], VERSION)
        asked = bus.client(topic, VERSION).call_async(CONTEXT, "never")
        assert endpoint.heard.acquire(timeout=ANSWER_SECONDS_MAX)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert not asked.done()
        endpoint.silent.set_result("to its end")
        assert asked.result(ANSWER_SECONDS_MAX) == "to its end"
        stopping.join(ANSWER_SECONDS_MAX)
        assert not stopping.is_alive()

    def test_calls_that_come_while_one_server_stops_go_to_another(self, bus, topic):
        busy, other = Endpoint("busy"), Endpoint("other")
        stopping_server = bus.serve(topic, "busy", [busy], VERSION)
        client = bus.client(topic, VERSION)
        asked = client.call_async(CONTEXT, "never")
        assert busy.heard.acquire(timeout=ANSWER_SECONDS_MAX)
        server = bus.serve(topic, "other", [other], VERSION)
        stopping = threading.Thread(target=stopping_server.stop)
        stopping.start()
        try:
            names = [client.call_async(CONTEXT, "who") for _ in range(15)]
            assert {name.result(ANSWER_SECONDS_MAX) for name in names} <= {"busy", "other"}
            assert client.call(CONTEXT, "who", timeout=ANSWER_SECONDS_MAX) in ("busy", "other")
        finally:
            busy.silent.set_result("done")
            stopping.join(ANSWER_SECONDS_MAX)
            server.stop()
        assert asked.result(ANSWER_SECONDS_MAX) == "done"


class TestLocalBus(BusContract):
    @pytest.fixture
    def bus(self):
        bus = LocalBus()
        yield bus
        bus.close()


class TestFake(BusContract):
    NOTICES_NOBODY = False

    @pytest.fixture
    def bus(self):
        bus = MessagingBus(conf_of(), "fake://", "test")
        yield bus
        bus.close()


@pytest.fixture(scope="module")
def rabbit_bus(rabbit_server):
    bus = MessagingBus(conf_of(), rabbit_server.url(), "test")
    yield bus
    bus.close()


@pytest.mark.rabbit
class TestRabbit(BusContract):
    @pytest.fixture
    def bus(self, rabbit_bus):
        return rabbit_bus

    @pytest.fixture
    def quick_client(self, bus, topic):
        """A client that gives up a monitored call if no server has reported for 4 s that it works on it."""
        bus.client(topic, VERSION)  # registers the option
        cfg.CONF.set_override("rpc_response_timeout", 4)
        yield bus.client(topic, VERSION)
        cfg.CONF.clear_override("rpc_response_timeout")

    def test_a_monitored_call_that_nobody_works_on_is_given_up(self, bus, topic, quick_client):
        bus.serve(topic, "one", [Endpoint()], VERSION).stop()  # leaves its queue
        with pytest.raises(NoAnswer, match="who was not answered .* within 4 s"):
            quick_client.call(CONTEXT, "who", timeout=600, monitored=True)

    def test_a_monitored_call_that_takes_long_is_waited_for(self, quick_client, endpoint):
        asked = quick_client.call_async(CONTEXT, "never", timeout=600, monitored=True)
        assert endpoint.heard.acquire(timeout=ANSWER_SECONDS_MAX)
        with pytest.raises(TimeoutError):
            asked.result(6)
        endpoint.silent.set_result("at last")
        assert asked.result(ANSWER_SECONDS_MAX) == "at last"

    def test_a_broker_that_lets_us_in(self, bus):
        bus.check()

    def test_a_broker_without_a_user_has_that_of_the_first_one(self, rabbit_server):
        place = f"{rabbit_server.host}:{rabbit_server.port}"
        url = rabbit_server.url().replace(place, f"127.0.0.1:{free_port()},{place}")
        bus = MessagingBus(conf_of(), url, "test")
        try:
            bus.check()
            server = bus.serve("each", "one", [Endpoint("one")], VERSION)
            assert bus.client("each", VERSION).call(CONTEXT, "who") == "one"
            server.stop()
        finally:
            bus.close()

    def test_a_wrong_password(self, rabbit_server):
        bus = MessagingBus(conf_of(), rabbit_server.url(password="wrong"), "test")
        with pytest.raises(errors.LogUnavailable, match="ACCESS_REFUSED") as met:
            bus.check()
        assert "wrong" not in str(met.value)

    def test_a_wrong_vhost(self, rabbit_server):
        with pytest.raises(errors.LogUnavailable, match="vhost.*not found"):
            MessagingBus(conf_of(), rabbit_server.url(vhost="nowhere"), "test").check()


def test_a_broker_that_is_away():
    with pytest.raises(errors.LogUnavailable, match="127.0.0.1:1: Connection refused.*fix transport_url"):
        MessagingBus(conf_of(), "rabbit://u:secret@127.0.0.1:1/", "test").check()


@pytest.mark.parametrize(
    "url, said",
    [
        ("carrier-pigeon://coop/", "carrier-pigeon"),
        ("rabbit//", "has no scheme"),
        ("rabbit://u:secret@h:port/", "it has a wrong host or port"),
        ("rabbit://u:12#secret@h/", "percent-encoded"),
        ("rabbit://u:12/secret@h/", "percent-encoded"),
        ("rabbit://u:secret@h/?stream=s", "the option 'stream', wanted options of .oslo_messaging_rabbit"),
        ("rabbit://u:secret@h/?heartbeat_rate=secret", "an option in it has a wrong value"),
        ("rabbits://u:secret@h/", "rabbits"),
    ],
)
def test_a_transport_url_that_cannot_be_used(url, said):
    with pytest.raises(errors.UsageError, match=f"{said}.*fix transport_url") as met:
        MessagingBus(conf_of(), url, "test")
    assert "secret" not in str(met.value)


def test_brokers_of_a_transport_url_without_a_user_have_that_of_the_first():
    bus = MessagingBus(conf_of(), "rabbit://u:p@a:1,b:2,[::1]:3/v", "test")
    assert [(host.hostname, host.port, host.username, host.password) for host in bus._url.hosts] == [
        ("a", 1, "u", "p"),
        ("b", 2, "u", "p"),
        ("::1", 3, "u", "p"),
    ]
    assert bus._url.virtual_host == "v"


def test_the_exchange_is_novas_by_default():
    bus = MessagingBus(conf_of(), "fake://")
    assert bus._exchange == "nova"


def test_casts_that_cannot_be_sent_are_told_once_and_when_it_is_over(monkeypatch, caplog):
    """An agent casts every few seconds, for as long as its broker is away."""
    bus = MessagingBus(conf_of(), "fake://", "test")
    topic = "nobody"
    client = bus.client(topic, VERSION)
    away, failure = True, bus._messaging.MessageDeliveryFailure

    class Prepared:
        def cast(self, ctxt, method, **arguments):
            if away:
                raise failure("the broker is away")

    monkeypatch.setattr(client._client, "prepare", lambda **options: Prepared())
    for _ in range(5):
        client.cast(CONTEXT, "note", value=1)
    away = False
    for _ in range(2):
        client.cast(CONTEXT, "note", value=1)
    bus.close()
    # Threads of other tests may log meanwhile.
    told = [record.getMessage() for record in caplog.records if f"casts to {topic} " in record.getMessage()]
    assert [one.partition(",")[0] for one in told] == [
        f"casts to {topic} cannot be sent",
        f"casts to {topic} can be sent again",
    ]


def caused(fault, cause):
    """A fault that was made of another, as kombu and oslo.messaging make theirs."""
    fault.__cause__ = cause
    return fault


PASSING = [
    caused(OperationalError("[Errno 111] Connection refused"), ConnectionRefusedError(111, "Connection refused")),
    amqp.ConnectionForced("closed by a person"),
    ConnectionResetError(104, "Connection reset by peer"),
    MessageDeliveryFailure("the broker is away"),
]
LASTING = [
    amqp.AccessRefused("ACCESS_REFUSED: login refused"),
    caused(OperationalError("refused"), amqp.AccessRefused("ACCESS_REFUSED: login refused")),
    caused(MessageDeliveryFailure("refused"), amqp.NotAllowed("vhost away not found")),
    OSError(errno.EACCES, "Permission denied"),
]


class Failing:
    """What oslo.messaging gives for a client or a server, of a broker that cannot be used."""

    at_once = None

    def __init__(self, fault):
        self._fault = fault

    def fail(self, *arguments, **more):
        raise self._fault

    cast = call = start = fail


@pytest.fixture
def fake_bus():
    bus = MessagingBus(conf_of(), "fake://", "test")
    yield bus
    bus.close()


@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_a_cast_that_may_pass_is_given_up_and_logged_once(fake_bus, fault, monkeypatch, caplog):
    client = fake_bus.client("away", VERSION)
    monkeypatch.setattr(client._client, "prepare", lambda **options: Failing(fault))
    for _ in range(3):
        client.cast(CONTEXT, "note", value=1)
    assert [record.getMessage() for record in caplog.records if "casts to away " in record.getMessage()] == [
        f"casts to away cannot be sent, and are given up: {fault}"
    ]


@pytest.mark.parametrize("fault", LASTING, ids=repr)
def test_a_cast_that_cannot_be_sent_before_a_person_changes_something(fake_bus, fault, monkeypatch):
    client = fake_bus.client("away", VERSION)
    monkeypatch.setattr(client._client, "prepare", lambda **options: Failing(fault))
    with pytest.raises(errors.LogRefused, match="note cannot be sent to away: .*; check the broker and the perm"):
        client.cast(CONTEXT, "note", value=1)


@pytest.mark.parametrize("fault", PASSING + LASTING, ids=repr)
def test_a_call_or_a_ping_that_cannot_be_sent(fake_bus, fault, monkeypatch):
    client = fake_bus.client("away", VERSION)
    monkeypatch.setattr(client._client, "prepare", lambda **options: Failing(fault))
    for ask in (lambda: client.call(CONTEXT, "who"), lambda: client.ping(1.0)):
        with pytest.raises(NoAnswer, match="could not be sent to away .*; check the broker"):
            ask()


@pytest.mark.parametrize(
    "fault, kind",
    [*((fault, errors.LogUnavailable) for fault in PASSING), *((fault, errors.LogRefused) for fault in LASTING)],
    ids=repr,
)
def test_a_topic_that_cannot_be_answered(fake_bus, fault, kind, monkeypatch):
    monkeypatch.setattr(fake_bus._messaging, "get_rpc_server", lambda *arguments, **more: Failing(fault))
    with pytest.raises(errors.LogUnavailable, match="the topic away cannot be answered: .*; check the broker") as met:
        fake_bus.serve("away", "one", [Endpoint()], VERSION)
    assert type(met.value) is kind


def test_a_cast_to_a_broker_that_was_never_there(monkeypatch, caplog):
    monkeypatch.setattr("rpc_api.bus.messaging.CAST_RETRIES", 0)
    bus = MessagingBus(conf_of(), f"rabbit://u:secret@127.0.0.1:{free_port()}/", "test")
    bus.client("away", VERSION).cast(CONTEXT, "note", value=1)
    assert any("casts to away cannot be sent, and are given up" in record.getMessage() for record in caplog.records)
    bus.close()


# --- the queue manager of oslo.messaging -------------------------------------------------------------------------


def of_queue_manager(**concurrency_options):
    """A configuration with a broker, the queue manager, and options of [oslo_concurrency]."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    rabbit = MessagingBus(conf, "rabbit://a:b@127.0.0.1:1/")
    rabbit.close()
    conf.set_override("use_queue_manager", True, "oslo_messaging_rabbit")
    for name, value in concurrency_options.items():
        conf.set_override(name, value, "oslo_concurrency")
    return conf


def test_the_queue_manager_needs_a_lock_path():
    with pytest.raises(errors.UsageError, match="use_queue_manager is set, and .* lock_path is not; set it to"):
        MessagingBus(of_queue_manager(), "rabbit://a:b@127.0.0.1:1/")


def test_the_lock_path_of_a_service_is_that_of_the_libraries(tmp_path):
    try:
        MessagingBus(of_queue_manager(lock_path=str(tmp_path)), "rabbit://a:b@127.0.0.1:1/").close()
        assert lockutils.get_lock_path(cfg.CONF) == str(tmp_path)
    finally:
        lockutils.set_defaults(None)
