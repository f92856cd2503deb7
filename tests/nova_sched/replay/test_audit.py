"""The audit counts as the fold does, by arithmetic of its own; and it sees what should not have been accepted."""

import pytest

from nova_sched.projection.projection import Outcome
from nova_sched.replay.verify.audit import Audit, CellAudit
from rpc_api import events
from rpc_api.codec import DecodedRecord
from rpc_api.digest import pool_key
from rpc_api.levels import LEVEL
from rpc_api.packing import pack
from tests.builders import (
    EPOCH,
    Cell,
    claim,
    consumer,
    deleted,
    expired,
    moved,
    of,
    pool,
    released,
    report,
    started,
    tree,
    uuid_of,
)


def audited(*said):
    """(Audit after all events, the Cell that folded the same)."""
    cell, audit = Cell(*said), Audit()
    audit.fold("cell1", cell.records)
    return audit, cell


def counted_alike(audit, cell):
    """Whether audit and fold count the same use of every provider, and the same holders."""
    one, table = audit.cells["cell1"], cell.projection.table
    used = {key: amount for key, amount in one.used.items() if amount}
    folded = {
        (table.uuids[row], name): int(table.used[table.classes.get(name), row])
        for name in table.classes.values
        for row in range(table.count)
        if table.uuids[row] and table.used[table.classes.get(name), row]
    }
    holders = {(host, held) for host, of_host in one.hosts.items() for held in of_host.held}
    return used == folded and holders == {
        (host.name, held) for host in cell.projection.hosts.values() for held in host.entries
    }


@pytest.mark.parametrize(
    "said",
    [
        [claim("vm", "a")],
        [claim("vm", "a"), claim("vm", "a", attempt=2)],
        [claim("vm", "a"), released("vm")],
        [claim("vm", "a"), released("vm", attempt="other")],
        [claim("vm", "a"), expired("vm")],
        [claim("vm", "a"), started("vm", "a")],
        [claim("vm", "a"), started("vm", "a"), released("vm")],
        [claim("vm", "a"), started("vm", "a", of("a", 3))],
        [claim("vm", "a"), started("vm", "a"), deleted("vm", "a")],
        [claim("vm", "a"), deleted("vm", "a")],
        [claim("vm", "a"), started("vm", "a"), deleted("vm", "b")],
        [started("vm", "a")],
        [claim("vm", "a"), report("a", consumer("vm", of("a", 1)))],
        [claim("vm", "a"), started("vm", "a"), report("a")],
        [claim("vm", "a"), report("a")],
        [
            report("a", consumer("old", of("a", 2)), consumer("new", of("a", 1))),
            report("a", consumer("new", of("a", 4))),
        ],
        [claim("vm", "a"), started("vm", "a"), moved("a", "vm", "migration")],
        [
            claim("vm", "a"),
            started("vm", "a"),
            moved("a", "vm", "migration"),
            claim("vm", "b"),
            started("vm", "b"),
            deleted("vm", "a"),
        ],
        [
            claim("vm", "a"),
            started("vm", "a"),
            moved("a", "vm", "migration"),
            claim("vm", "a", attempt=2),
            report("a", consumer("vm", of("a", 1))),
        ],
        [claim("vm", "a"), moved("a", "nobody", "migration"), claim("migration", "b"), moved("a", "vm", "migration")],
        [claim("vm", "a"), started("vm", "a"), events.HostRemoved("a", "gone"), report("a")],
        [report("a", consumer("vm", of("a", 2))), report("b", consumer("vm", of("b", 2))), report("a")],
        [report("a", inventory=tree("a", root="other")), claim("vm", "b")],
        [claim("vm", "a"), started("vm", "a"), events.LogRebased("cell1", 1), report("a", consumer("vm", of("a", 1)))],
    ],
    ids=range(24),
)
@pytest.mark.parametrize("level", [1, 2, LEVEL])
def test_it_counts_as_the_fold_does(said, level):
    pins = [] if level == 1 else [events.LevelPinned(level)]
    audit, cell = audited(*pins, report("a"), report("b"), *said)
    assert counted_alike(audit, cell)
    one = audit.cells["cell1"]
    assert not one.over_commitments and not one.group_breaches and not one.write_breaches


@pytest.mark.parametrize("count", range(1, 7))
def test_it_goes_on_from_a_state(count):
    """Beginning with the state in the middle gives what the whole log gives."""
    said = [
        report("a"),
        report("b"),
        claim("vm", "a"),
        started("vm", "a"),
        claim("vm-2", "a"),
        moved("a", "vm", "m"),
        report("b", consumer("old", of("b", 2))),
    ]
    audit, cell = audited(*said)
    later = Audit()
    later.cells["cell1"] = CellAudit.beginning(Cell(*said[:count]).projection)
    for position, record in cell.records[count:]:
        later.record("cell1", position, record, [outcome for outcome in cell.outcomes if outcome.position == position])
    assert counted_alike(later, cell) and {
        key: amount for key, amount in later.cells["cell1"].used.items() if amount
    } == {key: amount for key, amount in audit.cells["cell1"].used.items() if amount}


def test_events_that_come_twice_count_once():
    cell = Cell(report("a"), claim("vm", "a"), started("vm", "a"), deleted("vm", "a"))
    cell.append([cell.records[2][1].events[0]])
    audit = Audit()
    audit.fold("cell1", cell.records)
    assert counted_alike(audit, cell) and not audit.cells["cell1"].hosts["a"].held


