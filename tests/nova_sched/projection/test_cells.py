"""Several cells in one table: none of them changes what another one's log says, whatever names they use."""

import pytest

from nova_sched.projection import topology
from nova_sched.projection.digest import state_digest
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from rpc_api import events
from tests import invariants
from tests.builders import Cell, claim, consumer, inventory_of, of, provider, released, report, rule, tree, uuid_of


def two_cells():
    table = HostTable()
    return Cell(cell="cell1", table=table), Cell(cell="cell2", table=table), table


SAME_NAMES = [
    # what the first cell's log says, what the second's says; the same hosts and providers in both
    ([report("host")], [report("host")]),
    ([report("host"), events.HostRemoved("host", "")], [report("host")]),
    ([report("host")], [report("host"), events.HostRemoved("host", "")]),
    ([report("host"), claim("vm", "host", of("host", 8))], [report("host"), claim("vm", "host", of("host", 8))]),
    ([report("host")], [report("other", inventory=tree("other", provider("host", inventory_of(), parent=0)))]),
    (
        [report("host"), report("host", inventory=tree("host", root="new"))],
        [report("host"), report("host", disabled=True)],
    ),
    ([report("host", consumer("vm", of("host", 3)))], [report("host"), events.HostLost("host", "")]),
]


@pytest.mark.parametrize("first, second", SAME_NAMES)
@pytest.mark.parametrize("order", ["first", "second", "in turn"])
def test_the_same_names_in_two_cells(first, second, order):
    one, other, _ = two_cells()
    ones, others = [(one, data) for data in first], [(other, data) for data in second]
    said = {
        "first": ones + others,
        "second": others + ones,
        "in turn": [pair for pairs in zip(ones * 2, others * 2, strict=False) for pair in pairs],
    }[order]
    alone = {one: Cell(cell="cell1"), other: Cell(cell="cell2")}
    for cell, data in said:
        assert cell.say(data) == alone[cell].say(data)
        for each in (one, other):
            invariants.check(each.projection)
    for cell, same in alone.items():
        assert state_digest(cell.projection) == state_digest(same.projection)


def test_aggregates_are_those_of_their_log_and_the_table_has_all():
    one, other, table = two_cells()
    aggregate = events.AggregateUpdated(uuid_of("agg"), "agg", ("host",), {"domain": "rack"})
    one.say(aggregate)
    other.say(report("host"))
    assert topology.domains(table, "rack") == {0: uuid_of("agg")}
    assert state_digest(other.projection) == state_digest(Cell(report("host"), cell="cell2").projection)
    other.say(events.AggregateDeleted(uuid_of("agg")))
    assert table.aggregates == one.projection.aggregates == {uuid_of("agg"): aggregate}
    one.say(events.AggregateDeleted(uuid_of("agg")))
    assert topology.domains(table, "rack") == table.aggregates == {}


# --- claims in flight ----------------------------------------------------------------------------------------------


def test_what_is_in_flight_is_held_and_not_used():
    cell = Cell(report("host"))
    in_flight = InFlight(cell.projection.table)
    wanted = claim("vm", "host", of("host", 3), rule=rule())
    in_flight.add(wanted)
    invariants.check(cell.projection)
    assert (cell.used("host"), cell.free("host")) == (0, 5)
    assert cell.say(claim("vm-2", "host", of("host", 8))) == "accepted"
    assert cell.free("host") == -3
    in_flight.remove(wanted.claim_uuid)
    in_flight.remove(wanted.claim_uuid)
    assert cell.free("host") == 0
    assert (in_flight.claims, in_flight.groups.members, in_flight.groups.domains) == ({}, {}, {})


def test_what_is_in_flight_stays_held_over_a_new_inventory():
    cell = Cell(report("host"))
    in_flight = InFlight(cell.projection.table)
    in_flight.add(claim("vm", "host", of("host", 3)))
    cell.say(report("host", inventory=tree("host", inventories=[inventory_of("VCPU", 10)])))
    assert (cell.used("host"), cell.free("host")) == (0, 7)


