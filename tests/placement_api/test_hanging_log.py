"""A log that does not answer: nobody waits for it longer than the limit, and requests about other cells not at all.

The logs are in memory. That of cell2 hangs when a test says so: its fences, its bounds and its readers wait, as those
of a broker that is stopped.
"""

import contextlib
import itertools
import threading
import uuid

import pytest

from nova_sched.process import read_before, write_gate
from placement_api import waits
from rpc_api import codec, errors, events
from rpc_api.clock import Clock
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.log.memory import MemoryLog, MemoryReader
from tests.placement_api.client import client_of
from tests.placement_api.regions import WHO, prepare, uuid_of, workers
from tests.servers import wait_until

P1, P2, CONSUMER = map(uuid_of, ("p1", "p2", "consumer"))
STALE = "Nova-Sched-Stale"
#: Seconds for what must happen, and seconds after which a log answers that hangs.
WAIT, GIVE_UP = 20, 40
#: Seconds for which requests wait for a log, where a test waits for that, and where it must not happen.
SOON, NEVER = 0.2, 1000.0


class Valve:
    """Says whether the log of a test answers."""

    def __init__(self):
        self._answers = threading.Event()
        self._answers.set()
        #: Whether its fences fail, and whether it loses what is appended.
        self.fails = self.loses = False
        self.fences = itertools.count()

    def close(self):
        self._answers.clear()

    def open(self):
        self._answers.set()

    def wait(self):
        self._answers.wait(GIVE_UP)


class HangingLog(MemoryLog):
    """A log in memory with a valve."""

    valve: Valve

    def append(self, payloads):
        if not self.valve.loses:
            super().append(payloads)

    def fence(self):
        next(self.valve.fences)
        self.valve.wait()
        if self.valve.fails:
            raise errors.LogUnavailable("the broker did not answer")
        return super().fence()

    def bounds(self):
        self.valve.wait()
        return super().bounds()

    def read_from(self, position):
        reader = HangingReader(self, position)
        reader.valve = self.valve
        return reader


class HangingReader(MemoryReader):
    valve: Valve

    def read(self, max_records=1000, timeout=0.0, max_bytes=1 << 20):
        records = super().read(max_records, timeout, max_bytes)
        if records:
            self.valve.wait()
        return records


class LateClock(Clock):
    """A clock that a test puts forward."""

    later = 0.0

    def monotonic(self):
        return super().monotonic() + self.later


@pytest.fixture
def valve(monkeypatch):
    made, open_log = Valve(), read_before.open_log

    def opened(url, *arguments, **named):
        if "cell2" not in url:
            return open_log(url, *arguments, **named)
        log = HangingLog.open(url, *arguments, **named)
        log.valve = made
        return log

    monkeypatch.setattr(read_before, "open_log", opened)
    yield made
    made.open()


@pytest.fixture
def urls():
    found = {cell: f"memory://{cell}-{uuid.uuid4()}" for cell in ("cell1", "cell2")}
    for cell, url in found.items():
        prepare(url, cell)
    return found


def set_up(urls, **options):
    """Workers over some logs, each with a provider."""
    with contextlib.ExitStack() as ending:
        for cell, provider in (("cell1", P1), ("cell2", P2)):
            if cell in urls:
                with workers({cell: urls[cell]}, count=1) as (one,):
                    client_of(one).provider(f"of {cell}", provider, VCPU=8)
        found = ending.enter_context(workers(urls, has_neighbours=True, **options))
        return found, ending.pop_all()


@pytest.fixture
def region(urls, valve, monkeypatch):
    """A region of both logs that waits only a little for each."""
    monkeypatch.setattr(waits, "STUCK_SECONDS", SOON)
    (found,), ending = set_up(urls, count=1)
    with ending:
        yield found
        valve.open()


class Asked:
    """A request in a thread of its own."""

    def __init__(self, function, *arguments):
        self._found = []
        self._thread = threading.Thread(target=lambda: self._found.append(function(*arguments)), daemon=True)
        self._thread.start()

    @property
    def is_answered(self):
        return bool(self._found)

    def answer(self):
        self._thread.join(WAIT)
        assert self._found, "a request waits for the log that hangs"
        return self._found[0]


