"""At least once, exactly one effect: duplicates, gaps, incarnations, roles, records that do not belong here."""

import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import MAX_KEPT, Projection
from rpc_api import codec, errors, events
from rpc_api.codec import DecodedRecord, SetAside
from tests.builders import (
    AT_NS,
    EPOCH,
    REQUEST,
    Cell,
    Voice,
    claim,
    consumer_put,
    created,
    deleted,
    expired,
    imported,
    inventory_of,
    moved,
    of,
    providers_reported,
    put,
    put_inventories,
    released,
    report,
    started,
    uuid_of,
)
from tests.nova_sched.projection import unchanged_by

AGENT = "compute_agent/host"


def numbered(epoch, sequence, name="CUSTOM"):
    """An event of the host's agent that changes the state, with any number."""
    return codec.make_event(report("host", metrics={name: float(sequence)}), AGENT, epoch, sequence, AT_NS)


SEQUENCES = [
    # (epoch, sequence) of the events one after the other with the result of each; the last that counted
    ("in order", [(1, 1, "ok"), (1, 2, "ok"), (1, 3, "ok")], (1, 3)),
    ("a duplicate", [(1, 1, "ok"), (1, 1, "duplicate"), (1, 2, "ok")], (1, 2)),
    ("an old one", [(1, 1, "ok"), (1, 2, "ok"), (1, 1, "duplicate"), (1, 2, "duplicate")], (1, 2)),
    ("a gap", [(1, 1, "ok"), (1, 3, "sequence-gap"), (1, 4, "ok")], (1, 4)),
    ("what was left out comes late", [(1, 1, "ok"), (1, 3, "sequence-gap"), (1, 2, "duplicate")], (1, 3)),
    ("the beginning is missing", [(1, 5, "sequence-gap"), (1, 6, "ok")], (1, 6)),
    ("started again", [(1, 1, "ok"), (1, 2, "ok"), (7, 1, "ok"), (7, 2, "ok")], (7, 2)),
    ("started again with a gap", [(1, 1, "ok"), (7, 2, "sequence-gap")], (7, 2)),
    ("an earlier incarnation", [(7, 1, "ok"), (1, 1, "stale-epoch"), (1, 9, "stale-epoch"), (7, 2, "ok")], (7, 2)),
    ("the largest numbers", [(2**63 - 1, 2**63 - 1, "sequence-gap"), (2**63 - 1, 1, "duplicate")], (2**63 - 1,) * 2),
]


@pytest.mark.parametrize("said, last", [row[1:] for row in SEQUENCES], ids=[row[0] for row in SEQUENCES])
def test_sequences(said, last):
    cell = Cell(report("other"))
    for epoch, sequence, outcome in said:
        counts = cell.projection.counts.copy()
        before = state_digest(cell.projection)
        became = cell.append([numbered(epoch, sequence)])
        if outcome in ("duplicate", "stale-epoch"):
            assert state_digest(cell.projection) == before
            assert cell.projection.counts[outcome] == counts[outcome] + 1
            assert became == ("ok" if outcome == "duplicate" else outcome)
        else:
            assert state_digest(cell.projection) != before
            assert became == outcome
    assert cell.projection.producers[AGENT] == last


def test_a_gap_of_an_agent_asks_its_host_to_report():
    cell = Cell(report("host"))
    cell.append([codec.make_event(started("vm", "host"), AGENT, 1, 9, AT_NS)])
    gap = cell.noted[0]
    assert (gap.kind, gap.host, gap.resync) == ("sequence-gap", "host", True)
    assert gap.detail == "compute_agent/host goes to 9, expected 2"
    cell.append([codec.make_event(events.HostSeen("host"), "conductor/one", 1, 9, AT_NS)])
    assert not cell.noted[-1].resync


def test_each_producer_counts_for_itself():
    cell = Cell(report("host"))
    assert cell.say(claim("vm-1", "host"), by="scheduler/a") == "accepted"
    assert cell.say(claim("vm-2", "host"), by="scheduler/b") == "accepted"
    assert cell.projection.producers == {AGENT: (1, 1), "scheduler/a": (1, 1), "scheduler/b": (1, 1)}


def test_a_duplicated_claim_has_one_effect_and_one_outcome():
    cell = Cell(report("host"))
    event = Voice("scheduler/a").say(claim("vm", "host", of("host", 2)))
    assert cell.append([event, event, event]) == "accepted"
    assert cell.used("host") == 2
    assert len(cell.outcomes) == 1


