"""Pins: from which event on a log has a level, who knows it, and what records of other levels do."""

import msgpack
import numpy as np
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
from rpc_api.digest import pool_key
from rpc_api.levels import LEVEL
from rpc_api.packing import pack
from tests.builders import (
    EPOCH,
    Cell,
    claim,
    consumer,
    expired,
    inventory_of,
    of,
    pool,
    released,
    report,
    speaker_of,
    started,
    tree,
    uuid_of,
)

PIN = events.LevelPinned(2)
REBASED = events.LogRebased("cell1", 5)


def test_a_rule_is_in_force_from_its_level_on():
    assert rules_of(1) == Rules(**dict.fromkeys(Rules._fields, False))
    assert rules_of(max(SINCE.values())) == Rules(**dict.fromkeys(Rules._fields, True))
    assert set(SINCE) == set(Rules._fields) and {*SINCE.values()} <= set(range(2, LEVEL + 1))
    for level in range(1, LEVEL + 1):
        assert rules_of(level)._asdict() == {rule: since <= level for rule, since in SINCE.items()}


PINS = {
    "the next level": ((2,), "pinned", 2),
    "level by level": (range(2, LEVEL + 1), "pinned", LEVEL),
    "the same level again": ((LEVEL, LEVEL), "ok", LEVEL),
    "levels in between are skipped": ((LEVEL,), "pinned", LEVEL),
    "a lower level": ((LEVEL, LEVEL - 1), "lower-level", LEVEL),
    "level 1": ((1,), "lower-level", 1),
    "level 0": ((0,), "lower-level", 1),
}


@pytest.mark.parametrize("name", PINS)
def test_a_pin(name):
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


@pytest.mark.parametrize(("pinned", "level"), [(2, 1), (LEVEL, 1), (LEVEL, LEVEL - 1)])
@pytest.mark.parametrize("name", OLDER)
def test_a_record_of_a_lower_level(name, pinned, level):
    data, wanted = OLDER[name]
    cell = Cell(report("host"), events.LevelPinned(pinned))
    producer = speaker_of(data)
    assert cell.say(data, level=level) == wanted
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
    for level in range(2, LEVEL + 1):
        before = state_digest(cell.projection)
        cell.say(events.LevelPinned(level))
        after = state_digest(cell.projection)
        assert after != before
        loaded = snapshot.load(snapshot.dump(cell.projection))
        assert (loaded.level, loaded.rules, state_digest(loaded)) == (level, rules_of(level), after)


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_rebased_log_has_the_level_of_the_rebase(level, pinned):
    """A reader that starts there does not know the pin."""
    cell = Cell(report("host"), *([PIN] if pinned else ()))
    assert cell.say(REBASED, level=level) == "rebased"
    assert (cell.projection.level, cell.projection.hosts) == (level, {})


REBASES = {
    # (level of the log, level of the record, producer): the result
    "at level 2 by a conductor": (2, 2, "conductor/c", "rebased"),
    "at level 2 by a scheduler": (2, 1, "scheduler/s", "rebased"),
    "at level 2 by an operator": (2, 2, "operator/o", "not-allowed"),
    "at level 3 by a conductor": (3, 3, "conductor/c", "not-rebased"),
    "at level 3 by a scheduler": (3, 3, "scheduler/s", "not-rebased"),
    "at level 3 by a conductor of the release before": (3, 2, "conductor/c", "not-rebased"),
    "at level 3 in a log that has lost its pin": (1, 3, "conductor/c", "not-rebased"),
    "at level 3 by an operator": (3, 3, "operator/o", "rebased"),
    "at level 3 by an agent": (3, 3, "compute_agent/host", "not-allowed"),
}


@pytest.mark.parametrize("name", REBASES)
def test_who_may_rebase_a_log_at_which_level(name):
    """At level 3 a log may have API writes, which nobody reports again."""
    of_log, of_record, producer, outcome = REBASES[name]
    cell = Cell(report("host"), *([events.LevelPinned(of_log)] if of_log > 1 else ()))
    before = state_digest(cell.projection)
    assert cell.say(REBASED, by=producer, level=of_record) == outcome
    assert (state_digest(cell.projection) == before) == (outcome != "rebased")


@pytest.mark.parametrize(
    "level, producer, is_whole",
    [(2, "conductor/c", True), (3, "conductor/c", False), (3, "scheduler/s", False), (3, "operator/o", True)],
)
def test_a_reader_that_starts_at_a_rebase_agrees_with_those_that_read_the_whole_log(level, producer, is_whole):
    record = of_level(level, Cell().voice(producer).say(REBASED))
    projection = projection_of_a_cut_log(record)
    assert (projection.whole, projection.level) == (is_whole, level)
    whole = Cell(report("host"), events.LevelPinned(level)).projection
    whole.fold([(9, record)])
    assert (whole.hosts == {}) == is_whole


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


SHOWN = [
    # account of a conductor's record, whether accounts are required, whether it shows the level
    (None, False, True),
    (None, True, False),
    ("nova", False, True),
    ("nova", True, False),
    ("conductor.c", True, True),
    ("conductor.d", False, False),
    ("compute_agent.h", False, False),
]


