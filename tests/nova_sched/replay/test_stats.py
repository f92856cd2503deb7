"""What is counted of a stretch of logs, and what a live view adds up: by hand-made events whose counts are known."""

import asyncio
import random
import statistics
import threading
import time

import pytest

from nova_sched.cli import top_lines
from nova_sched.cli.top_view import TopApp
from nova_sched.replay.logs.feeds import Following, Played, first_positions, last_time
from nova_sched.replay.logs.times import peeked_time, times_of
from nova_sched.replay.state.history import History
from nova_sched.replay.statistics.histogram import Histogram
from nova_sched.replay.statistics.live import NO_DECISION, Live
from nova_sched.replay.statistics.totals import Stats, gather
from rpc_api import codec, errors, events
from rpc_api.log import open_log
from tests.builders import Voice, claim, decision, deleted, of, released, report, started, uuid_of
from tests.nova_sched.replay.logs import BEGAN_NS, SECOND_NS, Written, records_of


def said():
    """Positions 1 to 12 of a small log."""
    return (
        report("a"),
        report("b"),
        decision("vm", "a", known=0),
        claim("vm", "a"),
        claim("big", "a", of("a", 99)),
        started("vm", "a"),
        decision(
            "none",
            known=4,
            took_ns=8_000_000,
            attempt=1,
            refusals=(("ResourceFilter", "VCPU", 3), ("ComputeFilter", "disabled", 1)),
        ),
        claim("lost", "b"),
        events.BuildFailed(uuid_of("lost"), "req-lost", "b", 0, "no disk", True),
        released("lost"),
        deleted("vm", "a"),
        events.HostLost("b", "silent"),
    )


def counted(written, first=None, last=None, interval_ns=None):
    stats, bounds = Stats(interval_ns), written.log.bounds()
    hosts = gather(
        History({"cell1": written.log}),
        {"cell1": bounds.first if first is None else first},
        {"cell1": bounds.last if last is None else last},
        stats,
    )
    return stats, hosts


# --- stats ----------------------------------------------------------------------------------------------------------


def test_instances_on_hosts_of_nova_are_counted_as_its_nova_computes_say():
    came = [events.TrackedInstance(uuid_of(name), {}) for name in ("vm", "other")]
    told = (events.InstancesTracked("a", tuple(came), ()), events.InstancesTracked("a", (), (uuid_of("vm"),)))
    stats, _ = counted(Written(*told))
    assert (stats.came, stats.gone, stats.all.started) == (2, 1, 0)


def test_all_is_counted():
    stats, hosts = counted(Written(*said()))
    one = stats.all
    assert (one.events, one.decisions, one.selected, one.refused, one.retried) == (13, 2, 1, 1, 1)
    assert (one.claims_accepted, one.claims_refused, one.started, one.failed, stats.final_failures) == (2, 1, 1, 1, 1)
    assert stats.by_type["ClaimProposed"][0] == 3 and sum(count for count, _ in stats.by_type.values()) == 13
    assert stats.by_role == {**stats.by_role, "compute_agent": [4, stats.by_role["compute_agent"][1]]}
    assert (
        sum(size for _, size in stats.by_cell.values())
        <= stats.bytes
        == sum(size for _, size in stats.by_role.values())
    )
    assert stats.reasons == {"VCPU": 1, "disabled": 1} and stats.reason_hosts == {"VCPU": 3, "disabled": 1}
    assert stats.build_time.facts(SECOND_NS)["max"] == 2 and stats.knowledge_lag.facts()["max"] == 2
    assert stats.busy == {("cell1", "a"): 3, ("cell1", "b"): 1}
    # One that is lost is counted as that, and not as silent too.
    assert stats.seconds() == 12 and hosts == [("cell1", "a")]
    assert stats.host_counts == {"up": 1, "disabled": 0, "forced down": 0, "lost": 1}
    hosts = [("cell1", "a"), ("cell1", "b")]
    assert stats.silent(hosts, 5 * SECOND_NS) == [("cell1", "b", Written.at(2))]
    assert [host for _, host, _ in stats.silent(hosts, SECOND_NS)] == ["b", "a"]


