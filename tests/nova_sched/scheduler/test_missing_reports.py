"""A log that lost its last records: its cell is open again when its hosts have reported since, and not before."""

import pytest

from conductor.engine import CellEngine
from nova_sched.process.missing_reports import MissingReports
from nova_sched.projection.beginning import Beginning
from nova_sched.scheduler.cell_states import REPORTS_WITHIN
from rpc_api import codec, events
from tests.builders import Voice, record_of, report, uuid_of
from tests.engines import TinyCloud, hosts_of


class LostTail(TinyCloud):
    """A cloud of the hosts a and b whose log lost all records but the first ``keep``."""

    def __init__(self, keep):
        super().__init__()
        self.append("cell1", "conductor/c", events.GroupFenced(uuid_of("group"), 1))
        self.host("a", vcpus=2)
        self.host("b", vcpus=2)
        self.one = self.engine("one")
        self.keep = keep
        del self.logs["cell1"][keep:]

    def begin_again(self):
        """The engine reads the log again, which it finds shorter."""
        self._read["one", "cell1"] = 0
        self.one.on_begin("cell1", Beginning(None, 0, len(self.logs["cell1"]) - 1, True, False, self.keep - 1))
        self.settle()

    @property
    def is_open(self):
        return not self.one.world.table.cell_closed["cell1"]


@pytest.mark.parametrize("keep", [1, 2, 3], ids=["no host is left", "one host is left", "both are left"])
@pytest.mark.parametrize("early", [(), ("a",), ("a", "b"), ("b", "a")], ids=lambda early: f"early {''.join(early)}")
def test_reports_count_whether_they_come_before_the_log_is_read_again_or_after(keep, early, caplog):
    """Other services may have noticed the loss before, and have asked the agents."""
    cloud = LostTail(keep)
    for name in early:
        cloud.host(name, vcpus=2)
    cloud.begin_again()
    for name in [name for name in "ab" if name not in early]:
        assert not cloud.is_open
        cloud.host(name, vcpus=2)
        cloud.settle()
    assert cloud.is_open and "did not report" not in caplog.text


def test_reports_of_before_the_loss_count_for_nothing():
    cloud = LostTail(3)
    cloud.begin_again()
    cloud._read["one", "cell1"] = 0
    cloud.one.on_begin("cell1", Beginning(None, 0, 2, True, False))  # read again for another reason
    cloud.settle()
    assert not cloud.is_open


def test_hosts_that_the_log_forgot_are_waited_for_before_anybody_is_refused():
    cloud = LostTail(1)
    cloud.begin_again()
    ask = cloud.ask(cloud.one, "vm")
    cloud.one.on_tick()
    assert not ask.future.done()
    cloud.host("a", vcpus=2)
    cloud.host("b", vcpus=2)
    cloud.settle()
    cloud.one.on_tick()
    cloud.settle()
    assert hosts_of(ask)[0] in "ab"


def test_hosts_that_do_not_report_are_not_waited_for_for_ever(caplog):
    cloud = LostTail(1)
    cloud.begin_again()
    cloud.host("a")
    cloud.settle()
    cloud.clock.seconds += REPORTS_WITHIN - 1
    cloud.one.on_tick()
    assert not cloud.is_open
    cloud.clock.seconds += 1
    cloud.one.on_tick()
    assert cloud.is_open and "1 host of cell1 did not report within 15 s" in caplog.text


def test_a_log_that_was_begun_anew_meanwhile_is_not_waited_for():
    cloud = LostTail(3)
    cloud.begin_again()
    cloud.logs["cell1"][:] = []
    cloud._read["one", "cell1"] = 0
    cloud.one.on_begin("cell1", Beginning(None, 0, -1, True, True))
    assert cloud.is_open


