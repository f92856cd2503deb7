"""The digest: one log, one digest, in any process, batch and order of rows; each change of the state changes it."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from rpc_api import codec, events
from rpc_api.codec import DecodedRecord
from tests.builders import (
    EPOCH,
    Cell,
    Voice,
    claim,
    consumer,
    deleted,
    expired,
    inventory_of,
    moved,
    of,
    provider,
    record_of,
    released,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection import digest_without_producers

ROOT = Path(__file__).parents[3]


def busy_log(seed, hosts=6, steps=120):
    """Records of a log in which a lot happens, drawn from a seed; each as its bytes in the log."""
    chance = random.Random(seed)
    cell = Cell(events.LogOpened("cell1", EPOCH))
    names = [f"host-{number}" for number in range(hosts)]
    for name in names:
        cell.say(_report(chance, name))
    for step in range(steps):
        host, name = chance.choice(names), f"vm-{chance.randrange(12)}"
        cell.say(
            chance.choice(
                [
                    lambda: claim(
                        name,
                        host,
                        of(host, chance.randint(1, 3)),
                        attempt=step,
                        rule=rule(domain=host, partition=name, limit=2, policy=chance.choice(("spread", "member"))),
                    ),
                    lambda: started(name, host, of(host, chance.randint(1, 3))),
                    lambda: deleted(name, host),
                    lambda: released(name, attempt=chance.randrange(steps)),
                    lambda: moved(host, name, f"migration of {name}"),
                    lambda: _report(chance, host),
                    lambda: events.HostLost(host, "silent"),
                    lambda: events.HostSeen(host),
                    lambda: events.HostRemoved(host, "gone"),
                    lambda: events.AggregateUpdated(uuid_of(name), name, (host,), {"b": "1", "a": "2"}),
                    lambda: events.GroupFenced(uuid_of(f"group of {name}"), step),
                ]
            )()
        )
    return [record_of(*record.events) for _, record in cell.records]


def _report(chance, host):
    children = [
        provider(f"{host}-numa{number}", inventory_of("VCPU", chance.randint(1, 4)), parent=0)
        for number in range(chance.randrange(3))
    ]
    runs = [
        consumer(f"vm-{number}", of(host, chance.randint(1, 2)))
        for number in chance.sample(range(12), chance.randrange(4))
    ]
    return report(
        host,
        *runs,
        inventory=tree(host, *children),
        num_io_ops=chance.randrange(3),
        metrics={"b": 1.0, "a": chance.random()},
    )


def folded(records, batch=1, cell="cell1"):
    """Fold records in batches of some size."""
    projection = Projection(cell)
    for at in range(0, len(records), batch):
        projection.fold(
            [(position, codec.decode_record(payload)) for position, payload in enumerate(records[at : at + batch], at)]
        )
    return projection


@pytest.mark.parametrize("seed", range(3))
def test_batches_do_not_matter(seed):
    records = busy_log(seed)
    digests = {batch: state_digest(folded(records, batch)) for batch in (1, 7, len(records))}
    assert len(set(digests.values())) == 1, digests


@pytest.mark.parametrize("seed", range(3))
def test_records_do_not_matter(seed):
    """The same events in fewer records: positions differ, and only anchors are made of positions."""
    records = busy_log(seed)
    merged = []
    for at in range(0, len(records), 5):
        merged.append(
            DecodedRecord(
                EPOCH, [event for payload in records[at : at + 5] for event in codec.decode_record(payload).events]
            )
        )
    other = Projection("cell1")
    other.fold(list(enumerate(merged)))
    assert state_digest(other) == state_digest(folded(records))


SCRIPT = (
    "from nova_sched.projection.digest import state_digest\n"
    "from tests.nova_sched.projection.test_digest import busy_log, folded\n"
    "print(state_digest(folded(busy_log(1))))"
)


def test_the_hash_seed_does_not_matter():
    seen = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT],
            check=True,
            capture_output=True,
            timeout=120,
            cwd=ROOT,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
        )
        .stdout.decode()
        .strip()
        for seed in (0, 1, 2)
    }
    assert seen == {state_digest(folded(busy_log(1)))}


@pytest.mark.parametrize("seed", range(4))
def test_a_shared_table_and_the_interleaving_of_cells_do_not_matter(seed):
    logs = {"cell1": busy_log(1), "cell2": busy_log(2), "cell0": busy_log(3)}
    alone = {cell: state_digest(folded(records, cell=cell)) for cell, records in logs.items()}
    table = HostTable()
    projections = {cell: Projection(cell, table) for cell in logs}
    chance = random.Random(seed)
    waiting = [cell for cell, records in logs.items() for _ in records]
    chance.shuffle(waiting)
    for cell in waiting:
        position = projections[cell].position + 1
        projections[cell].fold([(position, codec.decode_record(logs[cell][position]))])
    assert {cell: state_digest(projection) for cell, projection in projections.items()} == alone


def test_the_way_does_not_matter():
    """Claimed, released and claimed again is claimed; rows that were taken in another order are the same hosts."""
    one = Cell(report("a"), report("b"), claim("vm", "a"))
    other = Cell(
        report("b"),
        report("x"),
        report("a"),
        claim("vm-2", "b", of("b", 3)),
        claim("vm", "a"),
        expired("vm-2"),
        events.HostRemoved("x", "gone"),
    )
    assert digest_without_producers(one.projection) == digest_without_producers(other.projection)


def test_the_order_in_which_things_came_does_not_matter():
    said = [
        claim("vm", "host"),
        claim("vm-2", "host"),
        claim("vm-3", "host", rule=rule(policy="member")),
        events.AggregateUpdated(uuid_of("agg"), "agg", (), {"a": "1", "b": "2"}),
        events.AggregateUpdated(uuid_of("agg-2"), "agg", (), {}),
        events.GroupFenced(uuid_of("x"), 1),
        events.GroupFenced(uuid_of("y"), 1),
    ]
    assert len({digest_without_producers(Cell(report("host"), *order).projection) for order in (said, said[::-1])}) == 1


BEFORE = [
    report("host", consumer("vm-0", of("host", 1))),
    report("other"),
    claim("vm", "host", of("host", 2)),
    events.AggregateUpdated(uuid_of("agg"), "agg", ("host",), {}),
]

CHANGES = {
    "another host": report("third"),
    "a server": report("host", consumer("vm-0", of("host", 1)), server="elsewhere"),
    "an inventory": report("host", consumer("vm-0", of("host", 1)), inventory=tree("host", cpu_info="{1}")),
    "disabled": report("host", consumer("vm-0", of("host", 1)), disabled=True),
    "forced down": report("host", consumer("vm-0", of("host", 1)), forced_down=True),
    "load": report("host", consumer("vm-0", of("host", 1)), num_io_ops=1),
    "failed builds": report("host", consumer("vm-0", of("host", 1)), failed_builds=1),
    "a metric": report("host", consumer("vm-0", of("host", 1)), metrics={"a": 0.0}),
    "what runs": report("host", consumer("vm-9", of("host", 1))),
    "how much it uses": report("host", consumer("vm-0", of("host", 2))),
    "lost": events.HostLost("host", ""),
    "removed": events.HostRemoved("other", ""),
    "claimed": claim("vm-2", "host"),
    "claimed by another attempt": claim("vm-2", "host", attempt=2),
    "claimed by another instance": claim("vm-2", "host", instance="vm-3"),
    "claimed with a rule": claim("vm-2", "host", rule=rule()),
    "claimed with another rule": claim("vm-2", "host", rule=rule(policy="member")),
    "claimed elsewhere": claim("vm-2", "other", of("other", 1)),
    "released": released("vm"),
    "started": started("vm", "host", of("host", 2)),
    "started with more": started("vm", "host", of("host", 3)),
    "deleted": deleted("vm-0", "host"),
    "moved": moved("host", "vm", "migration"),
    "an aggregate": events.AggregateUpdated(uuid_of("agg-2"), "agg", ("host",), {}),
    "an aggregate's hosts": events.AggregateUpdated(uuid_of("agg"), "agg", ("other",), {}),
    "an aggregate's metadata": events.AggregateUpdated(uuid_of("agg"), "agg", ("host",), {"a": "b"}),
    "an aggregate gone": events.AggregateDeleted(uuid_of("agg")),
    "an anchor": events.GroupAnchored(uuid_of("group"), "cell1", "host", 0),
    "another anchor": events.GroupAnchored(uuid_of("group"), "cell1", "other", 0),
    "a fence": events.GroupFenced(uuid_of("group"), 1),
    "another fence": events.GroupFenced(uuid_of("group"), 2),
}


def test_each_change_of_the_state_changes_the_digest():
    seen = {digest_without_producers(Cell(*BEFORE).projection): "nothing"}
    for change, data in CHANGES.items():
        digest = digest_without_producers(Cell(*BEFORE, data).projection)
        assert digest not in seen, f"{change} and {seen[digest]} have the same digest"
        seen[digest] = change


def test_how_far_a_producer_is_changes_the_digest():
    once, twice = Cell(report("host")), Cell(report("host"), report("host"))
    assert state_digest(once.projection) != state_digest(twice.projection)


def test_another_epoch_changes_the_digest():
    cells = Cell(), Cell()
    for cell, epoch in zip(cells, ("one", "another"), strict=True):
        cell.append([Voice("compute_agent/host").say(report("host"))], epoch=epoch)
    assert len({state_digest(cell.projection) for cell in cells}) == 2