def test_requests_that_no_decision_was_made_for():
    written = Written(events.RequestRefused("req-x", (uuid_of("x"),), "it asks for nonsense"))
    assert counted(written)[0].turned_away == 1
    assert fed(Live(["cell1"]), written, Written.at(2)).view(Written.at(2)).reasons == ((NO_DECISION, 1),)


def test_a_range_knows_what_was_before_it():
    """Claims are assigned to hosts that were reported before the range."""
    stats, _ = counted(Written(*said()), 4, 5)
    assert (stats.all.events, stats.all.claims_accepted, stats.all.claims_refused) == (2, 1, 1) and not stats.unknown


def test_bytes_of_a_record_are_shared_out():
    written = Written()
    written.say(report("a"), events.HostSeen("a"), events.HostLost("b", "x" * 500))
    stats, _ = counted(written, 1)
    assert stats.by_type["HostLost"][1] > 500 > stats.by_type["HostSeen"][1] > 20
    assert stats.bytes - 100 < sum(size for _, size in stats.by_type.values()) < stats.bytes


def test_garbage_is_counted_as_set_aside():
    written = Written(report("a"))
    written.log.append([b"\xc1 junk"])
    stats, _ = counted(written)
    assert stats.by_type["(set aside)"] == [1, 6] and stats.all.events == 3


def test_intervals_add_up_to_the_whole():
    stats, _ = counted(Written(*said()), interval_ns=5 * SECOND_NS)
    rows = [stats.intervals[start] for start in sorted(stats.intervals)]
    assert sorted(stats.intervals) == [BEGAN_NS, BEGAN_NS + 5 * SECOND_NS, BEGAN_NS + 10 * SECOND_NS]
    for name in (
        "events",
        "decisions",
        "selected",
        "refused",
        "claims_accepted",
        "claims_refused",
        "started",
        "failed",
    ):
        assert sum(getattr(row, name) for row in rows) == getattr(stats.all, name)


def test_memory_has_an_end(monkeypatch):
    from nova_sched.replay.statistics import totals as module

    monkeypatch.setattr(module, "MAX_WAITING", 3)
    monkeypatch.setattr(module, "MAX_INTERVALS", 3)
    written = Written(report("a"))
    for number in range(8):
        written.say(claim(f"vm-{number}", "a", of("a", 1)))
    assert len(counted(written)[0]._waiting) == 3
    with pytest.raises(errors.UsageError, match="longer --interval"):
        counted(written, interval_ns=SECOND_NS)


def test_percentiles_are_right_to_within_a_few_percent():
    rng, values = random.Random(3), Histogram()
    numbers = [rng.lognormvariate(12, 2) for _ in range(20_000)]
    for number in numbers:
        values.add(number)
    cuts = statistics.quantiles(numbers, n=100)
    for percent in (50, 95, 99):
        assert values.percentile(percent) == pytest.approx(cuts[percent - 1], rel=0.04)
    assert values.percentile(100) == max(numbers) == values.max and values.count == 20_000


def test_percentiles_of_little():
    values = Histogram()
    assert values.percentile(50) is None and values.facts()["p95"] is None
    values.add(-5)
    assert values.facts() == {"count": 1, "p50": 0, "p95": 0, "p99": 0, "max": 0}
    values.add(3)
    assert values.facts()["max"] == 3 and values.percentile(99) == pytest.approx(3, rel=0.03)


# --- times ----------------------------------------------------------------------------------------------------------


def test_times_are_those_of_decoding():
    written = Written(*said())
    written.log.append([b"\xc1", b"\x93\x01"])
    written.say(report("c"))
    wanted = {
        position: next((event.at_ns for event in record.events if isinstance(event, codec.Event)), None)
        for position, record in records_of(written.log)
    }
    assert times_of(written.log, [*wanted, -4, 99]) == wanted and wanted[13] is None


@pytest.mark.parametrize(
    "payload", [b"", b"\x93", b"\xc1", b"\x93\x01\xa1x\x91\x97\xa1x", b"\x93\x02\xa1x\x90", b"\x93\x01\xa1x\x90"]
)
def test_a_time_is_read_of_no_garbage(payload):
    assert peeked_time(payload) is None


