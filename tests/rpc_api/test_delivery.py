"""Answers whose endpoints learn if they are not delivered: on a timetable without a broker, and with one."""

import socket
import threading
import uuid

import amqp
import pytest
from oslo_config import cfg

from rpc_api import errors
from rpc_api.bus import Answer, MessagingBus, delivery
from rpc_api.bus.delivery import Deliveries, ReplyQueues
from rpc_api.errors import NoAnswer
from tests.servers import wait_until

SECONDS_MAX = 60.0
VERSION = "1.3"
CONTEXT = {"request_id": "req-1", "project_id": "p", "user_id": "u"}
SENT, DROPPED, WAITS = "sent", "dropped", "waits"


class Timetable:
    """Deliveries whose looks the test makes; ``readers`` says what the broker would."""

    def __init__(self, monkeypatch, *reader):
        self.readers, self.now, self.happened = list(reader), 1000.0, []
        monkeypatch.setattr(delivery.time, "monotonic", lambda: self.now)
        self.deliveries = Deliveries(lambda queue: self.readers.pop(0))
        self.deliveries._thread = threading.current_thread()  # no other one looks

    def deliver(self, is_there=True):
        def send():
            self.happened.append(SENT)
            return is_there

        self.deliveries.deliver("reply_1", send, lambda: self.happened.append(DROPPED))
        return self.happened or [WAITS]

    def look(self, seconds):
        self.now += seconds
        self.deliveries.look(self.now)
        return self.happened or [WAITS]


@pytest.mark.parametrize(
    "reader, seconds, then",
    [
        ([True], [], [[SENT]]),
        ([None], [], [[SENT]]),
        ([False, False, True], [1.0, 1.0], [[WAITS], [WAITS], [SENT]]),
        ([False, False, False], [59.0, 1.0], [[WAITS], [WAITS], [DROPPED]]),
        ([False, None, None], [59.0, 1.0], [[WAITS], [WAITS], [SENT]]),
        ([False, None, False], [59.0, 1.0], [[WAITS], [WAITS], [DROPPED]]),
        ([False, True, True], [70.0, 1.0], [[WAITS], [SENT], [SENT]]),
    ],
    ids=["there", "not known", "comes back", "is gone", "broker away at last", "broker away", "comes back late"],
)
def test_when_an_answer_is_sent_or_dropped(monkeypatch, reader, seconds, then):
    table = Timetable(monkeypatch, *reader)
    found = [list(table.deliver())]
    found += [list(table.look(each)) for each in seconds]
    assert found == then


def test_a_queue_that_goes_while_an_answer_is_sent(monkeypatch):
    table = Timetable(monkeypatch, True)
    assert table.deliver(is_there=False) == [SENT, DROPPED]


def test_one_line_for_each_queue(monkeypatch, caplog):
    table = Timetable(monkeypatch, *[False] * 4)
    for _ in range(3):
        table.deliver()
    assert table.look(delivery.PATIENCE_SECONDS) == [DROPPED] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "3 answers are not delivered: their caller is gone, reply queue reply_1"
    ]


def test_a_function_that_fails_does_not_stop_the_others(monkeypatch, caplog):
    table = Timetable(monkeypatch, False, False, False)
    table.deliveries.deliver("reply_1", lambda: True, lambda: 1 / 0)
    table.deliver()
    assert table.look(delivery.PATIENCE_SECONDS) == [DROPPED]
    assert "cannot be taken back" in caplog.text


PASSING, LASTING = OSError("the connection was reset"), errors.LogRefused("access is refused")


class Failing(Timetable):
    """Its sends raise the next of some faults; None is a send that works."""

    def deliver(self, *faults_):
        faults_ = iter(faults_)

        def send():
            fault = next(faults_)
            if fault is not None:
                self.happened.append(repr(fault))
                raise fault
            self.happened.append(SENT)
            return True

        self.deliveries.deliver("reply_1", send, lambda: self.happened.append(DROPPED))
        return self.happened or [WAITS]


