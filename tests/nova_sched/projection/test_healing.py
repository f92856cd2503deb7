"""Reports heal: whatever the log had of a host, one report later it has what the host runs, and says what differed."""

import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import CLAIMED, RUNNING
from rpc_api import codec, events
from rpc_api.digest import consumers_digest
from tests.builders import (
    Cell,
    claim,
    confirmation,
    consumer,
    deleted,
    moved,
    of,
    record_of,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection import unchanged_by

TWO, THREE = of("host", 2), of("host", 3)
MIGRATION = "migration of vm"
RESIZED = [started("vm", "host", TWO), moved("host", "vm", MIGRATION), claim("vm", "host", THREE)]

DIVERGENCES = [
    # what the log has of the host, what the host reports, what is noted, what is held then, VCPU used
    ("nothing, as reported", [], [], "ok", {}, 0),
    ("as reported", [started("vm", "host", TWO)], [consumer("vm", TWO)], "ok", {"vm": RUNNING}, 2),
    ("a claim that does not run yet stays", [claim("vm", "host", TWO)], [], "ok", {"vm": CLAIMED}, 2),
    ("vanished", [started("vm", "host", TWO)], [], "vanished", {}, 0),
    ("two vanished", [started("vm", "host", TWO), started("vm-2", "host", TWO)], [], "vanished, vanished", {}, 0),
    ("started unseen", [claim("vm", "host", TWO)], [consumer("vm", TWO)], "started-unseen", {"vm": RUNNING}, 2),
    (
        "started unseen, and differs",
        [claim("vm", "host", TWO)],
        [consumer("vm", THREE)],
        "started-unseen, differs",
        {"vm": RUNNING},
        3,
    ),
    ("differs", [started("vm", "host", TWO)], [consumer("vm", THREE)], "differs", {"vm": RUNNING}, 3),
    (
        "unclaimed",
        [started("vm", "host", TWO)],
        [consumer("vm", TWO), consumer("vm-2", THREE)],
        "unclaimed-start",
        {"vm": RUNNING, "vm-2": RUNNING},
        5,
    ),
    (
        "one for another",
        [started("vm", "host", TWO)],
        [consumer("vm-2", TWO)],
        "vanished, unclaimed-start",
        {"vm-2": RUNNING},
        2,
    ),
    (
        "more than there is",
        [claim("vm", "host", TWO)],
        [consumer("vm-2", of("host", 100))],
        "unclaimed-start",
        {"vm": CLAIMED, "vm-2": RUNNING},
        102,
    ),
    (
        "moved and still here",
        [started("vm", "host", TWO), moved("host", "vm", MIGRATION)],
        [consumer("vm", TWO)],
        "ok",
        {MIGRATION: RUNNING},
        2,
    ),
    ("moved and gone", [started("vm", "host", TWO), moved("host", "vm", MIGRATION)], [], "vanished", {}, 0),
    ("resized in place, not yet", RESIZED, [consumer("vm", TWO)], "ok", {MIGRATION: RUNNING, "vm": CLAIMED}, 5),
    ("resized in place, unseen", RESIZED, [consumer("vm", THREE)], "vanished, started-unseen", {"vm": RUNNING}, 3),
    (
        "resized in place",
        [*RESIZED, started("vm", "host", THREE)],
        [consumer("vm", THREE)],
        "vanished",
        {"vm": RUNNING},
        3,
    ),
    (
        "resized in place, and back",
        [*RESIZED, started("vm", "host", THREE)],
        [consumer("vm", TWO)],
        "vanished",
        {MIGRATION: RUNNING},
        2,
    ),
    (
        "held under another's uuid",
        [claim("vm", "host", TWO, instance="vm-2")],
        [consumer("vm", THREE)],
        "displaced, unclaimed-start",
        {"vm": RUNNING},
        3,
    ),
    (
        "each held under the other's uuid",
        [
            claim("vm", "host", TWO, instance="vm-2"),
            claim("vm-2", "host", THREE, instance="vm"),
            claim("vm-3", "host", TWO),
        ],
        [consumer("vm", TWO), consumer("vm-2", THREE)],
        "displaced, displaced, unclaimed-start, unclaimed-start",
        {"vm": RUNNING, "vm-2": RUNNING, "vm-3": CLAIMED},
        7,
    ),
]


@pytest.mark.parametrize(
    "said, runs, noted, held, used", [row[1:] for row in DIVERGENCES], ids=[row[0] for row in DIVERGENCES]
)
def test_one_report_heals(said, runs, noted, held, used):
    cell = Cell(report("host"), *said)
    before = cell.projection.counts["divergence"]
    assert cell.say(report("host", *runs)) == noted
    assert cell.holdings() == {("host", uuid_of(name)): state for name, state in held.items()}
    assert cell.used("host") == used
    assert cell.projection.counts["divergence"] - before == (0 if noted == "ok" else len(noted.split(", ")))
    host = cell.projection.hosts["host"]
    assert host.running_digest == consumers_digest(runs)
    assert cell.say(confirmation(report("host", *runs))) == "ok"
    with unchanged_by(cell):
        assert cell.say(report("host", *runs)) == "ok"


def test_the_first_report_of_a_host_is_no_divergence():
    cell = Cell()
    assert cell.say(report("host", consumer("vm", TWO), consumer("vm-2", THREE))) == "ok"
    assert cell.used("host") == 5


def test_the_reported_order_does_not_matter():
    runs = [consumer("vm", TWO), consumer("vm-2", THREE), consumer("vm-3", of("host", 1))]
    said = [claim("vm", "host", TWO), started("vm-2", "host", TWO), started("vm-4", "host", TWO)]
    digests = {
        state_digest(Cell(report("host"), *said, report("host", *order)).projection) for order in (runs, runs[::-1])
    }
    assert len(digests) == 1


def test_a_reported_instance_keeps_the_rule_of_its_claim_else_its_own():
    kept, own = rule("group", domain="a", partition="x"), rule("group", domain="b", partition="y")
    cell = Cell(report("host"), claim("vm", "host", TWO, rule=kept))
    cell.say(report("host", consumer("vm", THREE, rule=own), consumer("vm-2", TWO, rule=own)))
    assert cell.projection.groups.domains == {uuid_of("group"): {"a": {"x": 1}, "b": {"y": 1}}}


def test_a_digest_that_is_known_spares_looking_at_the_consumers():
    cell = Cell(report("host", consumer("vm", TWO)))
    said = report("host", consumer("vm", TWO), num_io_ops=3)._replace(consumers=b"\xc1 cannot be read")
    assert cell.say(said) == "ok"
    assert cell.projection.hosts["host"].status.num_io_ops == 3


def test_consumers_count_and_not_what_their_digest_says():
    cell = Cell(report("host", consumer("vm", TWO)))
    assert cell.say(report("host", consumer("vm-2", THREE), consumers_digest=5)) == "vanished, unclaimed-start"
    assert cell.holdings() == {("host", uuid_of("vm-2")): RUNNING}


# --- confirmations -------------------------------------------------------------------------------------------------

SAID = report("host", consumer("vm", TWO), metrics={"load": 1, "zero": -0.0})

CONFIRMATIONS = [
    # what came between the report and its confirmation, what is noted
    ([], "ok"),
    ([claim("vm-2", "host", THREE)], "ok"),
    ([events.HostLost("host", ""), events.HostSeen("host")], "ok"),
    ([moved("host", "vm", MIGRATION)], "ok"),
    ([started("vm-2", "host", THREE)], "digest-mismatch"),
    ([started("vm-2", "host", THREE), deleted("vm-2", "host")], "ok"),
    ([deleted("vm", "host")], "digest-mismatch"),
    ([report("host", consumer("vm", TWO))], "digest-mismatch"),
    (
        [report("host", consumer("vm", TWO), inventory=tree("host", cpu_info="{1}"), metrics={"load": 1, "zero": 0})],
        "digest-mismatch",
    ),
    ([events.HostRemoved("host", "")], "unknown-host"),
]


@pytest.mark.parametrize("between, noted", CONFIRMATIONS)
def test_confirmations(between, noted):
    cell = Cell(SAID, *between)
    with unchanged_by(cell):
        assert cell.say(confirmation(SAID)) == noted
    if noted != "ok":
        assert (cell.noted[-1].host, cell.noted[-1].resync) == ("host", True)


def test_what_an_agent_confirms_is_what_the_log_has_after_it_travelled():
    cell = Cell()
    voice = cell.voice("compute_agent/host")
    for data in (SAID, confirmation(SAID)):
        assert cell.append(codec.decode_record(record_of(voice.say(data))).events) == "ok"