def test_a_set_aside_event_does_not_count_as_said():
    cell = Cell(report("host"))
    assert cell.say(report("host", inventory=b"")) == "invalid"
    assert cell.projection.producers[AGENT] == (1, 1)
    assert cell.say(report("host")) == "sequence-gap"


# --- roles -------------------------------------------------------------------------------------------------------

BY = [
    "scheduler/a",
    "shadow/a",
    "conductor/a",
    "compute_agent/host",
    "operator/a",
    "placement/a",
    "compute_agent",
    "stranger/a",
    "",
    "/",
    "Scheduler/a",
]

SAMPLES = [
    events.LogOpened("cell1", EPOCH),
    events.LogRebased("cell1", 0),
    events.AccountsRequired(False),
    events.LevelPinned(2),
    report("host"),
    events.HostConfirmed("host", 0),
    events.HostLost("host", ""),
    events.HostSeen("host"),
    events.HostRemoved("host", ""),
    events.InstancesTracked("host", (events.TrackedInstance(uuid_of("vm-9"), {}),), ()),
    claim("vm-2", "host"),
    released("vm"),
    expired("vm"),
    events.ClaimsWatched(0, 1, ()),
    started("vm", "host"),
    deleted("vm", "host"),
    moved("host", "vm", "vm-3"),
    events.BuildFailed(uuid_of("vm"), "", "host", 1, "", True),
    events.DecisionMade("", uuid_of("vm"), 0, "", "", None, (), 0, b""),
    events.DecisionCompared("", uuid_of("vm"), "", "", (), None, "", "", "", "", "", 0, 0, b""),
    events.RequestRefused("", (uuid_of("vm"),), ""),
    events.AggregateUpdated(uuid_of("agg"), "agg", (), {}),
    events.AggregateDeleted(uuid_of("agg")),
    events.GroupAnchored(uuid_of("group"), "cell1", "host", 0),
    events.GroupFenced(uuid_of("group"), 1),
    events.LogRestored("cell1", uuid_of("log"), uuid_of("before"), 7),
    events.StateKept(uuid_of("checkpoint"), 0, 0, 1, b"state"),
    events.CheckpointNamed(uuid_of("checkpoint"), 0, 1, 1),
    providers_reported("host"),
    events.AuthorityPassed("host", "nova"),
    events.HostDisabled("host", ""),
    events.HostEnabled("host"),
    created("pool"),
    events.ProviderChanged(uuid_of("pool"), "other", None, True, *REQUEST),
    events.ProviderDeleted(uuid_of("pool"), *REQUEST),
    put_inventories("pool", inventory_of("DISK_GB")),
    events.TraitsPut(uuid_of("pool"), None, ("CUSTOM_FAST",), *REQUEST),
    events.AggregatesPut(uuid_of("pool"), None, (uuid_of("agg"),), *REQUEST),
    put(consumer_put("vm", of("pool", 1, "DISK_GB"))),
    events.AllocationsDropped(uuid_of("vm"), *REQUEST),
    events.Reshaped((), (), *REQUEST),
    events.AllocationsPrepared(uuid_of("write"), "cell1", ("cell1", "cell2"), (consumer_put("vm"),), *REQUEST),
    events.WriteCommitted(uuid_of("write"), (uuid_of("vm"),), *REQUEST),
    events.WriteAborted(uuid_of("write"), (uuid_of("vm"),), *REQUEST),
    events.WriteEnded(uuid_of("write"), *REQUEST),
    events.ClassCreated("CUSTOM_A", *REQUEST),
    events.ClassRenamed("CUSTOM_A", "CUSTOM_B", *REQUEST),
    events.ClassDeleted("CUSTOM_A", *REQUEST),
    events.TraitCreated("CUSTOM_A", *REQUEST),
    events.TraitDeleted("CUSTOM_A", *REQUEST),
    imported("pool"),
    events.ConsumerImported(consumer_put("vm"), 3, *REQUEST),
]


def test_there_is_a_sample_of_each_event():
    missing = sorted(set(events.EVENTS) - {type(data).__name__ for data in SAMPLES} - {"PolicyAdopted"})
    assert not missing, (
        f"{', '.join(missing)} has no sample: add one to SAMPLES, so that a test shows that it has no "
        "effect from a producer without the right"
    )


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: type(data).__name__)
def test_only_those_who_may_say_it_are_heard(data):
    for by in BY:
        cell = Cell(report("host"), claim("vm", "host"), events.AggregateUpdated(uuid_of("agg"), "agg", (), {"a": "b"}))
        if data.schema.LEVEL > 1:
            cell.say(events.LevelPinned(data.schema.LEVEL))
        role = by.split("/")[0]
        before = state_digest(cell.projection)
        outcome = cell.say(data, by=by)
        assert (outcome == "not-allowed") == (role not in data.schema.ROLES), by
        if outcome == "not-allowed":
            assert state_digest(cell.projection) == before


