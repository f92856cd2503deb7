"""Limits: of requests, of browsers that wait, of questions about the past, of what-ifs, of what is kept."""

import io
import json
import queue
import sys
import threading
from types import SimpleNamespace

import pytest

from nova_sched.page import what_if
from nova_sched.page.answers import Busy, Conflict, TooMany
from nova_sched.page.cloud import NotReady
from nova_sched.page.explain import AT_ONCE, WAITING
from nova_sched.page.happenings import PROJECTS, Happenings
from nova_sched.page.limits import CLIENTS, Rate, Waits
from nova_sched.page.what_if import WhatIfs
from rpc_api.clock import SYSTEM
from rpc_api.codec import DecodedRecord
from tests.builders import HandClock, Voice, claim, decision
from tests.nova_sched.page.pages import DEMO, LogsOf, Served
from tests.nova_sched.replay.logs import Written


def test_a_flood_of_requests_is_refused_and_others_are_answered():
    with Served.of_names(DEMO, request_burst=20, requests_per_second=1.0) as page:
        codes = [page.ask("/api/session").code for _ in range(60)]
        assert codes[:20] == [200] * 20 and codes[30:] == [429] * 30
        refused = page.ask("/api/session")
        assert refused.json["error"].startswith("there are too many requests from this address")
        assert 1 <= int(refused.headers["Retry-After"]) <= 3
        assert page.ask("/api/session", headers={"REMOTE_ADDR": "192.0.2.2"}).code == 200
        # Files are sent all the same, so that the page can say so.
        assert page.ask("/static/app.js").code == 200


def test_behind_a_proxy_clients_are_told_apart_by_the_address_that_it_adds():
    with Served.of_names(DEMO, behind_proxy=True, request_burst=10, requests_per_second=0.1) as page:
        codes = [
            page.ask("/api/session", headers={"HTTP_X_FORWARDED_FOR": f"10.0.0.{number}, 192.0.2.9"}).code
            for number in range(20)
        ]
        assert codes == [200] * 10 + [429] * 10
        assert page.ask("/api/session", headers={"HTTP_X_FORWARDED_FOR": "192.0.2.9, 192.0.2.8"}).code == 200


def test_the_rate_of_a_client():
    clock = HandClock()
    rate = Rate(2.0, 4, clock)
    for _ in range(4):
        rate.take("a", "no")
    with pytest.raises(TooMany, match="no") as refused:
        rate.take("a", "no")
    assert refused.value.headers == (("Retry-After", "1"),)
    clock.seconds += 1
    rate.take("a", "no")
    rate.take("a", "no")
    with pytest.raises(TooMany):
        rate.take("a", "no")
    clock.seconds += 1000
    for _ in range(4):
        rate.take("a", "no")
    with pytest.raises(TooMany):
        rate.take("a", "no")


def test_clients_are_forgotten():
    rate = Rate(1.0, 1, HandClock())
    for number in range(CLIENTS + 50):
        rate.take(str(number), "no")
    assert len(rate._left) == CLIENTS


def test_browsers_that_wait_are_limited():
    waits = Waits(3, 2)
    with waits.one("a") as first, waits.one("a") as second, waits.one("a") as third, waits.one("b") as other:
        assert (first, second, third, other) == (True, True, False, True)
        with waits.one("c") as too_many:
            assert not too_many
    with waits.one("c") as again:
        assert again
    assert waits._waiting == {}


def test_a_browser_that_may_not_wait_is_answered_at_once():
    with Served.of_names(DEMO, waiting=0) as page:
        now = page.get("news")
        again = page.get("news", after=str(now["last"]), version=str(now["version"]), wait="1")
        assert not again["waited"] and again["happenings"] == []


def test_news_wake_a_browser_that_waits():
    written = Written()
    with Served(LogsOf(cell1=written.log)) as page:
        now = page.get("news")
        found = []
        waiting = threading.Thread(
            target=lambda: found.append(page.get("news", after=str(now["last"]), version=str(now["version"]), wait="1"))
        )
        waiting.start()
        written.say(decision("vm", "a"))
        waiting.join(15)
        while not found[0]["happenings"]:  # (the state may be published before)
            found[0] = page.get("news", after=str(now["last"]), version=str(found[0]["version"]), wait="1")
        assert [one["kind"] for one in found[0]["happenings"]] == ["chosen"] and found[0]["waited"]


