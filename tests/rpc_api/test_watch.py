"""Whether anybody answers a topic: what is logged of it, and when."""

import logging
import threading

import pytest

from rpc_api import errors
from rpc_api.bus import LocalBus
from rpc_api.clock import spelled
from rpc_api.contracts.conductor import CellConductorAPI, cell_topic
from rpc_api.contracts.scheduler import TOPIC, SchedulerAPI
from rpc_api.watch import Watch

NOBODY, SLOW = errors.NoSuchServer("nobody is there"), errors.NoAnswer("no answer in time")
LOST = "peers has not answered for {} ({}): nothing works"


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def monotonic(self):
        return self.seconds


#: What the questions at 10 s, 20 s, ... come to (None: an answer), and what is logged: (at which question, text).
ASKED = [
    ([None, None], []),
    ([NOBODY], [(0, LOST.format("10 s", NOBODY))]),
    ([NOBODY, NOBODY, NOBODY], [(0, LOST.format("10 s", NOBODY))]),
    ([NOBODY, None], [(0, LOST.format("10 s", NOBODY)), (1, "peers answers again, after 20 s")]),
    (
        [None, NOBODY, None, NOBODY],
        [(1, LOST.format("10 s", NOBODY)), (2, "peers answers again, after 20 s"), (3, LOST.format("10 s", NOBODY))],
    ),
    # One that has much to do may miss a question, or two.
    ([SLOW, SLOW, None, SLOW, SLOW], []),
    ([SLOW, SLOW, SLOW, SLOW], [(2, LOST.format("30 s", SLOW))]),
    ([SLOW, SLOW, SLOW, None], [(2, LOST.format("30 s", SLOW)), (3, "peers answers again, after 40 s")]),
    ([OSError("the bus"), OSError("the bus"), OSError("the bus")], [(2, LOST.format("30 s", "the bus"))]),
]


@pytest.mark.parametrize("answers, said", ASKED)
def test_what_is_logged(caplog, answers, said):
    clock, answers, found = Clock(), list(answers), []

    def ping(timeout):
        if answers[0] is not None:
            raise answers[0]

    watch = Watch(ping, "peers", "nothing works", 10.0, clock)
    for number in range(len(answers)):
        clock.seconds += 10.0
        watch.ask()
        answers.pop(0)
        found += [(number, record.getMessage(), record.levelno) for record in caplog.records]
        caplog.clear()
    assert found == [(number, text, logging.WARNING) for number, text in said]


def test_any_answer_counts(caplog):
    """A server that answers calls and has no time for questions is there."""
    clock = Clock()
    watch = Watch(lambda timeout: None, "peers", "nothing works", 10.0, clock)
    for _ in range(5):
        clock.seconds += 10.0
        watch.missed(SLOW)
        watch.heard()
    assert not caplog.records and watch.silent_since is None


def test_one_that_stops_says_nothing(caplog):
    clock = Clock()
    watch = Watch(lambda timeout: None, "peers", "nothing works", 10.0, clock)
    watch.stop()
    clock.seconds += 100.0
    watch.missed(NOBODY)
    assert not caplog.records


class Old:
    """A service of the version before: it does not know the question."""

    RPC_METHODS = ("beat",)

    def beat(self):
        """Nothing."""


class Other:
    """An endpoint without a list of its methods."""


@pytest.mark.parametrize("endpoint", [Old(), Other()])
def test_every_service_answers(endpoint):
    bus = LocalBus()
    for api, topic in ((SchedulerAPI(bus), TOPIC), (CellConductorAPI(bus, "cell1"), cell_topic("cell1"))):
        with pytest.raises(errors.NoSuchServer):
            api.ping(1.0)
        server = bus.serve(topic, "one", [endpoint], "1.0")
        api.ping(1.0)
        server.stop()
        with pytest.raises(errors.NoSuchServer):
            api.ping(1.0)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.04, "0.0 s"),
        (-1, "0.0 s"),
        (3.21, "3.2 s"),
        (9.99, "10.0 s"),
        (10, "10 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (1510, "25 min 10 s"),
        (7199, "119 min 59 s"),
        (7200, "2 h"),
        (10_920, "3 h 2 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 d"),
        (190_900, "2 d 5 h"),
    ],
)
def test_durations(seconds, text):
    assert spelled(seconds) == text


def test_a_question_that_is_held_up_counts_as_missed(caplog):
    """As by a broker that is away: the library waits for it without end."""
    clock, gate, asked = Clock(), threading.Event(), threading.Semaphore(0)

    def ping(timeout):
        asked.release()
        assert gate.wait(20)

    watch = Watch(ping, "peers", "nothing works", 10.0, clock)
    for _ in range(4):
        clock.seconds += 10.0
        watch.ask_beside()
    assert asked.acquire(timeout=20) and not asked.acquire(blocking=False), "one question at a time"
    held_up = "a question to it is blocked; check the broker"
    assert [record.getMessage() for record in caplog.records] == [LOST.format("30 s", held_up)]
    assert watch.silent_since == 0.0
    gate.set()
    watch._asking.join(20)
    assert watch.silent_since is None and "peers answers again, after 40 s" in caplog.text
    watch.ask_beside()
    assert asked.acquire(timeout=20)