# --- live -----------------------------------------------------------------------------------------------------------


def fed(live, written, now_ns):
    for position, record in records_of(written.log):
        live.feed("cell1", position, record, now_ns)
    return live


def test_a_view_counts_the_window():
    written, now_ns = Written(*said()), Written.at(13)
    live = fed(Live(["cell1", "cell2"]), written, now_ns)
    live.end("cell1", 20)
    live.down("cell2", "the broker is away")
    view = live.view(now_ns)
    one, other = view.cells
    assert (one.position, one.last, one.lag, one.down) == (12, 20, 8, None)
    assert (one.events_s, one.decisions_s) == (1.0, 0.2)  # the seconds 3 to 12
    assert (other.position, other.lag, other.down) == (None, 0, "the broker is away")
    assert (view.decisions, view.selected, view.refused) == (2, 1, 1) and view.reasons == (("VCPU", 1), ("disabled", 1))
    assert view.hosts == (("cell1", "a", 4), ("cell1", "b", 2)) and view.latency["max"] == 8
    (scheduler,) = view.schedulers
    assert (scheduler.decisions, scheduler.refused, scheduler.lag) == (2, 1, 2)
    assert live.view(now_ns, "cell2").decisions == 0 and live.view(now_ns, most=1).hosts == view.hosts[:1]
    live.down("cell2", None)
    assert not any(cell.down for cell in live.view(now_ns).cells)


@pytest.mark.parametrize("count, state", [(4900, "ok"), (5600, "FLOODED: compute_agent/c wrote 100 % of the last")])
def test_a_producer_that_floods_a_log_is_shown(count, state):
    live, flat_out = Live(["cell1"]), Voice("compute_agent/c")
    said_at = [flat_out.say(deleted("vm", "c"))._replace(at_ns=Written.at(1)) for _ in range(count)]
    said_at.append(codec.make_event(events.HostSeen("a"), "conductor/x", 1, 1, Written.at(1)))
    live.feed("cell1", 0, codec.DecodedRecord(None, said_at), Written.at(2))
    (_, line) = top_lines.cell_lines(live.view(Written.at(2)))
    assert state in line
    assert "ok" in top_lines.cell_lines(live.view(Written.at(20)))[1]


def test_what_is_older_than_the_window_goes():
    written = Written(*said())
    live = fed(Live(["cell1"], window_s=5), written, Written.at(12))
    assert live.view(Written.at(12)).decisions == 0 and live.view(Written.at(12)).hosts == (
        ("cell1", "b", 2),
        ("cell1", "a", 1),
    )
    assert live.view(Written.at(60)).hosts == () and live.view(Written.at(60)).events_s == 0
    for number in range(100):
        live.feed(
            "cell1",
            20 + number,
            codec.DecodedRecord(
                None, [codec.make_event(events.HostSeen("a"), "conductor/x", 1, 1, Written.at(100 + number))]
            ),
            Written.at(100 + number),
        )
    assert len(live._seconds["cell1"]) <= 6


def test_a_clock_that_is_ahead_counts_now():
    live = Live(["cell1"])
    live.feed(
        "cell1",
        0,
        codec.DecodedRecord(None, [codec.make_event(events.HostSeen("a"), "conductor/x", 1, 1, Written.at(500))]),
        Written.at(5),
    )
    assert live.view(Written.at(6)).events_s == 0.1


def test_logs_are_followed_in_threads_that_end():
    written, before = Written(*said()[:4]), threading.active_count()
    logs, now_ns = {"cell1": written.log}, Written.at(30)
    live = Live(logs)
    feed = Following(logs, live, Written.at(1)).start()
    try:
        waited_for(lambda: feed.pump(now_ns), lambda: live.view(now_ns).cells[0].position == 4)
        for data in said()[4:]:
            written.say(data)
        waited_for(
            lambda: feed.pump(now_ns),
            lambda: live.view(now_ns).refused == 1 and live.view(now_ns).cells[0].position == 12,
        )
    finally:
        feed.stop()
    assert threading.active_count() == before