def test_two_attempts_of_one_consumer_are_in_flight_for_one_host():
    cell = Cell(report("host"))
    in_flight = InFlight(cell.projection.table)
    first, second = (
        claim("vm", "host", of("host", 2), attempt=number, rule=rule(domain="d", partition="p")) for number in (1, 2)
    )
    in_flight.add(first)
    in_flight.add(second)
    assert in_flight.groups.domains[uuid_of("group")] == {"d": {"p": 2}}
    in_flight.remove(first.claim_uuid)
    assert (cell.free("host"), in_flight.groups.domains[uuid_of("group")]) == (6, {"d": {"p": 1}})
    in_flight.remove(second.claim_uuid)
    assert (cell.free("host"), in_flight.groups.domains) == (8, {})


@pytest.mark.parametrize(
    "between",
    [
        [report("host", inventory=tree("host", root="new"))],
        [events.HostRemoved("host", "")],
        [events.HostRemoved("host", ""), report("host")],
        [report("host", inventory=tree("host", inventories=[]))],
        [report("host", inventory=tree("host", inventories=[])), report("host")],
    ],
    ids=["another root", "removed", "removed and back", "no inventory", "no inventory for a while"],
)
def test_a_host_changes_while_a_claim_is_in_flight(between):
    cell = Cell(report("host"))
    in_flight = InFlight(cell.projection.table)
    wanted = claim("vm", "host", of("host", 3))
    in_flight.add(wanted)
    for data in between:
        cell.say(data)
    in_flight.remove(wanted.claim_uuid)
    invariants.check(cell.projection)
    assert not cell.projection.table.held.any()
    cell.say(report("host"))
    assert cell.free("host") == 8


# --- what was touched ----------------------------------------------------------------------------------------------

HOST, THIRD = {0}, {2}

TOUCHING = [
    # event, root rows touched, does the topology change
    (report("host"), HOST, False),
    (report("host", disabled=True), HOST, False),
    (report("host", inventory=tree("host", inventories=[inventory_of("VCPU", 9)])), HOST, False),
    (report("host", inventory=tree("host", provider("x", parent=0))), HOST, True),
    (report("host", inventory=tree("host", availability_zone="az")), HOST, True),
    (report("third"), THIRD, True),
    (claim("vm-2", "host"), HOST, False),
    (claim("vm-2", "host", of("host", 99)), set(), False),
    (released("vm"), HOST, False),
    (events.InstanceStarted("host", consumer("vm", of("host", 1))), HOST, False),
    (events.HostLost("host", ""), HOST, False),
    (events.HostSeen("host"), set(), False),
    (events.HostRemoved("host", ""), HOST, True),
    (events.AggregateUpdated(uuid_of("agg"), "agg", (), {}), set(), True),
    (events.AggregateDeleted(uuid_of("agg")), set(), False),
]


@pytest.mark.parametrize("data, touched, topology", TOUCHING)
def test_who_keeps_what_it_computed_is_told_what_changed(data, touched, topology):
    cell = Cell(report("host"), report("other"), claim("vm", "host"))
    table = cell.projection.table
    version, before = table.touched.version, table.topology_version
    cell.say(data)
    assert table.touched.since(version) == touched
    assert (table.topology_version != before) == topology


def test_other_aggregates_of_a_provider_change_the_topology():
    cell = Cell(report("host", inventory=tree("host", provider("x", parent=0))))
    table = cell.projection.table
    assert topology.aggregate_rows(table, uuid_of("agg")).tolist() == [False, False]
    for aggregates, rows in ((["agg"], [False, True]), ([], [False, False])):
        cell.say(report("host", inventory=tree("host", provider("x", parent=0, aggregates=aggregates))))
        assert topology.aggregate_rows(table, uuid_of("agg")).tolist() == rows


def test_too_long_ago_to_tell():
    cell = Cell(report("host"))
    table = cell.projection.table
    first = table.touched.version
    for _ in range(5000):
        table.touched.touch(0)
    assert table.touched.since(first) is None
    assert table.touched.since(table.touched.version) == set()
    recent = table.touched.version
    table.touched.touch(7)
    assert table.touched.since(recent) == {7}