# --- records -----------------------------------------------------------------------------------------------------


def test_a_record_of_another_epoch_changes_nothing():
    cell = Cell(report("host"))
    before = state_digest(cell.projection)
    voice = Voice("scheduler/a")
    assert (
        cell.append([voice.say(claim("vm", "host")), voice.say(claim("vm-2", "host"))], epoch="x" * 100)
        == "foreign-epoch"
    )
    assert (state_digest(cell.projection), cell.outcomes) == (before, [])
    assert cell.projection.quarantine[-1].reason == f"a record for epoch {'x' * 40}, the log's is {EPOCH}"
    assert cell.projection.position == 1


def test_a_record_that_cannot_be_read_changes_nothing_and_is_kept():
    cell = Cell(report("host"))
    before = state_digest(cell.projection)
    cell.records.append((1, codec.decode_record(b"\xc1")))
    cell.projection.fold(cell.records[-1:])
    assert state_digest(cell.projection) == before
    kept = cell.projection.quarantine[-1]
    assert (kept.position, kept.index, kept.code, kept.raw) == (1, 0, "undecodable", b"\xc1")
    assert cell.projection.counts == {"HostReported": 1, "set-aside": 1, "set-aside:undecodable": 1}


def test_what_is_set_aside_leaves_the_rest_of_its_record():
    cell = Cell(report("host"))
    voice = Voice("scheduler/a")
    batch = [voice.say(claim("vm", "host")), SetAside("invalid", "broken", b""), voice.say(claim("vm-2", "host"))]
    assert cell.append(batch) == "accepted, accepted, invalid"
    assert cell.projection.quarantine[-1][:3] == (1, 1, "invalid")


POSITIONS = [
    # positions folded, the result of the last
    ([0, 1, 2], None),
    ([7, 8], None),
    # A stream leaves offsets out, and its reader knows whether a record is missing.
    ([0, 1, 3], None),
    ([0, 100], None),
    ([0, 0], "from position 0 back to 0"),
    ([5, 4], "from position 5 back to 4"),
    ([3, 4, 0], "from position 4 back to 0"),
]


@pytest.mark.parametrize("positions, gap", POSITIONS)
def test_positions(positions, gap):
    voice = Voice("scheduler/a")
    records = [
        (position, DecodedRecord(EPOCH, [voice.say(claim(f"vm-{number}", "host"))]))
        for number, position in enumerate(positions)
    ]
    projection = Projection("cell1")
    if gap is None:
        projection.fold(records)
        assert projection.position == positions[-1]
        return
    with pytest.raises(errors.LogGap, match=gap):
        projection.fold(records)
    same = Projection("cell1")
    same.fold(records[:-1])
    assert (projection.position, state_digest(projection)) == (positions[-2], state_digest(same))


def test_only_the_last_of_what_is_noted_and_set_aside_is_kept():
    cell = Cell(report("host"))
    cell.append([SetAside("invalid", str(number), b"") for number in range(MAX_KEPT + 5)])
    cell.append(
        [
            codec.make_event(events.HostSeen("host"), "conductor/one", 1, 2 * number, AT_NS)
            for number in range(1, MAX_KEPT + 5)
        ]
    )
    assert [kept.reason for kept in cell.projection.quarantine][:2] == ["5", "6"]
    assert len(cell.projection.quarantine) == len(cell.projection.noted) == MAX_KEPT
    assert cell.projection.counts["set-aside"] == MAX_KEPT + 5


def test_a_refused_claim_is_counted_as_refused():
    cell = Cell(report("host"), claim("vm", "host", of("host", 9)), claim("vm-2", "host"))
    assert (cell.projection.counts["claim-refused"], cell.projection.counts["claim-accepted"]) == (1, 1)


def test_folding_twice_in_two_processes_with_duplicates_between():
    """Two readers get the same records; one of them gets each of an agent's batches twice, in other records."""
    voice, agent = Voice("scheduler/a"), Voice(AGENT)
    batches = [
        [agent.say(report("host"))],
        [voice.say(claim("vm", "host", of("host", 2)))],
        [agent.say(started("vm", "host", of("host", 2)))],
    ]
    once, twice = Cell(), Cell()
    for batch in batches:
        once.append(batch)
        twice.append(batch)
        with unchanged_by(twice):
            twice.append(batch)
    assert state_digest(once.projection) == state_digest(twice.projection)