def new():
    return str(uuid.uuid4())


def test_requests_wait_only_as_long_as_a_log_may_take(region, valve):
    client = client_of(region)
    assert client.put(CONSUMER, None, {P1: {"VCPU": 1}}).status == 204
    valve.close()
    asked = [Asked(client.ask, "GET", f"/allocations/{CONSUMER}") for _ in range(20)]
    for one in asked:
        answer = one.answer()
        assert (answer.status, list(answer.body["allocations"]), answer.headers[STALE]) == (200, [P1], "cell2")
    put = Asked(client.put, new(), None, {P1: {"VCPU": 1}}).answer()
    assert put.status == 204
    assert Asked(client.ask, "GET", f"/resource_providers/{P1}").answer().headers.get(STALE) is None
    assert Asked(client.ask, "GET", f"/resource_providers/{uuid_of('unknown')}").answer().status == 404


@pytest.fixture
def stuck(urls, valve, monkeypatch):
    """(Region, the first request) whose second log is known to be stuck: a request that waits for it waits for ever."""
    monkeypatch.setattr(waits, "STUCK_SECONDS", NEVER)
    clock = LateClock()
    (region,), ending = set_up(urls, count=1, clock=clock)
    with ending:
        valve.close()
        first = Asked(client_of(region).ask, "GET", f"/allocations/{CONSUMER}")
        wait_until(lambda: next(valve.fences) > 0, WAIT, "the fence begins")
        clock.later = NEVER + 1
        yield region, first
        valve.open()


def test_nobody_waits_for_a_log_that_is_stuck(stuck, valve):
    region, first = stuck
    client = client_of(region)
    assert region.stale_cells() == ["cell2"]
    assert Asked(client.ask, "GET", "/healthcheck").answer().status == 200
    answer = Asked(client.ask, "GET", f"/allocations/{new()}").answer()
    assert (answer.status, answer.headers[STALE]) == (200, "cell2")
    assert Asked(client.put, CONSUMER, None, {P1: {"VCPU": 1}}).answer().status == 204
    refused = Asked(client.put, new(), None, {P2: {"VCPU": 1}}).answer()
    assert (refused.status, "cell2" in refused.detail) == (503, True)
    both = Asked(client.put, new(), None, {P1: {"VCPU": 1}, P2: {"VCPU": 1}}).answer()
    assert both.status == 503
    offered = Asked(client.do, "GET", "/allocation_candidates?resources=VCPU:1").answer()
    assert offered["provider_summaries"].keys() == {P1}
    valve.open()
    assert first.answer().status == 200
    wait_until(lambda: not region.stale_cells(), WAIT, "the log answers again")
    assert client.put(new(), None, {P2: {"VCPU": 1}}).status == 204


def test_it_is_stuck_until_a_fence_comes_back(stuck, valve):
    region, _ = stuck
    valve.fails = True
    valve.open()
    before = next(valve.fences)
    # The first one has failed when others are tried.
    wait_until(lambda: next(valve.fences) > before + 20, WAIT, "other fences are tried")
    assert region.stale_cells() == ["cell2"]
    valve.fails = False
    wait_until(lambda: not region.stale_cells(), WAIT, "the log answers again")


def test_a_fence_that_fails_at_once_does_not_make_a_log_stuck(region, valve):
    valve.fails = True
    answer = client_of(region).ask("GET", f"/allocations/{CONSUMER}")
    assert (answer.status, answer.headers[STALE]) == (200, "cell2")
    assert region.stale_cells() == []


