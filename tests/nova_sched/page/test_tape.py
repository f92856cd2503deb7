"""The tape has the hosts at any position, as a fold up to there has them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.page.frame import ABSENT, STATUSES
from nova_sched.page.hosts import HostWatch
from nova_sched.page.residents import LEAST_KEPT, Residents
from nova_sched.page.tape import Change, Tape, absent
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.state.history import History
from nova_sched.replay.state.hosts import DISABLED, UP, rows_of
from rpc_api import events
from tests.builders import claim, inventory_of, of, provider, report, started, tree, uuid_of
from tests.nova_sched.replay.logs import Written, records_of
from tests.nova_sched.replay.test_history import random_log

SMALL = 5


def taped(log, most=10_000, segment=SMALL):
    """A Tape of a log, and the classes by their numbers."""
    table = HostTable()
    projection, tape, residents = Projection("cell1", table), Tape(most, segment), Residents()
    watch = HostWatch(projection, tape, residents)
    tape.start(-1, 0, [])
    for position, record in records_of(log):
        moment = watch.moment()
        projection.fold([(position, record)])
        tape.append(position, time_of(record.events) or 0, watch.changes(moment))
    return tape, table.classes.values, residents


def hosts_on(tape, classes, residents, place):
    """Host -> (status, who is there, amounts) on a tape."""
    frame = tape.frame(place)
    return {
        name: (
            STATUSES[frame.status[number]],
            [one[:4] for one in residents.at(number, place.position)],
            {
                known: (int(frame.used[index, number]), int(frame.capacity[index, number]))
                for index, known in enumerate(classes[: len(frame.used)])
                if frame.used[index, number] or frame.capacity[index, number]
            },
        )
        for number, name in enumerate(tape.names[: len(frame.status)])
        if frame.status[number] != ABSENT
    }


def hosts_folded(log, position):
    """The same from a fold."""
    world = History({"cell1": log}).world_at({"cell1": position})
    found = {}
    for row in rows_of(world, [("cell1", host) for host in world.projections["cell1"].hosts.values()]):
        host = world.projections["cell1"].hosts[row.host]
        status = row.status
        if status not in (UP, DISABLED):
            status = "lost" if host.lost else "forced down"
        there = sorted((one.position, one.instance_uuid, one.project_id, one.state) for one in host.entries.values())
        found[row.host] = status, [(uuid, of, state, at) for at, uuid, of, state in there], row.amounts
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_tape_has_the_hosts_at_any_position(seed):
    log = random_log(seed)
    tape, classes, residents = taped(log)
    for position in range(log.bounds().last + 1):
        assert hosts_on(tape, classes, residents, tape.before(position)) == hosts_folded(log, position), position


def test_hosts_that_are_trees_disabled_removed_and_come_back():
    nested = tree("a", provider("a/numa0", inventory_of("PCPU", 4), parent=0))
    written = Written(report("a", inventory=nested), report("b"))
    for data in (
        claim("vm", "a", of("a/numa0", 2, "PCPU"), of("a", 1)),
        started("vm", "a", of("a/numa0", 2, "PCPU"), of("a", 1)),
        report("b", disabled=True),
        events.HostLost("b", "silent"),
        events.HostRemoved("b", "gone"),
        report("c", inventory=tree("c", inventories=(inventory_of("CUSTOM_LATE", 3),))),
        report("b", forced_down=True),
    ):
        written.say(data)
    tape, classes, residents = taped(written.log)
    for position in range(written.log.bounds().last + 1):
        assert hosts_on(tape, classes, residents, tape.before(position)) == hosts_folded(written.log, position), (
            position
        )
    assert hosts_on(tape, classes, residents, tape.last)["a"][2]["PCPU"] == (2, 4)


def filled(count, most=20, segment=SMALL):
    """A tape of one host, whose use is the number of the change; positions are even, a second each."""
    tape = Tape(most, segment)
    for number in range(count):
        tape.append(2 * number, 2 * number + 100, [Change(tape.number_of("a"), 0, number, [number, 1000])])
    return tape


@pytest.mark.parametrize("count", [0, 1, SMALL, SMALL + 1, 3 * SMALL - 1])
def test_positions_and_times_between_changes(count):
    tape = filled(count)
    for position in range(-1, 2 * count + 3):
        expected = min(position // 2, count - 1)
        for place in (tape.before(position), tape.until(position + 100)):
            frame = tape.frame(place)
            if expected < 0:
                assert not (frame.status != ABSENT).any()
            else:
                assert frame.used[0, 0] == frame.instances[0] == expected
                assert place.position == 2 * expected


def test_a_tape_is_bounded_and_says_from_where_it_goes():
    tape = filled(1000)
    assert len(tape._segments) <= 20 / SMALL + 1
    first = tape.first.position
    assert 1900 < first < 1980
    assert tape.before(first - 1) is None and tape.until(100 + first - 1) is None
    assert tape.frame(tape.before(first)).used[0, 0] == first // 2
    assert tape.frame(tape.last).used[0, 0] == 999


def test_what_was_before_the_start_is_not_known():
    tape = Tape(100, SMALL)
    tape.start(50, 7, [Change(tape.number_of("a"), 0, 1, [3, 8])])
    assert tape.before(49) is None and tape.frame(tape.before(50)).used[0, 0] == 3


def test_a_clock_that_goes_back_does_not_change_the_order():
    tape = Tape(100, SMALL)
    for position, at_ns in enumerate((10, 30, 20, 40)):
        tape.append(position, at_ns, [Change(0, 0, position, [])])
    assert [tape.until(at_ns).position for at_ns in (10, 20, 30, 40)] == [0, 0, 2, 3]
    assert tape.time_of(2) == 20 and tape.time_of(9) is None


def test_a_look_while_the_tape_grows_sees_complete_changes():
    tape = filled(SMALL - 1)
    place = tape.last
    before = tape.frame(place).used[0, 0]
    tape.append(100, 500, [absent(1, 0)])
    assert tape.frame(place).used[0, 0] == before and tape.frame(tape.last).status[0] == ABSENT


def test_visits_of_long_ago_are_forgotten_and_who_stays_is_not():
    residents, projection = Residents(), Projection("cell1")
    projection.fold(records_of(Written(report("a"), claim("stays", "a"), claim("comes", "a")).log))
    entries = projection.hosts["a"].entries
    stays, comes = sorted(entries, key=lambda uuid: entries[uuid].position)
    for position in range(0, 400, 2):
        residents.note(0, position, {stays: entries[stays], comes: entries[comes]}, first=position - 20)
        residents.note(0, position + 1, {stays: entries[stays]}, first=position - 20)
    assert len(residents._of[0].log) <= LEAST_KEPT + 20
    for position in range(385, 400):
        there = [one.instance for one in residents.at(0, position)]
        assert there == [uuid_of("stays"), uuid_of("comes")][: 2 - position % 2]
    assert residents.at(7, 400) == [] and residents.at(0, -1) == []
