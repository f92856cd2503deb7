"""Claims expire by the time for which conductors watched them: restarts, several conductors, pauses, builds."""

import random

import pytest

from conductor.engine import CellEngine
from conductor.monitor import SAY_AGAIN
from conductor.watch import LAST_STEP, MAX_BUILDING, Watch
from nova_sched.projection import snapshot
from nova_sched.projection.beginning import Beginning
from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import CLAIMED
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from tests.builders import Cell, Voice, claim, inventory_of, of, record_of, report, tree, uuid_of

TTL = 100.0
PIN = events.LevelPinned(2)


class Log:
    """The log of a cell at level 2, the conductors that run, and the time."""

    def __init__(self, level=2):
        self.now = 1000.0
        self.records = []
        self.voices = {}
        self.engines = {}
        self.said = []
        self.append("compute_agent/a", report("a", inventory=tree("a", inventories=(inventory_of("VCPU", 9999),))))
        if level > 1:
            self.append("operator/one", PIN)
        self.level = level

    def append(self, producer, *data, level=None):
        voice = self.voices.setdefault(producer, Voice(producer))
        level = getattr(self, "level", 1) if level is None else level
        self.records.append(record_of(*[voice.say(each) for each in data], level=level))
        self.said += [(self.now, producer, each) for each in data]

    def claim(self, name):
        self.append("scheduler/s", claim(name, "a", of("a", 1)))

    def start(self, name, kept=None, ttl=TTL):
        """A conductor starts, from a snapshot if one is given, and reads the log to its end."""
        engine = CellEngine(
            "cell1", f"conductor/{name}", lambda *data: self.append(f"conductor/{name}", *data), 1e9, ttl
        )
        self.engines[name] = engine
        engine.on_begin(Beginning(kept, 0, len(self.records) - 1, True, False))
        self.read(name)
        return engine

    def read(self, name):
        engine = self.engines[name]
        first = engine.projection.position + 1
        if first < len(self.records):
            records = [(first + number, codec.decode_record(each)) for number, each in enumerate(self.records[first:])]
            engine.on_records(records, self.now)

    def kill(self, name):
        del self.engines[name]

    def end(self, name):
        self.engines[name].on_end(self.now)
        self.kill(name)

    def wait(self, seconds, step=1.0, **state):
        """Time passes: each conductor ticks once per step, and reads what is appended at once."""
        for _ in range(round(seconds / step)):
            self.now += step
            for engine in [*self.engines.values()]:
                engine.on_tick(self.now, **state)
                for name in self.engines:
                    self.read(name)

    def of(self, name):
        return [(at - 1000.0, data) for at, _, data in self.said if type(data).__name__ == name]

    def expired(self):
        """Seconds at which claims were published as expired, by name."""
        return {data.consumer_uuid: at for at, data in reversed(self.of("ClaimExpired"))}


@pytest.fixture
def log():
    return Log()


def check_age_begins_now(log):
    """No time before this counts for the claim ``x``."""
    began = log.now - 1000
    log.read("one")
    log.wait(TTL + LAST_STEP)
    assert log.expired()[uuid_of("x")] - began >= TTL


def test_the_time_between_two_events_grows_to_a_minute(log):
    log.claim("x")
    log.start("one", ttl=1e9)
    log.wait(95)
    assert [at for at, _ in log.of("ClaimsWatched")] == [2, 4, 8, 16, 32, 64]
    log.wait(65 + 60)
    assert [at for at, _ in log.of("ClaimsWatched")][6:] == [124, 184]
    assert LAST_STEP == 60


def test_nothing_is_published_while_no_claim_waits(log):
    log.start("one")
    log.wait(100)
    assert log.of("ClaimsWatched") == []
    log.claim("x")
    log.wait(10)
    assert [(at, data.watched_ms) for at, data in log.of("ClaimsWatched")] == [(102, 1000), (104, 2000), (108, 4000)]


def test_a_claim_expires_after_its_time(log):
    log.claim("x")
    log.start("one")
    log.wait(150)
    # The first event marks it, then it grows older.
    assert log.expired() == {uuid_of("x"): TTL + 2}


@pytest.mark.parametrize(
    "runs, pause, ends", [(10, 0, False), (10, 1000, False), (5, 0, False), (30, 500, True), (3, 7, True)]
)
def test_with_a_conductor_that_restarts_again_and_again(log, runs, pause, ends):
    """Killed, or stopped; the time in which none runs does not count."""
    log.claim("x")
    ran = 0
    while not log.expired() and ran < 1000:
        log.start("one")
        log.wait(runs)
        ran += runs
        log.end("one") if ends else log.kill("one")
        log.now += pause
    assert TTL <= ran <= 2.5 * TTL