def test_what_another_worker_acknowledged_is_waited_for_only_a_while(urls, valve, monkeypatch, tmp_path):
    monkeypatch.setattr(waits, "STUCK_SECONDS", SOON)
    (one, other), ending = set_up(urls, state_dir=tmp_path)
    with ending:
        assert client_of(one).put(CONSUMER, None, {P2: {"VCPU": 1}}).status == 204
        wait_until(lambda: client_of(other).held(CONSUMER), WAIT, "the other worker knows it")
        folded = other.logs["cell2"].projection
        valve.close()
        # A third worker acknowledges a write.
        with open_log(urls["cell2"]) as log:
            put = events.ConsumerPut(new(), False, None, "p", "u", None, (events.Allocation(P2, "VCPU", 1),), None)
            event = codec.make_event(events.AllocationsPut((put,), *WHO), "placement/third", 1, 1, 1)
            log.append([codec.encode_record(folded.epoch, [event], LEVEL)])
            one.logs["cell2"]._shared.acknowledge(folded.epoch, log.bounds().last)
        answer = Asked(client_of(other).ask, "GET", f"/resource_providers/{P2}/usages").answer()
        assert (answer.status, answer.body["usages"], answer.headers[STALE]) == (200, {"VCPU": 1}, "cell2")
        valve.open()
        wait_until(lambda: not other.stale_cells(), WAIT, "the log answers again")
        assert client_of(other).do("GET", f"/resource_providers/{P2}/usages")["usages"] == {"VCPU": 2}


def test_writes_do_not_keep_all_threads(region, valve, monkeypatch):
    """Most of them give up with the limit. The first ones wait on, as the log may answer again."""
    client = client_of(region)
    valve.close()
    asked = [Asked(client.put, new(), None, {P2: {"VCPU": 1}}) for _ in range(6)]
    wait_until(lambda: sum(one.is_answered for one in asked) >= 4, WAIT, "most writes give up")
    valve.open()
    assert {one.answer().status for one in asked} <= {204, 503}


def test_a_request_does_not_read_the_bounds_of_a_log_that_is_down(stuck, valve, monkeypatch):
    """That may take long. Only the thread that looks after the log asks for them."""
    region, _ = stuck
    monkeypatch.setattr(write_gate, "BOUNDS_SECONDS", 0.0)
    down = Asked(region.logs["cell2"]._on_log, "fault", errors.LogUnavailable("its broker is away"))
    down.answer()
    with region.lock:
        monkeypatch.setattr(type(region.logs["cell2"].waits), "is_stuck", False)
    refused = Asked(client_of(region).put, new(), None, {P2: {"VCPU": 1}}).answer()
    assert (refused.status, "cell2" in refused.detail) == (503, True)


def test_an_endpoint_with_one_log(urls, valve, monkeypatch):
    monkeypatch.setattr(waits, "STUCK_SECONDS", SOON)
    (region,), ending = set_up({"cell2": urls["cell2"]}, count=1)
    with ending:
        client = client_of(region)
        valve.close()
        for path in (f"/allocations/{CONSUMER}", f"/resource_providers/{uuid_of('unknown')}"):
            answer = Asked(client.ask, "GET", path).answer()
            assert (answer.status, answer.headers[STALE]) == (503, "cell2")
        known = Asked(client.ask, "GET", f"/resource_providers/{P2}").answer()
        assert (known.status, known.headers[STALE]) == (200, "cell2")
        assert Asked(client.ask, "GET", "/").answer().status == 200
        valve.open()


def test_one_write_that_does_not_come_back_does_not_stop_reads(urls, valve, monkeypatch):
    """Its record is lost on the way. The fences of the log come back, so there is no reason to refuse reads."""
    monkeypatch.setattr(waits, "STUCK_SECONDS", NEVER)
    clock = LateClock()
    (region,), ending = set_up({"cell2": urls["cell2"]}, count=1, clock=clock)
    with ending:
        valve.loses = True
        put = Asked(client_of(region).put, CONSUMER, None, {P2: {"VCPU": 1}})
        wait_until(lambda: len(region.logs["cell2"].under_way), WAIT, "the write is under way")
        clock.later = NEVER + 1
        assert region.stale_cells() == ["cell2"]
        assert Asked(client_of(region).ask, "GET", f"/allocations/{CONSUMER}").answer().status == 200
    assert put.answer().status == 503
