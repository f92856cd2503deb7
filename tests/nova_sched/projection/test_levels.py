"""Pins: from which event on a log has a level, who knows it, and what records of other levels do."""

import msgpack
import pytest

from nova_sched.filters.base import HostView
from nova_sched.projection import snapshot
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.rules import SINCE, Rules, rules_of
from nova_sched.projection.table import HostTable
from rpc_api import codec, errors, events
from rpc_api.codec import DecodedRecord
from rpc_api.levels import LEVEL
from tests.builders import EPOCH, Cell, claim, expired, released, report, speaker_of, started, uuid_of

PIN = events.LevelPinned(2)
REBASED = events.LogRebased("cell1", 5)


def test_a_rule_is_in_force_from_its_level_on():
    assert rules_of(1) == Rules(**dict.fromkeys(Rules._fields, False))
    assert rules_of(max(SINCE.values())) == Rules(**dict.fromkeys(Rules._fields, True))
    assert set(SINCE) == set(Rules._fields)


PINS = {
    "the next level": ((2,), "pinned", 2),
    "the same level again": ((2, 2), "ok", 2),
    "a level in between is skipped": ((3,), "pinned", 3),
    "a lower level": ((3, 2), "lower-level", 3),
    "level 1": ((1,), "lower-level", 1),
    "level 0": ((0,), "lower-level", 1),
}


@pytest.mark.parametrize("name", PINS)
def test_a_pin(name, monkeypatch):
    monkeypatch.setattr("nova_sched.projection.projection.LEVEL", 3)
    pins, last, level = PINS[name]
    cell = Cell(report("host"))
    results = [cell.say(events.LevelPinned(pin)) for pin in pins]
    assert (results[-1], cell.projection.level, cell.projection.rules) == (last, level, rules_of(level))


@pytest.mark.parametrize("producer", ["scheduler/one", "conductor/one", "compute_agent/host"])
def test_only_an_operator_pins(producer):
    cell = Cell(report("host"))
    assert cell.say(PIN, by=producer) == "not-allowed"
    assert cell.projection.level == 1


def test_a_pin_needs_its_account_where_accounts_are_required():
    cell = Cell(report("host"))
    cell.say(events.AccountsRequired(True), account="conductor.one")
    assert cell.say(PIN, by="operator/two") == "not-its-account"
    assert cell.say(PIN, account="operator.one") == "pinned"


OLDER = {
    "a claim": (claim("vm", "host"), str(ClaimRefused.OLDER_LEVEL)),
    "a report": (report("host", disabled=True), "ok"),
    "a start": (started("vm", "host"), "unclaimed-start"),
    "a release": (released("vm"), "ok"),
}


@pytest.mark.parametrize("name", OLDER)
def test_a_record_of_a_lower_level(name):
    data, wanted = OLDER[name]
    cell = Cell(report("host"), PIN)
    producer = speaker_of(data)
    assert cell.say(data, level=1) == wanted
    # It moved the mark of its producer: the next event is not a gap.
    assert cell.projection.producers[producer][1] == cell.voice(producer).sequence


def test_a_claim_behind_a_pin_in_the_same_record_is_of_a_lower_level():
    cell = Cell(report("host"))
    operator, scheduler = cell.voice("operator/one"), cell.voice("scheduler/one")
    batch = [scheduler.say(claim("a", "host")), operator.say(PIN), scheduler.say(claim("b", "host"))]
    assert cell.append(batch) == f"accepted, {ClaimRefused.OLDER_LEVEL}, pinned"


def test_a_record_of_a_higher_level_changes_nothing_in_a_whole_log():
    cell = Cell(report("host"))
    digest = state_digest(cell.projection)
    assert cell.say(claim("vm", "host"), level=2) == "newer-level"
    assert (state_digest(cell.projection), cell.projection.level) == (digest, 1)


MISSED = {
    "a scheduler's": ("scheduler/one", None, False, 1),
    "a conductor's": ("conductor/one", None, False, 1),
    "an agent's": ("compute_agent/host", None, False, 0),
    "one without its account": ("conductor/one", None, True, 0),
    "one with its account": ("conductor/one", "conductor.one", True, 1),
}


@pytest.mark.parametrize("name", MISSED)
def test_only_a_service_that_folds_the_log_shows_that_a_pin_is_missed(name):
    producer, account, required, missed = MISSED[name]
    cell = Cell(report("host"))
    if required:
        cell.say(events.AccountsRequired(True), by="conductor/two", account="conductor.two")
    cell.say(
        report("host")
        if "agent" in producer
        else events.HostSeen("host")
        if "conductor" in producer
        else claim("vm", "host"),
        by=producer,
        account=account,
        level=2,
    )
    assert cell.projection.counts["missed-pin"] == missed


