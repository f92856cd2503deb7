"""The laws under every fault that a seed can draw, and the proof that the checks can fail:
planted bugs are each caught."""

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from conductor.engine import CellEngine
from nova_sched.cli.main import main
from nova_sched.playground.simulation import agent_node
from nova_sched.playground.simulation import cloud as simulated
from nova_sched.playground.simulation.cloud import run
from nova_sched.playground.simulation.script import NO_FAULTS, Faults, Stimulus, write
from nova_sched.playground.simulation.shrink import shrink
from nova_sched.projection import claim_checks, fold
from nova_sched.projection.allocations import take_out
from nova_sched.projection.digest import free_entries
from nova_sched.projection.projection import Projection
from nova_sched.scheduler.claim_actions import ACTIONS
from nova_sched.scheduler.claim_life import Action
from nova_sched.scheduler.requests import Requests
from rpc_api.errors import SnapshotMismatch

STEPS = 30


def _faults_of(seeds):
    """The seeds that fail, with what does not hold."""
    import logging

    from rpc_api import concurrency

    concurrency.setup()
    logging.disable(logging.CRITICAL)
    outcomes = [run(seed, STEPS) for seed in seeds]
    return [(outcome.seed, outcome.steps, outcome.fault) for outcome in outcomes if outcome.fault is not None], sum(
        outcome.counts["events"] for outcome in outcomes
    )