@pytest.mark.parametrize("then, again", [("nothing", 1), ("appended again", 0), ("appended again and released", 0)])
def test_a_lost_claim_is_made_again_unless_its_append_was(then, again):
    """An append that was not confirmed is made again with the same bytes; what others did with it since counts."""
    cloud = LostTail(3)
    cloud.begin_again()
    cloud.host("a", vcpus=2)
    cloud.host("b", vcpus=2)
    cloud.settle()
    kept = len(cloud.logs["cell1"])
    ask = cloud.ask(cloud.one, "vm")
    cloud.settle()
    (claim,) = [
        payload
        for payload in cloud.logs["cell1"][kept:]
        if codec.decode_record(payload).events[0].name == "ClaimProposed"
    ]
    placed = ask.future.result(0)[0][0]
    del cloud.logs["cell1"][kept:]
    cloud.keep = kept
    if then != "nothing":
        cloud.logs["cell1"].append(claim)
    if then == "appended again and released":
        cloud.append("cell1", "conductor/c", events.ClaimReleased(placed.instance_uuid, placed.claim_uuid, "gone"))
    cloud.begin_again()
    made = [event.claim_uuid for event in cloud.events("cell1", "ClaimProposed")]
    assert made == [placed.claim_uuid] * (again + (then != "nothing"))


# --- the conductor -----------------------------------------------------------------------------------------------


class Conductor:
    """A conductor's engine over a log that is a list."""

    def __init__(self):
        self.engine = CellEngine("cell1", "conductor/c", lambda *data: None, 60.0, 1200.0)
        self.voices = {name: Voice(f"compute_agent/{name}") for name in "ab"}
        self.log = [record_of(Voice("conductor/c").say(events.GroupFenced(uuid_of("group"), 1)))]

    def report(self, name):
        self.log.append(record_of(self.voices[name].say(report(name))))

    def begin(self, kept=None, begun_anew=False):
        self.engine.on_begin(Beginning(None, 0, len(self.log) - 1, True, begun_anew, kept))
        return self.fold(0)

    def fold(self, start):
        self.engine.on_records(
            [(start + number, codec.decode_record(payload)) for number, payload in enumerate(self.log[start:])], 0.0
        )
        return self.engine.hosts_to_ask()

    def beat(self):
        return self.engine.on_beat("agent", ["a", "b"], self.engine.projection.epoch, 0.0)


def test_a_conductor_that_starts_asks_each_host_that_beats_once():
    conductor = Conductor()
    conductor.report("a")
    conductor.report("b")
    assert conductor.begin() == {} and conductor.beat() == ["a", "b"]
    conductor.report("a")
    conductor.fold(3)
    assert conductor.beat() == ["b"]
    conductor.report("b")
    conductor.fold(4)
    assert conductor.beat() == []


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("early", ["", "a", "ab"])
def test_a_conductor_asks_at_once_whom_it_knew_and_who_did_not_report_since(keep, early):
    conductor = Conductor()
    conductor.report("a")
    conductor.report("b")
    conductor.begin()
    del conductor.log[keep:]
    for name in early:
        conductor.report(name)
    wanted = [name for name in "ab" if name not in early]
    assert conductor.begin(kept=keep - 1) == {name: f"agent-of-{name}" for name in wanted}
    assert conductor.beat() == [name for name in "ab" if name not in early]
    for name in wanted:
        conductor.report(name)
    conductor.fold(keep + len(early))
    assert conductor.beat() == []


def test_a_conductor_waits_for_no_reports_of_a_log_that_is_another_one():
    conductor = Conductor()
    conductor.report("a")
    conductor.begin()
    conductor.begin(kept=0)
    del conductor.log[1:]
    conductor.begin(begun_anew=True)
    assert conductor.beat() == ["a", "b"], "they are not known"
    conductor.report("a")
    conductor.report("b")
    conductor.fold(1)
    assert conductor.beat() == []


def test_nothing_is_looked_at_when_all_have_reported():
    """It is on the way of each record."""
    missing = MissingReports()
    missing.count_after(0)
    missing.want({"a"})
    missing.see([(1, codec.decode_record(record_of(Voice("compute_agent/a").say(report("a")))))])
    assert not missing.hosts
    missing.see([(2, None)])