def test_a_pin_changes_the_digest_and_what_is_kept_and_a_snapshot_has_the_level():
    cell = Cell(report("host"))
    assert snapshot.load(snapshot.dump(cell.projection)).level == 1
    before = state_digest(cell.projection)
    cell.say(PIN)
    assert state_digest(cell.projection) != before
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert (loaded.level, loaded.rules, state_digest(loaded)) == (2, rules_of(2), state_digest(cell.projection))


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_rebased_log_has_the_level_of_the_rebase(level, pinned):
    """A reader that starts there does not know the pin."""
    cell = Cell(report("host"), *([PIN] if pinned else ()))
    assert cell.say(REBASED, level=level) == "rebased"
    assert (cell.projection.level, cell.projection.hosts) == (level, {})


def projection_of_a_cut_log(*records):
    projection = Projection("cell1", whole=False)
    projection.fold(enumerate(records, 5))
    return projection


def of_level(level, *batch):
    return DecodedRecord(EPOCH, list(batch), None, None, level)


HEADLESS = {
    "a rebase has the level": ([(2, REBASED)], 2, True),
    "a scheduler's record shows the level": ([(2, claim("vm", "host"))], 2, False),
    "a rebase has the last word": ([(2, claim("vm", "host")), (1, REBASED)], 1, True),
    "an agent's record shows nothing": ([(2, report("host"))], 1, False),
    "no record shows a level": ([(1, REBASED)], 1, True),
}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_reader_of_a_log_whose_pin_was_removed_takes_the_level_from_its_records(name):
    said, level, whole = HEADLESS[name]
    voices = Cell()
    records = []
    for record_level, data in said:
        producer = "compute_agent/host" if data.schema.__name__ == "HostReported" else "scheduler/one"
        records.append(of_level(record_level, voices.voice(producer).say(data)))
    projection = projection_of_a_cut_log(*records)
    assert (projection.level, projection.whole) == (level, whole)


# --- a level that this process does not know -------------------------------------------------------------------------


def test_nothing_counts_after_a_pin_to_an_unknown_level():
    cell = Cell(report("host"))
    assert cell.say(events.LevelPinned(LEVEL + 1)) == "pinned"
    assert cell.projection.is_too_new
    for data in (report("else"), claim("vm", "host")):
        assert cell.say(data) == "ok"
    assert (list(cell.projection.hosts), cell.projection.consumers) == (["host"], {})
    assert (cell.projection.counts["too-new"], cell.projection.position) == (2, 3)
    with pytest.raises(errors.UnknownSchema, match=f"pinned to level {LEVEL + 1}, this version knows 1 to {LEVEL}"):
        snapshot.dump(cell.projection)


@pytest.mark.parametrize(
    ("account", "is_too_new"),
    [(None, True), ("scheduler.s", True), ("conductor", True), ("compute_agent.h", False), ("compute_agent", False)],
)
def test_a_cut_log_with_records_of_an_unknown_level_is_too_new_unless_they_are_an_agents(account, is_too_new):
    record = codec.decode_record(msgpack.packb([LEVEL + 1, EPOCH, ["of another form"]]), account)
    projection = projection_of_a_cut_log(record)
    assert (projection.is_too_new, projection.epoch) == (is_too_new, None)


def test_a_rebase_at_a_known_level_makes_a_log_known_again():
    """For a reader that starts there, too, it is the first record that counts."""
    cell = Cell(report("host"), events.LevelPinned(LEVEL + 1))
    cell.say(report("lost"), level=1)
    assert cell.say(REBASED, level=1) == "rebased"
    assert cell.say(report("host"), level=1) == "sequence-gap"  # the marks of producers are gone, too
    assert (cell.projection.level, list(cell.projection.hosts)) == (1, ["host"])


def test_nothing_counts_after_a_pin_but_a_rebase():
    cell = Cell(report("host"), events.LevelPinned(LEVEL + 1))
    assert cell.say(REBASED, by="compute_agent/host", level=1) == "not-allowed"
    assert cell.projection.is_too_new


# --- filters ---------------------------------------------------------------------------------------------------------


def test_a_rule_is_asked_by_the_cell_of_each_host():
    table = HostTable()
    cells = [Cell(report(f"host-{name}"), cell=name, table=table) for name in ("cell1", "cell2")]
    rule = next(iter(SINCE))

    def asked():
        return HostView(table, table.roots()).by_rule(rule)

    assert asked() is False
    version = table.topology_version
    cells[1].say(PIN)
    assert table.topology_version > version
    assert list(asked()) == [False, True]
    cells[0].say(PIN)
    assert asked() is True


# --- services of the level before ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [released, expired])
def test_a_service_that_does_not_know_the_pin_ends_no_claim_that_was_made_after_it(end):
    cell = Cell(report("host"), claim("before", "host"), PIN)
    assert cell.say(claim("after", "host")) == "accepted"
    assert cell.say(end("after"), level=1) == "older-level"
    assert set(cell.holdings()) == {("host", uuid_of("before")), ("host", uuid_of("after"))}
    # Both ways for one from before the pin: its release may have been under way.
    assert cell.say(end("before"), level=1) in ("ok", "sequence-gap")
    assert set(cell.holdings()) == {("host", uuid_of("after"))}
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert (loaded.pinned_at, state_digest(loaded)) == (2, state_digest(cell.projection))
    assert cell.say(end("after")) in ("ok", "sequence-gap")
    assert cell.holdings() == {}