def test_records_before_the_window_are_not_unread():
    logs, now_ns = {"cell1": Written(*said()).log, "empty": open_log("memory://top-empty")}, Written.at(1000)
    live = Live(logs)
    feed = Following(logs, live, Written.at(900)).start()
    try:
        waited_for(lambda: feed.pump(now_ns), lambda: [cell.position for cell in live.view(now_ns).cells] == [12, None])
        waited_for(lambda: feed.pump(now_ns), lambda: live.view(now_ns).cells[1].last == -1)
        assert [cell.lag for cell in live.view(now_ns).cells] == [0, 0]
    finally:
        feed.stop()


def waited_for(step, done, seconds=20):
    end, event = time.monotonic() + seconds, threading.Event()
    while not done():
        assert time.monotonic() < end, "it did not come"
        step()
        event.wait(0.01)


def test_an_old_log_is_played_at_its_own_times():
    written = Written(*said())
    logs, live = {"cell1": written.log}, Live(["cell1"])
    played = Played(logs, live, {"cell1": 0}, Written.at(0), speed=2).start()
    assert played.clock(1000 * SECOND_NS) == Written.at(0) and played.clock(1003 * SECOND_NS) == Written.at(6)
    assert played.pump(Written.at(6)) == 7 and live.view(Written.at(6)).cells[0].position == 6
    assert played.pump(Written.at(6)) == 0 and played.pump(Written.at(60)) == 6
    assert live.view(Written.at(60)).cells[0].lag == 0
    played.stop()


def test_records_that_were_removed_are_not_unread():
    written, live = Written(*said()), Live(["cell1"])
    written.log.truncate_before(8)
    played = Played({"cell1": written.log}, live, {"cell1": 8}, Written.at(0), speed=1).start()
    assert live.view(Written.at(0)).cells[0].lag == 5
    played.stop()


def test_the_last_time_and_first_positions():
    written = Written(*said())
    logs = {"cell1": written.log, "empty": open_log("memory://stats-empty")}
    assert last_time(logs) == Written.at(12) and last_time({"empty": logs["empty"]}) is None
    assert first_positions(logs, Written.at(4)) == {"cell1": 5, "empty": 0}


# --- the terminal ---------------------------------------------------------------------------------------------------


class _Fed:
    def __init__(self):
        self.pumped = 0

    def pump(self, now_ns):
        self.pumped += 1


def test_the_view_is_drawn_and_minds_its_keys():
    live = fed(Live(["cell1", "cell2"]), Written(*said()), Written.at(13))
    live.down("cell2", "the [broker] is away")

    async def look():
        clock, feed = [Written.at(13)], _Fed()
        app = TopApp(live, feed, lambda: clock[0], 0.01)

        def shown(name):
            return str(app.query_one(f"#{name}").content)

        async with app.run_test(size=(100, 40)) as pilot:
            await pilot.pause()
            assert "1 selected, 1 refused" in shown("head") and "DOWN: the [broker] is away" in shown("cells")
            assert "VCPU" in shown("reasons") and "scheduler/one" in shown("schedulers")
            assert shown("hosts").index("a  ") < shown("hosts").index("b  ")
            await pilot.press("c")
            assert "cell1" in shown("head")
            await pilot.press("c")
            assert "cell2" in shown("head") and "0 decisions" in shown("head")
            await pilot.press("c", "s")
            assert app.cell is None and app.by_name
            await pilot.press("p")
            before, pumped = shown("head"), feed.pumped
            clock[0] = Written.at(14)
            await pilot.pause(0.1)
            assert shown("head") == before and feed.pumped > pumped
            await pilot.press("p")
            await pilot.pause(0.1)
            assert shown("head") != before
            await pilot.press("q")
        assert not app.is_running

    asyncio.run(look())


def test_names_from_a_log_cannot_write_to_the_terminal():
    live = Live(["cell1"])
    name = "a\x1b]0;owned\x07"
    live.feed(
        "cell1",
        0,
        codec.DecodedRecord(None, [codec.make_event(claim("vm", name), f"scheduler/{name}", 1, 1, Written.at(0))]),
        Written.at(0),
    )
    text = "\n".join(top_lines.lines_of(live.view(Written.at(1))))
    assert "\\x1b" in text and "\x1b" not in text