@pytest.mark.parametrize("is_there_at_first", [True, False])
@pytest.mark.parametrize(
    "sends, seconds, then",
    [
        ([PASSING, PASSING, None], [1.0, 1.0, 1.0], [repr(PASSING)] * 2 + [SENT]),
        ([PASSING, PASSING], [1.0, 59.0, 1.0], [repr(PASSING)] * 2 + [DROPPED]),
        ([LASTING], [1.0], [repr(LASTING), DROPPED]),
    ],
    ids=["passes", "passes too late", "lasts"],
)
def test_an_answer_whose_send_fails_is_tried_again_or_dropped(monkeypatch, is_there_at_first, sends, seconds, then):
    table = Failing(monkeypatch, is_there_at_first, *[True] * len(seconds))
    table.deliver(*sends)
    for each in seconds[is_there_at_first and len(then) > 2 :]:
        table.look(each)
    assert table.happened == then
    assert not table.deliveries._waiting


def test_a_send_that_fails_does_not_keep_the_others(monkeypatch, caplog):
    table = Failing(monkeypatch, *[False] * 3, True)
    table.deliver(LASTING)
    for _ in range(2):
        table.deliver(None)
    assert table.look(1.0) == [repr(LASTING), DROPPED, SENT, SENT]
    assert [record.getMessage() for record in caplog.records] == [
        f"1 answer is not delivered: sending failed ({LASTING!r}), reply queue reply_1"
    ]


def test_a_look_that_fails_loses_no_answer(monkeypatch):
    def has_reader(queue):
        reader = table.readers.pop(0)
        if isinstance(reader, Exception):
            raise reader
        return reader

    table = Timetable(monkeypatch, False, PASSING, True)
    table.deliveries._has_reader = has_reader
    assert [table.deliver(), table.look(1.0), table.look(1.0)] == [[WAITS], [WAITS], [SENT]]


def test_a_thread_that_could_not_start_is_started_with_the_next_answer(monkeypatch):
    monkeypatch.setattr(delivery, "LOOK_SECONDS", 0.001)
    start, readers, sent = delivery.concurrency.start_or_report, [False, False, True], threading.Semaphore(0)
    monkeypatch.setattr(delivery.concurrency, "start_or_report", lambda thread: False)
    deliveries = Deliveries(lambda queue: readers.pop(0))
    deliveries.deliver("reply_1", lambda: sent.release() or True, lambda: None)
    monkeypatch.setattr(delivery.concurrency, "start_or_report", start)
    deliveries.deliver("reply_1", lambda: sent.release() or True, lambda: None)
    assert sent.acquire(timeout=SECONDS_MAX) and sent.acquire(timeout=SECONDS_MAX)
    deliveries.close()


# --- with a broker --------------------------------------------------------------------------------------------------


class Endpoint:
    """Answers when the test wants it to, and notes what is not delivered."""

    def __init__(self):
        self.asked = threading.Semaphore(0)
        self.answers, self.not_delivered = [], []

    def ask(self, context, number):
        answer = Answer()
        answer.on_not_delivered = lambda: self.not_delivered.append(number)
        self.answers.append(answer)
        self.asked.release()
        return answer


def conf_of():
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    return cfg.CONF