def test_what_is_set_aside_does_not_count():
    cell = Cell(report("a"), claim("vm", "a"))
    cell.say(deleted("vm", "a"), by="operator/o")
    cell.append([cell.voice("compute_agent/a").say(started("vm", "a", of("a", 7)))], epoch=uuid_of("another"))
    audit = Audit()
    audit.fold("cell1", cell.records)
    assert audit.counts["set_aside"] == 2 and counted_alike(audit, cell)


# --- what it is there for -------------------------------------------------------------------------------------------


def accepted_all(*said):
    """The audit of a cell whose fold accepts every claim."""
    audit = Audit()
    audit.begin("cell1")
    cell = Cell()
    for position, data in enumerate(said):
        event = cell.voice(f"compute_agent/{data.host}" if hasattr(data, "inventory") else "scheduler/one").say(data)
        outcomes = (
            [Outcome(position, event.producer, data.claim_uuid, data.consumer_uuid, None)]
            if hasattr(data, "claim_uuid")
            else []
        )
        audit.record("cell1", position, DecodedRecord(EPOCH, [event]), outcomes)
    return audit.cells["cell1"]


def with_guest(name, host, numa=(), pci=()):
    return claim(name, host)._replace(guest=pack(events.Guest(tuple(numa), tuple(pci), {})))


NODE = events.HostNUMACell(0, None, (0,), (1, 2, 3), ((0,), (1,), (2,), (3,)), 8192, (events.HostPages(1024, 4, 1),))
DEVICES = pool(1)


def numa(*pins, memory_mb=1, page_kb=0):
    return events.NUMAUse(
        0, 0, 0, tuple((number, cpu) for number, cpu in enumerate(pins)), (), False, memory_mb, page_kb
    )


@pytest.mark.parametrize(
    "claims, told",
    [
        ([claim("vm", "a", of("a", 5)), claim("vm-2", "a", of("a", 4))], "takes VCPU of a to 9, capacity 8"),
        (
            [with_guest("vm", "a", [numa(1)]), with_guest("vm-2", "a", [numa(2, 1)])],
            "takes CPU 1, which another guest has, of a",
        ),
        ([with_guest("vm", "a", [numa(0)])], "takes CPU 0, which is not for pinning, of a"),
        (
            [
                with_guest("vm", "a", [numa(1, memory_mb=2, page_kb=1024)]),
                with_guest("vm-2", "a", [numa(2, memory_mb=2, page_kb=1024)]),
            ],
            "takes pages of 1024 kB of NUMA node 0 to 4, of 3, of a",
        ),
        (
            [
                with_guest("vm", "a", pci=[events.PCIUse(pool_key(DEVICES), 1, None)]),
                with_guest("vm-2", "a", pci=[events.PCIUse(pool_key(DEVICES), 1, None)]),
            ],
            "to 2, of 1, of a",
        ),
    ],
    ids=["VCPU", "CPU of another", "shared CPU", "pages", "devices"],
)
def test_what_was_given_away_twice(claims, told):
    one = accepted_all(report("a", inventory=tree("a", numa_cells=(NODE,), pci_pools=(DEVICES,))), *claims)
    assert len(one.over_commitments) == 1 and told in one.over_commitments[0]
    assert f"position {len(claims)}: " in one.over_commitments[0]


def test_what_fits_is_no_fault():
    one = accepted_all(
        report("a", inventory=tree("a", numa_cells=(NODE,), pci_pools=(DEVICES,))),
        with_guest("vm", "a", [numa(1, memory_mb=1, page_kb=1024)], [events.PCIUse(pool_key(DEVICES), 1, None)]),
        with_guest("vm-2", "a", [numa(2, 3, memory_mb=2, page_kb=1024)]),
    )
    assert not one.over_commitments


@pytest.mark.parametrize(
    "policy, domains, told",
    [("spread", ("a", "a"), "has 2 partitions in a, limit 1"), ("together", ("a", "b"), "is on a, b")],
)
def test_a_group_that_was_broken(policy, domains, told):
    rules = [
        events.GroupRule(uuid_of("group"), policy, domain, uuid_of(f"vm-{number}"), 1)
        for number, domain in enumerate(domains)
    ]
    one = accepted_all(
        report("a"),
        report("b"),
        *(
            claim(f"vm-{number}", domain)._replace(rule=rule)
            for number, (domain, rule) in enumerate(zip(domains, rules, strict=True))
        ),
    )
    assert len(one.group_breaches) == 1 and told in one.group_breaches[0]


@pytest.mark.parametrize("host, companion, broken", [("a", None, 0), ("c", None, 1), ("c", "m3", 0)])
def test_a_claim_on_a_host_of_a_split_group_breaks_nothing(host, companion, broken):
    def member(name, on, policy="member"):
        return claim(name, on)._replace(rule=events.GroupRule(uuid_of("group"), policy, on, uuid_of(name), 0))

    asked = member("vm", host, "together")._replace(companion=companion and uuid_of(companion))
    one = accepted_all(*map(report, "abc"), member("m1", "a"), member("m2", "b"), claim("m3", "c"), asked)
    assert len(one.group_breaches) == broken