def test_a_browser_that_is_too_slow_gets_the_newest_part():
    voice, happenings = Voice("scheduler/one"), Happenings(10)
    for position in range(30):
        record = DecodedRecord(None, [voice.say(decision(f"vm-{position}", "a"))], None)
        happenings.add("cell1", position, record, [], [])
    found, skipped = happenings.after(5, 4, None)
    assert skipped and [one["position"] for one in found] == [26, 27, 28, 29]
    found, skipped = happenings.after(20, 50, None)
    assert not skipped and [one["number"] for one in found] == list(range(21, 31))
    assert happenings.after(30, 50, None) == ([], False)
    assert happenings.after(0, 50, None)[1] is False
    happenings.clear()
    assert happenings.after(0, 50, None) == ([], False) and happenings.last == 30


def test_projects_of_instances_are_forgotten(monkeypatch):
    monkeypatch.setattr("nova_sched.page.happenings.PROJECTS", 3)
    voice, happenings = Voice("scheduler/one"), Happenings(10)
    for number in range(9):
        happenings.add("cell1", number, DecodedRecord(None, [voice.say(claim(f"vm-{number}", "a"))], None), [], [])
    assert len(happenings._projects) == 3 < PROJECTS


def test_explanations_are_limited(monkeypatch):
    monkeypatch.setattr("nova_sched.page.explain.WAIT_SECONDS", 0.05)
    with Served.of_names(DEMO) as page:
        explainer = page.page.explainer
        for _ in range(AT_ONCE):
            explainer._turn.acquire()
        with pytest.raises(Busy, match="explains several requests already"):
            explainer.explain("be1747a2")
        for _ in range(AT_ONCE + WAITING):
            explainer._room.acquire()
        assert page.ask("/api/explain", key="be1747a2").code == 503


def test_a_question_waits_until_the_logs_are_read():
    page = Served.of_names(DEMO)
    with pytest.raises(NotReady, match="the logs are not read yet"):
        page.page.cloud.ask(lambda world, events: None)
    assert page.ask("/api/host", name="host-1").code == 503
    assert page.ask("/api/news").json["is_ready"] is False


# --- what-ifs ---------------------------------------------------------------------------------------------------------

#: Reads its question, and never ends.
ENDLESS = (
    sys.executable,
    "-c",
    'import signal, sys; sys.stdin.readline(); print(\'{"progress": 0.5, "label": "A"}\', flush=True); signal.pause()',
)
BROKEN = (sys.executable, "-c", "raise SystemExit('out of order')")


def wait(what_ifs, *states):
    """Wait until the what-if has a state."""
    ends = SYSTEM.monotonic() + 120
    while what_ifs.job.state not in states:
        assert SYSTEM.monotonic() < ends, what_ifs.job
        threading.Event().wait(0.05)
    return what_ifs.job


def test_one_what_if_at_a_time_and_it_can_be_stopped():
    what_ifs = WhatIfs([DEMO], [], 1000, 600, program=ENDLESS)
    assert what_ifs.start([{}]).state == "running"
    with pytest.raises(Conflict, match="a what-if runs already"):
        what_ifs.start([{}])
    assert what_ifs.stop().state == "stopped"
    assert what_ifs._process.wait(10) < 0
    assert what_ifs.start([{}]).number == 2
    what_ifs.stop()


def test_a_what_if_that_takes_too_long_is_ended():
    what_ifs = WhatIfs([DEMO], [], 1000, 0.3, program=ENDLESS)
    what_ifs.start([{}])
    job = wait(what_ifs, "failed")
    assert "took more than 0.3 s ([page] what_if_seconds)" in job.error and what_ifs._process.wait(10) < 0


def test_a_what_if_that_breaks_is_reported(caplog):
    what_ifs = WhatIfs([DEMO], [], 1000, 60, program=BROKEN)
    what_ifs.start([{}])
    assert wait(what_ifs, "failed").error == "a fault in nova_sched itself; see the log of the page"
    assert "out of order" in caplog.text


class Scripted:
    """As the process of a what-if. It says and ends what the test has it say and end: being killed does not end it at
    once."""

    def __init__(self, number):
        self.stdin, self.stderr = io.StringIO(), io.StringIO(f"the errors of {number}")
        self.is_killed, self.code = False, None
        self._said, self._ended = queue.Queue(), threading.Event()
        self.stdout = self._lines()
        #: What its what-if would call when it takes too long, and the thread that watches it.
        self.late = self.watcher = None

    def _lines(self):
        for line, is_seen in iter(self._said.get, None):
            yield line
            is_seen.set()

    def say(self, **what):
        """Write a line, and wait until it was taken."""
        is_seen = threading.Event()
        self._said.put((json.dumps(what), is_seen))
        assert is_seen.wait(30)

    def end(self, code):
        """End, and wait until nobody watches it any more."""
        self.code = code
        self._said.put(None)
        self._ended.set()
        self.watcher.join(30)
        assert not self.watcher.is_alive()

    def wait(self):
        assert self._ended.wait(30)
        return self.code

    def kill(self):
        self.is_killed = True