def test_a_conductor_that_is_killed_every_10_s_counts_7_of_them(log):
    log.claim("x")
    for _ in range(5):
        log.start("one")
        log.wait(10)
        log.kill("one")
    log.start("one")
    assert log.engines["one"].projection.watched_ms == 5 * 7000


def test_none_runs_for_hours(log):
    log.claim("x")
    log.start("one")
    log.wait(50)
    log.kill("one")
    log.now += 36_000
    log.start("two")
    log.wait(30)
    assert log.expired() == {}
    log.wait(60)
    assert list(log.expired()) == [uuid_of("x")]


def test_two_conductors_watch_no_faster_than_one(log):
    log.claim("x")
    for name in ("one", "two", "three"):
        log.start(name)
        log.wait(0.5, 0.5)
    log.wait(300)
    assert log.engines["one"].projection.watched_ms <= 300_000 + 1500
    at = log.expired()[uuid_of("x")]
    assert TTL <= at <= TTL + 10


def test_a_claim_that_another_conductor_builds_does_not_expire(log):
    log.claim("x")
    log.claim("y")
    log.start("one")
    builder = log.start("two")
    log.wait(20)
    (entry,) = builder.projection.consumers[uuid_of("x")]
    builder.building = {entry.claim_uuid}
    log.wait(500)
    assert list(log.expired()) == [uuid_of("y")]
    builder.building = set()
    ended = log.now - 1000
    log.wait(300)
    assert TTL - LAST_STEP <= log.expired()[uuid_of("x")] - ended <= TTL + 2 * LAST_STEP


def test_an_old_claim_whose_build_begins_does_not_expire(log):
    log.claim("x")
    engine = log.start("one")
    log.wait(TTL + 1)
    (entry,) = engine.projection.consumers[uuid_of("x")]
    engine.building = {entry.claim_uuid}
    log.wait(50)
    assert log.expired() == {}


def test_peers_learn_at_once_that_an_old_claim_is_built(log):
    log.claim("x")
    log.start("one")
    builder = log.start("two")
    log.wait(TTL - 1)
    (entry,) = builder.projection.consumers[uuid_of("x")]
    builder.building = {entry.claim_uuid}
    log.wait(TTL - 1)
    assert log.expired() == {}


def test_many_builds_are_named_in_several_events(log):
    names = [f"vm-{number}" for number in range(MAX_BUILDING + 5)]
    log.append("scheduler/s", *[claim(name, "a", of("a", 1)) for name in names])
    builder = log.start("one")
    builder.building = {entry.claim_uuid for entries in builder.projection.consumers.values() for entry in entries}
    log.wait(2)
    said = [data for _, data in log.of("ClaimsWatched")]
    assert [(data.after_ms, data.watched_ms, len(data.building)) for data in said] == [
        (0, 1000, MAX_BUILDING),
        (0, 0, 5),
    ]
    assert log.engines["one"].projection.watched_ms == 1000


@pytest.mark.parametrize("state", [{"readable": False}, {"appendable": False}])
def test_time_without_the_log_does_not_count(log, state):
    log.claim("x")
    log.start("one")
    log.wait(50)
    log.wait(500, **state)
    assert log.expired() == {}
    log.wait(TTL)
    assert TTL + 500 <= log.expired()[uuid_of("x")] <= TTL + 500 + LAST_STEP


def test_a_process_that_stood_still_has_watched_for_two_minutes_at_most(log):
    watch, cell = Watch(1e6), Cell(report("a"), PIN, claim("x", "a", of("a", 1)))
    watch.due(cell.projection, (), 0.0)
    (event,) = watch.due(cell.projection, (), 5000.0)
    assert event == events.ClaimsWatched(0, 120_000, ())


def test_an_expired_claim_is_published_again_after_a_while():
    watch, cell = Watch(1.0), Cell(report("a"), claim("x", "a", of("a", 1)), PIN)
    said = [
        at for at in range(70) for event in watch.due(cell.projection, (), float(at)) if hasattr(event, "claim_uuid")
    ]
    assert said == [1, 1 + SAY_AGAIN, 1 + 2 * SAY_AGAIN]


def test_below_level_2_the_time_of_this_process_counts():
    log = Log(level=1)
    log.claim("x")
    log.start("one")
    log.wait(TTL - 1)
    log.kill("one")
    log.start("one")
    log.wait(TTL - 5)
    assert (log.of("ClaimsWatched"), log.expired()) == ([], {})
    log.append("operator/one", PIN)
    log.level = 2
    log.wait(TTL + 5)
    assert log.of("ClaimsWatched") and list(log.expired()) == [uuid_of("x")]


