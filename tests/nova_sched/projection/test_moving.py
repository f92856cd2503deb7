"""A projection that moves into a table that others share is the same there, and goes on as it would have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.moving import Moving
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from tests import invariants
from tests.builders import Cell, Voice, record_of, report, uuid_of
from tests.nova_sched.projection.test_any_event import BEGINNING, SAID
from tests.nova_sched.projection.test_devices import asking, host, nic, use
from tests.nova_sched.projection.test_writes import ledger


def shared_table():
    """A table with hosts of another cell, and rows that were given back."""
    other = Cell(report("other"), report("host-1"), report("gone"), cell="cell2", table=HostTable())
    other.say(events.AggregateUpdated(uuid_of("agg"), "agg", ("other",), {}))
    other.say(events.HostRemoved("gone", ""))
    return other


@settings(max_examples=60, deadline=None)
@given(SAID, st.integers(0, 12))
def test_any_log(said, moves_after):
    """Events come before and after; the other cell's state stays, also when the moved one goes."""
    other = shared_table()
    before = state_digest(other.projection)
    stays, moves, voices = Projection("cell1"), Projection("cell1"), {}
    events_ = [*((data, f"compute_agent/{data.host}", 1) for data in BEGINNING), *said]
    for position, (data, by, epoch) in enumerate(events_):
        if position == min(moves_after, len(events_) - 1):
            moves = Moving(moves).into(other.projection.table)
            invariants.check(moves)
        level = min(max(stays.level, data.schema.LEVEL), LEVEL)
        record = codec.decode_record(record_of(voices.setdefault((by, epoch), Voice(by, epoch)).say(data), level=level))
        for projection in (stays, moves):
            projection.fold([(position, record)])
        assert state_digest(moves) == state_digest(stays)
    invariants.check(moves)
    moves.forget()
    invariants.check(other.projection)
    assert state_digest(other.projection) == before


def devices():
    return Cell(host(), asking("first", use(0, 2), nic()))


@pytest.mark.parametrize("cell", [devices, ledger], ids=["devices", "writes"])
def test_devices_and_writes(cell):
    cell = cell()
    before = snapshot.dump(cell.projection)
    moved = Moving(cell.projection).into(shared_table().projection.table)
    invariants.check(moved)
    assert state_digest(moved) == snapshot.head_of(before).digest
    assert state_digest(snapshot.load(snapshot.dump(moved))) == snapshot.head_of(before).digest


def test_devices_are_taken_after_the_move():
    cell = devices()
    Moving(cell.projection).into(shared_table().projection.table)
    assert cell.say(asking("second", use(0, 2))) == "CPUs of NUMA node 0"
