"""Monitor and reaper: rows of what they receive or see at which time, and of the events that follow."""

from collections import namedtuple

import pytest

from conductor.monitor import SAY_AGAIN, Monitor
from conductor.reaper import Reaper
from nova_sched.projection.ledger import CLAIMED, RUNNING
from rpc_api import events

Host = namedtuple("Host", "lost")
Entry = namedtuple("Entry", "claim_uuid consumer_uuid state")
DOWN_TIME = 60.0

#: beats (host, time), lost by the log, time of the look, expected events.
LOOKS = [
    ([], False, 0.0, []),
    ([], False, 59.9, []),
    ([], False, 60.0, [events.HostLost("h", "no heartbeat for 60 s")]),
    ([("h", 30.0)], False, 89.9, []),
    ([("h", 30.0)], False, 90.0, [events.HostLost("h", "no heartbeat for 60 s")]),
    ([("h", 30.0), ("h", 80.0)], False, 90.0, []),
    ([("other", 80.0)], False, 90.0, [events.HostLost("h", "no heartbeat for 90 s")]),
    ([], True, 90.0, []),
    ([("h", 80.0)], True, 90.0, [events.HostSeen("h")]),
]


@pytest.mark.parametrize("beats, lost, now, said", LOOKS)
def test_monitor(beats, lost, now, said):
    monitor = Monitor(DOWN_TIME)
    # The first look is when it begins to count.
    assert monitor.changes({"h": Host(False)}, 0.0) == []
    for host, at in beats:
        monitor.heard([host], at)
    assert monitor.changes({"h": Host(lost)}, now) == said


#: a beat (host, time), lost by the log, how long nothing could be received up to the look at 200 s, expected events.
DEAF = [
    (("h", 100.0), False, 0.0, [events.HostLost("h", "no heartbeat for 100 s")]),
    (("h", 100.0), False, 90.0, []),
    (("h", 100.0), False, 30.0, [events.HostLost("h", "no heartbeat for 70 s")]),
    (("h", 100.0), True, 30.0, []),
    (("h", 190.0), False, 90.0, []),
]


@pytest.mark.parametrize("beat, lost, deaf, said", DEAF)
def test_time_in_which_no_beat_could_come_does_not_count(beat, lost, deaf, said):
    monitor = Monitor(DOWN_TIME)
    monitor.heard([beat[0]], beat[1])
    monitor.heard_nothing_for(deaf, 200.0)
    assert monitor.changes({"h": Host(lost)}, 200.0) == said


def test_a_lost_host_stays_lost_until_it_beats():
    """After a restart, and after time in which no beat could come."""
    monitor = Monitor(DOWN_TIME)
    assert monitor.changes({"h": Host(True)}, 0.0) == [] == monitor.changes({"h": Host(True)}, 100.0)
    monitor.heard_nothing_for(90.0, 110.0)
    assert monitor.changes({"h": Host(True)}, 110.0) == []
    monitor.heard(["h"], 120.0)
    assert monitor.changes({"h": Host(True)}, 121.0) == [events.HostSeen("h")]


def test_monitor_forgets_hosts_that_are_gone():
    monitor = Monitor(DOWN_TIME)
    monitor.changes({"h": Host(False)}, 0.0)
    monitor.changes({}, 100.0)
    assert monitor.changes({"h": Host(False)}, 200.0) == []


#: looks (time, claims held, claims being built), claims that expire at the last of them.
REAPED = [
    ([(0.0, "a", "")], ""),
    ([(0.0, "a", ""), (9.9, "a", "")], ""),
    ([(0.0, "a", ""), (10.0, "a", "")], "a"),
    ([(0.0, "a", ""), (5.0, "ab", ""), (10.0, "ab", "")], "a"),
    ([(0.0, "a", ""), (10.0, "a", "a")], ""),
    ([(0.0, "a", ""), (9.0, "a", "a"), (10.0, "a", "")], ""),
    ([(0.0, "a", ""), (9.0, "a", "a"), (19.0, "a", "")], "a"),
    ([(0.0, "a", ""), (5.0, "", ""), (10.0, "a", "")], ""),
    ([(0.0, "A", ""), (10.0, "A", "")], ""),
]


@pytest.mark.parametrize("looks, expired", REAPED)
def test_reaper(looks, expired):
    reaper = Reaper(10.0)
    for now, held, building in looks:
        consumers = {one: (Entry(one, f"consumer-{one}", CLAIMED if one.islower() else RUNNING),) for one in held}
        said = reaper.expired(consumers, set(building), now)
    assert said == [events.ClaimExpired(f"consumer-{one}", one) for one in expired]


def test_what_the_log_does_not_show_yet_is_not_said_each_second():
    monitor, hosts = Monitor(DOWN_TIME), {"h": Host(False)}
    said = [monitor.changes(hosts, float(now)) for now in range(120)]
    assert [now for now, one in enumerate(said) if one] == [60, 60 + int(SAY_AGAIN)]
    hosts = {"h": Host(True)}
    assert monitor.changes(hosts, 120.0) == []
    monitor.heard(["h"], 121.0)
    assert monitor.changes(hosts, 121.0) == [events.HostSeen("h")] and monitor.changes(hosts, 122.0) == []


def test_nor_is_an_expired_claim():
    reaper, consumers = Reaper(10.0), {"vm": (Entry("claim", "vm", CLAIMED),)}
    said = [reaper.expired(consumers, (), float(now)) for now in range(60)]
    assert [now for now, one in enumerate(said) if one] == [10, 10 + int(SAY_AGAIN)]