@pytest.fixture
def scripted(monkeypatch):
    """WhatIfs whose processes are Scripted; ``start()`` starts the next one and returns its process."""
    made = []

    def timer(_seconds, function, args):
        made[-1].late = lambda: function(*args)
        is_set.set()
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    def thread(*args, **more):
        found = threading.Thread(*args, **more)
        if more.get("name") == "what-if":
            made[-1].watcher = found
        return found

    def process(*_, **__):
        made.append(Scripted(len(made) + 1))
        return made[-1]

    is_set = threading.Event()
    what_ifs = WhatIfs([DEMO], [], 1000, 600)
    monkeypatch.setattr(what_if, "subprocess", SimpleNamespace(Popen=process, PIPE=None))
    monkeypatch.setattr(what_if, "threading", SimpleNamespace(Timer=timer, Thread=thread))

    def start():
        is_set.clear()
        assert what_ifs.start([{}]).state == "running"
        assert is_set.wait(30)
        return made[-1]

    yield SimpleNamespace(what_ifs=what_ifs, start=start)
    for one in made:
        if one.watcher.is_alive():
            one.end(0)


#: How a what-if stops being the one that runs while its process is still there -> what does it.
DISPLACED = {
    "failed": lambda what_ifs, process: process.say(error="the error of the first"),
    "stopped": lambda what_ifs, process: what_ifs.stop(),
    "done": lambda what_ifs, process: process.say(facts={}),
    "late": lambda what_ifs, process: process.late(),
}
#: What its process may do afterwards.
AFTERWARDS = {
    "ends with 2": lambda process: process.end(2),
    "ends with -9": lambda process: process.end(-9),
    "fails": lambda process: process.say(error="the error of the first"),
    "is done": lambda process: process.say(facts={}),
    "goes on": lambda process: process.say(progress=0.9, label="B"),
    "is late": lambda process: process.late(),
}


@pytest.mark.parametrize("afterwards", AFTERWARDS)
@pytest.mark.parametrize("displaced", DISPLACED)
def test_a_what_if_does_not_write_into_the_next_one(scripted, caplog, displaced, afterwards):
    what_ifs, first = scripted.what_ifs, scripted.start()
    DISPLACED[displaced](what_ifs, first)
    assert what_ifs.job.state != "running"
    second = scripted.start()
    running = what_ifs.job
    AFTERWARDS[afterwards](first)
    assert what_ifs.job == running and running.number == 2 and not second.is_killed
    assert "a what-if ended with" not in caplog.text
    with pytest.raises(Conflict):
        what_ifs.start([{}])
    second.say(facts={"of": "the second"})
    assert what_ifs.job.state == "done" and what_ifs.job.result == {"facts": {"of": "the second"}}


@pytest.mark.parametrize("displaced", DISPLACED)
def test_the_process_of_a_what_if_is_ended_before_the_next_one_starts(scripted, displaced):
    first = scripted.start()
    DISPLACED[displaced](scripted.what_ifs, first)
    second = scripted.start()
    assert first.is_killed and not second.is_killed


def test_the_log_has_the_errors_of_the_what_if_that_broke(scripted, caplog):
    first = scripted.start()
    scripted.what_ifs.stop()
    second = scripted.start()
    first.end(-9)
    assert caplog.text == "" and scripted.what_ifs.job.state == "running"
    second.end(3)
    assert scripted.what_ifs.job.state == "failed"
    assert "a what-if ended with 3: the errors of 2" in caplog.text


def test_a_what_if_over_too_many_records_is_refused():
    what_ifs = WhatIfs([DEMO], [], 100, 60)
    what_ifs.start([{}])
    job = wait(what_ifs, "failed")
    assert "and the page takes 100 at most ([page] what_if_records)" in job.error


def test_a_what_if_side_by_side():
    what_ifs = WhatIfs([DEMO], [], 10_000, 300)
    what_ifs.start(
        [
            {"weighers": {"RAMWeigher": 1.0}},
            {"dropped": ["host-1*"], "ratios": {"VCPU": 2.0}, "options": {"host_subset_size": 2}},
        ]
    )
    job = wait(what_ifs, "done", "failed")
    assert job.state == "done", job.error
    facts = job.result["facts"]
    assert job.result["columns"] == ["recorded", "re-run", "A", "B"] == list(facts)
    assert {column["asked"] for column in facts.values()} == {facts["recorded"]["asked"]} and facts["recorded"][
        "asked"
    ] > 400
    assert facts["B"]["hosts_used"] < facts["re-run"]["hosts_used"]
    assert all(job.result["samples"][name] for name in facts)