@pytest.fixture
def bus(rabbit_server, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE_SECONDS", 3.0)
    bus = MessagingBus(conf_of(), rabbit_server.url(), "test")
    yield bus
    bus.close()


@pytest.fixture
def topic():
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
def endpoint(bus, topic):
    endpoint = Endpoint()
    server = bus.serve(topic, "one", [endpoint], VERSION)
    yield endpoint
    for answer in endpoint.answers:
        if not answer.done():
            answer.set_result(None)
    server.stop()


class Caller:
    """A process that calls: it has a bus and a reply queue of its own."""

    def __init__(self, rabbit_server, topic):
        self.bus = MessagingBus(conf_of(), rabbit_server.url(), "test")
        self.client = self.bus.client(topic, VERSION)

    def ask(self, endpoint, number, timeout=60):
        asked = self.client.call_async(CONTEXT, "ask", timeout=timeout, number=number)
        assert endpoint.asked.acquire(timeout=SECONDS_MAX)
        return asked

    @property
    def reply_queue(self):
        return self.bus._transport._driver._reply_q

    def die(self):
        """Its connections are closed, as the kernel does when a process is killed; its reply queue stays."""
        connection = self.bus._transport._driver._reply_q_conn.connection.connection
        # The thread that reads the queue would connect again.
        connection._establish_connection = self._stays_dead
        connection._connection.sock.shutdown(socket.SHUT_RDWR)
        self.bus.close()

    @staticmethod
    def _stays_dead():
        raise RuntimeError("the process is dead")


@pytest.fixture
def caller(rabbit_server, topic, endpoint):
    caller = Caller(rabbit_server, topic)
    yield caller
    caller.bus.close()


@pytest.mark.rabbit
@pytest.mark.parametrize("queue_stays", [True, False])
def test_the_answers_to_a_killed_caller_are_not_delivered(rabbit_server, endpoint, caller, queue_stays):
    for number in range(5):
        caller.ask(endpoint, number)
    queue = caller.reply_queue
    caller.die()
    if not queue_stays:
        with amqp.Connection(
            f"{rabbit_server.host}:{rabbit_server.port}", rabbit_server.user, rabbit_server.password
        ) as connection:
            connection.channel().queue_delete(queue)
    for answer in endpoint.answers:
        answer.set_result("too late")
    wait_until(lambda: len(endpoint.not_delivered) == 5, SECONDS_MAX, "not all are known to be lost")
    assert sorted(endpoint.not_delivered) == list(range(5))


@pytest.mark.rabbit
def test_an_answer_that_comes_late_is_delivered(endpoint, caller):
    """The call timed out, but its caller is there, and reads its queue."""
    asked = caller.ask(endpoint, 1, timeout=1)
    with pytest.raises(NoAnswer):
        asked.result(SECONDS_MAX)
    endpoint.answers[0].set_result("late")
    again = caller.ask(endpoint, 2)
    endpoint.answers[1].set_result("in time")
    assert again.result(SECONDS_MAX) == "in time" and not endpoint.not_delivered


@pytest.mark.rabbit
def test_an_error_is_answered_as_ever(endpoint, caller):
    asked = caller.ask(endpoint, 1)
    endpoint.answers[0].set_exception(NoAnswer("of another"))
    with pytest.raises(NoAnswer, match="of another"):
        asked.result(SECONDS_MAX)


@pytest.mark.rabbit
def test_whether_a_queue_has_a_reader(rabbit_server, bus, endpoint, caller, monkeypatch):
    monkeypatch.setattr(delivery, "KNOWN_SECONDS", 0.0)
    # A busy machine may take longer than usual, and a broker that does not answer in time proves nothing.
    monkeypatch.setattr(delivery, "BROKER_SECONDS", SECONDS_MAX)
    caller.ask(endpoint, 1)
    queue = caller.reply_queue
    queues = ReplyQueues(bus._transport._driver)
    try:
        assert queues.has_reader(queue) is True
        assert queues.has_reader("no such queue") is False
        assert queues.has_reader(queue) is True
        queues._connection.connection.sock.close()
        assert queues.has_reader(queue) is True, "a connection that was lost is opened again"
        caller.die()
        wait_until(lambda: queues.has_reader(queue) is False, SECONDS_MAX, "its reader is there still")
    finally:
        queues.close()


def test_a_broker_that_does_not_answer_proves_nothing():
    class Away:
        def _get_connection(self, purpose):
            raise OSError("the broker is away")

    assert ReplyQueues(Away()).has_reader("reply_1") is None