@pytest.mark.parametrize("account, required, shows", SHOWN)
def test_whose_record_shows_the_level_of_a_log_without_its_pin(account, required, shows):
    """A service that took a log at level 3 for one at level 1 would rebase it."""
    projection = Projection("cell1", whole=False)
    projection.accounts_required = required
    event = Cell().voice("conductor/c").say(events.HostSeen("host"))
    projection.fold([(7, DecodedRecord(EPOCH, [event], account, None, 3))])
    assert projection.level == (3 if shows else 1)


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


# --- several pins -----------------------------------------------------------------------------------------------------

PF, VF = pool(1, product_id="1521", dev_type="type-PF", address="81"), pool(4, dev_type="type-VF", address="81")
TREE = tree("host", inventories=[inventory_of(total=16)], pci_pools=(PF, VF))
TAKEN = "PCI 8086:1521"


def asking(name, *pools):
    """A claim of one device of each pool."""
    uses = tuple(events.PCIUse(pool_key(one), 1, None) for one in pools)
    return claim(name, "host")._replace(guest=pack(events.Guest((), uses, {})))


#: What the rules judge otherwise: 8 VCPU of a provider that is gone, beside the 2 of the claims; functions of a card.
STORY = (report("host", consumer("vm", of("gone", 8)), inventory=TREE), asking("virtual", VF), claim("waiting", "host"))


@pytest.fixture(params=range(2, LEVEL + 1), ids="rules of level {}".format)
def since(request, monkeypatch):
    """All rules need this level."""
    with monkeypatch.context() as patch:
        for rule in SINCE:
            patch.setitem(SINCE, rule, request.param)
        rules_of.cache_clear()
        yield request.param
    rules_of.cache_clear()


def test_each_pin_counts_all_hosts_again(since):
    cell = Cell(*STORY)
    table, root = cell.projection.table, cell.projection.hosts["host"].root
    for level in range(2, LEVEL + 1):
        moment, version = table.touched.version, table.topology_version
        assert cell.say(events.LevelPinned(level)).startswith("pinned")
        assert table.touched.beyond_use_since(moment, np.array([root])).all() and table.topology_version > version
        in_force = level >= since
        assert cell.used("host") == (10 if in_force else 2)
        assert cell.say(asking(f"physical-{level}", PF)) == (TAKEN if in_force else "accepted")
        cell.say(released(f"physical-{level}"))


def test_a_log_that_is_pinned_level_by_level_has_the_state_of_one_that_is_pinned_at_once(since):
    by_level = Cell(*STORY, *map(events.LevelPinned, range(2, LEVEL + 1)))
    # A pin to level 1 has no effect: the last pins have the same position.
    at_once = Cell(*STORY, *[events.LevelPinned(1)] * (LEVEL - 2), events.LevelPinned(LEVEL))
    states = [
        state
        for cell in (by_level, at_once)
        for state in (cell.projection, snapshot.load(snapshot.dump(cell.projection)))
    ]
    assert {(state.level, state.rules) for state in states} == {(LEVEL, rules_of(LEVEL))}
    assert len({*map(state_digest, states)}) == 1
    for cell in (by_level, at_once):
        assert (cell.used("host"), cell.say(asking("physical", PF))) == (10, TAKEN)
        assert cell.say(asking("other", VF)) == "accepted"
    assert state_digest(at_once.projection) == state_digest(by_level.projection)


def test_a_service_of_the_level_before_ends_no_claim_from_after_the_last_pin():
    cell = Cell(report("host"), PIN, claim("between", "host"), events.LevelPinned(LEVEL), claim("after", "host"))
    assert cell.say(released("after"), level=LEVEL - 1) == "older-level"
    # For one from before the last pin its release may have been under way.
    assert cell.say(released("between"), level=LEVEL - 1) in ("ok", "sequence-gap")
    assert set(cell.holdings()) == {("host", uuid_of("after"))}


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
    assert cell.say(REBASED, level=1) == "not-rebased"
    assert cell.say(REBASED, by="operator/o", level=3) == "rebased"
    assert cell.say(report("host"), level=3) == "sequence-gap"  # the marks of producers are gone, too
    assert (cell.projection.level, list(cell.projection.hosts)) == (3, ["host"])


def test_nothing_counts_after_a_pin_but_a_rebase():
    cell = Cell(report("host"), events.LevelPinned(LEVEL + 1))
    assert cell.say(REBASED, by="compute_agent/host", level=1) == "not-allowed"
    assert cell.projection.is_too_new


# --- filters ---------------------------------------------------------------------------------------------------------


def test_a_rule_is_asked_by_the_cell_of_each_host(monkeypatch):
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
    # A rule of a later level is not in force yet.
    monkeypatch.setitem(SINCE, rule, LEVEL)
    assert asked() is False
    version = table.topology_version
    cells[0].say(events.LevelPinned(LEVEL))
    assert table.topology_version > version
    assert list(asked()) == [True, False]


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