@pytest.mark.timeout(1800)  # it takes all processors, and others may want some
@pytest.mark.parametrize("seeds", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_many_seeds_hold(seeds):
    parts = [range(first, first + 25) for first in range(0, seeds, 25)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(_faults_of, parts))
    assert not [fault for faults, _ in answers for fault in faults]
    assert sum(events for _, events in answers) > 100 * seeds


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_events_hold():
    events = seed = 0
    while events < 1_000_000:
        outcome = run(seed, 20_000)
        assert outcome.fault is None, f"seed {seed}, step {outcome.steps}: {outcome.fault}"
        events, seed = events + outcome.counts["events"], seed + 1


def test_a_seed_gives_the_same_run():
    first = run(11, 100)
    assert run(11, 100) == first
    assert run(12, 100).digest != first.digest


def test_without_faults_everything_that_fits_is_built():
    outcome = run(5, 100, NO_FAULTS)
    assert outcome.fault is None
    assert outcome.counts["built"] == outcome.counts["selections"] > 20
    assert "max_retries_exceeded" not in outcome.counts


# --- planted bugs ------------------------------------------------------------------------------------------------


def plant_no_room_check(patch):
    patch.setattr(claim_checks, "misfit", lambda *arguments: None)


def plant_no_device_check(patch):
    patch.setattr(claim_checks, "guest_refusal", lambda *arguments: None)


def plant_no_group_check(patch):
    patch.setattr(claim_checks, "rule_refusal", lambda *arguments: None)


def plant_duplicates_count(patch):
    patch.setattr(Projection, "_is_next", lambda *arguments: True)


def plant_answer_before_read_back(patch):
    decide = Requests._decide_now

    def hasty(self, instance):
        decide(self, instance)
        if instance.claim is not None and not instance.ask.over and len(instance.ask.instances) == 1:
            self._finish(instance.ask, [instance.placed], 0.0)

    patch.setattr(Requests, "_decide_now", hasty)


def plant_no_reaper(patch):
    from conductor.reaper import Reaper

    patch.setattr(Reaper, "expired", lambda *arguments: [])


def plant_release_forgotten(patch):
    for action in (Action.RELEASE, Action.RELEASE_AND_DECIDE_ELSEWHERE):
        patch.setitem(ACTIONS, action, ACTIONS[Action.NOTHING])
    from conductor.reaper import Reaper

    patch.setattr(Reaper, "expired", lambda *arguments: [])


def plant_deletion_not_folded(patch):
    patch.setitem(fold.HANDLERS, "InstanceDeleted", fold.counted)
    patch.setitem(fold.HANDLERS, "HostConfirmed", fold.counted)


def plant_snapshot_without_fences(patch):
    """A reader that starts from a snapshot knows less than one that has read everything."""
    from nova_sched.projection import snapshot

    load = snapshot.load

    def forgetful(packed, table=None):
        projection = load(packed, table)
        projection.producers.clear()
        return projection

    patch.setattr(snapshot, "load", forgetful)


def plant_any_account_speaks(patch):
    patch.setattr("nova_sched.projection.speakers.speaks_for", lambda account, producer: True)


def plant_unproven_snapshots_count(patch):
    """Epoch and position are compared, as it was before snapshots had a proof."""
    from rpc_api.log import proving

    patch.setattr(
        proving,
        "check",
        lambda log, bounds, proof: None if bounds.first - 1 <= proof[-1][0] <= bounds.last else "another position",
    )


def plant_lost_tails_unnoticed(patch):
    """A reader goes on at its position in a log that lost records and has grown again."""
    from rpc_api.log import proving

    patch.setattr(proving, "lost", lambda *arguments: None)


def plant_a_pin_counts_for_its_whole_batch(patch):
    """A reader applies the new level to the records before the pin, too, if they come in one batch."""
    fold_records = Projection.fold

    def early(self, records):
        records = list(records)
        if len(records) > 1:
            for _, record in records:
                for event in record.events:
                    if getattr(event, "name", None) == "LevelPinned" and event.data.level > self.level:
                        self.use_level(event.data.level)
        return fold_records(self, records)

    patch.setattr(Projection, "fold", early)


def plant_a_snapshot_loses_the_pin(patch):
    from nova_sched.projection import snapshot

    load = snapshot.load

    def forgetful(packed, table=None):
        projection = load(packed, table)
        projection.use_level(1)
        return projection

    patch.setattr(snapshot, "load", forgetful)


def plant_claims_of_a_lower_level_count(patch):
    """A reader that does not refuse claims from before the pin; its log does."""
    fold_event = Projection._fold_event

    def lenient(self, position, index, event, is_older, outcomes, noted):
        return fold_event(self, position, index, event, is_older and "Oracle" in type(self).__name__, outcomes, noted)

    patch.setattr(Projection, "_fold_event", lenient)


def plant_use_dropped(patch):
    """Use of a provider that is gone is counted nowhere, as below level 2."""
    patch.setattr("nova_sched.projection.use._first_row", lambda *arguments: None)


def plant_allocations_without_room(patch):
    patch.setattr("nova_sched.projection.writes._room_refusal", lambda *arguments: None)


def plant_a_generation_that_stays(patch):
    patch.setattr("nova_sched.projection.provider_writes.mark_written", lambda *arguments, **more: None)


def plant_half_of_a_write(patch):
    """Of several consumers only the first one is written."""
    from nova_sched.projection import writes

    put_all = writes.put_all
    patch.setattr(writes, "put_all", lambda state, consumers, *rest: put_all(state, consumers[:1], *rest))


def plant_a_refused_write_that_counts(patch):
    """A consumer that is not as the client thinks loses what it holds, although the write is refused."""
    from nova_sched.projection import writes

    refusal = writes.put_refusal

    def hasty(state, consumers, instead):
        reason = refusal(state, consumers, instead)
        if reason is not None:
            writes.take_out(state, consumers[0].consumer_uuid)
        return reason

    patch.setattr(writes, "put_refusal", hasty)


def plant_a_snapshot_without_generations(patch):
    from nova_sched.projection import snapshot

    load = snapshot.load

    def forgetful(packed, table=None):
        projection = load(packed, table)
        projection.table.generation[:] = 1
        return projection

    patch.setattr(snapshot, "load", forgetful)


def _checkpoints_forget(patch, forget):
    """Plant that the makers of checkpoints forget something of the state. Snapshots outside of the log are whole."""
    from nova_sched.playground.simulation import nodes
    from nova_sched.projection import snapshot

    keep = nodes.keep_in_log

    def keep_less(world, projection, publish):
        if projection.rules.one_ledger:
            projection = snapshot.load(snapshot.dump(projection))
            forget(projection)
        keep(world, projection, publish)

    patch.setattr(nodes, "keep_in_log", keep_less)


def plant_a_checkpoint_without_consumer_generations(patch):
    def forget(projection):
        for holder in projection.holders.values():
            holder.generation = 1

    _checkpoints_forget(patch, forget)


def plant_a_checkpoint_without_aggregates_of_providers(patch):
    def forget(projection):
        projection.table.row_aggregates[:] = [()] * len(projection.table.row_aggregates)

    _checkpoints_forget(patch, forget)


def plant_a_checkpoint_without_consumers_of_pools(patch):
    """What is held of no host's providers is forgotten, as when only the entries of hosts are kept."""

    def forget(projection):
        for consumer, entry in free_entries(projection).items():
            if entry.claim_uuid is None:
                take_out(projection, consumer)

    _checkpoints_forget(patch, forget)


def plant_a_checkpoint_without_producers(patch):
    """A reader does not know which events came before, so it takes a duplicate of one for a new event."""
    _checkpoints_forget(patch, lambda projection: projection.producers.clear())


def plant_anyone_may_keep_a_state(patch):
    patch.setattr("nova_sched.process.checkpoints.may_keep", lambda *arguments, **more: True)


def plant_unproven_checkpoints_count(patch):
    """A reader starts at any complete checkpoint, also in a log that lost records and has grown again."""
    from nova_sched.process import checkpoints

    def content(log, bounds, cell, epoch, candidate, accounts_required):
        try:
            return checkpoints.content_of(log, bounds, cell, candidate, accounts_required)
        except SnapshotMismatch:
            return None

    patch.setattr(checkpoints, "_fitting", content)


def plant_records_removed_that_no_checkpoint_covers(patch):
    patch.setattr(simulated.SimCloud, "_covered", lambda self, cell: None)


PLANTED = {
    plant_allocations_without_room: "are used, its capacity is",
    plant_a_generation_that_stays: "generations rose by",
    plant_half_of_a_write: "written was",
    plant_a_refused_write_that_counts: "a refused .* changed|is counted|another state",
    plant_a_snapshot_without_generations: "has another state",
    plant_use_dropped: "is held on .*, and .* is counted",
    plant_a_pin_counts_for_its_whole_batch: "another state|without an accepted claim",
    plant_a_snapshot_loses_the_pin: "another state|without an accepted claim",
    plant_claims_of_a_lower_level_count: "another state|without an accepted claim",
    plant_unproven_snapshots_count: "has another state",
    plant_lost_tails_unnoticed: "has another state",
    plant_any_account_speaks: "a forged record changed the state",
    plant_no_room_check: "was accepted that makes",
    plant_no_device_check: "CPUs that are not its own|pages of|a PCI device too many",
    plant_no_group_check: "group",
    plant_duplicates_count: "accepted twice|another state|outlives|differing",
    plant_answer_before_read_back: "without an accepted claim",
    plant_no_reaper: "outlives its end",
    plant_release_forgotten: "outlives its end",
    plant_deletion_not_folded: "differing in",
    plant_snapshot_without_fences: "has another state",
    plant_a_checkpoint_without_consumer_generations: "has another state",
    plant_a_checkpoint_without_aggregates_of_providers: "has another state",
    plant_a_checkpoint_without_consumers_of_pools: "has another state",
    plant_a_checkpoint_without_producers: "has another state",
    plant_anyone_may_keep_a_state: "has another state",
    plant_unproven_checkpoints_count: "has another state",
    plant_records_removed_that_no_checkpoint_covers: "has another state|schedules nothing|is at -?[0-9]+ of",
}


#: Bugs that need many seeds to be seen.
SELDOM = {plant_no_device_check, plant_anyone_may_keep_a_state, plant_no_group_check}


@pytest.mark.parametrize(
    "plant",
    [pytest.param(plant, id=plant.__name__, marks=[pytest.mark.long] if plant in SELDOM else []) for plant in PLANTED],
)
def test_a_planted_bug_is_caught(plant, monkeypatch):
    plant(monkeypatch)
    for seed in range(80):
        outcome = run(seed, 120)
        if outcome.fault is not None:
            break
    import re

    assert outcome.fault is not None and re.search(PLANTED[plant], outcome.fault), outcome.fault


#: A cloud whose messages come and whose agents do not confirm what they said: what a log lost of it comes back only
#: where somebody asks for it.
SILENT = Faults(lost=0.0, failing_builds=0.0, broken_things=0.0)


def nobody_asks(patch):
    patch.setattr(CellEngine, "hosts_to_ask", lambda self: {})


@pytest.mark.parametrize("plant, told", [(None, None), (nobody_asks, "differing in")])
def test_agents_report_what_a_log_lost(plant, told, monkeypatch):
    """Builds, then the power fails, and nothing else happens that would make an agent publish anything."""
    monkeypatch.setattr(agent_node, "CONFIRM", 1e9)
    if plant:
        plant(monkeypatch)
    found = []
    for seed in range(8):
        script = write(seed, 60, SILENT)
        script += [Stimulus(script[-1].at + 20.0, "lose tail", each) for each in range(seed, seed + 6)]
        outcome = run(seed, 0, SILENT, script)
        assert outcome.counts["lost tails"] == 6
        found.append(outcome.fault)
    if told is None:
        assert found == [None] * 8
    else:
        assert any(fault and told in fault for fault in found), found


HASHED = """
import sys
from rpc_api import concurrency; concurrency.setup()
import logging; logging.disable(logging.CRITICAL)
from nova_sched.playground.simulation.cloud import run
if sys.argv[1] == "planted":
    # A decision that goes through a set of host names in the order of their hashes.
    from nova_sched.selection import decide
    decide.drawn = lambda keys, seed, attempt: sorted(range(len(keys)), key=lambda at: hash(str(keys[at])))
print(run(21, 60).digest)
"""


@pytest.mark.parametrize("planted, different", [("sound", False), ("planted", True)])
def test_an_order_that_hangs_on_hashes_is_caught(planted, different):
    digests = {
        subprocess.run(
            [sys.executable, "-c", HASHED, planted],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }
    assert (len(digests) > 1) == different


# --- what a failure says -----------------------------------------------------------------------------------------


def test_a_failing_history_is_made_short(monkeypatch):
    plant_no_room_check(monkeypatch)
    seed = next(seed for seed in range(40) if run(seed, 120).fault)
    script = write(seed, 120, Faults())
    short, outcome = shrink(seed, script, Faults())
    assert outcome.fault and len(short) < 40
    assert run(seed, 0, Faults(), short).fault == outcome.fault


def test_the_command_says_seed_step_and_history(monkeypatch, capsys):
    assert main(["simulate", "--seed", "2", "--steps", "40", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["fault"] is None

    def planted():
        raise simulated.Broken("planted")

    monkeypatch.setattr(simulated.Checks, "acknowledged", lambda self, selections: planted)
    assert main(["simulate", "--seed", "2", "--steps", "40"]) == 1
    said = capsys.readouterr().out
    assert "seed 2 does not hold at step " in said and "planted" in said
    assert "shortest history found that fails (1 of 40)" in said and " s  ask (details " in said


def test_a_record_is_continued(tmp_path, capsys):
    file = tmp_path / "simulated.ndjson"
    words = ["simulate", "--steps", "20", "--jobs", "1", "--seed", "3", "--record", str(file)]
    assert main([*words, "--seeds", "2"]) == 0
    outcomes = [json.loads(line) for line in file.read_text().splitlines()]
    assert [outcome["seed"] for outcome in outcomes] == [3, 4]
    first = sum(outcome["counts"]["events"] for outcome in outcomes)
    capsys.readouterr()
    assert main([*words, "--events", str(first + 1)]) == 0
    outcomes = [json.loads(line) for line in file.read_text().splitlines()]
    assert [outcome["seed"] for outcome in outcomes] == [3, 4, 5]
    assert f"{first + outcomes[-1]['counts']['events']} events with those of" in capsys.readouterr().out
    assert main([*words, "--events", str(first + 1)]) == 0, "all of them are there"
    assert len(file.read_text().splitlines()) == 3
    file.write_text("something else\n")
    assert main([*words, "--seeds", "1"]) == 2


def test_wrong_options(capsys):
    assert main(["simulate", "--steps", "0"]) == 2
    assert main(["simulate", "--seed", "one"]) == 2