BACK_TO_LEVEL_1 = {
    "each record read by itself": lambda log: log.read("one"),
    "all records read at once": lambda log: None,
}


@pytest.mark.parametrize("read", BACK_TO_LEVEL_1.values(), ids=BACK_TO_LEVEL_1)
def test_time_before_a_rebase_to_level_1_does_not_count_after_the_next_pin(log, read):
    """No tick comes between the rebase and the pin."""
    log.claim("old")
    log.start("one")
    log.wait(1)
    log.now += 60
    log.level = 1
    log.append("conductor/older", events.LogRebased("cell1", 0))
    read(log)
    for producer, data in (
        ("compute_agent/a", report("a", inventory=tree("a"))),
        ("scheduler/s", claim("x", "a", of("a", 1))),
        ("operator/one", PIN),
    ):
        log.append(producer, data)
        read(log)
    log.level = 2
    check_age_begins_now(log)


def test_time_at_level_1_does_not_count_after_a_pin(log):
    log.claim("old")
    log.start("one")
    log.wait(5)
    log.level = 1
    log.append("conductor/older", events.LogRebased("cell1", 0))
    log.append("compute_agent/a", report("a", inventory=tree("a")))
    log.read("one")
    log.wait(TTL - 10)
    log.append("scheduler/s", claim("x", "a", of("a", 1)))
    log.append("operator/one", PIN)
    log.level = 2
    check_age_begins_now(log)


def test_time_before_another_log_began_does_not_count(log):
    """The log is read from its beginning again, in its second incarnation, between two ticks."""
    log.claim("old")
    engine = log.start("one", ttl=1e9)
    log.wait(60)
    other = Log(level=1)
    other.claim("x")
    other.append("operator/one", PIN)
    other.level, other.now, other.engines = 2, log.now, {"one": engine}
    engine.publish, engine.watch.claim_ttl = lambda *data: other.append("conductor/one", *data), TTL
    engine.on_begin(Beginning(None, 0, len(other.records) - 1, True, True))
    other.now += 60
    check_age_begins_now(other)


def test_a_conductor_that_stops_publishes_the_rest(log):
    log.claim("x")
    log.start("one")
    log.wait(40)
    log.end("one")
    log.start("two")
    assert log.engines["two"].projection.watched_ms == 39_000


@pytest.mark.parametrize("seed", range(40))
def test_any_history(seed):
    """Conductors come and go, read late, build; claims come, start and are released. At each moment: no claim is older
    than the time for which some conductor ran since it came, none expires before its time, none that is being built
    does, and what a snapshot gives is what the log gives."""
    rng, log = random.Random(seed), Log()
    came, ran, kept, number = {}, 0.0, None, 0
    for _ in range(1200):
        act = rng.random()
        if act < 0.03:
            number += 1
            log.claim(f"vm-{number}")
            came[uuid_of(f"vm-{number}")] = ran
        elif act < 0.06 and len(log.engines) < 3:
            log.start(f"c{rng.randrange(3)}", kept if rng.random() < 0.5 else None)
        elif act < 0.085 and log.engines:
            name = rng.choice([*log.engines])
            log.end(name) if rng.random() < 0.4 else log.kill(name)
        elif act < 0.11 and log.engines:
            name = rng.choice([*log.engines])
            engine = log.engines[name]
            held = [
                entry.claim_uuid
                for entries in engine.projection.consumers.values()
                for entry in entries
                if entry.state is CLAIMED
            ]
            engine.building = set(rng.sample(held, min(len(held), rng.randrange(3))))
        elif act < 0.13 and log.engines:
            kept = snapshot.dump(rng.choice([*log.engines.values()]).projection)
        elif act < 0.14:
            log.now += rng.choice((5.0, 500.0)) * (not log.engines)
        before = len(log.said)
        log.now += 1.0
        ran += bool(log.engines)
        for name, engine in log.engines.items():
            if rng.random() < 0.8:
                log.read(name)
            engine.on_tick(log.now)
        for _, producer, data in log.said[before:]:
            if isinstance(data, events.ClaimExpired):
                assert ran - came[data.consumer_uuid] >= TTL - 1
                assert data.claim_uuid not in log.engines[producer.removeprefix("conductor/")].building
        if rng.random() < 0.05:
            oracle = Projection("cell1")
            oracle.fold([(place, codec.decode_record(each)) for place, each in enumerate(log.records)])
            for engine in log.engines.values():
                if engine.projection.position == oracle.position:
                    assert state_digest(engine.projection) == state_digest(oracle)
            for consumer, entries in oracle.consumers.items():
                for entry in entries:
                    if entry.watched_from_ms is not None:
                        assert oracle.watched_ms - entry.watched_from_ms <= (ran - came[consumer]) * 1000
